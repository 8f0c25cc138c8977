/* libc's own functions, which the hooks stand in front of. Found by dlsym(RTLD_NEXT) in the constructor, or at the
 * first call if another library's constructor comes earlier; without malloc (glibc's dlsym makes none on success). */
#ifndef P2PTLS_REAL_H
#define P2PTLS_REAL_H

#include <aio.h>
#include <dirent.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <syslog.h>
#include <unistd.h>
#include <utmp.h>
#include <wordexp.h>

int capset(cap_user_header_t header, cap_user_data_t data);
/* libc's headers declare these only where they put them in the place of the ones without _chk. */
int __vdprintf_chk(int fd, int flag, const char *format, va_list args);
void __vsyslog_chk(int priority, int flag, const char *format, va_list args);
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);
int __openat64_2(int dir, const char *path, int flags);
int __vasprintf_chk(char **text, int flag, const char *format, va_list args);

/* clang-format would indent each line further, at each run. */
/* clang-format off */
#define REAL_CALLS(X) \
    X(socket) X(connect) X(bind) X(listen) X(accept) X(accept4) X(shutdown) X(getsockopt) X(setsockopt) X(read) X(readv) \
    X(recv) X(recvfrom) X(recvmsg) X(recvmmsg) X(write) X(writev) X(send) X(sendto) X(sendmsg) X(sendmmsg) \
    X(sendfile) X(sendfile64) X(close) X(dup) X(dup2) X(dup3) X(fcntl) X(fcntl64) X(ioctl) X(close_range) \
    X(closefrom) X(poll) X(ppoll) X(select) X(pselect) X(epoll_ctl) X(splice) X(tee) X(vmsplice) X(preadv2) \
    X(pwritev2) X(preadv64v2) X(pwritev64v2) X(aio_read) X(aio_write) X(aio_read64) X(aio_write64) X(aio_suspend) X(aio_cancel) X(login_tty) X(forkpty) X(lio_listio) \
    X(lio_listio64) X(fdopen) X(freopen) X(freopen64) X(vdprintf) X(__vdprintf_chk) X(perror) X(herror) X(openlog) \
    X(__vsyslog_chk) X(psiginfo) \
    X(backtrace_symbols_fd) X(pidfd_getfd) X(_Fork) X(clone) \
    X(chroot) X(setuid) X(seteuid) X(setreuid) X(setresuid) X(setgid) X(setegid) X(setregid) X(setresgid) X(unshare) \
    X(setns) X(capset) X(prctl) X(epoll_wait) X(epoll_pwait) X(epoll_pwait2) X(daemon) X(_exit) X(execve) X(execv) X(execvp) X(execvpe) X(fexecve) X(execveat) X(posix_spawn) \
    X(posix_spawnp) X(wordexp) X(system) X(popen) X(pclose) X(sigaction) X(syscall) \
    X(pthread_setcanceltype) X(longjmp) X(_longjmp) X(siglongjmp) X(sigaltstack) X(socketpair) X(pipe) X(pipe2) X(eventfd) X(epoll_create) \
    X(epoll_create1) X(timerfd_create) X(memfd_create) \
    X(signalfd) X(inotify_init) X(inotify_init1) X(fopen) X(fopen64) X(tmpfile) X(tmpfile64) X(opendir) X(mkstemp) X(mkstemp64) X(mkostemp) \
    X(mkostemp64) X(mkstemps) X(mkstemps64) X(mkostemps) X(mkostemps64) X(shm_open) X(posix_openpt) X(getpt) X(openpty) \
    X(open) X(open64) X(openat) X(openat64) X(creat) X(creat64) X(__open_2) X(__open64_2) X(__openat_2) X(__openat64_2) \
    X(getaddrinfo) X(gai_error) X(gethostbyname) X(gethostbyname2) \
    X(gethostbyname_r) X(gethostbyname2_r) X(gethostent) X(gethostent_r)
/* clang-format on */

struct real {
#define X(name) __typeof__(name) *name;
    REAL_CALLS(X)
#undef X
    bool ready;
};

/* Hidden, or each use would go through the global offset table. */
extern struct real real_table __attribute__((visibility("hidden")));
void real_resolve(void);

/* What the way of an unselected descriptor should not carry along. */
#define SLOW __attribute__((noinline))

static inline struct real *real(void)
{
    if (__builtin_expect(!real_table.ready, 0))
        real_resolve();
    return &real_table;
}

/* The mark of a function that programs find instead of libc's. */
#define HOOK __attribute__((visibility("default")))

/* A second name that libc exports for the same function (__read, __libc_read, ...). */
#define HOOK_ALIAS(name, other)                                                                                        \
    extern __typeof__(name) other __attribute__((copy(name), alias(#name), visibility("default")))

#endif
