/* What GnuTLS asks for during a handshake: bytes, the p2p_role extension, a judgement of the peer, and where the
 * secrets go. A callback leaves what it found in hs->verdict, since GnuTLS hands on an error code only. */
#include "handshake_internal.h"

#include "bytes.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static struct handshake *owner(gnutls_session_t session)
{
    return gnutls_session_get_ptr(session);
}

static int leave_verdict(struct handshake *hs, enum result result, uint8_t alert, int error, const char *why)
{
    hs->verdict.result = result;
    hs->verdict.alert = alert;
    snprintf(hs->verdict.why, sizeof hs->verdict.why, "%s", why);
    return error;
}

static ssize_t push(gnutls_transport_ptr_t ptr, const void *bytes, size_t len)
{
    struct handshake *hs = ptr;

    if (handshake_bytes_add(&hs->out, bytes, len))
        return (ssize_t)len;
    gnutls_transport_set_errno(hs->session, ENOMEM);
    return -1;
}

static ssize_t pull(gnutls_transport_ptr_t ptr, void *bytes, size_t len)
{
    struct handshake *hs = ptr;

    if (hs->input_left == 0) {
        gnutls_transport_set_errno(hs->session, EAGAIN);
        return -1;
    }
    if (len > hs->input_left)
        len = hs->input_left;
    memcpy(bytes, hs->input, len);
    hs->input += len;
    hs->input_left -= len;
    return (ssize_t)len;
}

static int pull_timeout(gnutls_transport_ptr_t ptr, unsigned ms)
{
    const struct handshake *hs = ptr;

    (void)ms; /* memory does not fill while one waits */
    return hs->input_left ? 1 : 0;
}

/* ClientHello: the value. EncryptedExtensions: the echo, empty if no hello of ours was dropped. */
static int send_role(gnutls_session_t session, gnutls_buffer_t extension)
{
    const struct handshake *hs = owner(session);

    if (hs->phase != PHASE_SERVER)
        return gnutls_buffer_append_data(extension, hs->own.bytes, ROLE_VALUE_BYTES);
    if (hs->echo_due)
        return gnutls_buffer_append_data(extension, hs->own_echo, ECHO_BYTES);
    return GNUTLS_E_INT_RET_0; /* sends it empty, where 0 would leave it out */
}

static int refuse_echo(struct handshake *hs, const char *why)
{
    return leave_verdict(hs, RESULT_PROTOCOL, ALERT_ILLEGAL_PARAMETER, GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER, why);
}

/* The discarded hello is in no transcript: that both sides mean the same one hangs on this comparison alone. */
static int receive_echo(struct handshake *hs, const uint8_t *echo, size_t len)
{
    if (!hs->discarded)
        return len == 0 ? 0
                        : refuse_echo(hs, "the server says that it dropped a hello of its own, and none came: "
                                          "something between the two sides removes messages");
    if (len != ECHO_BYTES || memcmp(echo, hs->expected_echo, ECHO_BYTES) != 0)
        return refuse_echo(hs, "the hello that came from the peer is not the one that it sent: "
                               "something between the two sides changes messages");
    hs->echo_seen = true;
    return 0;
}

/* The value in a ClientHello was judged before the server session saw it (handshake_first.c). */
static int receive_role(gnutls_session_t session, const unsigned char *bytes, size_t len)
{
    struct handshake *hs = owner(session);

    hs->peer_has_role = true;
    if (hs->phase == PHASE_CLIENT)
        return receive_echo(hs, bytes, len);
    return len == ROLE_VALUE_BYTES ? 0 : GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER;
}

void handshake_expectation(const struct handshake *hs, struct identity_expectation *expect)
{
    *expect = (struct identity_expectation){
        .peer_is_server = hs->phase == PHASE_CLIENT,
        .dialled_name = hs->dialled_name,
        .port = hs->dialled_port,
        .connected_side = hs->connected_side,
        .peer_patterns = hs->peer_patterns,
        .tlsa = hs->tlsa,
    };
    if (hs->session)
        handshake_resume_remember(hs, expect);
}

static int judge_identity(struct handshake *hs, gnutls_session_t session)
{
    struct identity_expectation expect;
    struct identity_peer peer;
    char why[IDENTITY_WHY_MAX] = "";

    handshake_expectation(hs, &expect);
    const enum result result = identity_verify(hs->identity, session, &expect, &peer, why);
    if (result != RESULT_OK)
        return leave_verdict(hs, result, result == RESULT_IDENTITY ? peer.alert : ALERT_INTERNAL_ERROR,
                             GNUTLS_E_CERTIFICATE_ERROR, why);
    memcpy(hs->secrets.subject, peer.subject, sizeof peer.subject);
    hs->peer_expires = peer.expires;
    hs->verified = true;
    return 0;
}

/* A client that was asked (auth=request) may show nothing, and stays unknown. GnuTLS refuses an empty certificate
 * itself where one is required; of a server it is always refused (RFC 8446 section 4.4.2.4). */
static int verify_certificate(gnutls_session_t session)
{
    struct handshake *hs = owner(session);
    enum policy_auth auth = identity_auth(hs->identity);

    if (auth == AUTH_INSECURE_NONE && !identity_uses_psk(hs->identity))
        return 0;
    if (auth == AUTH_REQUEST && hs->phase == PHASE_SERVER && !handshake_peer_shows(hs))
        return 0;
    if (!hs->peer_signed && !handshake_resumed(hs))
        return leave_verdict(hs, RESULT_IDENTITY, ALERT_CERTIFICATE_REQUIRED, GNUTLS_E_CERTIFICATE_ERROR,
                             "the remote side has not proven that it holds its key");
    return judge_identity(hs, session);
}

/* The peer's Finished is here. As client this is the last moment before our certificate and Finished are made: a
 * server that leaves the echo out must be found now, and so must one that agreed on no application protocol, or did not
 * use the pre-shared key. */
static int before_finished(struct handshake *hs, gnutls_session_t session)
{
    if (hs->phase == PHASE_CLIENT && hs->discarded && !hs->echo_seen)
        return refuse_echo(hs, "the server does not say which hello of its own it dropped, although one came");
    if (hs->phase == PHASE_CLIENT && reflection_expired(&hs->note))
        return leave_verdict(hs, RESULT_TIMEOUT, ALERT_USER_CANCELED, GNUTLS_E_TIMEDOUT,
                             "the answer came after the time for it, when it could not be told from a reflection");
    if (hs->phase == PHASE_CLIENT) {
        uint8_t alert;
        const char *why = handshake_names_agreed(hs, &alert);
        if (why)
            return leave_verdict(hs, RESULT_PROTOCOL, alert, GNUTLS_E_NO_APPLICATION_PROTOCOL, why);
    }
    /* In a resumed session no certificate comes, and GnuTLS asks nobody about the one of before. */
    if (!hs->verified && !identity_uses_psk(hs->identity) && handshake_resumed(hs))
        return verify_certificate(session);
    if (!hs->verified && identity_uses_psk(hs->identity))
        return judge_identity(hs, session);
    return 0;
}

/* A CertificateVerify has come, and its signature was not looked at yet. */
static int screen(struct handshake *hs, gnutls_session_t session)
{
    struct identity_peer peer;
    char why[IDENTITY_WHY_MAX] = "";
    const enum result result = identity_screen(session, &peer, why);

    if (result == RESULT_OK)
        return 0;
    return leave_verdict(hs, result, result == RESULT_IDENTITY ? peer.alert : ALERT_INTERNAL_ERROR,
                         GNUTLS_E_CERTIFICATE_ERROR, why);
}

enum { EXTENSION_MAX_FRAGMENT_LENGTH = 1, EXTENSION_RECORD_SIZE_LIMIT = 28, RECORD_SIZE_LIMIT_MIN = 64 };

struct record_limits {
    unsigned fragment, record; /* 0: not there */
};

/* RFC 6066 section 4; RFC 8449 section 4, where the byte of the type counts in TLS 1.3. Other values GnuTLS refuses. */
static int read_limit(void *ctx, unsigned type, const unsigned char *body, unsigned len)
{
    struct record_limits *limits = ctx;

    if (type == EXTENSION_MAX_FRAGMENT_LENGTH && len == 1 && body[0] >= 1 && body[0] <= 4)
        limits->fragment = 256U << body[0];
    if (type == EXTENSION_RECORD_SIZE_LIMIT && len == 2 && be16(body) >= RECORD_SIZE_LIMIT_MIN)
        limits->record = be16(body) - 1;
    return 0;
}

/* GnuTLS obeys them in the handshake, and tells nobody. */
static void keep_limit(struct handshake *hs, const gnutls_datum_t *message, unsigned flags)
{
    struct record_limits limits = {0, 0};

    if (gnutls_ext_raw_parse(&limits, read_limit, message, flags) < 0)
        return;
    const unsigned max = limits.record ? limits.record : limits.fragment; /* RFC 8449 section 5 */
    hs->secrets.record_max = max < RECORD_PLAIN_MAX ? (uint16_t)max : 0;
}

static int on_message(gnutls_session_t session, unsigned type, unsigned when, unsigned incoming,
                      const gnutls_datum_t *message)
{
    struct handshake *hs = owner(session);

    (void)when;
    if (type == GNUTLS_HANDSHAKE_CLIENT_HELLO && incoming)
        keep_limit(hs, message, GNUTLS_EXT_RAW_FLAG_TLS_CLIENT_HELLO);
    if (type == GNUTLS_HANDSHAKE_ENCRYPTED_EXTENSIONS && incoming)
        keep_limit(hs, message, 0);
    if (type == GNUTLS_HANDSHAKE_SERVER_HELLO)
        hs->encrypted = true;
    if (type == GNUTLS_HANDSHAKE_CERTIFICATE_PKT || type == GNUTLS_HANDSHAKE_CERTIFICATE_REQUEST)
        hs->certificate_passed = true;
    if (type == GNUTLS_HANDSHAKE_CERTIFICATE_VERIFY && incoming) {
        hs->peer_signed = true; /* if the signature is good, without which the handshake does not go on */
        return screen(hs, session);
    }
    if (type == GNUTLS_HANDSHAKE_FINISHED && incoming)
        return before_finished(hs, session);
    return 0;
}

static int keep_secrets(gnutls_session_t session, gnutls_record_encryption_level_t level, const void *secret_read,
                        const void *secret_write, size_t len)
{
    struct handshake_secrets *secrets = &owner(session)->secrets;

    if (level != GNUTLS_ENCRYPTION_LEVEL_APPLICATION)
        return 0;
    if (len > RECORD_SECRET_MAX)
        return GNUTLS_E_INTERNAL_ERROR;
    secrets->secret_len = (uint16_t)len;
    if (secret_read)
        memcpy(secrets->read, secret_read, len);
    if (secret_write)
        memcpy(secrets->write, secret_write, len);
    return 0;
}

/* Set always: without a function of ours GnuTLS writes all secrets to the file that SSLKEYLOGFILE names. */
static int keep_exporter(gnutls_session_t session, const char *label, const gnutls_datum_t *secret)
{
    struct handshake_secrets *secrets = &owner(session)->secrets;

    if (strcmp(label, "EXPORTER_SECRET") != 0)
        return 0;
    if (secret->size > RECORD_SECRET_MAX)
        return GNUTLS_E_INTERNAL_ERROR;
    memcpy(secrets->exporter, secret->data, secret->size);
    return 0;
}

bool handshake_callbacks_set(struct handshake *hs, gnutls_session_t session)
{
    gnutls_session_set_ptr(session, hs);
    gnutls_session_set_keylog_function(session, keep_exporter);
    gnutls_handshake_set_secret_function(session, keep_secrets);
    gnutls_transport_set_ptr(session, hs);
    gnutls_transport_set_push_function(session, push);
    gnutls_transport_set_pull_function(session, pull);
    gnutls_transport_set_pull_timeout_function(session, pull_timeout);
    gnutls_session_set_verify_function(session, verify_certificate);
    gnutls_handshake_set_hook_function(session, GNUTLS_HANDSHAKE_ANY, GNUTLS_HOOK_PRE, on_message);
    return gnutls_session_ext_register(session, "p2p_role", P2P_ROLE_EXTENSION, GNUTLS_EXT_TLS, receive_role, send_role,
                                       NULL, NULL, NULL,
                                       GNUTLS_EXT_FLAG_TLS | GNUTLS_EXT_FLAG_CLIENT_HELLO | GNUTLS_EXT_FLAG_EE) >= 0;
}
