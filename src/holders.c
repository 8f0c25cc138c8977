#include "holders.h"

#include "log.h"
#include "sys.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>

enum { FORK_GRACE_MS = 2000, ID_MASK = 0x3fffffff };

static int lock_fd = -1;
static uint32_t own_id;
static hide_descriptor hide_fd;
static bool locks_forbidden; /* by a sandbox */

static long lock_call(int command, struct flock *l)
{
    return sys3(SYS_fcntl, (long)lock_fd, (long)command, l);
}

static struct flock lock_of(uint32_t id)
{
    return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)id, .l_len = 1};
}

static uint32_t random_id(void)
{
    uint32_t id = 0;
    while (!id) {
        if (getrandom(&id, sizeof id, GRND_NONBLOCK) != (ssize_t)sizeof id)
            id = (uint32_t)sys0(SYS_gettid);
        id &= ID_MASK;
    }
    return id;
}

/* Without a lock (no memfd) the id still tells processes apart; holder_alive then answers true. */
static void take_id(void)
{
    for (int tries = 0; tries < 16; tries++) {
        own_id = random_id();
        struct flock l = lock_of(own_id);
        if (lock_fd < 0 || locks_forbidden || lock_call(F_SETLK, &l) == 0)
            return;
    }
}

void holders_init(hide_descriptor hide)
{
    hide_fd = hide;
    take_id();
}

void holders_sandbox(bool no_file_locks)
{
    locks_forbidden = no_file_locks;
}

uint32_t holder_self(void)
{
    return own_id;
}

void holders_prepare_fork(void)
{
    if (lock_fd >= 0 || locks_forbidden)
        return;
    int fd = (int)sys2(SYS_memfd_create, "p2ptls-holders", (long)MFD_CLOEXEC);
    if (fd >= 0 && hide_fd)
        fd = hide_fd(fd);
    if (fd < 0) {
        log_event(LOG_LEVEL_WARN, "no descriptor left to count the processes that share connections: a peer may see a "
                                  "reset instead of an orderly end; raise RLIMIT_NOFILE");
        return;
    }
    uint32_t id = holder_self(); /* may own handshakes already, so it stays */
    struct flock l = lock_of(id);
    lock_fd = fd;
    if (lock_call(F_SETLK, &l) != 0) {
        log_event(LOG_LEVEL_WARN, "cannot lock the file that counts the processes that share connections");
        sys1(SYS_close, (long)fd);
        lock_fd = -1;
    }
}

static bool add(struct slot *slot, uint32_t id)
{
    for (int i = 0; i < SLOT_HOLDERS; i++)
        if (atomic_load(&slot->holders[i]) == id)
            return true;
    for (int i = 0; i < SLOT_HOLDERS; i++) {
        uint32_t empty = 0;
        if (atomic_compare_exchange_strong(&slot->holders[i], &empty, id))
            return true;
    }
    atomic_store(&slot->holders_unknown, 1);
    return false;
}

static void take_out(struct slot *slot, uint32_t id)
{
    for (int i = 0; i < SLOT_HOLDERS; i++) {
        uint32_t seen = id;
        atomic_compare_exchange_strong(&slot->holders[i], &seen, 0);
    }
}

void holders_announce(struct slot *slot, int64_t now_ms)
{
    if (lock_fd < 0 || locks_forbidden)
        atomic_store(&slot->holders_unknown, 1);
    add(slot, holder_self());
    atomic_store(&slot->fork_until_ms, now_ms + FORK_GRACE_MS);
    atomic_fetch_add(&slot->forks, 1);
}

void holders_withdraw(struct slot *slot)
{
    atomic_fetch_sub(&slot->forks, 1);
}

void holders_child(void)
{
    take_id();
}

void holders_join(struct slot *slot)
{
    add(slot, holder_self());
    atomic_fetch_add(&slot->joins, 1);
}

bool holder_alive(uint32_t id)
{
    if (id == own_id || lock_fd < 0 || locks_forbidden)
        return true;
    struct flock l = lock_of(id & ID_MASK);
    if (lock_call(F_GETLK, &l) != 0)
        return true;
    return l.l_type != F_UNLCK;
}

bool holders_leave(struct slot *slot, int64_t now_ms)
{
    take_out(slot, holder_self());
    bool forking = atomic_load(&slot->forks) != atomic_load(&slot->joins) && atomic_load(&slot->fork_until_ms) > now_ms;
    if (atomic_load(&slot->holders_unknown) || forking)
        return false;
    for (int i = 0; i < SLOT_HOLDERS; i++) {
        uint32_t id = atomic_load(&slot->holders[i]);
        if (!id)
            continue;
        if (holder_alive(id))
            return false;
        take_out(slot, id);
    }
    return true;
}
