/* Takes the records that come in one by one: which may come when, and who gets what is in them. Each is seen whole
 * before anyone looks into it. */
#include "handshake_internal.h"

#include "bytes.h"

#include <stdlib.h>

/* RFC 8446 section 5: change_cipher_spec records are dropped; a flood of them is not TLS. */
enum { CCS_MAX = 32, MESSAGE_HEADER = 4 };

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
            return refuse_record(hs, ALERT_UNEXPECTED_MESSAGE,
                                 "an unprotected handshake record came after ServerHello");
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

enum result handshake_record_header(struct handshake *hs)
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
    /* Section 5.1: no other records between the parts of a message. */
    bool splits_hello = hs->plain.len || (hs->retry.records && hs->retry.kind == HELLO_INCOMPLETE);

    if (hs->have != RECORD_HEADER + 1 || hs->record[RECORD_HEADER] != 1 || splits_hello || ++hs->ccs_count > CCS_MAX)
        return refuse_record(hs, ALERT_UNEXPECTED_MESSAGE, "a change_cipher_spec came that TLS 1.3 does not allow");
    return RESULT_AGAIN;
}

static enum result take_alert(struct handshake *hs)
{
    char why[HANDSHAKE_WHY_MAX];

    if (hs->have != RECORD_HEADER + 2)
        return refuse_record(hs, ALERT_DECODE_ERROR, "a malformed alert came");
    enum result result = handshake_reason_alert(hs->record[RECORD_HEADER + 1], hs->identity, hs->encrypted, why);
    return handshake_fail_silently(hs, result, why);
}

/* The client's second hello: section 4.1.2 leaves it to each extension what must stay, and the value must. */
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
        return refuse_record(hs, ALERT_ILLEGAL_PARAMETER,
                             "the peer's second hello carries another value than its first");
    if (hs->issues && hs->generation != tickets_generation()) /* a child could have made the ticket in it */
        return handshake_fail(hs, RESULT_PROTOCOL, ALERT_INTERNAL_ERROR,
                              "this process has forked between two hellos of the peer");
    return handshake_session_drive(hs, hs->retry.wire, hs->retry.wire_len);
}

static enum result feed_as_one_record(struct handshake *hs)
{
    struct handshake_bytes record = {0};
    uint8_t header[RECORD_HEADER] = {RECORD_HANDSHAKE, 3, 3};

    put_be16(header + 3, (uint16_t)hs->plain.len);
    bool added = handshake_bytes_add(&record, header, sizeof header) &&
                 handshake_bytes_add(&record, hs->plain.bytes, hs->plain.len);
    hs->plain.len = 0;
    enum result result = added
                             ? handshake_session_drive(hs, record.bytes, record.len)
                             : handshake_fail(hs, RESULT_NOMEM, ALERT_INTERNAL_ERROR, "no memory for the peer's hello");
    free(record.bytes);
    return result;
}

/* ServerHello or HelloRetryRequest, put together here: GnuTLS tells one from the other by the first record alone, and
 * would take a HelloRetryRequest that is split early for a ServerHello. Keys change behind both, or the turn to speak
 * does, so that their last record holds nothing else (section 5.1). */
enum result handshake_record_server_hello(struct handshake *hs)
{
    const struct handshake_bytes *plain = &hs->plain;

    if (plain->bytes[0] == GNUTLS_HANDSHAKE_CLIENT_HELLO)
        return refuse_record(hs, ALERT_UNEXPECTED_MESSAGE,
                             "the peer sent a second ClientHello: something between the two sides repeats messages");
    if (plain->bytes[0] != GNUTLS_HANDSHAKE_SERVER_HELLO)
        return refuse_record(hs, ALERT_UNEXPECTED_MESSAGE, "the peer's answer to a ClientHello is no ServerHello");
    if (plain->len < MESSAGE_HEADER)
        return RESULT_AGAIN;
    size_t whole = MESSAGE_HEADER + be24(plain->bytes + 1);
    if (whole > RECORD_PLAIN_MAX)
        return refuse_record(hs, ALERT_DECODE_ERROR, "the peer's ServerHello is too large");
    if (plain->len < whole)
        return RESULT_AGAIN;
    if (plain->len > whole)
        return refuse_record(hs, ALERT_UNEXPECTED_MESSAGE, "the record that ends ServerHello holds more than it");
    return feed_as_one_record(hs);
}

static enum result take_handshake(struct handshake *hs)
{
    if (hs->phase == PHASE_SERVER) /* and no ServerHello was sent yet: so a HelloRetryRequest was */
        return take_retry(hs);
    if (!handshake_bytes_add(&hs->plain, hs->record + RECORD_HEADER, hs->have - RECORD_HEADER))
        return handshake_fail(hs, RESULT_NOMEM, ALERT_INTERNAL_ERROR, "no memory for the peer's hello");
    return handshake_record_server_hello(hs);
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

enum result handshake_record_whole(struct handshake *hs)
{
    enum result result = take_record(hs);

    wipe(hs->record, hs->have);
    free(hs->record);
    hs->record = NULL;
    hs->have = 0;
    hs->want = RECORD_HEADER;
    return result;
}
