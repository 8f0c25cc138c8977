/* The end of a program, or of one of its phases: what connections still have under way is finished first, bounded. */
#include "state.h"

#include "both_ends.h"
#include "io.h"
#include "sys.h"

#include <poll.h>
#include <stdlib.h>

/* At exit: what was acknowledged to the program goes out, handshakes that early writes wait for included. Bounded by
 * the connections' own deadlines. */
struct finishing {
    bool (*which)(struct desc *d); /* NULL: all */
    struct both_ends *ends;
    struct pollfd *fds;
    size_t n, room;
    int64_t next;
};

static bool fit(struct finishing *f)
{
    if (f->n < f->room)
        return true;
    struct pollfd *grown = realloc(f->fds, (f->room + 64) * sizeof *grown);
    if (!grown)
        return false;
    f->fds = grown;
    f->room += 64;
    return true;
}

static void leave_one(struct desc *d, void *arg)
{
    struct finishing *f = arg;
    int fd = desc_any_number(d);
    atomic_store(&d->finished, false);
    if (fd < 0 || atomic_load(&d->orphan))
        return;
    if (f->which && !f->which(d)) {
        atomic_store(&d->finished, true);
    } else if (desc_enter(d, fd)) {
        atomic_store(&d->finished, !core->conn_leave(d->conn, fd, d->linger_abort));
        desc_leave(d);
    }
}

static void finish_one(struct desc *d, void *arg)
{
    struct finishing *f = arg;
    struct conn_need need;
    int fd = desc_any_number(d);
    if (atomic_load(&d->finished) || fd < 0 || !desc_enter(d, fd))
        return;
    core->conn_tick(d->conn, fd, &need);
    desc_leave(d);
    atomic_store(&d->finished, need.idle);
    if (need.idle || !fit(f))
        return;
    f->fds[f->n++] = (struct pollfd){.fd = fd, .events = need.events};
    if (need.deadline_ms < f->next)
        f->next = need.deadline_ms;
}

static void note_ends(struct desc *d, void *arg)
{
    const struct finishing *f = arg;
    int fd = desc_any_number(d);
    if (fd < 0 || atomic_load(&d->orphan) || (f->which && !f->which(d)) || !desc_enter(d, fd))
        return;
    if (core->conn_left_alone(d->conn))
        both_ends_add(f->ends, fd);
    desc_leave(d);
}

static void let_go_one(struct desc *d, void *arg)
{
    const struct finishing *f = arg;
    int fd = desc_any_number(d);
    if (atomic_load(&d->finished) || fd < 0 || !desc_enter(d, fd))
        return;
    if (both_ends_have(f->ends, fd))
        atomic_store(&d->finished, true);
    desc_leave(d);
}

/* Nobody waits for what goes to a connection of this very process that ends with it: it would never be read. */
static void let_go_of_own(struct finishing *f)
{
    struct both_ends ends = {0};
    f->ends = &ends;
    desc_each(note_ends, f);
    both_ends_sort(&ends);
    desc_each(let_go_one, f);
    both_ends_free(&ends);
    f->ends = NULL;
}

/* Other threads go on until the process has ended, and what they do with connections that are being ended would fail:
 * they would write to a broken pipe, and read from the middle of records. On plain TCP they are never told. */
static void keep_others_out(void)
{
    if (thread.ends)
        return;
    helper_pause();
    if (fork_end_gate())
        return;
    thread_enter(); /* whoever has closed the gate may wait for long */
    helper_resume();
    helper_stop();
    thread_leave();
}

void helper_finish_undone(void)
{
    if (!thread.ends)
        return;
    fork_reopen_gate();
    helper_resume();
}

void helper_finish(bool (*which)(struct desc *d))
{
    if (!core || thread.in_vfork_child || forbidden.bare || fork_is_foreign())
        return;
    keep_others_out();
    thread_enter();
    struct finishing f = {.which = which};
    const int64_t give_up_ms = io_now_ms() + CONN_LINGER_MS;
    desc_each(leave_one, &f);
    for (bool first = true;; first = false) {
        f.n = 0;
        f.next = INT64_MAX;
        desc_each(finish_one, &f);
        int64_t now = io_now_ms();
        bool moves = atomic_load(&table_moves) && now < give_up_ms;
        if (!f.n && !moves)
            break;
        if (first && f.n) {
            let_go_of_own(&f);
            continue;
        }
        if (f.next > now + (moves ? 1 : 1000))
            f.next = now + (moves ? 1 : 1000);
        int64_t left = f.next > now ? f.next - now : 0;
        io_poll(f.fds, f.n, left);
    }
    free(f.fds);
    thread_leave();
}

void helper_finish_all(void)
{
    helper_finish(NULL);
}

static void look_orphan(struct desc *d, void *arg)
{
    *(bool *)arg |= atomic_load(&d->orphan);
}

void helper_finish_orphans(void)
{
    enum { ORPHANS_MS = 1000 };
    int64_t give_up_ms = io_now_ms() + ORPHANS_MS;
    bool left = core != NULL;
    while (left && helper_running() && io_now_ms() < give_up_ms) {
        left = false;
        thread_enter();
        desc_each(look_orphan, &left);
        thread_leave();
        struct timespec t = {0, 1000000};
        if (left)
            sys2(SYS_nanosleep, &t, NULL);
    }
}

static void look_unfinished(struct desc *d, void *arg)
{
    if (core->conn_needs_tick(d->conn) && !atomic_load(&d->orphan) && !core->conn_unstarted(d->conn))
        *(bool *)arg = true;
}

/* The helper goes on; this only waits for it, and not for ever: a peer may have stopped reading. */
void helper_finish_handshakes(void)
{
    bool left = core != NULL;
    int64_t give_up_ms = io_now_ms() + CONN_LINGER_MS;
    while (left && io_now_ms() < give_up_ms) {
        left = false;
        thread_enter();
        desc_each(look_unfinished, &left);
        thread_leave();
        struct timespec t = {0, 1000000};
        if (left)
            sys2(SYS_nanosleep, &t, NULL);
    }
}
