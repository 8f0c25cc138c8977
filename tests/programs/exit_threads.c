/* Processes that end while other threads of them use their connections: what was written arrives, then a clean end, and
 * the status is theirs. `exit_threads ROUNDS`; WHAT and HOW behind it choose among the cases. */
#include "common.h"

#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>

static int number;

static struct shared {
    _Atomic uint64_t acknowledged;
} * shared;

static uint64_t put;
enum { FIRST = 1000, MOST = 4 * MIB, STATUS = 7 };

static void put_some(size_t n)
{
    uint8_t data[4096];
    stream_fill(1, put, data, n);
    ssize_t k = write(number, data, n);
    if (k > 0) {
        put += (size_t)k;
        atomic_store(&shared->acknowledged, put);
    }
}

static void *reads(void *unused)
{
    char byte;
    (void)unused;
    while (read(number, &byte, 1) > 0)
        continue;
    return NULL;
}

static void *polls(void *unused)
{
    struct pollfd p = {.fd = number, .events = POLLIN};
    (void)unused;
    for (;;)
        poll(&p, 1, 100);
    return NULL;
}

static void *selects(void *unused)
{
    (void)unused;
    for (;;) {
        fd_set set;
        FD_ZERO(&set);
        FD_SET(number, &set);
        struct timeval t = {0, 100000};
        select(number + 1, &set, NULL, NULL, &t);
    }
    return NULL;
}

static void *epolls(void *unused)
{
    (void)unused;
    int set = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN | EPOLLET}, got;
    epoll_ctl(set, EPOLL_CTL_ADD, number, &e);
    for (;;)
        epoll_wait(set, &got, 1, 100);
    return NULL;
}

static void *writes(void *unused)
{
    (void)unused;
    while (put < MOST)
        put_some(100);
    for (;;)
        pause();
    return NULL;
}

static void *closes(void *unused)
{
    (void)unused;
    close(number);
    return NULL;
}

static void *shuts(void *unused)
{
    (void)unused;
    shutdown(number, SHUT_WR);
    return NULL;
}

static void *dups(void *unused)
{
    (void)unused;
    for (;;)
        close(dup(number));
    return NULL;
}

static void *forks(void *unused)
{
    (void)unused;
    pid_t pid = fork();
    if (pid == 0) {
        put_some(500);
        _exit(0);
    }
    return NULL;
}

static const struct what {
    const char *name;
    void *(*body)(void *);
    int threads;
} all[] = {{"reads", reads, 4},   {"polls", polls, 2},   {"selects", selects, 2},
           {"epolls", epolls, 2}, {"writes", writes, 1}, {"closes", closes, 1},
           {"shuts", shuts, 1},   {"dups", dups, 1},     {"forks", forks, 1}};

static void client(uint16_t port, const struct what *w, const char *how, unsigned round)
{
    number = tcp_connect(port);
    put_some(FIRST);
    for (int i = 0; i < w->threads; i++)
        thread_start(w->body, NULL);
    if (round % 3)
        for (volatile unsigned i = 0; i < round % 60 * 20000; i++)
            ;
    if (strcmp(how, "exit") == 0)
        exit(STATUS);
    if (strcmp(how, "_exit") == 0)
        _exit(STATUS);
    if (strcmp(how, "quick_exit") == 0)
        quick_exit(STATUS);
    if (strcmp(how, "exec") == 0) {
        execl("/proc/self/exe", "exit_threads", "executed", (char *)NULL);
        die_at(errno, "exec");
    }
    die("how?");
}

static void serve(int listener, uint16_t port, const struct what *w, const char *how, unsigned round)
{
    static uint8_t data[65536];
    uint64_t got = 0;
    ssize_t n;
    int status;
    atomic_store(&shared->acknowledged, 0);
    pid_t pid = fork_child();
    if (pid == 0) {
        SYS(close(listener));
        client(port, w, how, round);
    }
    int fd = tcp_accept(listener);
    while ((n = read(fd, data, sizeof data)) > 0) {
        stream_check(1, got, data, (size_t)n);
        got += (uint64_t)n;
        progress();
    }
    int error = errno;
    uint64_t want = atomic_load(&shared->acknowledged);
    if (n < 0)
        die_at(error, "%s, %s, round %u: after %llu of %llu", w->name, how, round, (unsigned long long)got,
               (unsigned long long)want);
    CHECK(got >= want, "%s, %s, round %u: %llu of %llu bytes arrived", w->name, how, round, (unsigned long long)got,
          (unsigned long long)want);
    SYS(close(fd));
    while (waitpid(pid, &status, 0) < 0)
        CHECK(errno == EINTR, "waitpid");
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == STATUS, "%s, %s, round %u: status 0x%x", w->name, how, round,
          status);
}

static void run(int listener, uint16_t port, const struct what *w, const char *how, unsigned rounds)
{
    /* A child that ends in the moment of its parent's exec: each may take the other for the last one. */
    if (w->body == forks && strcmp(how, "exec") == 0)
        return;
    for (unsigned r = 0; r < rounds; r++)
        serve(listener, port, w, how, r);
}

int main(int argc, char **argv)
{
    static const char *const hows[] = {"exit", "_exit", "quick_exit", "exec"};
    uint16_t port;
    if (strcmp(argv[argc - 1], "executed") == 0)
        return STATUS;
    watchdog_start();
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int listener = tcp_listen(8, &port);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        for (size_t j = 0; j < sizeof hows / sizeof hows[0]; j++)
            if ((argc < 3 || strcmp(argv[2], all[i].name) == 0) && (argc < 4 || strcmp(argv[3], hows[j]) == 0))
                run(listener, port, &all[i], hows[j], (unsigned)atoi(argv[1]));
    return 0;
}
