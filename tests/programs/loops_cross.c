/* loops_cross [blocking|epoll]: two single-threaded processes connect to each other at the same moment. In the epoll
 * variant each serves both connections in one loop; in the blocking one each connects and writes before it accepts. */
#include "common.h"

#include <sys/epoll.h>

enum { AMOUNT = 256 * KIB, BLOCKING_AMOUNT = 48 * KIB };

struct side {
    int listener, to_other, from_other;
    uint16_t other_port;
    unsigned id; /* 0 or 1 */
};

static uint64_t seed_of(unsigned sender, bool connected)
{
    return 100 + sender * 2 + connected;
}

static void meet(const struct side *s)
{
    signal_peer(s->to_other);
    await_peer(s->from_other);
}

/* ---- blocking ---- */

static void run_blocking(const struct side *s)
{
    meet(s);
    int out = tcp_connect(s->other_port);
    stream_send(out, seed_of(s->id, true), 0, BLOCKING_AMOUNT);
    int in = tcp_accept(s->listener);
    stream_recv(in, seed_of(!s->id, true), 0, BLOCKING_AMOUNT);
    stream_send(in, seed_of(s->id, false), 0, BLOCKING_AMOUNT);
    stream_recv(out, seed_of(!s->id, false), 0, BLOCKING_AMOUNT);
    SYS(shutdown(out, SHUT_WR));
    expect_eof(in);
    SYS(close(in));
    SYS(close(out));
}

/* ---- epoll ---- */

struct flow {
    int fd;
    bool connected, eof, sent;
    uint64_t read_at, written_at;
};

static void flow_write(struct flow *f, unsigned id)
{
    uint8_t buffer[30000];
    while (!f->sent) {
        size_t n = AMOUNT - f->written_at < sizeof(buffer) ? AMOUNT - f->written_at : sizeof(buffer);
        stream_fill(seed_of(id, f->connected), f->written_at, buffer, n);
        ssize_t sent = write(f->fd, buffer, n);
        if (sent < 0) {
            CHECK(errno == EAGAIN, "write: %s", strerror(errno));
            return;
        }
        progress();
        f->written_at += (uint64_t)sent;
        f->sent = f->written_at == AMOUNT;
        if (f->sent)
            SYS(shutdown(f->fd, SHUT_WR));
    }
}

static void flow_read(struct flow *f, unsigned id)
{
    uint8_t buffer[30000];
    while (!f->eof) {
        ssize_t got = read(f->fd, buffer, sizeof(buffer));
        if (got < 0) {
            CHECK(errno == EAGAIN, "read: %s", strerror(errno));
            return;
        }
        progress();
        stream_check(seed_of(!id, !f->connected), f->read_at, buffer, (size_t)got);
        f->read_at += (uint64_t)got;
        f->eof = got == 0;
    }
    CHECK(f->read_at == AMOUNT, "EOF after %llu bytes", (unsigned long long)f->read_at);
}

static void watch(int set, struct flow *f)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = f};
    SYS(epoll_ctl(set, EPOLL_CTL_ADD, f->fd, &e));
}

static void run_epoll(const struct side *s)
{
    int set = (int)SYS(epoll_create1(EPOLL_CLOEXEC));
    struct flow flows[2] = {{.fd = tcp_socket(), .connected = true}, {.fd = -1}};
    struct epoll_event event = {.events = EPOLLIN};
    struct sockaddr_in to = loopback(s->other_port);
    set_nonblocking(flows[0].fd);
    set_nonblocking(s->listener);
    SYS(epoll_ctl(set, EPOLL_CTL_ADD, s->listener, &event));
    meet(s);
    CHECK(connect(flows[0].fd, (struct sockaddr *)&to, sizeof(to)) == 0 || errno == EINPROGRESS, "connect: %s",
          strerror(errno));
    watch(set, &flows[0]);
    while (!flows[0].eof || !flows[0].sent || !flows[1].eof || !flows[1].sent) {
        int n = epoll_wait(set, &event, 1, -1);
        CHECK(n == 1 || errno == EINTR, "epoll_wait: %s", strerror(errno));
        struct flow *f = event.data.ptr;
        if (!f) {
            if ((flows[1].fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) < 0)
                continue;
            SYS(epoll_ctl(set, EPOLL_CTL_DEL, s->listener, NULL));
            watch(set, &flows[1]);
            continue;
        }
        flow_read(f, s->id);
        if (event.events & EPOLLOUT)
            flow_write(f, s->id);
    }
    SYS(close(flows[0].fd));
    SYS(close(flows[1].fd));
}

int main(int argc, char **argv)
{
    bool epoll = argc > 1 && strcmp(argv[1], "epoll") == 0;
    struct side sides[2];
    int pipes[2][2];
    watchdog_start();
    for (unsigned i = 0; i < 2; i++) {
        SYS(pipe2(pipes[i], O_CLOEXEC));
        sides[i].id = i;
        sides[i].listener = tcp_listen(4, &sides[!i].other_port);
    }
    for (unsigned i = 0; i < 2; i++) {
        sides[i].to_other = pipes[i][1];
        sides[i].from_other = pipes[!i][0];
    }
    pid_t pid = fork_child();
    struct side *own = &sides[pid == 0];
    SYS(close(sides[pid != 0].listener));
    for (int round = 0; round < 5; round++) {
        if (epoll)
            run_epoll(own);
        else
            run_blocking(own);
        meet(own);
    }
    if (pid > 0)
        reap(pid, "the other side");
    return 0;
}
