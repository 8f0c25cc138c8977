/* Connections that are closed by bare system calls, which no library sees, and their numbers given to something else at
 * once: what is then written there is what arrives there, byte for byte. */
#include "common.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>

static long bare(long n, long a, long b, long c)
{
    long r;
#if defined(__x86_64__)
    __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = n, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    r = x0;
#endif
    return r;
}

/* Two numbers that were an open connection, with bytes that nobody has read. */
static void make_stale(int numbers[2])
{
    static uint16_t port;
    static int listener;
    if (!port)
        listener = tcp_listen(1, &port);
    numbers[0] = tcp_connect(port);
    numbers[1] = tcp_accept(listener);
    stream_send(numbers[0], 1, 0, 1000);
    stream_recv(numbers[1], 1, 0, 500);
    stream_send(numbers[1], 1, 0, 1000);
    for (int i = 0; i < 2; i++)
        CHECK(bare(SYS_close, numbers[i], 0, 0) == 0, "close by a bare system call");
}

static void expect_numbers(const int got[2], const int stale[2], const char *what)
{
    CHECK((got[0] == stale[0] && got[1] == stale[1]) || (got[0] == stale[1] && got[1] == stale[0]),
          "%s did not get the numbers %d and %d, but %d and %d", what, stale[0], stale[1], got[0], got[1]);
}

/* By libc on one end, by the kernel on the other, in both directions where there are two. */
static void talk(int writer, int reader, const char *what)
{
    char got[10] = "";
    CHECK(write(writer, "hello", 5) == 5, "write to %s: %s", what, strerror(errno));
    CHECK(bare(SYS_read, reader, (long)got, sizeof(got)) == 5 && memcmp(got, "hello", 5) == 0, "%s got: %.10s", what,
          got);
    CHECK(bare(SYS_write, writer, (long)"hallo", 5) == 5, "write to %s", what);
    CHECK(read(reader, got, sizeof(got)) == 5 && memcmp(got, "hallo", 5) == 0, "%s read: %.10s", what, got);
    progress();
}

static void try_socketpair(void)
{
    int stale[2], fd[2];
    make_stale(stale);
    SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fd));
    expect_numbers(fd, stale, "socketpair");
    talk(fd[0], fd[1], "a socket pair");
    talk(fd[1], fd[0], "a socket pair");
    SYS(close(fd[0]));
    SYS(close(fd[1]));
}

static void try_pipe(bool two)
{
    int stale[2], fd[2];
    make_stale(stale);
    SYS(two ? pipe2(fd, O_CLOEXEC) : pipe(fd));
    expect_numbers(fd, stale, "pipe");
    talk(fd[1], fd[0], "a pipe");
    SYS(close(fd[0]));
    SYS(close(fd[1]));
}

/* Accepted from a listener that no policy selects. */
static void try_accept(void)
{
    int stale[2];
    struct sockaddr_un {
        sa_family_t family;
        char path[108];
    } a = {.family = AF_UNIX};
    int listener = (int)SYS(socket(AF_UNIX, SOCK_STREAM, 0)), client = (int)SYS(socket(AF_UNIX, SOCK_STREAM, 0));
    snprintf(a.path + 1, sizeof(a.path) - 1, "stale-%d", (int)getpid()); /* abstract: unix(7) */
    SYS(bind(listener, (struct sockaddr *)&a, sizeof(a)));
    SYS(listen(listener, 1));
    SYS(connect(client, (struct sockaddr *)&a, sizeof(a)));
    make_stale(stale);
    int fd = (int)SYS(accept(listener, NULL, NULL));
    CHECK(fd == stale[0] || fd == stale[1], "accept got %d", fd);
    talk(client, fd, "an accepted socket");
    talk(fd, client, "an accepted socket");
    SYS(close(fd));
    SYS(close(client));
    SYS(close(listener));
}

/* /dev/zero by each function that opens files: its bytes are read, and none of the connection's. */
static void try_files(void)
{
    int (*const opens[])(const char *, int, ...) = {open, open64};
    for (int i = 0; i < 4; i++) {
        int stale[2];
        char got[10] = "untouched";
        make_stale(stale);
        int fd = i < 2    ? opens[i]("/dev/zero", O_RDWR | O_CLOEXEC)
                 : i == 2 ? openat(AT_FDCWD, "/dev/zero", O_RDWR | O_CLOEXEC)
                          : openat64(AT_FDCWD, "/dev/zero", O_RDWR | O_CLOEXEC);
        CHECK(fd == stale[0] || fd == stale[1], "open got %d", fd);
        CHECK(write(fd, "file", 4) == 4, "a file: %s", strerror(errno));
        CHECK(read(fd, got, 10) == 10 && !got[0] && !got[9], "not the file's bytes: %.10s", got);
        SYS(close(fd));
    }
}

static void try_others(void)
{
    int stale[2];
    uint64_t value = 5, got = 0;
    make_stale(stale);
    int fd = (int)SYS(eventfd(0, 0));
    CHECK(fd == stale[0] || fd == stale[1], "eventfd got %d", fd);
    CHECK(write(fd, &value, 8) == 8 && read(fd, &got, 8) == 8 && got == 5, "eventfd: %s", strerror(errno));
    SYS(close(fd));
    make_stale(stale);
    fd = (int)SYS(memfd_create("stale", MFD_CLOEXEC));
    CHECK(fd == stale[0] || fd == stale[1], "memfd_create got %d", fd);
    CHECK(write(fd, "file", 4) == 4 && lseek(fd, 0, SEEK_CUR) == 4, "a file: %s", strerror(errno));
    SYS(close(fd));
    try_files();
}

int main(void)
{
    watchdog_start();
    try_socketpair();
    try_pipe(false);
    try_pipe(true);
    try_accept();
    try_others();
    return 0;
}
