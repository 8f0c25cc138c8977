/* Socket options, ioctls and message flags that programs set on connections, and the signals they ask for. */
#include "calls.h"

#include <linux/net_tstamp.h>
#include <linux/sockios.h>
#include <sys/mman.h>

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof(value);
    SYS(getsockopt(fd, level, name, &value, &len));
    return value;
}

static void kept_options(int end[2])
{
    static const struct {
        int level, name, value;
    } plain[] = {
        {SOL_SOCKET, SO_KEEPALIVE, 1},  {SOL_SOCKET, SO_OOBINLINE, 1},        {SOL_SOCKET, SO_PRIORITY, 3},
        {SOL_SOCKET, SO_RCVLOWAT, 7},   {SOL_SOCKET, SO_RCVLOWAT, 1},         {SOL_SOCKET, SO_TIMESTAMP, 1},
        {IPPROTO_TCP, TCP_NODELAY, 1},  {IPPROTO_TCP, TCP_NODELAY, 0},        {IPPROTO_TCP, TCP_CORK, 1},
        {IPPROTO_TCP, TCP_CORK, 0},     {IPPROTO_TCP, TCP_KEEPIDLE, 77},      {IPPROTO_TCP, TCP_USER_TIMEOUT, 9000},
        {IPPROTO_TCP, TCP_QUICKACK, 1}, {IPPROTO_TCP, TCP_NOTSENT_LOWAT, 99}, {IPPROTO_TCP, TCP_LINGER2, 5},
        {IPPROTO_TCP, TCP_SYNCNT, 3}};
    for (unsigned i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        set_option(end[0], plain[i].level, plain[i].name, plain[i].value);
        GIVES(option(end[0], plain[i].level, plain[i].name), plain[i].value);
    }
    set_option(end[0], IPPROTO_TCP, TCP_NOTSENT_LOWAT, -1);
    FAILS(setsockopt(end[0], IPPROTO_TCP, TCP_ULP, "no such protocol", 16), ENOENT);
    GIVES(option(end[0], SOL_SOCKET, SO_ERROR), 0);
    GIVES(option(end[0], SOL_SOCKET, SO_TYPE), SOCK_STREAM);
    GIVES(option(end[0], SOL_SOCKET, SO_ACCEPTCONN), 0);
    GIVES(option(end[0], IPPROTO_TCP, TCP_INQ), 0);
    GIVES(option(end[0], SOL_SOCKET, SO_PEEK_OFF), -1);
    char name[16] = "x";
    socklen_t len = sizeof(name);
    GIVES(getsockopt(end[0], IPPROTO_TCP, TCP_ULP, name, &len), 0);
    GIVES(len, 0);
    struct tcp_info info;
    len = sizeof(info);
    GIVES(getsockopt(end[0], IPPROTO_TCP, TCP_INFO, &info, &len), 0);
    GIVES(info.tcpi_state, TCP_ESTABLISHED);
    FAILS(getsockopt(end[0], SOL_SOCKET, SO_ERROR, &len, (socklen_t *)8), EFAULT);
    FAILS(setsockopt(end[0], SOL_SOCKET, SO_KEEPALIVE, NULL, 4), EFAULT);
    FAILS(setsockopt(end[0], SOL_SOCKET, SO_RCVLOWAT, &len, 1), EINVAL);
    FAILS(setsockopt(end[0], SOL_SOCKET, 9999, &len, 4), ENOPROTOOPT);
}

static void names(int end[2])
{
    struct sockaddr_in a, b;
    socklen_t a_len = sizeof(a), b_len = sizeof(b);
    SYS(getsockname(end[0], (struct sockaddr *)&a, &a_len));
    SYS(getpeername(end[1], (struct sockaddr *)&b, &b_len));
    CHECK(a.sin_port == b.sin_port && a_len == sizeof(a), "the names of the ends differ");
    FAILS(connect(end[0], (struct sockaddr *)&b, b_len), EISCONN);
    FAILS(bind(end[0], (struct sockaddr *)&b, b_len), EINVAL);
    FAILS(listen(end[0], 1), EINVAL);
    FAILS(accept(end[0], NULL, NULL), EINVAL);
    FAILS(shutdown(end[0], 7), EINVAL);
}

static void flags(int end[2])
{
    char got[20] = "";
    GIVES(send(end[0], "a", 1, MSG_CONFIRM), 1);
    GIVES(send(end[0], "b", 1, MSG_EOR), 1);
    GIVES(send(end[0], "c", 1, MSG_DONTROUTE | MSG_NOSIGNAL | MSG_DONTWAIT), 1);
    await_bytes(end[1], 3);
    FAILS(recv(end[1], got, 1, MSG_ERRQUEUE), EAGAIN);
    FAILS(recv(end[1], got, 1, MSG_OOB), EINVAL);
    GIVES(recv(end[1], got, 2, MSG_PEEK), 2);
    GIVES(recv(end[1], NULL, 1, MSG_TRUNC), 1);
    GIVES(recv(end[1], got, 20, MSG_CMSG_CLOEXEC), 2);
    CHECK(got[0] == 'b' && got[1] == 'c', "read %.2s", got);
    FAILS(recv(end[1], got, 1, MSG_DONTWAIT), EAGAIN);
    GIVES(send(end[0], "", 0, 0), 0);
    GIVES(write(end[0], NULL, 0), 0);
    FAILS(recv(end[1], got, 0, MSG_DONTWAIT), EAGAIN); /* it waits for bytes, unlike read */
    SYS(write(end[0], "d", 1));
    GIVES(recv(end[1], got, 0, 0), 0);
    expect_text(end[1], "d");
    GIVES(read(end[1], NULL, 0), 0);
}

static void queues(int end[2])
{
    int n = -1;
    GIVES(ioctl(end[1], SIOCATMARK, &n), 0);
    GIVES(n, 0);
    GIVES(sockatmark(end[1]), 0);
    static char much[3000000];
    size_t put = 0;
    for (ssize_t k; (k = send(end[0], much, sizeof(much), MSG_DONTWAIT)) > 0;)
        put += (size_t)k;
    GIVES(ioctl(end[0], SIOCOUTQ, &n), 0);
    CHECK(n > 0, "a full socket has nothing to send");
    GIVES(ioctl(end[0], SIOCOUTQNSD, &n), 0);
    CHECK(n > 0, "a full socket has nothing unsent");
    while (put)
        put -= (size_t)SYS(read(end[1], much, sizeof(much) < put ? sizeof(much) : put));
    for (n = 1; n;) {
        SYS(ioctl(end[0], SIOCOUTQ, &n));
        poll(NULL, 0, 1);
    }
    FAILS(ioctl(end[0], 0x5401 /* TCGETS */, much), ENOTTY);
}

static volatile sig_atomic_t signals, from_number;

static void on_io(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    signals++;
    from_number = info->si_fd;
}

static void told_by_signal(int end[2])
{
    struct sigaction act = {.sa_sigaction = on_io, .sa_flags = SA_SIGINFO};
    char c;
    SYS(sigaction(SIGRTMIN, &act, NULL));
    SYS(fcntl(end[1], F_SETOWN, getpid()));
    SYS(fcntl(end[1], F_SETSIG, SIGRTMIN));
    SYS(fcntl(end[1], F_SETFL, O_ASYNC | O_NONBLOCK));
    GIVES(fcntl(end[1], F_GETOWN), getpid());
    for (int i = 0; i < 5; i++) {
        while (read(end[1], &c, 1) == 1)
            ;
        signals = 0;
        SYS(write(end[0], "x", 1));
        while (!signals)
            poll(NULL, 0, 1);
        GIVES(from_number, end[1]);
        progress();
    }
    int off = 0;
    SYS(ioctl(end[1], FIOASYNC, &off));
    GIVES(SYS(fcntl(end[1], F_GETFL)) & (O_ASYNC | O_NONBLOCK), O_NONBLOCK);
    SYS(fcntl(end[1], F_SETFL, 0));
    expect_text(end[1], "x");
}

/* Addresses where nothing can be. What was sent stays to be read. */
/* Whoever takes the kernel's notices until there are none hears no more of them. */
static void notices(int end[2])
{
    struct pollfd p = {.fd = end[0]};
    set_option(end[0], SOL_SOCKET, SO_TIMESTAMPING,
               SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_OPT_TSONLY);
    write_all(end[0], "stamped", 7);
    expect_text(end[1], "stamped");
    GIVES(poll(&p, 1, -1), 1);
    GIVES(p.revents, POLLERR);
    set_option(end[0], SOL_SOCKET, SO_TIMESTAMPING, 0);
    for (ssize_t n = 0; n >= 0;) {
        char control[512];
        struct msghdr m = {.msg_control = control, .msg_controllen = sizeof(control)};
        n = recvmsg(end[0], &m, MSG_ERRQUEUE);
        CHECK(n >= 0 || errno == EAGAIN, "MSG_ERRQUEUE: %s", strerror(errno));
    }
    GIVES(poll(&p, 1, 0), 0);
}

static void bad_addresses(int end[2])
{
    void *bad[] = {(void *)8, (void *)-4096};
    for (unsigned i = 0; i < 2; i++) {
        char got[10];
        struct iovec iov[2] = {{got, 1}, {bad[i], 5}};
        FAILS(recv(end[1], bad[i], 5, MSG_DONTWAIT), i ? EFAULT : EAGAIN); /* not even in the program's half */
        FAILS(send(end[0], bad[i], 5, 0), EFAULT);
        FAILS(write(end[0], bad[i], 5), EFAULT);
        SYS(write(end[0], "hello", 5));
        await_bytes(end[1], 5);
        FAILS(recv(end[1], bad[i], 5, 0), EFAULT);
        FAILS(read(end[1], bad[i], 5), EFAULT);
        FAILS(readv(end[1], bad[i], 1), EFAULT);
        FAILS(writev(end[0], bad[i], 1), EFAULT);
        FAILS(sendmsg(end[0], bad[i], 0), EFAULT);
        FAILS(recvmsg(end[1], bad[i], 0), EFAULT);
        FAILS(readv(end[1], iov + 1, 1), EFAULT);
        FAILS(writev(end[0], iov + 1, 1), EFAULT);
        expect_text(end[1], "hello");
    }
}

int main(void)
{
    static void (*const with_pair[])(int end[2]) = {names,          kept_options, flags,        queues,
                                                    told_by_signal, notices,      bad_addresses};
    watchdog_start();
    for (unsigned i = 0; i < sizeof(with_pair) / sizeof(with_pair[0]); i++) {
        int end[2];
        tcp_pair(end);
        with_pair[i](end);
        SYS(close(end[0]));
        SYS(close(end[1]));
    }
    return 0;
}
