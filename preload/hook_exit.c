/* The ends of a program: what was acknowledged goes out first (law 5). exit(3) comes by a function of init.c. */
#include "state.h"

#include <errno.h>
#include <unistd.h>

HOOK void _exit(int status)
{
    if (policy)
        helper_finish_all();
    real()->_exit(status);
    __builtin_unreachable();
}
HOOK_ALIAS(_exit, _Exit);

int __cxa_at_quick_exit(void (*fn)(void *), void *library);

static void at_quick_end(void *arg)
{
    (void)arg;
    helper_finish_all();
}

/* quick_exit(3) calls no destructors, and its own _exit goes past the hook. Registered before main, so it runs last. */
void exit_init(void)
{
    if (__cxa_at_quick_exit(at_quick_end, NULL) != 0)
        log_event(LOG_LEVEL_WARN, "no memory: quick_exit will not wait for what is still to be sent");
}

/* The parent's _exit inside libc's daemon goes past the hook, and its handshakes would die with it: so they end before.
 * It also puts /dev/null on 0, 1 and 2. */
HOOK int daemon(int nochdir, int noclose)
{
    if (policy)
        helper_finish_handshakes();
    int r = real()->daemon(nochdir, noclose);
    for (int fd = 0; policy && r == 0 && !noclose && fd <= 2; fd++)
        if (table_word(fd) != WORD_PLAIN)
            table_forget(fd);
    return r;
}
