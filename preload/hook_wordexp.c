/* wordexp(3) starts a shell for each command in its words, by an exec inside libc. What that shell would do with a
 * connection nobody could see, if its environment lacks the library: so it gets none. */
#include "exec_plan.h"
#include "state.h"

#include <string.h>

static bool may_run_commands(const char *words, int flags)
{
    return words && !(flags & WRDE_NOCMD) && (strchr(words, '`') || strstr(words, "$("));
}

static void give_back(void *numbers)
{
    exec_plan_give_back(numbers);
}

HOOK int wordexp(const char *words, wordexp_t *expansion, int flags)
{
    int *numbers = NULL;
    if (!policy || thread.in_vfork_child || !may_run_commands(words, flags))
        return real()->wordexp(words, expansion, flags);
    if (!exec_plan_withhold(&numbers))
        return WRDE_NOSPACE;
    int r;
    pthread_cleanup_push(give_back, numbers); /* it waits for the shell, where a thread may be cancelled */
    r = real()->wordexp(words, expansion, flags);
    pthread_cleanup_pop(1);
    return r;
}
