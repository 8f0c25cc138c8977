/* O_NONBLOCK changes in every way in which it can, on a connection that is registered with epoll, between calls that
 * depend on it: a read where nothing is there waits exactly if it may. */
#include "common.h"

#include <sys/epoll.h>
#include <sys/syscall.h>

enum { TIMEOUT_MS = 30, TURNS = 2000, THREADS = 3 };

static void set_by_fcntl(int fd, bool blocking)
{
    long flags = SYS(fcntl(fd, F_GETFL));
    SYS(fcntl(fd, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK));
}

static void set_by_ioctl(int fd, bool blocking)
{
    int on = !blocking;
    SYS(ioctl(fd, FIONBIO, &on));
}

static void set_by_system_call(int fd, bool blocking)
{
    long flags = SYS(fcntl(fd, F_GETFL));
    SYS(syscall(SYS_fcntl, fd, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK));
}

static void set_by_copy(int fd, bool blocking)
{
    int copy = (int)SYS(dup(fd));
    set_by_fcntl(copy, blocking);
    SYS(close(copy));
}

static void set_by_vfork(int fd, bool blocking)
{
    long flags = SYS(fcntl(fd, F_GETFL));
    pid_t pid = vfork();
    if (pid == 0)
        _exit(fcntl(fd, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK) < 0);
    reap(pid, "the child of vfork");
}

static void set_by_child(int fd, bool blocking)
{
    pid_t pid = fork_child();
    if (pid == 0) {
        set_by_fcntl(fd, blocking);
        _exit(0);
    }
    reap(pid, "the child");
}

struct turns {
    int fd;
    unsigned seed;
};

static void *set_at_random(void *arg)
{
    const struct turns *t = arg;
    for (unsigned i = 0; i < TURNS; i++) {
        bool blocking = mix64(t->seed * TURNS + i) & 1;
        if (mix64(i) & 1)
            set_by_ioctl(t->fd, blocking);
        else
            SYS(fcntl(t->fd, F_SETFL, blocking ? O_RDWR : O_RDWR | O_NONBLOCK));
    }
    return NULL;
}

static void set_by_threads(int fd, bool blocking)
{
    struct turns turns[THREADS];
    pthread_t threads[THREADS];
    int set = (int)SYS(epoll_create1(EPOLL_CLOEXEC));
    struct epoll_event event = {.events = EPOLLIN};
    for (unsigned i = 0; i < THREADS; i++) {
        turns[i] = (struct turns){fd, i};
        threads[i] = thread_start(set_at_random, &turns[i]);
    }
    for (unsigned i = 0; i < TURNS; i++)
        SYS(epoll_ctl(set, i ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event));
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    SYS(close(set));
    bool is_blocking = !(SYS(fcntl(fd, F_GETFL)) & O_NONBLOCK); /* whatever came last */
    if (is_blocking != blocking)
        set_by_copy(fd, blocking);
}

/* The last two leave a connection that another process has had. */
static const struct way {
    const char *name;
    void (*set)(int fd, bool blocking);
} ways[] = {{"fcntl", set_by_fcntl},
            {"ioctl", set_by_ioctl},
            {"the system call", set_by_system_call},
            {"a copy", set_by_copy},
            {"threads at once", set_by_threads},
            {"a child of vfork", set_by_vfork},
            {"a child", set_by_child}};

static void expect_nothing(int fd, const char *name)
{
    char byte;
    CHECK(read(fd, &byte, 1) < 0 && errno == EAGAIN, "%s: a read where nothing is there", name);
}

static void try_way(const struct way *w, int fd, int set)
{
    struct epoll_event event = {.events = EPOLLIN};
    const struct timeval timeout = {.tv_usec = TIMEOUT_MS * 1000}, none = {0};
    for (int i = 0; i < 3; i++) {
        w->set(fd, false);
        SYS(epoll_ctl(set, EPOLL_CTL_MOD, fd, &event));
        expect_nothing(fd, w->name);
        SYS(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)));
        w->set(fd, true);
        double began = now_seconds();
        expect_nothing(fd, w->name);
        CHECK(now_seconds() - began > TIMEOUT_MS / 2e3, "%s: a read that may wait did not", w->name);
        SYS(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof(none)));
        progress();
    }
}

int main(void)
{
    int end[2], set = (int)SYS(epoll_create1(EPOLL_CLOEXEC));
    struct epoll_event event = {.events = EPOLLIN};
    watchdog_start();
    tcp_pair(end);
    stream_send(end[0], 1, 0, 100);
    stream_recv(end[1], 1, 0, 100);
    for (int i = 0; i < 2; i++)
        SYS(epoll_ctl(set, EPOLL_CTL_ADD, end[i], &event));
    for (size_t w = 0; w < sizeof(ways) / sizeof(ways[0]); w++)
        for (int i = 0; i < 2; i++)
            try_way(&ways[w], end[i], set);
    stream_send(end[1], 1, 0, 100);
    stream_recv(end[0], 1, 0, 100);
    return 0;
}
