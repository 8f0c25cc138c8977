/* A connection in a sandbox: a process lets a seccomp filter in as sshd 9.2 does before authentication, and goes on
 * with what it has. Whatever the filter does not list kills.
 *
 * sandbox FILTER CASE
 *   FILTER  sshd     what sshd's own allows (read, write, writev, poll, ppoll, select, shutdown, futex, ...)
 *           poll     as sshd, without ppoll and pselect6
 *           lenient  kills on ptrace alone
 *           none     no filter at all
 *           strict   SECCOMP_MODE_STRICT
 *   CASE    blocking, poll, select, epoll, tiny: bulk both ways at once, the way it is read and written
 *           leftover   the sandboxed child reads a part of a record, its parent the rest
 *           pipe       write after the other end has gone: SIGPIPE; with the signal ignored: EPIPE
 *           timeout    SO_RCVTIMEO
 *           signals    handlers run while bytes move
 *           refused    (strict) every call fails, and no byte of the program passes */
#include "common.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/syscall.h>

enum { SEED_OUT = 11, SEED_IN = 12 };

static size_t bulk_bytes = 8 * MIB;

#define ALLOW(call) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define LOAD_NUMBER BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define KILL BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)

/* What both allow; the calls of this program's own machinery (its watchdog, its end) are among them. */
#define COMMON                                                                                                         \
    ALLOW(read), ALLOW(write), ALLOW(writev), ALLOW(shutdown), ALLOW(futex), ALLOW(close), ALLOW(brk), ALLOW(mmap),    \
        ALLOW(munmap), ALLOW(mremap), ALLOW(mprotect), ALLOW(madvise), ALLOW(getpid), ALLOW(getrandom),                \
        ALLOW(clock_gettime), ALLOW(nanosleep), ALLOW(clock_nanosleep), ALLOW(rt_sigprocmask), ALLOW(rt_sigreturn),    \
        ALLOW(exit), ALLOW(exit_group), ALLOW(timer_settime)

static struct sock_filter sshd_filter[] = {
    LOAD_NUMBER, COMMON,        ALLOW(ppoll), ALLOW(pselect6), ALLOW(epoll_wait), ALLOW(epoll_pwait), ALLOW(epoll_ctl),
#ifdef SYS_poll
    ALLOW(poll), ALLOW(select),
#endif
    KILL,
};

static struct sock_filter poll_filter[] = {
    LOAD_NUMBER,
    COMMON,
#ifdef SYS_poll
    ALLOW(poll),
#endif
    KILL,
};

static struct sock_filter lenient_filter[] = {
    LOAD_NUMBER,
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ptrace, 0, 1),
    KILL,
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

static void enter(const char *name)
{
    struct sock_fprog filter = {0};
    if (strcmp(name, "none") == 0)
        return;
    if (strcmp(name, "strict") == 0) {
        SYS(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT));
        return;
    }
    SYS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    if (strcmp(name, "sshd") == 0)
        filter = (struct sock_fprog){sizeof(sshd_filter) / sizeof(sshd_filter[0]), sshd_filter};
    else if (strcmp(name, "poll") == 0)
        filter = (struct sock_fprog){sizeof(poll_filter) / sizeof(poll_filter[0]), poll_filter};
    else if (strcmp(name, "lenient") == 0)
        filter = (struct sock_fprog){sizeof(lenient_filter) / sizeof(lenient_filter[0]), lenient_filter};
    else
        die("no filter %s", name);
    if (strcmp(name, "poll") == 0) /* both ways to install one */
        SYS(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter));
    else
        SYS(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter));
}

/* The other end: an ordinary process, two threads of it. */
static void *send_bulk(void *argument)
{
    stream_send(*(int *)argument, SEED_IN, 0, bulk_bytes);
    return NULL;
}

static void be_peer(int fd)
{
    pthread_t sender = thread_start(send_bulk, &fd);
    stream_recv(fd, SEED_OUT, 0, bulk_bytes);
    pthread_join(sender, NULL);
    SYS(shutdown(fd, SHUT_WR));
    expect_eof(fd);
}

/* ---- bulk inside ---- */

struct transfer {
    int fd, epoll;
    bool epoll_reads;
    size_t piece_in, piece_out;
    uint64_t in, out;
    void (*wait)(struct transfer *t, bool *readable, bool *writable);
};

static void wait_poll(struct transfer *t, bool *readable, bool *writable)
{
    struct pollfd p = {.fd = t->fd, .events = (short)(POLLIN | (t->out < bulk_bytes ? POLLOUT : 0))};
    while (poll(&p, 1, -1) < 0)
        CHECK(errno == EINTR, "poll: %s", strerror(errno));
    *readable = p.revents & (POLLIN | POLLHUP | POLLERR);
    *writable = p.revents & POLLOUT;
}

static void wait_select(struct transfer *t, bool *readable, bool *writable)
{
    fd_set r, w;
    FD_ZERO(&r);
    FD_ZERO(&w);
    FD_SET(t->fd, &r);
    if (t->out < bulk_bytes)
        FD_SET(t->fd, &w);
    SYS(select(t->fd + 1, &r, &w, NULL, NULL));
    *readable = FD_ISSET(t->fd, &r);
    *writable = FD_ISSET(t->fd, &w);
}

static void wait_epoll(struct transfer *t, bool *readable, bool *writable)
{
    struct epoll_event event = {.events = EPOLLIN};
    if (t->out == bulk_bytes && !t->epoll_reads)
        SYS(epoll_ctl(t->epoll, EPOLL_CTL_MOD, t->fd, &event));
    t->epoll_reads = t->out == bulk_bytes;
    while (epoll_wait(t->epoll, &event, 1, -1) < 0)
        CHECK(errno == EINTR, "epoll_wait: %s", strerror(errno));
    *readable = event.events & (EPOLLIN | EPOLLHUP | EPOLLERR);
    *writable = (event.events & EPOLLOUT) && t->out < bulk_bytes;
}

static bool read_some(struct transfer *t)
{
    uint8_t buffer[64 * KIB];
    ssize_t n = read(t->fd, buffer, t->piece_in);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    CHECK(n >= 0, "read after %llu bytes: %s", (unsigned long long)t->in, strerror(errno));
    stream_check(SEED_IN, t->in, buffer, (size_t)n);
    t->in += (uint64_t)n;
    progress();
    return n > 0;
}

static void write_some(struct transfer *t)
{
    uint8_t buffer[64 * KIB];
    size_t len = bulk_bytes - t->out < t->piece_out ? bulk_bytes - t->out : t->piece_out;
    stream_fill(SEED_OUT, t->out, buffer, len);
    ssize_t n = write(t->fd, buffer, len);
    CHECK(n > 0 || errno == EAGAIN || errno == EINTR, "write after %llu bytes: %s", (unsigned long long)t->out,
          strerror(errno));
    t->out += n > 0 ? (uint64_t)n : 0;
    progress();
}

static void transfer(struct transfer *t)
{
    bool open = true;
    while (open) {
        bool readable = false, writable = false;
        t->wait(t, &readable, &writable);
        if (writable && t->out < bulk_bytes)
            write_some(t);
        if (readable)
            open = read_some(t);
    }
    CHECK(t->in == bulk_bytes && t->out == bulk_bytes, "the end after %llu bytes in, %llu out",
          (unsigned long long)t->in, (unsigned long long)t->out);
}

/* Without a thread of its own: one direction after the other. */
static void transfer_blocking(int fd)
{
    stream_recv(fd, SEED_IN, 0, bulk_bytes);
    stream_send(fd, SEED_OUT, 0, bulk_bytes);
    expect_eof(fd);
}

static void bulk(const char *filter, const char *how)
{
    int end[2];
    bool tiny = strcmp(how, "tiny") == 0;
    if (tiny)
        bulk_bytes = 50 * 1000;
    tcp_pair(end);
    pid_t peer = fork_child();
    if (peer == 0) {
        SYS(close(end[1]));
        be_peer(end[0]);
        exit(0);
    }
    SYS(close(end[0]));
    struct transfer t = {.fd = end[1], .piece_in = 50021, .piece_out = 40009, .wait = wait_poll};
    bool blocking = strcmp(how, "blocking") == 0;
    if (!blocking)
        set_nonblocking(t.fd);
    if (strcmp(how, "select") == 0)
        t.wait = wait_select;
    if (tiny) {
        t.piece_in = 3001;
        t.piece_out = 997;
        set_option(t.fd, SOL_SOCKET, SO_RCVBUF, 4096);
        set_option(t.fd, SOL_SOCKET, SO_SNDBUF, 4096);
    }
    if (strcmp(how, "epoll") == 0) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT};
        t.epoll = (int)SYS(epoll_create1(EPOLL_CLOEXEC));
        SYS(epoll_ctl(t.epoll, EPOLL_CTL_ADD, t.fd, &event));
        t.wait = wait_epoll;
    }
    pid_t child = fork_child();
    if (child == 0) {
        enter(filter);
        if (blocking)
            transfer_blocking(t.fd);
        else
            transfer(&t);
        exit(0);
    }
    SYS(close(t.fd));
    reap(child, "the one in the sandbox");
    reap(peer, "the peer");
}

/* ---- leftover: 10,000 bytes come as one record; 100 are read inside, the others by the parent ---- */

static void expect_readable(int fd, int epoll)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    struct epoll_event event;
    struct timeval now = {0, 0};
    fd_set r;
    FD_ZERO(&r);
    FD_SET(fd, &r);
    CHECK(poll(&p, 1, 0) == 1 && p.revents == POLLIN, "poll sees no leftover: 0x%x", (unsigned)p.revents);
    CHECK(select(fd + 1, &r, NULL, NULL, &now) == 1 && FD_ISSET(fd, &r), "select sees no leftover");
    CHECK(epoll < 0 || (epoll_wait(epoll, &event, 1, 0) == 1 && event.events == EPOLLIN && event.data.fd == fd),
          "epoll sees no leftover");
}

static void expect_quiet(int fd, int epoll)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    struct epoll_event event;
    CHECK(poll(&p, 1, 0) == 0, "poll sees something where nothing is left");
    CHECK(epoll_wait(epoll, &event, 1, 0) == 0, "epoll sees something where nothing is left");
}

static void leftover(const char *filter)
{
    enum { LEN = 10000, FIRST = 100 };
    uint8_t data[LEN];
    int end[2], epoll = (int)SYS(epoll_create1(EPOLL_CLOEXEC));
    tcp_pair(end);
    stream_fill(SEED_IN, 0, data, LEN);
    write_all(end[0], data, LEN);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = end[1]};
    SYS(epoll_ctl(epoll, EPOLL_CTL_ADD, end[1], &event));
    pid_t child = fork_child();
    if (child == 0) {
        enter(filter);
        stream_recv(end[1], SEED_IN, 0, FIRST);
        expect_readable(end[1], epoll);
        exit(0);
    }
    reap(child, "the one in the sandbox");
    expect_readable(end[1], epoll);
    stream_recv(end[1], SEED_IN, FIRST, 1000);
    expect_readable(end[1], epoll);
    stream_recv(end[1], SEED_IN, FIRST + 1000, LEN - FIRST - 1000);
    set_nonblocking(end[1]);
    expect_quiet(end[1], epoll);
    write_all(end[0], "end", 3);
    struct pollfd p = {.fd = end[1], .events = POLLIN};
    SYS(poll(&p, 1, -1));
    CHECK(read(end[1], data, LEN) == 3 && memcmp(data, "end", 3) == 0, "the next record is lost");
    expect_quiet(end[1], epoll);
}

/* ---- SIGPIPE ---- */

static volatile sig_atomic_t signals_seen;

static void count_signal(int signal_number)
{
    (void)signal_number;
    signals_seen++;
}

static void write_until_it_fails(int fd)
{
    char data[1000] = "";
    struct pollfd p = {.fd = fd, .events = POLLIN};
    SYS(poll(&p, 1, -1)); /* its end has come, so that each write from now on is one too many */
    while (write(fd, data, sizeof(data)) >= 0)
        progress();
    CHECK(errno == EPIPE || errno == ECONNRESET, "write to a closed peer: %s", strerror(errno));
    CHECK(write(fd, data, sizeof(data)) < 0 && errno == EPIPE, "the write behind it: %s", strerror(errno));
}

static void pipe_signal(const char *filter)
{
    int end[2];
    tcp_pair(end);
    write_all(end[0], "x", 1);
    char c;
    SYS(read(end[1], &c, 1));
    pid_t child = fork_child();
    if (child == 0) {
        SYS(close(end[0]));
        struct sigaction act = {.sa_handler = count_signal};
        SYS(sigaction(SIGPIPE, &act, NULL));
        enter(filter);
        write_until_it_fails(end[1]);
        CHECK(signals_seen > 0, "no SIGPIPE was seen");
        exit(0);
    }
    SYS(close(end[1]));
    SYS(close(end[0]));
    reap(child, "the one in the sandbox");
}

/* ---- SO_RCVTIMEO, and handlers ---- */

static void timeout(const char *filter)
{
    int end[2];
    tcp_pair(end);
    write_all(end[0], "x", 1);
    char c;
    SYS(read(end[1], &c, 1));
    struct timeval t = {0, 150000};
    SYS(setsockopt(end[1], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)));
    pid_t child = fork_child();
    if (child == 0) {
        enter(filter);
        double begin = now_seconds();
        CHECK(read(end[1], &c, 1) < 0 && errno == EAGAIN, "read without data: %s", strerror(errno));
        CHECK(now_seconds() - begin >= 0.14, "it gave up after %f s", now_seconds() - begin);
        exit(0);
    }
    reap(child, "the one in the sandbox");
}

static void signals(const char *filter)
{
    int end[2];
    tcp_pair(end);
    pid_t peer = fork_child();
    if (peer == 0) {
        SYS(close(end[1]));
        be_peer(end[0]);
        exit(0);
    }
    SYS(close(end[0]));
    pid_t child = fork_child();
    if (child == 0) {
        struct sigaction act = {.sa_handler = count_signal, .sa_flags = SA_RESTART};
        struct itimerval often = {{0, 1000}, {0, 1000}};
        SYS(sigaction(SIGALRM, &act, NULL));
        SYS(setitimer(ITIMER_REAL, &often, NULL));
        enter(filter);
        transfer_blocking(end[1]);
        CHECK(signals_seen > 0, "no handler ran");
        exit(0);
    }
    SYS(close(end[1]));
    reap(child, "the one in the sandbox");
    reap(peer, "the peer");
}

/* ---- strict ---- */

static void refused(const char *filter)
{
    int end[2], out[2];
    tcp_pair(end);
    SYS(pipe(out));
    write_all(end[0], "x", 1);
    char c, result[2] = {0};
    SYS(read(end[1], &c, 1));
    pid_t child = fork_child();
    if (child == 0) {
        enter(filter);
        result[0] = write(end[1], "secret", 6) < 0 ? (char)errno : 0;
        result[1] = read(end[1], &c, 1) < 0 ? (char)errno : 0;
        write(out[1], result, 2) == 2 ? syscall(SYS_exit, 0) : syscall(SYS_exit, 1);
    }
    SYS(close(end[1]));
    reap(child, "the one in the sandbox");
    SYS(read(out[0], result, 2));
    printf("write: %s\nread: %s\n", strerror(result[0]), strerror(result[1]));
    CHECK(read(end[0], &c, 1) <= 0, "a byte came through");
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(const char *filter);
    } cases[] = {
        {"leftover", leftover}, {"pipe", pipe_signal}, {"timeout", timeout}, {"signals", signals}, {"refused", refused},
    };
    CHECK(argc == 3, "usage: sandbox FILTER CASE");
    watchdog_start();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (strcmp(argv[2], cases[i].name) == 0) {
            cases[i].run(argv[1]);
            return 0;
        }
    }
    bulk(argv[1], argv[2]);
    return 0;
}
