/* splice between connections and pipes, and sendfile: results and errors, full and empty pipes, the end, and streams
 * through relays that wait in every way, with pipes that have a name and those that have none. */
#include "calls.h"

#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

static const char *directory; /* for a pipe with a name; NULL: pipe(2) */

static void make_pipe(int ends[2])
{
    if (!directory) {
        SYS(pipe(ends));
        return;
    }
    char name[300];
    snprintf(name, sizeof(name), "%s/fifo-%d", directory, (int)getpid());
    SYS(mkfifo(name, 0600));
    int both = (int)SYS(open(name, O_RDWR)); /* neither open below waits for the other */
    ends[0] = (int)SYS(open(name, O_RDONLY));
    ends[1] = (int)SYS(open(name, O_WRONLY));
    SYS(close(both));
    SYS(unlink(name));
}

static void status_flags(int fd, int flags)
{
    SYS(fcntl(fd, F_SETFL, flags));
}

static void arguments(int end[2], const int p[2])
{
    off64_t zero = 0;
    FAILS(splice(end[1], &zero, p[1], NULL, 9, 0), EINVAL);
    FAILS(splice(end[1], NULL, p[1], &zero, 9, 0), ESPIPE);
    FAILS(splice(p[0], &zero, end[0], NULL, 9, 0), ESPIPE);
    FAILS(splice(p[0], NULL, end[0], &zero, 9, 0), EINVAL);
    FAILS(splice(end[1], NULL, end[0], NULL, 9, 0), EINVAL);
    FAILS(splice(end[1], NULL, p[0], NULL, 9, 0), EBADF);
    FAILS(splice(p[1], NULL, end[0], NULL, 9, 0), EBADF);
    FAILS(splice(end[1], NULL, p[1], NULL, 9, 0x10), EINVAL);
    FAILS(splice(end[1], NULL, 999, NULL, 9, 0), EBADF);
    FAILS(splice(999, NULL, end[1], NULL, 9, 0), EBADF);
    GIVES(splice(end[1], NULL, p[1], NULL, 0, 0), 0);
    GIVES(splice(p[0], NULL, end[0], NULL, 0, 0), 0);
    struct iovec iov = {"x", 1};
    FAILS(tee(end[1], p[1], 9, 0), EINVAL);
    FAILS(tee(p[0], end[0], 9, 0), EINVAL);
    FAILS(vmsplice(end[0], &iov, 1, 0), EBADF);
    GIVES(tee(end[1], p[1], 0, 0), 0);
    GIVES(vmsplice(end[0], &iov, 0, 0), 0);
    int file = (int)SYS(memfd_create("f", 0));
    SYS(write(file, "content", 7));
    FAILS(copy_file_range(file, &zero, end[0], NULL, 5, 0), EINVAL);
    FAILS(copy_file_range(end[1], NULL, file, NULL, 5, 0), EINVAL);
    SYS(close(file));
}

static void full_and_empty(int end[2], const int p[2])
{
    char waste[65536];
    receive_timeout(end[1], 40); /* SPLICE_F_NONBLOCK is about the pipe alone */
    FAILS(splice(end[1], NULL, p[1], NULL, 9, SPLICE_F_NONBLOCK), EAGAIN);
    receive_timeout(end[1], 0);
    status_flags(end[1], O_NONBLOCK);
    FAILS(splice(end[1], NULL, p[1], NULL, 9, 0), EAGAIN);
    status_flags(end[1], 0);
    FAILS(splice(p[0], NULL, end[0], NULL, 9, SPLICE_F_NONBLOCK), EAGAIN);
    status_flags(p[0], O_NONBLOCK);
    FAILS(splice(p[0], NULL, end[0], NULL, 9, 0), EAGAIN);
    SYS(write(p[1], "123", 3));
    GIVES(splice(p[0], NULL, end[0], NULL, 9, 0), 3);
    expect_text(end[1], "123");
    SYS(write(end[0], "hello", 5));
    await_bytes(end[1], 5);
    GIVES(splice(end[1], NULL, p[1], NULL, 2, 0), 2);
    GIVES(splice(end[1], NULL, p[1], NULL, 9, SPLICE_F_MOVE | SPLICE_F_GIFT), 3);
    expect_text(p[0], "hello");
    status_flags(p[1], O_NONBLOCK);
    while (write(p[1], waste, 4096) > 0)
        ;
    SYS(write(end[0], "later", 5));
    await_bytes(end[1], 5);
    FAILS(splice(end[1], NULL, p[1], NULL, 9, 0), EAGAIN);
    status_flags(p[1], 0);
    FAILS(splice(end[1], NULL, p[1], NULL, 9, SPLICE_F_NONBLOCK), EAGAIN);
    while (read(p[0], waste, sizeof(waste)) > 0)
        ;
    status_flags(p[0], 0);
    GIVES(splice(end[1], NULL, p[1], NULL, 9, 0), 5);
    expect_text(p[0], "later");
}

/* More than the pipe has room for stays in the connection. */
static void more_than_fits(int end[2], const int p[2])
{
    char waste[4096];
    int room = (int)SYS(fcntl(p[1], F_SETPIPE_SZ, 4096));
    stream_send(end[0], 5, 0, 30000);
    await_bytes(end[1], 30000);
    for (uint64_t at = 0; at < 30000;) {
        ssize_t n = SYS(splice(end[1], NULL, p[1], NULL, 30000, 0));
        CHECK(n > 0 && n <= room, "%zd bytes into a pipe of %d", n, room);
        stream_recv(p[0], 5, at, (size_t)n);
        at += (uint64_t)n;
    }
    status_flags(p[0], O_NONBLOCK);
    FAILS(read(p[0], waste, 1), EAGAIN);
    status_flags(p[0], 0);
}

static void ends(int end[2], const int p[2])
{
    int gone[2];
    SYS(pipe(gone));
    SYS(close(gone[1]));
    GIVES(splice(gone[0], NULL, end[0], NULL, 9, 0), 0);
    SYS(close(gone[0]));
    SYS(pipe(gone));
    SYS(close(gone[0]));
    signal(SIGPIPE, SIG_IGN);
    SYS(write(end[0], "x", 1));
    await_bytes(end[1], 1);
    FAILS(splice(end[1], NULL, gone[1], NULL, 9, 0), EPIPE);
    SYS(close(gone[1]));
    expect_text(end[1], "x");
    SYS(write(p[1], "last", 4));
    GIVES(splice(p[0], NULL, end[0], NULL, 4, SPLICE_F_MORE), 4);
    SYS(shutdown(end[0], SHUT_WR));
    await_bytes(end[1], 4);
    GIVES(splice(end[1], NULL, p[1], NULL, 9, 0), 4);
    GIVES(splice(end[1], NULL, p[1], NULL, 9, 0), 0);
    GIVES(splice(end[1], NULL, p[1], NULL, 9, SPLICE_F_NONBLOCK), 0);
    expect_text(p[0], "last");
    SYS(write(p[1], "more", 4));
    FAILS(splice(p[0], NULL, end[0], NULL, 4, 0), EPIPE);
}

static void files(int end[2], const int p[2])
{
    int file = (int)SYS(memfd_create("f", 0));
    off_t at = 0;
    SYS(write(file, "filecontents", 12));
    SYS(lseek(file, 0, SEEK_SET));
    GIVES(sendfile(end[0], file, &at, 4), 4);
    GIVES(at, 4);
    GIVES(sendfile(end[0], file, NULL, 100), 12);
    GIVES(sendfile(end[0], file, NULL, 100), 0);
    expect_text(end[1], "filefilecontents");
    at = -1;
    FAILS(sendfile(end[0], file, &at, 4), EINVAL);
    at = 100;
    GIVES(sendfile(end[0], file, &at, 4), 0);
    GIVES(sendfile(end[0], file, &at, 0), 0);
    FAILS(sendfile(end[0], file, NULL, (size_t)-1), EINVAL);
    FAILS(sendfile(end[0], end[1], NULL, 4), EINVAL);
    FAILS(sendfile(end[0], end[1], &at, 4), ESPIPE);
    FAILS(sendfile(end[0], p[0], NULL, 4), EINVAL);
    FAILS(sendfile(end[0], p[0], &at, 4), ESPIPE);
    FAILS(sendfile(end[0], 999, NULL, 4), EBADF);
    FAILS(sendfile(file, end[1], NULL, 4), EINVAL);
    int folder = (int)SYS(open("/", O_RDONLY | O_DIRECTORY)), zero = (int)SYS(open("/dev/zero", O_RDONLY));
    FAILS(sendfile(end[0], folder, NULL, 4), EINVAL);
    GIVES(sendfile(end[0], zero, NULL, 4), 4);
    SYS(close(folder));
    SYS(close(zero));
    await_bytes(end[1], 4);
    GIVES(sendfile(p[1], end[1], NULL, 9), 4); /* to a pipe it is a splice */
    char zeros[4];
    GIVES(read_full(p[0], zeros, 4), 4);
    SYS(close(file));
}

/* Before the other end is accepted, let alone its handshake over. */
static void early(void)
{
    int p[2];
    uint16_t port;
    int listener = tcp_listen(1, &port), from = tcp_connect(port);
    make_pipe(p);
    SYS(write(p[1], "early", 5));
    GIVES(splice(p[0], NULL, from, NULL, 5, 0), 5);
    int to = tcp_accept(listener);
    expect_text(to, "early");
    int all[] = {p[0], p[1], listener, from, to};
    for (int i = 0; i < 5; i++)
        SYS(close(all[i]));
}

/* ---- a stream through a relay ---- */

enum { LENGTH = 3000000 };

static void *produce(void *fd)
{
    stream_send((int)(intptr_t)fd, 7, 0, LENGTH);
    SYS(shutdown((int)(intptr_t)fd, SHUT_WR));
    return NULL;
}

static void wait_for(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};
    SYS(poll(&p, 1, -1));
    progress();
}

struct relay {
    int from, to;
    bool nonblocking;
    unsigned seed;
};

static void *relay(void *argument)
{
    struct relay *r = argument;
    struct rng rng = {r->seed};
    int p[2];
    make_pipe(p);
    for (;;) {
        size_t ask = rng_range(&rng, 1, 100000);
        ssize_t n = splice(r->from, NULL, p[1], NULL, ask, SPLICE_F_NONBLOCK);
        if (n < 0 && errno == EAGAIN) {
            wait_for(r->from, POLLIN);
            continue;
        }
        CHECK(n >= 0, "splice from a socket: %s", strerror(errno));
        if (n == 0)
            break;
        while (n > 0) {
            ssize_t k = splice(p[0], NULL, r->to, NULL, (size_t)n, n % 2 ? SPLICE_F_MORE : 0);
            if (k < 0 && errno == EAGAIN) {
                wait_for(r->to, POLLOUT);
                continue;
            }
            CHECK(k > 0, "splice to a socket: %s", strerror(errno));
            n -= k;
            progress();
        }
    }
    SYS(shutdown(r->to, SHUT_WR));
    SYS(close(p[0]));
    SYS(close(p[1]));
    return NULL;
}

static void through_relay(bool nonblocking, unsigned seed)
{
    int in[2], out[2];
    tcp_pair(in);
    tcp_pair(out);
    if (seed % 2)
        set_option(out[0], SOL_SOCKET, SO_SNDBUF, 4096);
    if (nonblocking) {
        set_nonblocking(in[1]);
        set_nonblocking(out[0]);
    }
    struct relay r = {in[1], out[0], nonblocking, seed};
    pthread_t producer = thread_start(produce, (void *)(intptr_t)in[0]), between = thread_start(relay, &r);
    stream_recv(out[1], 7, 0, LENGTH);
    expect_eof(out[1]);
    pthread_join(producer, NULL);
    pthread_join(between, NULL);
    for (int i = 0; i < 2; i++) {
        SYS(close(in[i]));
        SYS(close(out[i]));
    }
}

/* ---- several threads take from one connection: each byte goes to one of them ---- */

struct taker {
    int from;
    uint64_t bytes, sum;
};

static void *take(void *argument)
{
    struct taker *t = argument;
    uint8_t buffer[8192];
    int p[2];
    make_pipe(p);
    for (;;) {
        ssize_t n = t->bytes % 2 ? SYS(read(t->from, buffer, 1000)) : SYS(splice(t->from, NULL, p[1], NULL, 8192, 0));
        if (n == 0)
            break;
        if (!(t->bytes % 2))
            CHECK(read_full(p[0], buffer, (size_t)n) == (size_t)n, "the pipe has less than was spliced");
        for (ssize_t i = 0; i < n; i++)
            t->sum += buffer[i];
        t->bytes += (uint64_t)n;
        progress();
    }
    SYS(close(p[0]));
    SYS(close(p[1]));
    return NULL;
}

static void together(void)
{
    int end[2];
    tcp_pair(end);
    struct taker takers[3] = {{.from = end[1]}, {.from = end[1]}, {.from = end[1]}};
    pthread_t threads[3], producer = thread_start(produce, (void *)(intptr_t)end[0]);
    uint64_t bytes = 0, sum = 0, expected = 0;
    for (int i = 0; i < (directory ? 1 : 3); i++)
        threads[i] = thread_start(take, &takers[i]);
    for (int i = 0; i < (directory ? 1 : 3); i++) {
        pthread_join(threads[i], NULL);
        bytes += takers[i].bytes;
        sum += takers[i].sum;
    }
    pthread_join(producer, NULL);
    for (uint64_t at = 0; at < LENGTH; at++)
        expected += stream_byte(7, at);
    CHECK(bytes == LENGTH && sum == expected, "%llu bytes of %d", (unsigned long long)bytes, LENGTH);
    SYS(close(end[0]));
    SYS(close(end[1]));
}

int main(int argc, char **argv)
{
    static void (*const with_pair[])(int end[2], const int p[2]) = {arguments, full_and_empty, more_than_fits, files,
                                                                    ends};
    if (argc > 1)
        directory = argv[1];
    watchdog_start();
    for (unsigned i = 0; i < sizeof(with_pair) / sizeof(with_pair[0]); i++) {
        int end[2], p[2];
        tcp_pair(end);
        make_pipe(p);
        with_pair[i](end, p);
        for (int j = 0; j < 2; j++) {
            SYS(close(end[j]));
            SYS(close(p[j]));
        }
    }
    early();
    for (unsigned seed = 0; seed < 4; seed++)
        through_relay(seed / 2, seed);
    together();
    return 0;
}
