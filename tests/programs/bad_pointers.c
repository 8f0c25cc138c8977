/* Addresses, lengths, sets and timeouts in a page that may not be touched: the kernel says EFAULT, and no call ends the
 * program. */
#include "calls.h"

#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/syscall.h>

static void *forbidden_page;

static void connects(int end[2])
{
    (void)end;
    int fd = tcp_socket();
    FAILS(connect(fd, forbidden_page, sizeof(struct sockaddr_in)), EFAULT);
    FAILS(syscall(SYS_connect, fd, forbidden_page, sizeof(struct sockaddr_in)), EFAULT);
    FAILS(bind(fd, forbidden_page, sizeof(struct sockaddr_in)), EFAULT);
    SYS(close(fd));
}

/* The connection is taken from the queue, and lost. */
static void accepts(int end[2])
{
    (void)end;
    uint16_t port;
    int listener = tcp_listen(8, &port);
    struct sockaddr_in peer;
    socklen_t len = sizeof(peer), negative = (socklen_t)-1;
    set_nonblocking(listener);
    FAILS(accept(listener, forbidden_page, &len), EAGAIN);
    int a = tcp_connect(port), b = tcp_connect(port), c = tcp_connect(port), d = tcp_connect(port);
    struct pollfd p = {.fd = listener, .events = POLLIN};
    SYS(poll(&p, 1, -1));
    FAILS(accept(listener, forbidden_page, &len), EFAULT);
    FAILS(accept(listener, (struct sockaddr *)&peer, forbidden_page), EFAULT);
    FAILS(accept4(listener, (struct sockaddr *)&peer, &negative, 0), EINVAL);
    int last = (int)SYS(accept(listener, NULL, forbidden_page));
    SYS(close(last));
    SYS(close(a));
    SYS(close(b));
    SYS(close(c));
    SYS(close(d));
    SYS(close(listener));
}

/* The bytes are taken, and lost. */
static void names_of_senders(int end[2])
{
    char got[8];
    struct sockaddr_in from;
    socklen_t negative = (socklen_t)-1, len = sizeof(from);
    write_all(end[0], "abcd", 4);
    await_bytes(end[1], 4);
    FAILS(recvfrom(end[1], got, 1, 0, (struct sockaddr *)&from, &negative), EINVAL);
    FAILS(recvfrom(end[1], got, 1, 0, (struct sockaddr *)&from, forbidden_page), EFAULT);
    FAILS(recvfrom(end[1], got, 1, 0, (struct sockaddr *)&from, NULL), EFAULT);
    GIVES(recvfrom(end[1], got, 1, 0, (struct sockaddr *)&from, &len), 1);
    CHECK(got[0] == 'd' && len == 0, "%c, length %u", got[0], len);
    len = sizeof(from);
    FAILS(getpeername(end[0], forbidden_page, &len), EFAULT);
    FAILS(getsockname(end[0], forbidden_page, &negative), EINVAL);
}

static void waits(int end[2])
{
    fd_set set;
    struct timespec at_once = {0};
    int epfd = (int)SYS(epoll_create1(0));
    struct epoll_event event = {.events = EPOLLIN};
    FD_ZERO(&set);
    FD_SET(end[0], &set);
    FAILS(poll(forbidden_page, 1, 0), EFAULT);
    FAILS(ppoll(forbidden_page, 1, &at_once, NULL), EFAULT);
    FAILS(select(end[0] + 1, forbidden_page, NULL, NULL, NULL), EFAULT);
    FAILS(select(end[0] + 1, NULL, forbidden_page, NULL, NULL), EFAULT);
    FAILS(select(end[0] + 1, &set, NULL, forbidden_page, NULL), EFAULT);
    FAILS(pselect(end[0] + 1, &set, forbidden_page, NULL, &at_once, NULL), EFAULT);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_ADD, end[0], forbidden_page), EFAULT);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_ADD, end[0], NULL), EFAULT);
    SYS(epoll_ctl(epfd, EPOLL_CTL_ADD, end[1], &event));
    write_all(end[0], "x", 1);
    await_readable(end[1]);
    FAILS(epoll_wait(epfd, forbidden_page, 1, -1), EFAULT);
    expect_text(end[1], "x");
    SYS(close(epfd));
}

/* By their numbers, since libc's own functions look at the timeout. */
static void raw_waits(int end[2])
{
    fd_set set;
    struct pollfd p = {.fd = end[1], .events = POLLIN};
    struct timespec at_once = {0};
    FD_ZERO(&set);
    FD_SET(end[1], &set);
#ifdef SYS_select
    FAILS(syscall(SYS_select, end[1] + 1, &set, NULL, NULL, forbidden_page), EFAULT);
    FAILS(syscall(SYS_select, end[1] + 1, forbidden_page, NULL, NULL, forbidden_page), EFAULT);
#endif
    FAILS(syscall(SYS_pselect6, end[1] + 1, &set, NULL, NULL, forbidden_page, NULL), EFAULT);
    FAILS(syscall(SYS_pselect6, end[1] + 1, &set, NULL, NULL, &at_once, forbidden_page), EFAULT);
    FAILS(syscall(SYS_ppoll, &p, 1, forbidden_page, NULL, 8), EFAULT);
    FAILS(syscall(SYS_ppoll, forbidden_page, 1, &at_once, NULL, 8), EFAULT);
    FAILS(syscall(SYS_clone3, forbidden_page, 88), EFAULT);
}

static void messages(int end[2])
{
    char byte = 'x';
    struct iovec iov = {&byte, 1};
    struct msghdr m = {.msg_iov = forbidden_page, .msg_iovlen = 1};
    FAILS(sendmsg(end[0], &m, 0), EFAULT);
    FAILS(recvmsg(end[1], &m, MSG_DONTWAIT), EFAULT);
    FAILS(sendmmsg(end[0], forbidden_page, 1, 0), EFAULT);
    FAILS(recvmmsg(end[1], forbidden_page, 1, MSG_DONTWAIT, NULL), EFAULT);
    m = (struct msghdr){.msg_iov = &iov, .msg_iovlen = 1, .msg_control = forbidden_page, .msg_controllen = 64};
    FAILS(sendmsg(end[0], &m, 0), EFAULT);
    FAILS(setsockopt(end[0], SOL_SOCKET, SO_KEEPALIVE, forbidden_page, sizeof(int)), EFAULT);
    FAILS(getsockopt(end[0], SOL_SOCKET, SO_KEEPALIVE, forbidden_page, &(socklen_t){sizeof(int)}), EFAULT);
    FAILS(getsockopt(end[0], SOL_SOCKET, SO_KEEPALIVE, &byte, forbidden_page), EFAULT);
    FAILS(ioctl(end[0], FIONREAD, forbidden_page), EFAULT);
    FAILS(ioctl(end[0], FIONBIO, forbidden_page), EFAULT);
}

int main(void)
{
    static void (*const with_pair[])(int end[2]) = {connects, accepts, names_of_senders, waits, raw_waits, messages};
    watchdog_start();
    forbidden_page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(forbidden_page != MAP_FAILED, "mmap");
    for (size_t i = 0; i < sizeof(with_pair) / sizeof(*with_pair); i++) {
        int end[2];
        tcp_pair(end);
        with_pair[i](end);
        SYS(close(end[0]));
        SYS(close(end[1]));
    }
    puts("ok");
    return 0;
}
