/* Calls that do not belong on sockets, and steps that threads and children make. */
#include "differential.h"

#include <sys/mman.h>
#include <sys/stat.h>

/* Each has an errno of its own on a socket. */
static void run_file_calls(struct call *c)
{
    struct stat st;
    memset(&st, 0, sizeof(st));
    RUN(c, fstat(c->fd, &st));
    note(c, "st_mode", st.st_mode);
    note(c, "st_size", st.st_size);
    RUN(c, fsync(c->fd));
    RUN(c, fdatasync(c->fd));
    RUN(c, lseek(c->fd, 0, SEEK_CUR));
    RUN(c, lseek(c->fd, 0, 77));
    RUN(c, ftruncate(c->fd, 0));
    RUN(c, fallocate(c->fd, 0, 0, 10));
    RUN(c, posix_fallocate(c->fd, 0, 10));
    RUN(c, posix_fadvise(c->fd, 0, 10, POSIX_FADV_WILLNEED));
    RUN(c, readahead(c->fd, 0, 10));
    RUN(c, sync_file_range(c->fd, 0, 10, 0));
    RUN(c, syncfs(c->fd));
    RUN(c, isatty(c->fd));
    RUN(c, fchdir(c->fd));
    RUN(c, fchmod(c->fd, 0600));
    void *map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, c->fd, 0);
    note(c, "mmap failed", map == MAP_FAILED);
    note(c, "errno of mmap", map == MAP_FAILED ? errno : 0);
    if (map != MAP_FAILED) /* the mapping holds the socket, and no close would end the connection */
        SYS(munmap(map, 4096));
}

/* Another thread does something at the other end while this one waits. */
struct partner {
    struct side *side;
    struct end *end;
    int number;
    unsigned deed;
};

enum { SENDS_BYTE = 0, SENDS_MORE, SHUTS_DOWN, SENDS_AND_SHUTS, DEEDS };

static void *act_later(void *argument)
{
    struct partner *p = argument;
    int fd = p->end->fd[0];
    uint8_t bytes[1000];
    size_t len = p->deed == SENDS_BYTE ? 1 : p->deed == SHUTS_DOWN ? 0 : sizeof(bytes);
    poll(NULL, 0, 1);
    stream_fill((uint64_t)(1 - p->number), p->end->sent, bytes, len);
    ssize_t n = len ? send(fd, bytes, len, MSG_NOSIGNAL) : 0;
    if (n > 0)
        p->end->sent += (uint64_t)n;
    if (p->deed >= SHUTS_DOWN && shutdown(fd, SHUT_WR) == 0)
        p->end->shut_wr = true;
    return NULL;
}

enum { WAITS_IN_READ = 0, WAITS_IN_PEEK, WAITS_IN_POLL, WAITS_IN_SELECT, WAITS_IN_EPOLL, WAYS };

static void wait_in(struct call *c, unsigned way)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    struct epoll_event e = {.events = EPOLLIN};
    struct timeval time = {5, 0};
    fd_set set;
    int epoll;
    ssize_t n;
    switch (way) {
    case WAITS_IN_READ:
        n = RUN(c, read(c->fd, area, 100));
        if (n > 0) {
            note(c, "differs at", stream_differs((uint64_t)c->number, c->end->received, area, (size_t)n));
            c->end->received += (uint64_t)n;
        }
        break;
    case WAITS_IN_PEEK:
        RUN(c, recv(c->fd, area, 100, MSG_PEEK));
        break;
    case WAITS_IN_POLL:
        RUN(c, poll(&p, 1, 5000));
        note(c, "revents", p.revents);
        break;
    case WAITS_IN_SELECT:
        FD_ZERO(&set);
        FD_SET(c->fd, &set);
        RUN(c, select(c->fd + 1, &set, NULL, NULL, &time));
        note(c, "time left", time.tv_sec > 0 || time.tv_usec > 0);
        break;
    default:
        epoll = (int)SYS(epoll_create1(EPOLL_CLOEXEC));
        SYS(epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &e));
        RUN(c, epoll_wait(epoll, &e, 1, 5000));
        note(c, "events", e.events);
        SYS(close(epoll));
    }
}

static bool can_wait(const struct call *c)
{
    return c->fd >= 0 && c->peer->fd[0] >= 0 && !c->peer->shut_wr && !c->end->shut_rd && !c->end->dissolved &&
           !c->peer->dissolved && !end_is_reset(c->end) && !end_is_reset(c->peer);
}

static void run_wait(struct call *c)
{
    unsigned deed = c->step->variant % 3;
    if (!can_wait(c))
        return;
    if (deed >= SHUTS_DOWN && c->peer->sent > c->end->received) /* whether the end is seen too, is a matter of time */
        return;
    struct partner p = {c->side, c->peer, 1 - c->number, deed};
    int flags = fcntl(c->fd, F_GETFL);
    fcntl(c->fd, F_SETFL, flags & ~O_NONBLOCK);
    pthread_t thread = thread_start(act_later, &p);
    wait_in(c, c->step->flags);
    pthread_join(thread, NULL);
    fcntl(c->fd, F_SETFL, flags);
}

/* One thread closes the number on which another waits: the read goes on, since it holds the socket. */
struct reader {
    int fd;
    _Atomic int thread;
    _Atomic bool done;
    ssize_t result;
    int error;
    uint8_t bytes[100];
};

static void *read_later(void *argument)
{
    struct reader *r = argument;
    r->thread = gettid();
    errno = NO_ERRNO;
    r->result = read(r->fd, r->bytes, sizeof(r->bytes));
    r->error = errno;
    r->done = true;
    return NULL;
}

/* In a call of the kernel that waits (proc(5), stat: the state is behind the name). */
static bool sleeps(int thread)
{
    char path[60], text[100] = "";
    snprintf(path, sizeof(path), "/proc/self/task/%d/stat", thread);
    FILE *f = fopen(path, "re");
    bool asleep = f && fgets(text, sizeof(text), f) && strstr(text, ") S ");
    if (f)
        fclose(f);
    return asleep;
}

static void run_close_under(struct call *c)
{
    struct partner p = {c->side, c->peer, 1 - c->number, SENDS_MORE};
    struct reader r = {.fd = -1};
    int there = 0;
    if (!can_wait(c) || ioctl(c->fd, FIONREAD, &there) != 0 || there)
        return;
    int flags = fcntl(c->fd, F_GETFL);
    fcntl(c->fd, F_SETFL, flags & ~O_NONBLOCK);
    r.fd = (int)SYS(fcntl(c->fd, F_DUPFD_CLOEXEC, 300));
    pthread_t thread = thread_start(read_later, &r);
    for (int asleep = 0; asleep < 3 && !r.done;) { /* for some time: it may also wait for a lock */
        asleep = r.thread && sleeps(r.thread) ? asleep + 1 : 0;
        poll(NULL, 0, 1);
    }
    RUN(c, close(r.fd));
    act_later(&p);
    pthread_join(thread, NULL);
    errno = r.error;
    note_result(c, "result", r.result);
    size_t n = r.result > 0 ? (size_t)r.result : 0;
    note(c, "differs at", stream_differs((uint64_t)c->number, c->end->received, r.bytes, n));
    c->end->received += n;
    side_settle(c->side);
    while ((r.result = recv(c->fd, area, 1000, MSG_DONTWAIT)) > 0) /* what it has not read */
        c->end->received += (uint64_t)r.result;
    fcntl(c->fd, F_SETFL, flags);
}

static const unsigned no_flags[] = {0, LAST};
static const unsigned ways[] = {0, 1, 2, 3, 4, LAST};
static const unsigned no_lengths[] = {0, LAST};

const struct operation odd_operations[] = {
    {"file_calls", run_file_calls, 1, CHILD, no_flags, no_lengths, 1},
    {"wait", run_wait, 2, SLOW | NEEDS_PEER, ways, no_lengths, 1},
    {"close_under", run_close_under, 1, SLOW | NEEDS_PEER, no_flags, no_lengths, 1},
    {"wait_end", run_wait, 3, SLOW | NEEDS_PEER | CAN_END, ways, no_lengths, 1},
    {NULL},
};
