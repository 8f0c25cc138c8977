/* What goes out: the buffer that GnuTLS pushes into, and the one way in which a handshake ends in failure. */
#include "handshake_internal.h"

#include "bytes.h"

#include <stdio.h>
#include <stdlib.h>

enum { FIRST_ROOM = 1024 };

static bool make_room(struct handshake_bytes *buffer, size_t more)
{
    size_t room = buffer->room ? buffer->room : FIRST_ROOM;

    while (room - buffer->len < more)
        room *= 2;
    if (room == buffer->room)
        return true;
    uint8_t *bytes = realloc(buffer->bytes, room);
    if (!bytes)
        return false;
    buffer->bytes = bytes;
    buffer->room = room;
    return true;
}

bool handshake_bytes_add(struct handshake_bytes *buffer, const void *bytes, size_t len)
{
    if (!make_room(buffer, len))
        return false;
    memcpy(buffer->bytes + buffer->len, bytes, len);
    buffer->len += len;
    return true;
}

/* RFC 8446 section 6: these two are no errors and travel as warnings. */
static uint8_t alert_level(uint8_t alert)
{
    return alert == ALERT_CLOSE_NOTIFY || alert == ALERT_USER_CANCELED ? GNUTLS_AL_WARNING : GNUTLS_AL_FATAL;
}

static void queue_alert(struct handshake *hs, uint8_t alert)
{
    const uint8_t plain[] = {RECORD_ALERT, 3, 3, 0, 2, alert_level(alert), alert};

    if (hs->phase == PHASE_CLIENT || hs->phase == PHASE_SERVER) {
        /* Only the session knows under which keys the peer reads by now; if it cannot say, nobody can. */
        (void)!gnutls_alert_send(hs->session, alert_level(alert), alert);
        return;
    }
    (void)!handshake_bytes_add(&hs->out, plain, sizeof plain); /* without memory the peer sees a bare FIN */
}

static enum result end(struct handshake *hs, enum result result, const char *why)
{
    if (why != hs->why)
        snprintf(hs->why, sizeof hs->why, "%s", why);
    hs->phase = PHASE_FAILED;
    hs->state = result;
    handshake_session_drop(hs);
    wipe(&hs->secrets, sizeof hs->secrets);
    return result;
}

enum result handshake_fail(struct handshake *hs, enum result result, uint8_t alert, const char *why)
{
    queue_alert(hs, alert);
    return end(hs, result, why);
}

enum result handshake_fail_silently(struct handshake *hs, enum result result, const char *why)
{
    return end(hs, result, why);
}
