/* Every function that reads, with good and bad buffers, vectors and flags. What it delivers is compared byte by byte
 * with the stream, and what lies behind must be untouched. */
#include "differential.h"

enum { WHOLE = 0, NO_BUFFER, BAD_BUFFER, BAD_VECTOR, PARTS, MANY_PARTS, TOO_MANY_PARTS, NO_PARTS, VECTOR_VARIANTS };

struct vector {
    struct iovec given[1100], *iov;
    int count;
};

static uint8_t *buffer_of(const struct call *c)
{
    if (c->step->variant == NO_BUFFER)
        return NULL;
    return c->step->variant == BAD_BUFFER ? bad_pointer() : area;
}

static void cut_in_parts(struct vector *v, int count, size_t len)
{
    for (int i = 0; i < count; i++) {
        size_t from = len * (size_t)i / (size_t)count, to = len * ((size_t)i + 1) / (size_t)count;
        v->given[i] = (struct iovec){area + from, to - from};
    }
    v->count = count;
}

static void vector_of(const struct call *c, struct vector *v)
{
    static const int counts[VECTOR_VARIANTS] = {1, 1, 1, 1, 3, 1024, 1025, 0};
    v->iov = c->step->variant == BAD_VECTOR ? bad_pointer() : v->given;
    cut_in_parts(v, counts[c->step->variant], c->step->len);
    if (c->step->variant == NO_BUFFER || c->step->variant == BAD_BUFFER)
        v->given[0].iov_base = buffer_of(c);
}

static void note_untouched(struct call *c, const struct vector *v)
{
    struct vector again;
    vector_of(c, &again);
    note(c, "vector changed", memcmp(again.given, v->given, sizeof(struct iovec) * (size_t)v->count) != 0);
}

static void note_bytes(struct call *c, ssize_t n, unsigned flags)
{
    size_t got = n > 0 ? (size_t)n : 0;
    if (got) {
        uint64_t at = c->end->received;
        note(c, "differs from the stream at", stream_differs((uint64_t)c->number, at, area, got));
        if (!(flags & MSG_PEEK))
            c->end->received += got;
    }
    note(c, "touched behind the result", fill_differs(area + got, c->step->len + TAIL - got));
}

static void prepare(struct call *c)
{
    memset(area, FILL, c->step->len + TAIL);
}

static void run_read(struct call *c)
{
    prepare(c);
    note_bytes(c, RUN_BLOCKING(c, read(c->fd, buffer_of(c), c->step->len)), 0);
}

static void run_recv(struct call *c)
{
    prepare(c);
    int flags = (int)c->step->flags;
    note_bytes(c, RUN_BLOCKING(c, recv(c->fd, buffer_of(c), c->step->len, flags)), c->step->flags);
}

static void run_recvfrom(struct call *c)
{
    struct sockaddr_in from;
    socklen_t len = c->step->variant == PARTS ? 4 : sizeof(from);
    memset(&from, FILL, sizeof(from));
    prepare(c);
    ssize_t n = RUN_BLOCKING(
        c, recvfrom(c->fd, buffer_of(c), c->step->len, (int)c->step->flags, (struct sockaddr *)&from, &len));
    note(c, "address length", len);
    note(c, "address touched", fill_differs((uint8_t *)&from, sizeof(from)));
    note_bytes(c, n, c->step->flags);
}

static void run_readv(struct call *c)
{
    static struct vector v;
    prepare(c);
    vector_of(c, &v);
    ssize_t n = RUN_BLOCKING(c, readv(c->fd, v.iov, v.count));
    note_untouched(c, &v);
    note_bytes(c, n, 0);
}

static void run_preadv2(struct call *c)
{
    static struct vector v;
    prepare(c);
    vector_of(c, &v);
    ssize_t n = RUN_BLOCKING(c, preadv2(c->fd, v.iov, v.count, -1, (int)c->step->flags));
    note_untouched(c, &v);
    note_bytes(c, n, 0);
}

static void run_preadv64v2(struct call *c)
{
    static struct vector v;
    prepare(c);
    vector_of(c, &v);
    note_bytes(c, RUN_BLOCKING(c, preadv64v2(c->fd, v.iov, v.count, -1, (int)c->step->flags)), 0);
}

/* Sockets have no offsets: ESPIPE. */
static void run_pread(struct call *c)
{
    static struct vector v;
    prepare(c);
    vector_of(c, &v);
    RUN(c, pread(c->fd, area, c->step->len, 0));
    RUN(c, pread(c->fd, area, c->step->len, -1));
    RUN(c, preadv(c->fd, v.given, 1, 0));
    RUN(c, preadv2(c->fd, v.given, 1, 0, 0));
    note_bytes(c, 0, 0);
}

static void note_message(struct call *c, const struct msghdr *m)
{
    note(c, "msg_namelen", m->msg_namelen);
    note(c, "msg_controllen", (long long)m->msg_controllen);
    note(c, "msg_flags", m->msg_flags);
    note(c, "msg_iovlen", (long long)m->msg_iovlen);
}

static struct msghdr message(const struct call *c, struct vector *v, void *name, void *control)
{
    vector_of(c, v);
    memset(name, FILL, sizeof(struct sockaddr_in));
    memset(control, FILL, 64);
    struct msghdr m = {.msg_iov = v->iov, .msg_iovlen = (size_t)v->count, .msg_flags = 0x55};
    if (c->step->len % 2) { /* with and without room for what never comes */
        m.msg_name = name;
        m.msg_namelen = sizeof(struct sockaddr_in);
        m.msg_control = control;
        m.msg_controllen = 64;
    }
    return m;
}

static void run_recvmsg(struct call *c)
{
    static struct vector v;
    struct sockaddr_in name;
    uint8_t control[64];
    struct msghdr m = message(c, &v, &name, control);
    prepare(c);
    ssize_t n = RUN_BLOCKING(c, recvmsg(c->fd, &m, (int)c->step->flags));
    note_message(c, &m);
    note(c, "name touched", fill_differs((uint8_t *)&name, sizeof(name)));
    note(c, "control touched", fill_differs(control, sizeof(control)));
    note_untouched(c, &v);
    note_bytes(c, n, c->step->flags);
}

enum { NO_MESSAGE = 0, ONE_MESSAGE, THREE_MESSAGES, FIRST_WAITS, NO_TIME, BAD_TIME, MESSAGES_VARIANTS };

/* What ends recvmmsg after its first message is kept for the next call (recvmmsg(2), BUGS). Linux keeps a signal too,
 * as ERESTARTSYS, an errno that no program should see: the library does not. */
static int error_left(int fd)
{
    enum { ERESTARTSYS = 512 };
    int error = 0;
    socklen_t len = sizeof(error);
    SYS(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len));
    return error == ERESTARTSYS ? 0 : error;
}

static void run_recvmmsg(struct call *c)
{
    static const unsigned counts[MESSAGES_VARIANTS] = {0, 1, 3, 3, 3, 3};
    struct timespec no_time = {0, 0}, bad_time = {0, -1}, *time = NULL;
    struct mmsghdr m[3];
    struct iovec iov[3];
    unsigned part = c->step->len / 3 + 1; /* a receive of nothing may wait */
    int flags = (int)c->step->flags;
    memset(m, 0, sizeof(m));
    for (unsigned i = 0; i < 3; i++) {
        iov[i] = (struct iovec){area + i * part, part};
        m[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1, .msg_flags = 0x55};
        m[i].msg_len = 7;
    }
    if (c->step->variant == FIRST_WAITS)
        flags |= MSG_WAITFORONE;
    if (c->step->variant == NO_TIME || c->step->variant == BAD_TIME)
        time = c->step->variant == NO_TIME ? &no_time : &bad_time;
    prepare(c);
    int n = RUN_BLOCKING(c, recvmmsg(c->fd, m, counts[c->step->variant], flags, time));
    if (n > 0 && (unsigned)n < counts[c->step->variant])
        note(c, "error left behind", error_left(c->fd));
    size_t total = 0;
    for (int i = 0; i < 3; i++) {
        note(c, "msg_len", m[i].msg_len);
        note_message(c, &m[i].msg_hdr);
        if ((c->step->flags & MSG_PEEK) && i) /* the same bytes again */
            continue;
        if (i < n && total == (unsigned)i * part) /* behind a short one lies a gap */
            total += m[i].msg_len;
        else if (i < n)
            c->end->received += m[i].msg_len;
    }
    note_bytes(c, (ssize_t)total, c->step->flags);
}

static const unsigned no_flags[] = {0, LAST};
static const unsigned vector_flags[] = {0, RWF_NOWAIT, RWF_HIPRI, 0x10000, LAST};
static const unsigned receive_flags[] = {0,
                                         MSG_DONTWAIT,
                                         MSG_PEEK,
                                         MSG_PEEK | MSG_DONTWAIT,
                                         MSG_WAITALL,
                                         MSG_WAITALL | MSG_DONTWAIT,
                                         MSG_PEEK | MSG_WAITALL,
                                         MSG_TRUNC,
                                         MSG_TRUNC | MSG_PEEK,
                                         MSG_TRUNC | MSG_DONTWAIT,
                                         MSG_NOSIGNAL,
                                         MSG_CMSG_CLOEXEC,
                                         MSG_OOB,
                                         MSG_OOB | MSG_PEEK,
                                         MSG_ERRQUEUE,
                                         MSG_ERRQUEUE | MSG_PEEK,
                                         MSG_MORE,
                                         MSG_DONTROUTE | MSG_CONFIRM | MSG_EOR,
                                         0x01000000,
                                         0x00800000,
                                         LAST};
static const unsigned lengths[] = {0, 1, 5, 99, 100, 101, 1000, 16384, 50001, LAST};

const struct operation read_operations[] = {
    {"read", run_read, BAD_BUFFER + 1, CHILD, no_flags, lengths, 12},
    {"recv", run_recv, BAD_BUFFER + 1, CHILD, receive_flags, lengths, 12},
    {"recvfrom", run_recvfrom, PARTS + 1, CHILD, receive_flags, lengths, 6},
    {"readv", run_readv, VECTOR_VARIANTS, CHILD, no_flags, lengths, 8},
    {"preadv2", run_preadv2, VECTOR_VARIANTS, CHILD, vector_flags, lengths, 4},
    {"preadv64v2", run_preadv64v2, VECTOR_VARIANTS, CHILD, vector_flags, lengths, 2},
    {"pread", run_pread, 1, CHILD, no_flags, lengths, 1},
    {"recvmsg", run_recvmsg, VECTOR_VARIANTS, CHILD, receive_flags, lengths, 12},
    {"recvmmsg", run_recvmmsg, MESSAGES_VARIANTS, CHILD, receive_flags, lengths, 6},
    {NULL},
};
