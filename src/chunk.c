#include "chunk.h"

#include "bytes.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

struct chunk {
    struct chunk *next;
    struct slot *slots;
    uint32_t used; /* one bit for each slot that this process holds */
    bool shared;   /* mapped by another process too */
};

_Static_assert(CHUNK_SLOTS <= 32, "one bit for each slot");

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct chunk *chunks;

static struct chunk *chunk_new(void)
{
    struct chunk *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    size_t size = CHUNK_SLOTS * sizeof(struct slot);
    c->slots = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (c->slots == MAP_FAILED) {
        free(c);
        return NULL;
    }
    madvise(c->slots, size, MADV_DONTDUMP); /* keys do not belong in core files */
    c->next = chunks;
    chunks = c;
    return c;
}

static void chunk_unmap(struct chunk *gone)
{
    for (struct chunk **p = &chunks; *p; p = &(*p)->next) {
        if (*p != gone)
            continue;
        *p = gone->next;
        munmap(gone->slots, CHUNK_SLOTS * sizeof(struct slot));
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
        unsigned i = (unsigned)__builtin_ctz(~c->used);
        c->used |= 1u << i;
        slot = &c->slots[i];
        *where = c;
    }
    pthread_mutex_unlock(&lock);
    return slot;
}

/* Gives the pages back, which also zeroes them: MADV_REMOVE frees shared memory itself, not only our view of it. */
static void slot_erase(struct slot *slot)
{
    if (madvise(slot, sizeof *slot, MADV_REMOVE) != 0)
        wipe(slot, sizeof *slot);
}

void chunk_drop(struct chunk *chunk, struct slot *slot)
{
    pthread_mutex_lock(&lock);
    if (!chunk->shared)
        slot_erase(slot);
    chunk->used &= ~(1u << (unsigned)(slot - chunk->slots));
    if (!chunk->used && chunk->shared)
        chunk_unmap(chunk);
    pthread_mutex_unlock(&lock);
}

void chunk_forked(void)
{
    pthread_mutex_lock(&lock);
    struct chunk *next;
    for (struct chunk *c = chunks; c; c = next) {
        next = c->next;
        c->shared = true;
        if (!c->used)
            chunk_unmap(c);
    }
    pthread_mutex_unlock(&lock);
}

void chunk_reset_lock(void)
{
    pthread_mutex_init(&lock, NULL);
}
