#include "holders.h"

#include "log.h"
#include "sys.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

enum { ID_MASK = 0x3fffffff };

struct family {
    struct family *next;
    uint8_t name[FAMILY_NAME];
    int file; /* the memfd, -1: none (yet) */
    uint32_t id;
};

static struct family own = {.file = -1};
static _Atomic(struct family *) families = &own; /* grows at its head only, and is never freed */
static hide_descriptor hide_fd;
static bool locks_forbidden; /* by a sandbox */

static long lock_call(const struct family *f, int command, struct flock *l)
{
    return sys3(SYS_fcntl, (long)f->file, (long)command, l);
}

static struct flock lock_of(uint32_t id)
{
    return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)(id & ID_MASK), .l_len = 1};
}

static void random_bytes(void *to, size_t len)
{
    if (sys3(SYS_getrandom, to, (long)len, (long)GRND_NONBLOCK) != (long)len) /* libc's is a cancellation point */
        memset(to, 0, len);
}

static uint32_t random_id(void)
{
    uint32_t id = 0;
    while (!id) {
        random_bytes(&id, sizeof id);
        if (!id)
            id = (uint32_t)sys0(SYS_gettid);
        id &= ID_MASK;
    }
    return id;
}

/* Without a lock (no memfd) the id still tells processes apart; holder_alive then answers true. */
static bool take_id(struct family *f)
{
    for (int tries = 0; tries < 16; tries++) {
        f->id = random_id();
        struct flock l = lock_of(f->id);
        if (f->file < 0 || locks_forbidden || lock_call(f, F_SETLK, &l) == 0)
            return true;
    }
    return false;
}

void holders_init(hide_descriptor hide)
{
    hide_fd = hide;
    random_bytes(own.name, sizeof own.name);
    (void)take_id(&own);
}

void holders_sandbox(bool no_file_locks)
{
    locks_forbidden = no_file_locks;
}

struct family *family_own(void)
{
    return &own;
}

const uint8_t *family_name(const struct family *f)
{
    return f->name;
}

int family_file(const struct family *f)
{
    return f->file;
}

uint32_t holder_self(const struct family *f)
{
    return f->id;
}

void family_found(void)
{
    if (own.file >= 0 || locks_forbidden)
        return;
    int fd = (int)sys2(SYS_memfd_create, "p2ptls-holders", (long)MFD_CLOEXEC);
    if (fd >= 0 && hide_fd)
        fd = hide_fd(fd);
    if (fd < 0) {
        log_event(LOG_LEVEL_WARN, "no descriptor left to count the processes that share connections: a peer may see a "
                                  "reset instead of an orderly end; raise RLIMIT_NOFILE");
        return;
    }
    struct flock l = lock_of(own.id); /* may own handshakes already, so it stays */
    own.file = fd;
    if (lock_call(&own, F_SETLK, &l) != 0) {
        log_event(LOG_LEVEL_WARN, "cannot lock the file that counts the processes that share connections");
        sys1(SYS_close, (long)fd);
        own.file = -1;
    }
}

struct family *family_find(const uint8_t name[FAMILY_NAME])
{
    struct family *f = atomic_load(&families);
    while (f && memcmp(f->name, name, FAMILY_NAME) != 0)
        f = f->next;
    return f;
}

struct family *family_join(const uint8_t name[FAMILY_NAME], int file)
{
    struct family *f = calloc(1, sizeof *f);
    if (f) {
        memcpy(f->name, name, FAMILY_NAME);
        f->file = hide_fd ? hide_fd(file) : file;
    }
    if (!f || f->file < 0 || !take_id(f)) {
        sys1(SYS_close, (long)(f ? f->file : file));
        free(f);
        return NULL;
    }
    f->next = atomic_load(&families);
    while (!atomic_compare_exchange_weak(&families, &f->next, f))
        ;
    return f;
}

static void add(struct slot *slot, uint32_t id)
{
    atomic_store(&slot->shared, 1);
    for (int i = 0; i < SLOT_HOLDERS; i++)
        if (atomic_load(&slot->holders[i]) == id)
            return;
    for (int i = 0; i < SLOT_HOLDERS; i++) {
        uint32_t empty = 0;
        if (atomic_compare_exchange_strong(&slot->holders[i], &empty, id))
            return;
    }
    atomic_store(&slot->holders_unknown, 1);
}

static void take_out(struct slot *slot, uint32_t id)
{
    for (int i = 0; i < SLOT_HOLDERS; i++) {
        uint32_t seen = id;
        atomic_compare_exchange_strong(&slot->holders[i], &seen, 0);
    }
}

void holders_announce(const struct family *f, struct slot *slot, int64_t until_ms)
{
    add(slot, f->id);
    if (f->file < 0)
        atomic_store(&slot->holders_unknown, 1);
    atomic_store(&slot->fork_until_ms, until_ms);
    atomic_fetch_add(&slot->forks, 1);
}

void holders_withdraw(struct slot *slot)
{
    atomic_fetch_sub(&slot->forks, 1);
}

void holders_child(void)
{
    /* Without a file there is no family yet: the one that the parent may make later is not this process's. */
    if (own.file < 0)
        random_bytes(own.name, sizeof own.name);
    for (struct family *f = atomic_load(&families); f; f = f->next)
        (void)take_id(f);
}

void holders_join(const struct family *f, struct slot *slot)
{
    add(slot, f->id);
    atomic_fetch_add(&slot->joins, 1);
}

void holders_depart(const struct family *f, struct slot *slot)
{
    add(slot, f->id);
    atomic_fetch_add(&slot->departures, 1);
}

void holders_arrive(const struct family *f, struct slot *slot)
{
    add(slot, f->id);
    atomic_fetch_add(&slot->arrivals, 1);
}

void holders_add(const struct family *f, struct slot *slot)
{
    add(slot, f->id);
}

void holders_return(struct slot *slot)
{
    atomic_fetch_sub(&slot->departures, 1);
}

void holders_move(const struct family *f, struct slot *slot, int64_t until_ms)
{
    holders_announce(f, slot, until_ms);
    take_out(slot, f->id);
}

void holders_stay(const struct family *f, struct slot *slot)
{
    add(slot, f->id);
    holders_withdraw(slot);
}

bool holder_alive(const struct family *f, uint32_t id)
{
    if (id == f->id || f->file < 0 || locks_forbidden)
        return true;
    struct flock l = lock_of(id);
    if (lock_call(f, F_GETLK, &l) != 0)
        return true;
    return l.l_type != F_UNLCK;
}

bool holders_sole(const struct slot *slot)
{
    return !atomic_load(&slot->shared);
}

bool holders_leave(const struct family *f, struct slot *slot, int64_t now_ms)
{
    take_out(slot, f->id);
    bool forking = atomic_load(&slot->forks) != atomic_load(&slot->joins) && atomic_load(&slot->fork_until_ms) > now_ms;
    bool in_flight = (int32_t)(atomic_load(&slot->departures) - atomic_load(&slot->arrivals)) > 0;
    if (atomic_load(&slot->holders_unknown) || forking || in_flight)
        return false;
    for (int i = 0; i < SLOT_HOLDERS; i++) {
        uint32_t id = atomic_load(&slot->holders[i]);
        if (!id)
            continue;
        if (holder_alive(f, id))
            return false;
        take_out(slot, id);
    }
    return true;
}
