/* What the peer says in the handshake, taken from the kernel a flight at a time. Nothing behind Finished is: that
 * belongs to the record layer, and to whoever waits for the socket to be readable. Which record holds Finished only the
 * handshake can tell. So the kernel is asked for a copy (MSG_PEEK), the handshake takes what is its own, and exactly
 * that is received. But a peer that has heard nothing yet has no keys: all that it says is for the handshake. */
#include "conn_internal.h"

enum { FLIGHT = 8 * 1024 };

/* Gives the handshake what it wants, one record after the other. Returns how much that was. */
static size_t feed(struct conn *c, const uint8_t *bytes, size_t len)
{
    size_t used = 0;
    while (used < len && handshake_state(c->hs) == RESULT_AGAIN) {
        size_t want = handshake_wanted(c->hs), n = want < len - used ? want : len - used;
        result_ignore(handshake_feed(c->hs, bytes + used, n));
        used += n;
    }
    return used;
}

/* False: they are not there any more, or not the same. */
static bool take_copied(int fd, const uint8_t *copy, size_t len)
{
    uint8_t taken[FLIGHT];
    struct iovec iov = {taken, len};
    bool same = conn_transport->receive(fd, &iov, 1, false) == (ssize_t)len && memcmp(taken, copy, len) == 0;
    wipe(taken, len);
    return same;
}

/* A reset is told once, and to the call that comes after it the stream just ends: send_error comes first. */
static enum result take(struct conn *c, int fd, uint8_t *flight, size_t room, int send_error, bool *drained, int *error)
{
    bool copies = !conn_transport->no_peek && !handshake_owns_input(c->hs);
    struct iovec iov = {flight, room};
    ssize_t k = conn_transport->receive(fd, &iov, 1, copies);
    if (k == -EAGAIN) {
        *error = EAGAIN;
        return RESULT_AGAIN;
    }
    bool told = atomic_load(&c->slot->fail_shown); /* by the kernel, to the program: what is left is an end */
    if (k < 0 || (k == 0 && (send_error || told))) {
        *error = k < 0 ? (int)-k : send_error ? send_error : ECONNRESET;
        return RESULT_IO;
    }
    if (k == 0)
        return handshake_feed_end(c->hs);
    atomic_store(&c->heard, 1);
    *drained = !conn_transport->no_peek && (size_t)k < room;
    size_t used = feed(c, flight, (size_t)k);
    bool taken = !copies || take_copied(fd, flight, used);
    wipe(flight, (size_t)k);
    if (taken)
        return handshake_state(c->hs);
    *error = EPROTO; /* somebody else reads from the socket */
    return RESULT_IO;
}

enum result conn_take_flight(struct conn *c, int fd, int send_error, bool *drained, int *error)
{
    uint8_t flight[FLIGHT];
    size_t want = handshake_wanted(c->hs),
           room = conn_transport->no_peek && want < sizeof flight ? want : sizeof flight;
    if (!want)
        return handshake_state(c->hs);
    /* Bytes that come later make the socket readable anew. */
    if (*drained && !send_error) {
        *error = EAGAIN;
        return RESULT_AGAIN;
    }
    return take(c, fd, flight, room, send_error, drained, error);
}

/* Who dials speaks at once, and its hello comes right behind the connection: to make one here first, which will be
 * dropped or sent for nothing, costs a tenth of a handshake and keeps the answer waiting. A moment of silence shows
 * that the other side waits, too. */
enum { SPEAK_MS = 3 };

int64_t conn_speaks_at_ms(const struct conn *c)
{
    const bool unhelped = conn_transport->unhelped && conn_transport->unhelped();

    return c->connected_side || unhelped ? 0 : conn_transport->now_ms() + SPEAK_MS;
}

bool conn_speak(struct conn *c)
{
    if (c->speak_ms && conn_transport->now_ms() < c->speak_ms)
        return false;
    return handshake_speak(c->hs);
}
