/* Reading: opens records so that the kernel's socket is readable exactly while there is something for the program
 * (laws 3 and 4).
 *
 * Invariants, whenever the receiving lock is free:
 *  - while opened plaintext is left over, the last byte of the newest opened record is still in the kernel (tail_held);
 *  - a record that is not whole yet is in the slot, so that it does not make the socket readable;
 *  - never both. */
#include "conn_internal.h"

#include "bytes.h"

/* One call's work. rx is a private copy of the slot's control struct, checked once: the slot may be written by a
 * hostile co-holder at any moment. */
struct reading {
    struct conn *c;
    int fd;
    struct slot_rx rx;
    const struct iovec *iov;
    int count;
    size_t want, got;   /* of the program's buffers */
    size_t queued;      /* for conn_count: bytes in the kernel */
    uint8_t *scratch;
    bool drained;       /* the kernel gave less than it was asked for: it had no more */
};

static enum result rx_end(struct reading *r, enum slot_rx_end end, int error)
{
    r->rx.end = (uint8_t)end;
    r->rx.error = error;
    return end == RX_CLOSE_NOTIFY ? RESULT_EOF : RESULT_IO;
}

static enum result rx_violation(struct reading *r, const char *what, int alert)
{
    log_event(LOG_LEVEL_ERROR, "%s: %s (alert %d): connection broken off; the network or the peer tampered with the stream",
              r->c->peer, what, alert);
    r->rx.half_len = 0;
    atomic_store(&r->c->alert_due, (uint32_t)alert);
    return rx_end(r, RX_ERROR, EPROTO);
}

/* recv(2) with the held tail byte, if any, taken first. RESULT_OK with *n > 0. */
static enum result receive(struct reading *r, uint8_t *to, size_t ask, size_t *n)
{
    uint8_t tail;
    struct iovec iov[2] = {{&tail, 1}, {to, ask}};
    int skip = r->rx.tail_held ? 0 : 1;
    ssize_t k = conn_transport->receive(r->fd, iov + skip, 2 - skip, false);
    if (k > 0 && !skip) {
        r->rx.tail_held = 0;
        k--;
        if (k == 0) {
            r->drained = true;
            return RESULT_AGAIN;
        }
    }
    if (k > 0) {
        *n = (size_t)k;
        r->drained = *n < ask;
        return RESULT_OK;
    }
    r->drained = true;
    if (k == -EAGAIN)
        return RESULT_AGAIN;
    if (k == 0 && atomic_load(&r->c->slot->rd_shut))
        return RESULT_EOF; /* the program's own SHUT_RD, which says nothing of the peer */
    if (k == 0) {
        log_event(LOG_LEVEL_WARN,
                  "%s: the stream ended without close_notify: truncated by the network, or the peer crashed or aborted",
                  r->c->peer);
        return rx_end(r, RX_ERROR, ECONNRESET);
    }
    return rx_end(r, RX_ERROR, (int)-k);
}

static enum result on_alert(struct reading *r, const uint8_t *body, size_t len)
{
    if (len != 2)
        return rx_violation(r, "malformed alert", 50);
    if (body[1] == 0) /* close_notify */
        return rx_end(r, RX_CLOSE_NOTIFY, 0);
    if (body[1] == 90) /* user_canceled is followed by close_notify (RFC 8446 section 6.1) */
        return RESULT_OK;
    log_event(LOG_LEVEL_ERROR, "%s: the peer broke off with alert %d", r->c->peer, body[1]);
    /* In TLS 1.3 a server judges the client's certificate after the client has finished (RFC 8446 section 4.4.2.4):
     * bad_certificate to unknown_ca's neighbours, access_denied, certificate_required. */
    bool identity = (body[1] >= 41 && body[1] <= 46) || body[1] == 48 || body[1] == 49 || body[1] == 51 ||
                    body[1] == 115 || body[1] == 116;
    return rx_end(r, RX_ERROR, identity ? EKEYREJECTED : EPROTO);
}

static enum result on_key_update(struct reading *r, const uint8_t *body, size_t len)
{
    if (len != 1 || body[0] > 1)
        return rx_violation(r, "malformed KeyUpdate", 47);
    if (body[0] == 1)
        atomic_store(&r->c->slot->update_owed, 1);
    if (record_keys_update(&r->rx.keys) != RESULT_OK)
        return rx_end(r, RX_ERROR, ENOMEM);
    return RESULT_OK;
}

/* Post-handshake messages (RFC 8446 section 4.6). One record may hold several; none is ever split here: tickets and
 * KeyUpdates of real stacks fit a record, and a split one is refused rather than gathered without bound. */
static enum result on_handshake(struct reading *r, const uint8_t *body, size_t len)
{
    struct cursor all = {body, len};
    while (all.left) {
        const uint8_t *head, *message;
        if (!cursor_take(&all, 4, &head) || !cursor_take(&all, be24(head + 1), &message))
            return rx_violation(r, "post-handshake message split over records", 10);
        if (head[0] == 24) {
            if (all.left) /* RFC 8446 section 5.1: must not span a key change */
                return rx_violation(r, "data behind KeyUpdate in its record", 10);
            return on_key_update(r, message, be24(head + 1));
        }
        if (head[0] != 4 || !atomic_load(&r->c->slot->state) || !r->c->slot->is_client)
            return rx_violation(r, "unexpected post-handshake message", 10);
    }
    return RESULT_OK;
}

/* Opens the whole record at wire into plain. RESULT_OK: application data, *len of it (perhaps 0; control records too). */
static enum result open_record(struct reading *r, const uint8_t *wire, size_t wire_len, uint8_t *plain, size_t *len)
{
    enum record_type type = RECORD_INVALID;
    uint8_t alert = 0;
    enum result fit = record_cipher_fit(&r->c->rx_cipher, &r->rx.keys);
    if (fit != RESULT_OK)
        return rx_end(r, RX_ERROR, ENOMEM);
    if (record_open(r->c->rx_cipher, &r->rx.keys, wire, wire_len, plain, len, &type, &alert) != RESULT_OK)
        return rx_violation(r, "bad record", alert);
    r->rx.keys.seq++;
    if (type == RECORD_APPLICATION_DATA)
        return RESULT_OK;
    size_t control_len = *len;
    *len = 0;
    enum result result = type == RECORD_ALERT ? on_alert(r, plain, control_len) : on_handshake(r, plain, control_len);
    wipe(plain, control_len);
    return result;
}

static enum result body_length(struct reading *r, const uint8_t *header, size_t *body)
{
    uint8_t copy[RECORD_HEADER];
    memcpy(copy, header, sizeof copy);
    if (record_header(copy, body) != RESULT_OK || copy[0] != RECORD_APPLICATION_DATA)
        return rx_violation(r, "not a protected record", 10);
    return RESULT_OK;
}

static void deliver(struct reading *r, const uint8_t *from, size_t len)
{
    iov_scatter(r->iov, r->count, r->got, from, len);
    r->got += len;
}

/* Gives leftover plaintext to the program. */
static void deliver_leftover(struct reading *r)
{
    size_t n = r->rx.plain_len < r->want - r->got ? r->rx.plain_len : r->want - r->got;
    uint8_t *from = r->c->slot->rx_buffer + r->rx.plain_off;
    deliver(r, from, n);
    wipe(from, n);
    r->rx.plain_off += (uint32_t)n;
    r->rx.plain_len -= (uint32_t)n;
    if (!r->rx.plain_len)
        r->rx.plain_off = 0;
}

/* Smaller records are opened in scratch and copied: control records are small, and what they hold, or padding, must not
 * pass through the program's buffer. */
enum { DIRECT_MIN = 4096 };

/* The place in the program's buffer where a record of at most room bytes (content, type byte, padding) can be opened
 * straight; NULL if it would not fit in one piece. */
static uint8_t *direct_place(const struct reading *r, size_t room)
{
    if (r->count != 1 || room < DIRECT_MIN || r->want - r->got < room)
        return NULL;
    return (uint8_t *)r->iov[0].iov_base + r->got;
}

static enum result open_direct(struct reading *r, const uint8_t *wire, size_t wire_len, uint8_t *place)
{
    /* The type byte lands right behind the content: the program's own byte there is put back, as a socket never
     * touches what lies behind the bytes that it returns. */
    size_t content_max = wire_len - RECORD_OVERHEAD, len = 0;
    uint8_t behind = place[content_max];
    enum result result = open_record(r, wire, wire_len, place, &len);
    if (len == content_max)
        place[content_max] = behind;
    r->got += len;
    return result;
}

static enum result open_whole(struct reading *r, uint8_t *wire, size_t wire_len)
{
    uint8_t *place = direct_place(r, wire_len - RECORD_HEADER - RECORD_TAG);
    if (place)
        return open_direct(r, wire, wire_len, place);
    size_t len = 0;
    enum result result = open_record(r, wire, wire_len, wire + RECORD_HEADER, &len);
    if (len > r->want - r->got)
        result = rx_violation(r, "record larger than it was taken for", 80);
    else
        deliver(r, wire + RECORD_HEADER, len);
    wipe(wire + RECORD_HEADER, len);
    return result;
}

/* How much to ask for when have bytes of the stream are here already: what the program's buffer can hold as plaintext
 * and the overhead of the full records in it. So whole records fit, and nothing is left over in the usual case. */
static size_t ask_for(const struct reading *r, size_t have)
{
    size_t room = r->want - r->got;
    size_t records = (room + RECORD_PLAIN_MAX - 1) / RECORD_PLAIN_MAX;
    size_t ask = room + records * RECORD_OVERHEAD;
    if (ask > CONN_SCRATCH)
        ask = CONN_SCRATCH;
    return ask > have ? ask - have : 0;
}

/* Opens what is whole in scratch[0..have); the rest becomes the half record in the slot. */
static enum result open_all(struct reading *r, size_t have)
{
    size_t at = 0;
    enum result result = RESULT_OK;
    while (result == RESULT_OK && have - at >= RECORD_HEADER) {
        size_t body = 0;
        result = body_length(r, r->scratch + at, &body);
        if (result != RESULT_OK || have - at < RECORD_HEADER + body)
            break;
        result = open_whole(r, r->scratch + at, RECORD_HEADER + body);
        at += RECORD_HEADER + body;
    }
    r->rx.half_len = 0;
    if (result == RESULT_OK && at < have) {
        memcpy(r->c->slot->rx_buffer, r->scratch + at, have - at);
        r->rx.half_len = (uint32_t)(have - at);
    }
    return result;
}

/* Takes whole records through scratch into the program's buffers. */
static enum result read_records(struct reading *r)
{
    if (!r->scratch && !(r->scratch = scratch_take()))
        return rx_end(r, RX_ERROR, ENOMEM);
    size_t have = r->rx.half_len, n = 0;
    memcpy(r->scratch, r->c->slot->rx_buffer, have);
    enum result result = receive(r, r->scratch + have, ask_for(r, have), &n);
    if (result != RESULT_OK)
        return result;
    return open_all(r, have + n);
}

/* Makes the half record in the slot upto bytes long. */
static enum result gather(struct reading *r, size_t upto)
{
    while (r->rx.half_len < upto) {
        size_t n = 0;
        enum result result = receive(r, r->c->slot->rx_buffer + r->rx.half_len, upto - r->rx.half_len, &n);
        if (result != RESULT_OK)
            return result;
        r->rx.half_len += (uint32_t)n;
        if (r->drained && r->rx.half_len < upto)
            return RESULT_AGAIN;
    }
    return RESULT_OK;
}

/* Takes all but the last byte of the half record, looks at the last, and opens it into the slot, where the program
 * gets it in pieces; the last byte stays in the kernel until then. Without the header yet, takes that first. */
static enum result read_into_slot(struct reading *r)
{
    uint8_t *buffer = r->c->slot->rx_buffer;
    size_t body = 0;
    enum result result = gather(r, RECORD_HEADER);
    if (result == RESULT_OK)
        result = body_length(r, buffer, &body);
    size_t total = RECORD_HEADER + body;
    if (result == RESULT_OK && r->rx.half_len >= total)
        return rx_violation(r, "slot overwritten", 80);
    if (result == RESULT_OK)
        result = gather(r, total - 1);
    if (result != RESULT_OK)
        return result;
    struct iovec last = {buffer + total - 1, 1};
    ssize_t k = conn_transport->receive(r->fd, &last, 1, true);
    if (k <= 0) {
        size_t n = 0;
        return k == -EAGAIN ? RESULT_AGAIN : receive(r, buffer + total - 1, 1, &n);
    }
    size_t len = 0;
    result = open_record(r, buffer, total, buffer + RECORD_HEADER, &len);
    r->rx.half_len = 0;
    r->rx.tail_held = 1;
    r->rx.plain_off = RECORD_HEADER;
    r->rx.plain_len = (uint32_t)len;
    return result;
}

/* Bytes that the program does not see any more (the tail of a record whose content was all read, or that had none) must
 * not keep the socket readable. */
static void take_tail(struct reading *r)
{
    uint8_t byte;
    struct iovec iov = {&byte, 1};
    if (r->rx.tail_held && !r->rx.plain_len && conn_transport->receive(r->fd, &iov, 1, false) != 0)
        r->rx.tail_held = 0;
}

/* True if what is known of the record under way says that the rest of the program's buffer cannot hold it. */
static bool must_split(const struct reading *r)
{
    size_t room = r->want - r->got;
    if (r->rx.half_len < RECORD_HEADER)
        return room + RECORD_OVERHEAD <= r->rx.half_len;
    uint8_t header[RECORD_HEADER];
    memcpy(header, r->c->slot->rx_buffer, sizeof header);
    size_t content_max = be16(header + 3) - (size_t)(RECORD_TAG + 1);
    return content_max > room;
}

static enum result read_loop(struct reading *r)
{
    while (r->got < r->want) {
        if (r->rx.plain_len) {
            deliver_leftover(r);
            continue;
        }
        if (r->rx.end == RX_CLOSE_NOTIFY)
            return RESULT_EOF;
        if (r->rx.end == RX_ERROR)
            return RESULT_IO;
        if (r->drained)
            return RESULT_AGAIN;
        bool split = must_split(r);
        enum result result = split ? read_into_slot(r) : read_records(r);
        if (result != RESULT_OK)
            return result;
        /* A record opened into the slot says nothing of what is behind it. */
        if (split)
            r->drained = false;
    }
    return RESULT_OK;
}

/* The next record's place behind the leftover plaintext, for a MSG_PEEK that asks for more: only if it is whole in the
 * kernel, since its predecessor's last byte must stay there otherwise. */
static enum result peek_more(struct reading *r)
{
    uint8_t *buffer = r->c->slot->rx_buffer;
    if (r->rx.plain_off + r->rx.plain_len > SLOT_RX_ROOM - RECORD_WIRE_MAX) {
        if (r->rx.plain_len > SLOT_RX_ROOM - RECORD_WIRE_MAX)
            return RESULT_AGAIN;
        memmove(buffer, buffer + r->rx.plain_off, r->rx.plain_len);
        r->rx.plain_off = 0;
    }
    if (!r->scratch && !(r->scratch = scratch_take()))
        return RESULT_AGAIN;
    struct iovec look = {r->scratch, 1 + RECORD_WIRE_MAX};
    ssize_t k = conn_transport->receive(r->fd, &look, 1, true);
    if (k < 1 + RECORD_HEADER)
        return RESULT_AGAIN;
    size_t body = 0;
    if (record_header(r->scratch + 1, &body) != RESULT_OK || (size_t)k < 1 + RECORD_HEADER + body)
        return RESULT_AGAIN;
    struct iovec take = {r->scratch, RECORD_HEADER + body}; /* the old tail, and the record less its last byte */
    if (conn_transport->receive(r->fd, &take, 1, false) != (ssize_t)(RECORD_HEADER + body))
        return rx_violation(r, "somebody else read from the socket", 80);
    uint8_t *plain = buffer + r->rx.plain_off + r->rx.plain_len;
    size_t len = 0;
    enum result result = open_record(r, r->scratch + 1, RECORD_HEADER + body, plain, &len);
    r->rx.plain_len += (uint32_t)len;
    return result;
}

/* Opens at least one record, and as many more as asked, into the slot; then copies without taking. */
static enum result peek_loop(struct reading *r)
{
    enum result result = RESULT_OK;
    while (!r->rx.plain_len && r->rx.end == RX_LIVE && result == RESULT_OK) {
        take_tail(r);
        result = read_into_slot(r);
    }
    while (result == RESULT_OK && r->rx.plain_len && r->rx.plain_len < r->want && r->rx.end == RX_LIVE)
        result = peek_more(r);
    size_t n = r->rx.plain_len < r->want ? r->rx.plain_len : r->want;
    if (n) {
        deliver(r, r->c->slot->rx_buffer + r->rx.plain_off, n);
        return RESULT_OK;
    }
    if (r->rx.end == RX_CLOSE_NOTIFY)
        return RESULT_EOF;
    return r->rx.end == RX_ERROR ? RESULT_IO : RESULT_AGAIN;
}

static enum result rx_begin(struct reading *r)
{
    switch (slotlock_take(&r->c->slot->rx_lock)) {
    case SLOTLOCK_TAKEN:
        break;
    case SLOTLOCK_BROKEN:
    case SLOTLOCK_STUCK:
        log_event(LOG_LEVEL_ERROR, "%s: a process that shares this connection died or stopped inside a call: connection lost",
                  r->c->peer);
        return RESULT_IO;
    }
    memcpy(&r->rx, &r->c->slot->rx, sizeof r->rx);
    if (slot_rx_valid(&r->rx))
        return RESULT_OK;
    slotlock_release(&r->c->slot->rx_lock);
    return RESULT_IO;
}

static void rx_finish(struct reading *r)
{
    take_tail(r);
    memcpy(&r->c->slot->rx, &r->rx, sizeof r->rx);
    slotlock_release(&r->c->slot->rx_lock);
    wipe(&r->rx.keys, sizeof r->rx.keys);
    scratch_give(r->scratch);
}

static enum result rx_run(struct conn *c, int fd, struct reading *r, enum result (*loop)(struct reading *))
{
    r->c = c;
    r->fd = fd;
    enum result result = rx_begin(r);
    if (result != RESULT_OK) {
        r->rx.error = ECONNABORTED;
        return result;
    }
    enum slot_rx_end before = r->rx.end;
    result = loop(r);
    enum slot_rx_end after = r->rx.end;
    rx_finish(r);
    if (before == RX_LIVE && after != RX_LIVE)
        conn_show_end(c, fd);
    return result;
}

enum result conn_read(struct conn *c, int fd, const struct iovec *iov, int count, bool peek, size_t *got, int *error)
{
    struct reading r = {.iov = iov, .count = count, .want = iov_total(iov, count)};
    *got = 0;
    enum result result = conn_drive(c, fd);
    if (result != RESULT_OK) {
        *error = conn_error(c);
        return result;
    }
    result = rx_run(c, fd, &r, peek ? peek_loop : read_loop);
    *got = r.got;
    *error = r.rx.error;
    if (!r.got)
        return result;
    if (!peek)
        atomic_fetch_add_explicit(&c->slot->bytes_in, r.got, memory_order_relaxed);
    return RESULT_OK;
}

static enum result probe_loop(struct reading *r)
{
    r->want = 0;
    enum result result = peek_loop(r);
    return r->rx.plain_len ? RESULT_OK : result;
}

enum result conn_probe(struct conn *c, int fd, size_t *available)
{
    struct reading r = {.count = 0};
    *available = 0;
    enum result result = conn_drive(c, fd);
    if (result != RESULT_OK)
        return result;
    result = rx_run(c, fd, &r, probe_loop);
    *available = r.rx.plain_len;
    return result;
}

/* The content of the whole records behind the opened one; of what a scratch buffer cannot show, the bytes. A record whose
 * end has not come counts as one byte: whoever takes the number for all there is must try once more, which drains the
 * half record. Left in the kernel it can fill a small receive buffer, and then its end never comes. */
static size_t count_behind(struct reading *r)
{
    if (!r->scratch && !(r->scratch = scratch_take()))
        return r->queued;
    struct iovec look = {r->scratch, CONN_SCRATCH};
    ssize_t k = conn_transport->receive(r->fd, &look, 1, true);
    size_t have = k > 0 ? (size_t)k : 0, at = r->rx.tail_held, total = 0, body = 0;
    while (have >= at + RECORD_HEADER && record_header(r->scratch + at, &body) == RESULT_OK &&
           have >= at + RECORD_HEADER + body) {
        total += body > RECORD_TAG + 1 ? body - (RECORD_TAG + 1) : 0;
        at += RECORD_HEADER + body;
    }
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
enum { CONTROL_MAX = 8192 };

static bool large_record_waits(struct reading *r)
{
    uint8_t header[RECORD_HEADER];
    struct iovec iov = {header, sizeof header};
    size_t body = 0;
    if (r->rx.plain_len || r->rx.half_len || r->rx.tail_held || r->rx.end != RX_LIVE)
        return false;
    if (conn_transport->receive(r->fd, &iov, 1, true) != (ssize_t)sizeof header)
        return false;
    if (record_header(header, &body) != RESULT_OK || body < CONTROL_MAX)
        return false;
    return conn_transport->unread(r->fd) >= (long)(RECORD_HEADER + body);
}

static enum result ready_loop(struct reading *r)
{
    return large_record_waits(r) ? RESULT_OK : probe_loop(r);
}

enum result conn_ready(struct conn *c, int fd)
{
    struct reading r = {.count = 0};
    enum result result = conn_drive(c, fd);
    return result == RESULT_OK ? rx_run(c, fd, &r, ready_loop) : result;
}
