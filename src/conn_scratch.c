/* Slot locks, scratch buffers and iovec copying: a call needs up to 256 KiB for a moment, an idle connection nothing.
 */
#include "conn_internal.h"

enum { SCRATCH_KEPT = 4 };
static _Atomic(uint8_t *) kept[SCRATCH_KEPT];

uint8_t *scratch_take(void)
{
    for (int i = 0; i < SCRATCH_KEPT; i++) {
        if (!atomic_load_explicit(&kept[i], memory_order_relaxed))
            continue;
        uint8_t *b = atomic_exchange(&kept[i], NULL);
        if (b)
            return b;
    }
    return malloc(CONN_SCRATCH);
}

void scratch_give(uint8_t *buffer)
{
    if (!buffer)
        return;
    for (int i = 0; i < SCRATCH_KEPT; i++) {
        uint8_t *none = NULL;
        if (atomic_compare_exchange_strong(&kept[i], &none, buffer))
            return;
    }
    free(buffer);
}

/* Broken and stuck locks are for good in this process: the next call does not wait again. */
bool slot_take(struct conn *c, struct slotlock *lock)
{
    if (atomic_load(&c->lost))
        return false;
    if (slotlock_take(lock) == SLOTLOCK_TAKEN)
        return true;
    if (!atomic_exchange(&c->lost, 1))
        log_event(LOG_LEVEL_ERROR,
                  "%s: a process that shares this connection died or stopped inside a call: connection lost", c->peer);
    return false;
}

size_t iov_total(const struct iovec *iov, int count)
{
    size_t total = 0;
    for (int i = 0; i < count; i++)
        total += iov[i].iov_len;
    return total;
}

void iov_scatter(const struct iovec *iov, int count, size_t offset, const uint8_t *from, size_t len)
{
    for (int i = 0; i < count && len; i++) {
        if (offset >= iov[i].iov_len) {
            offset -= iov[i].iov_len;
            continue;
        }
        size_t n = iov[i].iov_len - offset < len ? iov[i].iov_len - offset : len;
        memcpy((uint8_t *)iov[i].iov_base + offset, from, n);
        from += n;
        len -= n;
        offset = 0;
    }
}

void iov_gather(const struct iovec *iov, int count, size_t offset, uint8_t *to, size_t len)
{
    for (int i = 0; i < count && len; i++) {
        if (offset >= iov[i].iov_len) {
            offset -= iov[i].iov_len;
            continue;
        }
        size_t n = iov[i].iov_len - offset < len ? iov[i].iov_len - offset : len;
        memcpy(to, (const uint8_t *)iov[i].iov_base + offset, n);
        to += n;
        len -= n;
        offset = 0;
    }
}
