/* sendmmsg, recvmmsg, preadv2 and pwritev2 on a stream: results, partial ones, timeouts, the end, errors. */
#include "calls.h"

enum { MESSAGES = 4 };

struct batch {
    struct mmsghdr at[MESSAGES];
    struct iovec iov[MESSAGES][2];
    char bytes[MESSAGES][10];
};

/* Each message has room for ten bytes in two pieces. */
static struct mmsghdr *batch_of(struct batch *b, const char *fill)
{
    memset(b, 0, sizeof(*b));
    for (int i = 0; i < MESSAGES; i++) {
        memset(b->bytes[i], fill ? fill[i] : 0, 10);
        b->iov[i][0] = (struct iovec){b->bytes[i], 3};
        b->iov[i][1] = (struct iovec){b->bytes[i] + 3, 7};
        b->at[i].msg_hdr = (struct msghdr){.msg_iov = b->iov[i], .msg_iovlen = 2};
        b->at[i].msg_len = 77;
    }
    return b->at;
}

static void all_and_some(int end[2])
{
    struct batch b;
    GIVES(sendmmsg(end[0], batch_of(&b, "abcd"), MESSAGES, 0), MESSAGES);
    for (int i = 0; i < MESSAGES; i++)
        CHECK(b.at[i].msg_len == 10, "message %d: %u bytes", i, b.at[i].msg_len);
    await_bytes(end[1], 40);
    GIVES(recvmmsg(end[1], batch_of(&b, NULL), 3, 0, NULL), 3);
    CHECK(b.at[2].msg_len == 10 && b.bytes[2][9] == 'c', "the third message is wrong");
    CHECK(b.at[3].msg_len == 77, "a message that was not asked for was touched");
    GIVES(recvmmsg(end[1], batch_of(&b, NULL), MESSAGES, MSG_WAITFORONE, NULL), 1);
    GIVES(sendmmsg(end[0], batch_of(&b, "abcd"), 2, 0), 2);
    await_bytes(end[1], 20);
    GIVES(recvmmsg(end[1], batch_of(&b, NULL), MESSAGES, MSG_DONTWAIT, NULL), 2);
    FAILS(recvmmsg(end[1], batch_of(&b, NULL), MESSAGES, MSG_DONTWAIT, NULL), EAGAIN);
    GIVES(recvmmsg(end[1], b.at, 0, 0, NULL), 0);
    GIVES(sendmmsg(end[0], b.at, 0, 0), 0);
}

static void fields(int end[2])
{
    struct batch b;
    struct sockaddr_in name;
    char control[100];
    batch_of(&b, "abcd")->msg_hdr.msg_namelen = 5;
    GIVES(sendmmsg(end[0], b.at, 1, 0), 1);
    await_bytes(end[1], 10);
    batch_of(&b, NULL)->msg_hdr.msg_name = &name;
    b.at->msg_hdr.msg_namelen = sizeof(name);
    b.at->msg_hdr.msg_control = control;
    b.at->msg_hdr.msg_controllen = sizeof(control);
    b.at->msg_hdr.msg_flags = 0x7fff;
    GIVES(recvmmsg(end[1], b.at, 1, MSG_CMSG_CLOEXEC, NULL), 1);
    CHECK(b.at->msg_hdr.msg_namelen == 0, "msg_namelen %u", b.at->msg_hdr.msg_namelen);
    CHECK(b.at->msg_hdr.msg_controllen == 0, "msg_controllen %zu", b.at->msg_hdr.msg_controllen);
    CHECK(b.at->msg_hdr.msg_flags == (int)MSG_CMSG_CLOEXEC, "msg_flags 0x%x", b.at->msg_hdr.msg_flags);
    SYS(write(end[0], "x", 1));
    batch_of(&b, NULL)->msg_hdr.msg_namelen = 5;
    GIVES(recvmmsg(end[1], b.at, 1, 0, NULL), 1);
    CHECK(b.at->msg_hdr.msg_namelen == 5 && b.at->msg_len == 1, "no name was asked for, and its length was set");
}

static void times(int end[2])
{
    struct batch b;
    struct timespec bad = {0, 1000000000}, none = {0, 0}, some = {5, 0};
    FAILS(recvmmsg(end[1], batch_of(&b, NULL), 1, 0, &bad), EINVAL);
    SYS(write(end[0], "0123456789012345", 16));
    await_bytes(end[1], 16);
    GIVES(recvmmsg(end[1], batch_of(&b, NULL), 2, 0, &none), 1);
    GIVES(recvmmsg(end[1], batch_of(&b, NULL), 1, 0, &some), 1);
    CHECK(b.at->msg_len == 6, "%u bytes", b.at->msg_len);
    CHECK(some.tv_sec == 4 || (some.tv_sec == 5 && !some.tv_nsec), "%ld s are left of 5", (long)some.tv_sec);
    receive_timeout(end[1], 40);
    FAILS(recvmmsg(end[1], batch_of(&b, NULL), 2, 0, NULL), EAGAIN);
    receive_timeout(end[1], 0);
}

/* A message that is taken in part ends the call. */
static void a_full_socket(int end[2])
{
    static char much[1 << 20];
    struct iovec iov[2] = {{much, sizeof(much)}, {much, 1}};
    struct mmsghdr m[2] = {{.msg_hdr = {.msg_iov = &iov[0], .msg_iovlen = 1}},
                           {.msg_hdr = {.msg_iov = &iov[1], .msg_iovlen = 1}}};
    int n;
    uint64_t total = 0;
    while ((n = sendmmsg(end[0], m, 2, MSG_DONTWAIT)) == 2)
        total += m[0].msg_len + m[1].msg_len;
    if (n == 1) {
        CHECK(m[0].msg_len <= sizeof(much), "%u bytes", m[0].msg_len);
        total += m[0].msg_len;
    }
    while (send(end[0], much, 1, MSG_DONTWAIT) == 1)
        total++;
    FAILS(sendmmsg(end[0], m, 2, MSG_DONTWAIT), EAGAIN);
    for (char waste[65536]; total;)
        total -= (uint64_t)SYS(read(end[1], waste, sizeof(waste) < total ? sizeof(waste) : total));
}

static void positioned(int end[2])
{
    volatile int negative = -1; /* the compiler would warn */
    char got[8] = "";
    struct iovec in[2] = {{got, 3}, {got + 3, 3}}, out[2] = {{"abc", 3}, {"def", 3}};
    static const int harmless[] = {0, RWF_HIPRI, RWF_DSYNC, RWF_SYNC, RWF_NOWAIT, RWF_APPEND};
    for (unsigned i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++) {
        GIVES(pwritev2(end[0], out, 2, -1, harmless[i]), 6);
        await_bytes(end[1], 6);
        GIVES(preadv2(end[1], in, 2, -1, harmless[i]), 6);
        CHECK(strcmp(got, "abcdef") == 0, "read %s", got);
    }
    FAILS(preadv2(end[1], in, 2, -1, RWF_NOWAIT), EAGAIN);
    FAILS(preadv2(end[1], in, 2, -1, 1 << 20), EOPNOTSUPP);
    FAILS(pwritev2(end[0], out, 2, -1, 1 << 20), EOPNOTSUPP);
    FAILS(preadv2(end[1], in, 2, 0, 0), ESPIPE);
    FAILS(pwritev2(end[0], out, 2, 0, 0), ESPIPE);
    FAILS(preadv2(end[1], in, 2, -2, 0), EINVAL);
    FAILS(pwritev2(end[0], out, 2, -2, 0), EINVAL);
    FAILS(preadv2(end[1], in, negative, -1, 0), EINVAL);
    FAILS(pwritev2(end[0], out, 2000, -1, 0), EINVAL);
    GIVES(preadv2(end[1], in, 0, -1, 0), 0);
    FAILS(pread(end[1], got, 1, 0), ESPIPE);
    FAILS(pwrite(end[0], "x", 1, 0), ESPIPE);
    FAILS(preadv(end[1], in, 1, 0), ESPIPE);
    FAILS(pwritev(end[0], out, 1, 0), ESPIPE);
    FAILS(pwrite(end[0], "x", 1, -1), EINVAL);
    FAILS(pwritev(end[0], out, 1, -1), EINVAL);
}

static void the_end(int end[2])
{
    struct batch b;
    struct iovec iov = {b.bytes[0], 1};
    SYS(write(end[0], "0123456789ab", 12));
    SYS(close(end[0]));
    GIVES(recvmmsg(end[1], batch_of(&b, NULL), MESSAGES, MSG_WAITALL, NULL), MESSAGES);
    CHECK(b.at[0].msg_len == 10 && b.at[1].msg_len == 2 && b.at[2].msg_len == 0 && b.at[3].msg_len == 0,
          "lengths %u %u %u %u", b.at[0].msg_len, b.at[1].msg_len, b.at[2].msg_len, b.at[3].msg_len);
    GIVES(preadv2(end[1], &iov, 1, -1, RWF_NOWAIT), 0);
    SYS(shutdown(end[1], SHUT_WR));
    FAILS(sendmmsg(end[1], batch_of(&b, "abcd"), 2, MSG_NOSIGNAL), EPIPE);
    SYS(close(end[1]));
    FAILS(sendmmsg(end[1], b.at, 2, MSG_NOSIGNAL), EBADF);
    FAILS(recvmmsg(end[1], b.at, 2, 0, NULL), EBADF);
}

int main(void)
{
    int end[2];
    watchdog_start();
    tcp_pair(end);
    all_and_some(end);
    fields(end);
    times(end);
    positioned(end);
    a_full_socket(end);
    the_end(end);
    return 0;
}
