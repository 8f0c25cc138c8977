/* The calls of signal_matrix: each as one function that blocks. */
#ifndef PROGRAMS_SIGNAL_CALLS_H
#define PROGRAMS_SIGNAL_CALLS_H

#include "calls.h"

#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>

enum {
    LARGE = MIB,
    BUFFER = 8 * KIB,
    PART = 10,
    WHOLE = 30,
    TIMEOUT_S = 40,
    LOOKS = 5,
    WRITER_LOOKS = 30,
    AT_ONCE = 8
};

enum phase { OPEN, UNACCEPTED };
enum some { NONE, SOME };

/* One blocked call. */
struct cell {
    const struct call *call;
    enum phase phase;
    bool restart, timeout, partial;
    /* the sockets */
    int fd, peer, listener, other[2]; /* other: a pipe, an epoll set, a file */
    uint16_t port;
    FILE *stream;
    uint8_t *buffer;
    /* the thread that makes the call */
    pthread_t thread;
    atomic_int tid;
    volatile sig_atomic_t handled;
    atomic_bool signalled, returned;
    long result;
    int error;
    struct timespec left; /* what the kernel wrote into a timeout */
};

struct call {
    const char *name;
    long (*make)(struct cell *c);
    enum kind { READS = 1, WRITES, WAITS, ACCEPTS, CONNECTS, CLOSES } kind;
    enum some some; /* can move a part and go on waiting */
};

/* ---- the calls ---- */

static size_t amount(const struct cell *c)
{
    if (c->call->kind == READS)
        return WHOLE;
    return c->partial ? LARGE : 1;
}

#define IOV(c)                                                                                                         \
    {                                                                                                                  \
        (c)->buffer, amount(c)                                                                                         \
    }

static struct msghdr message_of(struct cell *c, struct iovec *iov)
{
    *iov = (struct iovec)IOV(c);
    return (struct msghdr){.msg_iov = iov, .msg_iovlen = 1};
}

static long call_read(struct cell *c)
{
    return read(c->fd, c->buffer, WHOLE);
}

static long call_readv(struct cell *c)
{
    struct iovec iov[2] = {{c->buffer, PART}, {c->buffer + PART, WHOLE - PART}};
    return readv(c->fd, iov, 2);
}

static long call_preadv2(struct cell *c)
{
    struct iovec iov = IOV(c);
    return preadv2(c->fd, &iov, 1, -1, 0);
}

static long call_recv(struct cell *c)
{
    return recv(c->fd, c->buffer, WHOLE, MSG_WAITALL);
}

static long call_recvfrom(struct cell *c)
{
    return recvfrom(c->fd, c->buffer, WHOLE, MSG_WAITALL, NULL, NULL);
}

static long call_recvmsg(struct cell *c)
{
    struct iovec iov;
    struct msghdr m = message_of(c, &iov);
    return recvmsg(c->fd, &m, MSG_WAITALL);
}

static long call_peek(struct cell *c)
{
    return recv(c->fd, c->buffer, WHOLE, MSG_PEEK);
}

static long call_recv_nothing(struct cell *c)
{
    return recv(c->fd, c->buffer, 0, 0);
}

/* 100 times the messages, plus the bytes of the last. */
static long messages(long n, const struct mmsghdr *m)
{
    return n > 0 ? n * 100 + m[n - 1].msg_len : n;
}

static long call_recvmmsg(struct cell *c)
{
    struct iovec iov[2] = {{c->buffer, PART}, {c->buffer + PART, WHOLE - PART}};
    struct mmsghdr m[2] = {{{.msg_iov = iov, .msg_iovlen = 1}, 0}, {{.msg_iov = iov + 1, .msg_iovlen = 1}, 0}};
    return messages(recvmmsg(c->fd, m, 2, 0, NULL), m);
}

static long call_recvmmsg_whole(struct cell *c)
{
    struct iovec iov = IOV(c);
    struct mmsghdr m = {{.msg_iov = &iov, .msg_iovlen = 1}, 0};
    return messages(recvmmsg(c->fd, &m, 1, MSG_WAITALL, NULL), &m);
}

static long call_splice_out(struct cell *c)
{
    return splice(c->fd, NULL, c->other[1], NULL, WHOLE, 0);
}

static long call_fgets(struct cell *c)
{
    char *got = fgets((char *)c->buffer, WHOLE, c->stream);
    return got ? (long)strlen(got) : ferror(c->stream) ? -1 : 0;
}

static long call_write(struct cell *c)
{
    return write(c->fd, c->buffer, amount(c));
}

static long call_writev(struct cell *c)
{
    struct iovec iov = IOV(c);
    return writev(c->fd, &iov, 1);
}

static long call_pwritev2(struct cell *c)
{
    struct iovec iov = IOV(c);
    return pwritev2(c->fd, &iov, 1, -1, 0);
}

static long call_send(struct cell *c)
{
    return send(c->fd, c->buffer, amount(c), 0);
}

static long call_sendto(struct cell *c)
{
    return sendto(c->fd, c->buffer, amount(c), 0, NULL, 0);
}

static long call_sendmsg(struct cell *c)
{
    struct iovec iov;
    struct msghdr m = message_of(c, &iov);
    return sendmsg(c->fd, &m, 0);
}

static long call_sendmmsg(struct cell *c)
{
    struct iovec iov = IOV(c);
    struct mmsghdr m = {{.msg_iov = &iov, .msg_iovlen = 1}, 0};
    long n = sendmmsg(c->fd, &m, 1, 0);
    return n == 1 ? (long)m.msg_len : n;
}

static long call_sendfile(struct cell *c)
{
    off_t at = 0;
    return sendfile(c->fd, c->other[0], &at, amount(c));
}

static long call_splice_in(struct cell *c)
{
    return splice(c->other[0], NULL, c->fd, NULL, 1, 0);
}

static long call_fflush(struct cell *c)
{
    fputc('!', c->stream);
    return fflush(c->stream);
}

static long call_poll(struct cell *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    return poll(&p, 1, TIMEOUT_S * 1000);
}

static long call_ppoll(struct cell *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    sigset_t none;
    sigemptyset(&none);
    c->left.tv_sec = TIMEOUT_S;
    return ppoll(&p, 1, &c->left, &none);
}

static long call_raw_ppoll(struct cell *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    c->left.tv_sec = TIMEOUT_S;
    return syscall(SYS_ppoll, &p, 1, &c->left, NULL, 8);
}

static long call_select(struct cell *c)
{
    fd_set set;
    struct timeval t = {TIMEOUT_S, 0};
    FD_ZERO(&set);
    FD_SET(c->fd, &set);
    long r = select(c->fd + 1, &set, NULL, NULL, &t);
    c->left = (struct timespec){t.tv_sec, t.tv_usec * 1000};
    return r;
}

static long call_pselect(struct cell *c)
{
    fd_set set;
    FD_ZERO(&set);
    FD_SET(c->fd, &set);
    c->left.tv_sec = TIMEOUT_S;
    return pselect(c->fd + 1, &set, NULL, NULL, &c->left, NULL);
}

static long call_raw_pselect(struct cell *c)
{
    fd_set set;
    FD_ZERO(&set);
    FD_SET(c->fd, &set);
    c->left.tv_sec = TIMEOUT_S;
    return syscall(SYS_pselect6, c->fd + 1, &set, NULL, NULL, &c->left, NULL);
}

static long call_epoll_wait(struct cell *c)
{
    struct epoll_event e;
    return epoll_wait(c->other[0], &e, 1, TIMEOUT_S * 1000);
}

static long call_epoll_pwait(struct cell *c)
{
    struct epoll_event e;
    sigset_t none;
    sigemptyset(&none);
    return epoll_pwait(c->other[0], &e, 1, -1, &none);
}

static long call_epoll_pwait2(struct cell *c)
{
    struct epoll_event e;
    c->left.tv_sec = TIMEOUT_S;
    return epoll_pwait2(c->other[0], &e, 1, &c->left, NULL);
}

static long call_accept(struct cell *c)
{
    return c->peer = accept(c->listener, NULL, NULL), c->peer < 0 ? -1 : 0;
}

static long call_accept4(struct cell *c)
{
    return c->peer = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC), c->peer < 0 ? -1 : 0;
}

static long call_connect(struct cell *c)
{
    struct sockaddr_in a = loopback(c->port);
    return connect(c->fd, (struct sockaddr *)&a, sizeof(a));
}

static long call_close(struct cell *c)
{
    return close(c->fd);
}

static const struct call calls[] = {
    {"read", call_read, READS, NONE},
    {"readv", call_readv, READS, NONE},
    {"preadv2", call_preadv2, READS, NONE},
    {"recv", call_recv, READS, SOME},
    {"recvfrom", call_recvfrom, READS, SOME},
    {"recvmsg", call_recvmsg, READS, SOME},
    {"recv with MSG_PEEK", call_peek, READS, NONE},
    {"recv of nothing", call_recv_nothing, READS, NONE},
    {"recvmmsg of two", call_recvmmsg, READS, SOME},
    {"recvmmsg", call_recvmmsg_whole, READS, SOME},
    {"splice to a pipe", call_splice_out, READS, NONE},
    {"fgets", call_fgets, READS, NONE},
    {"write", call_write, WRITES, SOME},
    {"writev", call_writev, WRITES, SOME},
    {"pwritev2", call_pwritev2, WRITES, SOME},
    {"send", call_send, WRITES, SOME},
    {"sendto", call_sendto, WRITES, SOME},
    {"sendmsg", call_sendmsg, WRITES, SOME},
    {"sendmmsg", call_sendmmsg, WRITES, SOME},
    {"sendfile", call_sendfile, WRITES, SOME},
    {"splice from a pipe", call_splice_in, WRITES, NONE},
    {"fflush", call_fflush, WRITES, NONE},
    {"poll", call_poll, WAITS, NONE},
    {"ppoll", call_ppoll, WAITS, NONE},
    {"ppoll by syscall", call_raw_ppoll, WAITS, NONE},
    {"select", call_select, WAITS, NONE},
    {"pselect", call_pselect, WAITS, NONE},
    {"pselect6 by syscall", call_raw_pselect, WAITS, NONE},
    {"epoll_wait", call_epoll_wait, WAITS, NONE},
    {"epoll_pwait", call_epoll_pwait, WAITS, NONE},
    {"epoll_pwait2", call_epoll_pwait2, WAITS, NONE},
    {"accept", call_accept, ACCEPTS, NONE},
    {"accept4", call_accept4, ACCEPTS, NONE},
    {"close", call_close, CLOSES, NONE},
    {"connect", call_connect, CONNECTS, NONE},
};

#endif
