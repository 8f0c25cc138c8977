/* The registry: a table of fixed size in a file, open-addressed by the random. Who adds or removes an entry holds the
 * record lock of the whole file for the time of three system calls; the kernel takes it back from whoever dies. Who
 * looks an entry up takes no lock: it was complete before its hello left, and nobody touches it until it has expired.
 */
#include "reflection.h"

#include "bytes.h"
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

enum {
    PLACES = 16384, /* of each side */
    WINDOW = 64,    /* places in a row where an entry may be: with 8,000 open hellos one is free in all but 1 of 2^60 */
    LOCK_SPINS = 100,
    LOCK_TRIES = LOCK_SPINS + 300,    /* a millisecond each */
    LIFETIME_MAX_MS = 15 * 60 * 1000, /* also of what somebody has put there out of malice */
    DISTRUST_MS = 10 * 1000,
};

/* What strangers can open, half open connections, stands apart from what this user opens, and one process has a share
 * of it alone: who is flooded keeps neither outgoing connections nor other services from working. */
enum { SIDES = 2 };
static const unsigned share_of[SIDES] = {[REFLECTION_CONNECTED] = PLACES / 2, [REFLECTION_ACCEPTED] = PLACES / 8};

/* Expiry 0: free. All is little-endian as the machine is: the file is never shared with another one. */
struct entry {
    int64_t until_ms;
    uint8_t random[REFLECTION_RANDOM];
    struct reflection_ends ends;
};

struct reflection {
    _Atomic int file;             /* may be moved to another number */
    _Atomic unsigned open[SIDES]; /* of this process */
    pthread_mutex_t lock;         /* record locks are the process's, not the thread's */
    int64_t distrust_until_ms;    /* under it: the file's lock is held by somebody who does not give it back */
};

static _Atomic bool forbidden;

/* Counts while the machine sleeps, and is the same for all its processes. */
static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static uint32_t first_place(const uint8_t *random)
{
    return ((uint32_t)random[0] << 8 | random[1]) % PLACES;
}

/* The place that is i behind the first one, around the end of that side's part of the table. */
static uint32_t place_at(enum reflection_side side, uint32_t first, uint32_t i)
{
    return (uint32_t)side * PLACES + (first + i) % PLACES;
}

static off_t offset_of(uint32_t place)
{
    return (off_t)place * (off_t)sizeof(struct entry);
}

/* What lies behind the end of the file is free. The window may go around the end. */
static bool read_window(const struct reflection *r, enum reflection_side side, uint32_t first,
                        struct entry window[WINDOW])
{
    long file = atomic_load(&r->file);
    size_t before_end = PLACES - first < WINDOW ? PLACES - first : WINDOW;

    memset(window, 0, WINDOW * sizeof *window);
    if (sys4(SYS_pread64, file, window, before_end * sizeof *window, offset_of(place_at(side, first, 0))) < 0)
        return false;
    return before_end == WINDOW || sys4(SYS_pread64, file, window + before_end, (WINDOW - before_end) * sizeof *window,
                                        offset_of(place_at(side, 0, 0))) >= 0;
}

/* SIGXFSZ would end the program. */
static bool may_write(void)
{
    struct rlimit limit;
    return sys4(SYS_prlimit64, 0L, (long)RLIMIT_FSIZE, NULL, &limit) == 0 &&
           limit.rlim_cur >= SIDES * PLACES * sizeof(struct entry);
}

static bool write_entry(const struct reflection *r, uint32_t place, const struct entry *e)
{
    return may_write() &&
           sys4(SYS_pwrite64, (long)atomic_load(&r->file), e, sizeof *e, offset_of(place)) == (long)sizeof *e;
}

static bool set_lock(const struct reflection *r, short type)
{
    struct flock l = {.l_type = type, .l_whence = SEEK_SET};
    return sys3(SYS_fcntl, (long)atomic_load(&r->file), (long)F_SETLK, &l) == 0;
}

/* It is held for microseconds, unless its holder has lost the processor. Whoever holds it for longer than this has been
 * stopped, or is no friend: a child that was forked with the file's descriptor and lowered its privileges since. He
 * must not stop everybody's connections, so all go on without (false); he could as well erase what they write. */
static bool take(struct reflection *r)
{
    const struct timespec pause = {0, 1000000};

    pthread_mutex_lock(&r->lock);
    const int most = now_ms() < r->distrust_until_ms ? 1 : LOCK_TRIES;
    for (int tries = 0; tries < most; tries++) {
        if (set_lock(r, F_WRLCK)) {
            r->distrust_until_ms = 0;
            return true;
        }
        if (tries < LOCK_SPINS)
            sys0(SYS_sched_yield);
        else
            sys4(SYS_clock_nanosleep, (long)CLOCK_MONOTONIC, 0L, &pause, NULL);
    }
    r->distrust_until_ms = now_ms() + DISTRUST_MS;
    return false;
}

static void give(struct reflection *r, bool locked)
{
    if (locked)
        (void)set_lock(r, F_UNLCK);
    pthread_mutex_unlock(&r->lock);
}

/* A time too far ahead was written before the machine was started, or by nobody in earnest. */
static bool is_open(const struct entry *e, int64_t now)
{
    return e->until_ms > now && e->until_ms <= now + LIFETIME_MAX_MS;
}

static bool is_at(const struct reflection *r, uint32_t place, const uint8_t random[REFLECTION_RANDOM])
{
    struct entry e;

    return sys4(SYS_pread64, (long)atomic_load(&r->file), &e, sizeof e, offset_of(place)) == (long)sizeof e &&
           memcmp(e.random, random, sizeof e.random) == 0;
}

/* Without the lock another process may have taken the place in the same moment: the next one then. */
static enum result add(struct reflection *r, enum reflection_side side, const struct entry *e, int64_t now, bool locked,
                       uint32_t *place)
{
    struct entry window[WINDOW];
    uint32_t first = first_place(e->random);

    if (!read_window(r, side, first, window))
        return RESULT_IO;
    for (uint32_t i = 0; i < WINDOW; i++) {
        if (is_open(&window[i], now))
            continue;
        *place = place_at(side, first, i);
        if (!write_entry(r, *place, e))
            return RESULT_IO;
        if (locked || is_at(r, *place, e->random))
            return RESULT_OK;
    }
    return RESULT_AGAIN;
}

bool reflection_is_crowded(const struct reflection *r, enum reflection_side side)
{
    return atomic_load(&r->open[side]) >= share_of[side];
}

/* Counted before, so that threads do not go beyond it together. */
static bool take_share(struct reflection *r, enum reflection_side side)
{
    if (atomic_fetch_add(&r->open[side], 1) < share_of[side])
        return true;
    atomic_fetch_sub(&r->open[side], 1);
    return false;
}

static enum result keep(struct reflection *r, enum reflection_side side, const struct entry *e, int64_t now,
                        uint32_t *place)
{
    if (!take_share(r, side))
        return RESULT_AGAIN;
    const bool locked = take(r);
    const enum result result = add(r, side, e, now, locked, place);
    give(r, locked);
    if (result != RESULT_OK)
        atomic_fetch_sub(&r->open[side], 1);
    return result;
}

enum result reflection_keep(struct reflection *r, enum reflection_side side, const uint8_t random[REFLECTION_RANDOM],
                            const struct reflection_ends *ends, uint32_t lifetime_ms, struct reflection_note *note)
{
    struct entry e;
    int64_t now = now_ms();
    uint32_t place;

    if (atomic_load(&forbidden))
        return RESULT_IO;
    memset(&e, 0, sizeof e); /* padding too */
    e.until_ms = now + (lifetime_ms < LIFETIME_MAX_MS ? lifetime_ms : LIFETIME_MAX_MS);
    memcpy(e.random, random, sizeof e.random);
    if (ends->known)
        memcpy(&e.ends, ends, sizeof e.ends);
    enum result result = keep(r, side, &e, now, &place);
    if (result == RESULT_OK)
        *note = (struct reflection_note){place + 1, (pid_t)sys0(SYS_getpid), e.until_ms};
    return result;
}

static void erase(struct reflection *r, const uint8_t random[REFLECTION_RANDOM], uint32_t place)
{
    const struct entry nothing = {0};

    const bool locked = take(r);
    if (is_at(r, place, random))
        (void)write_entry(r, place, &nothing);
    give(r, locked);
}

void reflection_forget(struct reflection *r, const uint8_t random[REFLECTION_RANDOM], struct reflection_note *note)
{
    uint32_t place = note->place - 1;

    if (!note->place || note->process != (pid_t)sys0(SYS_getpid))
        return;
    note->place = 0;
    atomic_fetch_sub(&r->open[place / PLACES], 1);
    if (!atomic_load(&forbidden))
        erase(r, random, place);
}

bool reflection_expired(const struct reflection_note *note)
{
    return note->place && now_ms() >= note->until_ms;
}

static bool same_end(const struct reflection_end *a, const struct reflection_end *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static bool mirror_each_other(const struct reflection_ends *a, const struct reflection_ends *b)
{
    return a->known && b->known && same_end(&a->local, &b->remote) && same_end(&a->remote, &b->local);
}

static enum result look_at_side(struct reflection *r, enum reflection_side side,
                                const uint8_t random[REFLECTION_RANDOM], const struct reflection_ends *ends,
                                int64_t now)
{
    struct entry window[WINDOW];

    if (!read_window(r, side, first_place(random), window))
        return RESULT_IO;
    for (uint32_t i = 0; i < WINDOW; i++)
        if (is_open(&window[i], now) && memcmp(window[i].random, random, REFLECTION_RANDOM) == 0)
            return mirror_each_other(&window[i].ends, ends) ? RESULT_OK : RESULT_PROTOCOL;
    return RESULT_OK;
}

enum result reflection_look(struct reflection *r, const uint8_t random[REFLECTION_RANDOM],
                            const struct reflection_ends *ends)
{
    int64_t now = now_ms();

    if (atomic_load(&forbidden))
        return RESULT_IO;
    enum result result = look_at_side(r, REFLECTION_CONNECTED, random, ends, now);
    return result == RESULT_OK ? look_at_side(r, REFLECTION_ACCEPTED, random, ends, now) : result;
}

struct reflection *reflection_new(int file)
{
    struct reflection *r = calloc(1, sizeof *r);

    if (!r)
        return NULL;
    r->file = file;
    pthread_mutex_init(&r->lock, NULL);
    return r;
}

_Atomic int *reflection_number(struct reflection *r)
{
    return &r->file;
}

int reflection_release(struct reflection *r)
{
    int file = r->file;

    pthread_mutex_destroy(&r->lock);
    free(r);
    return file;
}

void reflection_relock(struct reflection *r)
{
    pthread_mutex_init(&r->lock, NULL);
    for (int side = 0; side < SIDES; side++) /* its parent's handshakes are not its own */
        atomic_store(&r->open[side], 0);
}

void reflection_sandbox(bool off)
{
    atomic_store(&forbidden, off);
}
