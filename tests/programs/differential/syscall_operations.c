/* The calls that a program makes by syscall(2), which have no function's name on them. */
#include "differential.h"

#include <linux/close_range.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>

/* Those that move bytes: writing ones first. */
enum {
    CALL_WRITE = 0,
    CALL_SENDTO,
    CALL_WRITEV,
    CALL_SENDMSG,
    CALL_SENDMMSG,
    CALL_PWRITEV2,
    CALL_READ,
    CALL_RECVFROM,
    CALL_READV,
    CALL_RECVMSG,
    CALL_RECVMMSG,
    CALL_PREADV2,
    CALLS
};

static long call_by_number(struct call *c, struct iovec *iov)
{
    struct mmsghdr m = {.msg_hdr = {.msg_iov = iov, .msg_iovlen = 1}, .msg_len = 0};
    long fd = c->fd, len = (long)iov->iov_len, quiet = MSG_NOSIGNAL, now = MSG_DONTWAIT, n = -1;
    switch (c->step->variant) {
    case CALL_WRITE:
        return RUN_BLOCKING(c, syscall(SYS_write, fd, area, len));
    case CALL_SENDTO:
        return RUN_BLOCKING(c, syscall(SYS_sendto, fd, area, len, quiet, NULL, 0L));
    case CALL_WRITEV:
        return RUN_BLOCKING(c, syscall(SYS_writev, fd, iov, 1L));
    case CALL_SENDMSG:
        return RUN_BLOCKING(c, syscall(SYS_sendmsg, fd, &m.msg_hdr, quiet));
    case CALL_SENDMMSG:
        n = RUN_BLOCKING(c, syscall(SYS_sendmmsg, fd, &m, 1L, quiet));
        break;
    case CALL_PWRITEV2:
        return RUN_BLOCKING(c, syscall(SYS_pwritev2, fd, iov, 1L, -1L, -1L, 0L));
    case CALL_READ:
        return RUN_BLOCKING(c, syscall(SYS_read, fd, area, len));
    case CALL_RECVFROM:
        return RUN_BLOCKING(c, syscall(SYS_recvfrom, fd, area, len, now, NULL, NULL));
    case CALL_READV:
        return RUN_BLOCKING(c, syscall(SYS_readv, fd, iov, 1L));
    case CALL_RECVMSG:
        return RUN_BLOCKING(c, syscall(SYS_recvmsg, fd, &m.msg_hdr, now));
    case CALL_RECVMMSG:
        n = RUN_BLOCKING(c, syscall(SYS_recvmmsg, fd, &m, 1L, now, NULL));
        break;
    default:
        return RUN_BLOCKING(c, syscall(SYS_preadv2, fd, iov, 1L, -1L, -1L, 0L));
    }
    note(c, "msg_len", m.msg_len);
    return n == 1 ? (long)m.msg_len : n;
}

static void run_syscall(struct call *c)
{
    struct iovec iov = {area, c->step->len};
    bool writes = c->step->variant < CALL_READ;
    memset(area, FILL, c->step->len + TAIL);
    if (writes)
        stream_fill((uint64_t)(1 - c->number), c->end->sent, area, c->step->len);
    long n = call_by_number(c, &iov);
    if (n > 0 && writes)
        c->end->sent += (uint64_t)n;
    if (writes)
        return;
    size_t got = n > 0 ? (size_t)n : 0;
    note(c, "differs at", stream_differs((uint64_t)c->number, c->end->received, area, got));
    note(c, "touched behind the result", fill_differs(area + got, c->step->len + TAIL - got));
    c->end->received += got;
}

/* Those that move none, on the number itself. */
static void run_syscall_control(struct call *c)
{
    struct sockaddr_in to = c->side->address[1 - c->number];
    long fd = c->fd, level = SOL_SOCKET, size = sizeof(to);
    int value = 1, there = -77;
    socklen_t len = sizeof(value);
    if (!c->end->dissolved && !end_is_reset(c->end)) /* or it may connect */
        RUN(c, syscall(SYS_connect, fd, &to, size));
    RUN(c, syscall(SYS_bind, fd, &to, 4L));
    RUN(c, syscall(SYS_accept4, fd, NULL, NULL, 0x1234L));
    RUN(c, syscall(SYS_shutdown, fd, 77L));
    RUN(c, syscall(SYS_setsockopt, fd, level, (long)SO_KEEPALIVE, &value, (long)len));
    RUN(c, syscall(SYS_getsockopt, fd, level, (long)SO_KEEPALIVE, &value, &len));
    note(c, "SO_KEEPALIVE", value);
    RUN(c, syscall(SYS_fcntl, fd, (long)F_GETFL, 0L));
    RUN(c, syscall(SYS_ioctl, fd, (long)FIONREAD, &there));
    note(c, "FIONREAD", there);
    RUN(c, syscall(SYS_tee, fd, fd, 10L, 0L));
    RUN(c, syscall(SYS_vmsplice, fd, NULL, 0L, 0L));
    RUN(c, syscall(SYS_splice, fd, NULL, fd, NULL, 10L, 0L));
    RUN(c, syscall(SYS_pread64, fd, area, 10L, 0L));
    RUN(c, syscall(SYS_pwrite64, fd, area, 10L, 0L));
    RUN(c, syscall(SYS_lseek, fd, 0L, 0L));
}

/* Those that make and take away numbers. */
static void run_syscall_numbers(struct call *c)
{
    long fd = c->fd, copies[] = {-1, -1, -1, -1};
    long target = SYS(fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 200));
    copies[0] = syscall(SYS_dup, fd);
    copies[1] = syscall(SYS_fcntl, fd, (long)F_DUPFD_CLOEXEC, 300L);
    copies[2] = syscall(SYS_fcntl, fd, (long)F_DUPFD, 300L);
    copies[3] = syscall(SYS_dup3, fd, target, (long)O_CLOEXEC);
    for (unsigned i = 0; i < 4; i++) {
        note(c, "copied", copies[i] >= 0);
        if (copies[i] < 0)
            continue;
        note(c, "F_GETFD", fcntl((int)copies[i], F_GETFD));
        stream_fill((uint64_t)(1 - c->number), c->end->sent, area, 10);
        if (RUN(c, send((int)copies[i], area, 10, MSG_NOSIGNAL | MSG_DONTWAIT)) == 10)
            c->end->sent += 10;
        if (i == 1)
            RUN(c, syscall(SYS_close_range, copies[i], copies[i], 0L));
        else
            RUN(c, syscall(SYS_close, copies[i]));
        note(c, "closed", fcntl((int)copies[i], F_GETFD) < 0);
    }
    if (copies[3] < 0)
        SYS(close((int)target));
}

/* Readiness, of an end with or without something to read. */
static void run_syscall_ready(struct call *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN | POLLOUT | POLLRDHUP};
    struct timespec none = {0, 0};
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP}, got = {.events = 0};
    int set = (int)SYS(syscall(SYS_epoll_create1, (long)EPOLL_CLOEXEC));
    if (c->fd < 0)
        p.fd = -1;
    RUN(c, syscall(SYS_ppoll, &p, 1L, &none, NULL, 8L));
    note(c, "revents", p.revents);
    RUN(c, syscall(SYS_epoll_ctl, (long)set, (long)EPOLL_CTL_ADD, (long)c->fd, &e));
    RUN(c, syscall(SYS_epoll_pwait, (long)set, &got, 1L, 0L, NULL, 8L));
    note(c, "events", got.events);
    RUN(c, syscall(SYS_epoll_ctl, (long)set, (long)EPOLL_CTL_DEL, (long)c->fd, NULL));
    SYS(close(set));
}

static const unsigned no_flags[] = {0, LAST};
static const unsigned no_lengths[] = {0, LAST};
static const unsigned lengths[] = {0, 1, 100, 5000, 20000, LAST};

const struct operation syscall_operations[] = {
    {"syscall", run_syscall, CALLS, CHILD, no_flags, lengths, 6},
    {"syscall_control", run_syscall_control, 1, CHILD, no_flags, no_lengths, 1},
    {"syscall_numbers", run_syscall_numbers, 1, CHILD, no_flags, no_lengths, 1},
    {"syscall_ready", run_syscall_ready, 1, CHILD, no_flags, no_lengths, 2},
    {NULL},
};
