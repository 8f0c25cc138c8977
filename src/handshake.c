/* The handshake's outside: making and freeing, output, and the input of one record at a time. */
#include "handshake_internal.h"

#include "bytes.h"

#include <gnutls/crypto.h>
#include <stdio.h>
#include <stdlib.h>

/* RFC 8446 section 5: change_cipher_spec records are dropped; a flood of them is not TLS. */
enum { CCS_MAX = 32 };

static bool fill_from_gnutls(void *ctx, uint8_t *out, size_t n)
{
    (void)ctx;
    return gnutls_rnd(GNUTLS_RND_NONCE, out, n) >= 0;
}

static bool copy_text(char **out, const char *text)
{
    *out = text ? strdup(text) : NULL;
    return *out || !text;
}

static enum result start(struct handshake *hs, const struct handshake_config *config)
{
    struct random_source random = config->random;

    if (!random.fill)
        random.fill = fill_from_gnutls;
    hs->effective = config->effective;
    hs->waits = !config->speaks_first;
    hs->identity = config->identity;
    if (!copy_text(&hs->peer_name, config->peer_name) || !copy_text(&hs->client_ciphers, config->client_ciphers) ||
        !copy_text(&hs->server_ciphers, config->server_ciphers)) {
        snprintf(hs->why, sizeof hs->why, "no memory for a handshake");
        return RESULT_NOMEM;
    }
    enum result result = role_draw(hs->effective, config->prefer, random, &hs->own);
    if (result != RESULT_OK) {
        snprintf(hs->why, sizeof hs->why, "%s",
                 result == RESULT_CONFIG ? "role= and remote= leave no role that this side could take: a remote client "
                                           "needs a local server, and the other way round"
                                         : "the source of randomness failed");
        return result;
    }
    hs->phase = PHASE_FIRST_HELLO;
    hs->state = RESULT_AGAIN;
    hs->want = RECORD_HEADER;
    return hs->waits ? RESULT_OK : handshake_session_hello(hs);
}

enum result handshake_new(const struct handshake_config *config, struct handshake **out, char why[HANDSHAKE_WHY_MAX])
{
    struct handshake *hs = calloc(1, sizeof *hs);

    *out = NULL;
    if (!hs) {
        snprintf(why, HANDSHAKE_WHY_MAX, "no memory for a handshake");
        return RESULT_NOMEM;
    }
    enum result result = start(hs, config);
    if (result == RESULT_OK) {
        *out = hs;
        return RESULT_OK;
    }
    snprintf(why, HANDSHAKE_WHY_MAX, "%s", hs->why);
    handshake_free(hs);
    return result;
}

void handshake_free(struct handshake *hs)
{
    if (!hs)
        return;
    handshake_session_drop(hs);
    hello_free(&hs->first);
    hello_free(&hs->retry);
    free(hs->peer_name);
    free(hs->client_ciphers);
    free(hs->server_ciphers);
    free(hs->out.bytes);
    free(hs->record);
    wipe(hs, sizeof *hs);
    free(hs);
}

enum result handshake_state(const struct handshake *hs)
{
    return hs->state;
}

const char *handshake_why(const struct handshake *hs)
{
    return hs->why;
}

const uint8_t *handshake_output(const struct handshake *hs, size_t *len)
{
    *len = hs->out.len - hs->out.sent;
    return *len ? hs->out.bytes + hs->out.sent : NULL;
}

void handshake_sent(struct handshake *hs, size_t len)
{
    size_t left = hs->out.len - hs->out.sent;

    hs->out.sent += len < left ? len : left;
    if (len && hs->hello_built)
        hs->hello_left = true;
    if (hs->out.sent == hs->out.len)
        hs->out.sent = hs->out.len = 0;
}

size_t handshake_wanted(const struct handshake *hs)
{
    return hs->state == RESULT_AGAIN ? hs->want - hs->have : 0;
}

static enum result refuse_record(struct handshake *hs, uint8_t alert, const char *why)
{
    return handshake_fail(hs, RESULT_PROTOCOL, alert, why);
}

/* Sections 5.1 and 5.2. Once keys are there, nothing that matters comes in clear: an alert may, from a client that
 * could not read ServerHello. */
static enum result check_header(struct handshake *hs, size_t *body_len)
{
    size_t len = be16(hs->header + 3);
    bool sealed = hs->header[0] == RECORD_APPLICATION_DATA;

    *body_len = len;
    switch (hs->header[0]) {
    case RECORD_CHANGE_CIPHER_SPEC:
    case RECORD_ALERT:
        break;
    case RECORD_HANDSHAKE:
        if (hs->encrypted)
            return refuse_record(hs, ALERT_UNEXPECTED_MESSAGE, "an unprotected handshake record came after ServerHello");
        break;
    case RECORD_APPLICATION_DATA:
        if (!hs->encrypted)
            return refuse_record(hs, ALERT_UNEXPECTED_MESSAGE, "a protected record came before ServerHello");
        break;
    default:
        return refuse_record(hs, ALERT_UNEXPECTED_MESSAGE, "bytes that are no TLS record came during the handshake");
    }
    if (len > (sealed ? RECORD_CIPHER_MAX : RECORD_PLAIN_MAX))
        return refuse_record(hs, ALERT_RECORD_OVERFLOW, "a record is longer than TLS allows");
    if (sealed && len < RECORD_TAG + 1)
        return refuse_record(hs, ALERT_BAD_RECORD_MAC, "a protected record is too short to hold anything");
    if (len == 0)
        return refuse_record(hs, ALERT_UNEXPECTED_MESSAGE, "an empty record came during the handshake");
    return RESULT_AGAIN;
}

static enum result header_complete(struct handshake *hs)
{
    size_t body_len;
    enum result result;

    if (hs->phase == PHASE_FIRST_HELLO) {
        if (hello_check_header(&hs->first, hs->header, &body_len) != RESULT_OK)
            return refuse_record(hs, hs->first.alert, hs->first.why);
    } else if ((result = check_header(hs, &body_len)) != RESULT_AGAIN) {
        return result;
    }
    hs->record = malloc(RECORD_HEADER + body_len);
    if (!hs->record)
        return handshake_fail(hs, RESULT_NOMEM, ALERT_INTERNAL_ERROR, "no memory for a record");
    memcpy(hs->record, hs->header, RECORD_HEADER);
    hs->want = RECORD_HEADER + body_len;
    return RESULT_AGAIN;
}

static enum result take_ccs(struct handshake *hs)
{
    bool splits_hello = hs->retry.records && hs->retry.kind == HELLO_INCOMPLETE;

    if (hs->have != RECORD_HEADER + 1 || hs->record[RECORD_HEADER] != 1 || splits_hello || ++hs->ccs_count > CCS_MAX)
        return refuse_record(hs, ALERT_UNEXPECTED_MESSAGE, "a change_cipher_spec came that TLS 1.3 does not allow");
    return RESULT_AGAIN;
}

static enum result take_alert(struct handshake *hs)
{
    char why[HANDSHAKE_WHY_MAX];

    if (hs->have != RECORD_HEADER + 2)
        return refuse_record(hs, ALERT_DECODE_ERROR, "a malformed alert came");
    enum result result = handshake_reason_alert(hs->record[RECORD_HEADER + 1], why);
    return handshake_fail_silently(hs, result, why);
}

/* The client's second hello (section 4.1.2) must carry the same value, and RFC rules leave that to the extension. */
static enum result take_retry(struct handshake *hs)
{
    enum result result = hello_add_record(&hs->retry, hs->record, hs->have);

    if (result == RESULT_NOMEM)
        return handshake_fail(hs, result, ALERT_INTERNAL_ERROR, "no memory for the peer's hello");
    if (hs->retry.kind == HELLO_INCOMPLETE)
        return RESULT_AGAIN;
    if (hs->retry.kind == HELLO_BAD)
        return refuse_record(hs, hs->retry.alert, hs->retry.why);
    if (hs->retry.kind != HELLO_CLIENT)
        return refuse_record(hs, ALERT_UNEXPECTED_MESSAGE, "the answer to a HelloRetryRequest is no ClientHello");
    if (hs->retry.has_role != hs->first.has_role ||
        (hs->retry.has_role && role_value_compare(&hs->retry.role, &hs->first.role) != 0))
        return refuse_record(hs, ALERT_ILLEGAL_PARAMETER, "the peer's second hello carries another value than its first");
    return handshake_session_drive(hs, hs->retry.wire, hs->retry.wire_len);
}

static enum result take_handshake(struct handshake *hs)
{
    if (hs->phase == PHASE_SERVER) {
        if (!hs->retry_asked)
            return refuse_record(hs, ALERT_UNEXPECTED_MESSAGE, "the peer sent a second hello that nobody asked for");
        return take_retry(hs);
    }
    if (hs->plain_records++ == 0 && hs->record[RECORD_HEADER] == GNUTLS_HANDSHAKE_CLIENT_HELLO)
        return refuse_record(hs, ALERT_UNEXPECTED_MESSAGE,
                             "the peer sent a second ClientHello: something between the two sides repeats messages");
    return handshake_session_drive(hs, hs->record, hs->have);
}

static enum result take_record(struct handshake *hs)
{
    if (hs->phase == PHASE_FIRST_HELLO)
        return handshake_first_record(hs);
    switch (hs->record[0]) {
    case RECORD_CHANGE_CIPHER_SPEC:
        return take_ccs(hs);
    case RECORD_ALERT:
        return take_alert(hs);
    case RECORD_HANDSHAKE:
        return take_handshake(hs);
    default: /* check_header has let nothing else through than application_data */
        return handshake_session_drive(hs, hs->record, hs->have);
    }
}

static enum result record_complete(struct handshake *hs)
{
    enum result result = take_record(hs);

    wipe(hs->record, hs->have);
    free(hs->record);
    hs->record = NULL;
    hs->have = 0;
    hs->want = RECORD_HEADER;
    return result;
}

enum result handshake_feed(struct handshake *hs, const uint8_t *bytes, size_t len)
{
    if (hs->state != RESULT_AGAIN)
        return hs->state;
    if (len == 0 || len > hs->want - hs->have)
        return refuse_record(hs, ALERT_INTERNAL_ERROR, "more bytes were given to the handshake than it wanted");
    memcpy((hs->record ? hs->record : hs->header) + hs->have, bytes, len);
    hs->have += len;
    if (hs->have < hs->want)
        return RESULT_AGAIN;
    return hs->record ? record_complete(hs) : header_complete(hs);
}

enum result handshake_feed_end(struct handshake *hs)
{
    if (hs->state != RESULT_AGAIN)
        return hs->state;
    if (hs->phase == PHASE_FIRST_HELLO && hs->have == 0 && !hs->first.records)
        return handshake_fail_silently(hs, RESULT_PROTOCOL,
                                       "the peer closed the connection without a word of TLS: is it protected too?");
    return handshake_fail_silently(hs, RESULT_PROTOCOL, "the peer closed the connection in the middle of the handshake");
}

void handshake_abort(struct handshake *hs, enum result reason, uint8_t alert, const char *why)
{
    if (hs->state == RESULT_AGAIN)
        handshake_fail(hs, reason, alert, why);
}

void handshake_take_secrets(struct handshake *hs, struct handshake_secrets *out)
{
    *out = hs->secrets;
    wipe(&hs->secrets, sizeof hs->secrets);
}
