/* What a connection tells of itself to `p2ptls status` (status.h). */
#include "conn_internal.h"

_Static_assert((int)STATUS_PEER >= (int)CONN_PEER_TEXT, "an address has room");

static void copy_text(char *to, size_t room, const char *from, size_t from_size)
{
    const size_t len = strnlen(from, from_size), n = len < room ? len : room - 1;
    memcpy(to, from, n);
    memset(to + n, 0, room - n);
}

static struct status_record *take(struct conn *c)
{
    struct status_record *r = status_take();
    if (!r)
        return NULL;
    r->connected_side = c->connected_side;
    r->cookie = c->cookie;
    r->since_ms = conn_transport->now_ms();
    copy_text(r->peer, sizeof r->peer, c->peer, sizeof c->peer);
    status_end(r);
    return r;
}

void conn_status_begin(struct conn *c)
{
    atomic_store(&c->status, take(c));
    atomic_store(&c->status_due, atomic_load(&c->status) != NULL);
    conn_status_late(c); /* one that was handed over may be open */
}

/* Another process that holds the connection may be hostile, and then it deceives whoever reads this; no more. */
static void fill(struct status_record *r, const struct conn *c)
{
    const struct slot *slot = c->slot;
    struct slot_texts texts;
    slot_texts_get(slot, c->room, &texts);
    status_begin(r);
    r->is_client = slot->is_client;
    r->proven = slot->proven;
    r->resumed = slot->resumed;
    r->suite = (uint16_t)slot->tx.keys.suite;
    r->since_ms = atomic_load(&slot->opened_ms);
    r->identity_cut = strlen(texts.subject) >= sizeof r->identity;
    copy_text(r->identity, sizeof r->identity, texts.subject, sizeof texts.subject);
    copy_text(r->alpn, sizeof r->alpn, texts.alpn, sizeof texts.alpn);
    atomic_store_explicit(&r->bytes_in, atomic_load(&slot->bytes_in), memory_order_relaxed);
    atomic_store_explicit(&r->bytes_out, atomic_load(&slot->bytes_out), memory_order_relaxed);
    atomic_store(&r->state, STATUS_OPEN);
    status_end(r);
}

void conn_status_late(struct conn *c)
{
    uint32_t due = 1;
    if (conn_state(c) != RESULT_OK || !atomic_compare_exchange_strong(&c->status_due, &due, 0))
        return;
    struct status_record *r = atomic_load(&c->status);
    if (!r && !(r = take(c)))
        return;
    fill(r, c);
    atomic_store_explicit(&c->status, r, memory_order_release);
}

void conn_status_tell(struct conn *c, enum status_state state)
{
    struct status_record *r = atomic_load(&c->status);
    if (r)
        atomic_store(&r->state, (uint8_t)state);
}

/* The records are the parent's. A child that uses the connection gets one of its own; most children close it, or
 * execute something, and need none. */
void conn_status_forked(struct conn *c)
{
    atomic_store(&c->status, NULL);
    atomic_store(&c->status_due, 1);
}

void conn_status_end(struct conn *c)
{
    status_give(atomic_exchange(&c->status, NULL));
}
