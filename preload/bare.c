#include "bare.h"

#include "io.h"

#include <sched.h>
#include <string.h>

/* Numbers share counters: somebody else's call is waited for then, which takes no longer. The bound is for calls that
 * never come back: left by longjmp from a handler, or cancelled. */
enum { COUNTERS = 64, WAIT_MS = 50 };

static _Atomic unsigned inside[COUNTERS];

static _Atomic unsigned *counter_of(unsigned fd)
{
    return &inside[fd % COUNTERS];
}

static bool is_unconnected(uintptr_t word)
{
    return word == WORD_SOCKET || word == WORD_BOUND || word == WORD_BOUND_PLAIN;
}

enum bare bare_enter(int fd)
{
    uintptr_t word = table_word(fd);
    if (thread.in_vfork_child || word == WORD_PLAIN || word_is_listener(word))
        return BARE_PLAIN;
    if (!is_unconnected(word))
        return BARE_CHANGED;
    atomic_fetch_add(counter_of((unsigned)fd), 1);
    if (table_word(fd) == word)
        return BARE_COUNTED;
    bare_leave(fd);
    return BARE_CHANGED;
}

void bare_leave(int fd)
{
    atomic_fetch_sub(counter_of((unsigned)fd), 1);
}

void bare_wait_out(const struct desc *d)
{
    int64_t until = 0;
    for (unsigned fd = 0; fd < table_high; fd++) {
        if (atomic_load_explicit(&table[fd], memory_order_relaxed) != (uintptr_t)d)
            continue;
        while (atomic_load(counter_of(fd))) {
            int64_t now = io_now_ms();
            until = until ? until : now + WAIT_MS;
            if (now >= until)
                return;
            sched_yield();
        }
    }
}

void bare_forked(void)
{
    memset(inside, 0, sizeof inside);
}
