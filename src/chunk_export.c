/* Slots that move to memory which another program can be given (chunk.h), and those that come from one. */
#include "chunk_internal.h"

#include "log.h"
#include "sys.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U
#endif

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

/* Most of a room was never touched, and reading it would make pages of zeroes. */
static void copy_used(struct slot *to, struct slot_room *to_room, const struct slot *from,
                      const struct slot_room *from_room)
{
    memcpy(to, from, sizeof *to);
    const struct slot_rx *rx = &from->rx;
    const struct slot_tx *tx = &from->tx;
    if (slot_rx_valid(rx)) {
        memcpy(to_room->rx, from_room->rx, rx->half_len);
        memcpy(to_room->rx + rx->plain_off, from_room->rx + rx->plain_off, rx->plain_len);
    }
    if (slot_tx_valid(tx))
        memcpy(to_room->tx + tx->rest_off, from_room->tx + tx->rest_off, tx->rest_len);
    if (from->texts_far)
        to_room->texts = from_room->texts;
}

/* Whoever sleeps on the old memory would never be woken. */
static void wake_sleepers(struct slot *slot)
{
    shared_wake(&slot->state);
    shared_wake(&slot->early_kept);
    shared_wake(&slot->turn);
}

static bool map_file(void *at, size_t size, int fd, off_t offset)
{
    if (mmap(at, size, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_SHARED, fd, offset) == MAP_FAILED)
        return false;
    madvise(at, size, MADV_DONTDUMP);
    return true;
}

static void unmap(void *mapping, size_t size)
{
    if (mapping != MAP_FAILED)
        munmap(mapping, size);
}

/* The slot's address never stops being mapped, since others look at its state without a lock. The old pages are
 * reached by a second mapping (mremap(2), old_size 0), and erased. If the room alone has moved, all is well, but nobody
 * can get the memfd. */
static bool move_to(const struct chunk *c, unsigned n, int fd)
{
    struct slot *slot = slot_of(c, n);
    struct slot_room *room = room_of(c, n);
    const size_t at = (size_t)((uint8_t *)slot - view_of(c, n));
    uint8_t *fresh = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    uint8_t *old = mremap(view_of(c, n), 0, PAGE, MREMAP_MAYMOVE);
    void *old_room = mremap(room, 0, sizeof *room, MREMAP_MAYMOVE);
    bool moved = false;
    if (fresh != MAP_FAILED && old != MAP_FAILED && old_room != MAP_FAILED) {
        copy_used((struct slot *)(fresh + at), (struct slot_room *)(fresh + PAGE), slot, room);
        if (map_file(room, sizeof *room, fd, PAGE)) {
            chunk_erase(old_room, sizeof *room);
            moved = map_file(view_of(c, n), PAGE, fd, 0);
        }
    }
    if (moved) {
        wake_sleepers((struct slot *)(old + at));
        chunk_erase_slot(c, n, old, (struct slot *)(old + at));
    }
    unmap(fresh, FILE_BYTES);
    unmap(old, PAGE);
    unmap(old_room, sizeof *room);
    return moved;
}

int chunk_export(struct chunk *chunk, struct slot *slot)
{
    int fd = -1;
    pthread_mutex_lock(&chunk_lock);
    if (!chunk->shared && !(chunk->exported & ~chunk->unsent & bit_of(chunk, slot)) &&
        (fd = new_memfd(FILE_BYTES)) >= 0) {
        if (move_to(chunk, number_of(chunk, slot), fd)) {
            chunk->exported |= bit_of(chunk, slot);
            chunk->apart |= bit_of(chunk, slot);
            chunk->unsent &= ~bit_of(chunk, slot);
        } else {
            sys1(SYS_close, (long)fd);
            fd = -1;
        }
    }
    pthread_mutex_unlock(&chunk_lock);
    return fd;
}

void chunk_export_failed(struct chunk *chunk, const struct slot *slot)
{
    pthread_mutex_lock(&chunk_lock);
    chunk->unsent |= bit_of(chunk, slot);
    pthread_mutex_unlock(&chunk_lock);
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
           fstat(fd, &s) == 0 && s.st_size == (off_t)FILE_BYTES;
}

/* Where the slot is in its view: at the quarter that it had in the process that exported it; -1: nowhere. */
static int find_slot(const uint8_t *view)
{
    for (int at = 0; at < PAGE; at += SLOT_BYTES)
        if (((const struct slot *)(view + at))->layout == SLOT_LAYOUT)
            return at;
    return -1;
}

struct slot *chunk_import(int fd, struct chunk **where)
{
    *where = NULL;
    if (!is_slot(fd))
        return NULL;
    uint8_t *m = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (m == MAP_FAILED)
        return NULL;
    madvise(m, FILE_BYTES, MADV_DONTDUMP);
    struct chunk *c = NULL;
    const int at = find_slot(m);
    if (at >= 0) {
        pthread_mutex_lock(&chunk_lock);
        c = chunk_add(m, true);
        if (c) {
            c->used = c->exported = c->apart = 1;
            c->shared = true;
            c->at = (uint16_t)at;
            memset(c->companions[0], 0, CHUNK_COMPANION);
        }
        pthread_mutex_unlock(&chunk_lock);
    }
    *where = c;
    if (!c)
        munmap(m, FILE_BYTES);
    return c ? slot_of(c, 0) : NULL;
}
