#include "chunk.h"

#include "bytes.h"
#include "log.h"
#include "sys.h"

#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U
#endif

struct chunk {
    struct chunk *next;
    struct slot *slots;
    uint32_t used;     /* one bit for each slot that this process holds */
    uint32_t exported; /* one bit for each that is on a memfd of its own */
    uint32_t unsent;   /* of those, whose memfd nobody has got */
    uint32_t warm;     /* one bit for each free one that has its first page still */
    bool shared;       /* mapped by another process too */
    bool single;       /* one slot, imported */
    _Alignas(64) uint8_t companions[][CHUNK_COMPANION];
};

_Static_assert(CHUNK_SLOTS <= 32, "one bit for each slot");
_Static_assert(sizeof(struct slot) % 4096 == 0, "slots can be mapped one by one");

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct chunk *chunks;
static unsigned warm_count; /* bits in warm of all chunks */

static size_t chunk_size(const struct chunk *c)
{
    return (c->single ? 1 : CHUNK_SLOTS) * sizeof(struct slot);
}

static struct chunk *chunk_add(void *mapping, bool single)
{
    size_t size = sizeof(struct chunk) + (single ? 1 : CHUNK_SLOTS) * CHUNK_COMPANION;
    struct chunk *c = mapping == MAP_FAILED ? NULL : aligned_alloc(_Alignof(struct chunk), size);
    if (!c)
        return NULL;
    *c = (struct chunk){.single = single};
    c->slots = mapping;
    c->next = chunks;
    chunks = c;
    return c;
}

static struct chunk *chunk_new(void)
{
    size_t size = CHUNK_SLOTS * sizeof(struct slot);
    void *m = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    struct chunk *c = chunk_add(m, false);
    if (!c && m != MAP_FAILED)
        munmap(m, size);
    if (c)
        madvise(m, size, MADV_DONTDUMP); /* keys do not belong in core files */
    return c;
}

static void chunk_unmap(struct chunk *gone)
{
    for (struct chunk **p = &chunks; *p; p = &(*p)->next) {
        if (*p != gone)
            continue;
        warm_count -= (unsigned)__builtin_popcount(gone->warm);
        *p = gone->next;
        munmap(gone->slots, chunk_size(gone));
        free(gone);
        return;
    }
}

struct slot *chunk_take(struct chunk **where)
{
    struct slot *slot = NULL;
    pthread_mutex_lock(&lock);
    struct chunk *c = chunks;
    while (c && (c->shared || c->used == UINT32_MAX))
        c = c->next;
    if (!c)
        c = chunk_new();
    if (c) {
        uint32_t warm = c->warm & ~c->used;
        unsigned i = (unsigned)__builtin_ctz(warm ? warm : ~c->used);
        c->used |= 1u << i;
        warm_count -= c->warm >> i & 1;
        c->warm &= ~(1u << i);
        slot = &c->slots[i];
        memset(c->companions[i], 0, CHUNK_COMPANION);
        *where = c;
    }
    pthread_mutex_unlock(&lock);
    return slot;
}

void *chunk_companion(struct chunk *chunk, const struct slot *slot)
{
    return chunk->companions[slot - chunk->slots];
}

static uint32_t bit_of(const struct chunk *c, const struct slot *slot)
{
    return 1u << (unsigned)(slot - c->slots);
}

/* Gives the pages back, which also zeroes them: MADV_REMOVE frees shared memory itself, not only our view of it. */
static void slot_erase(struct slot *slot)
{
    if (madvise(slot, sizeof *slot, MADV_REMOVE) != 0)
        wipe(slot, sizeof *slot);
}

/* To give pages back interrupts all processors on which a thread of this process runs, and the next connection faults
 * them in again: a tenth of what a resumed handshake costs. So a few free slots keep the pages that most connections
 * use, wiped. Nobody else has ever mapped them. */
enum { WARM_SLOTS = 16 };

static void slot_cool(struct chunk *c, struct slot *slot)
{
    if (atomic_load(&slot->far_used) || warm_count >= WARM_SLOTS) {
        slot_erase(slot);
        return;
    }
    wipe(slot, offsetof(struct slot, rx_buffer) + (atomic_load(&slot->near_used) ? SLOT_PAGE : 0));
    c->warm |= bit_of(c, slot);
    warm_count++;
}

/* The memfd is not ours any more: anonymous memory comes back to the slot's place. False: it stays taken. */
static bool slot_reset(struct slot *slot)
{
    void *m =
        mmap(slot, sizeof *slot, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m != MAP_FAILED)
        madvise(slot, sizeof *slot, MADV_DONTDUMP);
    return m != MAP_FAILED;
}

void chunk_drop(struct chunk *chunk, struct slot *slot)
{
    uint32_t bit = bit_of(chunk, slot);
    bool free_again = true;
    pthread_mutex_lock(&lock);
    if (chunk->exported & bit)
        free_again = chunk->single || slot_reset(slot);
    else if (!chunk->shared)
        slot_cool(chunk, slot);
    if (free_again) {
        chunk->used &= ~bit;
        chunk->exported &= ~bit;
        chunk->unsent &= ~bit;
    }
    if (!chunk->used && chunk->shared)
        chunk_unmap(chunk);
    pthread_mutex_unlock(&lock);
}

/* A process under RLIMIT_FSIZE would be killed by ftruncate. */
static int new_memfd(size_t size)
{
    static _Atomic bool told;
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < size) {
        if (!atomic_exchange(&told, true))
            log_event(LOG_LEVEL_WARN,
                      "RLIMIT_FSIZE is below %zu bytes: connections cannot be handed to other programs (exec, "
                      "SCM_RIGHTS); raise it",
                      size);
        return -1;
    }
    long fd = sys2(SYS_memfd_create, "p2ptls", (long)(MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL));
    if (fd < 0) /* before Linux 6.3 */
        fd = sys2(SYS_memfd_create, "p2ptls", (long)(MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (fd < 0)
        return -1;
    if (sys2(SYS_ftruncate, fd, (long)size) == 0 &&
        sys3(SYS_fcntl, fd, F_ADD_SEALS, (long)(F_SEAL_SHRINK | F_SEAL_GROW)) == 0)
        return (int)fd;
    sys1(SYS_close, fd);
    return -1;
}

/* Most of a slot was never touched, and reading it would make pages of zeroes. */
static void copy_used(struct slot *to, const struct slot *from)
{
    const struct slot_rx *rx = &from->rx;
    const struct slot_tx *tx = &from->tx;
    memcpy(to, from, offsetof(struct slot, rx_buffer));
    if (slot_rx_valid(rx)) {
        memcpy(to->rx_buffer, from->rx_buffer, rx->half_len);
        memcpy(to->rx_buffer + rx->plain_off, from->rx_buffer + rx->plain_off, rx->plain_len);
    }
    if (slot_tx_valid(tx))
        memcpy(to->tx_buffer + tx->rest_off, from->tx_buffer + tx->rest_off, tx->rest_len);
}

/* Whoever sleeps on the old memory would never be woken. */
static void wake_sleepers(struct slot *slot)
{
    shared_wake(&slot->state);
    shared_wake(&slot->early_kept);
    shared_wake(&slot->turn);
}

/* The slot's address never stops being mapped, since others look at its state without a lock. The old pages are
 * reached by a second mapping (mremap(2), old_size 0), and erased. */
static bool move_to(struct slot *slot, int fd)
{
    size_t size = sizeof *slot;
    struct slot *fresh = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    struct slot *old = mremap(slot, 0, size, MREMAP_MAYMOVE);
    bool moved = false;
    if (fresh != MAP_FAILED && old != MAP_FAILED) {
        copy_used(fresh, slot);
        moved = mmap(slot, size, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_SHARED, fd, 0) != MAP_FAILED;
    }
    if (moved) {
        madvise(slot, size, MADV_DONTDUMP);
        wake_sleepers(old);
        slot_erase(old);
    }
    if (fresh != MAP_FAILED)
        munmap(fresh, size);
    if (old != MAP_FAILED)
        munmap(old, size);
    return moved;
}

int chunk_export(struct chunk *chunk, struct slot *slot)
{
    int fd = -1;
    pthread_mutex_lock(&lock);
    if (!chunk->shared && !(chunk->exported & ~chunk->unsent & bit_of(chunk, slot)) &&
        (fd = new_memfd(sizeof *slot)) >= 0) {
        if (move_to(slot, fd)) {
            chunk->exported |= bit_of(chunk, slot);
            chunk->unsent &= ~bit_of(chunk, slot);
        } else {
            sys1(SYS_close, (long)fd);
            fd = -1;
        }
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

void chunk_export_failed(struct chunk *chunk, const struct slot *slot)
{
    pthread_mutex_lock(&lock);
    chunk->unsent |= bit_of(chunk, slot);
    pthread_mutex_unlock(&lock);
}

bool chunk_exported(const struct chunk *chunk, const struct slot *slot)
{
    return chunk->exported & bit_of(chunk, slot);
}

/* What cannot shrink under us, and has the size of a slot of ours. */
static bool is_slot(int fd)
{
    struct stat s;
    long seals = sys2(SYS_fcntl, (long)fd, (long)F_GET_SEALS);
    return seals >= 0 && (seals & (F_SEAL_SHRINK | F_SEAL_GROW)) == (F_SEAL_SHRINK | F_SEAL_GROW) &&
           fstat(fd, &s) == 0 && s.st_size == (off_t)sizeof(struct slot);
}

struct slot *chunk_import(int fd, struct chunk **where)
{
    if (!is_slot(fd))
        return NULL;
    struct slot *slot = mmap(NULL, sizeof *slot, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (slot == MAP_FAILED)
        return NULL;
    madvise(slot, sizeof *slot, MADV_DONTDUMP);
    struct chunk *c = NULL;
    if (slot->layout == SLOT_LAYOUT) {
        pthread_mutex_lock(&lock);
        c = chunk_add(slot, true);
        if (c) {
            c->used = c->exported = 1;
            c->shared = true;
            memset(c->companions[0], 0, CHUNK_COMPANION);
        }
        pthread_mutex_unlock(&lock);
    }
    *where = c;
    if (!c)
        munmap(slot, sizeof *slot);
    return c ? slot : NULL;
}

void chunk_forked(void)
{
    pthread_mutex_lock(&lock);
    struct chunk *next;
    for (struct chunk *c = chunks; c; c = next) {
        next = c->next;
        c->shared = true;
        warm_count -= (unsigned)__builtin_popcount(c->warm);
        c->warm = 0;
        if (!c->used)
            chunk_unmap(c);
    }
    pthread_mutex_unlock(&lock);
}

void chunk_reset_lock(void)
{
    pthread_mutex_init(&lock, NULL);
}
