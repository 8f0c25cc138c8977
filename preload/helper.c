/* One thread that exists only while handshakes or closings are open, and does what no call of the program does: it
 * drives handshakes, sends early writes and rests, times out, drains what was closed. All signals are blocked in it. */
#include "state.h"

#include "io.h"
#include "sys.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

enum {
    MANY_ORPHANS = 64,
    STACK_BYTES = 256 * 1024,
    LINGER_MS = 200,
    MANY_HANDSHAKES = 64, /* at the same time: sessions that wait for tickets go */
    SOME_HANDSHAKES = 16, /* malloc is asked */
    UNTOLD_MS = 10,       /* between two looks without wake_fd */
    SOON_MS = 3           /* after which a look shows whether the program does the work itself, as most do */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* never held over a tick */
static struct desc **inbox; /* new work; guarded by lock. Each entry, here and in list, is a hold. */
static size_t inbox_count, inbox_room;
static struct desc **list; /* the helper's own */
static size_t count, room;
static _Atomic bool running;
static _Atomic unsigned paused;  /* callers of helper_pause */
static _Atomic unsigned orphans; /* closed connections in the list */
static _Atomic bool refused;     /* the last attempt to make a thread failed */
static _Atomic int helper_tid;   /* of the last one, 0 when it is known to be gone */
static _Atomic int wake_fd = -1; /* -1: there was no descriptor left. Moves only while no helper runs (hidden.c) */
static _Atomic bool inbox_waiting;
enum { AWAKE = INT64_MIN };
static _Atomic int64_t wake_ms = AWAKE; /* asleep until then, unless it is rung */

static void ring(void)
{
    uint64_t one = 1;
    library_enter();
    if (wake_fd >= 0)
        sys3(SYS_write, (long)wake_fd, &one, (long)sizeof one);
    library_leave();
}

static bool fit(struct desc ***entries, size_t *space, size_t need)
{
    if (need <= *space)
        return true;
    struct desc **grown = realloc(*entries, (need + 64) * sizeof **entries);
    if (!grown)
        return false;
    *entries = grown;
    *space = need + 64;
    return true;
}

static void take_inbox(void)
{
    pthread_mutex_lock(&lock);
    if (inbox_count && fit(&list, &room, count + inbox_count)) {
        memcpy(list + count, inbox, inbox_count * sizeof *inbox);
        count += inbox_count;
        inbox_count = 0;
    }
    pthread_mutex_unlock(&lock);
}

/* What became of an entry. A desc may become an orphan at any moment when it is not pinned: only one that was an orphan
 * when it was found idle is through. */
enum ticked { TICKED_BUSY = 0, TICKED_IDLE, TICKED_THROUGH };

/* Takes entry i out; an orphan that is through is closed and freed. One that became an orphan since its tick stays: who
 * made it one has seen that it is in the list. */
static void drop(size_t i, bool through)
{
    struct desc *d = list[i];
    pthread_mutex_lock(&lock);
    bool stays = !through && atomic_load(&d->orphan);
    if (!stays) {
        list[i] = list[--count];
        atomic_store(&d->helped, false);
    }
    pthread_mutex_unlock(&lock);
    if (stays) {
        atomic_store(&d->again, true);
        return;
    }
    if (through) {
        atomic_fetch_sub(&orphans, 1);
        hidden_close(atomic_load(&d->number));
        desc_release(d); /* the table's hold, which the orphan kept */
    } else if (atomic_load(&d->refs) && core->conn_needs_tick(d->conn)) {
        helper_kick(d); /* work came up between the last tick and now */
    }
    desc_release(d);
}

static enum ticked tick(struct desc *d)
{
    int fd = desc_any_number(d);
    if (fd < 0 || !desc_enter(d, fd))
        return atomic_load(&d->orphan) || atomic_load(&d->refs) ? TICKED_BUSY : TICKED_IDLE;
    core->conn_tick(d->conn, fd, &d->need);
    atomic_store(&d->look_ms, d->need.events ? INT64_MIN : d->need.deadline_ms);
    enum ticked result = !d->need.idle ? TICKED_BUSY : atomic_load(&d->orphan) ? TICKED_THROUGH : TICKED_IDLE;
    desc_leave(d);
    return result;
}

/* was, answers: of the last poll. Returns when to look again. */
static int64_t tick_all(struct desc **was, struct pollfd *answers, size_t answered)
{
    int64_t now = io_now_ms(), next = INT64_MAX;
    for (size_t i = 0; i < answered; i++)
        if (answers[i].revents)
            was[i]->need.deadline_ms = now;
    for (size_t i = 0; i < count;) {
        struct desc *d = list[i];
        if (atomic_exchange(&d->again, false))
            d->need.deadline_ms = now;
        enum ticked ticked = d->need.deadline_ms <= now ? tick(d) : TICKED_BUSY;
        if (ticked != TICKED_BUSY) {
            drop(i, ticked == TICKED_THROUGH);
            continue;
        }
        if (d->need.deadline_ms < next)
            next = d->need.deadline_ms;
        i++;
    }
    return next;
}

struct poll_set {
    struct pollfd *fds; /* fds[0] is wake_fd */
    struct desc **descs;
    size_t room;
};

static bool poll_set_fit(struct poll_set *set, size_t need)
{
    if (need <= set->room)
        return true;
    struct pollfd *fds = realloc(set->fds, (need + 64) * sizeof *fds);
    if (fds)
        set->fds = fds;
    struct desc **descs = realloc(set->descs, (need + 64) * sizeof *descs);
    if (descs)
        set->descs = descs;
    if (!fds || !descs)
        return false;
    set->room = need + 64;
    return true;
}

static size_t poll_set_fill(struct poll_set *set)
{
    size_t n = 0;
    set->fds[0] = (struct pollfd){.fd = wake_fd, .events = POLLIN};
    for (size_t i = 0; i < count; i++) {
        if (!list[i]->need.events)
            continue;
        set->fds[1 + n] = (struct pollfd){.fd = desc_any_number(list[i]), .events = list[i]->need.events};
        set->descs[n++] = list[i];
    }
    return n;
}

static int sleep_until(struct poll_set *set, size_t n, int64_t until_ms)
{
    int64_t left = until_ms - io_now_ms();
    long r = io_poll(set->fds, n + 1, left < 0 ? 0 : left);
    if (r > 0 && set->fds[0].revents) {
        uint64_t rung;
        sys3(SYS_read, (long)wake_fd, &rung, (long)sizeof rung);
    }
    return (int)r;
}

/* True if the thread may end: nobody gave it work for a while. Under the lock, so that whoever adds work sees it. */
static bool may_end(int64_t quiet_since)
{
    pthread_mutex_lock(&lock);
    bool end = paused || (!count && !inbox_count && io_now_ms() - quiet_since >= LINGER_MS);
    if (end)
        atomic_store(&running, false);
    pthread_mutex_unlock(&lock);
    return end;
}

/* A GnuTLS session takes 18 KiB, and what connections keep lies between them: malloc gives such memory back only when
 * asked. 10,000 idle connections that were made at once took 18 to 20 KiB each, of which 6 to 7 were in use. */
static void give_back_memory(size_t most)
{
    if (most >= SOME_HANDSHAKES && !forbidden.trim)
        malloc_trim(0);
}

static void *helper_main(void *arg)
{
    (void)arg;
    atomic_store(&helper_tid, (int)sys0(SYS_gettid));
    /* Kept from one helper to the next, also in a child: what a fork cut off with its thread nobody could free. */
    static struct poll_set set;
    size_t answered = 0, most = 0;
    int64_t quiet_since = io_now_ms();
    for (;;) {
        library_enter(); /* a fork finds this thread asleep, not inside malloc */
        take_inbox();
        most = count > most ? count : most;
        int64_t next = tick_all(set.descs, set.fds ? set.fds + 1 : NULL, answered);
        int64_t now = io_now_ms();
        if (count)
            quiet_since = now;
        if (may_end(quiet_since))
            break;
        if (!count)
            next = quiet_since + LINGER_MS;
        else if (next > now + 10000)
            next = now + 10000;
        /* Nobody can ring, or there is no memory for a poll: look at all of them again soon. */
        if ((!poll_set_fit(&set, count + 1) || wake_fd < 0) && next > now + UNTOLD_MS)
            next = now + UNTOLD_MS;
        answered = set.room ? poll_set_fill(&set) : 0;
        library_leave();
        atomic_store(&wake_ms, next);
        if (atomic_load(&inbox_waiting) || !set.room || sleep_until(&set, answered, next) <= 0)
            answered = 0;
        atomic_store(&wake_ms, AWAKE);
        atomic_store(&inbox_waiting, false);
    }
    if (most >= MANY_HANDSHAKES)
        core->core_quiet();
    library_leave();
    give_back_memory(most);
    return NULL;
}

/* lock held. */
static bool start_thread(void)
{
    if (running)
        return true;
    if (paused || forbidden.threads)
        return false;
    if (wake_fd < 0) {
        long fd = sys2(SYS_eventfd2, 0L, (long)(EFD_CLOEXEC | EFD_NONBLOCK));
        wake_fd = fd < 0 ? -1 : hide_descriptor_number((int)fd);
        hidden_own(&wake_fd);
    }
    sigset_t all, before;
    pthread_t helper_thread;
    pthread_attr_t attr;
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    running = true; /* before it runs: it resets this when it ends */
    if (pthread_create(&helper_thread, &attr, helper_main, NULL) != 0)
        running = false;
    /* Without descriptors too, it is a sandbox that the program has made of its limits (vsftpd), and its filter may
     * forbid what is done in the place of a helper. */
    refused = !running && wake_fd >= 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return running;
}

/* lock held. False: there is no room. */
static bool put_in_inbox(struct desc *d, int64_t look_ms)
{
    if (atomic_load(&d->helped))
        return true;
    if (!fit(&inbox, &inbox_room, inbox_count + 1))
        return false;
    d->need = (struct conn_need){.deadline_ms = look_ms};
    atomic_store(&d->look_ms, look_ms);
    inbox[inbox_count++] = d;
    atomic_store(&d->helped, true);
    desc_hold(d);
    return true;
}

/* Whoever goes to sleep says until when, and then looks whether there is something; here it is the other way round. */
static void wake(bool added, int64_t look_ms)
{
    atomic_store(&inbox_waiting, true);
    if (added && atomic_load(&wake_ms) > look_ms)
        ring();
}

/* d is pinned, or held by the caller. look_ms: when the helper is to look, INT64_MIN: now. */
static bool add(struct desc *d, int64_t look_ms)
{
    if (forbidden.threads)
        return false;
    library_enter();
    pthread_mutex_lock(&lock);
    if (look_ms == INT64_MIN || (atomic_load(&d->helped) && atomic_load(&d->look_ms) > look_ms))
        atomic_store(&d->again, true);
    bool ok = put_in_inbox(d, look_ms) && start_thread();
    pthread_mutex_unlock(&lock);
    wake(ok, look_ms);
    library_leave();
    return ok;
}

void helper_add(struct desc *d)
{
    (void)add(d, INT64_MIN);
}

void helper_add_soon(struct desc *d)
{
    (void)add(d, io_now_ms() + SOON_MS);
}

void helper_kick(struct desc *d)
{
    if (!atomic_load(&d->helped)) {
        if (core->conn_needs_tick(d->conn))
            helper_add_soon(d);
    } else if (!atomic_load(&d->told_started) && !core->conn_unstarted(d->conn)) {
        /* It waits for the time when unstarted connections are started: from now on the socket matters. */
        if (!atomic_exchange(&d->told_started, true) && atomic_load(&d->look_ms) > io_now_ms() + SOON_MS)
            (void)add(d, INT64_MIN);
    }
}

bool helper_absent(void)
{
    return forbidden.threads || atomic_load(&refused);
}

bool helper_running(void)
{
    return atomic_load(&running);
}

bool helper_has_orphans(void)
{
    return atomic_load(&orphans);
}

bool helper_has_many_orphans(void)
{
    return atomic_load(&orphans) >= MANY_ORPHANS;
}

/* If d is in the helper's list already, it may be through as soon as it is an orphan; drop waits for the lock before it
 * frees it. Nothing of d is touched after that. False: d is still the caller's. */
bool helper_orphan(struct desc *d, int fd)
{
    if (forbidden.threads)
        return false;
    library_enter();
    pthread_mutex_lock(&lock);
    bool ok = start_thread();
    /* By then most peers have acknowledged everything. A poll that is under way is of another number. */
    int64_t look_ms = atomic_load(&d->helped) ? INT64_MIN : io_now_ms() + SOON_MS;
    if (ok) {
        atomic_store(&d->number, fd);
        atomic_store(&d->again, look_ms == INT64_MIN);
        atomic_store(&d->orphan, true);
        ok = put_in_inbox(d, look_ms);
        if (ok)
            atomic_fetch_add(&orphans, 1);
        else
            atomic_store(&d->orphan, false);
    }
    pthread_mutex_unlock(&lock);
    wake(ok, look_ms);
    library_leave();
    return ok;
}

/* In the child: no thread, and the parent's work is not ours (fork.c has reset the holds of its lists). */
void helper_forked(void)
{
    pthread_mutex_init(&lock, NULL);
    atomic_store(&running, false);
    atomic_store(&paused, 0);
    atomic_store(&helper_tid, 0);
    atomic_store(&wake_ms, AWAKE);
    count = inbox_count = 0;
    atomic_store(&orphans, 0);
    if (wake_fd >= 0) {
        sys1(SYS_close, (long)wake_fd);
        table_set(wake_fd, WORD_PLAIN);
    }
    wake_fd = -1;
}

/* The thread says that it ends before it has ended, and unshare(2) counts it until the kernel has let go of it, which
 * pthread_join does not wait for either. */
static void wait_until_gone(void)
{
    enum { LOOKS = 10000 };
    struct timespec t = {0, 200000};
    while (atomic_load(&running)) {
        ring();
        sys2(SYS_nanosleep, &t, NULL);
    }
    int tid = atomic_exchange(&helper_tid, 0);
    for (int i = 0; tid && i < LOOKS && sys3(SYS_tgkill, (long)getpid(), (long)tid, 0L) == 0; i++)
        sys2(SYS_nanosleep, &t, NULL);
}

void helper_pause(void)
{
    thread_enter();
    atomic_fetch_add(&paused, 1);
    wait_until_gone();
    thread_leave();
}

void helper_stop(void)
{
    helper_pause();
    atomic_fetch_sub(&paused, 1);
}

/* Where no thread can be made any more, what only it held goes; orphans that are not through are closed. */
static void drop_list(void)
{
    take_inbox();
    while (count)
        drop(count - 1, atomic_load(&list[count - 1]->orphan));
}

void helper_resume(void)
{
    library_enter();
    if (atomic_fetch_sub(&paused, 1) == 1) {
        if (forbidden.threads) {
            drop_list();
        } else {
            pthread_mutex_lock(&lock);
            if (count || inbox_count)
                start_thread();
            pthread_mutex_unlock(&lock);
        }
    }
    library_leave();
}
