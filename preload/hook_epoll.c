/* epoll: handshakes are started when a connection is registered. Readiness is the kernel's own, with two exceptions:
 * what a process in a sandbox has left over (conn_leftover) is added, and for blocking descriptors, whose readers would
 * hang, handshake and control records are not reported. (Readers of non-blocking ones expect EAGAIN.) */
#include "stream.h"

#include "io.h"
#include "memory.h"
#include "sys.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

static int fail(int error)
{
    errno = error;
    return -1;
}

/* Registrations are noted, so that closing can take them back while a dup of ours stays (hook_close.c). */
static pthread_mutex_t notes_lock = PTHREAD_MUTEX_INITIALIZER; /* held while d is pinned: a fork finds it free */

static struct epoll_note *note_of(struct desc *d, int epfd, int fd)
{
    for (struct epoll_note *n = d->epolls; n; n = n->next)
        if (n->epfd == epfd && n->fd == fd)
            return n;
    struct epoll_note *n = malloc(sizeof *n);
    if (n) {
        *n = (struct epoll_note){.next = d->epolls, .epfd = epfd, .fd = fd};
        d->epolls = n;
    }
    return n;
}

static _Atomic bool any_blocking; /* a blocking descriptor was ever registered */

static void note_registration(struct desc *d, int epfd, int fd, const struct epoll_event *event)
{
    pthread_mutex_lock(&notes_lock);
    struct epoll_note *n = note_of(d, epfd, fd);
    if (n) {
        n->event = *event;
        n->blocking = stream_is_blocking(d, fd);
        if (n->blocking)
            atomic_store(&any_blocking, true);
    }
    pthread_mutex_unlock(&notes_lock);
}

HOOK int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
    struct desc *d = table_find(fd);
    if (d && desc_special(d))
        return fail(desc_special(d));
    if (d && op != EPOLL_CTL_DEL && memory_readable(event, sizeof *event)) {
        stream_touch(d, fd);
        if (desc_enter(d, fd)) {
            note_registration(d, epfd, fd, event);
            desc_leave(d);
        }
    }
    return real()->epoll_ctl(epfd, op, fd, event);
}

/* Descs of one epoll set with something left over. */
struct leftovers {
    int epfd;
    struct epoll_event *events;
    int room, count;
};

/* The kernel may have reported the registration for another reason, such as room to write. */
static void report(struct leftovers *l, const struct epoll_event *event)
{
    for (int i = 0; i < l->count; i++) {
        if (l->events[i].data.u64 != event->data.u64)
            continue;
        l->events[i].events |= event->events & (EPOLLIN | EPOLLRDNORM);
        return;
    }
    if (l->count == l->room)
        return;
    l->events[l->count++] =
        (struct epoll_event){.events = event->events & (EPOLLIN | EPOLLRDNORM), .data = event->data};
}

static void look(struct desc *d, void *arg)
{
    struct leftovers *l = arg;
    if (!core->conn_leftover(d->conn))
        return;
    pthread_mutex_lock(&notes_lock);
    for (struct epoll_note *n = d->epolls; n; n = n->next) {
        if (n->epfd != l->epfd || !(n->event.events & (EPOLLIN | EPOLLRDNORM)))
            continue;
        report(l, &n->event);
        if (n->event.events & EPOLLONESHOT) {
            struct epoll_event off = {.events = EPOLLONESHOT, .data = n->event.data};
            sys4(SYS_epoll_ctl, (long)n->epfd, (long)EPOLL_CTL_MOD, (long)n->fd, &off);
            n->event.events &= ~(uint32_t)(EPOLLIN | EPOLLRDNORM);
        }
    }
    pthread_mutex_unlock(&notes_lock);
}

/* Adds what the kernel does not know to its count events. */
static int add_leftovers(int epfd, struct epoll_event *events, int room, int count)
{
    struct leftovers l = {epfd, events, room, count};
    if (count < 0)
        return count;
    library_enter();
    desc_each(look, &l);
    library_leave();
    return l.count;
}

struct search {
    int epfd;
    bool found;
};

static void search(struct desc *d, void *arg)
{
    struct search *s = arg;
    if (!core->conn_leftover(d->conn))
        return;
    pthread_mutex_lock(&notes_lock);
    for (struct epoll_note *n = d->epolls; n; n = n->next)
        s->found |= n->epfd == s->epfd && (n->event.events & (EPOLLIN | EPOLLRDNORM));
    pthread_mutex_unlock(&notes_lock);
}

/* Only a process in a sandbox leaves such bytes, or one with which this process shares connections. */
static bool any_leftover(int epfd)
{
    struct search s = {epfd, false};
    if (!core || !(forbidden.receive || fork_relative_sandboxed()))
        return false;
    library_enter();
    desc_each(search, &s);
    library_leave();
    return s.found;
}

/* The descriptor that an event tells of, if it is a blocking one of ours; -1 if not. */
struct telling {
    int epfd;
    const struct epoll_event *event;
    struct epoll_event registered;
    int fd;
};

static void find_teller(struct desc *d, void *arg)
{
    struct telling *t = arg;
    pthread_mutex_lock(&notes_lock);
    for (struct epoll_note *n = d->epolls; n; n = n->next) {
        if (n->epfd != t->epfd || n->event.data.u64 != t->event->data.u64 || !n->blocking)
            continue;
        t->fd = n->fd;
        t->registered = n->event;
    }
    pthread_mutex_unlock(&notes_lock);
}

/* A note outlives EPOLL_CTL_DEL and the set itself, whose number may be another set's by now: an event of anybody there
 * could have the same data. The kernel knows: what is registered cannot be added (EEXIST). */
static bool is_registered(int epfd, int fd)
{
    struct epoll_event none = {.events = 0};
    long r = sys4(SYS_epoll_ctl, (long)epfd, (long)EPOLL_CTL_ADD, (long)fd, &none);
    if (r == 0)
        sys4(SYS_epoll_ctl, (long)epfd, (long)EPOLL_CTL_DEL, (long)fd, &none);
    return r == -EEXIST;
}

static bool is_false(int epfd, const struct epoll_event *event)
{
    struct telling t = {.epfd = epfd, .event = event, .fd = -1};
    if (!(event->events & (EPOLLIN | EPOLLRDNORM)) || (event->events & (EPOLLERR | EPOLLHUP)))
        return false;
    library_enter();
    desc_each(find_teller, &t);
    library_leave();
    struct desc *d = t.fd >= 0 ? table_find(t.fd) : NULL;
    if (!d || desc_special(d) || stream_readable(d, t.fd) || !is_registered(epfd, t.fd))
        return false;
    if ((t.registered.events & EPOLLONESHOT) && !(event->events & EPOLLOUT)) /* it has not fired yet */
        sys4(SYS_epoll_ctl, (long)epfd, (long)EPOLL_CTL_MOD, (long)t.fd, &t.registered);
    return true;
}

/* Takes false answers back. Returns how many events are left. */
static int correct(int epfd, struct epoll_event *events, int count)
{
    int left = 0;
    for (int i = 0; i < count; i++) {
        if (is_false(epfd, &events[i]))
            events[i].events &= ~(uint32_t)(EPOLLIN | EPOLLRDNORM);
        if (events[i].events)
            events[left++] = events[i];
    }
    return left;
}

/* timeout: NULL for ever. */
static int wait_for_events(int epfd, struct epoll_event *events, int room, const struct timespec *timeout,
                           const sigset_t *mask)
{
    static const struct timespec pause = {0, 1000000}; /* what is there may be another thread's to take */
    int64_t end_ns = timeout ? io_now_ms() * 1000000 + timeout->tv_sec * 1000000000LL + timeout->tv_nsec : INT64_MAX;
    int saved = errno;
    for (;;) {
        int64_t left_ns = end_ns == INT64_MAX ? -1 : end_ns - io_now_ms() * 1000000;
        int left_ms = left_ns < 0                       ? (timeout ? 0 : -1)
                      : left_ns > INT32_MAX * 1000000LL ? INT32_MAX
                                                        : (int)((left_ns + 999999) / 1000000);
        int n = real()->epoll_pwait(epfd, events, room, left_ms, mask);
        int left = n > 0 ? correct(epfd, events, n) : n;
        if (n <= 0 || left > 0 || left_ms == 0) {
            if (n > 0)
                errno = saved;
            return left;
        }
        sys2(SYS_nanosleep, &pause, NULL);
    }
}

static bool is_time(const struct timespec *t)
{
    return !t || (memory_readable(t, sizeof *t) && t->tv_sec >= 0 && t->tv_nsec >= 0 && t->tv_nsec < 1000000000);
}

static bool trusts(void)
{
    return atomic_load_explicit(&any_blocking, memory_order_relaxed) && !forbidden.receive;
}

static int wait_corrected(int epfd, struct epoll_event *events, int room, int timeout, const sigset_t *mask)
{
    struct timespec t = {timeout / 1000, timeout % 1000 * 1000000L};
    if (!any_leftover(epfd))
        return wait_for_events(epfd, events, room, timeout < 0 ? NULL : &t, mask);
    return add_leftovers(epfd, events, room, real()->epoll_pwait(epfd, events, room, 0, mask));
}

HOOK int epoll_wait(int epfd, struct epoll_event *events, int room, int timeout)
{
    bool changed = trusts() || any_leftover(epfd);
    return changed ? wait_corrected(epfd, events, room, timeout, NULL)
                   : real()->epoll_wait(epfd, events, room, timeout);
}

HOOK int epoll_pwait(int epfd, struct epoll_event *events, int room, int timeout, const sigset_t *mask)
{
    bool changed = trusts() || any_leftover(epfd);
    return changed ? wait_corrected(epfd, events, room, timeout, mask)
                   : real()->epoll_pwait(epfd, events, room, timeout, mask);
}

HOOK int epoll_pwait2(int epfd, struct epoll_event *events, int room, const struct timespec *timeout,
                      const sigset_t *mask)
{
    static const struct timespec now;
    bool leftover = any_leftover(epfd);
    if (!leftover && trusts() && is_time(timeout))
        return wait_for_events(epfd, events, room, timeout, mask);
    int n = real()->epoll_pwait2(epfd, events, room, leftover ? &now : timeout, mask);
    return leftover ? add_leftovers(epfd, events, room, n) : n;
}
