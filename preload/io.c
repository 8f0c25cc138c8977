/* The transport of src/conn.h on system calls: non-blocking, silent, never a cancellation point. */
#include "io.h"

#include "state.h"

#include "stack.h"
#include "sys.h"
#include "table.h"
#include "waits.h"

#include <asm/ioctls.h>
#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

static ssize_t io_receive(int fd, const struct iovec *iov, int count, bool peek)
{
    int flags = MSG_DONTWAIT | (peek ? MSG_PEEK : 0);
    if (count == 1)
        return sys6(SYS_recvfrom, fd, SYS_ARG(iov->iov_base), (long)iov->iov_len, flags, 0, 0);
    struct msghdr m = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)count};
    return sys3(SYS_recvmsg, (long)fd, &m, (long)flags);
}

static ssize_t io_send(int fd, const struct iovec *iov, int count, bool more)
{
    int flags = MSG_DONTWAIT | MSG_NOSIGNAL | (more ? MSG_MORE : 0);
    if (count == 1)
        return sys6(SYS_sendto, fd, SYS_ARG(iov->iov_base), (long)iov->iov_len, flags, 0, 0);
    struct msghdr m = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)count};
    return sys3(SYS_sendmsg, (long)fd, &m, (long)flags);
}

static long io_old_poll(struct pollfd *fds, size_t n, int64_t ms)
{
#ifdef SYS_poll
    return sys3(SYS_poll, fds, (long)n, (long)(ms > 1 << 30 ? 1 << 30 : ms));
#else
    (void)fds, (void)n, (void)ms;
    return -ENOSYS;
#endif
}

long io_poll(struct pollfd *fds, size_t n, int64_t ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    if (forbidden.ppoll)
        return io_old_poll(fds, n, ms);
    long r = sys5(SYS_ppoll, fds, (long)n, ms < 0 ? NULL : &t, NULL, 0L);
    if (r != -EPERM && r != -ENOSYS)
        return r;
    forbidden.ppoll = true; /* a filter from outside */
    return io_old_poll(fds, n, ms);
}

static bool io_writable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    /* Errors count as writable: sending then says which. */
    return io_poll(&p, 1, 0) != 0;
}

static int io_shut(int fd, int how)
{
    if (forbidden.shut)
        return 0;
    return (int)sys2(SYS_shutdown, (long)fd, (long)how);
}

static long io_unread(int fd)
{
    int waiting = 0;
    if (forbidden.queues)
        return -EPERM;
    long r = sys3(SYS_ioctl, (long)fd, SIOCINQ, &waiting);
    return r < 0 ? r : waiting;
}

static long io_unacked(int fd)
{
    int queued = 0;
    if (forbidden.queues)
        return -EPERM;
    long r = sys3(SYS_ioctl, (long)fd, SIOCOUTQ, &queued);
    return r < 0 ? r : queued;
}

/* Only where edge-triggered epoll or SIGIO is; a number of ours is no program's. fd is pinned, or is being closed,
 * while others of the same connection stay. */
static bool waits_for_edges(int fd)
{
    uintptr_t word = table_word(fd);
    const struct desc *d = (const struct desc *)word;
    return word != WORD_OURS && (word < WORD_FIRST_POINTER || !d->native || atomic_load(&d->edges));
}

/* Setting either option calls the socket's wake-up functions, also where the value stays the same: epoll then reports
 * EPOLLIN and EPOLLOUT afresh to edge-triggered waiters; EPOLLOUT only where there is room. Where there is none, who
 * was told EAGAIN by us waits for the kernel's own edge, which comes only for sockets that were found full
 * (SOCK_NOSPACE): by a send that failed, or by a poll. It is asked first, since room may come in between. */
static void io_raise_edges(int fd, bool shared)
{
    int value = 0;
    socklen_t len = sizeof value;
    if (forbidden.options || !(shared || waits_for_edges(fd)))
        return;
    (void)io_writable(fd);
    if (sys5(SYS_getsockopt, (long)fd, SOL_SOCKET, SO_RCVLOWAT, &value, &len) == 0)
        sys5(SYS_setsockopt, (long)fd, SOL_SOCKET, SO_RCVLOWAT, &value, (long)sizeof value);
    len = sizeof value;
    if (sys5(SYS_getsockopt, (long)fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &value, &len) == 0)
        sys5(SYS_setsockopt, (long)fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &value, (long)sizeof value);
}

static void io_acknowledge(int fd)
{
    int on = 1;
    if (!forbidden.options)
        sys5(SYS_setsockopt, (long)fd, IPPROTO_TCP, TCP_QUICKACK, &on, (long)sizeof on);
}

static long tcp_info(int fd, struct tcp_info *info)
{
    socklen_t len = sizeof *info;
    memset(info, 0, sizeof *info);
    return sys5(SYS_getsockopt, (long)fd, IPPROTO_TCP, TCP_INFO, info, &len);
}

static int io_tcp_state(int fd)
{
    struct tcp_info info;
    long r = forbidden.options ? -EPERM : tcp_info(fd, &info);
    if (r == -EPERM || r == -ENOSYS)
        return 1; /* TCP_ESTABLISHED: a filter forbids to ask; sending and receiving tell if not */
    return r < 0 ? (int)r : info.tcpi_state;
}

/* Acknowledged and queued bytes are two questions: asked until no acknowledgement came in between. */
int64_t io_sent_total(int fd)
{
    struct tcp_info before, after;
    if (forbidden.options || forbidden.queues)
        return -1;
    for (int tries = 0; tries < 100; tries++) {
        long queued, error = tcp_info(fd, &before);
        if (error < 0 || (queued = io_unacked(fd)) < 0 || tcp_info(fd, &after) < 0)
            return -1;
        if (before.tcpi_bytes_acked == after.tcpi_bytes_acked)
            return (int64_t)before.tcpi_bytes_acked + queued;
    }
    return -1;
}

static bool take_end(const struct sockaddr_storage *a, struct reflection_end *out)
{
    const struct sockaddr_in *v4 = (const void *)a;
    const struct sockaddr_in6 *v6 = (const void *)a;

    if (a->ss_family == AF_INET6) {
        memcpy(out->address, &v6->sin6_addr, sizeof out->address);
        memcpy(out->port, &v6->sin6_port, sizeof out->port);
        return true;
    }
    memset(out->address, 0, 10);
    memset(out->address + 10, 0xff, 2);
    memcpy(out->address + 12, &v4->sin_addr, 4);
    memcpy(out->port, &v4->sin_port, sizeof out->port);
    return a->ss_family == AF_INET;
}

static void io_ends(int fd, struct reflection_ends *out)
{
    struct sockaddr_storage local = {0}, remote = {0};
    socklen_t local_len = sizeof local, remote_len = sizeof remote;

    *out = (struct reflection_ends){0};
    if (!forbidden.options && sys3(SYS_getsockname, (long)fd, &local, &local_len) == 0 &&
        sys3(SYS_getpeername, (long)fd, &remote, &remote_len) == 0)
        out->known = take_end(&local, &out->local) && take_end(&remote, &out->remote);
}

int64_t io_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool io_unhelped(void)
{
    return !helper_running();
}

const struct conn_io io_transport = {
    .receive = io_receive,
    .send = io_send,
    .writable = io_writable,
    .unread = io_unread,
    .shut = io_shut,
    .unacked = io_unacked,
    .raise_edges = io_raise_edges,
    .acknowledge = io_acknowledge,
    .tcp_state = io_tcp_state,
    .ends = io_ends,
    .now_ms = io_now_ms,
    .hold_streams = streams_hold,
    .shallow = stack_is_left_to_helper,
    .call_with_stack = stack_call,
    .unhelped = io_unhelped,
};

/* Reading and writing where a filter forbids recvfrom or sendto (sandbox.h): poll first, so that blocking descriptors
 * do not block. */
static short io_events(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};
    return io_poll(&p, 1, 0) > 0 ? p.revents : 0;
}

static ssize_t io_read(int fd, const struct iovec *iov, int count, bool peek)
{
    ssize_t done = 0;
    if (peek)
        return -EOPNOTSUPP;
    for (int i = 0; i < count; i++) {
        if (!io_events(fd, POLLIN | POLLRDHUP))
            return done ? done : -EAGAIN;
        long k = sys3(SYS_read, (long)fd, iov[i].iov_base, (long)iov[i].iov_len);
        if (k <= 0)
            return done ? done : k;
        done += k;
        if ((size_t)k < iov[i].iov_len)
            break;
    }
    return done;
}

/* write(2) raises SIGPIPE, and the filter may not let it be taken back: what poll knows is tried only where the
 * program's own call would have raised it. */
static ssize_t io_write_broken(int fd, const struct iovec *iov, short events)
{
    if (!thread.pipe_wanted)
        return events & POLLERR ? -ECONNRESET : -EPIPE;
    long k = sys3(SYS_write, (long)fd, iov->iov_base, (long)iov->iov_len);
    thread.pipe_raised = k == -EPIPE;
    return k;
}

static ssize_t io_write(int fd, const struct iovec *iov, int count, bool more)
{
    ssize_t done = 0;
    (void)more;
    for (int i = 0; i < count; i++) {
        short events = io_events(fd, POLLOUT);
        if (events & (POLLERR | POLLHUP))
            return done ? done : io_write_broken(fd, iov + i, events);
        if (!(events & POLLOUT))
            return done ? done : -EAGAIN;
        long k = sys3(SYS_write, (long)fd, iov[i].iov_base, (long)iov[i].iov_len);
        if (k < 0)
            return done ? done : k;
        done += k;
        if ((size_t)k < iov[i].iov_len)
            break;
    }
    return done;
}

/* What poll calls writable takes this much at once, but for very small send buffers. */
enum { WRITE_MAX = 4096 };

const struct conn_io *io_transport_under(const struct sandbox *sandbox)
{
    static struct conn_io all[2][2]; /* filled for good before a thread sees them */
    if (!sandbox->receive && !sandbox->send)
        return &io_transport;
    struct conn_io *under = &all[sandbox->receive][sandbox->send];
    if (under->now_ms)
        return under;
    *under = io_transport;
    if (sandbox->receive) {
        under->receive = io_read;
        under->no_peek = true;
    }
    if (sandbox->send) {
        under->send = io_write;
        under->send_max = WRITE_MAX;
    }
    return under;
}
