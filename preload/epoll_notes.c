#include "epoll_notes.h"

#include "large.h"
#include "state.h"
#include "stream.h"
#include "sys.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { FEW_BITS = 8, MANY_BITS = 16, OTHER_BITS = 10 };

/* Innermost; held while d is pinned or the library entered: a fork finds it free. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* As many as there are notes, or up to four times that: a hash spreads over all pages of them, so that a large table
 * would cost whoever has a hundred connections 1 KiB for each. */
static struct epoll_note *few[1 << FEW_BITS] LARGE;
static struct epoll_note **buckets = few;
static unsigned bucket_bits = FEW_BITS;
static size_t in_buckets;
static struct epoll_note *loose; /* of sockets that are not connected yet */
static _Atomic unsigned loose_count;
static struct epoll_note *spare; /* redis-benchmark takes a socket out of its set and puts it back in each request */
_Atomic unsigned notes_watched;

/* The last registration of a descriptor that is none of ours, by its data. Written without a lock: the two words may be
 * of different ones, so the kernel is asked. */
static struct {
    _Atomic uint64_t data;
    _Atomic int fd; /* + 1 */
} others[1 << OTHER_BITS] LARGE;

static unsigned hash(uint64_t data, unsigned bits)
{
    return (unsigned)((data * 0x9e3779b97f4a7c15u) >> (64 - bits));
}

static struct epoll_note **bucket_of(uint64_t data)
{
    return &buckets[hash(data, bucket_bits)];
}

static void link_in(struct epoll_note *n)
{
    n->alike = bucket_of(n->event.data.u64);
    n->next_alike = *n->alike;
    if (n->next_alike)
        n->next_alike->alike = &n->next_alike;
    *n->alike = n;
}

/* Without memory the lists become longer. */
static void more_buckets(void)
{
    const unsigned bits = bucket_bits + 2;
    struct epoll_note **old = buckets, **fresh = calloc((size_t)1 << bits, sizeof *fresh), *next;
    const size_t count = (size_t)1 << bucket_bits;
    if (!fresh)
        return;
    buckets = fresh;
    bucket_bits = bits;
    for (size_t i = 0; i < count; i++)
        for (struct epoll_note *n = old[i]; n; n = next) {
            next = n->next_alike;
            link_in(n);
        }
    if (old != few)
        free(old);
}

static void into_bucket(struct epoll_note *n)
{
    if (++in_buckets > (size_t)1 << bucket_bits && bucket_bits < MANY_BITS)
        more_buckets();
    link_in(n);
}

static void out_of_bucket(struct epoll_note *n)
{
    *n->alike = n->next_alike;
    if (n->next_alike)
        n->next_alike->alike = n->alike;
    in_buckets--;
}

static struct epoll_note **list_of(struct desc *d)
{
    return d ? &d->epolls : &loose;
}

static struct epoll_note *note_of(struct desc *d, int epfd, int fd)
{
    for (struct epoll_note *n = *list_of(d); n; n = n->next)
        if (n->epfd == epfd && n->fd == fd)
            return n;
    return NULL;
}

static void forget(struct desc *d, struct epoll_note *n)
{
    struct epoll_note **at = list_of(d);
    while (*at != n)
        at = &(*at)->next;
    *at = n->next;
    if (!d)
        atomic_fetch_sub(&loose_count, 1);
    out_of_bucket(n);
    free(spare);
    spare = n;
}

static void note(struct desc *d, int epfd, int fd, const struct epoll_event *event)
{
    struct epoll_note *n = note_of(d, epfd, fd);
    const bool moves = !n || n->event.data.u64 != event->data.u64;
    if (n && moves)
        out_of_bucket(n);
    if (!n) {
        if (!(n = spare ? spare : malloc(sizeof *n)))
            return;
        spare = NULL;
        *n = (struct epoll_note){.next = *list_of(d), .desc = d, .epfd = epfd, .fd = fd};
        *list_of(d) = n;
        if (!d)
            atomic_fetch_add(&loose_count, 1);
    }
    n->event = *event;
    n->told = false;
    n->blocking = d && stream_is_blocking(d, fd);
    if (moves)
        into_bucket(n);
    const bool settled = d && atomic_load_explicit(&d->watch, memory_order_relaxed) == WATCH_SETTLED;
    if (d && (n->blocking || (!settled && core->conn_unsettled(d->conn))))
        notes_watch(d);
}

int notes_control(struct desc *d, int epfd, int op, int fd, struct epoll_event *event)
{
    int saved = errno;
    pthread_mutex_lock(&lock);
    if (d && !atomic_load(&d->edges))
        atomic_store(&d->edges, true);
    int r = real()->epoll_ctl(epfd, op, fd, event);
    struct epoll_note *n = r == 0 && op == EPOLL_CTL_DEL ? note_of(d, epfd, fd) : NULL;
    if (r == 0 && op != EPOLL_CTL_DEL)
        note(d, epfd, fd, event);
    else if (n)
        forget(d, n);
    pthread_mutex_unlock(&lock);
    if (r == 0)
        errno = saved;
    return r;
}

void notes_other(int epfd, int fd, const struct epoll_event *event)
{
    unsigned at = hash(event->data.u64 + (unsigned)epfd, OTHER_BITS);
    atomic_store_explicit(&others[at].data, event->data.u64, memory_order_relaxed);
    atomic_store_explicit(&others[at].fd, fd + 1, memory_order_relaxed);
}

void notes_adopt(struct desc *d, int fd)
{
    bool any = false;
    pthread_mutex_lock(&lock);
    for (struct epoll_note **at = &loose; *at;) {
        struct epoll_note *n = *at;
        if (n->fd != fd) {
            at = &n->next;
            continue;
        }
        *at = n->next;
        atomic_fetch_sub(&loose_count, 1);
        n->next = d->epolls;
        d->epolls = n;
        n->desc = d;
        n->blocking = stream_is_blocking(d, fd);
        any = true;
    }
    pthread_mutex_unlock(&lock);
    if (any) {
        atomic_store(&d->edges, true);
        notes_watch(d);
    }
}

void notes_drop(struct desc *d)
{
    pthread_mutex_lock(&lock);
    while (d->epolls)
        forget(d, d->epolls);
    pthread_mutex_unlock(&lock);
    notes_unwatch(d);
    atomic_store(&d->watch, WATCH_NONE);
}

void notes_leave(struct desc *d, int fd)
{
    pthread_mutex_lock(&lock);
    for (struct epoll_note *n = d->epolls; n; n = n->next)
        if (n->fd == fd)
            sys4(SYS_epoll_ctl, (long)n->epfd, (long)EPOLL_CTL_DEL, (long)fd, NULL);
    pthread_mutex_unlock(&lock);
    notes_forget(d, fd);
}

void notes_forget(struct desc *d, int fd)
{
    pthread_mutex_lock(&lock);
    for (struct epoll_note *next, *n = d->epolls; n; n = next) {
        next = n->next;
        if (n->fd == fd)
            forget(d, n);
    }
    pthread_mutex_unlock(&lock);
}

void notes_stay_plain(int fd)
{
    if (atomic_load_explicit(&loose_count, memory_order_relaxed) == 0)
        return;
    library_enter();
    pthread_mutex_lock(&lock);
    for (struct epoll_note *next, *n = loose; n; n = next) {
        next = n->next;
        if (n->fd == fd)
            forget(NULL, n);
    }
    pthread_mutex_unlock(&lock);
    library_leave();
}

void notes_each(struct desc *d, void (*fn)(struct epoll_note *n, void *arg), void *arg)
{
    pthread_mutex_lock(&lock);
    for (struct epoll_note *n = d->epolls; n; n = n->next)
        fn(n, arg);
    pthread_mutex_unlock(&lock);
}

int notes_find(uint64_t data, struct epoll_note *found, int room)
{
    int count = 0;
    pthread_mutex_lock(&lock);
    for (struct epoll_note *n = *bucket_of(data); n; n = n->next_alike) {
        if (n->event.data.u64 != data || !n->desc)
            continue;
        if (count < room)
            found[count] = *n;
        count++;
    }
    pthread_mutex_unlock(&lock);
    return count;
}

/* The note that n is a copy of, if it is still the same. lock held. */
static struct epoll_note *original(const struct epoll_note *n)
{
    for (struct epoll_note *o = *bucket_of(n->event.data.u64); o; o = o->next_alike)
        if (o->desc == n->desc && o->epfd == n->epfd && o->fd == n->fd && o->event.data.u64 == n->event.data.u64)
            return o;
    return NULL;
}

void notes_swallowed(int epfd, const struct epoll_note *n)
{
    if (!(n->event.events & EPOLLONESHOT))
        return;
    pthread_mutex_lock(&lock);
    struct epoll_note *o = original(n);
    if (o && !o->told)
        sys4(SYS_epoll_ctl, (long)epfd, (long)EPOLL_CTL_MOD, (long)o->fd, &o->event);
    pthread_mutex_unlock(&lock);
}

void notes_told(const struct epoll_note *n)
{
    if (!(n->event.events & EPOLLONESHOT))
        return;
    pthread_mutex_lock(&lock);
    struct epoll_note *o = original(n);
    if (o)
        o->told = true;
    pthread_mutex_unlock(&lock);
}

/* What is registered cannot be added (EEXIST). */
bool notes_registered(int epfd, int fd)
{
    struct epoll_event none = {.events = 0};
    long r = sys4(SYS_epoll_ctl, (long)epfd, (long)EPOLL_CTL_ADD, (long)fd, &none);
    if (r == 0)
        sys4(SYS_epoll_ctl, (long)epfd, (long)EPOLL_CTL_DEL, (long)fd, &none);
    return r == -EEXIST;
}

int notes_other_with(int epfd, uint64_t data)
{
    unsigned at = hash(data + (unsigned)epfd, OTHER_BITS);
    if (atomic_load_explicit(&others[at].data, memory_order_relaxed) != data)
        return -1;
    return atomic_load_explicit(&others[at].fd, memory_order_relaxed) - 1;
}

struct gathering {
    int epfd;
    struct epoll_note *found;
    int room, count;
};

static void gather(struct desc *d, void *arg)
{
    struct gathering *g = arg;
    pthread_mutex_lock(&lock);
    for (struct epoll_note *n = d->epolls; n && atomic_load(&d->watch) == WATCH_EVENTS; n = n->next) {
        if (n->epfd != g->epfd)
            continue;
        if (g->count < g->room)
            g->found[g->count] = *n;
        g->count++;
    }
    pthread_mutex_unlock(&lock);
}

int notes_watched_in(int epfd, struct epoll_note *found, int room)
{
    struct gathering g = {epfd, found, room, 0};
    desc_each(gather, &g);
    return g.count;
}

void notes_watch(struct desc *d)
{
    uint32_t was = atomic_exchange(&d->watch, WATCH_EVENTS);
    if (was != WATCH_EVENTS)
        atomic_fetch_add(&notes_watched, 1);
}

void notes_unwatch(struct desc *d)
{
    uint32_t watching = WATCH_EVENTS;
    if (atomic_compare_exchange_strong(&d->watch, &watching, WATCH_SETTLED))
        atomic_fetch_sub(&notes_watched, 1);
}
