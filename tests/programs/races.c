/* races [ordered]: two threads count in one place, by nothing ordered, or by an atomic flag. A tool that looks for data
 * races says so of the first, and not of the second. */
#include "common.h"

static volatile unsigned count;
static atomic_bool first_is_done;
static bool ordered;

static void *first(void *unused)
{
    (void)unused;
    count++;
    atomic_store(&first_is_done, true);
    return NULL;
}

static void *second(void *unused)
{
    (void)unused;
    while (ordered && !atomic_load(&first_is_done))
        sched_yield();
    count++;
    return NULL;
}

int main(int argc, char **argv)
{
    ordered = argc > 1 && strcmp(argv[1], "ordered") == 0;
    pthread_t threads[] = {thread_start(first, NULL), thread_start(second, NULL)};
    for (size_t i = 0; i < 2; i++)
        CHECK(pthread_join(threads[i], NULL) == 0, "pthread_join");
    return 0;
}
