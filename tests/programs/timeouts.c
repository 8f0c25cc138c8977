/* Timeouts, interrupted calls and the signals and errors of ended directions, as socket(7), signal(7) and tcp(7) say.
 */
#include "common.h"

static atomic_int alarms, pipes;

static void on_alarm(int number)
{
    (void)number;
    alarms++;
}

static void on_pipe(int number)
{
    (void)number;
    pipes++;
}

static void handle(int number, void (*handler)(int), int flags)
{
    struct sigaction act = {.sa_handler = handler, .sa_flags = flags};
    SYS(sigaction(number, &act, NULL));
}

static void alarm_every(long first_ms, long every_ms)
{
    struct itimerval t = {.it_value.tv_usec = first_ms * 1000, .it_interval.tv_usec = every_ms * 1000};
    SYS(setitimer(ITIMER_REAL, &t, NULL));
}

/* A connection on which both ends have been heard, so that what follows meets a settled state. */
static void settled_pair(int end[2])
{
    tcp_pair(end);
    stream_send(end[0], 1, 0, 10);
    stream_recv(end[1], 1, 0, 10);
    stream_send(end[1], 2, 0, 10);
    stream_recv(end[0], 2, 0, 10);
}

static void close_pair(int end[2])
{
    SYS(close(end[0]));
    SYS(close(end[1]));
}

static void set_timeout(int fd, int option, long ms)
{
    struct timeval t = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    SYS(setsockopt(fd, SOL_SOCKET, option, &t, sizeof(t)));
    struct timeval back;
    socklen_t len = sizeof(back);
    SYS(getsockopt(fd, SOL_SOCKET, option, &back, &len));
    CHECK(back.tv_sec == t.tv_sec && labs(back.tv_usec - t.tv_usec) <= 10000, "the timeout reads back as %ld.%06ld",
          (long)back.tv_sec, (long)back.tv_usec);
}

static void fill(int fd)
{
    static char zeros[64 * KIB];
    while (send(fd, zeros, sizeof(zeros), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
        progress();
    CHECK(errno == EAGAIN, "filling the socket: %s", strerror(errno));
}

static void receive_timeout(int end[2])
{
    char c;
    set_timeout(end[1], SO_RCVTIMEO, 200);
    double start = now_seconds();
    CHECK(read(end[1], &c, 1) < 0 && errno == EAGAIN, "SO_RCVTIMEO: %s", strerror(errno));
    CHECK(now_seconds() - start >= 0.19, "SO_RCVTIMEO fired after %.3f s", now_seconds() - start);
    stream_send(end[0], 3, 0, 100);
    stream_recv(end[1], 3, 0, 100); /* still usable */
    char part[100];
    stream_send(end[0], 3, 0, 50);
    start = now_seconds();
    ssize_t n = recv(end[1], part, 100, MSG_WAITALL);
    CHECK(n == 50, "MSG_WAITALL with a timeout gave %zd of the 50 bytes that were there", n);
    CHECK(now_seconds() - start >= 0.19, "MSG_WAITALL gave up after %.3f s", now_seconds() - start);
    set_timeout(end[1], SO_RCVTIMEO, 0);
}

static void send_timeout(int end[2])
{
    static char data[64 * KIB];
    fill(end[0]);
    set_timeout(end[0], SO_SNDTIMEO, 200);
    double start;
    ssize_t n;
    do { /* EAGAIN above may leave a little room, and the receiving kernel may take some more */
        start = now_seconds();
        n = send(end[0], data, sizeof(data), MSG_NOSIGNAL);
    } while (n == (ssize_t)sizeof(data));
    CHECK((n < 0 && errno == EAGAIN) || (n > 0 && n < (ssize_t)sizeof(data)), "SO_SNDTIMEO: %zd", n);
    CHECK(now_seconds() - start >= 0.19, "SO_SNDTIMEO fired after %.3f s", now_seconds() - start);
}

static void interrupted_read(int end[2])
{
    char c;
    handle(SIGALRM, on_alarm, 0);
    alarms = 0;
    alarm_every(50, 0);
    CHECK(read(end[1], &c, 1) < 0 && errno == EINTR, "read without SA_RESTART: %s", strerror(errno));
    CHECK(alarms == 1, "%d alarms", alarms);
    stream_send(end[0], 4, 0, 5000);
    stream_recv(end[1], 4, 0, 5000);
}

static void *late_sender(void *fd)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    while (alarms < 3)
        poll(NULL, 0, 1);
    stream_send(*(int *)fd, 5, 0, 1);
    return NULL;
}

static void restarted_read(int end[2])
{
    handle(SIGALRM, on_alarm, SA_RESTART);
    alarms = 0;
    pthread_t sender = thread_start(late_sender, &end[0]);
    alarm_every(20, 20);
    stream_recv(end[1], 5, 0, 1);
    alarm_every(0, 0);
    pthread_join(sender, NULL);
    CHECK(alarms >= 3, "%d alarms before the byte", alarms);
}

/* signal(7): with a timeout set, the call is not restarted even under SA_RESTART. */
static void interrupted_despite_restart(int end[2])
{
    char c;
    handle(SIGALRM, on_alarm, SA_RESTART);
    set_timeout(end[1], SO_RCVTIMEO, 5000);
    alarm_every(50, 0);
    CHECK(read(end[1], &c, 1) < 0 && errno == EINTR, "read with SO_RCVTIMEO and SA_RESTART: %s", strerror(errno));
    set_timeout(end[1], SO_RCVTIMEO, 0);
}

static void interrupted_write(int end[2])
{
    static char data[64 * KIB];
    fill(end[0]);
    handle(SIGALRM, on_alarm, 0);
    alarm_every(50, 50);
    ssize_t n;
    do
        n = send(end[0], data, sizeof(data), MSG_NOSIGNAL);
    while (n == (ssize_t)sizeof(data));
    alarm_every(0, 0);
    CHECK((n < 0 && errno == EINTR) || (n > 0 && n < (ssize_t)sizeof(data)), "write without SA_RESTART: %zd", n);
}

static void dont_wait(int end[2])
{
    char c;
    CHECK(recv(end[1], &c, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN, "MSG_DONTWAIT: %s", strerror(errno));
    errno = 4711;
    stream_send(end[0], 6, 0, 3);
    stream_recv(end[1], 6, 0, 3);
    CHECK(errno == 4711, "successful calls changed errno to %d", errno);
}

/* What becomes of writes when the peer has closed: RST comes after the first, then EPIPE. */
static void broken_pipe(void)
{
    for (int way = 0; way < 3; way++) {
        int end[2];
        settled_pair(end);
        SYS(close(end[1]));
        expect_eof(end[0]);
        handle(SIGPIPE, way == 2 ? SIG_IGN : on_pipe, SA_RESTART);
        pipes = 0;
        ssize_t n;
        while ((n = send(end[0], "x", 1, way == 1 ? MSG_NOSIGNAL : 0)) == 1)
            poll(NULL, 0, 1);
        CHECK(n < 0 && (errno == EPIPE || errno == ECONNRESET), "writing to a closed peer: %s", strerror(errno));
        n = way == 1 ? send(end[0], "x", 1, MSG_NOSIGNAL) : write(end[0], "x", 1);
        CHECK(n < 0 && errno == EPIPE, "the next write: %s", strerror(errno));
        CHECK(way == 0 ? pipes >= 1 : pipes == 0, "way %d: SIGPIPE %d times", way, pipes);
        SYS(close(end[0]));
    }
}

static void after_shutdown(void)
{
    int end[2];
    settled_pair(end);
    handle(SIGPIPE, on_pipe, SA_RESTART);
    pipes = 0;
    SYS(shutdown(end[0], SHUT_WR));
    CHECK(write(end[0], "x", 1) < 0 && errno == EPIPE && pipes == 1, "write after SHUT_WR: %s, SIGPIPE %d times",
          strerror(errno), pipes);
    CHECK(send(end[0], "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE && pipes == 1, "send after SHUT_WR");
    expect_eof(end[1]);
    stream_send(end[1], 7, 0, 50000); /* the other direction goes on */
    stream_recv(end[0], 7, 0, 50000);
    SYS(shutdown(end[1], SHUT_RDWR));
    expect_eof(end[0]);
    close_pair(end);
    settled_pair(end);
    SYS(shutdown(end[0], SHUT_RD));
    expect_eof(end[0]);
    stream_send(end[0], 8, 0, 1000); /* one's own writing half is not touched */
    stream_recv(end[1], 8, 0, 1000);
    close_pair(end);
}

/* Our half has ended, though the kernel is full and the end waits behind what was written. */
static void after_shutdown_of_a_full_socket(int end[2])
{
    static uint8_t piece[20000];
    uint64_t sent = 0, got = 0;
    ssize_t n;
    pipes = 0;
    handle(SIGPIPE, on_pipe, 0);
    set_option(end[0], SOL_SOCKET, SO_SNDBUF, 8 * KIB);
    do {
        stream_fill(9, sent, piece, sizeof(piece));
        n = send(end[0], piece, sizeof(piece), MSG_DONTWAIT);
        sent += n > 0 ? (uint64_t)n : 0;
    } while (n > 0);
    SYS(shutdown(end[0], SHUT_WR));
    pid_t relative = fork_child(); /* who shares the socket is told the same */
    CHECK(write(end[0], "late", 4) < 0 && errno == EPIPE && pipes == 1, "write behind the end of a full socket");
    CHECK(send(end[0], "", 0, MSG_NOSIGNAL) < 0 && errno == EPIPE, "a write of nothing: %s", strerror(errno));
    if (relative == 0)
        _exit(0);
    reap(relative, "the relative");
    while ((n = read(end[1], piece, sizeof(piece))) > 0) {
        stream_check(9, got, piece, (size_t)n);
        got += (uint64_t)n;
        CHECK(send(end[0], "late", 4, MSG_NOSIGNAL) < 0 && errno == EPIPE, "write while the end waits");
    }
    CHECK(n == 0 && got == sent, "%zd behind %llu of %llu bytes", n, (unsigned long long)got, (unsigned long long)sent);
}

static void with_pair(void (*body)(int end[2]))
{
    int end[2];
    settled_pair(end);
    body(end);
    close_pair(end);
    progress();
}

int main(void)
{
    watchdog_start();
    with_pair(receive_timeout);
    with_pair(send_timeout);
    with_pair(interrupted_read);
    with_pair(restarted_read);
    with_pair(interrupted_despite_restart);
    with_pair(interrupted_write);
    with_pair(dont_wait);
    broken_pipe();
    after_shutdown();
    with_pair(after_shutdown_of_a_full_socket);
    return 0;
}
