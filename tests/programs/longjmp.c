/* siglongjmp out of a blocked call, from a handler on the thread's own stack or on an alternate one: the connection
 * goes on for this thread and for others, nothing that the call held stays held, and no byte is lost or doubled. */
#include "common.h"

#include <setjmp.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>

enum {
    ROUNDS = 4,
    TICK_US = 3000,
    NEW_CONNECTIONS = 250,
    QUICK_JUMPS = 3000,
    ALTSTACK = 256 * KIB,
    BLOCK = 1000,
    MORE = 100000,
    ROOM = 16 * MIB
};

/* ---- the jump: by the handler of a timer, once the call has slept ---- */

static sigjmp_buf target;
static volatile sig_atomic_t armed;
static volatile long sleeps;

static long count_sleeps(void)
{
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nvcsw;
}

static void on_tick(int number)
{
    (void)number;
    if (!armed || count_sleeps() == sleeps)
        return;
    armed = 0;
    siglongjmp(target, 1);
}

static void set_timer(long first_us, long then_us)
{
    struct itimerval t = {.it_value.tv_usec = first_us, .it_interval.tv_usec = then_us};
    SYS(setitimer(ITIMER_REAL, &t, NULL));
}

static void handle_alarm(void (*handler)(int), int flags)
{
    struct sigaction act = {.sa_handler = handler, .sa_flags = flags};
    SYS(sigaction(SIGALRM, &act, NULL));
}

/* An interrupted call that comes back is made again. */
#define LEAVE(call)                                                                                                    \
    do {                                                                                                               \
        if (sigsetjmp(target, 1) == 0) {                                                                               \
            sleeps = count_sleeps();                                                                                   \
            armed = 1;                                                                                                 \
            set_timer(TICK_US, TICK_US);                                                                               \
            while ((call) < 0 && errno == EINTR)                                                                       \
                ;                                                                                                      \
            armed = 0;                                                                                                 \
            die("%s did not block", #call);                                                                            \
        }                                                                                                              \
        set_timer(0, 0);                                                                                               \
        progress();                                                                                                    \
    } while (0)

/* ---- the calls ---- */

static void quick_pair(int end[2])
{
    tcp_pair(end);
    set_option(end[0], IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(end[1], IPPROTO_TCP, TCP_NODELAY, 1);
}

static char buffer[5000];

/* Until it is left. *sent: what is known to be taken; the call that is left may have taken a part more. */
static ssize_t write_on(int fd, uint64_t seed, volatile size_t *sent)
{
    for (;;) {
        char block[BLOCK];
        stream_fill(seed, *sent, block, sizeof(block));
        ssize_t n = write(fd, block, sizeof(block));
        if (n < 0)
            return n;
        *sent = *sent + (size_t)n;
    }
}

static ssize_t sendfile_on(int fd, int file, volatile size_t *sent)
{
    for (;;) {
        off_t at = (off_t)*sent;
        ssize_t n = sendfile(fd, file, &at, BLOCK);
        if (n < 0)
            return n;
        *sent = *sent + (size_t)n;
    }
}

/* 100 bytes are there. An interrupted call gives what it has, and the next one has nothing. */
static ssize_t read_waiting(int fd)
{
    ssize_t n = recv(fd, buffer, 200, MSG_WAITALL);
    while (n == 100 || (n < 0 && errno == EINTR))
        n = recv(fd, buffer, 200, MSG_WAITALL);
    return n;
}

/* A caller with much more on its stack than the one that jumped back: where the left call was is below it now. */
__attribute__((noinline)) static void exchange(int end[2], uint64_t seed)
{
    volatile char room[30000];
    room[0] = room[sizeof(room) - 1] = 0;
    stream_send(end[0], seed, 0, 30000);
    stream_recv(end[1], seed, 0, 30000);
    stream_send(end[1], seed + 1, 0, 30000);
    stream_recv(end[0], seed + 1, 0, 30000);
}

static void leave_readers(void)
{
    struct iovec iov = {buffer, sizeof(buffer)};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    int end[2];
    quick_pair(end);
    for (unsigned round = 0; round < ROUNDS; round++) {
        volatile int fd = end[round % 2], other = end[1 - round % 2];
        struct pollfd p = {.fd = fd, .events = POLLIN};
        fd_set readers;
        FD_ZERO(&readers);
        FD_SET(fd, &readers);
        LEAVE(read(fd, buffer, 1)); /* in the first round: while the handshake waits as well */
        exchange(end, 10 * round);
        LEAVE(recvmsg(fd, &m, 0));
        exchange(end, 10 * round + 1);
        LEAVE(poll(&p, 1, -1));
        exchange(end, 10 * round + 2);
        LEAVE(select(fd + 1, &readers, NULL, NULL, NULL));
        exchange(end, 10 * round + 3);
        stream_send(other, 1000, 0, 100);
        for (int waiting = 0; waiting < 100; poll(NULL, 0, 1))
            SYS(ioctl(fd, FIONREAD, &waiting));
        LEAVE(read_waiting(fd)); /* it has taken the 100 */
        exchange(end, 10 * round + 4);
    }
    SYS(close(end[0]));
    expect_eof(end[1]);
    SYS(close(end[1]));
}

static int stream_file(uint64_t seed, size_t len)
{
    char name[] = "/tmp/longjmp-XXXXXX";
    int fd = (int)SYS(mkstemp(name));
    SYS(unlink(name));
    stream_send(fd, seed, 0, len);
    return fd;
}

/* What another thread writes behind the call that was left. */
static void *write_more(void *arg)
{
    int fd = *(int *)arg;
    stream_send(fd, 500, 0, MORE);
    SYS(close(fd));
    return NULL;
}

/* Comes: the stream, as far as it was taken, and all that was written behind it. */
static void check_arrivals(int fd, size_t sent, size_t more)
{
    static uint8_t got[ROOM];
    size_t len = read_full(fd, got, sizeof(got));
    CHECK(len >= sent + more && len < sizeof(got), "%zu bytes came of at least %zu", len, sent + more);
    stream_check(7, 0, got, len - more);
    stream_check(500, 0, got + len - more, more);
}

enum writer { BY_WRITE, BY_SENDFILE, WRITERS };

static void leave_writer(enum writer by, bool closes, int file)
{
    int end[2];
    volatile size_t sent = 0;
    sigset_t alarms;
    quick_pair(end);
    exchange(end, 100);
    if (by == BY_WRITE)
        LEAVE(write_on(end[0], 7, &sent));
    else
        LEAVE(sendfile_on(end[0], file, &sent));
    if (closes) { /* with the buffers full: what was taken still arrives, and the end of the stream */
        SYS(close(end[0]));
        end[0] = -1;
    }
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    SYS(-pthread_sigmask(SIG_BLOCK, &alarms, NULL));
    static pthread_t writer;
    if (!closes)
        writer = thread_start(write_more, &end[0]);
    check_arrivals(end[1], sent, closes ? 0 : MORE);
    if (!closes)
        CHECK(pthread_join(writer, NULL) == 0, "pthread_join");
    SYS(-pthread_sigmask(SIG_UNBLOCK, &alarms, NULL));
    SYS(close(end[1]));
}

static void leave_writers(void)
{
    int file = stream_file(7, ROOM);
    for (unsigned i = 0; i < 2 * WRITERS; i++)
        leave_writer(i / 2, i % 2, file);
    SYS(close(file));
}

static void leave_accept_and_connect(void)
{
    uint16_t port;
    int listener = tcp_listen(0, &port), full, late, end[2];
    LEAVE(accept(listener, NULL, NULL));
    struct sockaddr_in a = loopback(port);
    full = tcp_connect(port); /* takes the one place of the queue */
    late = tcp_socket();
    LEAVE(connect(late, (struct sockaddr *)&a, sizeof(a)));
    SYS(close(tcp_accept(listener)));
    SYS(close(full));
    struct pollfd p = {.fd = late, .events = POLLOUT};
    CHECK(poll(&p, 1, -1) == 1, "poll");
    end[0] = late;
    end[1] = tcp_accept(listener);
    exchange(end, 400);
    SYS(close(end[0]));
    expect_eof(end[1]);
    SYS(close(end[1]));
    SYS(close(listener));
}

/* ---- nothing is left behind: memory ---- */

static long resident_kib(void)
{
    char line[200];
    long kib = -1;
    FILE *f = fopen("/proc/self/status", "re");
    CHECK(f, "/proc/self/status: %s", strerror(errno));
    while (fgets(line, sizeof(line), f))
        if (sscanf(line, "VmRSS: %ld", &kib) == 1)
            break;
    fclose(f);
    return kib;
}

static void leave_many(void)
{
    uint16_t port;
    int listener = tcp_listen(1, &port);
    long before = 0;
    for (volatile int i = 0; i < NEW_CONNECTIONS; i++) {
        int end[2];
        if (i == 50)
            before = resident_kib();
        end[0] = tcp_connect(port);
        end[1] = tcp_accept(listener);
        stream_send(end[0], 1, 0, 10);
        stream_recv(end[1], 1, 0, 10);
        LEAVE(read(end[i % 2], buffer, 1));
        SYS(close(end[0]));
        expect_eof(end[1]);
        SYS(close(end[1]));
    }
    long grown = resident_kib() - before;
    CHECK(grown < 600, "%d connections left %ld KiB behind", NEW_CONNECTIONS - 50, grown);
    SYS(close(listener));
}

static void on_quick(int number)
{
    (void)number;
    if (armed)
        siglongjmp(target, 1);
}

/* Out of every place of the calls, not of the blocked one alone; the bytes of the stream count up, and one whose write
 * was left may come or not. */
static void *count_up(void *arg)
{
    int fd = *(int *)arg;
    uint8_t got[100], next = 0;
    ssize_t n;
    while ((n = SYS(read(fd, got, sizeof(got)))) > 0)
        for (ssize_t i = 0; i < n; i++) {
            CHECK(got[i] == next || got[i] == (uint8_t)(next - 1), "byte %u where %u was to come", got[i], next);
            next = (uint8_t)(got[i] + 1);
        }
    return NULL;
}

static void leave_anywhere(void)
{
    int end[2];
    sigset_t alarms;
    struct rng rng = {7};
    volatile uint8_t next = 0;
    handle_alarm(on_quick, 0);
    quick_pair(end);
    set_option(end[0], SOL_SOCKET, SO_SNDBUF, 1);
    set_option(end[1], SOL_SOCKET, SO_RCVBUF, 4000);
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    SYS(-pthread_sigmask(SIG_BLOCK, &alarms, NULL));
    pthread_t reader = thread_start(count_up, &end[1]);
    SYS(-pthread_sigmask(SIG_UNBLOCK, &alarms, NULL));
    for (volatile int jumps = 0; jumps < QUICK_JUMPS; jumps++) {
        if (sigsetjmp(target, 1) == 0) {
            armed = 1;
            set_timer((long)rng_range(&rng, 1, 300), 0);
            for (;; next = (uint8_t)(next + 1)) {
                uint8_t c = next;
                ssize_t n = write(end[0], &c, 1);
                CHECK(n == 1 || (n < 0 && errno == EINTR), "write gave %zd: %s", n, strerror(errno));
                if (n != 1)
                    break;
            }
        }
        armed = 0;
        progress();
    }
    set_timer(0, 0);
    SYS(close(end[0]));
    CHECK(pthread_join(reader, NULL) == 0, "pthread_join");
    SYS(close(end[1]));
}

int main(void)
{
    watchdog_start();
    static const int flags[] = {SA_RESTART, 0, SA_ONSTACK | SA_NODEFER};
    stack_t alternate = {.ss_sp = malloc(ALTSTACK), .ss_size = ALTSTACK};
    SYS(sigaltstack(&alternate, NULL));
    for (unsigned i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        handle_alarm(on_tick, flags[i]);
        leave_readers();
        leave_writers();
        leave_accept_and_connect();
    }
    leave_many();
    leave_anywhere();
    return 0;
}
