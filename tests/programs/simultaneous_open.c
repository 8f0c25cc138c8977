/* TCP simultaneous open (RFC 9293 section 3.5): both sides call connect, nobody listens or accepts.
 *
 * Recipe without luck: a listener that drops every SYN (socket filter "accept 0 bytes") holds the second port while the
 * first side sends its SYN, so that side stays in SYN_SENT instead of being refused. Then the second side takes the
 * port over and connects back: its SYN meets a socket in SYN_SENT, which goes to SYN_RECEIVED. */
#include "common.h"

#include <linux/filter.h>

enum { AMOUNT = 300 * KIB, ROUNDS = 5 };

static int bound(uint16_t port)
{
    struct sockaddr_in a = loopback(port);
    int fd = tcp_socket();
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    SYS(bind(fd, (struct sockaddr *)&a, sizeof(a)));
    return fd;
}

static int black_hole(void)
{
    struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
    struct sock_fprog program = {.len = 1, .filter = &drop};
    int fd = tcp_socket();
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    SYS(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)));
    struct sockaddr_in any = loopback(0);
    SYS(bind(fd, (struct sockaddr *)&any, sizeof(any)));
    SYS(listen(fd, 1));
    return fd;
}

static void start_connect(int fd, uint16_t port)
{
    struct sockaddr_in a = loopback(port);
    set_nonblocking(fd);
    CHECK(connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 && errno == EINPROGRESS, "the first connect: %s",
          strerror(errno));
}

static int tcp_state(int fd)
{
    struct tcp_info info;
    socklen_t len = sizeof(info);
    SYS(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len));
    return info.tcpi_state;
}

static void finish_connect(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int error;
    socklen_t len = sizeof(error);
    while (poll(&p, 1, -1) < 0)
        CHECK(errno == EINTR, "poll: %s", strerror(errno));
    SYS(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len));
    CHECK(error == 0, "connect: %s", strerror(error));
    SYS(fcntl(fd, F_SETFL, SYS(fcntl(fd, F_GETFL)) & ~O_NONBLOCK));
}

/* Both sockets connected to each other, neither by accept. */
static void open_both(int end[2])
{
    int hole = black_hole();
    uint16_t second = local_port(hole);
    end[0] = bound(0);
    start_connect(end[0], second);
    CHECK(tcp_state(end[0]) == TCP_SYN_SENT, "the first socket is not in SYN_SENT but in state %d", tcp_state(end[0]));
    SYS(close(hole));
    end[1] = bound(second);
    struct sockaddr_in back = loopback(local_port(end[0]));
    SYS(connect(end[1], (struct sockaddr *)&back, sizeof(back)));
    finish_connect(end[0]);
}

static void exchange(int fd, uint64_t in, uint64_t out)
{
    for (uint64_t at = 0; at < AMOUNT; at += AMOUNT / 10) {
        stream_send(fd, out, at, AMOUNT / 10);
        stream_recv(fd, in, at, AMOUNT / 10);
    }
    SYS(shutdown(fd, SHUT_WR));
    expect_eof(fd);
    SYS(close(fd));
}

static void *second_side(void *fd)
{
    exchange(*(int *)fd, 1, 2);
    return NULL;
}

int main(void)
{
    watchdog_start();
    for (int round = 0; round < ROUNDS; round++) {
        int end[2];
        open_both(end);
        printf("port %u\n", local_port(end[0]));
        if (round % 2) { /* two processes */
            pid_t pid = fork_child();
            if (pid == 0) {
                SYS(close(end[0]));
                second_side(&end[1]);
                _exit(0);
            }
            SYS(close(end[1]));
            exchange(end[0], 2, 1);
            reap(pid, "the second side");
        } else { /* two threads */
            pthread_t thread = thread_start(second_side, &end[1]);
            exchange(end[0], 2, 1);
            pthread_join(thread, NULL);
        }
    }
    return 0;
}
