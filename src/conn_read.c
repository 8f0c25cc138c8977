/* Reading: opens records so that the kernel's socket is readable exactly while there is something for the program
 * (laws 3 and 4). */
#include "conn_reading.h"

void rx_deliver(struct reading *r, const uint8_t *from, size_t len)
{
    iov_scatter(r->iov, r->count, r->got, from, len);
    r->got += len;
}

/* Gives leftover plaintext to the program. */
static void deliver_leftover(struct reading *r)
{
    size_t n = r->rx.plain_len < r->want - r->got ? r->rx.plain_len : r->want - r->got;
    uint8_t *from = r->c->room->rx + r->rx.plain_off;
    rx_deliver(r, from, n);
    wipe(from, n);
    r->rx.plain_off += (uint32_t)n;
    r->rx.plain_len -= (uint32_t)n;
    if (!r->rx.plain_len)
        r->rx.plain_off = 0;
}

/* The place in the program's buffer where a record of at most content bytes can be opened straight; NULL if it would
 * not fit in one piece. */
static uint8_t *direct_place(const struct reading *r, size_t content)
{
    const size_t room = record_room(&r->rx.keys, content);
    if (r->count != 1 || room < DIRECT_MIN || r->want - r->got < room)
        return NULL;
    return (uint8_t *)r->iov[0].iov_base + r->got;
}

static enum result open_direct(struct reading *r, const uint8_t *wire, size_t wire_len, uint8_t *place)
{
    /* Where the type byte lands right behind the content, the program's own byte there is put back, as a socket never
     * touches what lies behind the bytes that it returns. */
    const size_t content_max = wire_len - RECORD_OVERHEAD;
    const bool one_more = record_room(&r->rx.keys, content_max) > content_max;
    const uint8_t behind = one_more ? place[content_max] : 0;
    size_t len = 0;
    enum result result = rx_open_record(r, wire, wire_len, place, &len);
    if (one_more && len == content_max)
        place[content_max] = behind;
    r->got += len;
    return result;
}

static enum result open_whole(struct reading *r, uint8_t *wire, size_t wire_len)
{
    uint8_t *place = direct_place(r, wire_len - RECORD_OVERHEAD);
    if (place)
        return open_direct(r, wire, wire_len, place);
    size_t len = 0;
    enum result result = rx_open_record(r, wire, wire_len, wire + RECORD_HEADER, &len);
    if (len > r->want - r->got)
        result = rx_violation(r, "record larger than it was taken for", 80);
    else
        rx_deliver(r, wire + RECORD_HEADER, len);
    wipe(wire + RECORD_HEADER, len);
    return result;
}

size_t rx_ask_for(size_t room, size_t have)
{
    size_t records = (room + RECORD_PLAIN_MAX - 1) / RECORD_PLAIN_MAX;
    size_t ask = room + records * RECORD_OVERHEAD;
    if (ask > CONN_SCRATCH)
        ask = CONN_SCRATCH;
    return ask > have ? ask - have : 0;
}

/* Opens what is whole in wire[0..have); the rest becomes the half record in the slot. */
static enum result open_all(struct reading *r, uint8_t *wire, size_t have)
{
    size_t at = 0;
    enum result result = RESULT_OK;
    while (result == RESULT_OK && have - at >= RECORD_HEADER) {
        size_t body = 0;
        result = rx_body_length(r, wire + at, &body);
        if (result != RESULT_OK || have - at < RECORD_HEADER + body)
            break;
        result = open_whole(r, wire + at, RECORD_HEADER + body);
        at += RECORD_HEADER + body;
    }
    r->rx.half_len = 0;
    if (result == RESULT_OK && at < have) {
        memcpy(slot_rx_room(r->c->slot, r->c->room, have - at), wire + at, have - at);
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
    memcpy(r->scratch, r->c->room->rx, have);
    enum result result = rx_receive(r, r->scratch + have, rx_ask_for(r->want - r->got, have), &n);
    if (result != RESULT_OK)
        return result;
    return open_all(r, r->scratch, have + n);
}

/* Makes the half record in the slot upto bytes long. */
static enum result gather(struct reading *r, size_t upto)
{
    while (r->rx.half_len < upto) {
        size_t n = 0;
        uint8_t *to = slot_rx_room(r->c->slot, r->c->room, upto) + r->rx.half_len;
        enum result result = rx_receive(r, to, upto - r->rx.half_len, &n);
        if (result != RESULT_OK)
            return result;
        r->rx.half_len += (uint32_t)n;
        if (r->drained && r->rx.half_len < upto)
            return RESULT_AGAIN;
    }
    return RESULT_OK;
}

/* Copies the last byte of the record of total bytes, and leaves it in the kernel; where a sandbox forbids that, takes
 * it. */
static enum result last_byte(struct reading *r, size_t total)
{
    size_t n = 0;
    uint8_t *to = slot_rx_room(r->c->slot, r->c->room, total) + total - 1;
    struct iovec last = {to, 1};
    if (conn_transport->no_peek)
        return gather(r, total);
    ssize_t k = conn_transport->receive(r->fd, &last, 1, true);
    if (k > 0)
        return RESULT_OK;
    return k == -EAGAIN ? RESULT_AGAIN : rx_receive(r, to, 1, &n);
}

/* Takes all but the last byte of the half record, looks at the last, and opens it into the slot, where the program
 * gets it in pieces; the last byte stays in the kernel until then. Without the header yet, takes that first. */
enum result rx_read_into_slot(struct reading *r)
{
    uint8_t *buffer = r->c->room->rx;
    size_t body = 0;
    enum result result = gather(r, RECORD_HEADER);
    if (result == RESULT_OK)
        result = rx_body_length(r, buffer, &body);
    size_t total = RECORD_HEADER + body;
    if (result == RESULT_OK && r->rx.half_len >= total)
        return rx_violation(r, "slot overwritten", 80);
    if (result == RESULT_OK)
        result = gather(r, total - 1);
    if (result != RESULT_OK)
        return result;
    result = last_byte(r, total);
    if (result != RESULT_OK)
        return result;
    size_t len = 0;
    result = rx_open_record(r, buffer, total, buffer + RECORD_HEADER, &len);
    r->rx.half_len = 0;
    r->rx.tail_held = !conn_transport->no_peek;
    r->rx.plain_off = RECORD_HEADER;
    r->rx.plain_len = (uint32_t)len;
    return result;
}

/* True if what is known of the record under way says that the rest of the program's buffer cannot hold it. */
static bool must_split(const struct reading *r)
{
    size_t room = r->want - r->got;
    if (r->rx.half_len < RECORD_HEADER)
        return room + RECORD_OVERHEAD <= r->rx.half_len;
    uint8_t header[RECORD_HEADER];
    memcpy(header, r->c->room->rx, sizeof header);
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
        const enum result ticket = r->want - r->got < DIRECT_MIN ? rx_take_ticket(r) : RESULT_OK;
        if (ticket != RESULT_OK)
            return ticket == RESULT_AGAIN ? RESULT_AGAIN : RESULT_IO;
        bool split = must_split(r);
        enum result result = split ? rx_read_into_slot(r) : read_records(r);
        if (result != RESULT_OK)
            return result;
        /* A record opened into the slot says nothing of what is behind it. */
        if (split)
            r->drained = false;
    }
    return RESULT_OK;
}

/* Gives leftover plaintext to the sink. False: it takes no more. */
static bool sink_leftover(struct reading *r)
{
    size_t n = r->rx.plain_len < r->want - r->got ? r->rx.plain_len : r->want - r->got;
    uint8_t *from = r->c->room->rx + r->rx.plain_off;
    ssize_t k = r->sink(r->sink_ctx, from, n);
    if (k <= 0 || (size_t)k > n)
        return false;
    wipe(from, (size_t)k);
    r->rx.plain_off = (size_t)k < r->rx.plain_len ? r->rx.plain_off + (uint32_t)k : 0;
    r->rx.plain_len -= (uint32_t)k;
    r->got += (size_t)k;
    return (size_t)k == n;
}

/* As read_loop, all through the slot: what the sink does not take must stay. */
static enum result sink_loop(struct reading *r)
{
    while (r->got < r->want) {
        if (r->rx.plain_len) {
            if (!sink_leftover(r))
                return RESULT_AGAIN;
            continue;
        }
        if (r->rx.end == RX_CLOSE_NOTIFY)
            return RESULT_EOF;
        if (r->rx.end == RX_ERROR)
            return RESULT_IO;
        enum result result = rx_read_into_slot(r);
        if (result != RESULT_OK)
            return result;
        r->drained = false;
    }
    return RESULT_OK;
}

/* A record up to this size comes in one segment, unless others are before it. */
enum { SEGMENT = 1024, WARY_READS = 64 };

void rx_note_size(struct conn *c, size_t got, bool in_part)
{
    uint32_t wary = atomic_load_explicit(&c->wary, memory_order_relaxed);
    if (got > SEGMENT || in_part)
        wary = WARY_READS;
    else if (wary && got)
        wary--;
    else
        return;
    atomic_store_explicit(&c->wary, wary, memory_order_relaxed);
}

/* What a quick read has opened, delivered. */
static enum result start_opened(struct reading *r, const struct quick_start *s)
{
    uint8_t *plain = s->wire + RECORD_HEADER;
    size_t len = s->len;
    r->drained = (size_t)s->k < s->ask;
    enum result result = rx_opened(r, s->result, s->type, plain, &len, s->alert);
    rx_deliver(r, plain, len);
    wipe(plain, s->len);
    return result;
}

enum result rx_start_loop(struct reading *r)
{
    const struct quick_start *s = r->start;
    size_t n = 0;
    enum result result = s->opened ? start_opened(r, s) : rx_received(r, s->k, s->ask, &n);
    if (result == RESULT_OK && !s->opened)
        result = open_all(r, s->wire, n);
    return result == RESULT_OK ? read_loop(r) : result;
}

enum result rx_told(struct reading *r, enum result result, size_t *got, int *error)
{
    struct conn *c = r->c;
    *got = r->got;
    *error = r->rx.error;
    rx_note_size(c, r->got, r->rx.half_len);
    if (result == RESULT_AGAIN && r->dry)
        *error = EAGAIN;
    if (!r->got)
        return result;
    if (atomic_load_explicit(&c->awaited, memory_order_relaxed) &&
        !atomic_load_explicit(&c->slot->peer_is_conventional, memory_order_relaxed))
        conn_ticket_await_no_more(c); /* it comes in front of the first data, or not at all */
    conn_status_if_due(c);
    return RESULT_OK;
}

static enum result run_read(struct conn *c, int fd, struct reading *r, enum result (*loop)(struct reading *),
                            size_t *got, int *error)
{
    *got = 0;
    enum result result = conn_drive(c, fd);
    if (result != RESULT_OK) {
        *error = conn_error(c);
        bool end = atomic_load(&c->slot->rd_shut) && (result == RESULT_AGAIN || conn_given_up(c));
        return end ? RESULT_EOF : result; /* as from a plain socket behind SHUT_RD */
    }
    result = rx_run(c, fd, r, loop);
    return rx_told(r, result, got, error);
}

enum result conn_read_to(struct conn *c, int fd, size_t len, conn_sink sink, void *ctx, size_t *got, int *error)
{
    struct reading r = {.want = len, .sink = sink, .sink_ctx = ctx, .takes = true};
    return run_read(c, fd, &r, sink_loop, got, error);
}

enum result conn_read(struct conn *c, int fd, const struct iovec *iov, int count, bool peek, size_t *got, int *error)
{
    enum result result;
    if (count == 1 && !peek && rx_quick(c, fd, iov, got, error, &result))
        return result;
    struct reading r = {.iov = iov, .count = count, .want = iov_total(iov, count), .takes = !peek};
    return run_read(c, fd, &r, peek ? rx_peek_loop : read_loop, got, error);
}
