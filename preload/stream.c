/* Waiting. Bytes move by non-blocking calls while the connection is pinned; a call that must wait does so unpinned, in
 * the kernel's own blocking call on the socket, so that EINTR, SA_RESTART, timeouts and cancellation come out as
 * libc's. */
#include "stream.h"

#include "io.h"
#include "sys.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/time.h>

enum { FOREIGN_OWNER_MS = 100 };

bool stream_is_blocking(int fd)
{
    long flags = sys3(SYS_fcntl, (long)fd, F_GETFL, 0L);
    return flags >= 0 && !(flags & O_NONBLOCK);
}

/* Asked from the kernel, where all processes that share the socket have set it and none can forge it. */
int64_t stream_deadline_of(int fd, int option)
{
    struct timeval t = {0, 0};
    socklen_t len = sizeof t;
    if (sys5(SYS_getsockopt, (long)fd, SOL_SOCKET, (long)option, &t, &len) != 0 || (!t.tv_sec && !t.tv_usec))
        return INT64_MAX;
    return io_now_ms() + (int64_t)t.tv_sec * 1000 + (t.tv_usec + 999) / 1000;
}

static int64_t left_until(int64_t deadline_ms)
{
    if (deadline_ms == INT64_MAX)
        return -1;
    int64_t left = deadline_ms - io_now_ms();
    return left > 0 ? left : 0;
}

/* poll(2) by libc, a cancellation point. 0: ready; EAGAIN: time is over; EINTR. */
static int wait_poll(int fd, short events, int64_t timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = events};
    int r = real()->poll(&p, 1, timeout_ms > 1 << 30 ? 1 << 30 : (int)timeout_ms);
    if (r < 0)
        return errno;
    return r ? 0 : EAGAIN;
}

/* poll(2), and futex(2) with a timeout, say EINTR also after a handler with SA_RESTART, where the call that the program
 * made would go on. Whether one without it has run, the wrapper of handlers knows (signals.c). */
static int unless_restarted(int error, unsigned interruptions_before)
{
    return error == EINTR && thread.interruptions == interruptions_before ? 0 : error;
}

/* The owner of the handshake moves on by itself: the helper of this process, or another process. The wait without a
 * timeout is restarted by the kernel after a handler with SA_RESTART, as the call of the program would be. */
int stream_wait_handshake(struct desc *d, int fd, int64_t timeout_ms)
{
    int64_t deadline = timeout_ms < 0 ? INT64_MAX : io_now_ms() + timeout_ms;
    unsigned interruptions = thread.interruptions;
    for (;;) {
        if (!desc_enter(d, fd))
            return EBADF;
        enum result state = core->conn_drive(d->conn, fd);
        bool ours = core->conn_owns_handshake(d->conn);
        if (state == RESULT_AGAIN && ours && !helper_running()) { /* nobody else watches the clock */
            struct conn_need need;
            core->conn_tick(d->conn, fd, &need);
            state = core->conn_state(d->conn);
        }
        helper_kick(d);
        desc_leave(d);
        if (state != RESULT_AGAIN)
            return 0;
        int64_t left = left_until(deadline);
        if (left == 0)
            return ETIMEDOUT;
        int error;
        if (ours && !helper_running())
            error = wait_poll(fd, POLLIN, left < 0 || left > 1000 ? 1000 : left);
        else
            error = core->conn_wait_state(d->conn, ours ? (int)left : FOREIGN_OWNER_MS);
        if (deadline == INT64_MAX)
            error = unless_restarted(error, interruptions);
        if (error == EINTR)
            return EINTR;
    }
}

static bool connecting(struct desc *d, int fd)
{
    int established = 1, close_wait = 8; /* TCP_ESTABLISHED, TCP_CLOSE_WAIT (tcp(7), TCP_INFO) */
    if (!core->conn_is_connector(d->conn) || !core->conn_unstarted(d->conn))
        return false;
    int tcp = io_transport.tcp_state(fd);
    return tcp != established && tcp != close_wait;
}

int stream_wait_readable(struct desc *d, int fd, int flags, int64_t deadline_ms)
{
    char byte;
    if (connecting(d, fd)) { /* the kernel knows what to say of a socket that is not connected (yet) */
        ssize_t k = real()->recv(fd, &byte, 1, MSG_PEEK | (flags & MSG_DONTWAIT));
        return k < 0 ? errno : 0;
    }
    if (core->conn_state(d->conn) == RESULT_AGAIN) {
        if ((flags & MSG_DONTWAIT) || !stream_is_blocking(fd))
            return EAGAIN;
        int error = stream_wait_handshake(d, fd, left_until(deadline_ms));
        return error == ETIMEDOUT ? EAGAIN : error;
    }
    if (deadline_ms != INT64_MAX) {
        if ((flags & MSG_DONTWAIT) || !stream_is_blocking(fd))
            return EAGAIN;
        return wait_poll(fd, POLLIN | POLLRDHUP, left_until(deadline_ms));
    }
    ssize_t k = real()->recv(fd, &byte, 1, MSG_PEEK | (flags & MSG_DONTWAIT));
    return k < 0 ? errno : 0;
}

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

/* One try. Returns its result; a hold is taken if the caller is to wait. */
static enum result receive_once(struct desc *d, int fd, struct vec *v, bool peek, size_t *got, int *error)
{
    *got = 0;
    if (!desc_enter(d, fd)) {
        *error = EBADF;
        return RESULT_IO;
    }
    enum result result = core->conn_read(d->conn, fd, v->at, v->left, peek, got, error);
    if (result == RESULT_AGAIN && core->conn_reading_shut(d->conn))
        result = RESULT_EOF;
    if (result == RESULT_AGAIN)
        desc_hold(d);
    helper_kick(d);
    desc_leave(d);
    return result;
}

ssize_t stream_receive(struct desc *d, int fd, const struct iovec *iov, int count, int flags)
{
    struct vec v;
    size_t want = total_of(iov, count), done = 0, enough = at_least(d, want, flags);
    int64_t deadline_ms = INT64_MAX;
    int saved = errno;
    vec_init(&v, iov, count);
    while (done < want) {
        size_t got = 0;
        int error = 0;
        enum result result =
            done >= enough && !v.left ? RESULT_OK : receive_once(d, fd, &v, flags & MSG_PEEK, &got, &error);
        done += got;
        if (result == RESULT_EOF)
            break;
        if (result == RESULT_OK) {
            bool window_full = vec_advance(&v, got);
            if ((done >= enough && !(window_full && v.left)) || (flags & MSG_PEEK))
                break;
            continue;
        }
        if (result != RESULT_AGAIN) {
            if (done)
                break;
            return stream_special(error);
        }
        if (done >= enough) {
            desc_release(d);
            break;
        }
        if (deadline_ms == INT64_MAX)
            deadline_ms = stream_deadline_of(fd, SO_RCVTIMEO);
        error = stream_wait_readable(d, fd, flags, deadline_ms);
        desc_release(d);
        if (error && !done)
            return stream_special(error);
        if (error)
            break;
    }
    errno = saved;
    return (ssize_t)done;
}

struct turn {
    struct desc *d;
    int fd;
    bool sent;
};

static void end_turn(void *arg)
{
    struct turn *t = arg;
    thread_enter();
    core->conn_turn_end(t->d->conn, t->sent);
    thread_leave();
}

/* Sends the one byte that must come next in a blocking call of the kernel. A cancelled thread gives its turn back. */
static int wait_by_sending(struct desc *d, int fd, uint8_t byte)
{
    struct turn turn = {d, fd, false};
    int error = 0;
    pthread_cleanup_push(end_turn, &turn);
    ssize_t k = real()->send(fd, &byte, 1, MSG_NOSIGNAL | MSG_MORE);
    turn.sent = k == 1;
    error = k < 0 ? errno : 0;
    pthread_cleanup_pop(1);
    return error;
}

int stream_wait_writable(struct desc *d, int fd, int flags, int64_t deadline_ms, bool *roomy)
{
    uint8_t byte;
    *roomy = false;
    if ((flags & MSG_DONTWAIT) || !stream_is_blocking(fd))
        return EAGAIN;
    if (core->conn_state(d->conn) == RESULT_AGAIN) {
        int error = stream_wait_handshake(d, fd, left_until(deadline_ms));
        return error == ETIMEDOUT ? EAGAIN : error;
    }
    if (deadline_ms != INT64_MAX) {
        *roomy = true;
        return wait_poll(fd, POLLOUT, left_until(deadline_ms));
    }
    thread_enter();
    enum result turn = core->conn_turn_take(d->conn, &byte);
    thread_leave();
    if (turn == RESULT_OK) {
        *roomy = true;
        return wait_by_sending(d, fd, byte);
    }
    unsigned interruptions = thread.interruptions;
    int error = core->conn_wait_state(d->conn, FOREIGN_OWNER_MS);
    if (error != EINTR)
        error = wait_poll(fd, POLLOUT, FOREIGN_OWNER_MS);
    return error == EAGAIN ? 0 : unless_restarted(error, interruptions);
}

ssize_t stream_write_failed(size_t done, int error, int flags, int saved)
{
    errno = saved;
    if (done)
        return (ssize_t)done;
    if (error == EPIPE && !(flags & MSG_NOSIGNAL))
        sys3(SYS_tgkill, (long)getpid(), sys0(SYS_gettid), (long)SIGPIPE);
    errno = error;
    return -1;
}

int stream_not_connected(struct desc *d, int fd)
{
    if (!core->conn_unstarted(d->conn) || !connecting(d, fd))
        return 0;
    long k = sys6(SYS_sendto, fd, SYS_ARG(""), 0, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
    return k < 0 && k != -EAGAIN ? (int)-k : 0;
}

/* One try, as receive_once. */
static enum result send_once(struct desc *d, int fd, struct vec *v, bool more, bool roomy, size_t *put, int *error)
{
    enum result result = RESULT_IO;
    *put = 0;
    if (!desc_enter(d, fd)) {
        *error = EBADF;
        return RESULT_IO;
    }
    *error = stream_not_connected(d, fd);
    if (!*error)
        result = core->conn_write(d->conn, fd, v->at, v->left, more, roomy, put, error);
    if (atomic_load(&d->nodelay_forced) && *put && core->conn_state(d->conn) == RESULT_OK)
        restore_nagle(fd, d);
    if (result == RESULT_AGAIN)
        desc_hold(d);
    helper_kick(d);
    desc_leave(d);
    return result;
}

ssize_t stream_send(struct desc *d, int fd, const struct iovec *iov, int count, int flags)
{
    struct vec v;
    size_t want = total_of(iov, count), done = 0;
    int64_t deadline_ms = INT64_MAX;
    bool roomy = false;
    int saved = errno;
    vec_init(&v, iov, count);
    do {
        size_t put = 0;
        int error = 0;
        bool more = (flags & MSG_MORE) || done + total_of(v.at, v.left) < want;
        enum result result = send_once(d, fd, &v, more, roomy, &put, &error);
        roomy = false;
        done += put;
        vec_advance(&v, put);
        if (result == RESULT_OK)
            continue;
        if (result != RESULT_AGAIN)
            return stream_write_failed(done, error, flags, saved);
        if (deadline_ms == INT64_MAX)
            deadline_ms = stream_deadline_of(fd, SO_SNDTIMEO);
        error = stream_wait_writable(d, fd, flags, deadline_ms, &roomy);
        desc_release(d);
        if (error)
            return stream_write_failed(done, error, flags, saved);
    } while (done < want);
    errno = saved;
    return (ssize_t)done;
}

void stream_touch(struct desc *d, int fd)
{
    if (!desc_enter(d, fd))
        return;
    if (core->conn_unstarted(d->conn))
        result_ignore(core->conn_drive(d->conn, fd));
    helper_kick(d);
    desc_leave(d);
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
