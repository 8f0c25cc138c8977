/* signal_ways WAY: what programs do with signals beside a simple handler, on a connection whose ends are both here. The
 * output is the same on plain TCP and protected.
 *
 * io        SIGIO, and a real-time signal instead of it (F_SETSIG): the handler reads what comes
 * fd        signals that signalfd(2) takes, in one poll with the connection
 * queue     real-time signals with values, sent to the process and to the thread while it sends and receives: all come,
 *           in order
 * readback  what sigaction(2) tells of handlers is what the program asked for
 * altstack  handlers on a small stack of their own (sigaltstack(2)) that use the connection in all its stages */
#include "common.h"

#include <sys/mman.h>
#include <sys/signalfd.h>

enum { MESSAGES = 200, LINE = 100, QUEUED = 400 };

static int end[2]; /* [0] connected, [1] accepted */

static void handle(int number, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction act = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
    SYS(sigaction(number, &act, NULL));
}

/* ---- io ---- */

static atomic_size_t arrived;
static atomic_bool ended;

static void take_all(int number, siginfo_t *info, void *context)
{
    int saved = errno;
    char bytes[1000];
    ssize_t n;
    (void)number, (void)info, (void)context;
    while ((n = read(end[1], bytes, sizeof(bytes))) > 0)
        atomic_fetch_add(&arrived, (size_t)n);
    if (n == 0)
        atomic_store(&ended, true);
    errno = saved;
}

/* Before the wait for a signal, the signals must be blocked, or the last one may come in between. */
static void wait_until_arrived(size_t wanted, bool end_too)
{
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, SIGUSR2); /* the watchdog's */
    SYS(sigprocmask(SIG_BLOCK, &all, &before));
    while (atomic_load(&arrived) < wanted || (end_too && !atomic_load(&ended)))
        sigsuspend(&before);
    SYS(sigprocmask(SIG_SETMASK, &before, NULL));
    progress();
}

static void signal_driven(int number)
{
    char line[LINE] = "";
    tcp_pair(end);
    atomic_store(&arrived, 0);
    atomic_store(&ended, false);
    handle(number, take_all, SA_RESTART);
    SYS(fcntl(end[1], F_SETOWN, getpid()));
    if (number != SIGIO)
        SYS(fcntl(end[1], F_SETSIG, number));
    SYS(fcntl(end[1], F_SETFL, O_NONBLOCK | O_ASYNC));
    printf("owner %d, signal %d, flags %s\n", (int)SYS(fcntl(end[1], F_GETOWN)) == getpid(),
           (int)SYS(fcntl(end[1], F_GETSIG)), SYS(fcntl(end[1], F_GETFL)) & O_ASYNC ? "O_ASYNC" : "none");
    for (size_t i = 1; i <= MESSAGES; i++) {
        write_all(end[0], line, sizeof(line));
        wait_until_arrived(i * sizeof(line), false);
    }
    SYS(shutdown(end[0], SHUT_WR));
    wait_until_arrived(MESSAGES * sizeof(line), true);
    printf("arrived %zu, and the end\n", atomic_load(&arrived));
    SYS(close(end[1]));
    SYS(close(end[0]));
}

static void way_io(void)
{
    signal_driven(SIGIO);
    signal_driven(SIGRTMIN + 2);
}

/* ---- fd ---- */

static void way_fd(void)
{
    sigset_t taken;
    struct signalfd_siginfo info;
    unsigned signals = 0, bytes = 0;
    tcp_pair(end);
    sigemptyset(&taken);
    sigaddset(&taken, SIGUSR1);
    sigaddset(&taken, SIGRTMIN + 1);
    SYS(sigprocmask(SIG_BLOCK, &taken, NULL));
    int fd = (int)SYS(signalfd(-1, &taken, SFD_NONBLOCK | SFD_CLOEXEC));
    struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = end[1], .events = POLLIN}};
    for (unsigned i = 0; i < MESSAGES; i++) {
        SYS(kill(getpid(), SIGUSR1));
        SYS(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = (int)i}));
        write_all(end[0], "x", 1);
        while (signals < 2 * (i + 1) || bytes <= i) {
            char byte;
            SYS(poll(p, 2, -1));
            if (p[0].revents && read(fd, &info, sizeof(info)) == sizeof(info)) {
                bool queued = (int)info.ssi_signo == SIGRTMIN + 1;
                CHECK(queued ? info.ssi_int == (int)i : info.ssi_signo == SIGUSR1, "signal %u", info.ssi_signo);
                signals++;
            }
            if (p[1].revents && recv(end[1], &byte, 1, MSG_DONTWAIT) == 1)
                bytes++;
        }
        progress();
    }
    printf("signals %u, bytes %u\n", signals, bytes);
}

/* ---- queue ---- */

static volatile sig_atomic_t values, next_value, out_of_order;

static void count_value(int number, siginfo_t *info, void *context)
{
    (void)number, (void)context;
    if (info->si_value.sival_int != next_value)
        out_of_order = out_of_order + 1;
    next_value = info->si_value.sival_int + 1;
    values = values + 1;
}

struct target {
    pthread_t thread;
    bool to_thread;
};

static void *send_values(void *arg)
{
    struct target *to = arg;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    for (int i = 0; i < QUEUED; i++) {
        union sigval value = {.sival_int = i};
        int r = EAGAIN;
        while (r == EAGAIN) { /* more than may be queued */
            r = to->to_thread ? pthread_sigqueue(to->thread, SIGRTMIN + 3, value) : 0;
            if (!to->to_thread && sigqueue(getpid(), SIGRTMIN + 3, value) != 0)
                r = errno;
            sched_yield();
        }
        CHECK(r == 0, "sigqueue: %s", strerror(r));
    }
    return NULL;
}

static void values_while_sending(bool to_thread)
{
    char line[LINE] = "", back[LINE];
    struct target to = {pthread_self(), to_thread};
    values = next_value = out_of_order = 0;
    handle(SIGRTMIN + 3, count_value, SA_RESTART);
    pthread_t sender = thread_start(send_values, &to);
    while (values < QUEUED) {
        write_all(end[0], line, sizeof(line));
        CHECK(read_full(end[1], back, sizeof(back)) == sizeof(back), "the end");
    }
    CHECK(pthread_join(sender, NULL) == 0, "pthread_join");
    printf("to the %s: %d values, %d out of order\n", to_thread ? "thread" : "process", (int)values, (int)out_of_order);
}

static void way_queue(void)
{
    tcp_pair(end);
    values_while_sending(false);
    values_while_sending(true);
}

/* ---- readback ---- */

static void by_number(int number)
{
    (void)number;
}

static void by_info(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info, (void)context;
}

static void tell(const char *what, int number)
{
    struct sigaction act;
    SYS(sigaction(number, NULL, &act));
    const char *name = act.sa_handler == by_number   ? "by_number"
                       : act.sa_sigaction == by_info ? "by_info"
                       : act.sa_handler == SIG_DFL   ? "SIG_DFL"
                       : act.sa_handler == SIG_IGN   ? "SIG_IGN"
                                                     : "another";
    printf("%s: %s, flags 0x%x, mask %d%d\n", what, name, (unsigned)act.sa_flags, sigismember(&act.sa_mask, SIGHUP),
           sigismember(&act.sa_mask, number));
}

static void way_readback(void)
{
    static const int flags[] = {0, SA_RESTART, SA_NODEFER, (int)SA_RESETHAND, SA_ONSTACK, SA_NOCLDSTOP | SA_NOCLDWAIT};
    char byte;
    tcp_pair(end);
    write_all(end[0], "x", 1);
    CHECK(read_full(end[1], &byte, 1) == 1, "the end");
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        for (int with_info = 0; with_info < 2; with_info++) {
            struct sigaction act = {.sa_flags = flags[i] | (with_info ? SA_SIGINFO : 0)}, before;
            sigemptyset(&act.sa_mask);
            sigaddset(&act.sa_mask, SIGHUP);
            if (with_info)
                act.sa_sigaction = by_info;
            else
                act.sa_handler = by_number;
            SYS(sigaction(SIGUSR1, &act, &before));
            tell("sigaction", SIGUSR1);
            SYS(sigaction(SIGUSR1, &before, NULL)); /* what was read is as good as what was set */
            tell("put back", SIGUSR1);
            SYS(sigaction(SIGUSR1, &act, NULL));
            SYS(raise(SIGUSR1));
            tell("raised", SIGUSR1);
        }
    }
    CHECK(signal(SIGUSR1, by_number) != SIG_ERR, "signal");
    tell("signal", SIGUSR1);
    printf("signal gives back %d\n", signal(SIGUSR1, SIG_IGN) == by_number);
    tell("ignored", SIGUSR1);
    pid_t pid = fork_child();
    if (pid == 0) {
        CHECK(signal(SIGUSR1, by_number) == SIG_IGN, "another handler in the child");
        _exit(0);
    }
    reap(pid, "the child");
    tell("after a fork", SIGUSR1);
    SYS(close(end[0]));
}

/* ---- altstack ---- */

static int used;
static volatile sig_atomic_t handled, closes;

static void use_connection(int number, siginfo_t *info, void *context)
{
    int saved = errno;
    char byte;
    (void)number, (void)info, (void)context;
    CHECK(write(used, "h", 1) == 1 || errno == EAGAIN, "write: %s", strerror(errno));
    CHECK(recv(used, &byte, 1, MSG_DONTWAIT) >= 0 || errno == EAGAIN, "recv: %s", strerror(errno));
    handled = handled + 1;
    if (closes)
        SYS(close(used));
    errno = saved;
}

/* A page that cannot be used lies below. */
static void small_stack(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), size = (8192 + page - 1) / page * page;
    char *m = mmap(NULL, page + size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(m != MAP_FAILED && mprotect(m + page, size, PROT_READ | PROT_WRITE) == 0, "mmap: %s", strerror(errno));
    stack_t stack = {.ss_sp = m + page, .ss_size = size};
    SYS(sigaltstack(&stack, NULL));
}

static void way_altstack(void)
{
    uint16_t port;
    char byte;
    int listener = tcp_listen(8, &port);
    small_stack();
    handle(SIGUSR1, use_connection, SA_ONSTACK | SA_RESTART);
    for (int i = 0; i < 50; i++) {
        end[0] = used = tcp_connect(port);
        SYS(raise(SIGUSR1)); /* nobody has accepted */
        end[1] = used = tcp_accept(listener);
        SYS(raise(SIGUSR1)); /* nobody has used it */
        CHECK(read_full(end[0], &byte, 1) == 1 && byte == 'h', "0x%02x", (unsigned char)byte);
        write_all(end[0], "m", 1);
        for (int j = 0; j < 10; j++)
            SYS(raise(SIGUSR1));
        closes = i % 2;
        SYS(closes ? raise(SIGUSR1) : shutdown(used, SHUT_WR));
        while (recv(end[0], &byte, 1, 0) == 1)
            CHECK(byte == 'h', "0x%02x", (unsigned char)byte);
        SYS(close(end[0]));
        if (!closes)
            SYS(close(end[1]));
        closes = 0;
        progress();
    }
    printf("handled %d\n", (int)handled);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } ways[] = {
        {"io", way_io}, {"fd", way_fd}, {"queue", way_queue}, {"readback", way_readback}, {"altstack", way_altstack}};
    watchdog_start();
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        if (argc > 1 && strcmp(argv[1], ways[i].name) == 0) {
            ways[i].run();
            return 0;
        }
    }
    die("usage: signal_ways WAY");
}
