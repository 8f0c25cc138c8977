/* A writer that meets a full socket. How much fits differs, since records are larger than what is in them: what is
 * compared is how it ends, readiness and edges, and that all that was written comes. */
#include "differential.h"

enum { WITHOUT_WAITING = 0, FOR_A_TIME, UNTIL_A_SIGNAL, IN_A_VECTOR, FILLINGS };
enum { PIECE = 200000, MOST = 64 * MIB, LONG_MS = 2000 };

static ssize_t write_piece(struct call *c)
{
    stream_fill((uint64_t)(1 - c->number), c->end->sent, area, PIECE);
    struct iovec iov[2] = {{area, 1000}, {area + 1000, PIECE - 1000}};
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2};
    ssize_t n;
    switch (c->step->variant) {
    case FOR_A_TIME:
        n = write(c->fd, area, PIECE);
        break;
    case UNTIL_A_SIGNAL:
        guard_arm();
        n = write(c->fd, area, PIECE);
        guard_disarm();
        break;
    case IN_A_VECTOR:
        n = sendmsg(c->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
        break;
    default:
        n = send(c->fd, area, PIECE, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    if (n > 0)
        c->end->sent += (uint64_t)n;
    return n;
}

static void set_time(struct call *c, long us)
{
    struct timeval t = {0, us};
    SYS(setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)));
}

static void fill(struct call *c)
{
    uint64_t before = c->end->sent;
    ssize_t n;
    if (c->step->variant == FOR_A_TIME)
        set_time(c, 3000);
    do {
        errno = NO_ERRNO;
        n = write_piece(c);
    } while (n > 0 && c->end->sent - before < MOST);
    note_result(c, "result", n);
    note(c, "something fitted", c->end->sent > before);
    if (c->step->variant == FOR_A_TIME)
        set_time(c, 0);
}

/* All that is under way, read by the other end. */
static void empty(struct call *c)
{
    long long wrong = -1;
    double until = now_seconds() + 20;
    while (wrong < 0 && c->peer->received < c->end->sent && now_seconds() < until) {
        ssize_t n = recv(c->peer->fd[0], area, 65536, MSG_DONTWAIT);
        if (n > 0) {
            wrong = stream_differs((uint64_t)(1 - c->number), c->peer->received, area, (size_t)n);
            c->peer->received += (uint64_t)n;
        } else {
            poll(&(struct pollfd){.fd = c->peer->fd[0], .events = POLLIN}, 1, 20);
        }
        progress();
    }
    note(c, "differs from the stream at", wrong);
    note(c, "all came", c->peer->received == c->end->sent);
}

static void run_fill(struct call *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLOUT};
    struct epoll_event e = {.events = EPOLLOUT | EPOLLET};
    if (c->fd < 0 || c->peer->fd[0] < 0 || c->end->shut_wr || c->peer->shut_rd || c->end->dissolved ||
        c->peer->dissolved)
        return;
    int edge = (int)SYS(epoll_create1(EPOLL_CLOEXEC)), flags = fcntl(c->fd, F_GETFL);
    fcntl(c->fd, F_SETFL, flags & ~O_NONBLOCK);
    SYS(epoll_ctl(edge, EPOLL_CTL_ADD, c->fd, &e));
    note(c, "edge of an empty socket", epoll_wait(edge, &e, 1, LONG_MS));
    fill(c);
    empty(c);
    note(c, "writable again", poll(&p, 1, LONG_MS));
    note(c, "edge again", epoll_wait(edge, &e, 1, LONG_MS));
    SYS(close(edge));
    fcntl(c->fd, F_SETFL, flags);
}

static const unsigned no_flags[] = {0, LAST};
static const unsigned no_lengths[] = {0, LAST};

const struct operation full_operations[] = {
    {"fill", run_fill, FILLINGS, SLOW | NEEDS_PEER, no_flags, no_lengths, 1},
    {NULL},
};
