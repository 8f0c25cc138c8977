/* close, shutdown and the dup family: where numbers begin and end. */
#include "stream.h"

#include "epoll_notes.h"
#include "io.h"
#include "sys.h"

#include <errno.h>
#include <sched.h>
#include <sys/resource.h>

static int fail(int error)
{
    errno = error;
    return -1;
}

enum { BRIEF_MS = 500 };

static bool mine_to_track(void)
{
    return policy && !thread.in_vfork_child;
}

/* epoll keeps a registration as long as the socket lives; our dup must not keep reporting a number that the program has
 * closed. While another process holds the socket, the registration is to stay: the set may be shared with it. */
static void leave_epolls(struct desc *d, int fd)
{
    if (!core->conn_left_alone(d->conn))
        return;
    notes_leave(d, fd);
    if (d->native && !atomic_load(&d->edges))
        return;
    int flags = (int)sys3(SYS_fcntl, (long)fd, F_GETFL, 0L);
    if (flags >= 0 && (flags & O_ASYNC))
        sys3(SYS_fcntl, (long)fd, F_SETFL, (long)(flags & ~O_ASYNC));
}

/* Without a helper: the closing is waited for here, bounded by the connection's own deadline. */
static void close_here(struct desc *d, int fd)
{
    struct conn_need need = {0};
    for (;;) {
        core->conn_tick(d->conn, fd, &need);
        if (need.idle)
            return;
        struct pollfd p = {.fd = fd, .events = need.events};
        int64_t left = need.deadline_ms - io_now_ms();
        io_poll(&p, 1, left < 0 ? 0 : left > 100 ? 100 : left);
    }
}

/* A stranger who says nothing is not waited for here, and one who has begun to speak not for long. */
static void close_unless_abandoned(struct desc *d, int fd)
{
    const int64_t until = io_now_ms() + BRIEF_MS;
    struct conn_need need = {.idle = true};
    struct pollfd p = {.fd = fd, .events = POLLIN};
    bool spoke = core->conn_heard(d->conn) || io_poll(&p, 1, 0) > 0;
    while (spoke && io_now_ms() < until) {
        core->conn_tick(d->conn, fd, &need);
        if (need.idle)
            return;
        p.events = need.events;
        io_poll(&p, 1, 5);
    }
    if (!core->conn_abandon(d->conn, fd))
        close_here(d, fd);
}

/* SO_LINGER with a time: close waits for the acknowledgement, as socket(7) says, and no longer than until a signal
 * comes (tcp_close). */
static void linger(struct desc *d, int fd)
{
    struct linger l = {0, 0};
    socklen_t len = sizeof l;
    if (!d->lingers || forbidden.options || sys5(SYS_getsockopt, (long)fd, SOL_SOCKET, SO_LINGER, &l, &len) != 0 ||
        !l.l_onoff)
        return;
    int64_t until = io_now_ms() + (int64_t)l.l_linger * 1000;
    struct conn_need need = {0};
    do {
        core->conn_tick(d->conn, fd, &need);
        struct pollfd p = {.fd = fd, .events = need.events};
        if (!need.idle)
            io_poll(&p, 1, 5);
    } while (!need.idle && io_now_ms() < until && (forbidden.defer || !thread.signals_held));
}

/* The program's last number of d goes (its word is WORD_MOVING; it is still open). */
static void last_number(struct desc *d, int fd)
{
    bool keep = core->conn_leave(d->conn, fd, d->linger_abort);
    if (keep && d->lingers)
        linger(d, fd);
    if (keep && helper_has_many_orphans() && core->conn_abandon(d->conn, fd))
        keep = false;
    if (keep) {
        int ours = helper_absent() || forbidden.control ? -1 : hidden_dup(fd);
        if (ours >= 0) {
            leave_epolls(d, fd);
            if (helper_orphan(d, ours))
                return;
            close_unless_abandoned(d, ours);
            hidden_close(ours);
        } else {
            close_unless_abandoned(d, fd);
        }
    }
    desc_release(d);
}

/* One of several goes. The helper may be waiting on it, whichever one a copy has made the newest since: poll would go
 * on with whatever is put on that number next. */
static void other_number(struct desc *d, int fd)
{
    notes_forget(d, fd);
    if (atomic_load(&d->helped))
        helper_add(d);
}

/* Takes a number out of our books before its descriptor goes; WORD_MOVING stands in its place until table_end_move.
 * was: the word before. The errno, or 0. */
static int give_up(int fd, uintptr_t *was)
{
    uintptr_t word = *was = table_begin_move(fd);
    if (word == WORD_OURS) {
        table_end_move(fd, word);
        return EBADF;
    }
    if (word < WORD_FIRST_POINTER) {
        notes_stay_plain(fd);
        return 0;
    }
    struct desc *d = (struct desc *)word;
    library_enter();
    desc_hold(d); /* while this number still counts: another thread may take the last one right after it */
    if (atomic_fetch_sub(&d->refs, 1) == 1)
        last_number(d, fd);
    else
        other_number(d, fd);
    desc_release(d);
    library_leave();
    return 0;
}

void table_forget(int fd)
{
    uintptr_t word = table_begin_move(fd);
    if (word >= WORD_FIRST_POINTER) {
        struct desc *d = (struct desc *)word;
        log_event(LOG_LEVEL_WARN, "descriptor %d was closed behind the library's back", fd);
        if (atomic_fetch_sub(&d->refs, 1) == 1)
            desc_release(d);
    }
    table_end_move(fd, WORD_PLAIN);
}

static SLOW int close_known(int fd)
{
    if (thread.in_vfork_child)
        return real()->close(fd);
    uintptr_t was;
    int saved = errno, error = give_up(fd, &was);
    if (error)
        return fail(error);
    long r = sys1(SYS_close, (long)fd); /* no cancellation here: the number would stay in motion for ever */
    table_end_move(fd, WORD_PLAIN);
    errno = r < 0 ? (int)-r : saved;
    return r < 0 ? -1 : 0;
}

HOOK int close(int fd)
{
    return table_is_plain(fd) ? real()->close(fd) : close_known(fd);
}
HOOK_ALIAS(close, __close);

HOOK int shutdown(int fd, int how)
{
    struct desc *d = table_find(fd);
    if (!d)
        return real()->shutdown(fd, how);
    if (desc_special(d))
        return fail(desc_special(d));
    if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR)
        return fail(EINVAL);
    if (!desc_enter(d, fd))
        return fail(EBADF);
    int error = core->conn_shutdown(d->conn, fd, how);
    if (core->conn_state(d->conn) == RESULT_AGAIN)
        helper_add(d); /* it may be what the helper, who last looked before, has to give up soon */
    else
        helper_kick(d);
    desc_leave(d);
    return error ? fail(error) : 0;
}

/* Before a copy is made: the word for it. A connection is pinned until copy_end, so that no other thread closes the
 * original in between, and the copy is left without its word: it would be plain. */
uintptr_t copy_begin(int from)
{
    uintptr_t word;
    table_not_fresh(from);
    while ((word = table_word(from)) == WORD_MOVING && mine_to_track())
        sched_yield();
    if (word >= WORD_FIRST_POINTER && mine_to_track())
        return desc_enter((struct desc *)word, from) ? word : WORD_UNKNOWN;
    return word == WORD_OURS || word == WORD_MOVING ? WORD_UNKNOWN : word;
}

/* The word for the copy that was made. What was no connection may have become one meanwhile: then what was copied has
 * to be looked at. */
static uintptr_t copy_word(int from, uintptr_t word)
{
    return word < WORD_FIRST_POINTER && table_word(from) != word ? WORD_UNKNOWN : word;
}

/* The copy has its word now. One of the original's that came after copy_word looked came too early for select_twins to
 * find the copy. */
static void copy_settle(int from, int to, uintptr_t word)
{
    unselect_late(to, word);
    if (word < WORD_FIRST_POINTER && copy_word(from, word) != word)
        atomic_compare_exchange_strong(table_at(to), &word, WORD_UNKNOWN);
}

static void copy_end(uintptr_t word, bool made)
{
    struct desc *d = (struct desc *)word;
    if (word < WORD_FIRST_POINTER || !mine_to_track())
        return;
    if (made)
        atomic_fetch_add(&d->refs, 1);
    desc_leave(d);
}

/* A copy that the kernel has just made on a fresh number (-1: it has not), with the word of copy_begin. Where the table
 * ends, it cannot be watched: a copy of a protected number must not be there. */
int copy_made(int from, uintptr_t word, int to)
{
    int error = errno;
    word = copy_word(from, word);
    bool above = to >= 0 && (unsigned)to >= table_size && word != WORD_PLAIN && mine_to_track();
    if (above)
        sys1(SYS_close, (long)to);
    copy_end(word, to >= 0 && !above);
    if (above) {
        log_event(LOG_LEVEL_ERROR, "descriptor %d is above the table of %u: closed", to, table_size);
        return fail(EMFILE);
    }
    errno = error;
    if (to < 0 || !mine_to_track() || (word == WORD_PLAIN && table_word(to) == WORD_PLAIN))
        return to;
    table_renew(to);
    if (word != WORD_PLAIN)
        streams_adopt(to);
    table_begin_move(to);
    table_end_move(to, word);
    copy_settle(from, to, word);
    errno = error;
    return to;
}

static bool is_ours(int fd)
{
    return table_word(fd) == WORD_OURS && !thread.in_vfork_child;
}

HOOK int dup(int fd)
{
    if (is_ours(fd))
        return fail(EBADF);
    uintptr_t word = copy_begin(fd);
    return copy_made(fd, word, real()->dup(fd));
}

/* dup2(2): EBADF for what is not open or not below the limit, EINVAL for flags of dup3. */
static bool copy_fails(int from, int to, int flags)
{
    struct rlimit limit;
    return (flags & ~O_CLOEXEC) || (getrlimit(RLIMIT_NOFILE, &limit) == 0 && (rlim_t)(unsigned)to >= limit.rlim_cur) ||
           (!forbidden.control && sys3(SYS_fcntl, (long)from, F_GETFD, 0L) < 0);
}

/* Where the copy failed all the same, to is still what it was; its connection has been left. */
static uintptr_t not_replaced(uintptr_t was)
{
    return was >= WORD_FIRST_POINTER ? WORD_REFUSED : was;
}

/* Replaces to by a copy of from; the call is made while nobody of this process can use to. */
static int replace(int from, int to, int flags, bool is_dup3)
{
    if (is_ours(from))
        return fail(EBADF);
    /* dup2(2): EBUSY, "may be returned during a race" with somebody else's use of the number */
    if (is_ours(to) && (sys3(SYS_fcntl, (long)from, F_GETFD, 0L) < 0 || !hidden_vacate(to)))
        return fail(sys3(SYS_fcntl, (long)from, F_GETFD, 0L) < 0 ? EBADF : EBUSY);
    /* Nothing is given up for a copy that fails. An unselected target has nothing to give up (law 1). */
    bool fails = from != to && table_word(to) != WORD_PLAIN && copy_fails(from, to, flags);
    bool plain = table_word(from) == WORD_PLAIN && table_word(to) == WORD_PLAIN;
    if (mine_to_track() && (unsigned)to >= table_size && table_word(from) != WORD_PLAIN && !copy_fails(from, to, flags))
        return fail(EMFILE); /* nobody would know what it is */
    if (!mine_to_track() || from == to || fails || plain || (unsigned)to >= table_size)
        return is_dup3 ? real()->dup3(from, to, flags) : real()->dup2(from, to);
    if (table_word(from) != WORD_PLAIN) /* dup2 onto 1: printf would write behind the hooks */
        streams_adopt(to);
    uintptr_t was;
    int error = give_up(to, &was);
    if (error)
        return fail(error);
    uintptr_t word = copy_begin(from);
    int r = is_dup3 ? real()->dup3(from, to, flags) : real()->dup2(from, to);
    copy_end(word, r >= 0);
    word = r < 0 ? not_replaced(was) : copy_word(from, word);
    table_end_move(to, word);
    if (r >= 0)
        copy_settle(from, to, word);
    return r;
}

HOOK int dup2(int from, int to)
{
    return replace(from, to, 0, false);
}
HOOK_ALIAS(dup2, __dup2);

HOOK int dup3(int from, int to, int flags)
{
    return replace(from, to, flags, true);
}

static int close_span(unsigned first, unsigned last, unsigned flags)
{
    return first <= last ? real()->close_range(first, last, (int)flags) : 0;
}

/* A thread with a table of its own would have other descriptors than our table tells of. EINVAL is what close_range
 * says of flags that it does not know. */
static int close_unshared(unsigned first, unsigned last, int flags)
{
    sandbox_begin(false, true);
    bool shared = threads_share_files();
    if (shared)
        log_event(LOG_LEVEL_ERROR, "close_range with CLOSE_RANGE_UNSHARE refused: other threads would not share the "
                                   "descriptors of this one any more");
    int r = shared ? fail(EINVAL) : close_range(first, last, flags & ~(int)CLOSE_RANGE_UNSHARE);
    int saved = errno;
    sandbox_end(true);
    errno = saved;
    return r;
}

/* Protected numbers are closed one by one, ours are gone around. */
HOOK int close_range(unsigned first, unsigned last, int flags)
{
    unsigned known = CLOSE_RANGE_CLOEXEC | CLOSE_RANGE_UNSHARE;
    if (!mine_to_track() || first > last || ((unsigned)flags & ~known))
        return real()->close_range(first, last, flags);
    if (flags & ~(int)(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC))
        return fail(EINVAL);
    if (flags & CLOSE_RANGE_UNSHARE)
        return close_unshared(first, last, flags);
    unsigned from = first, end = table_high;
    for (unsigned fd = first; fd < end && fd <= last; fd++) {
        uintptr_t word = table_word((int)fd);
        if (word == WORD_PLAIN || (word != WORD_OURS && (flags & CLOSE_RANGE_CLOEXEC)))
            continue;
        if (fd > from && close_span(from, fd - 1, (unsigned)flags) < 0)
            return -1;
        if (word != WORD_OURS)
            close((int)fd);
        from = fd + 1;
    }
    return close_span(from, last, (unsigned)flags);
}

HOOK void closefrom(int first)
{
    if (!mine_to_track())
        real()->closefrom(first);
    else
        close_range((unsigned)(first < 0 ? 0 : first), ~0u, 0);
}
