/* The gate: while it is closed no thread is inside the library, so that a forked child finds every lock free and every
 * structure whole.
 *
 * Whoever is inside may wait for libc's lock of its list of streams: a PKCS#11 module that signs for a handshake opens
 * files by stdio. That lock is held by fflush(NULL) over writes, which come to the gate, and by fork itself. So the
 * gate is closed in two steps. While it drains, threads that write for a stream pass, and all others get out, since
 * nobody keeps the lock from them. Then the forking thread takes the lock, and closes the gate to all. If somebody who
 * has passed meanwhile does not get out because he waits for that very lock, all of it begins again.
 *
 * Whoever has the lock may wait for a thread that waits at the gate: the reader of the connection, or of the pipe, that
 * fflush(NULL) has filled. So a gate that drains lets all pass once the forking thread has waited for the lock for
 * LOCK_MS; without the library nobody would have stopped them either. */
#include "state.h"

#include "io.h"
#include "sys.h"

#include <linux/futex.h>

enum {
    DRAIN_MS = 1000,
    LOCK_MS = 20,
    END_MS = CONN_LINGER_MS,
    PATIENCE_MS = 5,
    PATIENCE_MAX_MS = 200,
    YIELDS = 50,
    PAUSE_NS = 50 * 1000
};

static void set_gate(enum gate_state state)
{
    atomic_store(&table_gate, state);
    sys3(SYS_futex, &table_gate, FUTEX_WAKE_PRIVATE, 1 << 30);
}

/* Calls inside never block, but for what is said above: so they are out soon. */
static bool await_quiet(bool keep, int64_t patience_ms)
{
    const struct timespec pause = {0, PAUSE_NS};
    const int64_t until_ms = io_now_ms() + patience_ms;
    for (int i = 0; !table_is_quiet(keep); i++) {
        if (io_now_ms() > until_ms)
            return false;
        if (i < YIELDS)
            sched_yield();
        else
            sys2(SYS_nanosleep, &pause, 0L);
    }
    return true;
}

static void take_lock(void)
{
    atomic_store(&table_gate_until_ms, io_now_ms() + LOCK_MS);
    streams_fork_prepare();
    atomic_store(&table_gate_until_ms, INT64_MAX);
}

void gate_close(bool streams)
{
    for (int64_t patience_ms = PATIENCE_MS;; patience_ms *= patience_ms < PATIENCE_MAX_MS ? 2 : 1) {
        set_gate(GATE_DRAINING);
        (void)await_quiet(false, DRAIN_MS);
        if (streams)
            take_lock();
        set_gate(GATE_CLOSED);
        if (await_quiet(true, patience_ms))
            return;
        if (streams)
            streams_fork_parent();
    }
}

void gate_open(bool in_child)
{
    table_end_quiet(in_child);
    set_gate(thread.ends ? GATE_ENDING : GATE_OPEN);
}

void gate_end(void)
{
    const struct timespec pause = {0, PAUSE_NS};
    const int64_t until_ms = io_now_ms() + END_MS;
    thread.ends = true;
    set_gate(GATE_ENDING);
    while ((atomic_load(&table_moves) || !await_quiet(false, PATIENCE_MS)) && io_now_ms() < until_ms)
        sys2(SYS_nanosleep, &pause, 0L);
}

void gate_reopen(void)
{
    thread.ends = false;
    set_gate(GATE_OPEN);
}
