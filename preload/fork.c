/* fork in its forms. Before it, every thread is out of the library and each live connection expects a child; after it,
 * the child has an id of its own, and none of its parent's handshakes, which it could not continue. */
#include "bare.h"
#include "dane.h"
#include "exec_plan.h"
#include "handover.h"
#include "signals_late.h"
#include "state.h"

#include "sys.h"
#include "waits.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>

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
static _Atomic uint32_t *sandboxed; /* in a shared page of its own, NULL while nothing is shared */

static void share_word(void)
{
    void *page = mmap(NULL, sizeof *sandboxed, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page != MAP_FAILED)
        sandboxed = page;
}

bool fork_relative_sandboxed(void)
{
    return sandboxed && atomic_load_explicit(sandboxed, memory_order_relaxed);
}

void fork_tell_sandboxed(void)
{
    if (sandboxed)
        atomic_store(sandboxed, 1);
}

static void notice(struct desc *d, void *arg)
{
    (void)arg;
    if (!atomic_load(&d->orphan))
        any_live = true;
}

/* Who ends the program or its image has it already. */
static void forking_begin(void)
{
    if (!thread.ends)
        pthread_mutex_lock(&forking);
}

static void forking_end(void)
{
    if (!thread.ends)
        pthread_mutex_unlock(&forking);
}

void fork_close_gate(void)
{
    thread_enter();
    forking_begin();
    gate_close(false);
}

void fork_open_gate(void)
{
    gate_open(false);
    forking_end();
    thread_leave();
}

bool fork_end_gate(void)
{
    enum { LOOKS = 10000 };
    const struct timespec pause = {0, 100000};
    if (thread.depth)
        return false;
    thread_enter();
    bool ours = thread.ends;
    for (int i = 0; !ours && i < LOOKS; i++) {
        ours = pthread_mutex_trylock(&forking) == 0;
        if (!ours)
            sys2(SYS_nanosleep, &pause, NULL);
    }
    if (ours && !thread.ends)
        gate_end();
    thread_leave();
    return ours;
}

void fork_reopen_gate(void)
{
    if (!thread.ends)
        return;
    thread_enter();
    gate_reopen();
    pthread_mutex_unlock(&forking);
    thread_leave();
}

static void prepare(bool streams)
{
    if (!policy || thread.in_vfork_child)
        return;
    thread_enter();
    forking_begin();
    preparing = true;
    gate_close(streams); /* also waits for a thread that is loading the core */
    for (unsigned i = 0; i < table_high; i++)
        table_not_fresh((int)i); /* the child may set options on it */
    any_live = false;
    desc_each_forking(notice, NULL);
    if (any_live) {
        core->core_prepare_fork();
        handover_prepare_fork();
    }
    if (any_live && !sandboxed)
        share_word();
    desc_each_forking(prepare_one, NULL);
}

void fork_prepare(void)
{
    prepare(false);
}

void fork_parent(bool failed)
{
    if (!preparing)
        return;
    preparing = false;
    desc_each_forking(parent_one, &failed);
    if (!failed && core)
        core->core_forked(false);
    gate_open(false);
    forking_end();
    thread_leave();
}

/* What another thread of the parent was closing or replacing stays half done here, and whoever used or closed the
 * number would wait for that thread for ever. A connection has no keys under it any more: it must not become a plain
 * socket. */
static void settle_moves(void)
{
    for (unsigned fd = 0; fd < table_high; fd++) {
        if (atomic_load_explicit(table_at(fd), memory_order_relaxed) != WORD_MOVING)
            continue;
        bool connection = is_tcp_stream((int)fd) && !socket_option((int)fd, SOL_SOCKET, SO_ACCEPTCONN, 0);
        atomic_store(table_at(fd), connection ? WORD_REFUSED : WORD_UNKNOWN);
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
    preparing = thread.ends = false;
    pthread_mutex_unlock(&forking); /* which this thread holds, here too */
    process_id = getpid();
    dane_forked(); /* before handshakes of the parent are dropped, and their look-ups with them */
    if (core)
        core->core_forked(true);
    desc_each_forking(child_one, NULL);
    bare_forked();
    waits_forked();
    signals_forked();
    settle_moves();
    vfork_forked();
    exec_plan_forked();
    helper_forked();
    atomic_store(&table_moves, 0);
    aio_forked();
    gate_open(true);
    drop_others();
    thread_leave();
}

static void prepare_handler(void)
{
    prepare(true);
}

/* pthread_atfork does not tell whether fork failed: then no child joins, and the announcement runs out by itself. */
static void parent_handler(void)
{
    const bool prepared = preparing;
    fork_parent(false);
    if (prepared)
        streams_fork_parent();
}

static void child_handler(void)
{
    const bool prepared = preparing;
    fork_child();
    if (prepared)
        streams_fork_child();
}

int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *library);

/* They belong to no library: those of one go with its destructors, and other threads may fork while exit still ends
 * connections behind these. */
void fork_init(void)
{
    process_id = (pid_t)sys0(SYS_getpid);
    __register_atfork(prepare_handler, parent_handler, child_handler, NULL);
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

/* libc does not know of this fork: in the child our helper would stay in its list of threads, and setgroups and its
 * relatives, which make all threads follow, wait for ever for one that is not there. */
long fork_by_syscall(long n, const long a[6])
{
    helper_pause();
    fork_prepare();
    long r = sys6(n, a[0], a[1], a[2], a[3], a[4], a[5]);
    if (r == 0) {
        fork_child(); /* ends the pause too */
    } else {
        fork_parent(r < 0);
        helper_resume();
    }
    return r;
}
