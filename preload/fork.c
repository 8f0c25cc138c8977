/* fork in its forms. Before it, every thread is out of the library and each live connection expects a child; after it,
 * the child has an id of its own, and none of its parent's handshakes, which it could not continue. */
#include "state.h"

#include "sys.h"
#include "waits.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>

/* One fork at a time: glibc runs the prepare handlers of two threads side by side, and the gate is one. Held from
 * prepare to the end of the fork. */
static pthread_mutex_t forking = PTHREAD_MUTEX_INITIALIZER;
static pid_t process_id; /* of the process that the library's memory belongs to */

bool fork_is_foreign(void)
{
    return !forbidden.self && process_id != getpid();
}

static __thread bool preparing __attribute__((tls_model("initial-exec")));

static void prepare_one(struct desc *d, void *arg)
{
    (void)arg;
    if (!atomic_load(&d->orphan))
        core->conn_prepare_fork(d->conn);
}

static void parent_one(struct desc *d, void *arg)
{
    if (!atomic_load(&d->orphan))
        core->conn_fork_parent(d->conn, *(bool *)arg);
}

/* The dup of a socket that the parent is closing is none of the child's business. */
static void child_one(struct desc *d, void *arg)
{
    (void)arg;
    atomic_store(&d->helped, false);
    core->conn_fork_child(d->conn);
    atomic_store(&d->holds, 1); /* those of waiting calls stayed with the parent's threads */
    if (!atomic_load(&d->orphan))
        return;
    int fd = atomic_load(&d->number);
    sys1(SYS_close, (long)fd);
    table_set(fd, WORD_PLAIN);
    atomic_store(&d->number, -1);
}

static bool any_live;
bool fork_shared;

static void notice(struct desc *d, void *arg)
{
    (void)arg;
    if (!atomic_load(&d->orphan))
        any_live = true;
}

void fork_prepare(void)
{
    if (!policy || thread.in_vfork_child)
        return;
    thread_enter();
    pthread_mutex_lock(&forking);
    preparing = true;
    table_gate_close(); /* also waits for a thread that is loading the core */
    any_live = false;
    desc_each_forking(notice, NULL);
    if (any_live)
        core->core_prepare_fork();
    fork_shared |= any_live;
    desc_each_forking(prepare_one, NULL);
}

void fork_parent(bool failed)
{
    if (!preparing)
        return;
    preparing = false;
    desc_each_forking(parent_one, &failed);
    if (!failed && core)
        core->core_forked(false);
    table_gate_open(false);
    pthread_mutex_unlock(&forking);
    thread_leave();
}

/* What another thread of the parent was closing or replacing stays half done here, and whoever used or closed the
 * number would wait for that thread for ever. A connection has no keys under it any more: it must not become a plain
 * socket. */
static void settle_moves(void)
{
    for (unsigned fd = 0; fd < table_high; fd++) {
        if (atomic_load_explicit(&table[fd], memory_order_relaxed) != WORD_MOVING)
            continue;
        bool connection = is_tcp_stream((int)fd) && !socket_option((int)fd, SOL_SOCKET, SO_ACCEPTCONN, 0);
        atomic_store(&table[fd], connection ? WORD_REFUSED : WORD_UNKNOWN);
    }
}

static struct desc *no_number;

static void find_without_number(struct desc *d, void *arg)
{
    (void)arg;
    if (!atomic_load(&d->refs))
        no_number = d;
}

/* Connections that only the parent still works on: this process must not keep their keys. */
static void drop_others(void)
{
    do {
        no_number = NULL;
        desc_each(find_without_number, NULL);
        if (no_number)
            desc_release(no_number);
    } while (no_number);
}

void fork_child(void)
{
    if (!preparing)
        return;
    preparing = false;
    pthread_mutex_init(&forking, NULL);
    process_id = getpid();
    if (core)
        core->core_forked(true);
    desc_each_forking(child_one, NULL);
    waits_forked();
    settle_moves();
    helper_forked();
    aio_forked();
    table_gate_open(true);
    drop_others();
    thread_leave();
}

static void prepare_handler(void)
{
    streams_fork_prepare();
    fork_prepare();
}

/* pthread_atfork does not tell whether fork failed: then no child joins, and the announcement runs out by itself. */
static void parent_handler(void)
{
    fork_parent(false);
    streams_fork_parent();
}

static void child_handler(void)
{
    fork_child();
    streams_fork_child();
}

void fork_init(void)
{
    process_id = getpid();
    pthread_atfork(prepare_handler, parent_handler, child_handler);
}

/* Runs no atfork handlers (fork(3), POSIX.1-2024), and so bypasses ours. */
HOOK pid_t _Fork(void)
{
    if (!policy)
        return real()->_Fork();
    fork_prepare();
    pid_t pid = real()->_Fork();
    int saved = errno;
    if (pid == 0)
        fork_child();
    else
        fork_parent(pid < 0);
    errno = saved;
    return pid;
}

/* clone(2) without CLONE_VM is a fork that runs no handlers. */
struct cloned {
    int (*fn)(void *);
    void *arg;
};

static int in_clone(void *arg)
{
    struct cloned c = *(struct cloned *)arg; /* the child's own copy of its parent's stack */
    fork_child();
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
    if (!policy || (flags & CLONE_VM) || !fn)
        return real()->clone(fn, stack, flags, arg, parent_tid, tls, child_tid);
    struct cloned c = {fn, arg};
    fork_prepare();
    int pid = real()->clone(in_clone, stack, flags, &c, parent_tid, tls, child_tid);
    int saved = errno;
    fork_parent(pid < 0);
    errno = saved;
    return pid;
}
HOOK_ALIAS(clone, __clone);

long fork_by_syscall(long n, const long a[6])
{
    fork_prepare();
    long r = sys6(n, a[0], a[1], a[2], a[3], a[4], a[5]);
    if (r == 0)
        fork_child();
    else
        fork_parent(r < 0);
    return r;
}

/* Called by vfork.S in the child, which runs in its parent's memory until it execs or exits, and by the parent when it
 * comes back: descriptors that the child closes or moves are its own, and our table describes the parent's. */
__attribute__((visibility("hidden"))) void vfork_enter(void);
__attribute__((visibility("hidden"))) void vfork_leave(void);

void vfork_enter(void)
{
    thread.in_vfork_child = true;
}

void vfork_leave(void)
{
    thread.in_vfork_child = false;
}

#if !defined(__x86_64__)
/* No stub for this architecture: a vfork that is a fork is what POSIX allows. */
HOOK pid_t vfork(void)
{
    return fork();
}
HOOK_ALIAS(vfork, __vfork);
#endif
