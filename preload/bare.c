#include "bare.h"

#include "io.h"
#include "sys.h"
#include "waits.h"

#include <string.h>
#include <time.h>

/* Numbers share counters: somebody else's call is waited for then, which takes no longer. */
enum { COUNTERS = 64, WAIT_MS = 2000 };

static _Atomic unsigned inside[COUNTERS];

static _Atomic unsigned *counter_of(unsigned fd)
{
    return &inside[fd % COUNTERS];
}

static bool is_unconnected(uintptr_t word)
{
    return word == WORD_SOCKET || word == WORD_BOUND || word == WORD_BOUND_PLAIN;
}

enum bare bare_enter(int fd, unsigned *token)
{
    uintptr_t word = table_word(fd);
    if (thread.in_vfork_child || word == WORD_PLAIN || word_is_listener(word))
        return BARE_PLAIN;
    if (!is_unconnected(word))
        return BARE_CHANGED;
    thread_enter();
    bare_count(fd, 1);
    *token = wait_bare_begin(fd);
    thread_leave();
    if (table_word(fd) == word)
        return BARE_COUNTED;
    bare_leave(fd, *token);
    return BARE_CHANGED;
}

void bare_leave(int fd, unsigned token)
{
    wait_bare_end(fd, token);
}

void bare_count(int fd, int by)
{
    atomic_fetch_add(counter_of((unsigned)fd), (unsigned)by);
}

bool bare_wait_out(const struct desc *d)
{
    struct timespec t = {0, 50000};
    int64_t until = 0;
    waits_look();
    for (unsigned fd = 0; fd < table_high; fd++) {
        if (atomic_load_explicit(&table[fd], memory_order_relaxed) != (uintptr_t)d)
            continue;
        while (atomic_load(counter_of(fd))) {
            int64_t now = io_now_ms();
            until = until ? until : now + WAIT_MS;
            if (now >= until)
                return false;
            sys2(SYS_nanosleep, &t, NULL);
        }
    }
    return true;
}

void bare_forked(void)
{
    memset(inside, 0, sizeof inside);
}
