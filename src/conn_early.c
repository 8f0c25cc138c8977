/* What the program writes before the handshake is over: kept by the process that does the handshake, up to the rule's
 * limit, and sent behind it before anybody else may write. */
#include "conn_writing.h"

/* hs_lock held. RESULT_OK: nothing (more) to flush. */
static enum result flush_kept(struct conn *c, int fd, bool roomy, int *error)
{
    if (atomic_load(&c->slot->state) != SLOT_OPEN)
        return c->early_len || conn_state(c) == RESULT_AGAIN ? RESULT_AGAIN : RESULT_OK;
    while (c->early_off < c->early_len) {
        struct iovec iov = {c->early + c->early_off, c->early_len - c->early_off};
        size_t put = 0;
        int why = 0;
        enum result result = tx_write(c, fd, &iov, 1, false, roomy, &put, &why);
        if (result != RESULT_OK && result != RESULT_AGAIN)
            *error = why;
        if (result != RESULT_OK)
            return result;
        c->early_off += put;
        roomy = false;
    }
    if (c->early) {
        wipe(c->early, c->early_len);
        free(c->early);
        c->early = NULL;
        c->early_len = c->early_off = c->early_room = 0;
    }
    if (atomic_load(&c->slot->early_kept) && owns_handshake(c)) {
        atomic_store(&c->slot->early_kept, 0);
        slot_wake(c->slot, &c->slot->early_kept);
        /* A writer that saw EAGAIN because these were in the way gets no other edge. */
        conn_raise_edges(c, fd);
    }
    return RESULT_OK;
}

/* What a write brings: the program's buffers, or a source. */
struct supply {
    const struct iovec *iov;
    int count;
    conn_source source;
    void *ctx;
    size_t len;
};

static enum result write_open(struct conn *c, int fd, const struct supply *s, bool more, bool roomy, size_t *put,
                              int *error)
{
    if (s->source)
        return tx_write_from(c, fd, s->len, s->source, s->ctx, more, roomy, put, error);
    return tx_write(c, fd, s->iov, s->count, more, roomy, put, error);
}

/* Room for n more bytes. False without memory. */
static bool make_room(struct conn *c, size_t n)
{
    if (c->early_len + n <= c->early_room)
        return true;
    size_t bigger = c->early_room ? c->early_room : 4096;
    while (bigger < c->early_len + n)
        bigger *= 2;
    uint8_t *grown = malloc(bigger);
    if (!grown)
        return false;
    if (c->early) {
        memcpy(grown, c->early, c->early_len);
        wipe(c->early, c->early_len);
        free(c->early);
    }
    c->early = grown;
    c->early_room = bigger;
    return true;
}

/* hs_lock held. */
static enum result keep(struct conn *c, const struct supply *s, size_t *put, int *error)
{
    size_t limit = c->rule->early_limit_bytes;
    if (c->shut_wr_wanted) {
        *error = EPIPE;
        return RESULT_IO;
    }
    /* Behind the handshake the kernel is full: to keep more would go on for as long as a stream is faster than it. */
    if (atomic_load(&c->slot->state) == SLOT_OPEN)
        return s->len ? RESULT_AGAIN : RESULT_OK;
    size_t room = limit > c->early_len ? limit - c->early_len : 0;
    size_t n = s->len < room ? s->len : room;
    if (s->source && n > RECORD_PLAIN_MAX)
        n = RECORD_PLAIN_MAX;
    if (s->len && !n)
        return RESULT_AGAIN;
    if (!make_room(c, n)) {
        *error = ENOMEM;
        return RESULT_NOMEM;
    }
    if (s->source) {
        ssize_t given = s->source(s->ctx, c->early + c->early_len, n);
        if (given <= 0)
            return RESULT_AGAIN;
        n = (size_t)given;
    } else {
        iov_gather(s->iov, s->count, 0, c->early + c->early_len, n);
    }
    c->early_len += n;
    *put = n;
    if (n)
        atomic_store(&c->slot->early_kept, 1);
    return RESULT_OK;
}

/* What broke during the handshake is told to one call, and writes say EPIPE afterwards, as on a plain socket. Why the
 * other end was refused is told to all. */
static int error_when_failed(struct conn *c)
{
    int error = conn_error(c), untold = conn_take_untold(c);
    return (error == ECONNRESET && !untold) || conn_given_up(c) ? EPIPE : error;
}

static enum result write_supply(struct conn *c, int fd, const struct supply *s, bool more, bool roomy, size_t *put,
                                int *error)
{
    *put = 0;
    *error = 0;
    enum result state = conn_drive(c, fd);
    if (state == RESULT_OK && !(owns_handshake(c) && atomic_load(&c->slot->early_kept)))
        return write_open(c, fd, s, more, roomy, put, error);
    if (state != RESULT_OK && state != RESULT_AGAIN) {
        *error = error_when_failed(c);
        return RESULT_IO;
    }
    pthread_mutex_lock(&c->hs_lock);
    enum result result = flush_kept(c, fd, false, error);
    if (result == RESULT_AGAIN && owns_handshake(c))
        result = keep(c, s, put, error);
    pthread_mutex_unlock(&c->hs_lock);
    if (result == RESULT_OK && !*put && !atomic_load(&c->slot->early_kept) && conn_state(c) == RESULT_OK)
        return write_open(c, fd, s, more, roomy, put, error);
    if (result == RESULT_OK && !*put && conn_state(c) == RESULT_IO) { /* whoever had the lock has found it broken */
        *error = error_when_failed(c);
        return RESULT_IO;
    }
    return result;
}

enum result conn_write(struct conn *c, int fd, const struct iovec *iov, int count, bool more, bool roomy, size_t *put,
                       int *error)
{
    enum result result;
    *error = 0;
    if (count == 1 && tx_quick(c, fd, iov, more, put, error, &result))
        return result;
    struct supply s = {.iov = iov, .count = count, .len = iov_total(iov, count)};
    return write_supply(c, fd, &s, more, roomy, put, error);
}

enum result conn_write_from(struct conn *c, int fd, size_t len, conn_source source, void *ctx, bool more, bool roomy,
                            size_t *put, int *error)
{
    struct supply s = {.source = source, .ctx = ctx, .len = len};
    return write_supply(c, fd, &s, more, roomy, put, error);
}

bool conn_writing_blocked(struct conn *c)
{
    if (atomic_load(&c->slot->state) != SLOT_HANDSHAKE)
        return false;
    if (!owns_handshake(c))
        return true;
    pthread_mutex_lock(&c->hs_lock);
    bool full = c->early_len >= c->rule->early_limit_bytes && !c->shut_wr_wanted;
    pthread_mutex_unlock(&c->hs_lock);
    return full && atomic_load(&c->slot->state) == SLOT_HANDSHAKE;
}

size_t conn_unsent(struct conn *c)
{
    struct slot_tx tx;
    pthread_mutex_lock(&c->hs_lock);
    size_t kept = c->early_len - c->early_off;
    pthread_mutex_unlock(&c->hs_lock);
    memcpy(&tx, &c->slot->tx, sizeof tx); /* unlocked: a number that is old in the moment it is told */
    size_t rest = slot_tx_valid(&tx) ? tx.rest_len : 0;
    wipe(&tx, sizeof tx);
    return kept + rest;
}

enum result early_flush(struct conn *c, int fd, bool roomy)
{
    int error = 0;
    return flush_kept(c, fd, roomy, &error);
}
