/* Connections that are closed by bare system calls, which no library sees, and their numbers given to something else at
 * once: what is then written there is what arrives there, byte for byte. */
#include "common.h"

#include <dirent.h>
#include <pty.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
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

/* ---- what libc opens by itself: a file whose number the program then uses ---- */

static int by_fopen(void)
{
    return fileno(fopen("/dev/zero", "r+"));
}

static int by_fopen64(void)
{
    return fileno(fopen64("/dev/zero", "r+"));
}

static int by_tmpfile(void)
{
    return fileno(tmpfile());
}

static int by_tmpfile64(void)
{
    return fileno(tmpfile64());
}

#define BY_TEMPLATE(name, suffix, ...)                                                                                 \
    static int by_##name(void)                                                                                         \
    {                                                                                                                  \
        char path[] = P_tmpdir "/stale-XXXXXX" suffix;                                                                 \
        int fd = name(__VA_ARGS__);                                                                                    \
        unlink(path);                                                                                                  \
        return fd;                                                                                                     \
    }

BY_TEMPLATE(mkstemp, "", path)
BY_TEMPLATE(mkstemp64, "", path)
BY_TEMPLATE(mkostemp, "", path, O_CLOEXEC)
BY_TEMPLATE(mkostemp64, "", path, O_CLOEXEC)
BY_TEMPLATE(mkstemps, ".c", path, 2)
BY_TEMPLATE(mkstemps64, ".c", path, 2)
BY_TEMPLATE(mkostemps, ".c", path, 2, O_CLOEXEC)
BY_TEMPLATE(mkostemps64, ".c", path, 2, O_CLOEXEC)

static int by_shm_open(void)
{
    char name[40];
    snprintf(name, sizeof(name), "/stale-%d", (int)getpid());
    int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    shm_unlink(name);
    return fd;
}

static int by_posix_openpt(void)
{
    return posix_openpt(O_RDWR | O_NOCTTY);
}

static void try_what_libc_opens(void)
{
    int (*const opens[])(void) = {by_fopen,     by_fopen64,     by_tmpfile,    by_tmpfile64,    by_mkstemp,
                                  by_mkstemp64, by_mkostemp,    by_mkostemp64, by_mkstemps,     by_mkstemps64,
                                  by_mkostemps, by_mkostemps64, by_shm_open,   by_posix_openpt, getpt};
    for (size_t i = 0; i < sizeof(opens) / sizeof(opens[0]); i++) {
        int stale[2];
        make_stale(stale);
        int fd = (int)SYS(opens[i]());
        CHECK(fd == stale[0] || fd == stale[1], "opening by way %zu got %d", i, fd);
        CHECK(write(fd, "file", 4) == 4, "written to a file opened by way %zu: %s", i, strerror(errno));
        SYS(close(fd));
        progress();
    }
}

/* Descriptors that have nothing to read say so, and not what a connection left over. */
static void expect_nothing(int fd, const int stale[2], int error, const char *what)
{
    char got[200]; /* signalfd takes no less than 128 */
    CHECK(fd == stale[0] || fd == stale[1], "%s got %d", what, fd);
    ssize_t n = read(fd, got, sizeof(got));
    CHECK(n < 0 && errno == error, "read from %s: %zd, %s", what, n, strerror(errno));
}

static void try_what_has_nothing(void)
{
    int stale[2], fd;
    sigset_t none;
    sigemptyset(&none);
    make_stale(stale);
    expect_nothing(fd = signalfd(-1, &none, SFD_NONBLOCK), stale, EAGAIN, "signalfd");
    SYS(close(fd));
    make_stale(stale);
    expect_nothing(fd = inotify_init1(IN_NONBLOCK), stale, EAGAIN, "inotify_init1");
    SYS(close(fd));
    make_stale(stale);
    fd = (int)SYS(inotify_init());
    SYS(fcntl(fd, F_SETFL, O_NONBLOCK));
    expect_nothing(fd, stale, EAGAIN, "inotify_init");
    SYS(close(fd));
    make_stale(stale);
    DIR *dir = opendir("/");
    expect_nothing(dirfd(dir), stale, EISDIR, "opendir");
    closedir(dir);
}

static void try_openpty(void)
{
    int stale[2], fd[2];
    make_stale(stale);
    SYS(openpty(&fd[0], &fd[1], NULL, NULL, NULL));
    expect_numbers(fd, stale, "openpty");
    CHECK(write(fd[1], "hello", 5) == 5, "write to a terminal: %s", strerror(errno));
    char got[10];
    CHECK(read(fd[0], got, 10) == 5 && !memcmp(got, "hello", 5), "a terminal said %.5s", got);
    SYS(close(fd[0]));
    SYS(close(fd[1]));
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
    try_what_libc_opens();
    try_what_has_nothing();
    try_openpty();
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
