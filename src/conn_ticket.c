/* Session tickets of a connection (tickets.h): the server's goes out in front of the first application data, in the
 * same system call, or never; the client's is kept when it comes. A ticket that arrives at a closed socket would be
 * answered by RST, which destroys data: so none ever travels alone. */
#include "conn_reading.h"

#include "tickets.h"

/* After the handshake, before anybody may write; hs_lock held. */
void conn_ticket_begin(struct conn *c)
{
    struct ticket_message *m = handshake_take_ticket(c->hs);

    atomic_store(&c->ticket_due, tickets_due_add(m));
    ticket_message_free(m);
    atomic_store(&c->awaited, handshake_take_awaited(c->hs));
}

/* The sending lock is held. conn_ticket_done says what became of it. */
struct ticket_message *conn_ticket_take(struct conn *c)
{
    if (!atomic_load_explicit(&c->ticket_due, memory_order_relaxed) || conn_transport->send_max)
        return NULL;
    struct ticket_message *m = tickets_due_take(atomic_exchange(&c->ticket_due, 0));
    /* Behind data of this stream, which another process may have sent, the peer does not look for it any more. */
    if (m && atomic_load_explicit(&c->slot->bytes_out, memory_order_relaxed)) {
        ticket_message_free(m);
        m = NULL;
    }
    return m;
}

/* RESULT_AGAIN: nothing has left, it may go with the next data. */
void conn_ticket_done(struct conn *c, struct ticket_message *m, enum result result)
{
    if (m && result == RESULT_AGAIN && !atomic_load(&c->left))
        atomic_store(&c->ticket_due, tickets_due_add(m));
    ticket_message_free(m);
}

void conn_ticket_drop(struct conn *c)
{
    if (atomic_load_explicit(&c->ticket_due, memory_order_relaxed))
        ticket_message_free(tickets_due_take(atomic_exchange(&c->ticket_due, 0)));
    conn_ticket_await_no_more(c);
}

void conn_ticket_await_no_more(struct conn *c)
{
    if (atomic_load_explicit(&c->awaited, memory_order_relaxed))
        tickets_await_no_more(atomic_exchange(&c->awaited, 0));
}

struct arrival {
    uint64_t awaited;
    const struct record_keys *keys;
    const uint8_t *message;
    size_t len;
};

static void arrive(void *arg)
{
    const struct arrival *a = arg;

    (void)tickets_arrived(a->awaited, a->keys, a->message, a->len);
}

/* The receiving lock is held. NewSessionTicket has come in the record before keys->seq. */
void conn_ticket_came(struct conn *c, const struct record_keys *keys, const uint8_t *message, size_t len)
{
    struct arrival a = {atomic_exchange(&c->awaited, 0), keys, message, len};

    if (a.awaited && conn_shallow())
        tickets_await_no_more(a.awaited);
    else if (a.awaited)
        conn_call_with_stack(arrive, &a);
}

/* A small read would take a ticket in pieces, through a page of the slot that nothing else may ever need. So a record
 * that is whole in the kernel is looked at, and taken in one piece if it is one. */
enum { LOOK = TICKET_BYTES_MAX + RECORD_OVERHEAD };

static bool is_ticket(struct reading *r, uint8_t *wire, size_t len)
{
    enum record_type type = RECORD_INVALID;
    uint8_t alert = 0;
    size_t plain_len = 0;
    const bool opened = record_cipher_fit(&r->c->rx_cipher, &r->rx.keys) == RESULT_OK &&
                        record_open(r->c->rx_cipher, &r->rx.keys, wire, len, wire + RECORD_HEADER, &plain_len, &type,
                                    &alert) == RESULT_OK;

    wipe(wire + RECORD_HEADER, len - RECORD_HEADER);
    return opened && type == RECORD_HANDSHAKE;
}

enum result rx_take_ticket(struct reading *r)
{
    size_t body = 0, len = 0;

    if (!atomic_load_explicit(&r->c->awaited, memory_order_relaxed) || r->rx.half_len || r->rx.plain_len ||
        r->rx.tail_held || r->rx.end != RX_LIVE || conn_transport->no_peek)
        return RESULT_OK;
    if (!r->scratch && !(r->scratch = scratch_take()))
        return RESULT_OK;
    struct iovec look = {r->scratch, LOOK};
    const ssize_t k = conn_transport->receive(r->fd, &look, 1, true);
    if (k == -EAGAIN) {
        r->drained = r->dry = true;
        return RESULT_AGAIN;
    }
    if (k < RECORD_HEADER || record_header(r->scratch, &body) != RESULT_OK || (size_t)k < RECORD_HEADER + body ||
        !is_ticket(r, r->scratch, RECORD_HEADER + body))
        return RESULT_OK;
    struct iovec take = {r->scratch, RECORD_HEADER + body};
    if (conn_transport->receive(r->fd, &take, 1, false) != (ssize_t)take.iov_len)
        return rx_violation(r, "somebody else read from the socket", 80);
    return rx_open_record(r, r->scratch, take.iov_len, r->scratch + RECORD_HEADER, &len);
}
