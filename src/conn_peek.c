/* Looking at what can be read without taking it: MSG_PEEK, FIONREAD, readiness. */
#include "conn_reading.h"

/* The next record's place behind the leftover plaintext, for a MSG_PEEK that asks for more: only if it is whole in the
 * kernel, since its predecessor's last byte must stay there otherwise. */
static enum result peek_more(struct reading *r)
{
    uint8_t *buffer = slot_rx_room(r->c->slot, r->c->room, SLOT_RX_ROOM);
    if (r->rx.plain_off + r->rx.plain_len > SLOT_RX_ROOM - RECORD_WIRE_MAX) {
        if (r->rx.plain_len > SLOT_RX_ROOM - RECORD_WIRE_MAX)
            return RESULT_AGAIN;
        memmove(buffer, buffer + r->rx.plain_off, r->rx.plain_len);
        r->rx.plain_off = 0;
    }
    size_t tail =
        r->rx.tail_held; /* of the record before, the next byte of the kernel; 0 after a process in a sandbox */
    if (conn_transport->no_peek || (!r->scratch && !(r->scratch = scratch_take())))
        return RESULT_AGAIN;
    struct iovec look = {r->scratch, tail + RECORD_WIRE_MAX};
    ssize_t k = conn_transport->receive(r->fd, &look, 1, true);
    if (k < (ssize_t)tail + RECORD_HEADER)
        return RESULT_AGAIN;
    size_t body = 0;
    if (record_header(r->scratch + tail, &body) != RESULT_OK || (size_t)k < tail + RECORD_HEADER + body)
        return RESULT_AGAIN;
    struct iovec take = {r->scratch, tail + RECORD_HEADER + body - 1}; /* the old tail, the record less its last byte */
    if (conn_transport->receive(r->fd, &take, 1, false) != (ssize_t)take.iov_len)
        return rx_violation(r, "somebody else read from the socket", 80);
    r->rx.tail_held = 1;
    uint8_t *plain = buffer + r->rx.plain_off + r->rx.plain_len;
    size_t len = 0;
    enum result result = rx_open_record(r, r->scratch + tail, RECORD_HEADER + body, plain, &len);
    r->rx.plain_len += (uint32_t)len;
    return result;
}

/* Opens at least one record, and as many more as asked, into the slot; then copies without taking. */
enum result rx_peek_loop(struct reading *r)
{
    enum result result = RESULT_OK;
    while (!r->rx.plain_len && r->rx.end == RX_LIVE && result == RESULT_OK) {
        rx_take_tail(r);
        result = rx_take_ticket(r);
        if (result == RESULT_OK && r->rx.end == RX_LIVE)
            result = rx_read_into_slot(r);
    }
    while (result == RESULT_OK && r->rx.plain_len && r->rx.plain_len < r->want && r->rx.end == RX_LIVE)
        result = peek_more(r);
    size_t n = r->rx.plain_len < r->want ? r->rx.plain_len : r->want;
    if (n) {
        rx_deliver(r, r->c->room->rx + r->rx.plain_off, n);
        return RESULT_OK;
    }
    if (r->rx.end == RX_CLOSE_NOTIFY)
        return RESULT_EOF;
    return r->rx.end == RX_ERROR || result == RESULT_IO ? RESULT_IO : RESULT_AGAIN;
}

static enum result probe_loop(struct reading *r)
{
    r->want = 0;
    enum result result = rx_peek_loop(r);
    return r->rx.plain_len ? RESULT_OK : result;
}

/* Smaller records may be tickets, KeyUpdates and alerts, which are nothing to read. Larger ones are not opened to be
 * counted. */
enum { SMALL = 512 };

/* Application bytes in a whole record, the nth behind those that were opened; *last: what follows cannot be told. */
static size_t count_one(struct reading *r, uint8_t *wire, size_t wire_len, uint64_t nth, bool *last)
{
    struct record_keys keys = r->rx.keys;
    enum record_type type = RECORD_INVALID;
    uint8_t alert = 0;
    size_t len = 0;
    if (wire_len > SMALL)
        return wire_len - RECORD_OVERHEAD;
    keys.seq += nth;
    if (record_cipher_fit(&r->c->rx_cipher, &keys) != RESULT_OK ||
        record_open(r->c->rx_cipher, &keys, wire, wire_len, wire + RECORD_HEADER, &len, &type, &alert) != RESULT_OK) {
        *last = true; /* whoever reads on will be told */
        len = 1;
    }
    wipe(wire + RECORD_HEADER, wire_len - RECORD_HEADER);
    wipe(&keys, sizeof keys);
    if (type == RECORD_APPLICATION_DATA || type == RECORD_INVALID)
        return len;
    *last = type != RECORD_HANDSHAKE || len < 24; /* an alert, or a KeyUpdate */
    return 0;
}

/* The content of the whole records behind the opened one; of what a scratch buffer cannot show, the bytes. A record
 * whose end has not come counts as one byte: whoever takes the number for all there is must try once more, which drains
 * the half record. Left in the kernel it can fill a small receive buffer, and then its end never comes. */
static size_t count_behind(struct reading *r)
{
    if (conn_transport->no_peek)
        return 0;
    if (!r->scratch && !(r->scratch = scratch_take()))
        return r->queued;
    struct iovec look = {r->scratch, CONN_SCRATCH};
    ssize_t k = conn_transport->receive(r->fd, &look, 1, true);
    size_t have = k > 0 ? (size_t)k : 0, at = r->rx.tail_held, total = 0, body = 0;
    bool last = false;
    for (uint64_t nth = 0; !last && have >= at + RECORD_HEADER && record_header(r->scratch + at, &body) == RESULT_OK &&
                           have >= at + RECORD_HEADER + body;
         nth++) {
        total += count_one(r, r->scratch + at, RECORD_HEADER + body, nth, &last);
        at += RECORD_HEADER + body;
    }
    if (last)
        return total;
    if (have == CONN_SCRATCH && r->queued > at)
        return total + r->queued - at;
    return total + (have > at ? 1 : 0);
}

static enum result count_loop(struct reading *r)
{
    enum result result = probe_loop(r);
    r->got = r->rx.plain_len + (result == RESULT_OK ? count_behind(r) : 0);
    return result;
}

enum result conn_count(struct conn *c, int fd, size_t queued, size_t *available)
{
    struct reading r = {.queued = queued};
    *available = 0;
    enum result result = conn_drive(c, fd);
    if (result != RESULT_OK)
        return result;
    result = rx_run(c, fd, &r, count_loop);
    *available = r.got;
    return result;
}

/* Tickets and KeyUpdates are smaller than this; what is larger, and whole in the kernel, is application data. */
enum { CONTROL_MAX = 8192, KEY_UPDATE_BODY = 5 + 1 + RECORD_TAG, LOOK = 2048 };

/* Nothing but data comes from a peer of ours, since control records ride in front of it: which a KeyUpdate may do by
 * itself where a segment ends. */
static bool is_data(const struct conn *c, size_t body)
{
    bool ours = !atomic_load_explicit(&c->slot->peer_is_conventional, memory_order_relaxed) &&
                atomic_load_explicit(&c->slot->bytes_in, memory_order_relaxed);
    return body >= CONTROL_MAX || (ours && body != KEY_UPDATE_BODY);
}

/* Opens a copy: only a record of data needs not be taken out of the kernel. */
static bool opens_as_data(struct reading *r, uint8_t *wire, size_t wire_len)
{
    enum record_type type = RECORD_INVALID;
    uint8_t alert = 0;
    size_t len = 0;
    bool opened = record_cipher_fit(&r->c->rx_cipher, &r->rx.keys) == RESULT_OK &&
                  record_open(r->c->rx_cipher, &r->rx.keys, wire, wire_len, wire + RECORD_HEADER, &len, &type,
                              &alert) == RESULT_OK;
    wipe(wire + RECORD_HEADER, wire_len - RECORD_HEADER);
    return opened && type == RECORD_APPLICATION_DATA && len;
}

/* Is a record with something for the program in it known to be whole, in the slot and the kernel together? */
static bool data_waits(struct reading *r)
{
    uint8_t wire[LOOK];
    struct iovec iov = {wire, sizeof wire};
    size_t body = 0, half = r->rx.half_len;
    if (r->rx.plain_len || r->rx.tail_held || r->rx.end != RX_LIVE || conn_transport->no_peek)
        return false;
    if (half) {
        memcpy(wire, r->c->room->rx, RECORD_HEADER);
        return half >= RECORD_HEADER && record_header(wire, &body) == RESULT_OK && is_data(r->c, body) &&
               RECORD_HEADER + body > half && conn_transport->unread(r->fd) >= (long)(RECORD_HEADER + body - half);
    }
    ssize_t k = conn_transport->receive(r->fd, &iov, 1, true);
    if (k < RECORD_HEADER || record_header(wire, &body) != RESULT_OK)
        return false;
    size_t total = RECORD_HEADER + body;
    bool whole = (size_t)k >= total || (k == LOOK && conn_transport->unread(r->fd) >= (long)total);
    return whole && (is_data(r->c, body) || ((size_t)k >= total && opens_as_data(r, wire, total)));
}

static enum result ready_loop(struct reading *r)
{
    return data_waits(r) ? RESULT_OK : probe_loop(r);
}

enum result conn_ready(struct conn *c, int fd)
{
    struct reading r = {.count = 0};
    enum result result = conn_drive(c, fd);
    return result == RESULT_OK ? rx_run(c, fd, &r, ready_loop) : result;
}

bool conn_unsettled(const struct conn *c)
{
    uint32_t state = atomic_load(&c->slot->state);
    if (state == SLOT_OPEN)
        return atomic_load_explicit(&c->slot->peer_is_conventional, memory_order_relaxed) ||
               atomic_load_explicit(&c->wary, memory_order_relaxed) ||
               !atomic_load_explicit(&c->slot->bytes_in, memory_order_relaxed);
    return state == SLOT_UNSTARTED || state == SLOT_HANDSHAKE;
}

/* The errno with which reading has ended, after a look at what waits; 0 if it has not ended so. */
static int verdict_of_peer(struct conn *c, int fd)
{
    struct reading r = {.count = 0};
    result_ignore(rx_run(c, fd, &r, probe_loop));
    return r.rx.end == RX_ERROR ? r.rx.error : 0;
}

/* The kernel says that the peer is gone. If it refused us (a server judges the client's certificate after the client
 * has finished), its alert is still there to be read, and says more than EPIPE. */
static int why_gone(struct conn *c, int fd, int error)
{
    if (error != EPIPE && error != ECONNRESET)
        return error;
    int verdict = verdict_of_peer(c, fd);
    return verdict == EKEYREJECTED || verdict == EPROTO ? verdict : error;
}

/* What was met before and not told, by reading ahead or in the background, comes first; on a socket that is shut
 * down for both, EPIPE stands for it (write_closed). */
int rx_error_of_write(struct conn *c, int fd, int error, bool closed)
{
    /* A reset behind the ends of both streams is the refusal of our close_notify. */
    bool both_shut = closed && (atomic_load(&c->slot->rd_shut) || conn_peer_ended(c));
    int untold = error == ENOBUFS || error == ENOMEM ? 0 : conn_take_untold(c);
    if (untold && error == EPIPE && !both_shut)
        error = untold;
    if (both_shut && error == ECONNRESET)
        error = EPIPE;
    return closed ? error : why_gone(c, fd, error);
}
