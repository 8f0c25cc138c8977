/* pthread_cancel of a thread that is blocked in a call on a connection, or in accept: the thread ends, and the socket
 * goes on working for the others, with no byte lost or doubled. */
#include "common.h"

#include <sys/syscall.h>

enum { ROUNDS = 5 };

struct victim {
    int fd;
    atomic_int tid;
    pthread_t thread;
    atomic_bool passed; /* the call returned instead of being cancelled */
    uint64_t seed;
    atomic_size_t sent; /* by victim_write: position in the stream */
};

static struct victim victim;
static char victim_buffer[5000]; /* not on a stack that cancellation unwinds */

static void *victim_read(void *unused)
{
    (void)unused;
    victim.tid = gettid();
    if (read(victim.fd, victim_buffer, 1) >= 0)
        victim.passed = true;
    return NULL;
}

static void *victim_recv(void *unused)
{
    (void)unused;
    victim.tid = gettid();
    if (recv(victim.fd, victim_buffer, sizeof(victim_buffer), MSG_WAITALL) >= 0)
        victim.passed = true;
    return NULL;
}

static void *victim_poll(void *unused)
{
    static struct pollfd p;
    (void)unused;
    p = (struct pollfd){.fd = victim.fd, .events = POLLIN};
    victim.tid = gettid();
    if (poll(&p, 1, -1) >= 0)
        victim.passed = true;
    return NULL;
}

/* Byte by byte until it blocks, so that a cancelled call has taken nothing. */
static void *victim_write(void *unused)
{
    (void)unused;
    victim.tid = gettid();
    for (;; victim.sent++) {
        victim_buffer[0] = (char)stream_byte(victim.seed, victim.sent);
        if (write(victim.fd, victim_buffer, 1) != 1)
            break;
    }
    victim.passed = true;
    return NULL;
}

static void *victim_accept(void *unused)
{
    (void)unused;
    victim.tid = gettid();
    if (accept(victim.fd, NULL, NULL) >= 0)
        victim.passed = true;
    return NULL;
}

static bool sleeping(int tid)
{
    char path[64], text[200] = "";
    snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof(text) - 1);
    SYS(close(fd));
    const char *name_end = n > 0 ? strrchr(text, ')') : NULL;
    return name_end && name_end[1] == ' ' && name_end[2] == 'S';
}

/* Several looks in a row: a thread may also sleep for a moment on its way into the call. */
static void await_blocked(void)
{
    for (int looks = 0; looks < 10; poll(NULL, 0, 2)) {
        CHECK(!victim.passed, "the call that should block has returned");
        looks = victim.tid && sleeping(victim.tid) ? looks + 1 : 0;
    }
}

static void cancel_in(void *(*body)(void *), int fd, uint64_t seed, size_t sent)
{
    void *result;
    victim.fd = fd;
    victim.tid = 0;
    victim.seed = seed;
    victim.sent = sent;
    victim.thread = thread_start(body, NULL);
    await_blocked();
    CHECK(pthread_cancel(victim.thread) == 0 && pthread_join(victim.thread, &result) == 0, "pthread_cancel");
    CHECK(result == PTHREAD_CANCELED, "the thread was not cancelled");
    progress();
}

static void exchange(int end[2], uint64_t seed)
{
    stream_send(end[0], seed, 0, 30000);
    stream_recv(end[1], seed, 0, 30000);
    stream_send(end[1], seed + 1, 0, 30000);
    stream_recv(end[0], seed + 1, 0, 30000);
}

static void readers(void)
{
    static void *(*const bodies[])(void *) = {victim_read, victim_recv, victim_poll};
    int end[2];
    tcp_pair(end);
    for (unsigned round = 0; round < ROUNDS; round++)
        for (unsigned i = 0; i < 3; i++) {
            cancel_in(bodies[i], end[round % 2], 0, 0);
            exchange(end, 10 * round + i);
        }
    SYS(close(end[0]));
    expect_eof(end[1]);
    SYS(close(end[1]));
}

static size_t fill(int fd, uint64_t seed)
{
    static uint8_t buffer[10000];
    size_t sent = 0;
    ssize_t n;
    do {
        stream_fill(seed, sent, buffer, sizeof(buffer));
        n = send(fd, buffer, sizeof(buffer), MSG_DONTWAIT | MSG_NOSIGNAL);
        sent += n > 0 ? (size_t)n : 0;
    } while (n > 0);
    CHECK(errno == EAGAIN, "filling: %s", strerror(errno));
    return sent;
}

static void writer(void)
{
    int end[2];
    tcp_pair(end);
    exchange(end, 100);
    for (unsigned round = 0; round < ROUNDS; round++) {
        cancel_in(victim_write, end[0], round, fill(end[0], round));
        stream_recv(end[1], round, 0, victim.sent);
        exchange(end, 200 + round);
    }
    SYS(close(end[0]));
    expect_eof(end[1]);
    SYS(close(end[1]));
}

static void acceptor(void)
{
    uint16_t port;
    int listener = tcp_listen(4, &port);
    for (unsigned round = 0; round < ROUNDS; round++) {
        int end[2];
        cancel_in(victim_accept, listener, 0, 0);
        end[0] = tcp_connect(port);
        end[1] = tcp_accept(listener);
        exchange(end, 300 + round);
        SYS(close(end[0]));
        SYS(close(end[1]));
    }
    SYS(close(listener));
}

/* The other side has not been accepted, and says nothing: a protected one is in its handshake. */
static void silence(void)
{
    static const struct timeval long_time = {.tv_sec = 10000};
    uint16_t port;
    int listener = tcp_listen(4, &port), fd = tcp_connect(port);
    cancel_in(victim_read, fd, 0, 0);
    SYS(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &long_time, sizeof(long_time)));
    cancel_in(victim_read, fd, 0, 0);
    cancel_in(victim_poll, fd, 0, 0);
    SYS(close(fd));
    SYS(close(listener));
}

int main(void)
{
    watchdog_start();
    silence();
    readers();
    writer();
    acceptor();
    return 0;
}
