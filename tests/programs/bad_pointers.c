/* Addresses, lengths, sets and timeouts in a page that may not be touched: the kernel says EFAULT, and no call ends the
 * program. */
#include "calls.h"

#include <limits.h>
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

/* The kernel copies a page or several at a time, and stops in front of those that it cannot copy whole. */
static void expect_part(int fd, char *room, ssize_t most, ssize_t sent)
{
    CHECK(sent > 0 && sent <= most, "%zd bytes of at most %zd: %s", sent, most, strerror(errno));
    GIVES(recv(fd, room, (size_t)sent, MSG_WAITALL), sent);
}

/* A length that is larger than the memory behind it counts as far as that goes: read(fd, buffer, INT_MAX). */
static void lengths(int end[2])
{
    enum { ROOM = 65536 };
    static const size_t beyond[] = {ROOM + 1, INT_MAX, 0x80000000u, UINT_MAX};
    char *room = mmap(NULL, ROOM + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(room != MAP_FAILED, "mmap");
    SYS(mprotect(room + ROOM, 4096, PROT_NONE));
    memset(room, 'x', ROOM);
    for (size_t i = 0; i < sizeof(beyond) / sizeof(*beyond); i++) {
        struct iovec two[2] = {{room, 2}, {room + 2, beyond[i]}}, empty_first[2] = {{room, 0}, {room, beyond[i]}};
        struct msghdr m = {.msg_iov = &two[1], .msg_iovlen = 1};
        write_all(end[0], "abcdefgh", 8);
        await_bytes(end[1], 8);
        GIVES(recv(end[1], room, beyond[i], MSG_PEEK), 8);
        CHECK(memcmp(room, "abcdefgh", 8) == 0, "%.8s", room);
        GIVES(readv(end[1], two, 2), 8);
        CHECK(memcmp(room, "abcdefgh", 8) == 0, "%.8s", room);
        write_all(end[0], "ijklmnop", 8);
        await_bytes(end[1], 8);
        GIVES(readv(end[1], empty_first, 2), 8);
        CHECK(memcmp(room, "ijklmnop", 8) == 0, "%.8s", room);
        write_all(end[0], "abc", 3);
        await_bytes(end[1], 3);
        GIVES(recvmsg(end[1], &m, 0), 3);
        write_all(end[0], "defg", 4);
        await_bytes(end[1], 4);
        GIVES(read(end[1], room, beyond[i]), 4);
        CHECK(memcmp(room, "defg", 4) == 0, "%.4s", room);
        FAILS(recv(end[1], room, beyond[i], MSG_DONTWAIT), EAGAIN);
        expect_part(end[1], room, ROOM, send(end[0], room, beyond[i], 0));
        expect_part(end[1], room, ROOM, write(end[0], room, beyond[i]));
        expect_part(end[1], room, ROOM, writev(end[0], two, 2));
        expect_part(end[1], room, ROOM, sendmsg(end[0], &m, 0));
    }
    FAILS(recv(end[1], room + ROOM, INT_MAX, MSG_DONTWAIT), EAGAIN);
    FAILS(send(end[0], room + ROOM, INT_MAX, 0), EFAULT);
    SYS(munmap(room, ROOM + 4096));
}

/* What is longer than any address is cut, or refused, by each call as the kernel does it. */
static void lengths_beyond_all(int end[2])
{
    static const size_t beyond[] = {SSIZE_MAX, (size_t)SSIZE_MAX + 1, SIZE_MAX};
    static char room[64]; /* far from the highest address, unlike the stack */
    for (size_t i = 0; i < sizeof(beyond) / sizeof(*beyond); i++) {
        struct iovec two[2] = {{room, 2}, {room + 2, beyond[i]}};
        write_all(end[0], "ab", 2);
        await_bytes(end[1], 2);
        GIVES(recv(end[1], room, beyond[i], 0), 2);
        CHECK(memcmp(room, "ab", 2) == 0, "%.2s", room);
        FAILS(read(end[1], room, beyond[i]), EFAULT);
        FAILS(write(end[0], room, beyond[i]), EFAULT);
        FAILS(readv(end[1], two, 2), beyond[i] > SSIZE_MAX ? EINVAL : EFAULT);
        FAILS(writev(end[0], two, 2), beyond[i] > SSIZE_MAX ? EINVAL : EFAULT);
    }
}

int main(void)
{
    static void (*const with_pair[])(int end[2]) = {connects,  accepts,  names_of_senders, waits,
                                                    raw_waits, messages, lengths,          lengths_beyond_all};
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
