/* Many connections between two processes: what an idle one takes of memory, and what a request costs while most are
 * idle.
 *
 * idle CONNECTIONS [ACTIVE REQUESTS]: prints for each process, as "server" or "client", the kilobytes of its memory
 * (Pss) after an exchange on a first connection, with all the others made and nothing said on them, and after a small
 * exchange on each. With ACTIVE and REQUESTS, then makes that many requests on ACTIVE of them, spread evenly, and
 * prints the processor time of each process for one of these, in microseconds. */
#include "common.h"

#include <dirent.h>
#include <sys/epoll.h>
#include <sys/resource.h>

enum { MESSAGE = 100 };

static const char *who;

static void say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("%s ", who);
    vprintf(format, args);
    putchar('\n');
    fflush(stdout);
    va_end(args);
}

/* Not the pages of files: what of these counts for a process changes with each other one that maps the same library. */
static long memory_kib(void)
{
    char line[200];
    long anon = -1, shmem = -1;
    FILE *f = fopen("/proc/self/smaps_rollup", "re");
    CHECK(f, "smaps_rollup: %s", strerror(errno));
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "Pss_Anon: %ld kB", &anon) != 1)
            (void)sscanf(line, "Pss_Shmem: %ld kB", &shmem);
    fclose(f);
    CHECK(anon > 0 && shmem >= 0, "no Pss_Anon or Pss_Shmem in smaps_rollup");
    return anon + shmem;
}

/* What a library does behind the program's back it does in threads. */
static int threads(void)
{
    int n = 0;
    DIR *tasks = opendir("/proc/self/task");
    CHECK(tasks, "/proc/self/task: %s", strerror(errno));
    for (struct dirent *entry; (entry = readdir(tasks));)
        n += entry->d_name[0] != '.';
    closedir(tasks);
    return n;
}

static void await_quiet(void)
{
    while (threads() > 1)
        poll(NULL, 0, 20);
}

static double processor_us(void)
{
    struct rusage u;
    SYS(getrusage(RUSAGE_SELF, &u));
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

struct run {
    size_t connections, active, requests;
    int *fds;
    int from_other, to_other; /* pipes that order the two */
};

static void meet(const struct run *run)
{
    signal_peer(run->to_other);
    await_peer(run->from_other);
}

static void answer(int fd)
{
    char message[MESSAGE];
    CHECK(read_full(fd, message, MESSAGE) == MESSAGE, "a request was cut short");
    write_all(fd, message, MESSAGE);
}

static void ask(int fd)
{
    char message[MESSAGE] = "request";
    write_all(fd, message, MESSAGE);
    CHECK(read_full(fd, message, MESSAGE) == MESSAGE, "an answer was cut short");
}

static void report_memory(const struct run *run, const char *when)
{
    await_quiet();
    meet(run);
    say("%s %ld", when, memory_kib());
    meet(run);
}

static void serve_requests(const struct run *run)
{
    struct epoll_event events[64];
    int set = (int)SYS(epoll_create1(EPOLL_CLOEXEC));
    for (size_t i = 0; i < run->connections; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.fd = run->fds[i]};
        SYS(epoll_ctl(set, EPOLL_CTL_ADD, run->fds[i], &e));
    }
    meet(run);
    double before = processor_us();
    for (size_t done = 0; done < run->requests; progress()) {
        long n = SYS(wait_set(set, events, 64, -1));
        for (long i = 0; i < n; i++, done++)
            answer(events[i].data.fd);
    }
    say("request_us %.3f", (processor_us() - before) / (double)run->requests);
}

static void make_requests(const struct run *run)
{
    meet(run);
    double before = processor_us();
    for (size_t i = 0; i < run->requests; i++)
        ask(run->fds[i % run->active * (run->connections / run->active)]);
    say("request_us %.3f", (processor_us() - before) / (double)run->requests);
}

static void server(struct run *run, int listener)
{
    int first = tcp_accept(listener);
    answer(first);
    report_memory(run, "first");
    for (size_t i = 0; i < run->connections; i++, progress())
        run->fds[i] = tcp_accept(listener);
    report_memory(run, "connected");
    for (size_t i = 0; i < run->connections; i++, progress())
        answer(run->fds[i]);
    report_memory(run, "exchanged");
    if (run->requests)
        serve_requests(run);
}

static void client(struct run *run, uint16_t port)
{
    int first = tcp_connect(port);
    ask(first);
    report_memory(run, "first");
    for (size_t i = 0; i < run->connections; i++, progress())
        run->fds[i] = tcp_connect(port);
    report_memory(run, "connected");
    for (size_t i = 0; i < run->connections; i++, progress())
        ask(run->fds[i]);
    report_memory(run, "exchanged");
    if (run->requests)
        make_requests(run);
}

int main(int argc, char **argv)
{
    uint16_t port;
    int one[2], other[2];
    CHECK(argc == 2 || argc == 4, "usage: idle CONNECTIONS [ACTIVE REQUESTS]");
    struct run run = {.connections = strtoul(argv[1], NULL, 10)};
    if (argc == 4) {
        run.active = strtoul(argv[2], NULL, 10);
        run.requests = strtoul(argv[3], NULL, 10);
    }
    struct rlimit files;
    SYS(getrlimit(RLIMIT_NOFILE, &files));
    files.rlim_cur = files.rlim_max;
    SYS(setrlimit(RLIMIT_NOFILE, &files));
    CHECK(run.connections && run.connections + 64 < files.rlim_max, "more connections than descriptors");
    run.fds = calloc(run.connections, sizeof *run.fds);
    watchdog_start();
    SYS(pipe(one));
    SYS(pipe(other));
    int listener = tcp_listen(4096, &port);
    pid_t pid = fork_child();
    who = pid ? "server" : "client";
    run.from_other = pid ? one[0] : other[0];
    run.to_other = pid ? other[1] : one[1];
    if (pid == 0) {
        SYS(close(listener));
        client(&run, port);
        return 0;
    }
    server(&run, listener);
    reap(pid, "the client");
    return 0;
}
