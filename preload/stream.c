/* Reading and writing as the program asks for it: bytes move by non-blocking calls while the connection is pinned; a
 * call that must wait does so unpinned (waiting.c). */
#include "stream.h"

#include "epoll_notes.h"
#include "io.h"
#include "sys.h"
#include "waits.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>

/* A program's iovecs, up to 1,024, worked through a few at a time: a signal handler's stack is small. */
struct vec {
    struct iovec window[16];
    struct iovec *at; /* the part of the window that is left */
    int left;
    const struct iovec *next; /* those that are not in the window yet */
    int more;
};

static void vec_fill(struct vec *v)
{
    v->at = v->window;
    for (v->left = 0; v->left < 16 && v->more; v->more--)
        v->window[v->left++] = *v->next++;
}

static void vec_init(struct vec *v, const struct iovec *iov, int count)
{
    v->next = iov;
    v->more = count;
    vec_fill(v);
}

/* Skips n bytes. True if the window was used up (there may be more behind it). */
static bool vec_advance(struct vec *v, size_t n)
{
    while (v->left && n >= v->at->iov_len) {
        n -= v->at->iov_len;
        v->at++;
        v->left--;
    }
    if (v->left) {
        v->at->iov_base = (char *)v->at->iov_base + n;
        v->at->iov_len -= n;
        return false;
    }
    vec_fill(v);
    return true;
}

static size_t total_of(const struct iovec *iov, int count)
{
    size_t total = 0;
    for (int i = 0; i < count; i++)
        total += iov[i].iov_len;
    return total;
}

/* recv(2) with MSG_WAITALL or SO_RCVLOWAT returns no less than this unless something happens. */
static size_t at_least(const struct desc *d, size_t want, int flags)
{
    if (flags & MSG_PEEK)
        return 1;
    if (flags & MSG_WAITALL)
        return want;
    size_t low = d->rcvlowat > 1 ? (size_t)d->rcvlowat : 1;
    return low < want ? low : want;
}

/* The number is not the connection's any more: closed, or, if its connect has just failed, an ordinary socket again. */
static int error_of_gone(int fd, int unconnected)
{
    uintptr_t word;
    while ((word = table_word(fd)) == WORD_MOVING) /* on its way to either */
        sched_yield();
    return word_is_unconnected(word) ? unconnected : EBADF;
}

/* An error that a wait has taken from the kernel stays for the next call, where this one has moved something. */
static void keep_error(struct desc *d, int error, bool in_part)
{
    if (in_part && error > 0 && error != EINTR && error != EAGAIN && error != EBADF)
        core->conn_note_untold(d->conn, error);
}

/* One try, and what came of it. RESULT_AGAIN: the caller is to wait, and the wait has begun. */
struct
try {
    enum result result;
    size_t moved;
    unsigned wait;
    int error;
};

/* in_part: an error will not be told by this call. */
static struct try receive_once(struct desc *d, int fd, const struct iovec *iov, int count, bool peek, bool in_part)
{
    struct try t = {.result = RESULT_IO};
    if (!desc_enter(d, fd)) {
        t.error = error_of_gone(fd, ENOTCONN);
        return t;
    }
    t.result = core->conn_read(d->conn, fd, iov, count, peek, &t.moved, &t.error);
    if (t.result == RESULT_AGAIN && core->conn_reading_shut(d->conn))
        t.result = RESULT_EOF;
    if (t.result == RESULT_IO && !in_part)
        core->conn_take_untold(d->conn);
    if (t.result == RESULT_AGAIN)
        t.wait = wait_begin(d);
    if (atomic_load_explicit(&d->watch, memory_order_relaxed) == WATCH_SETTLED && core->conn_unsettled(d->conn))
        notes_watch(d);
    helper_kick(d);
    desc_leave(d);
    return t;
}

static int64_t shorter(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* When a call that waits once more has to give up: by its own deadline or the socket's timeout. Asking for that costs a
 * system call, and the first wait is most often the only one and the kernel's own: it is asked for the next. */
static int64_t deadline_of_wait(const struct desc *d, int fd, bool in_part, const struct stream_signals *before,
                                int64_t *began_ms, int64_t deadline_ms)
{
    if (deadline_ms < STREAM_NO_RESTART)
        return deadline_ms;
    bool first = !*began_ms;
    if (first)
        *began_ms = io_now_ms();
    if (first && !in_part && deadline_ms == INT64_MAX && stream_waits_in_kernel(d, before))
        return deadline_ms;
    return shorter(stream_deadline_since(d, fd, SO_RCVTIMEO, *began_ms), deadline_ms);
}

/* A reader that is faster than what it reads waits each time: the try before the wait is then a system call for
 * nothing. Behind HUNGRY reads in a row that had to wait, the next ones wait first; then one tries first again, and
 * says whether it is still so. A wait that has nothing to wait for costs one call more than the try would have. */
enum { HUNGRY = 4, STARVED = 12 };

static bool waits_first(struct desc *d, int fd, int flags, struct try *t)
{
    const uint8_t hungry = atomic_load_explicit(&d->hungry, memory_order_relaxed);
    if (__builtin_expect(hungry < HUNGRY, 1) || hungry >= STARVED || (flags & MSG_DONTWAIT) || !desc_enter(d, fd))
        return false;
    bool first = core->conn_reads_kernel(d->conn);
    if (first) {
        *t = (struct try){.result = RESULT_AGAIN, .wait = wait_begin(d)};
        atomic_store_explicit(&d->hungry, hungry + 1, memory_order_relaxed);
    }
    desc_leave(d);
    return first;
}

/* What a try has found. Of several threads that read, any one may say it. */
static void note_hunger(struct desc *d, bool had_to_wait)
{
    const uint8_t hungry = atomic_load_explicit(&d->hungry, memory_order_relaxed);
    if (had_to_wait || hungry)
        atomic_store_explicit(&d->hungry,
                              !had_to_wait        ? 0
                              : hungry >= STARVED ? HUNGRY
                                                  : hungry + 1,
                              memory_order_relaxed);
}

/* Goes on behind a first try, if there was one (NULL: none). deadline_ms: besides the socket's own timeout. before: the
 * signals, when the call began. */
static ssize_t receive_on(struct desc *d, int fd, const struct iovec *iov, int count, int flags, int64_t deadline_ms,
                          const struct try *first, const struct stream_signals *before)
{
    struct vec v;
    size_t want = total_of(iov, count), done = 0, enough = at_least(d, want, flags);
    int64_t began_ms = 0;
    int saved = errno;
    vec_init(&v, iov, count);
    while (done < want) {
        struct try t = {.result = RESULT_OK};
        bool in_part = done || (flags & STREAM_IN_PART);
        if (first)
            t = *first;
        else if (done < enough || v.left)
            t = receive_once(d, fd, v.at, v.left, flags & MSG_PEEK, in_part);
        first = NULL;
        done += t.moved;
        if (t.result == RESULT_EOF)
            break;
        if (t.result == RESULT_OK) {
            bool window_full = vec_advance(&v, t.moved);
            if ((done >= enough && !(window_full && v.left)) || (flags & MSG_PEEK))
                break;
            continue;
        }
        if (t.result != RESULT_AGAIN) {
            if (done)
                break;
            return stream_special(t.error);
        }
        if (done >= enough) {
            wait_end(d, t.wait);
            break;
        }
        if (t.error != EAGAIN || !(flags & MSG_DONTWAIT)) {
            deadline_ms = deadline_of_wait(d, fd, in_part, before, &began_ms, deadline_ms);
            t.error = stream_wait_readable(d, fd, flags, stream_deadline_in_part(deadline_ms, in_part), before);
            keep_error(d, t.error, in_part);
        }
        wait_end(d, t.wait);
        if (t.error > 0 && !done)
            return stream_special(t.error);
        if (t.error)
            break;
    }
    errno = saved;
    return (ssize_t)done;
}

/* What is pending when the call begins ends the thread before anything has moved, as in libc. Later it does so where
 * the call waits, and nowhere inside. */
static void be_cancellation_point(int flags)
{
    if (!(flags & STREAM_IN_PART) && !thread.in_stream)
        pthread_testcancel();
}

/* The usual call is over after one try into one buffer, which the window of a vector is not needed for. */
ssize_t stream_receive(struct desc *d, int fd, const struct iovec *iov, int count, int flags)
{
    be_cancellation_point(flags);
    const struct stream_signals before = stream_signals_now();
    if (count != 1 || (flags & ~(MSG_DONTWAIT | MSG_NOSIGNAL)) || atomic_load(&d->rcvlowat) > 1 || !iov->iov_len)
        return receive_on(d, fd, iov, count, flags, INT64_MAX, NULL, &before);
    int saved = errno;
    struct try t;
    if (waits_first(d, fd, flags, &t))
        return receive_on(d, fd, iov, 1, flags, INT64_MAX, &t, &before);
    t = receive_once(d, fd, iov, 1, false, false);
    errno = saved;
    if (t.result == RESULT_OK && t.moved) {
        note_hunger(d, false);
        return (ssize_t)t.moved;
    }
    bool waits = t.result == RESULT_AGAIN;
    ssize_t n = receive_on(d, fd, iov, 1, flags, INT64_MAX, &t, &before);
    note_hunger(d, waits && n > 0);
    return n;
}

int stream_await(struct desc *d, int fd, int flags)
{
    char byte;
    struct iovec iov = {&byte, 1};
    const struct stream_signals before = stream_signals_now();
    flags = (flags & ~MSG_WAITALL) | MSG_PEEK;
    return receive_on(d, fd, &iov, 1, flags, STREAM_NO_RESTART, NULL, &before) < 0 ? errno : 0;
}

/* In a sandbox the kernel does it: the socket is shut, and so takes nothing. */
static void raise_pipe(int fd)
{
    if (atomic_load(&table_gate) == GATE_ENDING) /* it is by ourselves that the pipe is broken */
        return;
    if (thread.pipe_raised)
        thread.pipe_raised = false;
    else if (forbidden.raise)
        sys3(SYS_write, (long)fd, "\x17", 1L);
    else
        sys3(SYS_tgkill, (long)getpid(), sys0(SYS_gettid), (long)SIGPIPE);
}

/* saved: errno as it was, which a call that succeeds in part must not change. */
ssize_t stream_write_failed(int fd, size_t done, int error, int flags, int saved)
{
    errno = saved;
    if (done)
        return (ssize_t)done;
    if (error == EPIPE && !(flags & MSG_NOSIGNAL))
        raise_pipe(fd);
    errno = error;
    return -1;
}

/* Before TCP is up: what the kernel says of a write then. 0: it is up, or coming. */
int stream_not_connected(struct desc *d, int fd)
{
    if (!core->conn_unstarted(d->conn) || !stream_is_connecting(d, fd))
        return 0;
    long k = sys6(SYS_sendto, fd, SYS_ARG(""), 0, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
    return k < 0 && k != -EAGAIN ? (int)-k : 0;
}

/* As receive_once. */
static struct try send_once(struct desc *d, int fd, const struct iovec *iov, int count, bool more, bool roomy,
                            bool in_part)
{
    struct try t = {.result = RESULT_IO};
    if (!desc_enter(d, fd)) {
        t.error = error_of_gone(fd, EPIPE);
        return t;
    }
    if (__builtin_expect(core->conn_unstarted(d->conn), 0))
        t.error = stream_not_connected(d, fd);
    if (__builtin_expect(atomic_load_explicit(&d->cork_due, memory_order_relaxed), 0) &&
        core->conn_state(d->conn) == RESULT_OK)
        restore_cork(fd, d);
    if (!t.error)
        t.result = core->conn_write(d->conn, fd, iov, count, more, roomy, &t.moved, &t.error);
    if (__builtin_expect(atomic_load_explicit(&d->nodelay_forced, memory_order_relaxed), 0) && t.moved &&
        core->conn_state(d->conn) == RESULT_OK)
        restore_nagle(fd, d);
    if (t.result == RESULT_IO)
        keep_error(d, t.error, in_part);
    if (t.result == RESULT_AGAIN)
        t.wait = wait_begin(d);
    helper_kick(d);
    desc_leave(d);
    return t;
}

/* As receive_on. */
static ssize_t send_on(struct desc *d, int fd, const struct iovec *iov, int count, int flags, const struct try *first,
                       const struct stream_signals *before)
{
    struct vec v;
    size_t want = total_of(iov, count), done = 0;
    int64_t deadline_ms = INT64_MAX;
    bool roomy = false;
    int saved = errno;
    vec_init(&v, iov, count);
    do {
        bool in_part = done || (flags & STREAM_IN_PART);
        bool more = (flags & MSG_MORE) || done + total_of(v.at, v.left) < want;
        struct try t;
        thread.pipe_wanted = !(flags & MSG_NOSIGNAL);
        t = first ? *first : send_once(d, fd, v.at, v.left, more, roomy, in_part);
        thread.pipe_wanted = false;
        first = NULL;
        roomy = false;
        done += t.moved;
        vec_advance(&v, t.moved);
        if (t.result == RESULT_OK)
            continue;
        if (t.result != RESULT_AGAIN)
            return stream_write_failed(fd, done, t.error, flags, saved);
        if (deadline_ms == INT64_MAX)
            deadline_ms = stream_deadline_of(d, fd, SO_SNDTIMEO);
        in_part |= done > 0;
        t.error = stream_wait_writable(d, fd, flags, stream_deadline_in_part(deadline_ms, in_part), before, &roomy);
        keep_error(d, t.error, in_part);
        wait_end(d, t.wait);
        if (t.error)
            return stream_write_failed(fd, done, t.error, flags, saved);
    } while (done < want);
    if (__builtin_expect(helper_absent(), 0))
        stream_wait_rest_out(d, fd, flags);
    errno = saved;
    return (ssize_t)done;
}

ssize_t stream_send(struct desc *d, int fd, const struct iovec *iov, int count, int flags)
{
    be_cancellation_point(flags);
    const struct stream_signals before = stream_signals_now();
    if (count != 1 || (flags & STREAM_IN_PART) || __builtin_expect(helper_absent(), 0))
        return send_on(d, fd, iov, count, flags, NULL, &before);
    int saved = errno;
    thread.pipe_wanted = !(flags & MSG_NOSIGNAL);
    const struct try t = send_once(d, fd, iov, 1, flags & MSG_MORE, false, false);
    thread.pipe_wanted = false;
    errno = saved;
    return t.result == RESULT_OK && t.moved == iov->iov_len ? (ssize_t)t.moved
                                                            : send_on(d, fd, iov, 1, flags, &t, &before);
}

unsigned stream_touch_pinned(struct desc *d, int fd)
{
    unsigned touched = TOUCH_PROTECTED;
    if (core->conn_calm(d->conn) && !atomic_load(&d->helped))
        return touched;
    if (core->conn_unstarted(d->conn))
        result_ignore(core->conn_drive(d->conn, fd));
    helper_kick(d);
    if (__builtin_expect(helper_absent(), 0) && core->conn_needs_tick(d->conn)) {
        struct conn_need need;
        core->conn_tick(d->conn, fd, &need);
        touched |= need.idle ? 0 : TOUCH_BUSY;
    }
    if (core->conn_leftover(d->conn))
        touched |= TOUCH_LEFTOVER;
    return touched;
}

unsigned stream_touch(struct desc *d, int fd)
{
    if (!desc_enter(d, fd))
        return TOUCH_PROTECTED;
    unsigned touched = stream_touch_pinned(d, fd);
    desc_leave(d);
    return touched;
}

const struct timespec *stream_wait_slice(const struct timespec *left, unsigned touched, struct timespec *slice)
{
    enum { BUSY_LOOK_NS = 10000000 };
    *slice = (struct timespec){0, touched & TOUCH_LEFTOVER ? 0 : BUSY_LOOK_NS};
    bool shorter = !left || left->tv_sec > slice->tv_sec || left->tv_nsec > slice->tv_nsec;
    return (touched & (TOUCH_LEFTOVER | TOUCH_BUSY)) && shorter ? slice : left;
}

bool stream_writable(struct desc *d, int fd)
{
    if (!desc_enter(d, fd))
        return true;
    bool blocked = core->conn_writing_blocked(d->conn);
    desc_leave(d);
    return !blocked;
}

void stream_pause(unsigned round)
{
    struct timespec t = {0, round < 10 ? 100000 : 1000000};
    if (round > 1)
        sys2(SYS_nanosleep, &t, NULL);
}

bool stream_readable(struct desc *d, int fd)
{
    if (!desc_enter(d, fd))
        return true;
    enum result result = core->conn_ready(d->conn, fd);
    bool shut = core->conn_reading_shut(d->conn);
    helper_kick(d);
    desc_leave(d);
    return result != RESULT_AGAIN || shut;
}
