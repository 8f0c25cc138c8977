/* Reads the first handshake message of a peer off TLS records, without GnuTLS: is it a ClientHello, and what
 * p2p_role value does it carry? Everything here works on bytes that an attacker chose. */
#ifndef P2PTLS_HELLO_H
#define P2PTLS_HELLO_H

#include "bytes.h"
#include "result.h"
#include "role.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HELLO_MAX_BYTES = 32 * 1024, /* handshake message, header included */
    HELLO_MAX_RECORDS = 1024,    /* twice what record_size_limit's minimum of 64 bytes needs (RFC 8449) */
    HELLO_RECORD_HEADER = 5,
    HELLO_RECORD_MAX = 16384, /* TLSPlaintext.length (RFC 8446 section 5.1) */
    HELLO_RANDOM_BYTES = 32,
    HELLO_NAME_MAX = 255, /* a DNS name, or one of ALPN */
};

enum hello_kind {
    HELLO_INCOMPLETE = 0,
    HELLO_CLIENT, /* a whole ClientHello */
    HELLO_SERVER, /* begins as ServerHello or HelloRetryRequest: for the client session to judge */
    HELLO_ALERT,  /* an alert record came instead */
    HELLO_BAD,    /* see hello.alert, hello.why */
};

/* Collects records until the first handshake message is whole. */
struct hello {
    enum hello_kind kind;
    uint8_t *wire; /* records as they came, to be fed to a server session; owned */
    size_t wire_len, wire_room;
    uint8_t *message; /* the handshake message without record headers; owned */
    size_t message_len, message_room;
    bool has_role;
    struct role_value role;
    struct cursor server_name, alpn; /* bodies of these extensions, in message; at NULL: not there */
    size_t records;                  /* added so far */
    bool odd_version;                /* a record version other than 0x0301 and 0x0303 was seen */
    uint8_t alert;                   /* HELLO_BAD: the alert description to send (RFC 8446 section 6) */
    const char *why;                 /* HELLO_BAD: a static text for the log */
};

/* Looks at a record's header before its body is there, so that a plaintext peer is known at its first bytes and
 * nobody waits for a "body" that never comes. RESULT_OK and the length of the body; RESULT_PROTOCOL with HELLO_BAD.
 * hello_add_record does the same check again. */
MUST_USE enum result hello_check_header(struct hello *h, const uint8_t header[HELLO_RECORD_HEADER], size_t *body_len);

/* Adds one whole record (5-byte header and body). Every later call after kind has left HELLO_INCOMPLETE is a
 * programming error. Rules: docs/PROTOCOL.md, "The first hello". RESULT_OK with kind set or still
 * HELLO_INCOMPLETE; RESULT_PROTOCOL with HELLO_BAD; RESULT_NOMEM. */
MUST_USE enum result hello_add_record(struct hello *h, const uint8_t *record, size_t len);

/* Parses a whole ClientHello message (type, 24-bit length, body): structure, duplicate extensions, p2p_role of
 * exactly 16 bytes, server_name, ALPN. Fills has_role, role, and finds server_name and alpn, whose bodies are not
 * looked into. RESULT_PROTOCOL with alert and why otherwise. */
MUST_USE enum result hello_parse_client(struct hello *h, const uint8_t *message, size_t len);

/* hello_names.c. What a whole ClientHello asks for; a malformed extension asks for nothing. Nothing of it is
 * proven before the handshake's end.
 *
 * The DNS name of server_name (RFC 6066 section 3), terminated. False: none, or not one of a usual host. */
bool hello_server_name(const struct hello *h, char out[HELLO_NAME_MAX + 1]);
bool hello_offers_protocol(const struct hello *h, const uint8_t *name, size_t len); /* RFC 7301 */
/* Is there such an extension in a whole ClientHello? *body is what is in it. */
bool hello_extension(const struct hello *h, uint16_t type, struct cursor *body);
/* The client's random, 32 bytes. */
const uint8_t *hello_random(const struct hello *h);

void hello_free(struct hello *h); /* wipes; h may be used again afterwards */

#endif
