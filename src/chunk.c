/* Who gets which slot, and the memory under them (chunk.h). */
#include "chunk_internal.h"

#include "bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

pthread_mutex_t chunk_lock = PTHREAD_MUTEX_INITIALIZER;
static struct chunk *chunks;
static unsigned warm_count; /* bits in warm of all chunks */
static _Atomic bool frozen; /* a sandbox */

static size_t chunk_size(const struct chunk *c)
{
    return c->single ? FILE_BYTES : CHUNK_BYTES;
}

struct chunk *chunk_add(void *mapping, bool single)
{
    size_t size = sizeof(struct chunk) + (single ? 1 : CHUNK_SLOTS) * CHUNK_COMPANION;
    struct chunk *c = mapping == MAP_FAILED ? NULL : aligned_alloc(_Alignof(struct chunk), size);
    if (!c)
        return NULL;
    *c = (struct chunk){.single = single};
    c->mapping = mapping;
    c->next = chunks;
    chunks = c;
    return c;
}

static struct chunk *chunk_new(void)
{
    void *m = mmap(NULL, CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    struct chunk *c = chunk_add(m, false);
    if (!c && m != MAP_FAILED)
        munmap(m, CHUNK_BYTES);
    if (c) {
        c->apart = ~FIRST_QUARTERS;
        madvise(m, CHUNK_BYTES, MADV_DONTDUMP); /* keys do not belong in core files */
    }
    return c;
}

/* Has an mremap that failed looked at nothing but its arguments, or not even been made (a filter)? Else Linux may have
 * unmapped the new place first: without memory, with too many mappings, or with more locked than RLIMIT_MEMLOCK allows
 * (mlockall by root, who then becomes somebody else). */
static bool did_nothing(int error)
{
    return error == EINVAL || error == EPERM || error == EACCES || error == ENOSYS;
}

/* Before the first slot of a quarter is taken: lets all views of that quarter show the memory of the first one's
 * (mremap(2), old_size 0, makes a second mapping of it). Where that is not to be had, they show memory of their own:
 * slots take four times as much, and everything else is the same. False: the old mapping may be gone; then these slots
 * are taken for good. */
static bool fold(struct chunk *c, unsigned quarter)
{
    const size_t size = SLOT_PAGES * PAGE;
    const uint32_t slots = FIRST_QUARTERS << quarter;
    if (!quarter || c->folded >> quarter & 1)
        return true;
    c->folded |= (uint8_t)(1u << quarter);
    if (atomic_load(&frozen) || (c->apart & 1)) /* the mapping begins with memory that another program has got */
        return true;
    if (mremap(c->mapping, 0, size, MREMAP_MAYMOVE | MREMAP_FIXED, c->mapping + quarter * size) != MAP_FAILED)
        c->apart &= ~slots;
    else if (!did_nothing(errno))
        c->used |= slots;
    return !(c->used & slots);
}

static void chunk_unmap(struct chunk *gone)
{
    for (struct chunk **p = &chunks; *p; p = &(*p)->next) {
        if (*p != gone)
            continue;
        warm_count -= (unsigned)__builtin_popcount(gone->warm);
        *p = gone->next;
        munmap(gone->mapping, chunk_size(gone));
        free(gone);
        return;
    }
}

struct slot *chunk_take(struct chunk **where)
{
    struct slot *slot = NULL;
    struct chunk *c;
    unsigned n;
    pthread_mutex_lock(&chunk_lock);
    do {
        for (c = chunks; c && (c->shared || c->used == UINT32_MAX); c = c->next)
            ;
        if (!c)
            c = chunk_new();
        n = c ? (unsigned)__builtin_ctz(c->warm ? c->warm : ~c->used) : 0;
    } while (c && !fold(c, n % QUARTERS));
    if (c) {
        c->used |= UINT32_C(1) << n;
        warm_count -= c->warm >> n & 1;
        c->warm &= ~(UINT32_C(1) << n);
        slot = slot_of(c, n);
        memset(c->companions[n], 0, CHUNK_COMPANION);
        *where = c;
    }
    pthread_mutex_unlock(&chunk_lock);
    return slot;
}

void *chunk_companion(struct chunk *chunk, const struct slot *slot)
{
    return chunk->companions[number_of(chunk, slot)];
}

struct slot_room *chunk_room(struct chunk *chunk, const struct slot *slot)
{
    return room_of(chunk, number_of(chunk, slot));
}

/* Is there another slot in the memory of slot n, or a free one that keeps it? */
static bool page_in_use(const struct chunk *c, unsigned n)
{
    const uint32_t page = ((UINT32_C(1) << QUARTERS) - 1) << (n - n % QUARTERS);
    const uint32_t others = page & ~c->apart & ~(UINT32_C(1) << n);
    return !(c->apart >> n & 1) && ((c->used | c->warm) & others);
}

void chunk_erase(void *pages, size_t size)
{
    if (madvise(pages, size, MADV_REMOVE) != 0)
        wipe(pages, size);
}

void chunk_erase_slot(const struct chunk *c, unsigned n, uint8_t *view, struct slot *slot)
{
    wipe(slot, sizeof *slot);
    if (!page_in_use(c, n))
        chunk_erase(view, PAGE);
}

/* To give pages back interrupts all processors on which a thread of this process runs, and the next connection faults
 * them in again: a tenth of what a resumed handshake costs. So a few free slots keep the pages that most connections
 * use, wiped. Nobody else has ever mapped them. */
enum { WARM_SLOTS = 16 };

static void slot_cool(struct chunk *c, unsigned n)
{
    struct slot *slot = slot_of(c, n);
    struct slot_room *room = room_of(c, n);
    const bool near = atomic_load(&slot->near_used), far = atomic_load(&slot->far_used);
    if (far || warm_count >= WARM_SLOTS) {
        if (near || far)
            chunk_erase(room, sizeof *room);
        chunk_erase_slot(c, n, view_of(c, n), slot);
        return;
    }
    wipe(slot, sizeof *slot);
    if (near)
        wipe(room, SLOT_PAGE);
    c->warm |= UINT32_C(1) << n;
    warm_count++;
}

static bool map_anew(void *at, size_t size)
{
    void *m = mmap(at, size, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m != MAP_FAILED)
        madvise(at, size, MADV_DONTDUMP);
    return m != MAP_FAILED;
}

/* The memfd is not ours any more: anonymous memory comes back to the slot's place. False: it stays taken. */
static bool slot_reset(const struct chunk *c, unsigned n)
{
    return map_anew(view_of(c, n), PAGE) && map_anew(room_of(c, n), sizeof(struct slot_room));
}

void chunk_wipe(struct chunk *chunk, struct slot *slot)
{
    pthread_mutex_lock(&chunk_lock);
    if (chunk->shared && !(chunk->exported & bit_of(chunk, slot))) {
        if (atomic_load(&slot->near_used) || atomic_load(&slot->far_used))
            chunk_erase(chunk_room(chunk, slot), sizeof(struct slot_room));
        wipe(slot, sizeof *slot);
    }
    pthread_mutex_unlock(&chunk_lock);
}

void chunk_drop(struct chunk *chunk, struct slot *slot)
{
    const unsigned n = number_of(chunk, slot);
    const uint32_t bit = bit_of(chunk, slot);
    bool free_again = true;
    pthread_mutex_lock(&chunk_lock);
    if (chunk->exported & bit) {
        free_again = chunk->single || slot_reset(chunk, n);
    } else if (!chunk->shared) {
        slot_cool(chunk, n);
    }
    if (free_again) {
        chunk->used &= ~bit;
        chunk->exported &= ~bit;
        chunk->unsent &= ~bit;
    }
    if (!chunk->used && chunk->shared)
        chunk_unmap(chunk);
    pthread_mutex_unlock(&chunk_lock);
}

void chunk_sandbox(bool inside)
{
    atomic_store(&frozen, inside);
}

void chunk_forked(void)
{
    pthread_mutex_lock(&chunk_lock);
    struct chunk *next;
    for (struct chunk *c = chunks; c; c = next) {
        next = c->next;
        c->shared = true;
        warm_count -= (unsigned)__builtin_popcount(c->warm);
        c->warm = 0;
        if (!c->used)
            chunk_unmap(c);
    }
    pthread_mutex_unlock(&chunk_lock);
}

void chunk_reset_lock(void)
{
    pthread_mutex_init(&chunk_lock, NULL);
}
