/* The end of a stream: close_notify, then our FIN, and the socket stays until the peer has it all, because a socket
 * closed with unread bytes, or that bytes reach later, answers with RST, which destroys what is under way (law 5). */
#include "conn_internal.h"

enum { SHUT_RD_POLL_MS = 20, CLOSE_POLL_MS = 20, CLOSE_NOTIFY_WIRE = RECORD_OVERHEAD + 2 + 1 }; /* and the FIN */

static const uint8_t close_notify[2] = {1, 0};

static void shut_writing(struct conn *c, int fd)
{
    if (!atomic_exchange(&c->slot->fin_sent, 1))
        conn_transport->shut(fd, SHUT_WR);
}

/* SHUT_RD and our FIN are never both in the kernel while bytes of ours are not acknowledged: the kernel would answer
 * the peer's next byte with RST. The later one waits. */
static void shut_reading(struct conn *c, int fd)
{
    if (atomic_load(&c->slot->fin_sent) && conn_transport->unacked(fd) > 0) {
        atomic_store(&c->shut_rd_due, 1);
        return;
    }
    atomic_store(&c->shut_rd_due, 0);
    conn_transport->shut(fd, SHUT_RD);
}

/* Tells the peer that a record was bad (RFC 8446 section 6.2) and ends our side. */
static void send_alert(struct conn *c, int fd, uint8_t description)
{
    const uint8_t alert[2] = {2, description};
    result_ignore(tx_control(c, fd, RECORD_ALERT, alert, sizeof alert, true));
    shut_writing(c, fd);
}

/* The peer's direction has just ended. Readiness must say so for good, also where the peer sent close_notify and no
 * FIN. */
void conn_show_end(struct conn *c, int fd)
{
    uint8_t byte;
    struct iovec iov = {&byte, 1};
    uint32_t alert = atomic_exchange(&c->alert_due, 0);
    if (alert)
        send_alert(c, fd, (uint8_t)alert);
    if (conn_transport->no_peek || conn_transport->receive(fd, &iov, 1, true) != 0)
        shut_reading(c, fd);
}

/* close_notify and FIN behind all that was written. 0 done, EAGAIN the kernel is full, else the errno. */
int conn_finish_writing(struct conn *c, int fd)
{
    enum result result = tx_control(c, fd, RECORD_ALERT, close_notify, sizeof close_notify, true);
    if (result == RESULT_AGAIN)
        return EAGAIN;
    shut_writing(c, fd);
    return result == RESULT_OK ? 0 : EPIPE;
}

/* Writing ends once early writes and rests are out; asked again by conn_tick until then. */
static int end_writing(struct conn *c, int fd)
{
    int error = EAGAIN;
    pthread_mutex_lock(&c->hs_lock);
    c->shut_wr_wanted = true;
    enum result early = early_flush(c, fd, false);
    if (conn_state(c) == RESULT_OK && early == RESULT_OK)
        error = conn_finish_writing(c, fd);
    else if (early != RESULT_AGAIN && early != RESULT_OK)
        error = 0;
    if (error != EAGAIN)
        c->shut_wr_wanted = false;
    pthread_mutex_unlock(&c->hs_lock);
    return error == EAGAIN ? EAGAIN : 0;
}

int conn_shutdown(struct conn *c, int fd, int how)
{
    enum result state = conn_drive(c, fd);
    bool gone = conn_transport->tcp_state(fd) == TCP_STATE_CLOSE;
    if (gone) /* moves nothing, but wakes who waits, as Linux does */
        conn_transport->shut(fd, how);
    if (gone || (state != RESULT_OK && state != RESULT_AGAIN))
        return ENOTCONN;
    if (how == SHUT_WR || how == SHUT_RDWR)
        (void)end_writing(c, fd);
    if (how == SHUT_RD || how == SHUT_RDWR) {
        atomic_store(&c->slot->rd_shut, 1);
        if (state == RESULT_OK)
            shut_reading(c, fd);
        else /* the handshake still has to read */
            atomic_store(&c->shut_rd_due, 1);
    }
    if (state == RESULT_AGAIN && atomic_load(&c->slot->rd_shut) && atomic_load(&c->shut_wr_wanted)) {
        int64_t none = 0;
        atomic_compare_exchange_strong(&c->unwanted_ms, &none, conn_transport->now_ms());
    }
    return 0;
}

enum discarded { DISCARDED_NOTHING = 0, DISCARDED_SOME, DISCARDED_END /* the peer's FIN, or an error */ };
enum { DISCARD_ROUNDS = 64 };

/* Throws away some of what the peer still sends. */
static enum discarded discard(int fd)
{
    uint8_t waste[16 * 1024];
    struct iovec iov = {waste, sizeof waste};
    ssize_t k = conn_transport->receive(fd, &iov, 1, false);
    if (k == -EAGAIN)
        return DISCARDED_NOTHING;
    return k > 0 ? DISCARDED_SOME : DISCARDED_END;
}

static bool discard_all(int fd)
{
    enum discarded got = DISCARDED_SOME;
    for (int i = 0; i < DISCARD_ROUNDS && got == DISCARDED_SOME; i++)
        got = discard(fd);
    return got == DISCARDED_END;
}

/* Once the peer has it all, the socket may go: what the peer still sends is then answered by RST, as from a plain
 * socket that was closed. Until then its bytes are taken, and acknowledged, so that no RST overtakes ours. *unacked:
 * what it has not acknowledged yet. */
static bool closing_over(struct conn *c, int fd, bool *peer_ended, long *unacked)
{
    *unacked = 0;
    if (atomic_load(&c->slot->state) == SLOT_OPEN && !atomic_load(&c->slot->fin_sent) && end_writing(c, fd) == EAGAIN) {
        *unacked = conn_transport->unacked(fd);
        return false;
    }
    for (int i = 0; i < DISCARD_ROUNDS && !*peer_ended; i++) {
        if ((*unacked = conn_transport->unacked(fd)) <= 0)
            return true;
        enum discarded got = discard(fd);
        if (got == DISCARDED_NOTHING)
            return false;
        *peer_ended = got == DISCARDED_END;
        if (got == DISCARDED_SOME)
            conn_transport->acknowledge(fd);
    }
    *unacked = conn_transport->unacked(fd);
    /* A reset leaves the unacknowledged bytes in the count for ever. */
    return *unacked <= 0 || conn_transport->tcp_state(fd) == TCP_STATE_CLOSE;
}

/* Nothing of this process is left to do for a socket that others still hold. */
static bool handed_over(const struct conn *c)
{
    bool handshaking = atomic_load(&c->slot->state) == SLOT_HANDSHAKE && owns_handshake(c);
    return !handshaking && !c->early && !atomic_load(&c->rest_due);
}

/* Closed before the handshake is over, with nothing written: no byte can be lost (law 5). All that a finished handshake
 * would give is an orderly end for the peer to see, and he is a stranger, who must not cost much. */
enum { UNHEARD_MS = 1000, UNPROVEN_MS = 2000 };

static bool owes_nothing(const struct conn *c)
{
    uint32_t state = atomic_load(&c->slot->state);
    bool unwanted = (atomic_load(&c->left) && atomic_load(&c->alone)) || atomic_load(&c->unwanted_ms);
    return unwanted && !atomic_load(&c->slot->early_kept) &&
           (state == SLOT_UNSTARTED || (state == SLOT_HANDSHAKE && owns_handshake(c)));
}

static int64_t patience_ends_ms(const struct conn *c)
{
    int64_t since = atomic_load(&c->unwanted_ms);
    return (since ? since : atomic_load(&c->left_ms)) + (atomic_load(&c->heard) ? UNPROVEN_MS : UNHEARD_MS);
}

bool conn_heard(const struct conn *c)
{
    return atomic_load(&c->heard);
}

bool conn_abandon(struct conn *c, int fd)
{
    pthread_mutex_lock(&c->hs_lock);
    bool refusing = atomic_load(&c->left) && atomic_load(&c->phase) == PHASE_REFUSING, over = owes_nothing(c);
    if (over) {
        conn_drop_private(c);
        if (atomic_load(&c->unwanted_ms)) { /* then it is no error to the program */
            atomic_store(&c->slot->fail_shown, 1);
            atomic_store(&c->slot->fin_sent, 1);
        }
        conn_fail(c, RESULT_IO, ECONNABORTED);
    }
    if (over || refusing)
        atomic_store(&c->phase, PHASE_DONE);
    pthread_mutex_unlock(&c->hs_lock);
    if (over) {
        log_event(LOG_LEVEL_DEBUG, "%s: closed before the end of the handshake", c->peer);
        conn_transport->shut(fd, SHUT_WR);
        discard_all(fd); /* what is unread would make a reset of the end */
        if (atomic_load(&c->unwanted_ms))
            conn_transport->shut(fd, SHUT_RD); /* wakes who reads */
    }
    return over || refusing;
}

struct ticking {
    struct conn *c;
    int fd;
    struct conn_need need;
};

static void tick_there(void *arg)
{
    struct ticking *t = arg;
    conn_tick(t->c, t->fd, &t->need);
}

bool conn_leave(struct conn *c, int fd, bool abort)
{
    bool last = holders_leave(c->family, c->slot, conn_transport->now_ms());
    atomic_store(&c->left_ms, conn_transport->now_ms());
    atomic_store(&c->left, 1);
    conn_ticket_drop(c);
    atomic_store(&c->alone, last);
    atomic_store(&c->was_last, last);
    conn_status_tell(c, STATUS_CLOSING);
    if (abort && atomic_load(&c->slot->state) == SLOT_HANDSHAKE && owns_handshake(c))
        conn_fail(c, RESULT_IO, ECONNABORTED); /* who else holds it would wait for its end */
    if (abort)
        return false;
    if (!last)
        return !handed_over(c);
    if (!conn_established(fd) && !atomic_load(&c->slot->fin_sent))
        return false; /* never connected, or reset: there is nobody to tell */
    if (atomic_load(&c->phase) == PHASE_DONE)
        return false;
    if (atomic_load(&c->phase) == PHASE_RUN) {
        /* A peer that is closed on before the handshake must see an orderly end, as from a plain socket. */
        result_ignore(conn_start(c, fd));
        result_ignore(conn_drive(c, fd));
        if (atomic_load(&c->phase) == PHASE_RUN)
            atomic_store(&c->phase, PHASE_CLOSING);
    }
    c->last_unacked = -1;
    if (atomic_load(&c->phase) == PHASE_CLOSING && atomic_load(&c->slot->state) != SLOT_HANDSHAKE)
        c->deadline_ms = conn_transport->now_ms() + CONN_LINGER_MS;
    if (conn_shallow())
        return true;
    struct ticking t = {.c = c, .fd = fd};
    conn_call_with_stack(tick_there, &t);
    return !t.need.idle;
}

bool conn_left_alone(const struct conn *c)
{
    return atomic_load(&c->alone);
}

/* Closing goes on as long as the peer acknowledges something, and CONN_LINGER_MS after that. */
static void tick_closing(struct conn *c, int fd, struct conn_need *need, int64_t now)
{
    bool peer_ended = false;
    long unacked;
    if (closing_over(c, fd, &peer_ended, &unacked)) {
        atomic_store(&c->phase, PHASE_DONE);
        return;
    }
    if (unacked != c->last_unacked) {
        c->last_unacked = unacked;
        c->deadline_ms = now + CONN_LINGER_MS;
    }
    if (now >= c->deadline_ms) {
        log_event(unacked > CLOSE_NOTIFY_WIRE ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG,
                  "%s: closed with %ld bytes that the peer has not acknowledged", c->peer, unacked);
        atomic_store(&c->phase, PHASE_DONE);
        return;
    }
    need->idle = false;
    if (!peer_ended) /* its end stays readable */
        need->events |= POLLIN;
    if (!atomic_load(&c->slot->fin_sent))
        need->events |= POLLOUT;
    need->deadline_ms = now + CLOSE_POLL_MS; /* an acknowledgement raises no event */
}

static void tick_refusing(struct conn *c, int fd, struct conn_need *need, int64_t now)
{
    /* Nobody waits here any more once the program has closed and the alert has arrived; and then a reader that waits in
     * the kernel may be woken. */
    bool hurried = atomic_load(&c->left) || atomic_load(&c->readers);
    bool arrived = hurried && conn_transport->unacked(fd) <= 0;
    if (discard_all(fd) || arrived || now >= c->deadline_ms) {
        conn_transport->shut(fd, SHUT_RD);
        atomic_store(&c->phase, PHASE_DONE);
        return;
    }
    need->idle = false;
    need->events |= POLLIN;
    need->deadline_ms = hurried ? now + CLOSE_POLL_MS : c->deadline_ms;
}

static void tick_unstarted(struct conn *c, int fd, struct conn_need *need, int64_t now)
{
    int tcp = c->connected_side ? conn_transport->tcp_state(fd) : TCP_STATE_ESTABLISHED;
    if (tcp != TCP_STATE_ESTABLISHED && tcp != TCP_STATE_CLOSE_WAIT) {
        need->idle = tcp < 0 || tcp == TCP_STATE_CLOSE; /* the attempt failed, and the kernel says so itself */
        need->events = POLLOUT;
        atomic_store(&c->hopeless, need->idle);
        return;
    }
    if (!c->connected_side && now < c->born_ms + CONN_UNSTARTED_MS) {
        need->idle = false;
        need->deadline_ms = c->born_ms + CONN_UNSTARTED_MS;
        return;
    }
    result_ignore(conn_start(c, fd));
}

/* A reader that waits is woken by what he waits for, and goes on at once, unless he is stopped or was left by a jump
 * that nobody has seen. */
enum { READERS_MS = 100 };

static void tick_handshake(struct conn *c, int fd, struct conn_need *need, int64_t now)
{
    if (!owns_handshake(c)) {
        /* Closed here, it is its owner's business alone: an exit must not wait for him. */
        need->idle = atomic_load(&c->left) || conn_drive(c, fd) != RESULT_AGAIN;
        if (need->idle && atomic_load(&c->left))
            atomic_store(&c->phase, PHASE_DONE);
        need->deadline_ms = now + 100;
        return;
    }
    if (owes_nothing(c) && now >= patience_ends_ms(c))
        conn_abandon(c, fd);
    else if (now >= c->deadline_ms)
        conn_time_out(c, fd);
    else if (conn_drive(c, fd) == RESULT_AGAIN) {
        need->idle = false;
        need->deadline_ms = now + 1; /* somebody else drives: what makes the socket ready is his to take */
        if (pthread_mutex_trylock(&c->hs_lock) == 0) {
            size_t len = 0;
            need->events |= POLLIN;
            need->deadline_ms = dane_look_again_ms(c, now);
            if (c->deadline_ms < need->deadline_ms)
                need->deadline_ms = c->deadline_ms;
            if (now < c->speak_ms && c->speak_ms < need->deadline_ms)
                need->deadline_ms = c->speak_ms;
            if (c->hs && !c->lookup && handshake_output(c->hs, &len) && len)
                need->events |= POLLOUT;
            pthread_mutex_unlock(&c->hs_lock);
            if (atomic_load(&c->readers) && !atomic_load(&c->left)) {
                need->events &= ~POLLIN;
                need->deadline_ms = need->deadline_ms < now + READERS_MS ? need->deadline_ms : now + READERS_MS;
            }
        }
        if (owes_nothing(c) && patience_ends_ms(c) < need->deadline_ms)
            need->deadline_ms = patience_ends_ms(c);
    }
}

static void tick_open(struct conn *c, int fd, struct conn_need *need, int64_t now)
{
    pthread_mutex_lock(&c->hs_lock);
    enum result early = early_flush(c, fd, false), rest = RESULT_OK;
    bool early_left = early == RESULT_AGAIN;
    bool shut_wanted = c->shut_wr_wanted;
    pthread_mutex_unlock(&c->hs_lock);
    bool shut_left = !early_left && shut_wanted && end_writing(c, fd) == EAGAIN;
    if (atomic_load(&c->rest_due) && now < c->rest_ms) {
        need->idle = false;
        need->deadline_ms = c->rest_ms;
    } else if (atomic_load(&c->rest_due)) {
        rest = tx_flush(c, fd);
        early_left |= rest == RESULT_AGAIN;
    }
    /* What the next call of the program will be told; asking again and again would keep a processor busy. */
    atomic_store(&c->hopeless, early == RESULT_IO || rest == RESULT_IO);
    if (early_left || shut_left) {
        need->idle = false;
        need->events |= POLLOUT;
        need->deadline_ms = now + 100; /* a writer's turn ends without an event */
    }
    if (atomic_load(&c->shut_rd_due)) {
        shut_reading(c, fd);
        if (atomic_load(&c->shut_rd_due)) {
            need->idle = false;
            need->deadline_ms = now + SHUT_RD_POLL_MS;
        }
    }
}

void conn_tick(struct conn *c, int fd, struct conn_need *need)
{
    int64_t now = conn_transport->now_ms();
    *need = (struct conn_need){.deadline_ms = INT64_MAX, .idle = true};
    if (atomic_load(&c->slot->state) == SLOT_FAILED && atomic_load(&c->phase) == PHASE_RUN)
        conn_wake_readers(c, fd); /* a hostile co-holder wakes nobody */
    if (atomic_load(&c->slot->state) == SLOT_UNSTARTED)
        tick_unstarted(c, fd, need, now);
    if (atomic_load(&c->slot->state) == SLOT_HANDSHAKE)
        tick_handshake(c, fd, need, now);
    if (atomic_load(&c->slot->state) == SLOT_OPEN)
        tick_open(c, fd, need, now);
    if (atomic_load(&c->phase) == PHASE_REFUSING)
        tick_refusing(c, fd, need, now);
    else if (atomic_load(&c->phase) == PHASE_CLOSING && atomic_load(&c->slot->state) != SLOT_HANDSHAKE)
        tick_closing(c, fd, need, now);
    else if (atomic_load(&c->left) && !atomic_load(&c->alone) && handed_over(c))
        need->idle = true;
    if (atomic_load(&c->phase) == PHASE_DONE)
        need->idle = true;
}

bool conn_calm(const struct conn *c)
{
    return atomic_load(&c->slot->state) == SLOT_OPEN && !conn_needs_tick(c) && !conn_leftover(c);
}

bool conn_needs_tick(const struct conn *c)
{
    uint32_t state = atomic_load(&c->slot->state), phase = atomic_load(&c->phase);
    uint32_t owed = atomic_load(&c->rest_due) | atomic_load(&c->shut_rd_due) | c->shut_wr_wanted;
    if (state == SLOT_OPEN && phase == PHASE_RUN && !owed && !atomic_load(&c->slot->early_kept))
        return false;
    if (phase == PHASE_DONE || (phase == PHASE_RUN && atomic_load(&c->hopeless)))
        return false;
    if (state == SLOT_UNSTARTED || (state == SLOT_HANDSHAKE && owns_handshake(c)) || phase != PHASE_RUN)
        return true;
    return owed || (atomic_load(&c->slot->early_kept) && owns_handshake(c));
}
