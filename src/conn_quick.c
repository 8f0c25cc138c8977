/* The usual read and the usual write: one buffer of the program, one record, a connection that is open and owes
 * nothing. The same as conn_read.c and conn_write.c do, without copies of the slot's control structs: of these only
 * single fields are used here, each read once, so that a hostile co-holder gains nothing. Whatever is not usual is left
 * to those files, also in the middle: they go on with what was received or sealed. */
#include "conn_reading.h"
#include "conn_writing.h"

/* Records up to this size are received and sealed on the stack, without a scratch buffer. */
enum { SMALL = 1024 };

static inline bool is_open(const struct conn *c)
{
    return atomic_load_explicit(&c->slot->state, memory_order_acquire) == SLOT_OPEN;
}

static inline void give(uint8_t *wire, const uint8_t *small)
{
    if (wire != small)
        scratch_give(wire);
}

/* ---- writing ------------------------------------------------------------------------------------------------------
 */

/* The sending lock is held. Nothing goes out in front of the program's bytes, nobody else's turn it is, and the kernel
 * has taken the last record whole: it is not asked for room. */
static inline bool nothing_is_due(const struct conn *c, uint64_t seq)
{
    const struct slot *slot = c->slot;
    const volatile struct slot_tx *tx = &slot->tx;
    const uint64_t rekey_after = *(const volatile uint64_t *)&slot->rekey_after;
    return c->tx_roomy && !(tx->rest_len | tx->lead | tx->closed | (uint32_t)tx->error) &&
           !atomic_load_explicit(&slot->turn, memory_order_relaxed) &&
           !atomic_load_explicit(&slot->early_kept, memory_order_relaxed) &&
           !atomic_load_explicit(&slot->update_owed, memory_order_relaxed) &&
           !atomic_load_explicit(&c->ticket_due, memory_order_relaxed) &&
           record_cipher_fits(c->tx_cipher, &slot->tx.keys) && seq < c->tx_cipher->limit &&
           (!rekey_after || seq < rekey_after);
}

/* The kernel has not taken the record whole: k, as send(2). The sending lock is held. */
static enum result __attribute__((noinline)) settle_rest(struct writing *w, uint8_t *wire, const uint8_t *small,
                                                         const struct sealed *s, ssize_t k, size_t *put, int *error)
{
    enum result result = tx_copy(w);
    w->c->tx_roomy = false;
    if (result != RESULT_OK) {
        wipe(wire, s->len);
        give(wire, small);
        return tx_told(w, result, 0, error);
    }
    w->scratch = wire;
    w->tx.lead = 0; /* as it was when the record was sealed: what a co-holder has written since would not fit k */
    result = tx_sent(w, s, 1, k, put);
    if (*put)
        conn_count_bytes(w->c, false, *put);
    if (wire == small)
        w->scratch = NULL;
    tx_end(w);
    return tx_told(w, result, *put, error);
}

bool tx_quick(struct conn *c, int fd, const struct iovec *iov, bool more, size_t *put, int *error, enum result *result)
{
    uint8_t small[SMALL + RECORD_OVERHEAD];
    struct slot *slot = c->slot;
    const size_t len = iov->iov_len;
    if (len - 1 >= conn_record_max(c) || !is_open(c) || conn_transport->send_max || !slot_take(c, &slot->tx_lock))
        return false;
    struct sealed s = {.content = len, .seq = *(volatile uint64_t *)&slot->tx.keys.seq};
    uint8_t *wire = NULL;
    if (nothing_is_due(c, s.seq))
        wire = len <= SMALL ? small : scratch_take();
    if (!wire || record_seal(c->tx_cipher, &slot->tx.keys, s.seq, RECORD_APPLICATION_DATA, iov->iov_base, len, wire,
                             &s.len) != RESULT_OK) {
        slotlock_release(&slot->tx_lock);
        give(wire, small);
        return false;
    }
    struct iovec out = {wire, s.len};
    const ssize_t k = conn_transport->send(fd, &out, 1, more);
    if (__builtin_expect(k != (ssize_t)s.len, 0)) {
        struct writing w = {.c = c, .fd = fd, .more = more};
        *result = settle_rest(&w, wire, small, &s, k, put, error);
        return true;
    }
    record_nonce_spent(&slot->tx.keys, s.seq);
    slot->tx.keys.seq = s.seq + 1;
    conn_count_bytes(c, false, len);
    slotlock_release(&slot->tx_lock);
    give(wire, small);
    conn_status_if_due(c);
    *put = len;
    *result = RESULT_OK;
    return true;
}

/* ---- reading ------------------------------------------------------------------------------------------------------
 */

/* Nothing is left of a record, whole or half, and the stream has not ended. */
static inline bool nothing_is_left(const struct slot *slot)
{
    const volatile struct slot_rx *rx = &slot->rx;
    return !(rx->half_len | rx->plain_len | rx->tail_held) && rx->end == RX_LIVE;
}

/* Without the lock: so the cipher is not looked at, which another reader may be replacing. While one has the lock, or
 * has died with it, a read has to find out what that has left. */
bool conn_reads_kernel(const struct conn *c)
{
    const struct slot *slot = c->slot;
    return is_open(c) && nothing_is_left(slot) && !atomic_load(&slot->rx_lock.word) && !atomic_load(&slot->untold) &&
           !atomic_load(&slot->rd_shut) && !atomic_load(&c->alert_due) && !atomic_load(&c->lost) &&
           !conn_transport->no_peek;
}

/* Is exactly one record in wire[0..k), and one that need not be opened in the program's buffer? */
static inline bool is_one_small(const uint8_t *wire, ssize_t k)
{
    size_t body = 0;
    return k > RECORD_HEADER && k < DIRECT_MIN && record_header(wire, &body) == RESULT_OK &&
           (size_t)k == RECORD_HEADER + body;
}

/* The receiving lock is held: with what start says of the kernel's answer, or of the record that was opened. */
static enum result __attribute__((noinline))
go_on(struct conn *c, int fd, const struct iovec *iov, const struct quick_start *start, size_t *got, int *error)
{
    struct reading r = {.c = c, .fd = fd, .iov = iov, .count = 1, .want = iov->iov_len, .takes = true, .start = start};
    const enum result result = rx_run_held(&r, rx_start_loop);
    return rx_told(&r, result, got, error);
}

bool rx_quick(struct conn *c, int fd, const struct iovec *iov, size_t *got, int *error, enum result *result)
{
    uint8_t small[SMALL + RECORD_OVERHEAD];
    struct slot *slot = c->slot;
    const size_t want = iov->iov_len;
    if (!want || !is_open(c) || conn_transport->no_peek || atomic_load_explicit(&c->awaited, memory_order_relaxed) ||
        !slot_take(c, &slot->rx_lock))
        return false;
    struct quick_start s = {.ask = rx_ask_for(want, 0)};
    if (nothing_is_left(slot) && record_cipher_fits(c->rx_cipher, &slot->rx.keys))
        s.wire = s.ask <= sizeof small ? small : scratch_take();
    if (!s.wire) {
        slotlock_release(&slot->rx_lock);
        return false;
    }
    struct iovec in = {s.wire, s.ask};
    s.k = conn_transport->receive(fd, &in, 1, false);
    *got = 0;
    if (s.k == -EAGAIN) {
        slotlock_release(&slot->rx_lock);
        give(s.wire, small);
        *error = EAGAIN;
        *result = RESULT_AGAIN;
        return true;
    }
    if (is_one_small(s.wire, s.k)) {
        const uint64_t seq = *(volatile uint64_t *)&slot->rx.keys.seq;
        uint8_t *plain = s.wire + RECORD_HEADER;
        s.opened = true;
        s.result = record_open(c->rx_cipher, &slot->rx.keys, s.wire, (size_t)s.k, plain, &s.len, &s.type, &s.alert);
        if (s.result == RESULT_OK && s.type == RECORD_APPLICATION_DATA && s.len &&
            ((size_t)s.k < s.ask || s.len == want)) {
            memcpy(iov->iov_base, plain, s.len);
            slot->rx.keys.seq = seq + 1;
            conn_count_bytes(c, true, s.len);
            slotlock_release(&slot->rx_lock);
            wipe(plain, s.len);
            give(s.wire, small);
            rx_note_size(c, s.len, false);
            conn_status_if_due(c);
            *got = s.len;
            *result = RESULT_OK;
            return true;
        }
    }
    *result = go_on(c, fd, iov, &s, got, error);
    give(s.wire, small);
    return true;
}
