/* MSG_PEEK, MSG_WAITALL, MSG_TRUNC, MSG_MORE, FIONREAD, the dup family, and the readiness of blocking sockets: poll may
 * neither promise a byte that is not there nor hide one that is. */
#include "common.h"

#include <sys/epoll.h>
#include <sys/select.h>

static const size_t sizes[] = {1, 2, 100, 1000, 16383, 16384, 16385, 40000};
#define FOR_SIZES(i) for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)

static bool readable(int fd, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int n;
    while ((n = poll(&p, 1, timeout_ms)) < 0)
        CHECK(errno == EINTR, "poll: %s", strerror(errno));
    return n == 1;
}

/* Waits until the receiver's kernel and everything above it holds len bytes, as MSG_PEEK sees them. */
static void await_bytes(int fd, size_t len)
{
    uint8_t *buffer = malloc(len);
    while (recv(fd, buffer, len, MSG_PEEK) < (ssize_t)len)
        poll(NULL, 0, 1);
    free(buffer);
}

static void peek(int end[2])
{
    static uint8_t buffer[50000];
    FOR_SIZES(i)
    {
        size_t n = sizes[i];
        stream_send(end[0], i, 0, n);
        await_bytes(end[1], n);
        for (size_t part = 1; part <= n; part = part * 7 + 1) {
            CHECK(recv(end[1], buffer, part, MSG_PEEK) == (ssize_t)part, "peek of %zu of %zu bytes", part, n);
            stream_check(i, 0, buffer, part);
        }
        CHECK(recv(end[1], buffer, sizeof(buffer), MSG_PEEK) == (ssize_t)n, "peek of more than the %zu bytes there", n);
        CHECK(recv(end[1], buffer, n, MSG_PEEK | MSG_WAITALL) == (ssize_t)n, "peek with MSG_WAITALL");
        CHECK(readable(end[1], 0), "peeked bytes are not readable");
        CHECK(recv(end[1], buffer, n / 2, 0) == (ssize_t)(n / 2), "reading half of what was peeked at");
        stream_check(i, 0, buffer, n / 2);
        CHECK(recv(end[1], buffer, n, MSG_PEEK) == (ssize_t)(n - n / 2), "peek at the other half");
        stream_check(i, n / 2, buffer, n - n / 2);
        stream_recv(end[1], i, n / 2, n - n / 2);
        CHECK(!readable(end[1], 0), "readable after all %zu bytes were read", n);
        CHECK(recv(end[1], buffer, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN, "peek at nothing");
    }
}

static void *send_in_pieces(void *fd)
{
    for (uint64_t at = 0; at < 1000; at += 100) {
        stream_send(*(int *)fd, 50, at, 100);
        poll(NULL, 0, 5);
    }
    return NULL;
}

static void wait_all(int end[2])
{
    uint8_t buffer[1000];
    pthread_t sender = thread_start(send_in_pieces, &end[0]);
    ssize_t n = recv(end[1], buffer, sizeof(buffer), MSG_WAITALL);
    CHECK(n == (ssize_t)sizeof(buffer), "MSG_WAITALL gave %zd of %zu bytes", n, sizeof(buffer));
    stream_check(50, 0, buffer, sizeof(buffer));
    pthread_join(sender, NULL);
}

/* tcp(7): MSG_TRUNC discards bytes instead of copying them. */
static void truncating(int end[2])
{
    char untouched[600];
    stream_send(end[0], 60, 0, 1000);
    await_bytes(end[1], 1000);
    memset(untouched, 'u', sizeof(untouched));
    CHECK(recv(end[1], untouched, 600, MSG_TRUNC) == 600, "MSG_TRUNC of 600 bytes");
    for (unsigned i = 0; i < sizeof(untouched); i++)
        CHECK(untouched[i] == 'u', "MSG_TRUNC wrote to the buffer");
    stream_recv(end[1], 60, 600, 400);
}

static void more(int end[2])
{
    CHECK(send(end[0], "ab", 2, MSG_MORE) == 2 && send(end[0], "cd", 2, MSG_MORE) == 2 && send(end[0], "e", 1, 0) == 1,
          "MSG_MORE");
    char text[5];
    CHECK(read_full(end[1], text, 5) == 5 && memcmp(text, "abcde", 5) == 0, "MSG_MORE mixed up the bytes");
}

static void bytes_readable(int end[2])
{
    static char buffer[50000];
    int n = -1;
    SYS(ioctl(end[1], FIONREAD, &n));
    CHECK(n == 0, "FIONREAD says %d with nothing there", n);
    FOR_SIZES(i)
    {
        stream_send(end[0], i, 0, sizes[i]);
        for (uint64_t at = 0; at < sizes[i]; at += (uint64_t)n) {
            CHECK(readable(end[1], -1), "poll");
            SYS(ioctl(end[1], FIONREAD, &n));
            CHECK(n > 0 && (uint64_t)n <= sizes[i] - at, "FIONREAD says %d, %zu bytes are under way", n,
                  sizes[i] - (size_t)at);
            CHECK(read_full(end[1], buffer, (size_t)n) == (size_t)n, "FIONREAD's %d bytes did not come", n);
            stream_check(i, at, buffer, (size_t)n);
        }
    }
}

/* ---- dup ---- */

static int duplicate(int fd, int way)
{
    int target = (int)SYS(open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (way == 1)
        return (int)SYS(dup2(fd, target));
    if (way == 2)
        return (int)SYS(dup3(fd, target, O_CLOEXEC));
    SYS(close(target));
    if (way == 0)
        return (int)SYS(dup(fd));
    return (int)SYS(fcntl(fd, way == 3 ? F_DUPFD : F_DUPFD_CLOEXEC, way == 3 ? 0 : 100));
}

/* The connection lives on in the duplicate, in the middle of bytes, and ends with the last number. */
static void duplicates(void)
{
    for (int way = 0; way < 5; way++) {
        int end[2];
        char peeked;
        tcp_pair(end);
        stream_send(end[0], 70, 0, 3000);
        stream_recv(end[1], 70, 0, 1000);
        int copy[2] = {duplicate(end[0], way), duplicate(end[1], way)};
        stream_recv(end[1], 70, 1000, 1000);
        SYS(close(end[1]));
        stream_recv(copy[1], 70, 2000, 1000);
        stream_send(copy[0], 70, 3000, 1000);
        stream_send(end[0], 70, 4000, 1000);
        SYS(close(end[0]));
        CHECK(recv(copy[1], &peeked, 1, MSG_PEEK) == 1, "the end came with the first close");
        stream_send(copy[0], 70, 5000, 1000);
        stream_recv(copy[1], 70, 3000, 3000);
        SYS(close(copy[0]));
        expect_eof(copy[1]);
        SYS(close(copy[1]));
    }
}

/* dup2 over an open connection closes it: its peer reads the end, and the number is the other connection. */
static void dup_over(void)
{
    int a[2], b[2];
    tcp_pair(a);
    tcp_pair(b);
    stream_send(a[0], 80, 0, 100);
    CHECK(dup2(b[0], a[0]) == a[0], "dup2");
    stream_recv(a[1], 80, 0, 100);
    expect_eof(a[1]);
    stream_send(a[0], 81, 0, 100);
    stream_recv(b[1], 81, 0, 100);
    CHECK(dup2(b[0], b[0]) == b[0], "dup2 to itself");
    stream_send(b[0], 82, 0, 100);
    stream_recv(b[1], 82, 0, 100);
    SYS(close(a[0]));
    SYS(close(b[0]));
    expect_eof(b[1]);
    SYS(close(a[1]));
    SYS(close(b[1]));
}

/* ---- readiness ---- */

enum ask { BY_POLL, BY_PPOLL, BY_SELECT, BY_PSELECT, BY_EPOLL, ASKS };

static bool ask(int fd, enum ask how, int timeout_ms)
{
    struct timespec spec = {.tv_sec = timeout_ms / 1000, .tv_nsec = timeout_ms % 1000 * 1000000L};
    struct timeval time = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000L};
    struct pollfd p = {.fd = fd, .events = POLLIN};
    struct epoll_event e = {.events = EPOLLIN};
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    switch (how) {
    case BY_POLL:
        return SYS(poll(&p, 1, timeout_ms)) == 1;
    case BY_PPOLL:
        return SYS(ppoll(&p, 1, &spec, NULL)) == 1;
    case BY_SELECT:
        return SYS(select(fd + 1, &set, NULL, NULL, &time)) == 1;
    case BY_PSELECT:
        return SYS(pselect(fd + 1, &set, NULL, NULL, &spec, NULL)) == 1;
    case BY_EPOLL: {
        int epoll = (int)SYS(epoll_create1(EPOLL_CLOEXEC));
        SYS(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e));
        int n = (int)SYS(epoll_wait(epoll, &e, 1, timeout_ms));
        SYS(close(epoll));
        return n == 1;
    }
    case ASKS:
        break;
    }
    die("no such question");
}

struct paced {
    int fd;
    size_t size;
};

static void *send_paced(void *argument)
{
    const struct paced *p = argument;
    for (int i = 0; i < 5; i++) {
        poll(NULL, 0, 15);
        stream_send(p->fd, 90, (uint64_t)i * p->size, p->size);
    }
    return NULL;
}

/* A blocking read after a positive answer does not block. */
static void ready_means_ready(enum ask how, size_t size)
{
    int end[2];
    static uint8_t buffer[50000];
    tcp_pair(end);
    struct paced paced = {end[0], size};
    pthread_t sender = thread_start(send_paced, &paced);
    for (uint64_t at = 0; at < 5 * size;) {
        if (!ask(end[1], how, 1000))
            continue;
        ssize_t n = recv(end[1], buffer, sizeof(buffer), MSG_DONTWAIT); /* instead of blocking: tells at once */
        if (how == BY_EPOLL && n < 0 && errno == EAGAIN)
            continue; /* epoll_wait(2) is for descriptors that do not block: it may be wrong now and then */
        CHECK(n > 0, "ready by way %d, but nothing to read: %s", how, n < 0 ? strerror(errno) : "EOF");
        stream_check(90, at, buffer, (size_t)n);
        at += (uint64_t)n;
        progress();
    }
    pthread_join(sender, NULL);
    double start = now_seconds();
    CHECK(!ask(end[1], how, 60), "ready by way %d with nothing there", how);
    CHECK(now_seconds() - start >= 0.055, "the timeout of way %d ended early", how);
    SYS(close(end[0]));
    CHECK(ask(end[1], how, 60000), "the end is not readable by way %d", how);
    expect_eof(end[1]);
    SYS(close(end[1]));
}

/* A fresh connection on which the program has said nothing is writable and not readable. */
static void fresh_is_silent(void)
{
    for (enum ask how = 0; how < BY_EPOLL; how++) {
        int end[2];
        tcp_pair(end);
        CHECK(!ask(end[1], how, 30) && !ask(end[0], how, 30), "readable by way %d before any byte was sent", how);
        struct pollfd p = {.fd = end[0], .events = POLLOUT};
        CHECK(poll(&p, 1, -1) == 1 && p.revents == POLLOUT, "a fresh connection: poll gives 0x%x", p.revents);
        SYS(close(end[0]));
        SYS(close(end[1]));
    }
}

int main(void)
{
    static void (*const with_pair[])(int end[2]) = {peek, wait_all, truncating, more, bytes_readable};
    watchdog_start();
    for (unsigned i = 0; i < sizeof(with_pair) / sizeof(with_pair[0]); i++) {
        int end[2];
        tcp_pair(end);
        with_pair[i](end);
        SYS(close(end[0]));
        expect_eof(end[1]);
        SYS(close(end[1]));
    }
    duplicates();
    dup_over();
    fresh_is_silent();
    for (enum ask how = 0; how < ASKS; how++)
        for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i += 3)
            ready_means_ready(how, sizes[i]);
    return 0;
}
