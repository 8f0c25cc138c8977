/* The handshake of a connection: claimed once, by one process, and driven by whoever of its threads gets there first.
 */
#include "conn_internal.h"

/* Who waits for the end of the handshake does not mind its beginning. */
static void set_state(struct conn *c, enum slot_state state)
{
    atomic_store(&c->slot->state, state);
    if (state != SLOT_HANDSHAKE)
        slot_wake(c->slot, &c->slot->state);
}

/* The result that a failed connection keeps, with its errno. */
void conn_fail(struct conn *c, enum result reason, int error)
{
    atomic_store(&c->slot->error, error ? error : result_errno(reason));
    set_state(c, SLOT_FAILED);
    conn_status_tell(c, STATUS_FAILED);
    if (atomic_exchange(&c->slot->early_kept, 0))
        slot_wake(c->slot, &c->slot->early_kept);
}

void conn_raise_edges(struct conn *c, int fd)
{
    conn_transport->raise_edges(fd, !holders_sole(c->slot));
}

void conn_wake_readers(struct conn *c, int fd)
{
    if (atomic_load(&c->readers))
        conn_transport->shut(fd, SHUT_RD);
}

bool conn_read_begin(struct conn *c)
{
    atomic_fetch_add(&c->readers, 1);
    if (atomic_load(&c->slot->state) == SLOT_HANDSHAKE && owns_handshake(c))
        return true;
    conn_read_end(c);
    return false;
}

void conn_read_end(struct conn *c)
{
    atomic_fetch_sub(&c->readers, 1);
}

/* hs_lock held. */
static void drop_handshake(struct conn *c)
{
    handshake_free(c->hs);
    c->hs = NULL;
    dane_drop(c);
}

static void drop_early(struct conn *c)
{
    if (c->early) {
        wipe(c->early, c->early_len);
        free(c->early);
    }
    c->early = NULL;
    c->early_len = c->early_off = c->early_room = 0;
}

static bool speaks_first(const struct conn *c)
{
    if (c->rule->hello != HELLO_DEFAULT)
        return c->rule->hello == HELLO_NOW;
    return c->connected_side || c->rule->effective != ROLE_SERVER;
}

/* The text is ADDRESS:PORT, made by the embedder; 0 where it could not tell. */
uint16_t conn_port_of(const char *peer)
{
    const char *colon = strrchr(peer, ':');

    return colon ? (uint16_t)strtoul(colon + 1, NULL, 10) : 0;
}

/* hs_lock held; the slot is claimed. */
static enum result make_handshake(struct conn *c, int fd)
{
    char why[HANDSHAKE_WHY_MAX] = "";
    enum result result = dane_begin(c, why);
    struct handshake_config config = {
        .effective = c->rule->effective,
        .prefer = c->rule->prefer,
        .speaks_first = speaks_first(c),
        .hears_first = !c->connected_side && c->rule->hello == HELLO_DEFAULT,
        .identity = c->identity,
        .connected_side = c->connected_side,
        .dialled_name = c->dialled_name,
        .dialled_port = conn_port_of(c->peer),
        .tlsa = c->tlsa,
        .peer_patterns = c->rule->peer_patterns,
        .no_sni = !c->rule->sni,
        .alpn = c->rule->alpn,
        .client_ciphers = c->rule->client_ciphers,
        .server_ciphers = c->rule->server_ciphers,
        .client_groups = c->rule->client_groups,
        .server_groups = c->rule->server_groups,
        .resume = c->rule->resume && !c->rule->revalidate_always,
        .service = c->rule,
        .peer = c->peer,
    };
    c->speak_ms = conn_speaks_at_ms(c);
    if (identity_uses_psk(c->identity)) {
        config.reflection = reflection_shared();
        config.lifetime_ms = c->rule->handshake_timeout_ms;
        conn_transport->ends(fd, &config.ends);
    }
    if (result == RESULT_OK)
        result = handshake_new(&config, &c->hs, why);
    if (result != RESULT_OK) {
        conn_log_refusal(c, result, "cannot be protected: %s", why);
        conn_fail(c, result, 0);
    }
    return result;
}

bool conn_shallow(void)
{
    return conn_transport->shallow && conn_transport->shallow();
}

static enum result install_keys(struct conn *c, const struct handshake_secrets *s)
{
    struct slot *slot = c->slot;
    if (record_keys_init(&slot->rx.keys, s->suite, s->read, s->secret_len) != RESULT_OK ||
        record_keys_init(&slot->tx.keys, s->suite, s->write, s->secret_len) != RESULT_OK)
        return RESULT_NOMEM;
    slot->is_client = s->is_client;
    slot->resumed = s->resumed;
    atomic_store(&slot->opened_ms, conn_transport->now_ms());
    atomic_store_explicit(&slot->peer_is_conventional, !s->peer_has_role, memory_order_relaxed);
    atomic_store_explicit(&slot->record_max, s->record_max, memory_order_relaxed);
    slot->exporter_len = s->secret_len;
    memcpy(slot->exporter, s->exporter, sizeof slot->exporter);
    slot->proven = s->proven;
    slot_texts_put(slot, c->room, s->subject, s->alpn, s->server_name);
    slot->rekey_after = c->rule->rekey_after_records;
    return RESULT_OK;
}

/* hs_lock held. True if that has raised the edges. */
static bool flush_first(struct conn *c, int fd)
{
    bool kept = c->early_len;
    enum result result = early_flush(c, fd, true); /* the kernel has just taken the last flight whole */
    if (result == RESULT_OK && c->shut_wr_wanted)
        (void)conn_finish_writing(c, fd);
    return kept && result == RESULT_OK;
}

/* hs_lock held; the handshake is over and everything of it is sent. */
static enum result finish(struct conn *c, int fd)
{
    struct handshake_secrets secrets;
    handshake_take_secrets(c->hs, &secrets);
    enum result result = install_keys(c, &secrets);
    if (result == RESULT_OK) {
        conn_log_open(c, &secrets);
        conn_ticket_begin(c);
        set_state(c, SLOT_OPEN);
        conn_status_late(c);
    } else {
        conn_fail(c, result, 0);
    }
    wipe(&secrets, sizeof secrets);
    drop_handshake(c);
    if (result != RESULT_OK || !flush_first(c, fd)) {
        conn_transport->acknowledge(fd); /* the peer's first request may wait for it (Nagle); early writes carry it */
        conn_raise_edges(c, fd);
    }
    if (result != RESULT_OK)
        conn_wake_readers(c, fd);
    return result;
}

/* hs_lock held. Nothing can be sent any more, or nothing need be: the alert is out or was the peer's. */
static void hang_up(struct conn *c, int fd, bool peer_refused)
{
    conn_transport->shut(fd, SHUT_WR);
    atomic_store(&c->slot->fin_sent, 1);
    if (peer_refused) {
        conn_transport->shut(fd, SHUT_RD);
        atomic_store(&c->phase, PHASE_DONE);
    } else {
        /* Bytes of the peer that nobody reads would be answered by RST, which eats the alert: take them. So would they
         * be behind SHUT_RD: readers are woken when the alert has arrived (tick_refusing). */
        c->deadline_ms = conn_transport->now_ms() + 2000;
        atomic_store(&c->phase, PHASE_REFUSING);
    }
}

/* hs_lock held. */
static enum result refuse(struct conn *c, int fd, enum result reason, int error)
{
    const char *why = handshake_why(c->hs);
    if (reason == RESULT_IO)
        conn_log_refusal(c, reason, "broke during the handshake: %s", strerror(error));
    else
        conn_log_refusal(c, reason, "refused: %s", why ? why : result_name(reason));
    size_t len = 0;
    const uint8_t *alert = handshake_output(c->hs, &len);
    if (len) {
        struct iovec iov = {(void *)alert, len};
        (void)conn_transport->send(fd, &iov, 1, false);
    }
    drop_handshake(c);
    drop_early(c);
    if (reason == RESULT_IO && !atomic_load(&c->slot->fail_shown))
        conn_note_untold(c, error); /* first: whoever sees that it has failed asks for it */
    conn_fail(c, reason, error);
    hang_up(c, fd, reason == RESULT_IO || !len);
    return reason;
}

/* hs_lock held. False if the kernel is full, or the transport broke (*error). The last flight and the early writes go
 * in one segment. */
static bool send_output(struct conn *c, int fd, int *error)
{
    size_t len;
    const uint8_t *out;
    bool more = c->early_len && handshake_state(c->hs) == RESULT_OK;
    while ((out = handshake_output(c->hs, &len)) && len) {
        struct iovec iov = {(void *)out, len};
        ssize_t k = conn_transport->send(fd, &iov, 1, more);
        if (k < 0) {
            /* Nobody has shut our half down yet: EPIPE follows a reset that was told before. */
            *error = k == -EAGAIN ? 0 : k == -EPIPE ? ECONNRESET : (int)-k;
            return false;
        }
        handshake_sent(c->hs, (size_t)k);
    }
    return true;
}

/* hs_lock held. The look-up of TLSA records has failed: nothing is proven, whatever else could be trusted. */
static void ask_dane(struct conn *c)
{
    char why[HANDSHAKE_WHY_MAX] = "";
    const enum result result = dane_ask(c, why);
    if (result != RESULT_OK && result != RESULT_AGAIN)
        handshake_abort(c->hs, result, 80, why); /* internal_error */
}

/* hs_lock held. While TLSA records are looked up nothing is sent, and what the peer has to say first is taken in: it
 * would keep the socket readable. */
static enum result drive(struct conn *c, int fd, bool drained)
{
    ask_dane(c);
    for (;;) {
        int send_error = 0, error = 0;
        bool sent = !c->lookup && send_output(c, fd, &send_error);
        enum result state = handshake_state(c->hs);
        if (state == RESULT_OK && sent)
            return finish(c, fd);
        if (state != RESULT_AGAIN && state != RESULT_OK)
            return refuse(c, fd, state, 0);
        if (state == RESULT_OK || (!sent && !send_error && !c->lookup)) {
            if (send_error)
                return refuse(c, fd, RESULT_IO, send_error);
            return RESULT_AGAIN;
        }
        /* When sending failed the peer's alert may still be there to be read: it says why. */
        state = conn_take_flight(c, fd, send_error, &drained, &error);
        if (state == RESULT_AGAIN && (!error || conn_speak(c)))
            continue;
        if (send_error && (state == RESULT_AGAIN || state == RESULT_IO))
            return refuse(c, fd, RESULT_IO, send_error);
        if (state == RESULT_IO)
            return refuse(c, fd, RESULT_IO, error);
        if (state == RESULT_AGAIN)
            return RESULT_AGAIN;
    }
}

/* Another process does the handshake: if it died, nobody can go on, since its secrets died with it. */
enum { OWNER_TIMEOUTS = 2 }; /* he has a timeout of his own, unless he is hostile */
static enum result watch_owner(struct conn *c, int fd)
{
    int64_t now = conn_transport->now_ms(), nothing = 0;
    atomic_compare_exchange_strong(&c->watched_ms, &nothing, now);
    bool in_time = now < atomic_load(&c->watched_ms) + OWNER_TIMEOUTS * (int64_t)c->rule->handshake_timeout_ms;
    uint32_t owner = atomic_load(&c->slot->owner), expected = atomic_load(&c->slot->state);
    if (in_time && (!owner || holder_alive(c->family, owner)))
        return RESULT_AGAIN;
    if ((expected == SLOT_HANDSHAKE || expected == SLOT_UNSTARTED) &&
        atomic_compare_exchange_strong(&c->slot->state, &expected, SLOT_FAILED)) {
        conn_log_refusal(c, RESULT_IO, "lost: the process that did its handshake died, or did not do it");
        conn_fail(c, RESULT_IO, ECONNABORTED);
        conn_transport->shut(fd, SHUT_WR);
        conn_transport->shut(fd, SHUT_RD);
    }
    return conn_state(c);
}

/* Claimed by us, it says, and not begun: conn_start has the lock from the claim to the session. */
static enum result refuse_forged(struct conn *c)
{
    pthread_mutex_lock(&c->hs_lock);
    if (atomic_load(&c->slot->state) == SLOT_UNSTARTED && owns_handshake(c))
        conn_fail(c, RESULT_IO, ECONNABORTED);
    pthread_mutex_unlock(&c->hs_lock);
    return conn_state(c);
}

bool conn_established(int fd)
{
    int tcp = conn_transport->tcp_state(fd);
    return tcp == TCP_STATE_ESTABLISHED || tcp == TCP_STATE_CLOSE_WAIT;
}

/* False: another thread drives it, and there is nothing that this one could be told. A connection that is over in the
 * kernel is told at once, as plain TCP does it: so the verdict of whoever has just met the reset is waited for. */
static bool enter_handshake(struct conn *c, int fd)
{
    if (pthread_mutex_trylock(&c->hs_lock) == 0)
        return true;
    if (conn_transport->tcp_state(fd) != TCP_STATE_CLOSE)
        return false;
    pthread_mutex_lock(&c->hs_lock);
    return true;
}

struct step {
    struct conn *c;
    int fd;
    bool drained;
    enum result result;
};

static void step_begin(void *arg)
{
    struct step *s = arg;
    s->result = make_handshake(s->c, s->fd);
}

static void step_drive(void *arg)
{
    struct step *s = arg;
    s->result = drive(s->c, s->fd, s->drained);
}

static enum result take_step(void (*fn)(void *arg), struct conn *c, int fd, bool drained)
{
    struct step s = {c, fd, drained, RESULT_AGAIN};
    conn_call_with_stack(fn, &s);
    return s.result;
}

/* This process has claimed it. drained: the kernel has nothing of the peer's yet. */
static enum result drive_claimed(struct conn *c, int fd, bool drained)
{
    enum result result = RESULT_AGAIN;
    const bool token = identity_token_enter(identity_in_token(c->identity));
    if (enter_handshake(c, fd)) {
        /* Ours to do, and not begun: a co-holder has overwritten the slot. */
        if (!c->hs && atomic_load(&c->slot->state) == SLOT_HANDSHAKE)
            conn_fail(c, RESULT_IO, ECONNABORTED);
        result = c->hs ? take_step(step_drive, c, fd, drained) : conn_state(c);
        pthread_mutex_unlock(&c->hs_lock);
    }
    identity_token_leave(token);
    return result;
}

enum result conn_start(struct conn *c, int fd)
{
    uint32_t nobody = 0;
    if (atomic_load(&c->slot->state) != SLOT_UNSTARTED || conn_shallow())
        return RESULT_OK;
    pthread_mutex_lock(&c->hs_lock);
    if (!atomic_compare_exchange_strong(&c->slot->owner, &nobody, holder_self(c->family))) {
        pthread_mutex_unlock(&c->hs_lock);
        return RESULT_OK;
    }
    atomic_store(&c->hopeless, 0);
    c->deadline_ms = conn_transport->now_ms() + c->rule->handshake_timeout_ms;
    set_state(c, SLOT_HANDSHAKE);
    enum result result = take_step(step_begin, c, fd, false);
    pthread_mutex_unlock(&c->hs_lock);
    if (result == RESULT_OK)
        result = drive_claimed(c, fd, atomic_load(&c->connected)); /* the peer has had no time to answer */
    return result == RESULT_AGAIN ? RESULT_OK : result;
}

enum result conn_drive(struct conn *c, int fd)
{
    uint32_t state = atomic_load(&c->slot->state);
    if (state == SLOT_OPEN)
        return RESULT_OK;
    if ((state == SLOT_UNSTARTED || (state == SLOT_HANDSHAKE && owns_handshake(c))) && conn_shallow())
        return RESULT_AGAIN;
    if (state == SLOT_UNSTARTED) {
        if (c->connected_side && !atomic_load(&c->connected) && !conn_established(fd))
            return RESULT_AGAIN;
        enum result result = conn_start(c, fd);
        if (result == RESULT_OK && atomic_load(&c->slot->state) == SLOT_UNSTARTED)
            return owns_handshake(c) ? refuse_forged(c) : watch_owner(c, fd);
        return result == RESULT_OK ? conn_state(c) : result;
    }
    if (state != SLOT_HANDSHAKE)
        return RESULT_IO;
    return owns_handshake(c) ? drive_claimed(c, fd, false) : watch_owner(c, fd);
}

/* The policy's time is up. */
void conn_time_out(struct conn *c, int fd)
{
    pthread_mutex_lock(&c->hs_lock);
    if (c->hs && atomic_load(&c->slot->state) == SLOT_HANDSHAKE) {
        char why[160];
        snprintf(why, sizeof why,
                 c->lookup
                     ? "dane=on: the resolver has not answered within %u ms: is it running?"
                     : "no TLS handshake within %u ms: is the peer protected too, and does one of the sides speak "
                       "first?",
                 (unsigned)c->rule->handshake_timeout_ms);
        handshake_abort(c->hs, RESULT_TIMEOUT, 90, why);
        result_ignore(refuse(c, fd, RESULT_TIMEOUT, 0));
    }
    pthread_mutex_unlock(&c->hs_lock);
}

void conn_disconnect(struct conn *c)
{
    holders_leave(c->family, c->slot, conn_transport->now_ms());
    pthread_mutex_lock(&c->hs_lock);
    conn_drop_private(c);
    c->shut_wr_wanted = false;
    atomic_store(&c->left, 1);
    atomic_store(&c->phase, PHASE_DONE);
    atomic_store(&c->slot->fail_shown, 1);
    conn_fail(c, RESULT_IO, ENOTCONN);
    pthread_mutex_unlock(&c->hs_lock);
}

void conn_drop_private(struct conn *c)
{
    drop_handshake(c);
    drop_early(c);
    conn_ticket_drop(c);
}
