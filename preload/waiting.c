/* Waiting: in the kernel's own blocking call on the socket, so that EINTR, SA_RESTART, timeouts and cancellation come
 * out as libc's. Nothing is pinned here; the caller has begun a wait for d (waits.h). */
#include "io.h"
#include "stream.h"
#include "sys.h"
#include "waits.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/time.h>

enum { FOREIGN_OWNER_MS = 100, OWN_LOOK_MS = 1000 };

static _Atomic bool modes_lost; /* O_NONBLOCK may change without our seeing it */

void stream_modes_lost(void)
{
    atomic_store(&modes_lost, true);
}

void stream_modes_change(struct desc *d)
{
    uint32_t before = atomic_load(&d->modes);
    while (!atomic_compare_exchange_weak(&d->modes, &before, (before & ~1u) + 2))
        continue;
}

void stream_modes_changed(struct desc *d)
{
    atomic_fetch_add(&d->modes_set, 1);
}

/* What the kernel said of O_NONBLOCK holds until somebody sets it anew, where this process alone has had the socket:
 * clients ask for events of a socket three times in a request (redis-benchmark), and each time this is asked. */
bool stream_is_blocking(struct desc *d, int fd)
{
    if (forbidden.control)
        return !d->nonblocking;
    bool ours = d->native && !atomic_load(&modes_lost) && core->conn_sole(d->conn);
    uint32_t modes = atomic_load(&d->modes);
    if (ours && (modes & 1))
        return false;
    bool settled = ours && atomic_load(&d->modes_set) == modes >> 1;
    long flags = sys3(SYS_fcntl, (long)fd, F_GETFL, 0L);
    bool blocking = flags < 0 || !(flags & O_NONBLOCK); /* not to be asked: the kernel's own calls know */
    if (settled && !blocking)
        atomic_compare_exchange_strong(&d->modes, &modes, modes | 1);
    return blocking;
}

bool stream_appends(int fd)
{
    long flags = forbidden.control ? -EPERM : sys3(SYS_fcntl, (long)fd, F_GETFL, 0L);
    return flags >= 0 && (flags & O_APPEND);
}

/* When a call that begins to wait now has to give up: by the socket's own SO_RCVTIMEO or SO_SNDTIMEO, asked from the
 * kernel, where all processes that share the socket have set it and none can forge it. */
static int64_t timeout_of(int fd, int option)
{
    struct timeval t = {0, 0};
    socklen_t len = sizeof t;
    if (sys5(SYS_getsockopt, (long)fd, SOL_SOCKET, (long)option, &t, &len) != 0)
        return 0;
    return (int64_t)t.tv_sec * 1000 + (t.tv_usec + 999) / 1000;
}

int64_t stream_deadline_since(const struct desc *d, int fd, int option, int64_t began_ms)
{
    int64_t ms;
    if (forbidden.options || (d->fresh && core->conn_sole(d->conn)))
        ms = option == SO_RCVTIMEO ? d->receive_ms : d->send_ms;
    else
        ms = timeout_of(fd, option);
    return ms ? began_ms + ms : INT64_MAX;
}

int64_t stream_deadline_of(const struct desc *d, int fd, int option)
{
    return stream_deadline_since(d, fd, option, io_now_ms());
}

/* In the handshake, if it is this process's and has begun: its owner alone knows what the bytes are that come. */
bool stream_waits_in_kernel(const struct desc *d, const struct stream_signals *before)
{
    enum result state = core->conn_state(d->conn);
    bool reads = state == RESULT_OK || (state == RESULT_AGAIN && !core->conn_unstarted(d->conn) &&
                                        core->conn_owns_handshake(d->conn) && helper_running());
    return reads && !forbidden.receive && !helper_absent() && thread.handlers == before->handlers;
}

void stream_note_modes(struct desc *d, int fd)
{
    if (!forbidden.control)
        d->nonblocking = !stream_is_blocking(d, fd);
    if (forbidden.options)
        return;
    d->receive_ms = timeout_of(fd, SO_RCVTIMEO);
    d->send_ms = timeout_of(fd, SO_SNDTIMEO);
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
    struct timespec t = {timeout_ms / 1000, timeout_ms % 1000 * 1000000};
    int r;
    if (forbidden.ppoll)
        r = real()->poll(&p, 1, timeout_ms > 1 << 30 ? 1 << 30 : (int)timeout_ms);
    else
        r = real()->ppoll(&p, 1, timeout_ms < 0 ? NULL : &t, NULL);
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

/* Has a handler run since the call began, that ends it? The kernel's own wait would not know. */
static bool interrupted(int64_t deadline_ms, const struct stream_signals *before)
{
    return __builtin_expect(thread.handlers != before->handlers, 0) &&
           (deadline_ms != INT64_MAX || thread.interruptions != before->interruptions);
}

/* Without a helper, what the kernel did not take of a record waits here for room, with whoever waits for the answer. */
enum { REST_LOOK_MS = 20 };
static bool push_rest(struct desc *d, int fd)
{
    struct conn_need need = {.idle = true};
    if (!helper_absent() || !core->conn_needs_tick(d->conn) || !desc_enter(d, fd))
        return false;
    core->conn_tick(d->conn, fd, &need);
    desc_leave(d);
    return !need.idle;
}

/* Where MSG_PEEK is forbidden. 0, or the errno, as stream_wait_readable. */
static int wait_to_read(struct desc *d, int fd, int flags, int64_t deadline_ms)
{
    unsigned interruptions = thread.interruptions;
    if ((flags & MSG_DONTWAIT) || !stream_is_blocking(d, fd))
        return EAGAIN;
    int64_t left = left_until(deadline_ms);
    bool resting = push_rest(d, fd);
    if (resting && (left < 0 || left > REST_LOOK_MS))
        left = REST_LOOK_MS;
    int error = wait_poll(fd, POLLIN | POLLRDHUP, left);
    if (resting && error == EAGAIN)
        return 0;
    return deadline_ms == INT64_MAX ? unless_restarted(error, interruptions) : error;
}

/* The owner of the handshake moves on by itself: the helper of this process, or another process. A look now and then:
 * a hostile co-holder changes the word that is waited on, and wakes nobody. */
int stream_wait_handshake(struct desc *d, int fd, int64_t deadline_ms, const struct stream_signals *before,
                          bool is_cancellation_point)
{
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
        if (state == RESULT_AGAIN && ours)
            helper_add(d); /* it is the one that wakes us */
        else
            helper_kick(d);
        desc_leave(d);
        if (state != RESULT_AGAIN)
            return 0;
        if (is_cancellation_point) /* a futex is none */
            pthread_testcancel();
        if (interrupted(deadline_ms, before))
            return EINTR;
        int64_t left = left_until(deadline_ms);
        if (left == 0)
            return ETIMEDOUT;
        int error;
        if (ours && !helper_running())
            error = wait_poll(fd, POLLIN, left < 0 || left > 1000 ? 1000 : left);
        else
            error = core->conn_wait_state(d->conn, !ours                            ? FOREIGN_OWNER_MS
                                                   : left < 0 || left > OWN_LOOK_MS ? OWN_LOOK_MS
                                                                                    : (int)left);
        if (deadline_ms == INT64_MAX)
            error = unless_restarted(error, before->interruptions);
        if (error == EINTR)
            return EINTR;
    }
}

int stream_verdict(struct desc *d, int fd, const struct stream_signals *before)
{
    if (!desc_enter(d, fd))
        return (int)stream_special(EBADF);
    unsigned wait = wait_begin(d);
    desc_leave(d);
    int error = stream_wait_handshake(d, fd, stream_deadline_of(d, fd, SO_SNDTIMEO), before, true);
    d->verdict_due = error == EINTR || error == ETIMEDOUT;
    if (error == ETIMEDOUT)
        error = EINPROGRESS;
    if (!error)
        error = core->conn_take_error(d->conn);
    wait_end(d, wait);
    return error ? (int)stream_special(error) : 0;
}

bool stream_is_connecting(struct desc *d, int fd)
{
    int established = 1, close_wait = 8; /* TCP_ESTABLISHED, TCP_CLOSE_WAIT (tcp(7), TCP_INFO) */
    if (!core->conn_is_connector(d->conn) || !core->conn_unstarted(d->conn))
        return false;
    int tcp = io_transport.tcp_state(fd);
    return tcp != established && tcp != close_wait;
}

/* The kernel has told the program's call of a reset. Where the handshake has been refused meanwhile, that is the reason
 * and the reset what followed; where it goes on, for it an end is what is left of the reset, which is told once. */
static int reason_of(struct desc *d, int fd, int error)
{
    bool of_the_call = !error || error == EINTR || error == EAGAIN || error == EBADF;
    if (of_the_call || core->conn_state(d->conn) == RESULT_OK || !desc_enter(d, fd))
        return error;
    int own = core->conn_take_error(d->conn);
    if (!own)
        core->conn_error_told(d->conn);
    desc_leave(d);
    return own ? own : error;
}

/* A reader waits in the kernel for what the peer says next, and drives the handshake himself: no other thread need be
 * woken, and neither O_NONBLOCK nor SO_RCVTIMEO asked for. If somebody else takes it, what he waits for is data, or the
 * end that a handshake shows him that has failed (conn_wake_readers). False: he must wait for the handshake's end. */
static bool wait_for_flight(struct desc *d, int fd, int64_t deadline_ms, const struct stream_signals *before,
                            int *error)
{
    char byte;
    if (deadline_ms != INT64_MAX || !stream_waits_in_kernel(d, before))
        return false;
    unsigned token = wait_read_begin(d);
    if (!token)
        return false;
    ssize_t k = real()->recv(fd, &byte, 1, MSG_PEEK);
    *error = reason_of(d, fd, k < 0 ? errno : 0); /* first: while a reader is there the helper leaves the rest to him */
    wait_read_end(d, token);
    return true;
}

/* Nothing to read now. */
int stream_wait_readable(struct desc *d, int fd, int flags, int64_t deadline_ms, const struct stream_signals *before)
{
    char byte;
    if (interrupted(deadline_ms, before) && !(flags & MSG_DONTWAIT) && stream_is_blocking(d, fd))
        return EINTR;
    if (stream_is_connecting(d, fd)) { /* the kernel knows what to say of a socket that is not connected (yet) */
        ssize_t k = real()->recv(fd, &byte, 1, MSG_PEEK | (flags & MSG_DONTWAIT));
        if (k == 0 && stream_is_connecting(d, fd))
            return STREAM_ENDED;
        return k < 0 ? errno : 0;
    }
    if (core->conn_state(d->conn) == RESULT_AGAIN) {
        int error = EAGAIN;
        if ((flags & MSG_DONTWAIT) || wait_for_flight(d, fd, deadline_ms, before, &error))
            return error;
        if (!stream_is_blocking(d, fd))
            return EAGAIN;
        error = stream_wait_handshake(d, fd, deadline_ms, before, true);
        return error == ETIMEDOUT ? EAGAIN : error;
    }
    if (deadline_ms != INT64_MAX || forbidden.receive || helper_absent())
        return wait_to_read(d, fd, flags, deadline_ms);
    ssize_t k = real()->recv(fd, &byte, 1, MSG_PEEK | (flags & MSG_DONTWAIT));
    return reason_of(d, fd, k < 0 ? errno : 0);
}

/* Sends the one byte that must come next in a blocking call of the kernel. */
static int wait_by_sending(struct desc *d, int fd, unsigned turn, uint8_t byte)
{
    ssize_t k = real()->send(fd, &byte, 1, MSG_NOSIGNAL | MSG_MORE);
    int error = k < 0 ? errno : 0;
    wait_turn_end(d, turn, k == 1);
    return error;
}

/* No room now. 0: try again (*roomy: without asking first). Otherwise the errno. */
int stream_wait_writable(struct desc *d, int fd, int flags, int64_t deadline_ms, const struct stream_signals *before,
                         bool *roomy)
{
    uint8_t byte;
    *roomy = false;
    if ((flags & MSG_DONTWAIT) || !stream_is_blocking(d, fd))
        return EAGAIN;
    if (interrupted(deadline_ms, before))
        return EINTR;
    if (core->conn_state(d->conn) == RESULT_AGAIN) {
        int error = stream_wait_handshake(d, fd, deadline_ms, before, true);
        return error == ETIMEDOUT ? EAGAIN : error;
    }
    if (deadline_ms != INT64_MAX || forbidden.send || helper_absent()) {
        *roomy = !forbidden.send;
        return wait_poll(fd, POLLOUT, left_until(deadline_ms));
    }
    library_enter(); /* the slot does not move meanwhile */
    enum result taken = core->conn_turn_take(d->conn, &byte);
    unsigned turn = taken == RESULT_OK ? wait_turn_begin(d, fd) : 0;
    library_leave();
    if (taken == RESULT_OK) {
        *roomy = true;
        return wait_by_sending(d, fd, turn, byte);
    }
    unsigned interruptions = thread.interruptions;
    int error = core->conn_wait_state(d->conn, FOREIGN_OWNER_MS);
    if (error != EINTR)
        error = wait_poll(fd, POLLOUT, FOREIGN_OWNER_MS);
    return error == EAGAIN ? 0 : unless_restarted(error, interruptions);
}

/* Where no helper sends the rest of a record, a blocking write does. */
void stream_wait_rest_out(struct desc *d, int fd, int flags)
{
    if ((flags & MSG_DONTWAIT) || !desc_enter(d, fd))
        return;
    unsigned wait = wait_begin(d);
    desc_leave(d);
    while (stream_is_blocking(d, fd) && push_rest(d, fd) && wait_poll(fd, POLLOUT, REST_LOOK_MS) != EINTR)
        ;
    wait_end(d, wait);
}
