/* The descs: made, held, found and given back; and whether any call is inside one. */
#include "epoll_notes.h"
#include "state.h"

#include <pthread.h>
#include <stdlib.h>

static struct desc *free_descs, *live_descs;
static pthread_mutex_t descs_lock = PTHREAD_MUTEX_INITIALIZER;

/* They are never given back, so they are made many at a time: one by one, among the sessions of handshakes, each would
 * keep a page of its own. descs_lock held. */
static void make_descs(void)
{
    enum { MANY = 32 };
    struct desc *made = calloc(MANY, sizeof *made);
    for (int i = 0; made && i < MANY; i++) {
        made[i].next_free = free_descs;
        free_descs = &made[i];
    }
}

struct desc *desc_new(struct conn *conn, const struct policy_rule *rule)
{
    pthread_mutex_lock(&descs_lock);
    if (!free_descs)
        make_descs();
    struct desc *d = free_descs;
    if (d) {
        free_descs = d->next_free;
        d->conn = conn;
        d->rule = rule;
        atomic_store(&d->cookie, 0);
        atomic_store(&d->number, -1);
        atomic_store(&d->orphan, false);
        atomic_store(&d->unselected, false);
        d->linger_abort = d->lingers = false;
        atomic_store(&d->rcvlowat, 1);
        atomic_store(&d->hungry, 0);
        d->epolls = NULL;
        d->label = NULL;
        atomic_store(&d->watch, WATCH_NONE);
        d->box = -1;
        atomic_store(&d->nodelay_forced, false);
        atomic_store(&d->cork_due, false);
        atomic_store(&d->dialling, false);
        d->fastopen_connect = d->verdict_due = false;
        d->told_started = d->edges = d->native = d->fresh = d->finished = false;
        d->receive_ms = d->send_ms = d->modes = d->modes_set = 0;
        atomic_store(&d->helped, false);
        atomic_store(&d->holds, 1);
        d->prev_live = NULL;
        d->next_live = live_descs;
        if (live_descs)
            live_descs->prev_live = d;
        live_descs = d;
    }
    pthread_mutex_unlock(&descs_lock);
    return d;
}

void desc_hold(struct desc *d)
{
    atomic_fetch_add(&d->holds, 1);
}

void desc_release(struct desc *d)
{
    if (atomic_fetch_sub(&d->holds, 1) != 1)
        return;
    library_enter();
    atomic_store(&d->orphan, false); /* nobody enters any more */
    desc_wait_unpinned(d);
    pthread_mutex_lock(&descs_lock);
    core->conn_free(d->conn);
    if (d->box >= 0)
        hidden_close(d->box);
    if (d->prev_live)
        d->prev_live->next_live = d->next_live;
    else
        live_descs = d->next_live;
    if (d->next_live)
        d->next_live->prev_live = d->prev_live;
    notes_drop(d);
    free(d->label);
    d->conn = NULL;
    d->next_free = free_descs;
    free_descs = d;
    pthread_mutex_unlock(&descs_lock);
    library_leave();
}

void desc_each(void (*fn)(struct desc *d, void *arg), void *arg)
{
    pthread_mutex_lock(&descs_lock);
    for (struct desc *d = live_descs; d; d = d->next_live)
        fn(d, arg);
    pthread_mutex_unlock(&descs_lock);
}

struct cookie_search {
    uint64_t cookie;
    struct desc *found;
};

/* A desc whose last number is going has no refs, and gets none any more. One that is unselected is of an attempt that
 * is over, and the socket may have another by now. */
static void compare_cookie(struct desc *d, void *arg)
{
    struct cookie_search *s = arg;
    uint32_t refs = atomic_load(&d->refs);
    if (atomic_load(&d->cookie) != s->cookie || s->found || atomic_load(&d->unselected))
        return;
    while (refs && !atomic_compare_exchange_weak(&d->refs, &refs, refs + 1))
        ;
    if (refs)
        s->found = d;
}

struct desc *desc_of_cookie(uint64_t cookie)
{
    struct cookie_search s = {cookie, NULL};
    if (cookie)
        desc_each(compare_cookie, &s);
    return s.found;
}

int desc_any_number(struct desc *d)
{
    int fd = atomic_load(&d->number);
    if (atomic_load(&d->orphan) || (fd >= 0 && table_word(fd) == (uintptr_t)d))
        return fd;
    const unsigned high = atomic_load(&d->refs) ? table_high : 0; /* one that is closed has none */
    for (unsigned i = 0; i < high; i++) {
        if (atomic_load_explicit(table_at((int)i), memory_order_relaxed) == (uintptr_t)d) {
            /* Not if it has become an orphan meanwhile: its number is ours then, and this one the program's. */
            atomic_compare_exchange_strong(&d->number, &fd, (int)i);
            return (int)i;
        }
    }
    return -1;
}

void desc_each_forking(void (*fn)(struct desc *d, void *arg), void *arg)
{
    for (struct desc *d = live_descs; d; d = d->next_live)
        fn(d, arg);
}

static void note_pins(struct desc *d, void *arg)
{
    *(bool *)arg |= atomic_load(&d->pins) != 0;
}

bool table_is_quiet(bool keep)
{
    bool inside = false;
    note_pins(&library_desc, &inside);
    if (inside || pthread_mutex_trylock(&descs_lock) != 0)
        return false;
    desc_each_forking(note_pins, &inside);
    note_pins(&library_desc, &inside);
    if (inside || !keep)
        pthread_mutex_unlock(&descs_lock);
    return !inside;
}

static void reset_pins(struct desc *d, void *arg)
{
    (void)arg;
    atomic_store(&d->pins, 0);
}

void table_end_quiet(bool in_child)
{
    if (in_child) {
        desc_each_forking(reset_pins, NULL);
        reset_pins(&library_desc, NULL);
    }
    pthread_mutex_unlock(&descs_lock); /* in the child it is the forking thread's too */
}
