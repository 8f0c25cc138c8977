/* Opening records: what comes out of the socket, what a record turns out to be, and the lock around it all. */
#include "conn_reading.h"

enum result rx_end(struct reading *r, enum slot_rx_end end, int error)
{
    r->rx.end = (uint8_t)end;
    r->rx.error = error;
    return end == RX_CLOSE_NOTIFY ? RESULT_EOF : RESULT_IO;
}

enum result rx_violation(struct reading *r, const char *what, int alert)
{
    log_event(LOG_LEVEL_ERROR,
              "%s: %s (alert %d): connection broken off; the network or the peer tampered with the stream", r->c->peer,
              what, alert);
    r->rx.half_len = 0;
    atomic_store(&r->c->alert_due, (uint32_t)alert);
    return rx_end(r, RX_ERROR, EPROTO);
}

enum result rx_receive(struct reading *r, uint8_t *to, size_t ask, size_t *n)
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
    return rx_received(r, k, ask, n);
}

enum result rx_received(struct reading *r, ssize_t k, size_t ask, size_t *n)
{
    if (k > 0) {
        *n = (size_t)k;
        r->drained = *n < ask;
        return RESULT_OK;
    }
    r->drained = true;
    r->dry = k == -EAGAIN;
    if (r->dry)
        return RESULT_AGAIN;
    if (k < 0)
        conn_note_untold(r->c, (int)-k);
    if (k == 0 && atomic_load(&r->c->slot->rd_shut)) { /* the program's own SHUT_RD, which says nothing of the peer */
        r->rx.error = conn_take_untold(r->c);
        if (!r->rx.error)
            return RESULT_EOF;
        conn_note_untold(r->c, r->rx.error); /* this may be a look: whoever tells the program takes it */
        return RESULT_IO;
    }
    if (k == 0 && r->c->rule->eof == EOF_INSECURE_FIN && !r->rx.half_len) {
        log_event(LOG_LEVEL_INFO, "%s: the stream ended without close_notify, which eof=insecure-fin takes for its end",
                  r->c->peer);
        return rx_end(r, RX_CLOSE_NOTIFY, 0);
    }
    if (k == 0) {
        log_event(LOG_LEVEL_WARN,
                  "%s: the stream ended without close_notify: truncated by the network, or the peer crashed or aborted",
                  r->c->peer);
        return rx_end(r, RX_ERROR, ECONNRESET);
    }
    if (atomic_load(&r->c->slot->rd_shut)) { /* told once, as by a plain socket: nothing was cut off unasked */
        r->rx.error = (int)-k;
        return RESULT_IO;
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
    char why[HANDSHAKE_WHY_MAX];
    result_ignore(handshake_reason_alert(body[1], r->c->identity, true, why));
    log_event(LOG_LEVEL_ERROR, "%s: broken off: %s", r->c->peer, why);
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

/* No peer in earnest sends so many in a row, and each costs us more than it costs him. */
enum { BARREN_MAX = 1000 };

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
        conn_ticket_came(r->c, &r->rx.keys, head, 4 + be24(head + 1));
    }
    return RESULT_OK;
}

enum result rx_open_record(struct reading *r, const uint8_t *wire, size_t wire_len, uint8_t *plain, size_t *len)
{
    enum record_type type = RECORD_INVALID;
    uint8_t alert = 0;
    enum result fit = record_cipher_fit(&r->c->rx_cipher, &r->rx.keys);
    if (fit != RESULT_OK)
        return rx_end(r, RX_ERROR, ENOMEM);
    fit = record_open(r->c->rx_cipher, &r->rx.keys, wire, wire_len, plain, len, &type, &alert);
    return rx_opened(r, fit, type, plain, len, alert);
}

enum result rx_opened(struct reading *r, enum result opened, enum record_type type, uint8_t *plain, size_t *len,
                      uint8_t alert)
{
    if (opened != RESULT_OK)
        return rx_violation(r, "bad record", alert);
    r->rx.keys.seq++;
    r->barren = *len && type == RECORD_APPLICATION_DATA ? 0 : r->barren + 1;
    if (r->barren > BARREN_MAX) {
        *len = 0;
        return rx_violation(r, "a flood of records without content", 10);
    }
    if (type == RECORD_APPLICATION_DATA)
        return RESULT_OK;
    size_t control_len = *len;
    *len = 0;
    enum result result = type == RECORD_ALERT ? on_alert(r, plain, control_len) : on_handshake(r, plain, control_len);
    wipe(plain, control_len);
    return result;
}

enum result rx_body_length(struct reading *r, const uint8_t *header, size_t *body)
{
    uint8_t copy[RECORD_HEADER];
    memcpy(copy, header, sizeof copy);
    if (record_header(copy, body) != RESULT_OK || copy[0] != RECORD_APPLICATION_DATA)
        return rx_violation(r, "not a protected record", 10);
    return RESULT_OK;
}

void rx_take_tail(struct reading *r)
{
    uint8_t byte;
    struct iovec iov = {&byte, 1};
    if (r->rx.tail_held && !r->rx.plain_len && conn_transport->receive(r->fd, &iov, 1, false) != 0)
        r->rx.tail_held = 0;
}

static void rx_finish(struct reading *r)
{
    rx_take_tail(r);
    if (r->got && r->takes)
        conn_count_bytes(r->c, true, r->got);
    bool untailed = r->rx.plain_len && !r->rx.tail_held;
    if (untailed != atomic_load_explicit(&r->c->slot->untailed, memory_order_relaxed))
        atomic_store(&r->c->slot->untailed, untailed);
    memcpy(&r->c->slot->rx, &r->rx, sizeof r->rx);
    slotlock_release(&r->c->slot->rx_lock);
    wipe(&r->rx.keys, sizeof r->rx.keys);
    scratch_give(r->scratch);
}

enum result rx_run_held(struct reading *r, enum result (*loop)(struct reading *))
{
    memcpy(&r->rx, &r->c->slot->rx, sizeof r->rx);
    if (!slot_rx_valid(&r->rx)) {
        slotlock_release(&r->c->slot->rx_lock);
        r->rx.error = ECONNABORTED;
        return RESULT_IO;
    }
    enum slot_rx_end before = r->rx.end;
    enum result result = loop(r);
    enum slot_rx_end after = r->rx.end;
    rx_finish(r);
    if (before == RX_LIVE && after != RX_LIVE)
        conn_show_end(r->c, r->fd);
    return result;
}

enum result rx_run(struct conn *c, int fd, struct reading *r, enum result (*loop)(struct reading *))
{
    r->c = c;
    r->fd = fd;
    if (slot_take(c, &c->slot->rx_lock))
        return rx_run_held(r, loop);
    r->rx.error = ECONNABORTED;
    return RESULT_IO;
}
