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

enum bare bare_enter(int fd, unsigned *token)
{
    uintptr_t word = table_word(fd);
    if (thread.in_vfork_child || word == WORD_PLAIN || word_is_listener(word))
        return BARE_PLAIN;
    if (!word_is_unconnected(word))
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

bool bare_wait_out(const struct desc *d, int fd)
{
    struct timespec t = {0, 50000};
    int64_t until = 0;
    bool one = atomic_load(&d->refs) == 1; /* a copy that is made now has never been without its desc */
    waits_look();
    unsigned end = one ? (unsigned)fd + 1 : atomic_load(&table_high);
    for (unsigned i = one ? (unsigned)fd : 0; i < end; i++) {
        if (atomic_load_explicit(table_at(i), memory_order_relaxed) != (uintptr_t)d)
            continue;
        while (atomic_load(counter_of(i))) {
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
