/* Our handshake on one end of a socket pair, and a session of GnuTLS, which knows nothing of p2p_role, on the other. */
#ifndef MEETING_HELP_H
#define MEETING_HELP_H

#include "handshake_help.h"

enum { MAX_ROUNDS = 200 };

struct meeting {
    struct handshake *hs;
    gnutls_session_t session;
    int ours, theirs;
    int error; /* of gnutls_handshake */
};

HELP struct meeting meet(struct handshake_config config, gnutls_session_t session)
{
    struct meeting m = {.hs = make_handshake(config), .session = session, .error = GNUTLS_E_AGAIN};
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    m.ours = fds[0];
    m.theirs = fds[1];
    gnutls_transport_set_int(session, m.theirs);
    return m;
}

HELP void meeting_free(struct meeting *m)
{
    handshake_free(m->hs);
    gnutls_deinit(m->session);
    close(m->ours);
    close(m->theirs);
}

HELP void drive_ours(struct meeting *m)
{
    uint8_t bytes[RECORD_WIRE_MAX];
    const uint8_t *out;
    size_t len;
    ssize_t n;

    while ((out = handshake_output(m->hs, &len)) && (n = send(m->ours, out, len, MSG_NOSIGNAL)) > 0)
        handshake_sent(m->hs, (size_t)n);
    while ((len = handshake_wanted(m->hs)) && (n = recv(m->ours, bytes, len, 0)) >= 0) {
        enum result result = n ? handshake_feed(m->hs, bytes, (size_t)n) : handshake_feed_end(m->hs);
        assert_int_equal(result, handshake_state(m->hs));
        if (handshake_output(m->hs, &len))
            return; /* to be sent by the next round */
    }
}

/* Until both have come to an end: theirs says so by an error or success, ours by its state. */
HELP void run(struct meeting *m)
{
    for (int i = 0; i < MAX_ROUNDS; i++) {
        drive_ours(m);
        if (m->error == GNUTLS_E_AGAIN || m->error == GNUTLS_E_INTERRUPTED) {
            m->error = gnutls_handshake(m->session);
            if (gnutls_error_is_fatal(m->error) && m->error < 0)
                gnutls_alert_send_appropriate(m->session, m->error);
        }
    }
}

#endif
