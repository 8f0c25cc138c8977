/* epoll_truth: what epoll says of non-blocking sockets is true. After EPOLLIN a read gives bytes, an end or an error,
 * and never EAGAIN, while one thread alone reads; no event is lost that way.
 *
 *   epoll_truth CASE             both ends in this process
 *   epoll_truth listen           the accepting end of one connection; tells its port; counts what it reads, to the end
 *   epoll_truth connect:PORT [BYTES]  the other one: writes so many bytes in pieces, reads as many if they come, to the
 *                                end. Both say `read N`. */
#include "common.h"

#include <sys/epoll.h>

enum { READING = EPOLLIN | EPOLLRDNORM, QUIET_MS = 200, LONG_MS = 30000 };

static int new_set(void)
{
    return (int)SYS(epoll_create1(EPOLL_CLOEXEC));
}

static void control(int set, int op, int fd, uint32_t events, uint64_t data)
{
    struct epoll_event event = {.events = events, .data.u64 = data};
    SYS(epoll_ctl(set, op, fd, &event));
}

/* Both ends non-blocking; end[0] connected. */
static void pair(int end[2])
{
    tcp_pair(end);
    set_nonblocking(end[0]);
    set_nonblocking(end[1]);
}

/* The watchdog's signal may come. */
static int next_event(int set, struct epoll_event *event, int timeout_ms)
{
    int n;
    while ((n = epoll_wait(set, event, 1, timeout_ms)) < 0 && errno == EINTR)
        ;
    return (int)SYS(n);
}

/* No event that tells of reading for a while. Others may come. */
static void expect_quiet(int set, const char *when)
{
    struct epoll_event event;
    for (double end = now_seconds() + QUIET_MS / 1e3; now_seconds() < end;) {
        int n = next_event(set, &event, QUIET_MS);
        CHECK(n == 0 || !(event.events & READING), "%s: events %x", when, event.events);
        if (n)
            poll(NULL, 0, 1);
    }
}

static struct epoll_event expect_event(int set, uint32_t wanted, uint64_t data, const char *when)
{
    struct epoll_event event = {0};
    do {
        int n = next_event(set, &event, LONG_MS);
        CHECK(n == 1, "%s: no event", when);
    } while (!(event.events & wanted));
    CHECK(event.data.u64 == data, "%s: events %x of %llu", when, event.events, (unsigned long long)event.data.u64);
    progress();
    return event;
}

static void expect_text(int fd, const char *text, const char *when)
{
    char got[32] = "";
    ssize_t n = read(fd, got, sizeof got - 1);
    CHECK(n >= 0, "%s: read: %s", when, strerror(errno));
    CHECK(strcmp(got, text) == 0, "%s: read %s", when, got);
}

static void say(int fd, const char *text)
{
    CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text), "write: %s", strerror(errno));
}

/* ---- one thread, each kind of registration ---- */

static void kind_of(uint32_t kind)
{
    int end[2], set = new_set();
    bool once = kind & EPOLLONESHOT;
    pair(end);
    for (int i = 0; i < 2; i++)
        control(set, EPOLL_CTL_ADD, end[i], EPOLLIN | kind, (uint64_t)i);
    expect_quiet(set, "nothing was written");
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < 2; i++) {
            if (once)
                control(set, EPOLL_CTL_MOD, end[i], EPOLLIN | kind, (uint64_t)i);
            say(end[!i], "hello");
            expect_event(set, EPOLLIN, (uint64_t)i, "written");
            expect_text(end[i], "hello", "written");
            if (once)
                say(end[!i], "again");
            expect_quiet(set, "read");
            if (once)
                expect_text(end[i], "again", "not armed");
        }
    if (once)
        control(set, EPOLL_CTL_MOD, end[0], EPOLLIN | EPOLLRDHUP | kind, 0);
    SYS(close(end[1]));
    expect_event(set, EPOLLIN, 0, "closed");
    expect_text(end[0], "", "closed");
    close(end[0]);
    close(set);
}

/* A plain connected socket has room at once, and bytes may be written before the handshake is over. */
static void writable(uint32_t kind)
{
    int end[2], set = new_set();
    pair(end);
    control(set, EPOLL_CTL_ADD, end[0], EPOLLIN | EPOLLOUT | kind, 7);
    struct epoll_event event = expect_event(set, EPOLLOUT, 7, "fresh");
    CHECK(!(event.events & READING), "fresh: events %x", event.events);
    say(end[0], "early");
    control(set, EPOLL_CTL_MOD, end[0], EPOLLIN | kind, 8);
    expect_quiet(set, "written early");
    int other = new_set();
    control(other, EPOLL_CTL_ADD, end[1], EPOLLIN, 9);
    expect_event(other, EPOLLIN, 9, "early");
    expect_text(end[1], "early", "early");
    say(end[1], "answer");
    expect_event(set, EPOLLIN, 8, "answered");
    expect_text(end[0], "answer", "answered");
    close(end[0]);
    close(end[1]);
    close(set);
    close(other);
}

/* ---- changes in between ---- */

static void changed(void)
{
    int end[2], set = new_set();
    pair(end);
    control(set, EPOLL_CTL_ADD, end[0], EPOLLIN | EPOLLONESHOT, 1);
    control(set, EPOLL_CTL_ADD, end[1], EPOLLIN | EPOLLET, 2);
    control(set, EPOLL_CTL_MOD, end[0], EPOLLIN | EPOLLET, 3);
    control(set, EPOLL_CTL_DEL, end[1], 0, 0);
    expect_quiet(set, "changed");
    control(set, EPOLL_CTL_ADD, end[1], EPOLLIN, 4);
    expect_quiet(set, "added again");
    say(end[0], "one");
    say(end[1], "two");
    struct epoll_event events[4];
    for (unsigned seen = 0; seen != 3;) {
        int n = (int)SYS(epoll_wait(set, events, 4, LONG_MS));
        CHECK(n > 0, "no event");
        for (int i = 0; i < n; i++) {
            CHECK(events[i].data.u64 == 3 || events[i].data.u64 == 4, "event of %d", (int)events[i].data.u64);
            bool first = events[i].data.u64 == 3;
            expect_text(end[!first], first ? "two" : "one", "changed");
            seen |= first ? 1 : 2;
        }
    }
    close(end[0]);
    close(end[1]);
    close(set);
}

/* Registered before connect, as nginx and asio do. */
static void before_connect(void)
{
    uint16_t port;
    int listener = tcp_listen(1, &port), set = new_set(), fd = tcp_socket();
    struct sockaddr_in a = loopback(port);
    set_nonblocking(fd);
    control(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP, 5);
    CHECK(connect(fd, (struct sockaddr *)&a, sizeof a) == 0 || errno == EINPROGRESS, "connect: %s", strerror(errno));
    int accepted = tcp_accept(listener);
    set_nonblocking(accepted);
    control(set, EPOLL_CTL_ADD, accepted, EPOLLIN | EPOLLET, 6);
    for (double end = now_seconds() + 0.3; now_seconds() < end;) {
        struct epoll_event event;
        CHECK(next_event(set, &event, 300) == 0 || (event.data.u64 == 5 && !(event.events & ~(EPOLLOUT | EPOLLHUP))),
              "connecting: events %x of %d", event.events, (int)event.data.u64);
    }
    say(accepted, "hello");
    expect_event(set, EPOLLIN, 5, "written");
    expect_text(fd, "hello", "written");
    close(fd);
    close(accepted);
    close(listener);
    close(set);
}

/* ---- sets by other names, data that are not unique, sets in sets ---- */

static void other_names(void)
{
    int end[2], set = new_set();
    pair(end);
    control(set, EPOLL_CTL_ADD, end[0], EPOLLIN, 1);
    control(set, EPOLL_CTL_ADD, end[1], EPOLLIN, 2);
    int copy = (int)SYS(dup(set));
    close(set);
    expect_quiet(copy, "a set by another number");
    say(end[0], "hello");
    expect_event(copy, EPOLLIN, 2, "a set by another number");
    expect_text(end[1], "hello", "a set by another number");
    pid_t pid = fork_child();
    if (pid == 0) {
        expect_event(copy, EPOLLIN, 1, "in a child");
        expect_text(end[0], "parent", "in a child");
        expect_quiet(copy, "in a child");
        _exit(0);
    }
    say(end[1], "parent");
    reap(pid, "the child");
    expect_quiet(copy, "read by the child");
    close(end[0]);
    close(end[1]);
    close(copy);
}

static void same_data(void)
{
    int first[2], second[2], pipe_end[2], set = new_set();
    pair(first);
    pair(second);
    SYS(pipe2(pipe_end, O_NONBLOCK | O_CLOEXEC));
    control(set, EPOLL_CTL_ADD, first[0], EPOLLIN, 0);
    control(set, EPOLL_CTL_ADD, second[0], EPOLLIN, 0);
    control(set, EPOLL_CTL_ADD, pipe_end[0], EPOLLIN, 0);
    expect_quiet(set, "three of the same data");
    say(pipe_end[1], "pipe");
    expect_event(set, EPOLLIN, 0, "the pipe");
    expect_text(pipe_end[0], "pipe", "the pipe");
    say(second[1], "second");
    expect_event(set, EPOLLIN, 0, "the second");
    expect_text(second[0], "second", "the second");
    expect_quiet(set, "three of the same data, read");
    for (int i = 0; i < 2; i++) {
        close(first[i]);
        close(second[i]);
        close(pipe_end[i]);
    }
    close(set);
}

static void nested(void)
{
    int end[2], inner = new_set(), outer = new_set();
    pair(end);
    control(inner, EPOLL_CTL_ADD, end[0], EPOLLIN, 1);
    control(inner, EPOLL_CTL_ADD, end[1], EPOLLIN, 2);
    control(outer, EPOLL_CTL_ADD, inner, EPOLLIN, 3);
    expect_quiet(outer, "a set in a set");
    say(end[0], "hello");
    expect_event(outer, EPOLLIN, 3, "a set in a set");
    expect_event(inner, EPOLLIN, 2, "the inner set");
    expect_text(end[1], "hello", "the inner set");
    expect_quiet(outer, "a set in a set, read");
    close(end[0]);
    close(end[1]);
    close(inner);
    close(outer);
}

/* ---- time and signals ---- */

static volatile sig_atomic_t signals_seen;

static void on_signal(int signo)
{
    (void)signo;
    signals_seen++;
}

/* The time goes on while events are kept back; a signal ends the wait, whichever mask it has. */
static void waits(void)
{
    struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigset_t blocked, none;
    SYS(sigaction(SIGUSR1, &act, NULL));
    sigemptyset(&none);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    for (int i = 0; i < 40; i++) {
        struct timespec t = {0, 20000000};
        struct epoll_event event;
        int end[2], set = new_set();
        pair(end);
        control(set, EPOLL_CTL_ADD, end[0], EPOLLIN, 1);
        control(set, EPOLL_CTL_ADD, end[1], EPOLLIN, 2);
        double begun = now_seconds();
        int n = i & 1 ? epoll_pwait2(set, &event, 1, &t, NULL) : epoll_wait(set, &event, 1, 20);
        CHECK(n == 0, "a time: %d, %s", n, strerror(errno));
        CHECK(now_seconds() - begun >= 0.0199, "back after %.6f s", now_seconds() - begun);
        sigprocmask(SIG_BLOCK, &blocked, NULL);
        raise(SIGUSR1);
        n = i & 1 ? epoll_pwait2(set, &event, 1, NULL, &none) : epoll_pwait(set, &event, 1, -1, &none);
        CHECK(n == -1 && errno == EINTR && signals_seen == i + 1, "a signal: %d, %s", n, strerror(errno));
        sigprocmask(SIG_UNBLOCK, &blocked, NULL);
        close(end[0]);
        close(end[1]);
        close(set);
        progress();
    }
}

/* Signals at any moment of the handshake end an endless wait. */
static void interrupted(void)
{
    struct sigaction act = {.sa_handler = on_signal};
    SYS(sigaction(SIGALRM, &act, NULL));
    for (int i = 0; i < 100; i++) {
        struct itimerval once = {.it_value = {0, 1 + i * 60}};
        struct epoll_event event;
        int end[2], set = new_set(), before = signals_seen;
        pair(end);
        control(set, EPOLL_CTL_ADD, end[0], EPOLLIN, 1);
        SYS(setitimer(ITIMER_REAL, &once, NULL));
        int n = before == signals_seen ? epoll_wait(set, &event, 1, -1) : -1;
        CHECK(n == -1 && signals_seen == before + 1, "%d events %x", n, event.events);
        close(end[0]);
        close(end[1]);
        close(set);
        progress();
    }
}

/* ---- several threads on one set ---- */

enum { THREADS = 4, PAIRS = 40, MESSAGES = 50 };

static struct shared {
    int set, ends[2 * PAIRS];
    atomic_int owner[2 * PAIRS], got[2 * PAIRS], finished;
} shared;

static void handle(int i)
{
    char text[MESSAGES + 1];
    CHECK(atomic_exchange(&shared.owner[i], 1) == 0, "two threads have the event of %d", i);
    ssize_t n = read(shared.ends[i], text, sizeof text);
    CHECK(n > 0, "thread: read %zd: %s", n, strerror(errno));
    if (atomic_fetch_add(&shared.got[i], (int)n) + n == MESSAGES)
        atomic_fetch_add(&shared.finished, 1);
    atomic_store(&shared.owner[i], 0);
    control(shared.set, EPOLL_CTL_MOD, shared.ends[i], EPOLLIN | EPOLLONESHOT, (uint64_t)i);
    progress();
}

static void *serve(void *arg)
{
    struct epoll_event event;
    while (atomic_load(&shared.finished) < 2 * PAIRS)
        if (next_event(shared.set, &event, 20) == 1)
            handle((int)event.data.u64);
    return arg;
}

static void threads(void)
{
    pthread_t thread[THREADS];
    shared.set = new_set();
    for (int i = 0; i < THREADS; i++)
        thread[i] = thread_start(serve, NULL);
    for (int i = 0; i < 2 * PAIRS; i += 2) {
        pair(shared.ends + i);
        for (int k = i; k < i + 2; k++)
            control(shared.set, EPOLL_CTL_ADD, shared.ends[k], EPOLLIN | EPOLLONESHOT, (uint64_t)k);
    }
    for (int m = 0; m < MESSAGES; m++)
        for (int i = 0; i < 2 * PAIRS; i++)
            say(shared.ends[i], "x");
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
}

/* ---- over a wire ---- */

static void over_wire(int fd, size_t to_write)
{
    static char piece[70001];
    int set = new_set();
    size_t got = 0;
    set_nonblocking(fd);
    control(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLRDHUP | (to_write ? EPOLLOUT : 0), 1);
    for (bool open = true; open;) {
        struct epoll_event event;
        CHECK(next_event(set, &event, LONG_MS) == 1, "no event after %zu bytes", got);
        if (event.events & READING) {
            ssize_t n = read(fd, piece, sizeof piece);
            CHECK(n >= 0, "events %x, and a read after %zu bytes says: %s", event.events, got, strerror(errno));
            got += (size_t)n;
            open = n > 0;
            if (memchr(piece, '\n', (size_t)n))
                printf("line\n"), fflush(stdout);
        }
        if (to_write && event.events & EPOLLOUT) {
            ssize_t n = write(fd, piece, to_write < sizeof piece ? to_write : sizeof piece);
            CHECK(n > 0 || errno == EAGAIN, "write: %s", strerror(errno));
            to_write -= n > 0 ? (size_t)n : 0;
            if (!to_write) {
                SYS(shutdown(fd, SHUT_WR));
                control(set, EPOLL_CTL_MOD, fd, EPOLLIN, 1);
            }
        }
        progress();
    }
    printf("read %zu\n", got);
}

static void run(const char *name)
{
    if (strcmp(name, "level") == 0)
        kind_of(0), writable(0);
    else if (strcmp(name, "edge") == 0)
        kind_of(EPOLLET), writable(EPOLLET);
    else if (strcmp(name, "oneshot") == 0)
        kind_of(EPOLLONESHOT), writable(EPOLLONESHOT);
    else if (strcmp(name, "changed") == 0)
        changed(), before_connect();
    else if (strcmp(name, "names") == 0)
        other_names(), same_data();
    else if (strcmp(name, "nested") == 0)
        nested();
    else if (strcmp(name, "waits") == 0)
        waits(), interrupted();
    else if (strcmp(name, "threads") == 0)
        threads();
    else
        die("no case %s", name);
}

int main(int argc, char **argv)
{
    watchdog_start();
    CHECK(argc >= 2, "which case?");
    uint16_t port;
    if (strcmp(argv[1], "listen") == 0)
        over_wire(tcp_accept(tcp_listen(1, &port)), 0);
    else if (strncmp(argv[1], "connect:", 8) == 0)
        over_wire(tcp_connect((uint16_t)atoi(argv[1] + 8)), argc > 2 ? strtoull(argv[2], NULL, 10) : 0);
    else
        run(argv[1]);
    return 0;
}
