/* signal_io [handler|storm [BYTES US]]: signal handlers that write to and read from the socket which the main program
 * is using, and a storm of SIGALRM under SA_RESTART while blocking transfers run: read, write and close are
 * async-signal-safe. */
#include "common.h"

enum { LINE = 32, LINES = 3000 };

/* ---- lines: whole ones from the main program ('m') and from the handler ('h') on one socket ---- */

static int line_fd;
static volatile sig_atomic_t handler_lines, handler_failed;

static void line_make(char line[LINE], char who, unsigned number)
{
    memset(line, who, LINE);
    for (int i = 0; i < 8; i++)
        line[1 + i] = "0123456789abcdef"[number >> (28 - 4 * i) & 15];
    line[LINE - 1] = '\n';
}

static void on_write_signal(int number)
{
    int saved = errno;
    char line[LINE];
    (void)number;
    line_make(line, 'h', (unsigned)handler_lines);
    if (write(line_fd, line, LINE) == LINE)
        handler_lines = handler_lines + 1;
    else
        handler_failed = errno;
    errno = saved;
}

/* The peer of the lines: each has to be whole and the next of its writer; answers nothing. */
static void line_reader(int fd, int counts)
{
    unsigned next[2] = {0, 0};
    char line[LINE], want[LINE];
    while (read_full(fd, line, LINE) == LINE) {
        bool handler = line[0] == 'h';
        line_make(want, handler ? 'h' : 'm', next[handler]++);
        CHECK(memcmp(line, want, LINE) == 0, "a torn line or one out of order: %.31s instead of %.31s", line, want);
    }
    SYS(write(counts, next, sizeof(next)));
}

static void every(int number, void (*handler)(int), long period_us)
{
    struct sigaction act = {.sa_handler = handler, .sa_flags = SA_RESTART};
    struct itimerval period = {.it_value.tv_usec = period_us, .it_interval.tv_usec = period_us};
    SYS(sigaction(number, &act, NULL));
    SYS(setitimer(ITIMER_REAL, &period, NULL));
}

static void storm_ends(void)
{
    struct itimerval never = {0};
    SYS(setitimer(ITIMER_REAL, &never, NULL));
}

static void handler_writes(void)
{
    uint16_t port;
    int counts[2];
    unsigned got[2];
    int listener = tcp_listen(1, &port);
    SYS(pipe2(counts, O_CLOEXEC));
    pid_t pid = fork_child();
    if (pid == 0) {
        line_reader(tcp_accept(listener), counts[1]);
        _exit(0);
    }
    line_fd = tcp_connect(port);
    every(SIGALRM, on_write_signal, 200);
    unsigned sent = 0;
    for (; sent < LINES || handler_lines < 50; sent++) {
        char line[LINE];
        line_make(line, 'm', sent);
        ssize_t n = write(line_fd, line, LINE);
        CHECK(n == LINE, "write of a line gave %zd", n);
        CHECK(!handler_failed, "write in the handler: %s", strerror(handler_failed));
        progress();
    }
    storm_ends();
    SYS(close(line_fd));
    CHECK(read(counts[0], got, sizeof(got)) == sizeof(got), "the reader told nothing");
    CHECK(got[0] == sent && got[1] == (unsigned)handler_lines, "%u and %u lines came of %u and %d", got[0], got[1],
          sent, (int)handler_lines);
    reap(pid, "the reader of the lines");
    SYS(close(listener));
}

/* ---- the handler reads what it finds, the main program reads as well: every byte comes to one of them ---- */

static int shared_fd;
static atomic_uint_fast64_t handler_bytes, handler_sum;

static void on_read_signal(int number)
{
    int saved = errno;
    uint8_t buffer[100];
    (void)number;
    ssize_t n = recv(shared_fd, buffer, sizeof(buffer), MSG_DONTWAIT);
    uint64_t sum = 0;
    for (ssize_t i = 0; i < n; i++)
        sum += buffer[i];
    if (n > 0) {
        atomic_fetch_add(&handler_bytes, (uint64_t)n);
        atomic_fetch_add(&handler_sum, sum);
    }
    errno = saved;
}

static uint64_t stream_sum(uint64_t seed, size_t len)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < len; i++)
        sum += stream_byte(seed, i);
    return sum;
}

static void handler_reads(void)
{
    uint16_t port;
    uint64_t bytes = 0, sum = 0;
    uint8_t buffer[3000];
    ssize_t n;
    int listener = tcp_listen(1, &port);
    pid_t pid = fork_child();
    if (pid == 0) {
        int fd = tcp_connect(port);
        stream_send(fd, 9, 0, MIB);
        SYS(close(fd));
        _exit(0);
    }
    shared_fd = tcp_accept(listener);
    every(SIGALRM, on_read_signal, 150);
    while ((n = SYS(read(shared_fd, buffer, sizeof(buffer)))) > 0) {
        for (ssize_t i = 0; i < n; i++)
            sum += buffer[i];
        bytes += (uint64_t)n;
        progress();
    }
    storm_ends();
    CHECK(bytes + handler_bytes == MIB, "%llu bytes by main and %llu by the handler", (unsigned long long)bytes,
          (unsigned long long)handler_bytes);
    CHECK(sum + handler_sum == stream_sum(9, MIB), "other bytes came than were sent");
    reap(pid, "the sender");
    SYS(close(shared_fd));
    SYS(close(listener));
}

/* ---- storm ---- */

static volatile sig_atomic_t storms;
static uint64_t storm_amount = 8 * MIB;
static long storm_us = 300;

static void on_storm(int number)
{
    (void)number;
    storms = storms + 1;
}

/* Blocking calls under SA_RESTART: a transfer may come out short, never with EINTR. */
static void storm_end(int fd, bool writes)
{
    static uint8_t buffer[100000];
    every(SIGALRM, on_storm, storm_us);
    for (uint64_t at = 0; at < storm_amount;) {
        size_t n = storm_amount - at < sizeof(buffer) ? (size_t)(storm_amount - at) : sizeof(buffer);
        if (writes)
            stream_fill(3, at, buffer, n);
        ssize_t moved = writes ? write(fd, buffer, n) : read(fd, buffer, n);
        CHECK(moved > 0, "%s under SA_RESTART: %s", writes ? "write" : "read", moved < 0 ? strerror(errno) : "EOF");
        if (!writes)
            stream_check(3, at, buffer, (size_t)moved);
        at += (uint64_t)moved;
        progress();
    }
    storm_ends();
    CHECK(storms > 0, "no signal came");
}

static void storm(void)
{
    uint16_t port;
    int listener = tcp_listen(1, &port);
    pid_t pid = fork_child();
    if (pid == 0) {
        int fd = tcp_connect(port);
        storm_end(fd, true);
        SYS(close(fd));
        _exit(0);
    }
    int fd = tcp_accept(listener);
    storm_end(fd, false);
    expect_eof(fd);
    reap(pid, "the sender");
    SYS(close(fd));
    SYS(close(listener));
}

int main(int argc, char **argv)
{
    watchdog_start();
    if (argc == 4) {
        storm_amount = strtoull(argv[2], NULL, 10);
        storm_us = strtol(argv[3], NULL, 10);
    }
    if (argc > 1 && strcmp(argv[1], "storm") == 0)
        storm();
    else {
        handler_writes();
        handler_reads();
    }
    return 0;
}
