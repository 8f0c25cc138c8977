/* Children that run in their parent's memory (vfork, clone with CLONE_VM) with descriptors of their own, which our
 * table does not describe. While there is nothing that they must not touch, they run as libc has it, and data calls
 * fail in them; otherwise they become forks, whose parent waits for them just as long. */
#include "handover.h"
#include "state.h"

#include "sys.h"

#include <errno.h>
#include <sched.h>

/* Called by vfork.S. */
#pragma GCC visibility push(hidden)
void vfork_enter(void);
void vfork_leave(void);
bool vfork_must_fork(void);
pid_t vfork_by_fork(void);
#pragma GCC visibility pop

void vfork_enter(void)
{
    thread.in_vfork_child = true;
}

void vfork_leave(void)
{
    thread.in_vfork_child = false;
}

bool vfork_must_fork(void)
{
    return policy && !thread.in_vfork_child && handover_matters();
}

/* The child's end of a pipe that tells its parent, by its closing, of the exec or exit. */
static int told = -1;

void vfork_forked(void)
{
    if (told >= 0)
        hidden_close(told);
    told = -1;
}

static void wait_for_exec(int fd)
{
    char byte;
    while (sys3(SYS_read, (long)fd, &byte, 1L) == -EINTR)
        ;
}

/* As a vfork, with memory of the child's own. start returns the child's process id, and 0 in it, unless the child
 * begins elsewhere: then that calls vfork_child_begin. */
struct waiting {
    int ends[2];
};

static bool waiting_open(struct waiting *w)
{
    if (sys2(SYS_pipe2, w->ends, (long)O_CLOEXEC) != 0)
        w->ends[0] = w->ends[1] = -1;
    return w->ends[0] >= 0;
}

static void waiting_child(struct waiting *w)
{
    if (w->ends[0] < 0)
        return;
    sys1(SYS_close, (long)w->ends[0]);
    told = hide_descriptor_number(w->ends[1]);
}

static void waiting_parent(struct waiting *w, bool started)
{
    int saved = errno;
    if (w->ends[0] < 0)
        return;
    sys1(SYS_close, (long)w->ends[1]);
    if (started)
        wait_for_exec(w->ends[0]);
    sys1(SYS_close, (long)w->ends[0]);
    errno = saved;
}

pid_t vfork_by_fork(void)
{
    struct waiting w;
    (void)waiting_open(&w);
    pid_t pid = fork();
    if (pid == 0)
        waiting_child(&w);
    else
        waiting_parent(&w, pid > 0);
    return pid;
}

#if !defined(__x86_64__)
/* No stub for this architecture: a vfork that is a fork is what POSIX allows. */
HOOK pid_t vfork(void)
{
    return vfork_by_fork();
}
HOOK_ALIAS(vfork, __vfork);
#endif

/* clone(2) without CLONE_VM is a fork that runs no handlers. */
struct cloned {
    int (*fn)(void *);
    void *arg;
    struct waiting *waiting;
};

static int in_clone(void *arg)
{
    struct cloned c = *(struct cloned *)arg; /* the child's own copy of its parent's stack */
    fork_child();
    if (c.waiting)
        waiting_child(c.waiting);
    return c.fn(c.arg);
}

HOOK int clone(int (*fn)(void *), void *stack, int flags, void *arg, ...)
{
    va_list args;
    va_start(args, arg);
    pid_t *parent_tid = va_arg(args, pid_t *);
    void *tls = va_arg(args, void *);
    pid_t *child_tid = va_arg(args, pid_t *);
    va_end(args);
    bool memory = flags & CLONE_VM, files = flags & CLONE_FILES;
    bool sleeps = (flags & CLONE_VFORK) && !(flags & CLONE_THREAD);
    struct waiting w;
    struct cloned c = {fn, arg, NULL};
    if (!policy || !fn || (memory && files))
        return real()->clone(fn, stack, flags, arg, parent_tid, tls, child_tid);
    if (files || (memory && !sleeps)) {
        log_event(LOG_LEVEL_ERROR, "clone with one of CLONE_VM (without CLONE_VFORK) and CLONE_FILES, and not the "
                                   "other, refused: the library's table would not describe the child's descriptors");
        errno = EPERM;
        return -1;
    }
    if (memory && !vfork_must_fork()) {
        vfork_enter();
        int started = real()->clone(fn, stack, flags, arg, parent_tid, tls, child_tid);
        vfork_leave();
        return started;
    }
    if (memory && waiting_open(&w))
        c.waiting = &w;
    fork_prepare();
    int pid = real()->clone(in_clone, stack, flags & ~(CLONE_VM | CLONE_VFORK), &c, parent_tid, tls, child_tid);
    int saved = errno;
    fork_parent(pid < 0);
    errno = saved;
    if (c.waiting)
        waiting_parent(&w, pid > 0);
    return pid;
}
HOOK_ALIAS(clone, __clone);
