/* Shared by the test programs: checked calls, loopback sockets, seeded byte streams and a watchdog without which a
 * hang would have no message. Only what libc documents is used: the programs know of no library around them. */
#ifndef PROGRAMS_COMMON_H
#define PROGRAMS_COMMON_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WATCHDOG_SECONDS = 60, WATCHDOG_LOOKS = 3, KIB = 1024, MIB = 1024 * 1024 };

#ifdef __SANITIZE_THREAD__
#include <sys/epoll.h>
/* By a name that ThreadSanitizer does not know: inside of its own epoll_wait it sees no locks. ms: 0, or -1. */
static inline int wait_set(int set, struct epoll_event *events, int most, int ms)
{
    const struct timespec none = {0};
    return epoll_pwait2(set, events, most, ms < 0 ? NULL : &none, NULL);
}
#else
#define wait_set epoll_wait
#endif

/* ---- failure ---- */

__attribute__((noreturn, format(printf, 2, 3), unused)) static void die_at(int error, const char *format, ...)
{
    char text[600];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    fflush(stdout);
    dprintf(STDERR_FILENO, "%s[%d]: %s%s%s\n", program_invocation_short_name, (int)getpid(), text, error ? ": " : "",
            error ? strerror(error) : "");
    _exit(1);
}

#define die(...) die_at(0, __VA_ARGS__)
#define CHECK(condition, ...)                                                                                          \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            die_at(0, __VA_ARGS__);                                                                                    \
    } while (0)

/* A system call that has to succeed; its value. */
#define SYS(call) sys_checked((call), #call, __FILE__, __LINE__)

static inline long sys_checked(long result, const char *call, const char *file, int line)
{
    if (result < 0)
        die_at(errno, "%s:%d: %s", file, line, call);
    return result;
}

/* ---- watchdog: 60 s without progress() ends the process with the state that it was in ---- */

static atomic_uint_fast64_t watchdog_progress;
static atomic_uint_fast64_t watchdog_seen; /* by whatever thread takes the signal */
static atomic_int watchdog_idle;
static atomic_uint watchdog_looks; /* a look interrupts what cannot be restarted: poll and select among others */
static timer_t watchdog_timer;
static void (*watchdog_state)(char *text, size_t room); /* set by a program that can say more */

static inline void progress(void)
{
    atomic_fetch_add_explicit(&watchdog_progress, 1, memory_order_relaxed);
}

static inline void watchdog_arm(void)
{
    struct itimerspec when = {.it_value = {.tv_sec = WATCHDOG_SECONDS / WATCHDOG_LOOKS}};
    timer_settime(watchdog_timer, 0, &when, NULL);
}

__attribute__((unused)) static void watchdog_fire(int signal_number)
{
    (void)signal_number;
    int saved = errno;
    watchdog_looks++;
    uint_fast64_t now = atomic_load_explicit(&watchdog_progress, memory_order_relaxed);
    watchdog_idle = now == watchdog_seen ? watchdog_idle + 1 : 0;
    if (watchdog_idle == WATCHDOG_LOOKS) {
        char state[300] = "";
        if (watchdog_state)
            watchdog_state(state, sizeof(state));
        die("no progress for %d s %s", WATCHDOG_SECONDS, state);
    }
    watchdog_seen = now;
    watchdog_arm();
    errno = saved;
}

/* For each process: timers are not inherited by fork. SIGALRM and SIGUSR1 stay free for the programs. */
static inline void watchdog_start(void)
{
    struct sigaction act = {.sa_handler = watchdog_fire, .sa_flags = SA_RESTART};
    struct sigevent how = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2};
    SYS(sigaction(SIGUSR2, &act, NULL));
    SYS(timer_create(CLOCK_MONOTONIC, &how, &watchdog_timer));
    watchdog_arm();
}

/* ---- processes ---- */

static inline pid_t fork_child(void)
{
    fflush(stdout);
    pid_t pid = (pid_t)SYS(fork());
    if (pid == 0)
        watchdog_start();
    return pid;
}

static inline void reap(pid_t pid, const char *who)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        CHECK(errno == EINTR, "waitpid(%s): %s", who, strerror(errno));
    if (WIFSIGNALED(status))
        die("%s was killed by signal %d", who, WTERMSIG(status));
    CHECK(WEXITSTATUS(status) == 0, "%s exited with status %d", who, WEXITSTATUS(status));
}

/* One byte through a pipe orders two processes: signal_peer on one side, await_peer on the other. */
static inline void signal_peer(int pipe_fd)
{
    SYS(write(pipe_fd, "!", 1));
}

static inline void await_peer(int pipe_fd)
{
    char c;
    ssize_t n;
    while ((n = read(pipe_fd, &c, 1)) < 0 && errno == EINTR)
        ;
    CHECK(n == 1, "the other process has gone");
}

static inline pthread_t thread_start(void *(*body)(void *), void *argument)
{
    pthread_t thread;
    int error = pthread_create(&thread, NULL, body, argument);
    CHECK(error == 0, "pthread_create: %s", strerror(error));
    return thread;
}

static inline double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- sockets ---- */

static inline struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static inline uint16_t local_port(int fd)
{
    struct sockaddr_in a;
    socklen_t len = sizeof(a);
    SYS(getsockname(fd, (struct sockaddr *)&a, &len));
    return ntohs(a.sin_port);
}

static inline int tcp_socket(void)
{
    return (int)SYS(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

/* A listener on a port of the kernel's choice, told on stdout. */
static inline int tcp_listen(int backlog, uint16_t *port)
{
    struct sockaddr_in a = loopback(0);
    int fd = tcp_socket();
    SYS(bind(fd, (struct sockaddr *)&a, sizeof(a)));
    SYS(listen(fd, backlog));
    *port = local_port(fd);
    printf("port %u\n", *port);
    fflush(stdout);
    return fd;
}

static inline int tcp_connect(uint16_t port)
{
    struct sockaddr_in a = loopback(port);
    int fd = tcp_socket();
    SYS(connect(fd, (struct sockaddr *)&a, sizeof(a)));
    return fd;
}

static inline int tcp_accept(int listener)
{
    int fd;
    while ((fd = accept(listener, NULL, NULL)) < 0 && errno == EINTR)
        ;
    return (int)SYS(fd);
}

/* Both ends of one connection in one process: end[0] connected, end[1] accepted. */
static inline void tcp_pair(int end[2])
{
    uint16_t port;
    int listener = tcp_listen(1, &port);
    end[0] = tcp_connect(port);
    end[1] = tcp_accept(listener);
    SYS(close(listener));
}

static inline void set_nonblocking(int fd)
{
    SYS(fcntl(fd, F_SETFL, SYS(fcntl(fd, F_GETFL)) | O_NONBLOCK));
}

static inline void set_option(int fd, int level, int option, int value)
{
    SYS(setsockopt(fd, level, option, &value, sizeof(value)));
}

static inline void write_all(int fd, const void *data, size_t len)
{
    for (const char *p = data; len > 0;) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        CHECK(n >= 0, "write of %zu bytes: %s", len, strerror(errno));
        p += n;
        len -= (size_t)n;
        progress();
    }
}

/* Reads up to len bytes, less only at the end of the stream. */
static inline size_t read_full(int fd, void *data, size_t len)
{
    size_t got = 0;
    while (got < len) {
        ssize_t n = read(fd, (char *)data + got, len - got);
        if (n < 0 && errno == EINTR)
            continue;
        CHECK(n >= 0, "read after %zu of %zu bytes: %s", got, len, strerror(errno));
        if (n == 0)
            break;
        got += (size_t)n;
        progress();
    }
    return got;
}

#define expect_eof(fd) expect_eof_at((fd), __LINE__)

static inline void expect_eof_at(int fd, int line)
{
    char c;
    ssize_t n = read(fd, &c, 1);
    CHECK(n <= 0, "line %d: a byte (0x%02x) where the end of the stream was expected", line, (unsigned char)c);
    CHECK(n == 0, "line %d: the end of the stream was expected, not: %s", line, strerror(errno));
}

/* ---- random numbers and byte streams whose every byte follows from seed and position ---- */

struct rng {
    uint64_t s;
};

static inline uint64_t mix64(uint64_t z) /* splitmix64 */
{
    z += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Uniform enough in [low, high]. */
static inline size_t rng_range(struct rng *r, size_t low, size_t high)
{
    r->s = mix64(r->s);
    return low + (size_t)(r->s % (high - low + 1));
}

static inline uint8_t stream_byte(uint64_t seed, uint64_t at)
{
    return (uint8_t)(mix64(seed * 0x10001 + at / 8) >> at % 8 * 8);
}

static inline void stream_fill(uint64_t seed, uint64_t at, void *out, size_t len)
{
    uint8_t *p = out;
    for (; len > 0 && at % 8 != 0; len--)
        *p++ = stream_byte(seed, at++);
    for (; len >= 8; len -= 8, at += 8, p += 8) {
        uint64_t block = mix64(seed * 0x10001 + at / 8);
        for (unsigned i = 0; i < 8; i++)
            p[i] = (uint8_t)(block >> i * 8);
    }
    for (; len > 0; len--)
        *p++ = stream_byte(seed, at++);
}

static inline void stream_check(uint64_t seed, uint64_t at, const void *data, size_t len)
{
    const uint8_t *p = data;
    uint8_t want[4096];
    for (size_t done = 0; done < len;) {
        size_t n = len - done < sizeof(want) ? len - done : sizeof(want);
        stream_fill(seed, at + done, want, n);
        if (memcmp(want, p + done, n) != 0)
            for (size_t i = 0; i < n; i++)
                CHECK(want[i] == p[done + i], "stream %llu: byte %llu is 0x%02x, not 0x%02x", (unsigned long long)seed,
                      (unsigned long long)(at + done + i), p[done + i], want[i]);
        done += n;
    }
}

/* Blocking transfer of the bytes [at, at + len) of a stream, in pieces that do not divide records evenly. */
static inline void stream_send(int fd, uint64_t seed, uint64_t at, size_t len)
{
    uint8_t buffer[20011];
    for (size_t n; len > 0; at += n, len -= n) {
        n = len < sizeof(buffer) ? len : sizeof(buffer);
        stream_fill(seed, at, buffer, n);
        write_all(fd, buffer, n);
    }
}

static inline void stream_recv(int fd, uint64_t seed, uint64_t at, size_t len)
{
    uint8_t buffer[20011];
    for (size_t n; len > 0; at += n, len -= n) {
        n = len < sizeof(buffer) ? len : sizeof(buffer);
        size_t got = read_full(fd, buffer, n);
        stream_check(seed, at, buffer, got);
        CHECK(got == n, "the stream ended %zu bytes early", len - got);
    }
}

#endif
