/* Where numbers and connections begin and end: shutdown, close, dup, connect and listen once more, names. */
#include "differential.h"

#include <linux/close_range.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>

/* Everything that can be read at the end, to its end. */
static void run_drain(struct call *c)
{
    long long wrong = -1, total = 0;
    ssize_t n;
    errno = NO_ERRNO;
    while ((n = recv(c->fd, area, 30000, MSG_DONTWAIT)) > 0) {
        long long at = stream_differs((uint64_t)c->number, c->end->received, area, (size_t)n);
        if (at >= 0 && wrong < 0)
            wrong = total + at;
        c->end->received += (uint64_t)n;
        total += n;
        side_settle(c->side);
        errno = NO_ERRNO;
    }
    note_result(c, "result", n);
    note(c, "bytes", total);
    note(c, "differs from the stream at", wrong);
}

/* A protected end that is shut down for both shows it when the peer has acknowledged the end of the stream, which it
 * may put off for 40 ms, and one that is shut down for reading during the handshake when that is over; on plain TCP
 * each shows it at once. */
static void await_hang_up(struct call *c)
{
    short wanted = c->end->shut_rd && c->end->shut_wr ? POLLHUP : c->end->shut_rd && c->side->fresh ? POLLRDHUP : 0;
    struct pollfd p = {.fd = c->fd, .events = POLLRDHUP};
    for (int i = 0; i < 2000 && wanted && !(p.revents & wanted); i++) {
        side_acknowledge(c->side);
        poll(&p, 1, 1); /* a signal of the operation before may end it */
    }
}

static void run_shutdown(struct call *c)
{
    static const int how[] = {SHUT_RD, SHUT_WR, SHUT_RDWR, 3, -1};
    call_answered(c);     /* or the end would be acknowledged when the handshake times out */
    side_settle(c->side); /* what was written during the handshake comes behind it, and then before the end */
    if (RUN(c, shutdown(c->fd, how[c->step->variant])) != 0)
        return;
    c->end->shut_wr |= how[c->step->variant] != SHUT_RD;
    c->end->shut_rd |= how[c->step->variant] != SHUT_WR;
    await_hang_up(c);
}

static void closed(struct call *c)
{
    c->end->fd[c->step->via] = -1;
    if (end_is_open(c->end))
        return;
    c->end->shut_wr = true;
    side_await_close(c->side, c->number);
    if (c->peer->sent > c->end->received)
        c->side->closed_unread = true;
}

enum { BY_CLOSE = 0, BY_RANGE, BY_DUP2, BY_CLOSEFROM, CLOSE_VARIANTS };

static void run_close(struct call *c)
{
    int other;
    call_answered(c);
    switch (c->step->variant) {
    case BY_RANGE:
        if (c->fd >= 0)
            RUN(c, close_range((unsigned)c->fd, (unsigned)c->fd, 0));
        break;
    case BY_DUP2:
        other = (int)SYS(open("/dev/null", O_RDONLY | O_CLOEXEC));
        if (c->fd >= 0)
            note(c, "dup2 over it", dup2(other, c->fd) == c->fd);
        SYS(close(other));
        if (c->fd >= 0)
            SYS(close(c->fd));
        break;
    case BY_CLOSEFROM:
        other = c->fd < 0 ? -1 : fcntl(c->fd, F_DUPFD, 900);
        RUN(c, close(c->fd));
        if (other >= 0)
            closefrom(other);
        note(c, "closefrom closed it", other < 0 || fcntl(other, F_GETFD) < 0);
        break;
    default:
        RUN(c, close(c->fd));
    }
    closed(c);
}

/* Before a call that breaks the connection off at once. */
static void note_early(struct call *c)
{
    call_answered(c);
    c->side->early_lost |= c->side->fresh && c->end->sent > c->peer->received;
}

/* SO_LINGER with no time: close resets. */
static void run_abort(struct call *c)
{
    struct linger l = {1, 0};
    note_early(c);
    RUN(c, setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
    RUN(c, close(c->fd));
    closed(c);
}

/* SO_LINGER with a time: close waits until the other end has it all. */
static void run_linger(struct call *c)
{
    struct linger l = {1, 2};
    call_answered(c);
    RUN(c, setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
    RUN(c, close(c->fd));
    closed(c);
}

static void unshare_and_close(struct call *c)
{
    int copy = (int)SYS(fcntl(c->fd, F_DUPFD_CLOEXEC, 700));
    unsigned flags = CLOSE_RANGE_UNSHARE | (c->step->variant ? CLOSE_RANGE_CLOEXEC : 0);
    RUN(c, fcntl(copy, F_SETFD, 0));
    RUN(c, close_range((unsigned)copy, (unsigned)copy, (int)flags));
    note(c, "F_GETFD", fcntl(copy, F_GETFD));
    note(c, "F_GETFD of the other", fcntl(c->fd, F_GETFD));
    if (c->step->variant)
        RUN(c, close(copy));
}

/* CLOSE_RANGE_UNSHARE gives the calling thread a table of descriptors of its own (close_range(2)). It is refused where
 * there are others: aio has some in this process, for a while, and none in a child. */
static void run_close_range_unshare(struct call *c)
{
    side_finish_handshake(c->side);
    call_answered(c);
    if (c->fd < 0)
        return;
    pid_t pid = (pid_t)SYS(fork());
    if (pid == 0) {
        unshare_and_close(c);
        _exit(0);
    }
    reap(pid, "close_range");
}

/* pidfd_getfd(2) is one more way to copy a number. */
static void run_getfd(struct call *c)
{
    int self = (int)SYS(pidfd_open(getpid(), 0)), copy;
    errno = NO_ERRNO;
    copy = c->step->variant ? (int)syscall(SYS_pidfd_getfd, self, c->fd, 0) : pidfd_getfd(self, c->fd, 0);
    note(c, "copied", copy >= 0);
    note(c, "errno", copy < 0 ? errno : 0);
    SYS(close(self));
    if (copy < 0)
        return;
    note(c, "F_GETFD", fcntl(copy, F_GETFD));
    stream_fill((uint64_t)(1 - c->number), c->end->sent, area, 10);
    if (RUN(c, send(copy, area, 10, MSG_NOSIGNAL | MSG_DONTWAIT)) == 10)
        c->end->sent += 10;
    RUN(c, close(copy));
}

static void run_close_range_cloexec(struct call *c)
{
    if (c->fd < 0)
        return;
    RUN(c, close_range((unsigned)c->fd, (unsigned)c->fd, CLOSE_RANGE_CLOEXEC));
    note(c, "F_GETFD", fcntl(c->fd, F_GETFD));
    RUN(c, close_range((unsigned)c->fd, (unsigned)c->fd - 1, 0));
    RUN(c, close_range((unsigned)c->fd, (unsigned)c->fd, 64));
    RUN(c, fcntl(c->fd, F_SETFD, 0));
}

enum { DUP = 0, DUP2, DUP3, DUPFD, DUPFD_CLOEXEC, DUP_SELF, DUP_VARIANTS };

static int duplicate(struct call *c)
{
    int target = -1;
    if (c->step->variant == DUP2 || c->step->variant == DUP3)
        target = (int)SYS(open("/dev/null", O_RDONLY | O_CLOEXEC));
    errno = NO_ERRNO;
    switch (c->step->variant) {
    case DUP2:
        return dup2(c->fd, target) < 0 ? (close(target), -1) : target;
    case DUP3:
        return dup3(c->fd, target, O_CLOEXEC) < 0 ? (close(target), -1) : target;
    case DUPFD:
        return fcntl(c->fd, F_DUPFD, 0);
    case DUPFD_CLOEXEC:
        return fcntl(c->fd, F_DUPFD_CLOEXEC, 500);
    default:
        return dup(c->fd);
    }
}

static void run_dup(struct call *c)
{
    int slot = c->end->fd[1] < 0 ? 1 : 2;
    if (c->step->variant == DUP_SELF) {
        note(c, "dup2 to itself", dup2(c->fd, c->fd) == c->fd);
        RUN(c, dup3(c->fd, c->fd, 0));
        RUN(c, dup2(c->fd, -1));
        RUN(c, dup3(c->fd, 5, 0x40));
        return;
    }
    int fd = duplicate(c);
    note(c, "copied", fd >= 0);
    if (fd < 0)
        return;
    note(c, "F_GETFD", fcntl(fd, F_GETFD));
    if (c->end->fd[slot] >= 0)
        RUN(c, close(c->end->fd[slot]));
    c->end->fd[slot] = fd;
}

/* Connecting what is connected. */
static void run_connect(struct call *c)
{
    struct sockaddr_in to = c->side->address[1 - c->number], elsewhere = to;
    elsewhere.sin_port = htons(9);
    if (c->end->dissolved ||
        end_is_reset(c->end)) /* would make a connection that nobody accepts, or that the next pair takes for its own */
        to = elsewhere;
    switch (c->step->variant) {
    case 0:
        RUN(c, connect(c->fd, (struct sockaddr *)&to, sizeof(to)));
        break;
    case 1:
        RUN(c, connect(c->fd, (struct sockaddr *)&elsewhere, sizeof(elsewhere)));
        break;
    case 2:
        RUN(c, connect(c->fd, (struct sockaddr *)&to, 0));
        break;
    case 3:
        RUN(c, connect(c->fd, (struct sockaddr *)&to, 4));
        break;
    case 4:
        RUN(c, connect(c->fd, (struct sockaddr *)-1L, sizeof(to)));
        break;
    default:
        RUN(c, connect(c->fd, (struct sockaddr *)&to, 1000));
    }
}

/* connect(2): AF_UNSPEC dissolves the connection, and the socket can be used anew. */
static void run_dissolve(struct call *c)
{
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    note_early(c);
    if (RUN(c, connect(c->fd, &none, sizeof(none))) == 0)
        c->end->dissolved = true;
}

static void run_listen(struct call *c)
{
    struct sockaddr_in at = c->side->address[1];
    at.sin_port = 0;
    RUN(c, bind(c->fd, (struct sockaddr *)&at, sizeof(at)));
    RUN(c, bind(c->fd, bad_pointer(), sizeof(at)));
    RUN(c, listen(c->fd, 1));
    RUN_BLOCKING(c, accept(c->fd, NULL, NULL));
    RUN_BLOCKING(c, accept4(c->fd, NULL, NULL, SOCK_NONBLOCK));
    RUN_BLOCKING(c, accept4(c->fd, NULL, NULL, 0x1234));
}

static void run_names(struct call *c)
{
    static const socklen_t lengths[] = {0, 4, 15, 16, 17, 128, (socklen_t)-1};
    for (int peer = 0; peer < 2; peer++) {
        struct sockaddr_in a[8];
        socklen_t len = lengths[c->step->variant];
        memset(a, FILL, sizeof(a));
        if (peer)
            RUN(c, getpeername(c->fd, (struct sockaddr *)a, &len));
        else
            RUN(c, getsockname(c->fd, (struct sockaddr *)a, &len));
        if (lengths[c->step->variant] >= sizeof(a[0]) && lengths[c->step->variant] <= sizeof(a))
            note_address(c, a, len);
        else
            note(c, "address length", len);
        note(c, "touched behind the address", fill_differs((uint8_t *)(a + 1), sizeof(a) - sizeof(a[0])));
        RUN(c, peer ? getpeername(c->fd, bad_pointer(), &len) : getsockname(c->fd, bad_pointer(), &len));
        RUN(c, peer ? getpeername(c->fd, (struct sockaddr *)a, bad_pointer())
                    : getsockname(c->fd, (struct sockaddr *)a, bad_pointer()));
    }
}

static const unsigned no_flags[] = {0, LAST};
static const unsigned no_lengths[] = {0, LAST};

const struct operation life_operations[] = {
    {"drain", run_drain, 1, CHILD, no_flags, no_lengths, 8},
    {"shutdown", run_shutdown, 5, CAN_END, no_flags, no_lengths, 2},
    {"close", run_close, CLOSE_VARIANTS, CAN_END, no_flags, no_lengths, 2},
    {"abort", run_abort, 1, CAN_END, no_flags, no_lengths, 1},
    {"linger", run_linger, 1, CAN_END, no_flags, no_lengths, 1},
    {"close_range_unshare", run_close_range_unshare, 2, 0, no_flags, no_lengths, 1},
    {"pidfd_getfd", run_getfd, 2, 0, no_flags, no_lengths, 1},
    {"close_range_cloexec", run_close_range_cloexec, 1, 0, no_flags, no_lengths, 1},
    {"dup", run_dup, DUP_VARIANTS, 0, no_flags, no_lengths, 5},
    {"connect", run_connect, 6, CHILD, no_flags, no_lengths, 1},
    {"dissolve", run_dissolve, 1, CAN_END, no_flags, no_lengths, 1},
    {"listen", run_listen, 1, CHILD, no_flags, no_lengths, 1},
    {"names", run_names, 7, CHILD, no_flags, no_lengths, 2},
    {NULL},
};
