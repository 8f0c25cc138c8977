/* Shared mappings that hold slots. A chunk takes no new connections once its process has forked, so that a child
 * never maps the keys of connections that its parent makes later, and it is unmapped when this process holds nothing
 * in it any more. Anonymous shared memory: it has no name that another process of the user could open. */
#ifndef P2PTLS_CHUNK_H
#define P2PTLS_CHUNK_H

#include "slot.h"

enum { CHUNK_SLOTS = 32 };

struct chunk;

/* A zeroed slot in a chunk that this process has not shared; NULL without memory. */
struct slot *chunk_take(struct chunk **where);

/* This process lets go of the slot: wiped if no other process ever mapped it. */
void chunk_drop(struct chunk *chunk, struct slot *slot);

/* Around fork(2): every chunk is shared from now on. Called in parent and child. */
void chunk_forked(void);
/* In the child: locks held by other threads of the parent do not exist here. */
void chunk_reset_lock(void);

#endif
