/* The life of a connection in one process, and what others ask about it. */
#include "conn_internal.h"

#include <stdio.h>
#include <stdlib.h>

const struct conn_io *conn_transport;

void conn_set_io(const struct conn_io *io)
{
    conn_transport = io;
    identity_token_streams(io->hold_streams);
}

void conn_call_with_stack(void (*fn)(void *arg), void *arg)
{
    if (conn_transport->call_with_stack)
        conn_transport->call_with_stack(fn, arg);
    else
        fn(arg);
}

static void drop_name(struct conn *c)
{
    if (c->dialled_name != c->dialled_here)
        free(c->dialled_name);
    c->dialled_name = NULL;
}

bool conn_keep_name(struct conn *c, const char *dialled_name)
{
    drop_name(c);
    if (!dialled_name)
        return true;
    size_t size = strlen(dialled_name) + 1;
    c->dialled_name = size <= sizeof c->dialled_here ? c->dialled_here : malloc(size);
    if (c->dialled_name)
        memcpy(c->dialled_name, dialled_name, size);
    return c->dialled_name;
}

bool conn_init(struct conn *c, const struct conn_params *params)
{
    if (!conn_keep_name(c, params->dialled_name))
        return false;
    c->rule = params->rule;
    c->identity = params->identity ? identity_ref(params->identity) : NULL;
    c->connected_side = params->connected_side;
    memcpy(c->peer, params->peer, sizeof c->peer);
    c->peer[sizeof c->peer - 1] = 0;
    c->cookie = params->cookie;
    c->tx_batch = 4 * RECORD_PLAIN_MAX;
    c->born_ms = conn_transport->now_ms();
    pthread_mutex_init(&c->hs_lock, NULL);
    return true;
}

struct conn *conn_beside(struct chunk *chunk, struct slot *slot)
{
    _Static_assert(sizeof(struct conn) <= CHUNK_COMPANION && _Alignof(struct conn) <= 64, "conn fits");
    struct conn *c = chunk_companion(chunk, slot);
    c->chunk = chunk;
    c->slot = slot;
    c->room = chunk_room(chunk, slot);
    return c;
}

struct conn *conn_new(const struct conn_params *params)
{
    struct chunk *chunk = NULL;
    struct slot *slot = chunk_take(&chunk);
    if (!slot)
        return NULL;
    struct conn *c = conn_beside(chunk, slot);
    c->family = family_own();
    if (!conn_init(c, params)) {
        chunk_drop(chunk, slot);
        return NULL;
    }
    c->slot->layout = SLOT_LAYOUT;
    atomic_store(&c->slot->state, SLOT_UNSTARTED);
    conn_status_begin(c);
    return c;
}

void conn_free(struct conn *c)
{
    conn_status_end(c);
    conn_drop_private(c);
    record_cipher_free(c->rx_cipher);
    record_cipher_free(c->tx_cipher);
    pthread_mutex_destroy(&c->hs_lock);
    identity_unref(c->identity);
    drop_name(c);
    if (atomic_load(&c->was_last))
        chunk_wipe(c->chunk, c->slot);
    chunk_drop(c->chunk, c->slot); /* c is in it */
}

const char *conn_peer(const struct conn *c)
{
    return c->peer;
}

enum result conn_state(const struct conn *c)
{
    switch (atomic_load(&c->slot->state)) {
    case SLOT_OPEN:
        return RESULT_OK;
    case SLOT_UNSTARTED:
    case SLOT_HANDSHAKE:
        return RESULT_AGAIN;
    default: /* FAILED, or a value that a hostile co-holder wrote */
        return RESULT_IO;
    }
}

bool conn_unstarted(const struct conn *c)
{
    return atomic_load(&c->slot->state) == SLOT_UNSTARTED;
}

bool conn_is_connector(const struct conn *c)
{
    return c->connected_side;
}

bool conn_owns_handshake(const struct conn *c)
{
    return owns_handshake(c);
}

static int wait_on(struct conn *c, _Atomic uint32_t *word, uint32_t expected, int timeout_ms)
{
    atomic_fetch_add(&c->slot->waiters, 1);
    int error = shared_wait(word, expected, timeout_ms);
    atomic_fetch_sub(&c->slot->waiters, 1);
    return error;
}

int conn_wait_state(struct conn *c, int timeout_ms)
{
    uint32_t state = atomic_load(&c->slot->state);
    if (state == SLOT_UNSTARTED || state == SLOT_HANDSHAKE)
        return wait_on(c, &c->slot->state, state, timeout_ms);
    if (atomic_load(&c->slot->early_kept))
        return wait_on(c, &c->slot->early_kept, 1, timeout_ms);
    uint32_t turn = atomic_load(&c->slot->turn);
    if (turn)
        return wait_on(c, &c->slot->turn, turn, timeout_ms);
    return 0;
}

bool conn_sole(const struct conn *c)
{
    return holders_sole(c->slot);
}

int conn_error(const struct conn *c)
{
    int error = atomic_load(&c->slot->error);
    return error > 0 && error < 4096 ? error : EPROTO;
}

bool conn_given_up(const struct conn *c)
{
    return conn_error(c) == ECONNABORTED && atomic_load(&c->slot->rd_shut) && atomic_load(&c->slot->fin_sent);
}

void conn_note_untold(struct conn *c, int error)
{
    atomic_store(&c->slot->untold, error);
}

bool conn_asking_begin(struct conn *c)
{
    if (conn_state(c) != RESULT_AGAIN)
        return false;
    pthread_mutex_lock(&c->hs_lock);
    return true;
}

void conn_asking_end(struct conn *c)
{
    pthread_mutex_unlock(&c->hs_lock);
}

void conn_error_told(struct conn *c)
{
    atomic_store(&c->slot->fail_shown, 1);
}

int conn_take_untold(struct conn *c)
{
    int error = atomic_load_explicit(&c->slot->untold, memory_order_relaxed);
    if (!error)
        return 0;
    error = atomic_exchange(&c->slot->untold, 0);
    atomic_store(&c->slot->fail_shown, 1); /* if it was the handshake that broke, that is the same error */
    return error > 0 && error < 4096 ? error : 0;
}

bool conn_peer_ended(struct conn *c)
{
    if (!slot_take(c, &c->slot->rx_lock))
        return false;
    bool ended = c->slot->rx.end == RX_CLOSE_NOTIFY;
    slotlock_release(&c->slot->rx_lock);
    return ended;
}

bool conn_end_refused(struct conn *c, int error)
{
    return atomic_load(&c->slot->fin_sent) && (error == EPIPE || (error == ECONNRESET && conn_peer_ended(c)));
}

int conn_take_error(struct conn *c)
{
    if (conn_state(c) == RESULT_AGAIN && owns_handshake(c)) { /* whoever drives it may have met its end just now */
        pthread_mutex_lock(&c->hs_lock);
        pthread_mutex_unlock(&c->hs_lock);
    }
    if (conn_state(c) != RESULT_IO || atomic_exchange(&c->slot->fail_shown, 1))
        return 0;
    return conn_error(c);
}

/* How long a child that was announced and has not taken an id yet counts as a holder. */
enum { FORK_GRACE_MS = 2000 };

void conn_prepare_fork(struct conn *c)
{
    if (!atomic_load(&c->left))
        holders_announce(c->family, c->slot, conn_transport->now_ms() + FORK_GRACE_MS);
}

/* A superserver forks so that the child, or what it executes, serves the connection: neither may start the handshake by
 * mere time while the other is on its way there (on a busy machine, longer than CONN_UNSTARTED_MS). */
enum { HEIR_MS = 1000 };
static void await_heir(struct conn *c)
{
    c->born_ms = conn_transport->now_ms() + HEIR_MS;
}

void conn_fork_parent(struct conn *c, bool failed)
{
    if (!failed)
        await_heir(c);
    if (failed && !atomic_load(&c->left))
        holders_withdraw(c->slot);
}

void conn_fork_child(struct conn *c)
{
    pthread_mutex_init(&c->hs_lock, NULL);
    conn_drop_private(c);
    atomic_store(&c->readers, 0);
    conn_status_forked(c);
    await_heir(c);
    c->shut_wr_wanted = false;
    atomic_store(&c->rest_due, 0);
    atomic_store(&c->shut_rd_due, 0);
    atomic_store(&c->was_last, 0); /* the parent, which still closes it */
    if (!atomic_load(&c->left))
        holders_join(c->family, c->slot);
}

bool conn_reading_shut(const struct conn *c)
{
    return atomic_load(&c->slot->rd_shut);
}

bool conn_leftover(const struct conn *c)
{
    return atomic_load_explicit(&c->slot->untailed, memory_order_relaxed);
}

static void warm_cipher(struct conn *c, struct slotlock *lock, struct record_cipher **cipher,
                        const struct record_keys *shared)
{
    if (!slot_take(c, lock))
        return;
    struct record_keys keys = *shared;
    if (record_keys_valid(&keys))
        result_ignore(record_cipher_fit(cipher, &keys));
    slotlock_release(lock);
    wipe(&keys, sizeof keys);
}

void conn_warm(struct conn *c)
{
    if (conn_state(c) != RESULT_OK)
        return;
    conn_status_late(c);
    warm_cipher(c, &c->slot->rx_lock, &c->rx_cipher, &c->slot->rx.keys);
    warm_cipher(c, &c->slot->tx_lock, &c->tx_cipher, &c->slot->tx.keys);
}

void conn_connected(struct conn *c)
{
    atomic_store(&c->connected, 1);
}
