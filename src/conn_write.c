/* Writing: a nonce is spent when the kernel has taken a byte of its record. What the kernel took a part of counts as
 * written whole, and its rest stays in the slot, in front of everything else (laws 3, 5 and 6). */
#include "conn_writing.h"

/* Four records stay in the second-level cache between sealing and the kernel's copy: 15 % less CPU in bulk than
 * sixteen. */
enum { BATCH_MIN = RECORD_PLAIN_MAX, BATCH_MAX = 4 * RECORD_PLAIN_MAX };

enum result tx_fail(struct writing *w, int error)
{
    w->error = error;
    /* Nothing was taken and no nonce spent: the next call may find memory again. Of other errors the kernel tells once,
     * and later that nothing can be written any more. */
    if (error == ENOBUFS || error == ENOMEM)
        return RESULT_IO;
    w->tx.error = EPIPE;
    if (error != EPIPE)
        conn_note_untold(w->c, error);
    return RESULT_IO;
}

/* RESULT_AGAIN while another process has something of its own to send first: its early writes, or the byte of its turn
 * (of a writer, also of this process, that waits for room). If it died, nobody can send that any more. */
static enum result others_check(struct writing *w)
{
    struct slot *slot = w->c->slot;
    uint32_t id = atomic_load(&slot->turn);
    if (!id && atomic_load(&slot->early_kept) && !owns_handshake(w->c))
        id = atomic_load(&slot->owner);
    if (!id)
        return RESULT_OK;
    if (holder_alive(w->c->family, id))
        return RESULT_AGAIN;
    log_event(LOG_LEVEL_ERROR,
              "%s: a process that shares this connection died with bytes that it had still to send: connection lost",
              w->c->peer);
    return tx_fail(w, ECONNABORTED);
}

enum result tx_lock(struct writing *w)
{
    return slot_take(w->c, &w->c->slot->tx_lock) ? tx_copy(w) : tx_fail(w, ECONNABORTED);
}

enum result tx_copy(struct writing *w)
{
    memcpy(&w->tx, &w->c->slot->tx, sizeof w->tx);
    if (slot_tx_valid(&w->tx))
        return RESULT_OK;
    slotlock_release(&w->c->slot->tx_lock);
    return tx_fail(w, ECONNABORTED);
}

void tx_unlock(struct writing *w)
{
    memcpy(&w->c->slot->tx, &w->tx, sizeof w->tx);
    slotlock_release(&w->c->slot->tx_lock);
    wipe(&w->tx.keys, sizeof w->tx.keys);
}

static enum result tx_begin(struct writing *w)
{
    enum result result = tx_lock(w);
    if (result == RESULT_OK && (result = others_check(w)) != RESULT_OK)
        tx_unlock(w);
    return result;
}

void tx_end(struct writing *w)
{
    tx_unlock(w);
    scratch_give(w->scratch);
    w->scratch = NULL;
    if (w->tx.rest_len && !atomic_exchange(&w->c->rest_due, 1))
        w->c->rest_ms = conn_transport->now_ms() + CONN_REST_MS;
}

/* RESULT_OK when nothing of an earlier record is left. */
static enum result flush_rest(struct writing *w)
{
    while (w->tx.rest_len) {
        struct iovec iov = {w->c->room->tx + w->tx.rest_off, w->tx.rest_len};
        ssize_t k = conn_transport->send(w->fd, &iov, 1, w->more);
        if (k == -EAGAIN)
            return RESULT_AGAIN;
        if (k < 0)
            return tx_fail(w, (int)-k);
        w->tx.rest_off += (uint32_t)k;
        w->tx.rest_len -= (uint32_t)k;
    }
    w->tx.rest_off = 0;
    atomic_store(&w->c->rest_due, 0);
    return RESULT_OK;
}

/* Keeps what the kernel did not take of a record. */
static void keep_rest(struct writing *w, const uint8_t *from, size_t len)
{
    memcpy(slot_tx_room(w->c->slot, w->c->room), from, len);
    w->tx.rest_off = 0;
    w->tx.rest_len = (uint32_t)len;
}

/* Counts the records that the kernel has taken (a part of) among sealed[0..n): took bytes behind the lead. Returns the
 * application bytes that are on their way. */
static size_t settle(struct writing *w, const struct sealed *sealed, size_t n, size_t took)
{
    size_t content = 0, at = 0;
    took += w->tx.lead;
    for (size_t i = 0; i < n && at < took; i++) {
        record_nonce_spent(&w->tx.keys, sealed[i].seq);
        w->tx.keys.seq = sealed[i].seq + 1;
        content += sealed[i].content;
        if (sealed[i].changes_keys) {
            atomic_store(&w->c->slot->update_owed, 0);
            if (record_keys_update(&w->tx.keys) != RESULT_OK)
                w->tx.error = EPROTO;
        }
        if (at + sealed[i].len > took)
            keep_rest(w, w->scratch + took, at + sealed[i].len - took);
        at += sealed[i].len;
    }
    w->tx.lead = 0;
    return content;
}

static size_t total_of(const struct sealed *sealed, size_t n)
{
    size_t total = 0;
    for (size_t i = 0; i < n; i++)
        total += sealed[i].len;
    return total;
}

enum result tx_sent(struct writing *w, const struct sealed *sealed, size_t n, ssize_t k, size_t *content)
{
    size_t total = total_of(sealed, n), took = (k > 0 ? (size_t)k : 0) + w->tx.lead;
    if (k <= 0)
        wipe(w->scratch, total); /* under numbers that will be used again */
    if (k == -EAGAIN || k == 0)
        return RESULT_AGAIN;
    if (k < 0)
        return tx_fail(w, (int)-k);
    *content = settle(w, sealed, n, (size_t)k);
    wipe(w->scratch + took, total - took);
    return w->tx.error ? RESULT_IO : RESULT_OK;
}

static enum result send_sealed(struct writing *w, const struct sealed *sealed, size_t n, size_t *content)
{
    struct iovec iov = {w->scratch + w->tx.lead, total_of(sealed, n) - w->tx.lead};
    return tx_sent(w, sealed, n, conn_transport->send(w->fd, &iov, 1, w->more), content);
}

static bool ready_to_seal(struct writing *w)
{
    if (!w->scratch)
        w->scratch = scratch_take();
    if (!w->scratch || record_cipher_fit(&w->c->tx_cipher, &w->tx.keys) != RESULT_OK) {
        w->error = ENOMEM;
        return false;
    }
    return true;
}

/* Seals one record at scratch + *at under the current keys. */
static bool seal_one(struct writing *w, struct sealed *s, uint64_t seq, enum record_type type, const uint8_t *body,
                     size_t len, size_t *at)
{
    s->seq = seq;
    s->changes_keys = false;
    s->content = type == RECORD_APPLICATION_DATA ? len : 0;
    if (record_seal(w->c->tx_cipher, &w->tx.keys, seq, type, body, len, w->scratch + *at, &s->len) != RESULT_OK) {
        w->tx.error = EPROTO;
        return false;
    }
    *at += s->len;
    return true;
}

/* The number of the first record that is not under these keys any more: what the policy says, where the cipher allows
 * that (limit). Read once, since a co-holder may change it. */
static uint64_t rekey_at(const struct writing *w, uint64_t limit)
{
    const uint64_t asked = *(const volatile uint64_t *)&w->c->slot->rekey_after;
    return asked && asked < limit ? asked : limit;
}

/* Our KeyUpdate goes out only in front of application data: nothing is ever sent that the program did not cause. */
static enum result update_keys_if_due(struct writing *w)
{
    struct slot *slot = w->c->slot;
    if (w->tx.keys.seq < rekey_at(w, record_limit(w->tx.keys.suite)) && !atomic_load(&slot->update_owed))
        return RESULT_OK;
    static const uint8_t key_update[] = {24, 0, 0, 1, 0}; /* update_not_requested (RFC 8446 section 4.6.3) */
    struct sealed s;
    size_t at = 0, content = 0;
    if (!ready_to_seal(w) || !seal_one(w, &s, w->tx.keys.seq, RECORD_HANDSHAKE, key_update, sizeof key_update, &at))
        return RESULT_IO;
    s.changes_keys = true;
    bool more = w->more;
    w->more = true;
    enum result result = send_sealed(w, &s, 1, &content);
    w->more = more;
    return result == RESULT_OK ? flush_rest(w) : result;
}

/* Seals and sends one batch of the program's bytes. */
static enum result write_batch(struct writing *w, const struct iovec *iov, int count, size_t offset, size_t left,
                               size_t *content)
{
    struct sealed sealed[SCRATCH_RECORDS];
    size_t limit = left < w->c->tx_batch ? left : w->c->tx_batch;
    if (conn_transport->send_max && limit > conn_transport->send_max)
        limit = conn_transport->send_max;
    const size_t record_max = conn_record_max(w->c);
    size_t n = 0, at = 0, done = 0;
    if (!ready_to_seal(w))
        return RESULT_IO;
    /* Never 0 records: a co-holder may have changed it since update_keys_if_due has looked. */
    const uint64_t seq = w->tx.keys.seq, last = rekey_at(w, w->c->tx_cipher->limit);
    const uint64_t to_update = last > seq ? last - seq : 1;
    struct ticket_message *t = to_update > 1 ? conn_ticket_take(w->c) : NULL;
    if (t && seal_one(w, &sealed[0], seq, RECORD_HANDSHAKE, t->bytes, t->len, &at))
        n = 1; /* in front of the data, and with it */
    while (done < limit && n < SCRATCH_RECORDS && n < to_update) {
        size_t len = limit - done < record_max ? limit - done : record_max;
        const uint8_t *body;
        if (count == 1) {
            body = (const uint8_t *)iov[0].iov_base + offset + done;
        } else { /* gathered where the ciphertext goes: sealed in place */
            iov_gather(iov, count, offset + done, w->scratch + at + RECORD_HEADER, len);
            body = w->scratch + at + RECORD_HEADER;
        }
        if (!seal_one(w, &sealed[n], w->tx.keys.seq + n, RECORD_APPLICATION_DATA, body, len, &at))
            break;
        done += len;
        n++;
    }
    enum result result = w->tx.error ? RESULT_IO : send_sealed(w, sealed, n, content);
    conn_ticket_done(w->c, t, result);
    const bool whole = result == RESULT_OK && *content == done;
    w->c->tx_roomy = whole && !w->tx.rest_len;
    /* Seal no more ahead than the kernel takes: what it refuses was work for nothing. */
    const size_t twice = w->c->tx_batch * 2 < BATCH_MAX ? w->c->tx_batch * 2 : BATCH_MAX;
    w->c->tx_batch = whole ? twice : *content > BATCH_MIN ? *content : BATCH_MIN;
    return result;
}

/* Seals and sends one record of what the source gives. Its bytes are nowhere else any more: the record counts as
 * written also if the kernel takes nothing of it, and is then kept whole. */
static enum result write_sourced(struct writing *w, size_t left, size_t *content)
{
    struct sealed s;
    const size_t record_max = conn_record_max(w->c);
    size_t at = 0, limit = left < record_max ? left : record_max;
    if (!ready_to_seal(w))
        return RESULT_IO;
    uint8_t *body = w->scratch + RECORD_HEADER;
    ssize_t n = w->source(w->source_ctx, body, limit);
    if (n <= 0)
        return RESULT_AGAIN;
    if (!seal_one(w, &s, w->tx.keys.seq, RECORD_APPLICATION_DATA, body, (size_t)n, &at))
        return RESULT_IO;
    s.changes_keys = false;
    struct iovec iov = {w->scratch + w->tx.lead, s.len - w->tx.lead};
    ssize_t k = conn_transport->send(w->fd, &iov, 1, w->more);
    if (k > 0 || (k == -EAGAIN && w->tx.lead)) { /* a lead is a byte that the kernel has */
        *content = settle(w, &s, 1, k > 0 ? (size_t)k : 0);
        return w->tx.error ? RESULT_IO : RESULT_OK;
    }
    if (k < 0 && k != -EAGAIN)
        return tx_fail(w, (int)-k);
    record_nonce_spent(&w->tx.keys, s.seq);
    w->tx.keys.seq = s.seq + 1;
    keep_rest(w, w->scratch, s.len);
    *content = s.content;
    return RESULT_OK;
}

/* Our side has ended. The kernel knows a reset that came meanwhile, and tells it once. Where reading was shut down too,
 * it is most often our own kernel's answer to the peer's close_notify, a byte of which the program knows nothing. */
static enum result write_closed(struct writing *w)
{
    struct iovec none = {w, 0};
    ssize_t k = conn_transport->send(w->fd, &none, 1, true);
    w->error = k < 0 && k != -EAGAIN && !atomic_load(&w->c->slot->rd_shut) ? (int)-k : EPIPE;
    return RESULT_IO;
}

/* Need not be asked before a record is sealed for it: where the kernel has taken the last batch whole, it seldom takes
 * nothing of another record, which was then sealed for nothing. Asking costs a system call for each write. What a
 * source gives must not be sealed for nothing, and a transport under a sandbox asks by itself. */
static bool likely_writable(const struct writing *w, size_t left)
{
    return w->c->tx_roomy && left <= RECORD_PLAIN_MAX && !w->source && !conn_transport->send_max;
}

static enum result write_loop(struct writing *w, const struct iovec *iov, int count, size_t want, bool roomy,
                              size_t *put)
{
    if (w->tx.error)
        return RESULT_IO;
    if (w->tx.closed)
        return write_closed(w);
    enum result result = flush_rest(w);
    while (result == RESULT_OK && *put < want) {
        if (!roomy && !likely_writable(w, want - *put) && !conn_transport->writable(w->fd))
            return RESULT_AGAIN;
        result = update_keys_if_due(w);
        size_t content = 0;
        if (result == RESULT_OK && w->source)
            result = write_sourced(w, want - *put, &content);
        else if (result == RESULT_OK)
            result = write_batch(w, iov, count, *put, want - *put, &content);
        *put += content;
        if (w->tx.rest_len)
            return RESULT_AGAIN;
        roomy = false;
    }
    return result;
}

/* A write of nothing moves nothing, and says all the same that nothing can be written any more. */
static enum result write_nothing(struct writing *w)
{
    struct iovec none = {w, 0};
    if (w->tx.error)
        return RESULT_IO;
    if (w->tx.closed)
        return write_closed(w);
    ssize_t k = conn_transport->send(w->fd, &none, 1, true);
    return k < 0 && k != -EAGAIN ? tx_fail(w, (int)-k) : RESULT_OK;
}

enum result tx_told(struct writing *w, enum result result, size_t put, int *error)
{
    struct conn *c = w->c;
    *error = w->error ? w->error : w->tx.error ? w->tx.error : ECONNABORTED;
    conn_status_if_due(c);
    if (result == RESULT_IO && put && w->error)
        conn_note_untold(c, w->error); /* EPIPE too: what was sent before has drawn a reset */
    if (result == RESULT_IO && !put)
        *error = rx_error_of_write(c, w->fd, *error, w->tx.closed);
    return put ? RESULT_OK : result;
}

static enum result run_write(struct writing *w, const struct iovec *iov, int count, size_t want, bool roomy,
                             size_t *put, int *error)
{
    enum result result = tx_begin(w);
    if (result == RESULT_OK) {
        result = want ? write_loop(w, iov, count, want, roomy, put) : write_nothing(w);
        if (*put)
            conn_count_bytes(w->c, false, *put);
        tx_end(w);
    }
    return tx_told(w, result, *put, error);
}

enum result tx_write(struct conn *c, int fd, const struct iovec *iov, int count, bool more, bool roomy, size_t *put,
                     int *error)
{
    struct writing w = {.c = c, .fd = fd, .more = more};
    return run_write(&w, iov, count, iov_total(iov, count), roomy, put, error);
}

enum result tx_write_from(struct conn *c, int fd, size_t len, conn_source source, void *ctx, bool more, bool roomy,
                          size_t *put, int *error)
{
    struct writing w = {.c = c, .fd = fd, .more = more, .source = source, .source_ctx = ctx};
    return run_write(&w, NULL, 0, len, roomy, put, error);
}

enum result tx_flush(struct conn *c, int fd)
{
    struct writing w = {.c = c, .fd = fd};
    enum result result = tx_begin(&w);
    if (result != RESULT_OK)
        return result;
    result = w.tx.error ? RESULT_IO : flush_rest(&w);
    tx_end(&w);
    return result;
}

/* The program has ended its half: who writes is told so, though the kernel has no room for close_notify. Early writes
 * still go in front of it. The sending lock is held. */
static void note_ending(struct writing *w)
{
    if (!w->tx.closed && !atomic_load(&w->c->slot->early_kept))
        w->tx.closed = TX_ENDING;
}

/* Somebody else's turn it is. */
static enum result end_behind_others(struct writing *w)
{
    if (tx_lock(w) != RESULT_OK)
        return RESULT_IO;
    note_ending(w);
    tx_unlock(w);
    return RESULT_AGAIN;
}

enum result tx_control(struct conn *c, int fd, enum record_type type, const uint8_t *body, size_t len, bool closes)
{
    struct writing w = {.c = c, .fd = fd};
    enum result result = tx_begin(&w);
    if (result != RESULT_OK)
        return result == RESULT_AGAIN && closes ? end_behind_others(&w) : result;
    struct sealed s;
    size_t at = 0, content = 0;
    if (w.tx.error)
        result = RESULT_IO;
    else if (w.tx.closed == TX_CLOSED)
        result = flush_rest(&w);
    else if ((result = flush_rest(&w)) == RESULT_OK) {
        result = ready_to_seal(&w) && seal_one(&w, &s, w.tx.keys.seq, type, body, len, &at)
                     ? send_sealed(&w, &s, 1, &content)
                     : RESULT_IO;
        if (result == RESULT_OK) {
            w.tx.closed = closes ? TX_CLOSED : w.tx.closed;
            result = w.tx.rest_len ? RESULT_AGAIN : RESULT_OK;
        }
    }
    if (result == RESULT_AGAIN && closes)
        note_ending(&w);
    tx_end(&w);
    return result;
}
