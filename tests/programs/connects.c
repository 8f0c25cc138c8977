/* Unusual ways to connect: AF_UNSPEC and again, data in the first segment, options that are set before. */
#include "calls.h"

static int listener;
static uint16_t port;

static struct sockaddr *address(void)
{
    static struct sockaddr_in a;
    a = loopback(port);
    return (struct sockaddr *)&a;
}

static const socklen_t address_len = sizeof(struct sockaddr_in);

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof(value);
    SYS(getsockopt(fd, level, name, &value, &len));
    return value;
}

static void talk(int a, int b)
{
    write_all(a, "there", 5);
    expect_text(b, "there");
    write_all(b, "back", 4);
    expect_text(a, "back");
}

static void end_both(int a, int b)
{
    SYS(close(a));
    expect_eof(b);
    SYS(close(b));
}

static void expect_reset(int fd)
{
    char c;
    await_readable(fd);
    FAILS(read(fd, &c, 1), ECONNRESET);
    SYS(close(fd));
}

/* The socket is as new, under its other numbers too; the old peer sees a reset. */
static void disconnect_and_again(void)
{
    struct sockaddr unspec = {.sa_family = AF_UNSPEC};
    char c;
    int fd = tcp_socket(), twin = (int)SYS(dup(fd));
    GIVES(connect(fd, &unspec, sizeof(unspec)), 0); /* nothing to disconnect */
    set_option(fd, SOL_SOCKET, SO_RCVLOWAT, 2);
    for (int i = 0; i < 3; i++) {
        SYS(connect(i == 1 ? twin : fd, address(), address_len));
        int peer = tcp_accept(listener);
        talk(fd, peer);
        write_all(peer, "unread", 6);
        await_bytes(fd, 6);
        if (i == 2)
            SYS(shutdown(fd, SHUT_WR));
        GIVES(connect(fd, &unspec, sizeof(unspec)), 0);
        FAILS(recv(fd, &c, 1, MSG_DONTWAIT), ECONNRESET); /* told once */
        FAILS(read(twin, &c, 1), ENOTCONN);
        FAILS(send(twin, &c, 1, MSG_NOSIGNAL), EPIPE);
        socklen_t len = 0;
        FAILS(getpeername(fd, &unspec, &len), ENOTCONN);
        unspec = (struct sockaddr){.sa_family = AF_UNSPEC};
        GIVES(option(fd, SOL_SOCKET, SO_ERROR), 0);
        GIVES(option(fd, SOL_SOCKET, SO_RCVLOWAT), 2);
        GIVES(option(fd, IPPROTO_TCP, TCP_NODELAY), 0);
        if (i != 2)
            expect_reset(peer);
        else
            SYS(close(peer));
    }
    SYS(connect(twin, address(), address_len));
    int peer = tcp_accept(listener);
    talk(twin, peer);
    SYS(close(fd));
    end_both(twin, peer);
}

static void *read_one(void *fd)
{
    char c;
    ssize_t n = read((int)(intptr_t)fd, &c, 1);
    return (void *)(intptr_t)(n < 0 ? errno : 0);
}

/* A reader that waits is told. */
static void disconnect_under_a_reader(void)
{
    struct sockaddr unspec = {.sa_family = AF_UNSPEC};
    void *error;
    int fd = tcp_connect(port), peer = tcp_accept(listener);
    talk(fd, peer);
    pthread_t reader = thread_start(read_one, (void *)(intptr_t)fd);
    poll(NULL, 0, 50);
    GIVES(connect(fd, &unspec, sizeof(unspec)), 0);
    pthread_join(reader, &error);
    GIVES((long)(intptr_t)error, EPIPE);
    SYS(close(fd));
    SYS(close(peer));
}

static void fast_open(void)
{
    int fd = tcp_socket();
    GIVES(sendto(fd, "first", 5, MSG_FASTOPEN, address(), address_len), 5);
    int peer = tcp_accept(listener);
    expect_text(peer, "first");
    talk(fd, peer);
    FAILS(sendto(fd, "again", 5, MSG_FASTOPEN, address(), address_len), EISCONN);
    end_both(fd, peer);

    fd = tcp_socket();
    struct iovec iov[2] = {{"fi", 2}, {"rst", 3}};
    struct mmsghdr m = {
        .msg_hdr = {.msg_name = address(), .msg_namelen = address_len, .msg_iov = iov, .msg_iovlen = 2}};
    GIVES(sendmsg(fd, &m.msg_hdr, MSG_FASTOPEN), 5);
    peer = tcp_accept(listener);
    expect_text(peer, "first");
    end_both(fd, peer);

    fd = tcp_socket();
    GIVES(sendmmsg(fd, &m, 1, MSG_FASTOPEN), 1);
    GIVES(m.msg_len, 5);
    peer = tcp_accept(listener);
    expect_text(peer, "first");
    end_both(fd, peer);
}

/* Without a cookie of the server the first segment holds nothing (tcp(7)): nothing is taken. */
static void fast_open_without_waiting(bool by_flag)
{
    int fd = tcp_socket();
    if (!by_flag)
        set_nonblocking(fd);
    FAILS(sendto(fd, "first", 5, MSG_FASTOPEN | (by_flag ? MSG_DONTWAIT : 0), address(), address_len), EINPROGRESS);
    GIVES(SYS(fcntl(fd, F_GETFL)) & O_NONBLOCK, by_flag ? 0 : O_NONBLOCK);
    int peer = tcp_accept(listener);
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    SYS(poll(&p, 1, -1));
    GIVES(option(fd, SOL_SOCKET, SO_ERROR), 0);
    SYS(fcntl(fd, F_SETFL, 0));
    talk(fd, peer);
    end_both(fd, peer);
}

static void fast_open_refused(void)
{
    uint16_t closed;
    int fd = tcp_socket(), gone = tcp_listen(1, &closed);
    struct sockaddr_in nobody = loopback(closed);
    SYS(close(gone));
    FAILS(sendto(fd, "first", 5, MSG_FASTOPEN, (struct sockaddr *)&nobody, sizeof(nobody)), ECONNREFUSED);
    GIVES(sendto(fd, "first", 5, MSG_FASTOPEN, address(), address_len), 5);
    int peer = tcp_accept(listener);
    expect_text(peer, "first");
    end_both(fd, peer);
}

static void fast_open_connect(void)
{
    int fd = tcp_socket();
    set_option(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1);
    GIVES(option(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT), 1);
    GIVES(connect(fd, address(), address_len), 0);
    write_all(fd, "x", 1);
    int peer = tcp_accept(listener), one = 1;
    expect_text(peer, "x");
    GIVES(option(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT), 1);
    FAILS(setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &one, sizeof(one)), EINVAL);
    talk(fd, peer);
    end_both(fd, peer);
    set_option(listener, IPPROTO_TCP, TCP_FASTOPEN, 5);
    GIVES(option(listener, IPPROTO_TCP, TCP_FASTOPEN), 5);
    fd = tcp_connect(port);
    peer = tcp_accept(listener);
    talk(fd, peer);
    end_both(fd, peer);
    set_option(listener, IPPROTO_TCP, TCP_FASTOPEN, 0);
}

/* A cork on both ends from the first moment. What is written under it leaves when it is pulled, or within 200 ms. */
static double corked(bool before)
{
    double start = now_seconds();
    int fd = tcp_socket();
    if (before)
        set_option(fd, IPPROTO_TCP, TCP_CORK, 1);
    SYS(connect(fd, address(), address_len));
    set_option(fd, IPPROTO_TCP, TCP_CORK, 1);
    int peer = tcp_accept(listener);
    set_option(peer, IPPROTO_TCP, TCP_CORK, 1);
    GIVES(option(fd, IPPROTO_TCP, TCP_CORK), 1);
    GIVES(option(peer, IPPROTO_TCP, TCP_CORK), 1);
    write_all(fd, "ask", 3);
    set_option(fd, IPPROTO_TCP, TCP_CORK, 0);
    expect_text(peer, "ask");
    double first = now_seconds() - start;
    set_option(fd, IPPROTO_TCP, TCP_CORK, 1);
    for (int i = 0; i < 20; i++) {
        write_all(fd, "ask", 3);
        set_option(fd, IPPROTO_TCP, TCP_CORK, 0);
        set_option(fd, IPPROTO_TCP, TCP_CORK, 1);
        expect_text(peer, "ask");
        write_all(peer, "tell", 4);
        set_option(peer, IPPROTO_TCP, TCP_CORK, 0);
        set_option(peer, IPPROTO_TCP, TCP_CORK, 1);
        expect_text(fd, "tell");
    }
    GIVES(option(fd, IPPROTO_TCP, TCP_CORK), 1);
    start = now_seconds();
    write_all(fd, "held", 4);
    expect_text(peer, "held");
    CHECK(now_seconds() - start > 0.1, "a corked write was not held back");
    set_option(fd, IPPROTO_TCP, TCP_CORK, 0);
    GIVES(option(fd, IPPROTO_TCP, TCP_CORK), 0);
    end_both(fd, peer);
    return first;
}

int main(void)
{
    watchdog_start();
    listener = tcp_listen(5, &port);
    disconnect_and_again();
    disconnect_under_a_reader();
    fast_open();
    fast_open_without_waiting(false);
    fast_open_without_waiting(true);
    fast_open_refused();
    fast_open_connect();
    double fastest = 1;
    for (int i = 0; i < 4; i++) {
        double first = corked(i % 2);
        fastest = first < fastest ? first : fastest;
    }
    CHECK(fastest < 0.15, "a cork was in the way: the first byte took %f s", fastest); /* 0.2 s for each flight */
    return 0;
}
