/* syscall(2) reaches the kernel without a hook's name on it: socket calls made through it go to the hooks all the same.
 */
#include "memory.h"
#include "state.h"

#include "sys.h"

#include <errno.h>
#include <linux/aio_abi.h>
#include <sys/uio.h>

static long answer(long r)
{
    if (r >= 0 || r < -4095)
        return r;
    errno = (int)-r;
    return -1;
}

/* Calls on one descriptor that have a hook of the same meaning. True: *r is the answer. */
static bool redirect(long n, const long a[6], long *r)
{
    int fd = (int)a[0];
    switch (n) {
    case SYS_read:
        *r = read(fd, (void *)a[1], (size_t)a[2]);
        return true;
    case SYS_write:
        *r = write(fd, (void *)a[1], (size_t)a[2]);
        return true;
    case SYS_readv:
        *r = readv(fd, (void *)a[1], (int)a[2]);
        return true;
    case SYS_writev:
        *r = writev(fd, (void *)a[1], (int)a[2]);
        return true;
    case SYS_recvfrom:
        *r = recvfrom(fd, (void *)a[1], (size_t)a[2], (int)a[3], (void *)a[4], (void *)a[5]);
        return true;
    case SYS_sendto:
        *r = sendto(fd, (void *)a[1], (size_t)a[2], (int)a[3], (void *)a[4], (socklen_t)a[5]);
        return true;
    case SYS_recvmsg:
        *r = recvmsg(fd, (void *)a[1], (int)a[2]);
        return true;
    case SYS_sendmsg:
        *r = sendmsg(fd, (void *)a[1], (int)a[2]);
        return true;
    case SYS_recvmmsg:
        *r = recvmmsg(fd, (void *)a[1], (unsigned)a[2], (int)a[3], (void *)a[4]);
        return true;
    case SYS_sendmmsg:
        *r = sendmmsg(fd, (void *)a[1], (unsigned)a[2], (int)a[3]);
        return true;
    case SYS_sendfile:
        *r = sendfile(fd, (int)a[1], (void *)a[2], (size_t)a[3]);
        return true;
    case SYS_preadv2: /* the offset comes in two halves, the second unused where a register holds it whole */
        *r = preadv2(fd, (void *)a[1], (int)a[2], (off_t)a[3], (int)a[5]);
        return true;
    case SYS_pwritev2:
        *r = pwritev2(fd, (void *)a[1], (int)a[2], (off_t)a[3], (int)a[5]);
        return true;
    case SYS_socket:
        *r = socket(fd, (int)a[1], (int)a[2]);
        return true;
    case SYS_connect:
        *r = connect(fd, (void *)a[1], (socklen_t)a[2]);
        return true;
    case SYS_bind:
        *r = bind(fd, (void *)a[1], (socklen_t)a[2]);
        return true;
    case SYS_listen:
        *r = listen(fd, (int)a[1]);
        return true;
    case SYS_accept:
        *r = accept(fd, (void *)a[1], (void *)a[2]);
        return true;
    case SYS_accept4:
        *r = accept4(fd, (void *)a[1], (void *)a[2], (int)a[3]);
        return true;
    case SYS_shutdown:
        *r = shutdown(fd, (int)a[1]);
        return true;
    case SYS_setsockopt:
        *r = setsockopt(fd, (int)a[1], (int)a[2], (void *)a[3], (socklen_t)a[4]);
        return true;
    case SYS_getsockopt:
        *r = getsockopt(fd, (int)a[1], (int)a[2], (void *)a[3], (void *)a[4]);
        return true;
    case SYS_close:
        *r = close(fd);
        return true;
    case SYS_close_range:
        *r = close_range((unsigned)a[0], (unsigned)a[1], (int)a[2]);
        return true;
    case SYS_dup:
        *r = dup(fd);
        return true;
    case SYS_dup3:
        *r = dup3(fd, (int)a[1], (int)a[2]);
        return true;
    case SYS_fcntl:
        *r = fcntl(fd, (int)a[1], (void *)a[2]);
        return true;
    case SYS_ioctl:
        *r = ioctl(fd, (unsigned long)a[1], (void *)a[2]);
        return true;
    case SYS_epoll_ctl:
        *r = epoll_ctl(fd, (int)a[1], (int)a[2], (void *)a[3]);
        return true;
    case SYS_splice:
        *r = splice(fd, (void *)a[1], (int)a[2], (void *)a[3], (size_t)a[4], (unsigned)a[5]);
        return true;
    case SYS_tee:
        *r = tee(fd, (int)a[1], (size_t)a[2], (unsigned)a[3]);
        return true;
    case SYS_vmsplice:
        *r = vmsplice(fd, (void *)a[1], (size_t)a[2], (unsigned)a[3]);
        return true;
    case SYS_pidfd_getfd:
        *r = pidfd_getfd(fd, (int)a[1], (unsigned)a[2]);
        return true;
    case SYS_execve:
        *r = execve((void *)a[0], (void *)a[1], (void *)a[2]);
        return true;
    case SYS_execveat:
        *r = execveat(fd, (void *)a[1], (void *)a[2], (void *)a[3], (int)a[4]);
        return true;
#ifdef SYS_dup2
    case SYS_dup2:
        *r = dup2(fd, (int)a[1]);
        return true;
#endif
    default:
        return false;
    }
}

/* The kernel's ppoll and pselect6 show what is left of a timeout, also where they fail, but for one of nothing
 * (poll_select_finish). libc's functions hand them a copy. */
static void show_left(struct timespec *timeout, const struct timespec *given, const struct timespec *start)
{
    struct timespec now;
    if (!timeout || (!given->tv_sec && !given->tv_nsec) || !memory_writable(timeout, sizeof *timeout))
        return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t ns = ((int64_t)given->tv_sec - (now.tv_sec - start->tv_sec)) * 1000000000 + given->tv_nsec -
                 (now.tv_nsec - start->tv_nsec);
    *timeout = ns < 0 ? (struct timespec){0, 0} : (struct timespec){ns / 1000000000, ns % 1000000000};
}

static bool is_time(const struct timespec *t)
{
    return memory_readable(t, sizeof *t) && t->tv_sec >= 0 && t->tv_nsec >= 0 && t->tv_nsec < 1000000000;
}

/* What libc's functions read themselves, and the kernel before all else. */
static bool is_bad_wait(long n, const long a[6])
{
    const void *timeout = (const void *)(n == SYS_ppoll ? a[2] : a[4]);
    if (timeout && !memory_readable(timeout, n == SYS_ppoll || n == SYS_pselect6 ? sizeof(struct timespec)
                                                                                 : sizeof(struct timeval)))
        return true;
    return n == SYS_pselect6 && a[5] && !memory_readable((const void *)a[5], sizeof(const sigset_t *));
}

static long wait_raw(long n, const long a[6])
{
    struct timespec *timeout = (void *)(n == SYS_ppoll ? a[2] : a[4]), given = {0, 0}, start;
    if (timeout && is_time(timeout))
        given = *timeout;
    clock_gettime(CLOCK_MONOTONIC, &start);
    /* pselect6(2): the last argument points to the mask and its size */
    long r = n == SYS_ppoll ? ppoll((void *)a[0], (nfds_t)a[1], timeout, (void *)a[3])
                            : pselect((int)a[0], (void *)a[1], (void *)a[2], (void *)a[3], timeout,
                                      a[5] ? *(const sigset_t *const *)a[5] : NULL);
    int saved = errno;
    show_left(timeout, &given, &start);
    errno = saved;
    return r;
}

/* Calls that wait for descriptors. */
static bool redirect_waiting(long n, const long a[6], long *r)
{
    switch (n) {
#ifdef SYS_poll
    case SYS_poll:
        *r = poll((void *)a[0], (nfds_t)a[1], (int)a[2]);
        return true;
    case SYS_select:
        *r = is_bad_wait(n, a) ? answer(-EFAULT)
                               : select((int)a[0], (void *)a[1], (void *)a[2], (void *)a[3], (void *)a[4]);
        return true;
    case SYS_epoll_wait:
        *r = epoll_wait((int)a[0], (void *)a[1], (int)a[2], (int)a[3]);
        return true;
#endif
    case SYS_ppoll:
    case SYS_pselect6:
        *r = is_bad_wait(n, a) ? answer(-EFAULT) : wait_raw(n, a);
        return true;
    case SYS_epoll_pwait:
        *r = epoll_pwait((int)a[0], (void *)a[1], (int)a[2], (int)a[3], (void *)a[4]);
        return true;
    case SYS_epoll_pwait2:
        *r = epoll_pwait2((int)a[0], (void *)a[1], (int)a[2], (void *)a[3], (void *)a[4]);
        return true;
    default:
        return false;
    }
}

/* Of clone3 too, in whose arguments they come first. CLONE_VM: nothing that copies memory. */
static uint64_t clone_flags(long n, const long a[6])
{
    if (n == SYS_clone)
        return (uint64_t)a[0];
    bool given = n == SYS_clone3 && memory_readable((const void *)a[0], sizeof(uint64_t));
    return given ? *(const uint64_t *)a[0] : CLONE_VM; /* without arguments the kernel refuses */
}

/* Memory copied, and with it our table; descriptors shared. */
static bool shares_descriptors_alone(long n, const long a[6])
{
    uint64_t flags = clone_flags(n, a);
    return (flags & CLONE_FILES) && !(flags & CLONE_VM);
}

/* Its child would come back from here on a stack that has no frame of ours. */
static bool begins_elsewhere(long n, const long a[6])
{
    enum { STACK_AT = 40 / sizeof(uint64_t) }; /* of clone3's arguments */
    if (n == SYS_clone)
        return a[1];
    const uint64_t *args = (const uint64_t *)a[0];
    return n == SYS_clone3 && a[1] > 40 && memory_readable(args, (STACK_AT + 1) * sizeof *args) && args[STACK_AT];
}

static long refuse_clone(void)
{
    if (policy)
        log_event(LOG_LEVEL_ERROR,
                  "syscall of clone or clone3 with a stack for the child refused: the child would come "
                  "back from the library's function on it; use clone(2), or a thread");
    return answer(-EPERM);
}

/* fork by its number, with a stack of the parent's own: libc's handlers do not run. */
static bool is_fork(long n, const long a[6])
{
#ifdef SYS_fork
    if (n == SYS_fork)
        return true;
#endif
    return !(clone_flags(n, a) & CLONE_VM);
}

/* Linux's own aio reads and writes sockets as well. One that is not connected may be so in this very moment, by another
 * thread: then the bytes would go in clear. */
static bool submits_to_socket(const struct iocb *cb)
{
    int fd = (int)cb->aio_fildes;
    bool moves = cb->aio_lio_opcode == IOCB_CMD_PREAD || cb->aio_lio_opcode == IOCB_CMD_PWRITE ||
                 cb->aio_lio_opcode == IOCB_CMD_PREADV || cb->aio_lio_opcode == IOCB_CMD_PWRITEV;
    return table_find_data(fd) || (moves && word_is_unconnected(table_word(fd)));
}

/* A batch with a selected one in it is refused whole. */
static bool submits_selected(long count, struct iocb **batch)
{
    for (long i = 0; i < count;
         i++) { /* up to what the kernel cannot read either: it takes those before (io_submit(2)) */
        if (!memory_readable(&batch[i], sizeof batch[i]) || !memory_readable(batch[i], sizeof *batch[i]))
            return false;
        if (submits_to_socket(batch[i]))
            return true;
    }
    return false;
}

/* libaio may make the system call inline; its functions return -errno. Where it was opened for one library alone,
 * nothing is found here that stands behind. */
int io_submit(void *context, long count, struct iocb **batch);
HOOK int io_submit(void *context, long count, struct iocb **batch)
{
    static int (*next)(void *, long, struct iocb **);
    if (policy && submits_selected(count, batch))
        return -EOPNOTSUPP;
    if (!next)
        next = (__typeof__(next))dlsym(RTLD_NEXT, "io_submit");
    return next ? next(context, count, batch) : (int)sys3(SYS_io_submit, context, count, batch);
}

/* exit(2) ends a thread, and with the last one the process. */
static bool is_last_thread(void)
{
    helper_pause();
    bool last = !threads_share_files();
    helper_resume();
    return last;
}

HOOK long syscall(long n, ...)
{
    long a[6], r;
    va_list args;
    va_start(args, n);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(args, long);
    va_end(args);
#ifdef SYS_vfork
    if (n == SYS_vfork && policy)
        n = SYS_fork; /* its child would return from here on its parent's stack */
#endif
    if (begins_elsewhere(n, a))
        return refuse_clone();
    if (!policy)
        return answer(sys6(n, a[0], a[1], a[2], a[3], a[4], a[5]));
    if (redirect(n, a, &r) || redirect_waiting(n, a, &r) || sandbox_syscall(n, a, &r))
        return r;
    if (n == SYS_io_uring_setup)
        return answer(io_uring_refused());
    if (n == SYS_io_submit && submits_selected(a[1], (struct iocb **)a[2])) {
        errno = EOPNOTSUPP;
        return -1;
    }
    if (shares_descriptors_alone(n, a))
        return answer(-EPERM);
    if (is_fork(n, a))
        return answer(fork_by_syscall(n, a));
    if (n == SYS_exit_group || (n == SYS_exit && !forbidden.look && is_last_thread()))
        helper_finish_all();
    r = sys6(n, a[0], a[1], a[2], a[3], a[4], a[5]);
    return answer(r);
}
