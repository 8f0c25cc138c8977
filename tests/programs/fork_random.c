/* Parent and child connect behind each kind of fork, and begin with what is random. `fork_random hello` listens without
 * protection, and finds what the library says: the random of a ClientHello, of which the same numbers twice would give
 * keys away. */
#include "common.h"

#include <sched.h>
#include <sys/random.h>
#include <sys/syscall.h>

enum { WAYS = 5, RANDOM = 32, HELLO_RANDOM = 11 /* behind the headers of the record and the message, and a version */ };
static uint16_t port;

static int say(void)
{
    uint8_t words[64];
    int fd = tcp_connect(port);
    CHECK(getrandom(words, sizeof words, 0) == sizeof words, "getrandom");
    (void)!send(fd, words, sizeof words, MSG_NOSIGNAL); /* fails where enough was heard already */
    return fd;
}

static int child(void *unused)
{
    (void)unused;
    say();
    _exit(0);
}

static pid_t fork_by(int way)
{
    static char stack[256 * 1024] __attribute__((aligned(16)));
    pid_t pid = -1;
    switch (way) {
    case 0:
        pid = (pid_t)syscall(SYS_fork);
        break;
    case 1:
        pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
        break;
    case 2:
        return clone(child, stack + sizeof stack, SIGCHLD, NULL);
    case 3:
        pid = _Fork();
        break;
    case 4:
        pid = fork();
        break;
    }
    if (pid == 0)
        child(NULL);
    return pid;
}

static void hear(int listener, size_t from, uint8_t heard[RANDOM])
{
    uint8_t first[64];
    int fd = tcp_accept(listener);
    CHECK(read_full(fd, first, sizeof first) == sizeof first, "the first words do not come");
    memcpy(heard, first + from, RANDOM);
    SYS(close(fd));
}

int main(int argc, char **argv)
{
    uint8_t before[RANDOM], parent[RANDOM], other[RANDOM];
    size_t from = argc > 1 && strcmp(argv[1], "hello") == 0 ? HELLO_RANDOM : 0;
    watchdog_start();
    int listener = tcp_listen(8, &port);
    for (int way = 0; way < WAYS; way++) {
        int fd = say();
        hear(listener, from, before);
        SYS(close(fd));
        pid_t pid = (pid_t)SYS(fork_by(way));
        hear(listener, from, other);
        reap(pid, "the child");
        fd = say();
        hear(listener, from, parent);
        SYS(close(fd));
        CHECK(memcmp(before, parent, RANDOM) != 0, "way %d: the same twice", way);
        CHECK(memcmp(other, parent, RANDOM) != 0, "way %d: parent and child say the same", way);
        progress();
    }
    return 0;
}
