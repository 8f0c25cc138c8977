/* A program that uses numbers nobody else should have: it closes, copies over and marks all of them, while connections
 * live, close and open. Whatever a library keeps must get out of the way. */
#include "calls.h"

#include <linux/close_range.h>
#include <sched.h>

#include <sys/stat.h>
#include <sys/syscall.h>

enum { TOP = 1024 };

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* What the program has itself opened: everything that it can see open. */
static void note(bool mine[TOP])
{
    for (int fd = 0; fd < TOP; fd++)
        mine[fd] = is_open(fd);
}

static void closing_all(const bool mine[TOP])
{
    for (int fd = 0; fd < 100000; fd++)
        if (fd >= TOP || !mine[fd])
            FAILS(close(fd), EBADF);
}

static void copying_over_all(const bool mine[TOP], int file)
{
    FAILS(dup2(999999, TOP - 1), EBADF);
    for (int fd = 0; fd < TOP; fd++)
        if (!mine[fd])
            GIVES(dup2(file, fd), fd);
}

static void closing_copies(const bool mine[TOP], bool by_range)
{
    if (by_range) {
        for (int fd = 0, from = 0; fd <= TOP; fd++) {
            if (fd < TOP && !mine[fd])
                continue;
            if (from < fd)
                SYS(close_range((unsigned)from, (unsigned)fd - 1, 0));
            from = fd + 1;
        }
        return;
    }
    for (int fd = 0; fd < TOP; fd++)
        if (!mine[fd])
            SYS(close(fd));
}

static void talk(int a, int b)
{
    write_all(a, "there", 5);
    expect_text(b, "there");
    write_all(b, "back", 4);
    expect_text(a, "back");
}

/* Closed with more under way than the other end has taken. */
static int closed_too_early(void)
{
    int end[2];
    static char much[200000];
    tcp_pair(end);
    set_option(end[0], SOL_SOCKET, SO_SNDBUF, 1 << 20);
    stream_fill(9, 0, much, sizeof(much));
    talk(end[0], end[1]);
    write_all(end[0], much, sizeof(much));
    SYS(close(end[0]));
    return end[1];
}

static void unshared(void)
{
    int copy = (int)SYS(dup(0));
    FAILS(close_range((unsigned)copy, (unsigned)copy, 1 << 8), EINVAL);
    GIVES(close_range((unsigned)copy, (unsigned)copy, CLOSE_RANGE_UNSHARE), 0);
    FAILS(close(copy), EBADF);
    copy = (int)SYS(dup(0));
    GIVES(syscall(SYS_close_range, copy, copy, CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC), 0);
    GIVES(SYS(fcntl(copy, F_GETFD)), FD_CLOEXEC);
    SYS(close(copy));
    GIVES(unshare(CLONE_FILES), 0);
}

int main(int argc, char **argv)
{
    bool mine[TOP];
    int end[2], late = closed_too_early();
    struct stat s;
    CHECK(argc == 2, "hidden FILE");
    int file = (int)SYS(open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600));
    watchdog_start();
    tcp_pair(end);
    unshared();
    note(mine);
    for (int round = 0; round < 2; round++) {
        closing_all(mine);
        talk(end[0], end[1]);
        copying_over_all(mine, file);
        talk(end[0], end[1]);
        closing_copies(mine, round == 1);
        talk(end[0], end[1]);
        int more[2];
        tcp_pair(more); /* a new handshake, with what has moved */
        talk(more[0], more[1]);
        SYS(close(more[0]));
        expect_eof(more[1]);
        SYS(close(more[1]));
    }
    stream_recv(late, 9, 0, 200000);
    expect_eof(late);
    SYS(fstat(file, &s));
    CHECK(s.st_size == 0, "%ld bytes were written to a file of the program", (long)s.st_size);
    return 0;
}
