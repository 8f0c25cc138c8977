/* raw_fork: forks by system call number, by clone, and by _Fork, where libc's fork handlers do not run. The child reads
 * and writes the connection, and exits; the parent goes on with it, and its close is an orderly end. With an argument:
 * clone by its number with a stack for the child is refused. */
#include "common.h"

#include <sched.h>
#include <sys/syscall.h>

static int end[2];

static int child(void *unused)
{
    char word[5];
    (void)unused;
    if (read(end[0], word, 5) != 5 || write(end[0], "child", 5) != 5)
        _exit(1);
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
    }
    if (pid == 0)
        child(NULL);
    return pid;
}

static void expect(const char *text)
{
    char got[8] = "";
    ssize_t n = read(end[1], got, strlen(text));
    CHECK(n == (ssize_t)strlen(text) && memcmp(got, text, (size_t)n) == 0, "expected %s, got %zd bytes %s", text, n,
          got);
}

static void ask_with_stack(void)
{
    static char stack[4096];
    uint64_t args[8] = {0, 0, 0, 0, SIGCHLD, (uint64_t)(uintptr_t)stack, sizeof stack};
    const long top = (long)(uintptr_t)(stack + sizeof stack / 2);
    const long flags[] = {SIGCHLD, CLONE_VM | SIGCHLD, CLONE_VM | CLONE_FILES | SIGCHLD};
    for (int i = 0; i < 3; i++) {
        CHECK(syscall(SYS_clone, flags[i], top, 0L, 0L, 0L) == -1 && errno == EPERM, "clone %ld: %s", flags[i],
              strerror(errno));
        args[0] = (uint64_t)flags[i] & ~(uint64_t)SIGCHLD;
        CHECK(syscall(SYS_clone3, args, sizeof args) == -1 && errno == EPERM, "clone3 %ld: %s", flags[i],
              strerror(errno));
    }
}

int main(int argc, char **argv)
{
    (void)argv;
    watchdog_start();
    if (argc > 1) {
        ask_with_stack();
        return 0;
    }
    for (int way = 0; way < 4; way++) {
        int status = 0;
        tcp_pair(end);
        CHECK(write(end[0], "start", 5) == 5, "write");
        expect("start");
        CHECK(write(end[1], "hello", 5) == 5, "write");
        pid_t pid = (pid_t)SYS(fork_by(way));
        expect("child");
        SYS(waitpid(pid, &status, 0));
        CHECK(status == 0, "the child of way %d ended with status %d", way, status);
        CHECK(write(end[0], "after", 5) == 5, "write");
        expect("after");
        SYS(close(end[0]));
        expect_eof(end[1]);
        SYS(close(end[1]));
        progress();
    }
    return 0;
}
