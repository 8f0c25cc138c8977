/* Collects the peer's first handshake message off TLS records and finds p2p_role in it.
 *
 * Invariants: every byte of wire was checked as part of a record; message holds the bodies of exactly those records;
 * both are bounded by HELLO_MAX_BYTES and one record more, and HELLO_MAX_RECORDS headers. */
#include "hello.h"

#include <stdlib.h>

enum { TYPE_CHANGE_CIPHER_SPEC = 20, TYPE_ALERT = 21, TYPE_HANDSHAKE = 22, TYPE_APPLICATION_DATA = 23 };

enum { MESSAGE_CLIENT_HELLO = 1, MESSAGE_SERVER_HELLO = 2, MESSAGE_HEADER = 4 };

/* RFC 8446 section 6. */
enum {
    ALERT_UNEXPECTED_MESSAGE = 10,
    ALERT_RECORD_OVERFLOW = 22,
    ALERT_ILLEGAL_PARAMETER = 47,
    ALERT_DECODE_ERROR = 50,
    ALERT_PROTOCOL_VERSION = 70,
    ALERT_INTERNAL_ERROR = 80,
};

enum { EXTENSION_SERVER_NAME = 0, EXTENSION_ALPN = 16 };

enum { SESSION_ID_MAX = 32 };

static enum result bad(struct hello *h, uint8_t alert, const char *why)
{
    h->kind = HELLO_BAD;
    h->has_role = false;
    h->alert = alert;
    h->why = why;
    return RESULT_PROTOCOL;
}

static enum result malformed(struct hello *h)
{
    return bad(h, ALERT_DECODE_ERROR, "the ClientHello is malformed");
}

/* One bit for each ExtensionType: a list of those seen would let 8,000 extensions cost 32 million comparisons. */
struct type_set {
    uint64_t words[65536 / 64];
};

static bool type_set_add(struct type_set *s, uint16_t type)
{
    uint64_t bit = UINT64_C(1) << (type % 64);
    bool fresh = !(s->words[type / 64] & bit);
    s->words[type / 64] |= bit;
    return fresh;
}

static enum result take_role(struct hello *h, const struct cursor *data)
{
    if (data->left != ROLE_VALUE_BYTES)
        return bad(h, ALERT_DECODE_ERROR, "the p2p_role extension has not 16 bytes");
    memcpy(h->role.bytes, data->at, ROLE_VALUE_BYTES);
    h->has_role = true;
    return RESULT_OK;
}

static enum result parse_extensions(struct hello *h, struct cursor list)
{
    struct type_set seen = {0};

    while (list.left) {
        uint16_t type;
        struct cursor data;
        if (!cursor_u16(&list, &type) || !cursor_vec16(&list, &data))
            return malformed(h);
        if (!type_set_add(&seen, type)) /* section 4.2: not more than one of a type */
            return bad(h, ALERT_ILLEGAL_PARAMETER, "the ClientHello has an extension twice");
        if (type == P2P_ROLE_EXTENSION && take_role(h, &data) != RESULT_OK)
            return RESULT_PROTOCOL;
        if (type == EXTENSION_SERVER_NAME)
            h->server_name = data;
        if (type == EXTENSION_ALPN)
            h->alpn = data;
    }
    return RESULT_OK;
}

/* Moves past everything in front of the extensions (section 4.1.2). */
static bool skip_fixed_part(struct cursor *body)
{
    const uint8_t *version_and_random;
    struct cursor session_id, suites, compression;

    return cursor_take(body, 2 + HELLO_RANDOM_BYTES, &version_and_random) && cursor_vec8(body, &session_id) &&
           session_id.left <= SESSION_ID_MAX && cursor_vec16(body, &suites) && suites.left >= 2 &&
           suites.left % 2 == 0 && cursor_vec8(body, &compression) && compression.left >= 1;
}

enum result hello_parse_client(struct hello *h, const uint8_t *message, size_t len)
{
    h->has_role = false;
    h->server_name = h->alpn = (struct cursor){0};
    if (len < MESSAGE_HEADER || message[0] != MESSAGE_CLIENT_HELLO || be24(message + 1) != len - MESSAGE_HEADER)
        return malformed(h);

    struct cursor body = {message + MESSAGE_HEADER, len - MESSAGE_HEADER}, extensions;
    if (!skip_fixed_part(&body))
        return malformed(h);
    if (body.left == 0) /* TLS 1.2 allows a hello without extensions; the server session refuses it by version */
        return RESULT_OK;
    if (!cursor_vec16(&body, &extensions) || body.left)
        return malformed(h);
    return parse_extensions(h, extensions);
}

bool hello_extension(const struct hello *h, uint16_t type, struct cursor *body)
{
    struct cursor message = {h->message, h->message_len}, list;
    const uint8_t *header;
    uint16_t found;

    if (h->kind != HELLO_CLIENT || !cursor_take(&message, MESSAGE_HEADER, &header) || !skip_fixed_part(&message) ||
        !cursor_vec16(&message, &list))
        return false;
    while (cursor_u16(&list, &found) && cursor_vec16(&list, body))
        if (found == type)
            return true;
    return false;
}

static bool looks_like_ssl2(const uint8_t *header)
{
    return (header[0] & 0x80) && header[2] == MESSAGE_CLIENT_HELLO && header[3] <= 3;
}

static enum result check_type(struct hello *h, const uint8_t *header)
{
    switch (header[0]) {
    case TYPE_HANDSHAKE:
        return RESULT_OK;
    case TYPE_ALERT:
        if (h->records) /* section 5.1: no other records between the parts of a message */
            return bad(h, ALERT_UNEXPECTED_MESSAGE, "an alert came in the middle of the peer's first message");
        return RESULT_OK;
    case TYPE_CHANGE_CIPHER_SPEC:
        return bad(h, ALERT_UNEXPECTED_MESSAGE, "a change_cipher_spec came before the peer's first hello");
    case TYPE_APPLICATION_DATA:
        return bad(h, ALERT_UNEXPECTED_MESSAGE, "application data came before the peer's first hello");
    default:
        if (h->records)
            return bad(h, ALERT_UNEXPECTED_MESSAGE, "the peer's first message is followed by something else than TLS");
        if (looks_like_ssl2(header))
            return bad(h, ALERT_PROTOCOL_VERSION, "the peer speaks SSL 2.0");
        return bad(h, ALERT_UNEXPECTED_MESSAGE, "the peer does not speak TLS (plaintext?)");
    }
}

enum result hello_check_header(struct hello *h, const uint8_t header[HELLO_RECORD_HEADER], size_t *body_len)
{
    size_t len = be16(header + 3);

    if (h->kind != HELLO_INCOMPLETE)
        return bad(h, ALERT_INTERNAL_ERROR, "a record was added behind a finished hello");
    if (check_type(h, header) != RESULT_OK)
        return RESULT_PROTOCOL;
    if (len > HELLO_RECORD_MAX)
        return bad(h, ALERT_RECORD_OVERFLOW, "a plaintext record is longer than 16384 bytes");
    if (len == 0) /* section 5.1: zero-length fragments of handshake and alert types must not be sent */
        return bad(h, ALERT_UNEXPECTED_MESSAGE, "an empty record came before the peer's first hello was whole");
    if (header[0] == TYPE_ALERT && len != 2)
        return bad(h, ALERT_DECODE_ERROR, "a malformed alert came instead of a hello");
    if (h->records >= HELLO_MAX_RECORDS)
        return bad(h, ALERT_UNEXPECTED_MESSAGE, "the peer's first hello is spread over too many records");
    *body_len = len;
    return RESULT_OK;
}

/* realloc would leave an unwiped copy behind. */
static bool append(uint8_t **buf, size_t *len, size_t *room, const uint8_t *bytes, size_t n)
{
    if (n > *room - *len) {
        size_t larger = (*len + n) * 2;
        uint8_t *fresh = malloc(larger);
        if (!fresh)
            return false;
        if (*len)
            memcpy(fresh, *buf, *len);
        wipe(*buf, *len);
        free(*buf);
        *buf = fresh;
        *room = larger;
    }
    memcpy(*buf + *len, bytes, n);
    *len += n;
    return true;
}

/* Judges what has been collected: the type is known from the first byte on, the length from the fourth. */
static enum result judge_message(struct hello *h)
{
    if (h->message[0] == MESSAGE_SERVER_HELLO) {
        h->kind = HELLO_SERVER;
        return RESULT_OK;
    }
    if (h->message[0] != MESSAGE_CLIENT_HELLO)
        return bad(h, ALERT_UNEXPECTED_MESSAGE, "the peer's first handshake message is no hello");
    if (h->message_len < MESSAGE_HEADER)
        return RESULT_OK;

    size_t whole = MESSAGE_HEADER + be24(h->message + 1);
    if (whole > HELLO_MAX_BYTES)
        return bad(h, ALERT_ILLEGAL_PARAMETER, "the peer's ClientHello is larger than 32 KiB");
    if (h->message_len < whole)
        return RESULT_OK;
    if (h->message_len > whole)
        return bad(h, ALERT_UNEXPECTED_MESSAGE, "the record that ends the peer's ClientHello holds more than it");
    if (hello_parse_client(h, h->message, h->message_len) != RESULT_OK)
        return RESULT_PROTOCOL;
    if (h->has_role && h->odd_version)
        return bad(h, ALERT_ILLEGAL_PARAMETER, "a hello with p2p_role came in records of a strange version");
    h->kind = HELLO_CLIENT;
    return RESULT_OK;
}

enum result hello_add_record(struct hello *h, const uint8_t *record, size_t len)
{
    size_t body_len;

    if (len < HELLO_RECORD_HEADER)
        return bad(h, ALERT_INTERNAL_ERROR, "less than a record was added to a hello");
    if (hello_check_header(h, record, &body_len) != RESULT_OK)
        return RESULT_PROTOCOL;
    if (len != HELLO_RECORD_HEADER + body_len)
        return bad(h, ALERT_INTERNAL_ERROR, "not exactly one record was added to a hello");
    if (!append(&h->wire, &h->wire_len, &h->wire_room, record, len))
        return RESULT_NOMEM;
    h->records++;
    if (record[0] == TYPE_ALERT) {
        h->kind = HELLO_ALERT;
        return RESULT_OK;
    }
    if (!append(&h->message, &h->message_len, &h->message_room, record + HELLO_RECORD_HEADER, body_len))
        return RESULT_NOMEM;
    uint16_t version = be16(record + 1);
    h->odd_version |= version != 0x0301 && version != 0x0303;
    return judge_message(h);
}

void hello_free(struct hello *h)
{
    wipe(h->wire, h->wire_len);
    free(h->wire);
    wipe(h->message, h->message_len);
    free(h->message);
    wipe(h, sizeof *h);
}
