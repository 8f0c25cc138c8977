/* Shared by the handshake's files: the state of one handshake, and the functions that cross files.
 *
 * Invariants: state is RESULT_AGAIN exactly while phase is one of FIRST_HELLO, CLIENT and SERVER; session is the client
 * candidate (or NULL) in FIRST_HELLO, the session of the phase's role in CLIENT and SERVER, and NULL afterwards; GnuTLS
 * callbacks never free the session that calls them, they only leave a verdict. */
#ifndef P2PTLS_HANDSHAKE_INTERNAL_H
#define P2PTLS_HANDSHAKE_INTERNAL_H

#include "handshake.h"
#include "hello.h"

#include <gnutls/gnutls.h>

enum { ECHO_HASH_BYTES = 32, ECHO_BYTES = ROLE_VALUE_BYTES + ECHO_HASH_BYTES };

enum handshake_phase {
    PHASE_INVALID = 0,
    PHASE_FIRST_HELLO, /* the peer's first message has not come yet */
    PHASE_CLIENT,      /* this side stays client: ServerHello and what follows */
    PHASE_SERVER,      /* this side is the server: the rest of the client's flight */
    PHASE_DONE,
    PHASE_FAILED,
};

struct handshake_bytes {
    uint8_t *bytes;
    size_t len, room;
};

/* What a GnuTLS callback found; more exact than the error code that comes back through gnutls_handshake. */
struct handshake_verdict {
    enum result result; /* RESULT_INVALID: none */
    uint8_t alert;
    char why[HANDSHAKE_WHY_MAX];
};

struct handshake {
    enum handshake_phase phase;
    enum result state;
    char why[HANDSHAKE_WHY_MAX];

    enum role_set effective;
    bool waits;
    struct identity *identity;
    bool connected_side, no_sni;
    uint16_t dialled_port;
    const struct tlsa_set *tlsa;
    char *dialled_name, *peer_patterns, *alpn;
    char *client_ciphers, *server_ciphers, *client_groups, *server_groups;

    struct role_value own;
    bool hello_built;             /* the own ClientHello is in the output, or has left */
    bool hello_left;              /* at least its first byte has left */
    uint8_t own_echo[ECHO_BYTES]; /* value and hash of the own hello */
    uint8_t own_random[HELLO_RANDOM_BYTES];

    struct reflection *reflection; /* NULL: not looked for */
    struct reflection_ends ends;
    uint32_t lifetime_ms;
    struct reflection_note note; /* of the own hello */

    struct hello first; /* of the peer */
    struct hello retry; /* its ClientHello after our HelloRetryRequest */
    bool peer_has_role; /* p2p_role came from the peer, in its hello or in EncryptedExtensions */
    bool echo_due;      /* server: own_echo goes into EncryptedExtensions */
    bool discarded;     /* client: a hello of the peer was read and lost the tie-break */
    bool echo_seen;     /* client: the server's echo fits the discarded hello */
    uint8_t expected_echo[ECHO_BYTES];

    /* Resumption (handshake_resume.c) */
    bool resumes; /* allowed here */
    const void *service;
    bool wants_ticket; /* client */
    struct ticket_place place;
    struct ticket *offer; /* client: taken out of the store, and used up whatever happens */
    bool offered;         /* it is in the hello */
    bool issues;          /* server: the session has a key for tickets */
    uint64_t generation;  /* of that key */
    uint64_t awaited;     /* tickets_await */
    struct ticket_message *ticket;
    time_t peer_expires;     /* of its certificate; 0: never, or not judged */
    bool certificate_passed; /* a Certificate or a request for one, either way: the session does not rest on a ticket */
    bool peer_signed;        /* a CertificateVerify of the peer came in this handshake */

    gnutls_session_t session;
    bool encrypted; /* ServerHello was passed: handshake records are protected from here on */
    bool verified;  /* an identity was shown, and accepted */
    struct handshake_verdict verdict;

    struct handshake_bytes out;
    size_t out_sent; /* of out */
    uint8_t header[RECORD_HEADER];
    uint8_t *record;   /* the record being read; its header is in front */
    size_t have, want; /* of the record: bytes there, bytes in all (the header's until that is known) */
    unsigned ccs_count;
    struct handshake_bytes plain; /* client: the part of ServerHello or HelloRetryRequest that is here */
    const uint8_t *input;         /* what the session may pull now */
    size_t input_left;

    struct handshake_secrets secrets;
};

/* handshake_session.c */

/* Do both cipher lists parse? Asked at once, since a side that waits makes its sessions only when a stranger speaks. */
MUST_USE enum result handshake_session_check(struct handshake *hs);

/* Makes hs->session, of either role, with everything set. On failure why is in hs->why. */
MUST_USE enum result handshake_session_make(struct handshake *hs, bool server);
void handshake_session_drop(struct handshake *hs);

/* Makes the client session and its ClientHello, which goes to the output; sets own_echo. */
MUST_USE enum result handshake_session_hello(struct handshake *hs);

/* Lets the session read these whole records and go on: RESULT_AGAIN, RESULT_OK when finished; another result came
 * through handshake_fail already. */
MUST_USE enum result handshake_session_drive(struct handshake *hs, const uint8_t *records, size_t len);

/* handshake_resume.c. start: takes a ticket, if there is one, before the value is drawn; set: puts it, or the key for
 * tickets, on a session that is being made. */
void handshake_resume_start(struct handshake *hs, const struct handshake_config *config);
void handshake_resume_set(struct handshake *hs, gnutls_session_t session, bool server);
/* Was the session resumed, with a key exchange of its own? */
bool handshake_resumed(const struct handshake *hs);
/* Did the peer show something that it proved in this handshake, or in the one that is resumed? */
bool handshake_peer_shows(const struct handshake *hs);
/* As client, before GnuTLS tells of it: what the server had shown. */
void handshake_resume_remember(const struct handshake *hs, struct identity_expectation *expect);
const char *handshake_resume_flaw(const struct handshake *hs); /* NULL: none */
void handshake_resume_finish(struct handshake *hs);            /* may take the session away */
void handshake_resume_dropped(struct handshake *hs);           /* the own hello is, and its ticket with it */
void handshake_resume_free(struct handshake *hs);

/* handshake_names.c: SNI and ALPN (docs/PROTOCOL.md, "Names"). */
MUST_USE enum result handshake_names_check(struct handshake *hs); /* can the list be sent? RESULT_CONFIG: hs->why */
int handshake_names_set(const struct handshake *hs, gnutls_session_t session, bool server); /* GnuTLS's error or 0 */
/* Looks at the peer's first hello, which this side answers or discards. RESULT_AGAIN; another result came through
 * handshake_fail already. */
MUST_USE enum result handshake_names_judge(struct handshake *hs);
/* The server has chosen (or not): NULL, or why that will not do, with the alert. */
const char *handshake_names_agreed(struct handshake *hs, uint8_t *alert);

/* handshake_reflection.c: does a connection under a pre-shared key lead back to this node? (docs/PROTOCOL.md,
 * "Reflection") */
MUST_USE enum result handshake_reflection_keep(struct handshake *hs); /* the own hello is built, and has not left */
void handshake_reflection_forget(struct handshake *hs);               /* it cannot be answered any more */
bool handshake_reflection_holds_back(const struct handshake *hs, enum role_prefer prefer); /* better wait */
/* This side is about to answer the peer's hello. RESULT_AGAIN, or it came through handshake_fail. */
MUST_USE enum result handshake_reflection_judge(struct handshake *hs);

/* handshake_callbacks.c */
void handshake_expectation(const struct handshake *hs, struct identity_expectation *expect);
MUST_USE bool handshake_callbacks_set(struct handshake *hs, gnutls_session_t session);

/* handshake_output.c */
MUST_USE bool handshake_bytes_add(struct handshake_bytes *buffer, const void *bytes, size_t len);

/* Ends the handshake for good: keeps result and why, queues the alert (through the session when one is in charge, so
 * that it is protected as the peer expects), drops the session. Returns result. */
enum result handshake_fail(struct handshake *hs, enum result result, uint8_t alert, const char *why);
/* The same without an alert: the peer sent one, or is gone. */
enum result handshake_fail_silently(struct handshake *hs, enum result result, const char *why);

/* handshake_record.c: the header of a record is here; the record is; a part of ServerHello is in plain. All return
 * hs->state. */
MUST_USE enum result handshake_record_header(struct handshake *hs);
MUST_USE enum result handshake_record_whole(struct handshake *hs);
MUST_USE enum result handshake_record_server_hello(struct handshake *hs);

/* handshake_first.c: a whole record while the peer's first message is awaited. Returns hs->state. */
MUST_USE enum result handshake_first_record(struct handshake *hs);

/* handshake_reason.c: words for people. */
const char *handshake_reason_refused(const struct handshake *hs); /* role_judge said OUTCOME_REFUSE */
/* handshake_kinds.c: is it that the kinds of credentials do not meet? Server: NULL or the reason, and the alert. The
 * other one, of an alert: RESULT_INVALID if it says nothing about kinds. */
/* The first hello, before it is answered: a pre-shared key on one side alone. RESULT_AGAIN, or it came through
 * handshake_fail. */
MUST_USE enum result handshake_kinds_judge(struct handshake *hs);
const char *handshake_kinds_differ(const struct handshake *hs, uint8_t *alert);
enum result handshake_kinds_alert(const struct identity *id, uint8_t alert, bool own_was_shown,
                                  char why[HANDSHAKE_WHY_MAX]);
/* Of a GnuTLS error: the result, the alert to send and the text. */
enum result handshake_reason_error(const struct handshake *hs, int error, uint8_t *alert, char why[HANDSHAKE_WHY_MAX]);

/* RFC 8446 section 6. */
enum handshake_alert {
    ALERT_CLOSE_NOTIFY = 0,
    ALERT_UNEXPECTED_MESSAGE = 10,
    ALERT_BAD_RECORD_MAC = 20,
    ALERT_RECORD_OVERFLOW = 22,
    ALERT_HANDSHAKE_FAILURE = 40,
    ALERT_BAD_CERTIFICATE = 42,
    ALERT_UNSUPPORTED_CERTIFICATE = 43,
    ALERT_CERTIFICATE_REVOKED = 44,
    ALERT_CERTIFICATE_EXPIRED = 45,
    ALERT_CERTIFICATE_UNKNOWN = 46,
    ALERT_ILLEGAL_PARAMETER = 47,
    ALERT_UNKNOWN_CA = 48,
    ALERT_ACCESS_DENIED = 49,
    ALERT_DECODE_ERROR = 50,
    ALERT_DECRYPT_ERROR = 51,
    ALERT_PROTOCOL_VERSION = 70,
    ALERT_INTERNAL_ERROR = 80,
    ALERT_USER_CANCELED = 90,
    ALERT_UNKNOWN_PSK_IDENTITY = 115,
    ALERT_CERTIFICATE_REQUIRED = 116,
    ALERT_NO_APPLICATION_PROTOCOL = 120,
};

#endif
