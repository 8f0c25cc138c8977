/* epoll: handshakes are started when a connection is registered. Readiness is the kernel's own, with two exceptions:
 * what says nothing to the program is not reported (handshake and control records, records that are not whole), and
 * what a process in a sandbox has left over is added (epoll_leftover.c).
 *
 * An event that is kept back must not be missed: level-triggered, the kernel reports again what is there;
 * edge-triggered, the end of the handshake raises fresh edges, and what comes behind a control record raises its own,
 * since a look at the connection has taken the record out of the kernel; EPOLLONESHOT is armed again. */
#include "epoll_leftover.h"
#include "epoll_notes.h"
#include "io.h"
#include "stream.h"
#include "sys.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <time.h>

static int fail(int error)
{
    errno = error;
    return -1;
}

static bool may_be_connected_later(int fd)
{
    return word_is_unconnected(table_word(fd));
}

/* Another thread may have connected fd, or closed it, while it was registered. */
static void noted_without_desc(int fd)
{
    struct desc *d = table_find(fd);
    if (!may_be_connected_later(fd) && !d) {
        notes_stay_plain(fd);
    } else if (d && !desc_special(d) && desc_enter(d, fd)) {
        notes_adopt(d, fd);
        desc_leave(d);
    }
}

/* Not protected now. */
static int control_other(int epfd, int op, int fd, struct epoll_event *event)
{
    if (may_be_connected_later(fd)) {
        library_enter();
        int r = notes_control(NULL, epfd, op, fd, event);
        library_leave();
        noted_without_desc(fd);
        return r;
    }
    int r = real()->epoll_ctl(epfd, op, fd, event);
    if (r == 0 && op != EPOLL_CTL_DEL && table_size) {
        notes_other(epfd, fd, event);
        table_note_polled(fd);
    }
    return r;
}

HOOK int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
    struct desc *d = table_find(fd);
    if (!d)
        return control_other(epfd, op, fd, event);
    if (desc_special(d))
        return fail(desc_special(d));
    if (!desc_enter(d, fd))
        return real()->epoll_ctl(epfd, op, fd, event);
    /* A settled one has its handshake behind it, and the calls that move its bytes tell the helper what is due. */
    if (op != EPOLL_CTL_DEL && (atomic_load(&d->watch) != WATCH_SETTLED || helper_absent()))
        stream_touch_pinned(d, fd);
    int r = notes_control(d, epfd, op, fd, event);
    desc_leave(d);
    return r;
}

enum { READING = EPOLLIN | EPOLLRDNORM, WRITING = EPOLLOUT | EPOLLWRNORM, ALIKE_MAX = 8 };

enum verdict { VERDICT_ELSEWHERE = 0 /* not in this set */, VERDICT_NOTHING, VERDICT_TRUE };

/* Looks at the connection: what is there for the program alone makes it readable. */
static enum verdict look_at(const struct epoll_note *n)
{
    enum verdict verdict = VERDICT_TRUE;
    if (!desc_enter(n->desc, n->fd))
        return VERDICT_ELSEWHERE;
    struct conn *conn = n->desc->conn;
    if (!n->blocking && !core->conn_unsettled(conn))
        notes_unwatch(n->desc);
    else if (core->conn_ready(conn, n->fd) == RESULT_AGAIN && !core->conn_reading_shut(conn))
        verdict = VERDICT_NOTHING;
    helper_kick(n->desc);
    desc_leave(n->desc);
    return verdict;
}

static bool kernel_has(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return io_poll(&p, 1, 0) != 0;
}

/* Has something else than fd, which is never protected, the same data there, and is it readable? */
static bool other_is_readable(int epfd, int fd, uint64_t data)
{
    int other = notes_other_with(epfd, data);
    return other >= 0 && other != fd && notes_registered(epfd, other) && kernel_has(other);
}

/* alone: no other registration is known to have the same data. */
static enum verdict judge(int epfd, const struct epoll_note *n, bool alone)
{
    bool watched = atomic_load(&n->desc->watch) == WATCH_EVENTS;
    enum verdict verdict = watched ? look_at(n) : VERDICT_TRUE;
    if (verdict == VERDICT_ELSEWHERE || (verdict == VERDICT_TRUE && alone))
        return verdict;
    if (!notes_registered(epfd, n->fd))
        return VERDICT_ELSEWHERE;
    return other_is_readable(epfd, n->fd, n->event.data.u64) ? VERDICT_TRUE : verdict;
}

/* Looks at all of them. True if the kernel has something for one of them all the same: another thread is about to take
 * it, or it has come only now. */
static bool look_at_all(const struct epoll_note *notes, int count, bool *truth)
{
    bool more = false;
    for (int i = 0; i < count; i++) {
        enum verdict verdict = look_at(&notes[i]);
        *truth |= verdict == VERDICT_TRUE && kernel_has(notes[i].fd);
        more |= verdict == VERDICT_NOTHING && kernel_has(notes[i].fd);
    }
    return more;
}

/* A set in this set is readable because of what says nothing: when that has been looked at, it is not any more. */
static bool is_false_set(int epfd, uint64_t data)
{
    enum { INNER_MAX = 64, LOOKS = 250, LOOKS_FOR_NOTHING = 3 };
    struct epoll_note found[INNER_MAX];
    int inner = notes_other_with(epfd, data), count = 0;
    library_enter();
    if (inner >= 0)
        count = notes_watched_in(inner, found, INNER_MAX);
    library_leave();
    if (count == 0 || count > INNER_MAX || !notes_registered(epfd, inner))
        return false;
    bool truth = false;
    unsigned looks = 0;
    for (unsigned idle = 0; !truth && looks < LOOKS && idle < LOOKS_FOR_NOTHING; looks++) {
        stream_pause(looks / 5);
        idle = look_at_all(found, count, &truth) ? 0 : idle + 1;
        if (!truth && !kernel_has(inner))
            return true;
    }
    return false;
}

/* Does the event say nothing of reading? Several registrations may have the same data: it is true if one of them is. */
static bool is_false(int epfd, const struct epoll_event *event)
{
    struct epoll_note found[ALIKE_MAX];
    enum verdict verdicts[ALIKE_MAX];
    if (!(event->events & READING) || (event->events & (EPOLLERR | EPOLLHUP)))
        return false;
    library_enter();
    int count = notes_find(event->data.u64, found, ALIKE_MAX);
    library_leave();
    if (count == 0 || count > ALIKE_MAX)
        return count == 0 && is_false_set(epfd, event->data.u64);
    bool nothing = false, truth = false;
    for (int i = 0; i < count && !truth; i++) {
        verdicts[i] = judge(epfd, &found[i], count == 1);
        nothing |= verdicts[i] == VERDICT_NOTHING;
        truth = verdicts[i] == VERDICT_TRUE;
    }
    library_enter();
    if (count == 1 && found->epfd == epfd && (truth || (nothing && event->events & ~(uint32_t)READING)))
        notes_told(found);
    for (int i = 0; i < count && nothing && !truth && !(event->events & ~(uint32_t)READING); i++)
        if (verdicts[i] == VERDICT_NOTHING)
            notes_swallowed(epfd, &found[i]);
    library_leave();
    return nothing && !truth;
}

/* Does the event say that there is room, where a write would say EAGAIN until the handshake is over? Its end raises the
 * edge. Only if it can be nobody else's. */
static bool is_false_room(int epfd, const struct epoll_event *event)
{
    struct epoll_note found[ALIKE_MAX];
    bool room = false;
    if (!(event->events & WRITING) || (event->events & (EPOLLERR | EPOLLHUP)))
        return false;
    library_enter();
    int count = notes_find(event->data.u64, found, ALIKE_MAX);
    library_leave();
    if (count == 0 || count > ALIKE_MAX || notes_other_with(epfd, event->data.u64) >= 0)
        return false;
    for (int i = 0; i < count && !room; i++)
        room = found[i].epfd != epfd || atomic_load(&found[i].desc->watch) != WATCH_EVENTS ||
               stream_writable(found[i].desc, found[i].fd);
    library_enter();
    for (int i = 0; i < count && !room && !(event->events & ~(uint32_t)WRITING); i++)
        notes_swallowed(epfd, &found[i]);
    library_leave();
    return !room;
}

/* Takes false answers back. Returns how many events are left. */
static int correct(int epfd, struct epoll_event *events, int count)
{
    int left = 0;
    for (int i = 0; i < count; i++) {
        if (is_false_room(epfd, &events[i]))
            events[i].events &= ~(uint32_t)WRITING;
        if (is_false(epfd, &events[i]))
            events[i].events &= ~(uint32_t)READING;
        if (events[i].events)
            events[left++] = events[i];
    }
    return left;
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* One wait of the program, which may take several of ours. */
struct wait {
    int epfd;
    struct epoll_event *events;
    int room;
    const sigset_t *mask;
    int64_t end_ns; /* INT64_MAX: never */
    bool precise;   /* epoll_pwait2 */
    unsigned handlers;
};

static struct wait wait_begin_at(int epfd, struct epoll_event *events, int room, const sigset_t *mask)
{
    return (struct wait){.epfd = epfd, .events = events, .room = room, .mask = mask, .handlers = thread.handlers};
}

/* Until end_ns at most. A signal that comes before the kernel waits would be missed: so it is blocked until then. */
static int wait_again(const struct wait *w, int64_t left_ns)
{
    sigset_t all, mask;
    int n = -1;
    sigfillset(&all);
    sys4(SYS_rt_sigprocmask, (long)SIG_BLOCK, &all, &mask, (long)(_NSIG / 8));
    struct timespec left = {left_ns / 1000000000, left_ns % 1000000000};
    int64_t left_ms = left_ns / 1000000 + (left_ns % 1000000 != 0);
    if (thread.handlers != w->handlers)
        errno = EINTR; /* epoll_wait is never restarted: signal(7) */
    else if (w->precise)
        n = real()->epoll_pwait2(w->epfd, w->events, w->room, left_ns == INT64_MAX ? NULL : &left,
                                 w->mask ? w->mask : &mask);
    else
        n = real()->epoll_pwait(w->epfd, w->events, w->room,
                                left_ns == INT64_MAX ? -1
                                : left_ms > INT_MAX  ? INT_MAX
                                                     : (int)left_ms,
                                w->mask ? w->mask : &mask);
    sys4(SYS_rt_sigprocmask, (long)SIG_SETMASK, &mask, NULL, (long)(_NSIG / 8));
    return n;
}

/* n > 0 events have come: those that say something, as many as there are in the time that is left. */
static int wait_for_truth(const struct wait *w, int n, int saved)
{
    enum { ROUNDS_AT_THE_END = 64 };
    for (unsigned round = 1;; round++) {
        int left = correct(w->epfd, w->events, n);
        int64_t left_ns = w->end_ns == INT64_MAX ? INT64_MAX : w->end_ns - now_ns();
        bool over = left_ns <= 0 && (n < w->room || round > ROUNDS_AT_THE_END);
        errno = saved;
        if (left > 0 || over)
            return left;
        if (left_ns > 0)
            stream_pause(round);
        n = wait_again(w, left_ns < 0 ? 0 : left_ns);
        if (n <= 0)
            return n;
    }
}

static bool watches(void)
{
    return __builtin_expect(atomic_load_explicit(&notes_watched, memory_order_relaxed) != 0, 0) && !forbidden.receive;
}

/* timeout_ms as in epoll_wait(2). */
static int64_t end_of(int timeout_ms)
{
    return timeout_ms < 0 ? INT64_MAX : timeout_ms == 0 ? 0 : now_ns() + timeout_ms * 1000000LL;
}

HOOK int epoll_wait(int epfd, struct epoll_event *events, int room, int timeout)
{
    if (!table_size)
        return real()->epoll_wait(epfd, events, room, timeout);
    if (leftover_in(epfd))
        return leftover_add(epfd, events, room, real()->epoll_wait(epfd, events, room, 0));
    struct wait w = wait_begin_at(epfd, events, room, NULL);
    int saved = errno;
    w.end_ns = end_of(timeout);
    int n = real()->epoll_wait(epfd, events, room, timeout);
    return n > 0 && watches() ? wait_for_truth(&w, n, saved) : n;
}

HOOK int epoll_pwait(int epfd, struct epoll_event *events, int room, int timeout, const sigset_t *mask)
{
    if (!table_size)
        return real()->epoll_pwait(epfd, events, room, timeout, mask);
    if (leftover_in(epfd))
        return leftover_add(epfd, events, room, real()->epoll_pwait(epfd, events, room, 0, mask));
    struct wait w = wait_begin_at(epfd, events, room, mask);
    int saved = errno;
    w.end_ns = end_of(timeout);
    int n = real()->epoll_pwait(epfd, events, room, timeout, mask);
    return n > 0 && watches() ? wait_for_truth(&w, n, saved) : n;
}

HOOK int epoll_pwait2(int epfd, struct epoll_event *events, int room, const struct timespec *timeout,
                      const sigset_t *mask)
{
    static const struct timespec at_once;
    if (!table_size)
        return real()->epoll_pwait2(epfd, events, room, timeout, mask);
    if (leftover_in(epfd))
        return leftover_add(epfd, events, room, real()->epoll_pwait2(epfd, events, room, &at_once, mask));
    struct wait w = wait_begin_at(epfd, events, room, mask);
    int saved = errno;
    int64_t begun_ns = timeout ? now_ns() : 0;
    int n = real()->epoll_pwait2(epfd, events, room, timeout, mask);
    if (n <= 0 || !watches())
        return n;
    w.precise = true; /* the kernel has read timeout: so can we */
    w.end_ns = !timeout || timeout->tv_sec > INT32_MAX ? INT64_MAX
                                                       : begun_ns + timeout->tv_sec * 1000000000LL + timeout->tv_nsec;
    return wait_for_truth(&w, n, saved);
}
