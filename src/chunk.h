/* Shared mappings that hold slots. A chunk takes no new connections once its process has forked, so that a child
 * never maps the keys of connections that its parent makes later, and it is unmapped when this process holds nothing
 * in it any more. Chunks are anonymous shared memory: it has no name that another process of the user could open.
 *
 * A slot that is to be handed to another program moves to a memfd of its own, at its old address (chunk_export): so
 * whoever receives it can map this connection and no other. */
#ifndef P2PTLS_CHUNK_H
#define P2PTLS_CHUNK_H

#include "slot.h"

#include <stdbool.h>

/* CHUNK_COMPANION: bytes of this process's own memory that go with each slot. */
enum { CHUNK_SLOTS = 32, CHUNK_COMPANION = 512 };

struct chunk;

/* A zeroed slot in a chunk that this process has not shared; NULL without memory. */
struct slot *chunk_take(struct chunk **where);

/* The slot's companion, zeroed when the slot was taken. Private memory, of which none is between the sessions of
 * handshakes: a small block there would keep their pages. */
void *chunk_companion(struct chunk *chunk, const struct slot *slot);

/* The slot's room: zeroes, until something is written to it. */
struct slot_room *chunk_room(struct chunk *chunk, const struct slot *slot);

/* In front of chunk_drop, where this process was the last that held the connection: what other processes map as well is
 * wiped, too. On a memfd it goes with the last mapping. */
void chunk_wipe(struct chunk *chunk, struct slot *slot);

/* This process lets go of the slot: wiped if no other process ever mapped it, and its memory given back, but
 * for what a few free ones keep. The companion goes with it. */
void chunk_drop(struct chunk *chunk, struct slot *slot);

/* Puts the slot on a memfd of its own, sealed at its size, and returns a descriptor of it, which the caller closes; -1
 * if another process maps the slot where it is, it is on one already, or without descriptors or memory. Nobody may use
 * the slot meanwhile; a sleeper on one of its words is woken, and must look again within a bounded time. */
int chunk_export(struct chunk *chunk, struct slot *slot);
void chunk_export_failed(struct chunk *chunk, const struct slot *slot); /* nobody has got it: it may move again */
bool chunk_exported(const struct chunk *chunk, const struct slot *slot);

/* Maps a slot that another process exported. The descriptor stays the caller's. NULL: it is not one, or no memory. */
struct slot *chunk_import(int fd, struct chunk **where);

/* In a sandbox the kernel is asked for memory alone, not for what makes it less. */
void chunk_sandbox(bool inside);

/* Around fork(2): every chunk is shared from now on. Called in parent and child. */
void chunk_forked(void);
/* In the child: locks held by other threads of the parent do not exist here. */
void chunk_reset_lock(void);

#endif
