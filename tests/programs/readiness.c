/* readiness [small]: a server in the manner of nginx, edge-triggered, that reads until EAGAIN or a short read and
 * writes until EAGAIN or a short write, under many keep-alive clients that pipeline their requests. */
#include "common.h"

#include <sys/epoll.h>

enum { CLIENTS = 200, CLIENT_PROCESSES = 4, REQUESTS = 20, PIPELINED = 5, ROOM = 256 * KIB, REPLY_MAX = 40000 };

/* A request is 8 bytes: client and number of bytes wanted. Its reply: that many bytes of the client's stream. */
struct request {
    uint32_t client, wanted;
};

static uint32_t wanted_of(uint32_t client, unsigned i)
{
    return (uint32_t)(mix64(client * 1000u + i) % REPLY_MAX + 1);
}

/* ---- server ---- */

struct connection {
    int fd;
    bool readable, writable, hup, ended;
    uint8_t in[64], out[ROOM];
    size_t in_len, out_at, out_len;
    uint64_t sent; /* position in the client's stream of replies */
};

static void parse(struct connection *c)
{
    size_t at = 0;
    struct request r;
    while (c->in_len - at >= sizeof(r) && ROOM - c->out_len >= REPLY_MAX) {
        memcpy(&r, c->in + at, sizeof(r));
        CHECK(r.client < CLIENTS && r.wanted <= REPLY_MAX, "a request of garbage");
        stream_fill(r.client, c->sent, c->out + c->out_len, r.wanted);
        c->sent += r.wanted;
        c->out_len += r.wanted;
        at += sizeof(r);
    }
    memmove(c->in, c->in + at, c->in_len - at);
    c->in_len -= at;
}

static void receive(struct connection *c)
{
    size_t room = sizeof(c->in) - c->in_len;
    if (room == 0 || !c->readable || c->ended)
        return;
    ssize_t n = recv(c->fd, c->in + c->in_len, room, 0);
    if (n < 0) {
        CHECK(errno == EAGAIN, "server: recv: %s", strerror(errno));
        c->readable = false;
        return;
    }
    progress();
    c->ended = n == 0;
    c->in_len += (size_t)n;
    c->readable = n > 0 && ((size_t)n == room || c->hup);
}

static void transmit(struct connection *c)
{
    if (c->out_at == c->out_len || !c->writable)
        return;
    ssize_t n = send(c->fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL);
    if (n < 0) {
        CHECK(errno == EAGAIN, "server: send: %s", strerror(errno));
        c->writable = false;
        return;
    }
    progress();
    c->writable = (size_t)n == c->out_len - c->out_at;
    c->out_at += (size_t)n;
    if (c->out_at == c->out_len)
        c->out_at = c->out_len = 0;
}

/* Goes on as long as anything moves; true when the connection is finished. */
static bool serve(struct connection *c)
{
    bool moving;
    do {
        receive(c);
        parse(c);
        transmit(c);
        moving = (c->readable && !c->ended && c->in_len < sizeof(c->in)) || (c->writable && c->out_at < c->out_len) ||
                 (c->in_len >= sizeof(struct request) && ROOM - c->out_len >= REPLY_MAX);
    } while (moving);
    return c->ended && c->in_len == 0 && c->out_len == 0;
}

static void accept_all(int listener, int set)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct connection *c = calloc(1, sizeof(*c));
        CHECK(c, "no memory");
        c->fd = fd;
        struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
        SYS(epoll_ctl(set, EPOLL_CTL_ADD, fd, &e));
    }
    CHECK(errno == EAGAIN, "accept4: %s", strerror(errno));
}

static void server(int listener)
{
    struct epoll_event events[64], e = {.events = EPOLLIN | EPOLLET};
    int set = (int)SYS(epoll_create1(EPOLL_CLOEXEC));
    SYS(epoll_ctl(set, EPOLL_CTL_ADD, listener, &e));
    for (unsigned finished = 0; finished < CLIENTS;) {
        int n = wait_set(set, events, 64, -1);
        CHECK(n > 0 || errno == EINTR, "epoll_wait: %s", strerror(errno));
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            if (!c) {
                accept_all(listener, set);
                continue;
            }
            c->readable |= (events[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) != 0;
            c->hup |= (events[i].events & (EPOLLRDHUP | EPOLLHUP)) != 0;
            c->writable |= (events[i].events & EPOLLOUT) != 0;
            if (serve(c)) {
                SYS(close(c->fd));
                free(c);
                finished++;
            }
        }
    }
    SYS(close(set));
}

/* ---- clients: one process has many connections open at once ---- */

static void send_requests(int fd, uint32_t client, unsigned from, unsigned count)
{
    struct request r[PIPELINED];
    for (unsigned i = 0; i < count; i++)
        r[i] = (struct request){.client = client, .wanted = wanted_of(client, from + i)};
    write_all(fd, r, count * sizeof(r[0]));
}

static void clients(uint16_t port, uint32_t first, uint32_t count)
{
    int *fds = calloc(count, sizeof(*fds));
    uint64_t *at = calloc(count, sizeof(*at));
    for (uint32_t i = 0; i < count; i++)
        fds[i] = tcp_connect(port);
    for (unsigned round = 0; round < REQUESTS / PIPELINED; round++) {
        for (uint32_t i = 0; i < count; i++)
            send_requests(fds[i], first + i, round * PIPELINED, PIPELINED);
        for (uint32_t i = 0; i < count; i++)
            for (unsigned k = 0; k < PIPELINED; k++) {
                uint32_t n = wanted_of(first + i, round * PIPELINED + k);
                stream_recv(fds[i], first + i, at[i], n);
                at[i] += n;
            }
    }
    for (uint32_t i = 0; i < count; i++) {
        SYS(shutdown(fds[i], SHUT_WR));
        expect_eof(fds[i]);
        SYS(close(fds[i]));
    }
    free(fds);
    free(at);
}

int main(int argc, char **argv)
{
    uint16_t port;
    pid_t pids[CLIENT_PROCESSES];
    watchdog_start();
    int listener = tcp_listen(CLIENTS, &port);
    if (argc > 1 && strcmp(argv[1], "small") == 0) /* inherited by what is accepted */
        set_option(listener, SOL_SOCKET, SO_SNDBUF, 1);
    set_nonblocking(listener);
    for (uint32_t i = 0; i < CLIENT_PROCESSES; i++) {
        pids[i] = fork_child();
        if (pids[i] == 0) {
            SYS(close(listener));
            clients(port, i * (CLIENTS / CLIENT_PROCESSES), CLIENTS / CLIENT_PROCESSES);
            _exit(0);
        }
    }
    server(listener);
    for (int i = 0; i < CLIENT_PROCESSES; i++)
        reap(pids[i], "a client process");
    SYS(close(listener));
    return 0;
}
