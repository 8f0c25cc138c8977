/* What chunk.c and chunk_export.c share: how a chunk is laid out. */
#ifndef P2PTLS_CHUNK_INTERNAL_H
#define P2PTLS_CHUNK_INTERNAL_H

#include "chunk.h"

#include <pthread.h>

/* A mapping begins with the views: a page of addresses for each slot, at another quarter of which it lies. The views of
 * slots 0 to 3 show the same page of memory, those of 4 to 7 the next one, and so on (fold). So four slots share a
 * page, and each can get memory of its own at its old address, without the three others. Behind the views are the
 * rooms.
 *
 *   view of slot   0  4  8 .. 28   1  5 .. 29   2  6 .. 30   3  7 .. 31
 *   memory         0  1  2 ..  7   0  1 ..  7   0  1 ..  7   0  1 ..  7
 *
 * An imported slot has its view and its room on a memfd. */
enum { PAGE = SLOT_PAGE, QUARTERS = PAGE / SLOT_BYTES, SLOT_PAGES = CHUNK_SLOTS / QUARTERS };
enum { FILE_BYTES = PAGE + sizeof(struct slot_room), CHUNK_BYTES = CHUNK_SLOTS * FILE_BYTES };

struct chunk {
    struct chunk *next;
    uint8_t *mapping;
    uint32_t used;     /* one bit for each slot that this process holds */
    uint32_t exported; /* one bit for each that is on a memfd of its own */
    uint32_t unsent;   /* of those, whose memfd nobody has got */
    uint32_t warm;     /* one bit for each free one that has its first pages still */
    uint32_t apart;    /* one bit for each whose view shows memory of its own */
    uint16_t at;       /* of the single slot in its view */
    uint8_t folded;    /* one bit for each quarter that fold has seen to */
    bool shared;       /* mapped by another process too */
    bool single;       /* one slot, imported */
    _Alignas(64) uint8_t companions[][CHUNK_COMPANION];
};

#define FIRST_QUARTERS UINT32_C(0x11111111) /* the bits of slots 0, 4, 8 .. */
_Static_assert(CHUNK_SLOTS == 32 && QUARTERS == 4, "one bit for each slot, and four to a page");
_Static_assert(sizeof(struct slot_room) % PAGE == 0, "rooms can be mapped one by one");

static inline uint8_t *view_of(const struct chunk *c, unsigned n)
{
    return c->mapping + (size_t)(n % QUARTERS * SLOT_PAGES + n / QUARTERS) * PAGE;
}

static inline struct slot *slot_of(const struct chunk *c, unsigned n)
{
    return (struct slot *)(view_of(c, n) + (c->single ? c->at : n % QUARTERS * SLOT_BYTES));
}

static inline struct slot_room *room_of(const struct chunk *c, unsigned n)
{
    return (struct slot_room *)(c->mapping + (c->single ? 1 : CHUNK_SLOTS) * PAGE) + n;
}

static inline unsigned number_of(const struct chunk *c, const struct slot *slot)
{
    const unsigned view = (unsigned)(((const uint8_t *)slot - c->mapping) / PAGE);
    return view % SLOT_PAGES * QUARTERS + view / SLOT_PAGES;
}

static inline uint32_t bit_of(const struct chunk *c, const struct slot *slot)
{
    return UINT32_C(1) << number_of(c, slot);
}

extern pthread_mutex_t chunk_lock; /* of all chunks; held around the calls below */

/* The chunk of a mapping, which is not unmapped if there is no memory (NULL). */
struct chunk *chunk_add(void *mapping, bool single);

/* Gives pages back, which also zeroes them: MADV_REMOVE frees shared memory itself, not only our view of it. */
void chunk_erase(void *pages, size_t size);
/* The same for slot n, in the memory that this view of it shows. */
void chunk_erase_slot(const struct chunk *c, unsigned n, uint8_t *view, struct slot *slot);

#endif
