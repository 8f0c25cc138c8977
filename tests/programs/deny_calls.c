/* Runs a command in a seccomp filter from outside, as a service manager would (systemd's SystemCallFilter=): the calls
 * named fail with an error, everything else is allowed.
 *
 * deny_calls ERRNO CALL[,CALL]... COMMAND [ARGUMENTS]... */
#include "common.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define NAMED(call)                                                                                                    \
    {                                                                                                                  \
#call, SYS_##call                                                                                              \
    }

static const struct {
    const char *name;
    int number;
} calls[] = {
    NAMED(getsockopt), NAMED(setsockopt),      NAMED(getsockname),     NAMED(getpeername),
    NAMED(recvfrom),   NAMED(recvmsg),         NAMED(sendto),          NAMED(sendmsg),
    NAMED(ppoll),      NAMED(fcntl),           NAMED(ioctl),           NAMED(futex),
    NAMED(gettid),     NAMED(get_robust_list), NAMED(set_robust_list), NAMED(clone),
    NAMED(clone3),     NAMED(eventfd2),        NAMED(memfd_create),    NAMED(getrandom),
    NAMED(shutdown),   NAMED(rt_sigprocmask),  NAMED(tgkill),          NAMED(newfstatat),
    NAMED(openat),     NAMED(getdents64),      NAMED(madvise),         NAMED(nanosleep),
    NAMED(getpid),     NAMED(prlimit64),       NAMED(clock_nanosleep), NAMED(rt_tgsigqueueinfo),
};

static int number_of(const char *name)
{
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
        if (strcmp(calls[i].name, name) == 0)
            return calls[i].number;
    die("no system call %s here", name);
}

int main(int argc, char **argv)
{
    enum { CALLS_MAX = 40 };
    struct sock_filter code[2 * CALLS_MAX + 2] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    };
    unsigned short len = 1;
    CHECK(argc > 3, "usage: deny_calls ERRNO CALL[,CALL]... COMMAND [ARGUMENTS]...");
    uint32_t answer = SECCOMP_RET_ERRNO | (uint32_t)atoi(argv[1]);
    for (char *list = argv[2], *name; (name = strsep(&list, ","));) {
        CHECK(len < 2 * CALLS_MAX, "too many system calls");
        code[len++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number_of(name), 0, 1);
        code[len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, answer);
    }
    code[len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog filter = {len, code};
    SYS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    SYS(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter));
    execvp(argv[3], argv + 3);
    die("exec of %s: %s", argv[3], strerror(errno));
}
