/* The peer's first message, where it is decided who is client and who is server (docs/PROTOCOL.md). */
#include "handshake_internal.h"

#include "bytes.h"

#include <gnutls/crypto.h>

static void go_on_as_client(struct handshake *hs)
{
    hs->phase = PHASE_CLIENT;
    hello_free(&hs->first);
}

/* Remembers what was read and discarded: value and hash are what the server must name in its echo. */
static bool discard_theirs(struct handshake *hs)
{
    hs->discarded = true;
    memcpy(hs->expected_echo, hs->first.role.bytes, ROLE_VALUE_BYTES);
    return gnutls_hash_fast(GNUTLS_DIG_SHA256, hs->first.message, hs->first.message_len,
                            hs->expected_echo + ROLE_VALUE_BYTES) >= 0;
}

static enum result become_client(struct handshake *hs)
{
    if (!discard_theirs(hs))
        return handshake_fail(hs, RESULT_NOMEM, ALERT_INTERNAL_ERROR, "no memory");
    enum result result = handshake_names_judge(hs);
    if (result != RESULT_AGAIN)
        return result;
    if (!hs->hello_built && (result = handshake_session_hello(hs)) != RESULT_OK)
        return handshake_fail(hs, result, ALERT_INTERNAL_ERROR, hs->why);
    go_on_as_client(hs);
    return RESULT_AGAIN;
}

/* The own hello is dropped as if it had never been sent; if indeed no byte of it has left, it stays here. */
static void drop_own_hello(struct handshake *hs)
{
    handshake_session_drop(hs);
    handshake_resume_dropped(hs);
    handshake_reflection_forget(hs);
    hs->echo_due = hs->hello_left;
    if (!hs->hello_left)
        hs->out.len = hs->out_sent = 0;
}

static enum result become_server(struct handshake *hs)
{
    drop_own_hello(hs);
    enum result result = handshake_names_judge(hs);
    if (result != RESULT_AGAIN)
        return result;
    if ((result = handshake_kinds_judge(hs)) != RESULT_AGAIN)
        return result;
    if ((result = handshake_reflection_judge(hs)) != RESULT_AGAIN)
        return result;
    if ((result = handshake_session_make(hs, true)) != RESULT_OK)
        return handshake_fail(hs, result, ALERT_INTERNAL_ERROR, hs->why);
    hs->phase = PHASE_SERVER;
    return handshake_session_drive(hs, hs->first.wire, hs->first.wire_len);
}

static enum result judge_client_hello(struct handshake *hs)
{
    const struct role_value *theirs = hs->first.has_role ? &hs->first.role : NULL;

    switch (role_judge(hs->effective, &hs->own, hs->hello_left, hs->waits, theirs)) {
    case OUTCOME_REFUSE:
        break;
    case OUTCOME_CLIENT:
    case OUTCOME_SEND_HELLO:
        return become_client(hs);
    case OUTCOME_SERVER:
        return become_server(hs);
    }
    return handshake_fail(hs, RESULT_PROTOCOL, ALERT_HANDSHAKE_FAILURE, handshake_reason_refused(hs));
}

/* A ServerHello or HelloRetryRequest: right only for who has spoken and may be client. */
static enum result accept_server_hello(struct handshake *hs)
{
    if (!hs->hello_left)
        return handshake_fail(hs, RESULT_PROTOCOL, ALERT_UNEXPECTED_MESSAGE,
                              "the peer answered a hello that was not sent: something sits between the two sides");
    if (!(hs->effective & ROLE_CLIENT)) /* its value was all ones */
        return handshake_fail(
            hs, RESULT_PROTOCOL, ALERT_UNEXPECTED_MESSAGE,
            "the peer insists on being the TLS server, and this side can only be server (role=server): "
            "set role=peer or role=client here if the peer is a conventional TLS server");
    if (!handshake_bytes_add(&hs->plain, hs->first.message, hs->first.message_len))
        return handshake_fail(hs, RESULT_NOMEM, ALERT_INTERNAL_ERROR, "no memory for the peer's hello");
    go_on_as_client(hs);
    return handshake_record_server_hello(hs);
}

static enum result judge_alert(struct handshake *hs)
{
    char why[HANDSHAKE_WHY_MAX];
    enum result result = handshake_reason_alert(hs->first.wire[RECORD_HEADER + 1], hs->identity, false, why);

    return handshake_fail_silently(hs, result, why);
}

enum result handshake_first_record(struct handshake *hs)
{
    enum result result = hello_add_record(&hs->first, hs->record, hs->have);

    if (result == RESULT_NOMEM)
        return handshake_fail(hs, result, ALERT_INTERNAL_ERROR, "no memory for the peer's hello");
    switch (hs->first.kind) {
    case HELLO_INCOMPLETE:
        return RESULT_AGAIN;
    case HELLO_CLIENT:
        return judge_client_hello(hs);
    case HELLO_SERVER:
        return accept_server_hello(hs);
    case HELLO_ALERT:
        return judge_alert(hs);
    case HELLO_BAD:
        break;
    }
    return handshake_fail(hs, RESULT_PROTOCOL, hs->first.alert, hs->first.why);
}
