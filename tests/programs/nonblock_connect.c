/* Non-blocking connect as event-driven clients do it: wait for writability, ask SO_ERROR, write, read; and the errors
 * that a refused or repeated connect gives. */
#include "common.h"

#include <sys/epoll.h>
#include <sys/select.h>

enum waiting { BY_POLL, BY_EPOLL, BY_EPOLL_EDGE, BY_SELECT, WAITINGS };

static int start(uint16_t port)
{
    struct sockaddr_in to = loopback(port);
    int fd = tcp_socket();
    set_nonblocking(fd);
    CHECK(connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 || errno == EINPROGRESS, "connect: %s", strerror(errno));
    return fd;
}

static int pending_error(int fd)
{
    int error = -1;
    socklen_t len = sizeof(error);
    SYS(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len));
    return error;
}

static void wait_epoll(int fd, uint32_t events)
{
    struct epoll_event e = {.events = events};
    int set = (int)SYS(epoll_create1(EPOLL_CLOEXEC));
    SYS(epoll_ctl(set, EPOLL_CTL_ADD, fd, &e));
    SYS(epoll_wait(set, &e, 1, -1));
    SYS(close(set));
}

static void wait_for(int fd, enum waiting how, bool writing)
{
    struct pollfd p = {.fd = fd, .events = writing ? POLLOUT : POLLIN};
    fd_set set;
    switch (how) {
    case BY_POLL:
        SYS(poll(&p, 1, -1));
        return;
    case BY_EPOLL:
        wait_epoll(fd, writing ? EPOLLOUT : EPOLLIN);
        return;
    case BY_EPOLL_EDGE:
        wait_epoll(fd, (writing ? EPOLLOUT : EPOLLIN) | EPOLLET);
        return;
    case BY_SELECT:
        FD_ZERO(&set);
        FD_SET(fd, &set);
        SYS(select(fd + 1, writing ? NULL : &set, writing ? &set : NULL, NULL, NULL));
        return;
    case WAITINGS:
        break;
    }
    die("no such waiting");
}

static void write_patiently(int fd, enum waiting how, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EAGAIN)
            wait_for(fd, how, true);
        else {
            SYS(n);
            data += n;
            len -= (size_t)n;
        }
    }
}

static size_t read_patiently(int fd, enum waiting how, char *data, size_t len)
{
    size_t got = 0;
    while (got < len) {
        ssize_t n = read(fd, data + got, len - got);
        if (n < 0 && errno == EAGAIN) {
            wait_for(fd, how, false);
            continue;
        }
        if (SYS(n) == 0)
            break;
        got += (size_t)n;
    }
    return got;
}

static void echo_once(int listener, size_t len)
{
    char *data = malloc(len);
    int fd = tcp_accept(listener);
    CHECK(read_full(fd, data, len) == len, "the server saw an early end");
    write_all(fd, data, len);
    expect_eof(fd);
    SYS(close(fd));
    free(data);
}

static void connect_write_read(int listener, uint16_t port, enum waiting how, size_t len)
{
    pid_t pid = fork_child();
    if (pid == 0) {
        echo_once(listener, len);
        _exit(0);
    }
    char *data = malloc(len), *back = malloc(len);
    stream_fill(len, 0, data, len);
    int fd = start(port);
    wait_for(fd, how, true);
    CHECK(pending_error(fd) == 0, "SO_ERROR after a good connect");
    write_patiently(fd, how, data, len);
    CHECK(read_patiently(fd, how, back, len) == len, "the client saw an early end");
    stream_check(len, 0, back, len);
    SYS(close(fd));
    reap(pid, "the server");
    free(data);
    free(back);
}

static void refused(void)
{
    int closed_port = tcp_socket();
    struct sockaddr_in a = loopback(0);
    SYS(bind(closed_port, (struct sockaddr *)&a, sizeof(a)));
    a = loopback(local_port(closed_port)); /* bound, but nobody listens */
    int fd = tcp_socket();
    CHECK(connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 && errno == ECONNREFUSED, "blocking: not refused");
    SYS(close(fd));
    for (enum waiting how = 0; how < WAITINGS; how++) {
        fd = tcp_socket();
        set_nonblocking(fd);
        int result = connect(fd, (struct sockaddr *)&a, sizeof(a));
        CHECK(result < 0, "connect to a closed port worked");
        if (errno == EINPROGRESS) {
            wait_for(fd, how, true);
            int error = pending_error(fd);
            CHECK(error == ECONNREFUSED, "SO_ERROR after a refusal: %s", strerror(error));
        } else
            CHECK(errno == ECONNREFUSED, "refused: %s", strerror(errno));
        SYS(close(fd));
    }
    SYS(close(closed_port));
}

/* The second call of a non-blocking connect is 0 once (some programs poll that way), then EISCONN. */
static void repeated(int listener, uint16_t port)
{
    struct sockaddr_in to = loopback(port);
    int fd = start(port);
    wait_for(fd, BY_POLL, true);
    int result = connect(fd, (struct sockaddr *)&to, sizeof(to));
    CHECK(result == 0 || errno == EISCONN, "the second connect: %s", strerror(errno));
    CHECK(connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno == EISCONN, "the third connect: not EISCONN");
    int in = tcp_accept(listener);
    stream_send(fd, 5, 0, 1000);
    stream_recv(in, 5, 0, 1000);
    SYS(close(fd));
    expect_eof(in);
    SYS(close(in));
    fd = tcp_connect(port);
    CHECK(connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno == EISCONN, "blocking, again: not EISCONN");
    in = tcp_accept(listener);
    SYS(close(fd));
    expect_eof(in);
    SYS(close(in));
}

static void names(int listener, uint16_t port)
{
    struct sockaddr_in peer;
    socklen_t len = sizeof(peer);
    int fd = tcp_connect(port);
    SYS(getpeername(fd, (struct sockaddr *)&peer, &len));
    CHECK(ntohs(peer.sin_port) == port, "getpeername gives port %u", ntohs(peer.sin_port));
    len = sizeof(peer);
    int in = (int)SYS(accept4(listener, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC | SOCK_NONBLOCK));
    CHECK(len == sizeof(peer) && ntohs(peer.sin_port) == local_port(fd), "accept4 gives another address");
    CHECK(SYS(fcntl(in, F_GETFL)) & O_NONBLOCK, "accept4 did not set O_NONBLOCK");
    CHECK(SYS(fcntl(in, F_GETFD)) & FD_CLOEXEC, "accept4 did not set close-on-exec");
    char c;
    CHECK(read(in, &c, 1) < 0 && errno == EAGAIN, "a read with nothing there");
    SYS(close(fd));
    CHECK(read_patiently(in, BY_POLL, &c, 1) == 0, "a byte from nowhere");
    SYS(close(in));
}

int main(void)
{
    static const size_t lengths[] = {1, 1000, 16384, 100000};
    uint16_t port;
    watchdog_start();
    int listener = tcp_listen(8, &port);
    for (enum waiting how = 0; how < WAITINGS; how++)
        for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
            connect_write_read(listener, port, how, lengths[i]);
    refused();
    repeated(listener, port);
    names(listener, port);
    return 0;
}
