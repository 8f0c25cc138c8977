/* Every socket call by its number, through syscall(2): Node.js closes its sockets so. */
#include "calls.h"

#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define RAW(name, ...) SYS(syscall(SYS_##name, __VA_ARGS__))

static int raw_pair(int end[2])
{
    struct sockaddr_in a = loopback(0);
    socklen_t len = sizeof(a);
    int listener = (int)RAW(socket, AF_INET, SOCK_STREAM, 0);
    RAW(bind, listener, &a, sizeof(a));
    RAW(listen, listener, 1);
    RAW(getsockname, listener, &a, &len);
    end[0] = (int)RAW(socket, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    RAW(connect, end[0], &a, sizeof(a));
    end[1] = (int)RAW(accept4, listener, NULL, NULL, SOCK_CLOEXEC);
    return listener;
}

/* Each way to write, each way to read, and the right text at the other end. */
static void moving(const int end[2])
{
    char got[6] = "";
    struct iovec out[2] = {{"wo", 2}, {"rds", 3}}, in = {got, 5};
    struct msghdr send_it = {.msg_iov = out, .msg_iovlen = 2}, take_it = {.msg_iov = &in, .msg_iovlen = 1};
    struct mmsghdr send_many = {.msg_hdr = send_it}, take_many = {.msg_hdr = take_it};
    int file = (int)SYS(memfd_create("f", 0)), p[2];
    SYS(write(file, "words", 5));
    SYS(pipe(p));
    for (int way = 0; way < 7; way++) {
        off_t at = 0;
        long k = 0;
        memset(got, 0, sizeof(got));
        switch (way) {
        case 0:
            k = RAW(write, end[0], "words", 5);
            await_bytes(end[1], 5);
            GIVES(syscall(SYS_read, end[1], got, 5), 5);
            break;
        case 1:
            k = RAW(writev, end[0], out, 2);
            await_bytes(end[1], 5);
            GIVES(syscall(SYS_readv, end[1], &in, 1), 5);
            break;
        case 2:
            k = RAW(sendto, end[0], "words", 5, 0, NULL, 0);
            GIVES(syscall(SYS_recvfrom, end[1], got, 5, MSG_WAITALL, NULL, NULL), 5);
            break;
        case 3:
            k = RAW(sendmsg, end[0], &send_it, 0);
            GIVES(syscall(SYS_recvmsg, end[1], &take_it, MSG_WAITALL), 5);
            break;
        case 4:
            GIVES(syscall(SYS_sendmmsg, end[0], &send_many, 1, 0), 1);
            k = send_many.msg_len;
            GIVES(syscall(SYS_recvmmsg, end[1], &take_many, 1, MSG_WAITALL, NULL), 1);
            break;
        case 5:
            k = RAW(pwritev2, end[0], out, 2, -1L, 0L, 0);
            await_bytes(end[1], 5);
            GIVES(syscall(SYS_preadv2, end[1], &in, 1, -1L, 0L, 0), 5);
            break;
        case 6:
            k = RAW(sendfile, end[0], file, &at, 5);
            await_bytes(end[1], 5);
            GIVES(syscall(SYS_splice, end[1], NULL, p[1], NULL, 5, 0), 5);
            SYS(read(p[0], got, 5));
        }
        CHECK(k == 5 && strcmp(got, "words") == 0, "way %d: %ld written, read \"%s\"", way, k, got);
    }
    SYS(close(file));
    SYS(close(p[0]));
    SYS(close(p[1]));
}

static void waiting(const int end[2])
{
    struct pollfd p = {.fd = end[1], .events = POLLIN};
    struct timespec none = {0, 0};
    struct timeval no_time = {0, 0};
    struct epoll_event e = {.events = EPOLLIN};
    fd_set set;
    int epoll = (int)SYS(epoll_create1(0)), ready = 0;
    RAW(epoll_ctl, epoll, EPOLL_CTL_ADD, end[1], &e);
    GIVES(syscall(SYS_poll, &p, 1, 0), 0);
    for (int i = 0; i < 2; i++) {
        FD_ZERO(&set);
        FD_SET(end[1], &set);
        GIVES(syscall(SYS_ppoll, &p, 1, &none, NULL, 8), i);
        GIVES(syscall(SYS_select, end[1] + 1, &set, NULL, NULL, &no_time), i);
        FD_SET(end[1], &set);
        GIVES(syscall(SYS_pselect6, end[1] + 1, &set, NULL, NULL, &none, NULL), i);
        if (i)
            GIVES(syscall(SYS_epoll_wait, epoll, &e, 1, 0), 1);
        if (i)
            GIVES(syscall(SYS_epoll_pwait2, epoll, &e, 1, &none, NULL, 8), 1);
        RAW(write, end[0], "abc", 3);
        GIVES(syscall(SYS_poll, &p, 1, -1), 1);
    }
    RAW(ioctl, end[1], FIONREAD, &ready);
    CHECK(ready == 3 || ready == 6, "FIONREAD gives %d", ready);
    expect_text(end[1], "abcabc");
    SYS(close(epoll));
}

static void numbers(const int end[2])
{
    int low = 3;
    socklen_t len = sizeof(low);
    RAW(setsockopt, end[1], SOL_SOCKET, SO_RCVLOWAT, &low, sizeof(low));
    low = 0;
    RAW(getsockopt, end[1], SOL_SOCKET, SO_RCVLOWAT, &low, &len);
    GIVES(low, 3);
    low = 1;
    RAW(setsockopt, end[1], SOL_SOCKET, SO_RCVLOWAT, &low, sizeof(low));
    int copies[] = {(int)RAW(dup, end[0]), (int)RAW(fcntl, end[0], F_DUPFD_CLOEXEC, 100), 200, 201};
    RAW(dup2, end[0], 200);
    RAW(dup3, end[0], 201, O_CLOEXEC);
    for (unsigned i = 0; i < 4; i++) {
        RAW(write, copies[i], "copy", 4);
        expect_text(end[1], "copy");
    }
    RAW(close, copies[0]);
    RAW(close, copies[1]);
    RAW(close_range, 200, 201, 0);
    for (unsigned i = 0; i < 4; i++)
        FAILS(write(copies[i], "x", 1), EBADF);
}

static void processes(const int end[2])
{
    static const long ways[] = {SYS_fork, SYS_clone};
    for (int i = 0; i < 2; i++) {
        long pid = SYS(syscall(ways[i], (long)SIGCHLD, 0L, 0L, 0L, 0L));
        if (pid == 0) {
            syscall(SYS_write, end[0], "child", 5);
            syscall(SYS_exit_group, 0);
        }
        reap((pid_t)pid, "the child");
        expect_text(end[1], "child");
    }
}

int main(void)
{
    int end[2];
    watchdog_start();
    int listener = raw_pair(end);
    moving(end);
    waiting(end);
    numbers(end);
    processes(end);
    RAW(shutdown, end[0], SHUT_WR);
    expect_eof(end[1]);
    RAW(close, end[0]);
    RAW(close, end[1]);
    RAW(close, listener);
    FAILS(syscall(SYS_read, end[0], &end, 1), EBADF);
    return 0;
}
