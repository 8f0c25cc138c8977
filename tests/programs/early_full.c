/* A non-blocking program that writes faster than its connection comes about: nobody accepts it at first. When it has
 * been told EAGAIN it waits until there is room, by each kind of waiting, and is not woken for nothing again and again.
 * Then the other side accepts, and all that was written arrives.
 *
 *     early_full poll|select|epoll|epoll-edge|epoll-once
 *
 * Plain, the kernel's buffers fill, and nobody reads them. */
#include "common.h"

#include <sys/epoll.h>
#include <sys/select.h>

enum { LOOK_MS = 300, FALSE_MAX = 3, SEED = 7 };

static const char *way;
static int set = -1;
static uint16_t port;
static int listener;

/* A kernel that holds little, or the plain program would write megabytes. */
static void make_small(int fd)
{
    set_option(fd, SOL_SOCKET, SO_SNDBUF, 64 * KIB);
}

static void arm(int fd, int op)
{
    uint32_t kind = !strcmp(way, "epoll-edge") ? EPOLLET : !strcmp(way, "epoll-once") ? EPOLLONESHOT : 0;
    struct epoll_event event = {.events = EPOLLOUT | kind, .data.fd = fd};
    if (set >= 0)
        SYS(epoll_ctl(set, op, fd, &event));
}

/* Is there said to be room, within ms? */
static bool has_room(int fd, int ms)
{
    if (!strcmp(way, "poll")) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        return SYS(poll(&p, 1, ms)) == 1;
    }
    if (!strcmp(way, "select")) {
        struct timeval t = {ms / 1000, ms % 1000 * 1000}, *timeout = ms < 0 ? NULL : &t;
        fd_set writers;
        FD_ZERO(&writers);
        FD_SET(fd, &writers);
        return SYS(select(fd + 1, NULL, &writers, NULL, timeout)) == 1;
    }
    struct epoll_event event;
    return SYS(epoll_wait(set, &event, 1, ms)) == 1;
}

/* As much as there is room for. */
static uint64_t fill(int fd, uint64_t sent, uint64_t total)
{
    uint8_t data[8 * KIB];
    while (sent < total) {
        size_t n = total - sent < sizeof(data) ? (size_t)(total - sent) : sizeof(data);
        stream_fill(SEED, sent, data, n);
        ssize_t put = write(fd, data, n);
        if (put < 0) {
            CHECK(errno == EAGAIN, "write after %llu bytes: %s", (unsigned long long)sent, strerror(errno));
            break;
        }
        sent += (uint64_t)put;
        progress();
    }
    return sent;
}

static void *take_all(void *total)
{
    int fd = tcp_accept(listener);
    stream_recv(fd, SEED, 0, *(uint64_t *)total);
    SYS(close(fd));
    return NULL;
}

int main(int argc, char **argv)
{
    CHECK(argc == 2, "usage: early_full WAY");
    way = argv[1];
    watchdog_start();
    listener = tcp_listen(1, &port);
    if (!strncmp(way, "epoll", 5))
        set = (int)SYS(epoll_create1(EPOLL_CLOEXEC));
    int fd = tcp_socket(), waken = 0;
    make_small(fd);
    struct sockaddr_in to = loopback(port);
    SYS(connect(fd, (struct sockaddr *)&to, sizeof(to)));
    set_nonblocking(fd);
    arm(fd, EPOLL_CTL_ADD);
    uint64_t sent = fill(fd, 0, UINT64_MAX);
    /* Nobody has accepted: what is said to be room, a few times at most, is none. */
    while (waken <= FALSE_MAX && has_room(fd, LOOK_MS)) {
        waken++;
        sent = fill(fd, sent, UINT64_MAX);
        if (!strcmp(way, "epoll-once"))
            arm(fd, EPOLL_CTL_MOD);
    }
    CHECK(waken <= FALSE_MAX, "woken again and again, with no room");
    uint64_t total = sent + MIB;
    pthread_t reader = thread_start(take_all, &total);
    while ((sent = fill(fd, sent, total)) < total) {
        if (!strcmp(way, "epoll-once"))
            arm(fd, EPOLL_CTL_MOD);
        CHECK(has_room(fd, -1), "an endless wait that ended");
    }
    pthread_join(reader, NULL);
    SYS(close(fd));
    return 0;
}
