/* The calls of torture.c: every kind of read and write on a stream socket, with random cuts, and what each promises. */
#ifndef PROGRAMS_TORTURE_CALLS_H
#define PROGRAMS_TORTURE_CALLS_H

#include "common.h"

#include <sys/sendfile.h>

enum mode { BLOCKING, POLL_DONTWAIT, NONBLOCKING_POLL, SELECT, EPOLL_LEVEL, EPOLL_EDGE, EPOLL_EDGE_SPLIT, MODE_COUNT };
static const char *const mode_names[MODE_COUNT] = {"blocking",    "poll-dontwait", "nonblocking-poll", "select",
                                                   "epoll-level", "epoll-edge",    "epoll-edge-split"};

enum read_kind { R_READ, R_RECV, R_READV, R_RECVMSG, R_RECVFROM, R_PEEK, R_WAITALL, R_DONTWAIT, READ_KINDS };
static const char *const read_names[READ_KINDS] = {"read",     "recv", "readv",   "recvmsg",
                                                   "recvfrom", "peek", "waitall", "dontwait"};

enum write_kind { W_WRITE, W_SEND, W_WRITEV, W_SENDMSG, W_SENDTO, W_SENDFILE, W_MORE, WRITE_KINDS };
static const char *const write_names[WRITE_KINDS] = {"write",  "send",     "writev", "sendmsg",
                                                     "sendto", "sendfile", "more"};

static struct {
    enum mode mode;
    uint64_t seed;
    size_t bytes, max;
    int sndbuf, rcvbuf;
    unsigned read_kinds, write_kinds; /* sets of bits */
    bool fork, early, threads, forked_halves;
} opt = {.mode = BLOCKING, .seed = 1, .bytes = 4 * MIB, .max = 100000, .read_kinds = ~0u, .write_kinds = ~0u};

/* One direction as one end sees it. */
struct half {
    uint64_t seed, at;
    struct rng rng;
    uint8_t *buffer;
    bool done, ready, hup;
    unsigned kind; /* of the last call, for the failure message */
    size_t asked;
};

static struct end {
    const char *name;
    int fd, file, epoll[2];
    struct half *in, *out;
} end;
static struct half end_in, end_out;

static void state_text(char *text, size_t room)
{
    snprintf(text, room, "in %s, %s: read %llu of %zu (last %s of %zu%s%s), written %llu (last %s of %zu%s%s)",
             end.name, mode_names[opt.mode], (unsigned long long)end.in->at, opt.bytes, read_names[end.in->kind],
             end.in->asked, end.in->ready ? ", readable" : "", end.in->done ? ", EOF" : "",
             (unsigned long long)end.out->at, write_names[end.out->kind], end.out->asked,
             end.out->ready ? ", writable" : "", end.out->done ? ", done" : "");
}

/* ---- calls ---- */

static unsigned split(struct half *h, size_t len, struct iovec vec[4])
{
    unsigned count = (unsigned)rng_range(&h->rng, 1, 4);
    size_t at = 0;
    for (unsigned i = 0; i < count; i++) {
        size_t n = i + 1 == count ? len - at : rng_range(&h->rng, 0, len - at);
        vec[i] = (struct iovec){.iov_base = h->buffer + at, .iov_len = n};
        at += n;
    }
    return count;
}

static unsigned pick(struct half *h, unsigned set, unsigned count)
{
    unsigned kind;
    do
        kind = (unsigned)rng_range(&h->rng, 0, count - 1);
    while (!(set >> kind & 1));
    return kind;
}

static bool would_block(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK;
}

static ssize_t read_peeked(int fd, struct half *h, size_t n, int flags)
{
    ssize_t seen = recv(fd, h->buffer, n, MSG_PEEK | flags);
    if (seen <= 0)
        return seen;
    stream_check(h->seed, h->at, h->buffer, (size_t)seen);
    memset(h->buffer, 0, (size_t)seen);
    ssize_t got = recv(fd, h->buffer, (size_t)seen, flags);
    CHECK(got == seen, "recv gave %zd of %zd bytes just peeked at", got, seen);
    return got;
}

static ssize_t read_waitall(int fd, struct half *h, size_t n)
{
    ssize_t got = recv(fd, h->buffer, n, MSG_WAITALL);
    if (opt.mode == BLOCKING && got >= 0 && (size_t)got < n)
        CHECK(h->at + (size_t)got == opt.bytes, "MSG_WAITALL gave %zd of %zu bytes before the end", got, n);
    return got;
}

/* On a blocking descriptor EAGAIN is followed by poll, and after that a read must find something. */
static ssize_t read_dontwait(int fd, struct half *h, size_t n)
{
    ssize_t got = recv(fd, h->buffer, n, MSG_DONTWAIT);
    if (got >= 0 || !would_block() || opt.mode != BLOCKING)
        return got;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    SYS(poll(&p, 1, -1));
    got = recv(fd, h->buffer, n, MSG_DONTWAIT);
    CHECK(got >= 0 || !would_block(), "poll reported a blocking socket readable that had nothing");
    return got;
}

static ssize_t read_once(int fd, struct half *h, size_t n)
{
    int flags = opt.mode == POLL_DONTWAIT ? MSG_DONTWAIT : 0;
    struct iovec vec[4];
    struct msghdr message = {.msg_iov = vec};
    struct sockaddr_storage from;
    socklen_t from_len = sizeof(from);
    switch ((enum read_kind)h->kind) {
    case R_READ:
        return read(fd, h->buffer, n);
    case R_RECV:
        return recv(fd, h->buffer, n, flags);
    case R_READV:
        return readv(fd, vec, (int)split(h, n, vec));
    case R_RECVMSG:
        message.msg_iovlen = split(h, n, vec);
        return recvmsg(fd, &message, flags);
    case R_RECVFROM:
        return recvfrom(fd, h->buffer, n, flags, (struct sockaddr *)&from, &from_len);
    case R_PEEK:
        return read_peeked(fd, h, n, flags);
    case R_WAITALL:
        return read_waitall(fd, h, n);
    case R_DONTWAIT:
        return read_dontwait(fd, h, n);
    case READ_KINDS:
        break;
    }
    die("no such kind of read: %u", h->kind);
}

static ssize_t write_once(int fd, struct half *h, size_t n)
{
    int flags = MSG_NOSIGNAL | (opt.mode == POLL_DONTWAIT ? MSG_DONTWAIT : 0);
    struct iovec vec[4];
    struct msghdr message = {.msg_iov = vec};
    off_t offset = (off_t)h->at;
    switch ((enum write_kind)h->kind) {
    case W_WRITE:
        return write(fd, h->buffer, n);
    case W_SEND:
        return send(fd, h->buffer, n, flags);
    case W_WRITEV:
        return writev(fd, vec, (int)split(h, n, vec));
    case W_SENDMSG:
        message.msg_iovlen = split(h, n, vec);
        return sendmsg(fd, &message, flags);
    case W_SENDTO:
        return sendto(fd, h->buffer, n, flags, NULL, 0);
    case W_SENDFILE:
        return sendfile(fd, end.file, &offset, n);
    case W_MORE:
        return send(fd, h->buffer, n, flags | MSG_MORE);
    case WRITE_KINDS:
        break;
    }
    die("no such kind of write: %u", h->kind);
}

#endif
