/* Every function that writes. The bytes are those that the other end expects next, so that any loss, doubling or
 * reordering is found when they are read. */
#include "differential.h"

enum { WHOLE = 0, NO_BUFFER, BAD_BUFFER, BAD_VECTOR, PARTS, MANY_PARTS, TOO_MANY_PARTS, NO_PARTS, VECTOR_VARIANTS };

struct vector {
    struct iovec given[1100], *iov;
    int count;
};

static const void *buffer_of(const struct call *c)
{
    if (c->step->variant == NO_BUFFER)
        return NULL;
    return c->step->variant == BAD_BUFFER ? bad_pointer() : area;
}

/* A stream is named after the end that reads it. */
static void prepare(struct call *c)
{
    stream_fill((uint64_t)(1 - c->number), c->end->sent, area, c->step->len);
}

static void written(struct call *c, ssize_t n)
{
    note(c, "buffer changed at", stream_differs((uint64_t)(1 - c->number), c->end->sent, area, c->step->len));
    if (n > 0)
        c->end->sent += (uint64_t)n;
}

static void vector_of(const struct call *c, struct vector *v)
{
    static const int counts[VECTOR_VARIANTS] = {1, 1, 1, 1, 3, 1024, 1025, 0};
    int count = counts[c->step->variant];
    for (int i = 0; i < count; i++) {
        size_t len = c->step->len, from = len * (size_t)i / (size_t)count, to = len * ((size_t)i + 1) / (size_t)count;
        v->given[i] = (struct iovec){area + from, to - from};
    }
    v->iov = c->step->variant == BAD_VECTOR ? bad_pointer() : v->given;
    v->count = count;
    if (c->step->variant == NO_BUFFER || c->step->variant == BAD_BUFFER)
        v->given[0].iov_base = (void *)buffer_of(c);
}

static void run_write(struct call *c)
{
    prepare(c);
    written(c, RUN_BLOCKING(c, write(c->fd, buffer_of(c), c->step->len)));
}

static void run_send(struct call *c)
{
    prepare(c);
    written(c, RUN_BLOCKING(c, send(c->fd, buffer_of(c), c->step->len, (int)c->step->flags)));
}

/* tcp(7): the address is ignored on a connected socket. */
static void run_sendto(struct call *c)
{
    struct sockaddr_in elsewhere = loopback(9), *to = c->step->len % 2 ? &elsewhere : NULL;
    prepare(c);
    written(c, RUN_BLOCKING(c, sendto(c->fd, buffer_of(c), c->step->len, (int)c->step->flags, (struct sockaddr *)to,
                                      to ? sizeof(*to) : 0)));
}

static void run_writev(struct call *c)
{
    static struct vector v;
    prepare(c);
    vector_of(c, &v);
    written(c, RUN_BLOCKING(c, writev(c->fd, v.iov, v.count)));
}

static void run_pwritev2(struct call *c)
{
    static struct vector v;
    prepare(c);
    vector_of(c, &v);
    written(c, RUN_BLOCKING(c, pwritev2(c->fd, v.iov, v.count, -1, (int)c->step->flags)));
}

static void run_pwritev64v2(struct call *c)
{
    static struct vector v;
    prepare(c);
    vector_of(c, &v);
    written(c, RUN_BLOCKING(c, pwritev64v2(c->fd, v.iov, v.count, -1, (int)c->step->flags)));
}

static void run_pwrite(struct call *c)
{
    static struct vector v;
    prepare(c);
    vector_of(c, &v);
    RUN(c, pwrite(c->fd, area, c->step->len, 0));
    RUN(c, pwrite(c->fd, area, c->step->len, -1));
    RUN(c, pwritev(c->fd, v.given, 1, 0));
    RUN(c, pwritev2(c->fd, v.given, 1, 0, 0));
}

static void run_sendmsg(struct call *c)
{
    static struct vector v;
    struct sockaddr_in elsewhere = loopback(9);
    prepare(c);
    vector_of(c, &v);
    struct msghdr m = {.msg_iov = v.iov, .msg_iovlen = (size_t)v.count, .msg_flags = -1};
    if (c->step->len % 2) {
        m.msg_name = &elsewhere;
        m.msg_namelen = sizeof(elsewhere);
    }
    ssize_t n = RUN_BLOCKING(c, sendmsg(c->fd, &m, (int)c->step->flags));
    note(c, "msg_flags", m.msg_flags);
    written(c, n);
}

static void run_sendmmsg(struct call *c)
{
    struct mmsghdr m[3];
    struct iovec iov[3];
    unsigned part = c->step->len / 3;
    prepare(c);
    memset(m, 0, sizeof(m));
    for (unsigned i = 0; i < 3; i++) {
        iov[i] = (struct iovec){area + i * part, part};
        m[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1};
        m[i].msg_len = 7;
    }
    int n = RUN_BLOCKING(c, sendmmsg(c->fd, m, c->step->variant, (int)c->step->flags));
    size_t total = 0;
    for (int i = 0; i < 3; i++) {
        note(c, "msg_len", m[i].msg_len);
        if (i < n)
            total += m[i].msg_len;
    }
    written(c, (ssize_t)total);
}

/* What MSG_MORE and TCP_CORK hold back leaves with what follows. */
static void run_more(struct call *c)
{
    static const int on = 1, off = 0;
    size_t len = c->step->len, done = 0;
    prepare(c);
    if (c->step->variant)
        RUN(c, setsockopt(c->fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on)));
    for (int i = 0; i < 3; i++) {
        size_t n = i < 2 ? len / 4 : len - done;
        ssize_t k = RUN_BLOCKING(c, send(c->fd, area + done, n, c->step->variant || i == 2 ? 0 : MSG_MORE));
        if (k <= 0)
            break;
        done += (size_t)k;
    }
    if (c->step->variant)
        RUN(c, setsockopt(c->fd, IPPROTO_TCP, TCP_CORK, &off, sizeof(off)));
    written(c, (ssize_t)done);
}

static const unsigned no_flags[] = {0, LAST};
static const unsigned vector_flags[] = {0, RWF_NOWAIT, RWF_DSYNC, 0x10000, LAST};
static const unsigned send_flags[] = {0,
                                      MSG_DONTWAIT,
                                      MSG_NOSIGNAL,
                                      MSG_DONTWAIT | MSG_NOSIGNAL,
                                      MSG_EOR,
                                      MSG_CONFIRM,
                                      MSG_DONTROUTE,
                                      MSG_PEEK | MSG_WAITALL,
                                      MSG_ERRQUEUE,
                                      MSG_FASTOPEN,
                                      0x01000000,
                                      0x00800000,
                                      LAST};
static const unsigned lengths[] = {0, 1, 5, 99, 100, 101, 1000, 16384, 16385, 40000, LAST};

const struct operation write_operations[] = {
    {"write", run_write, BAD_BUFFER + 1, CHILD, no_flags, lengths, 12},
    {"send", run_send, BAD_BUFFER + 1, CHILD, send_flags, lengths, 12},
    {"sendto", run_sendto, BAD_BUFFER + 1, CHILD, send_flags, lengths, 6},
    {"writev", run_writev, VECTOR_VARIANTS, CHILD, no_flags, lengths, 8},
    {"pwritev2", run_pwritev2, VECTOR_VARIANTS, CHILD, vector_flags, lengths, 4},
    {"pwritev64v2", run_pwritev64v2, VECTOR_VARIANTS, CHILD, vector_flags, lengths, 2},
    {"pwrite", run_pwrite, 1, CHILD, no_flags, lengths, 1},
    {"sendmsg", run_sendmsg, VECTOR_VARIANTS, CHILD, send_flags, lengths, 12},
    {"sendmmsg", run_sendmmsg, 4, CHILD, send_flags, lengths, 6},
    {"more", run_more, 2, CHILD, no_flags, lengths, 4},
    {NULL},
};
