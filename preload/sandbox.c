/* seccomp: before a filter goes in, it is asked what it will forbid us (filter.h); then everything is done that will
 * not be possible afterwards, and io.c, stream.c and src/ do without the rest. */
#define LOG_CATEGORY LOG_CATEGORY_PROGRAM

#include "sandbox.h"

#include "dane.h"
#include "filter.h"
#include "io.h"
#include "state.h"
#include "stream.h"

#include "sys.h"

#include <errno.h>
#include <linux/close_range.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

struct sandbox forbidden;
static struct sandbox before; /* to come back to if the filter is not installed */
static bool installed_one;    /* a filter is in force */
static bool connections;      /* there were some when the filter came */

#define ANY 3 /* a descriptor, or an address: filters can say nothing sensible of it */
#define CALL(what, call, ...)                                                                                          \
    {                                                                                                                  \
        offsetof(struct sandbox, what), SYS_##call,                                                                    \
        {                                                                                                              \
            __VA_ARGS__                                                                                                \
        }                                                                                                              \
    }

enum { THREAD_FLAGS = 0x3d0f00 }; /* what glibc's pthread_create asks clone for */

/* The system calls of the library, and the flag that says that one of them is not allowed. */
static const struct {
    size_t flag;
    long number;
    uint64_t args[6];
} calls[] = {
    CALL(receive, recvfrom, ANY, ANY, 1, MSG_DONTWAIT),
    CALL(receive, recvfrom, ANY, ANY, 1, MSG_DONTWAIT | MSG_PEEK),
    CALL(receive, recvfrom, ANY, ANY, 1, MSG_PEEK),
    CALL(receive, recvmsg, ANY, ANY, MSG_DONTWAIT),
    CALL(send, sendto, ANY, ANY, 1, MSG_DONTWAIT | MSG_NOSIGNAL),
    CALL(send, sendto, ANY, ANY, 1, MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE),
    CALL(send, sendto, ANY, ANY, 1, MSG_NOSIGNAL | MSG_MORE),
    CALL(send, sendmsg, ANY, ANY, MSG_DONTWAIT | MSG_NOSIGNAL),
    CALL(ppoll, ppoll, ANY, 1, ANY, 0),
    CALL(control, fcntl, ANY, F_GETFL),
    CALL(control, fcntl, ANY, F_GETFD),
    CALL(control, fcntl, ANY, F_DUPFD_CLOEXEC, ANY),
    CALL(control, fcntl, ANY, F_SETLK, ANY),
    CALL(control, fcntl, ANY, F_GETLK, ANY),
    CALL(options, getsockopt, ANY, SOL_SOCKET, SO_RCVTIMEO, ANY, ANY),
    CALL(options, getsockopt, ANY, SOL_SOCKET, SO_PROTOCOL, ANY, ANY),
    CALL(options, getsockopt, ANY, SOL_SOCKET, SO_COOKIE, ANY, ANY),
    CALL(options, getsockopt, ANY, IPPROTO_TCP, TCP_INFO, ANY, ANY),
    CALL(options, setsockopt, ANY, SOL_SOCKET, SO_RCVLOWAT, ANY, sizeof(int)),
    CALL(options, setsockopt, ANY, IPPROTO_TCP, TCP_NODELAY, ANY, sizeof(int)),
    CALL(options, getsockname, ANY, ANY, ANY),
    CALL(options, getpeername, ANY, ANY, ANY),
    CALL(queues, ioctl, ANY, SIOCINQ, ANY),
    CALL(queues, ioctl, ANY, SIOCOUTQ, ANY),
    CALL(robust, gettid, 0),
    CALL(robust, get_robust_list, 0, ANY, ANY),
    CALL(threads, clone, THREAD_FLAGS, ANY, ANY, ANY, ANY),
    CALL(threads, mmap, 0, ANY, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, (uint64_t)-1),
    CALL(threads, mprotect, ANY, ANY, PROT_READ | PROT_WRITE),
    CALL(threads, munmap, ANY, ANY),
    CALL(threads, madvise, ANY, ANY, MADV_DONTNEED),
    CALL(threads, set_robust_list, ANY, ANY),
    CALL(threads, rseq, ANY, ANY, 0, ANY),
    CALL(threads, eventfd2, 0, ANY),
    CALL(threads, rt_sigprocmask, SIG_BLOCK, ANY, ANY, 8),
    CALL(threads, exit, 0),
    CALL(trim, brk, ANY),
    CALL(raise, getpid, 0),
    CALL(raise, gettid, 0),
    CALL(raise, tgkill, ANY, ANY, SIGPIPE),
    CALL(defer, getpid, 0),
    CALL(defer, gettid, 0),
    CALL(defer, rt_tgsigqueueinfo, ANY, ANY, SIGALRM, ANY),
    CALL(defer, rt_sigreturn, 0),
    CALL(self, getpid, 0),
    CALL(look, newfstatat, ANY, ANY, ANY, AT_EMPTY_PATH),
    CALL(files, newfstatat, ANY, ANY, ANY, 0),
    CALL(files, newfstatat, ANY, ANY, ANY, AT_EMPTY_PATH),
    CALL(files, openat, (uint64_t)AT_FDCWD, ANY, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY),
    CALL(files, getdents64, ANY, ANY, ANY),
    CALL(files, close, ANY),
    CALL(shut, shutdown, ANY, SHUT_WR),
    CALL(shut, shutdown, ANY, SHUT_RD),
    CALL(stack, sched_getaffinity, ANY, ANY, ANY),
    CALL(stack, prlimit64, 0, RLIMIT_STACK, 0, ANY),
    CALL(stack, getpid, 0),
    CALL(stack, gettid, 0),
    CALL(stack, mmap, 0, ANY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1),
    CALL(stack, munmap, ANY, ANY),
    CALL(stack, rt_sigprocmask, SIG_SETMASK, ANY, ANY, 8),
    CALL(registry, pread64, ANY, ANY, ANY, ANY),
    CALL(registry, pwrite64, ANY, ANY, ANY, ANY),
    CALL(registry, prlimit64, 0, RLIMIT_FSIZE, 0, ANY),
    CALL(registry, fcntl, ANY, F_SETLK, ANY),
    CALL(registry, getpid, 0),
    CALL(registry, sched_yield, 0),
    CALL(registry, clock_nanosleep, CLOCK_MONOTONIC, 0, ANY, 0),
    CALL(lookup, clone, CLONE_VM | CLONE_FILES, ANY, ANY, ANY, ANY),
    CALL(lookup, mmap, 0, ANY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1),
    CALL(lookup, close_range, 0, ~0U, CLOSE_RANGE_UNSHARE),
    CALL(lookup, getrandom, ANY, 2, 0),
    CALL(lookup, prctl, PR_SET_NAME, ANY),
    CALL(lookup, clock_gettime, CLOCK_MONOTONIC, ANY),
    CALL(lookup, socket, AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
    CALL(lookup, socket, AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
    CALL(lookup, connect, ANY, ANY, ANY),
    CALL(lookup, sendto, ANY, ANY, ANY, MSG_NOSIGNAL),
    CALL(lookup, recvfrom, ANY, ANY, ANY, 0),
    CALL(lookup, ppoll, ANY, 1, ANY, 0),
    CALL(lookup, rt_sigprocmask, SIG_SETMASK, ANY, ANY, 8),
    CALL(lookup, kill, ANY, SIGKILL),
    CALL(lookup, wait4, ANY, 0, ANY, 0),
    CALL(lookup, exit, 0),
    CALL(bare, read, ANY, ANY, 1),
    CALL(bare, write, ANY, ANY, 1),
    CALL(bare, futex, ANY, 0, ANY, ANY),
};

static bool allows(const struct sock_fprog *filter, long number, uint64_t a, uint64_t b)
{
    const uint64_t args[6] = {a, b};
    return filter && filter_allows(filter, number, args);
}

static struct sandbox judge(const struct sock_fprog *filter)
{
    struct sandbox s = forbidden;
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
        if (!filter || !filter_allows(filter, calls[i].number, calls[i].args))
            *((bool *)&s + calls[i].flag) = true;
#ifdef SYS_poll
    s.bare |= s.ppoll && !allows(filter, SYS_poll, ANY, 1);
#else
    s.bare |= s.ppoll;
#endif
    s.bare |= s.defer && !allows(filter, SYS_rt_sigprocmask, SIG_SETMASK, ANY);
    if (s.bare)
        s.defer = false; /* no call of the library is worth blocking signals for */
    bool comes = (allows(filter, SYS_socket, AF_INET, SOCK_STREAM) && allows(filter, SYS_connect, ANY, ANY)) ||
                 allows(filter, SYS_accept, ANY, ANY) || allows(filter, SYS_accept4, ANY, ANY) ||
                 allows(filter, SYS_recvmsg, ANY, ANY);
    s.no_sockets |= !comes;
    return s;
}

int sandbox_refuses(const char *call)
{
    log_event(LOG_LEVEL_ERROR,
              "%s refused: this program's sandbox forbids getsockopt or setsockopt, without which a "
              "connection cannot be protected",
              call);
    return EPERM;
}

void sandbox_begin(bool needs_files, bool alone)
{
    if (!policy || thread.in_vfork_child)
        return;
    int saved = errno;
    if (needs_files)
        core_load_all();
    if (alone)
        helper_pause();
    dane_interrupt();
    errno = saved;
}

void sandbox_end(bool alone)
{
    if (!policy || thread.in_vfork_child || !alone)
        return;
    int saved = errno;
    helper_resume();
    errno = saved;
}

/* Nothing can be asked about a descriptor later. */
static void settle_numbers(void)
{
    for (unsigned fd = 0; fd < table_high; fd++) {
        if (table_word((int)fd) == WORD_UNKNOWN)
            classify_unknown((int)fd);
        if (table_word((int)fd) >= WORD_FIRST_POINTER) {
            struct desc *d = table_find((int)fd);
            if (d && !desc_special(d))
                stream_touch(d, (int)fd);
        }
    }
}

static void get_ready(struct desc *d, void *arg)
{
    int fd = desc_any_number(d);
    (void)arg;
    connections = true;
    if (fd < 0 || !desc_enter(d, fd))
        return;
    stream_note_modes(d, fd);
    restore_nagle(fd, d);
    restore_cork(fd, d);
    core->conn_warm(d->conn);
    desc_leave(d);
}

static void complain(const struct sock_fprog *filter)
{
    log_event(
        LOG_LEVEL_ERROR,
        "this program enters a sandbox (%s) that forbids read, write, poll, futex or rt_sigprocmask: its protected "
        "connections fail from here on",
        filter ? "seccomp filter" : "seccomp strict mode");
}

static void tell_core(const struct sandbox *s, bool inside)
{
    core->core_sandbox(&(struct core_sandbox){.io = io_transport_under(s),
                                              .no_file_locks = s->control,
                                              .no_robust = s->robust,
                                              .no_files = s->files,
                                              .no_registry = s->registry,
                                              .inside = inside});
}

void sandbox_filter_begin(const struct sock_fprog *filter)
{
    if (!policy || thread.in_vfork_child)
        return;
    int saved = errno;
    before = forbidden;
    struct sandbox next = judge(filter);
    connections = false;
    settle_numbers();
    if (!next.no_sockets)
        core_load_all();
    if (core)
        helper_finish_handshakes();
    if (next.threads)
        helper_finish_orphans();
    helper_pause();
    dane_interrupt();
    if (core && !next.no_sockets)
        core->status_prepare();
    if (core)
        desc_each(get_ready, NULL);
    if (next.bare && connections)
        complain(filter);
    logsink_before_filter(next.look || next.self);
    if (core)
        tell_core(&next, true);
    forbidden = next;
    errno = saved;
}

static void refuse(struct desc *d)
{
    for (unsigned fd = 0; fd < table_high; fd++) {
        uintptr_t word = (uintptr_t)d;
        atomic_compare_exchange_strong(table_at(fd), &word, WORD_REFUSED);
    }
}

static void refuse_one(struct desc *d, void *arg)
{
    (void)arg;
    refuse(d);
}

void sandbox_filter_end(bool installed)
{
    if (!policy || thread.in_vfork_child)
        return;
    int saved = errno;
    if (!installed) {
        forbidden = before;
        logsink_no_filter();
        if (core)
            tell_core(&before, installed_one);
    }
    installed_one |= installed;
    if (forbidden.bare && core)
        desc_each(refuse_one, NULL);
    if (forbidden.receive)
        fork_tell_sandboxed();
    helper_resume();
    errno = saved;
}
