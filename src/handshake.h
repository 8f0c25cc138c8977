/* The peer-to-peer TLS 1.3 handshake on memory: two candidates, a client session whose hello may have left and a
 * server session made when the tie-breaker says so. No I/O, no clock; may run in the application or in a process of its
 * own.
 *
 * Use: loop { send what handshake_output gives; read exactly handshake_wanted bytes; handshake_feed; } until
 * handshake_state is not RESULT_AGAIN. It asks for one record at a time, so nothing after Finished is ever taken. */
#ifndef P2PTLS_HANDSHAKE_H
#define P2PTLS_HANDSHAKE_H

#include "identity.h"
#include "record.h"
#include "reflection.h"
#include "result.h"
#include "role.h"
#include "tickets.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct handshake_config {
    enum role_set effective; /* role_effective(); ROLE_NONE is RESULT_CONFIG */
    enum role_prefer prefer;
    bool speaks_first; /* send the own hello at once (docs/PROTOCOL.md, "Who speaks") */
    bool hears_first;  /* with it: the peer's hello may be there already, handshake_speak says that it is not */
    struct random_source random; /* fill NULL: GnuTLS's */
    const struct identity
        *identity;       /* the handshake takes a reference of its own; auth=, show= and usage= are its properties */
    bool connected_side; /* this side dialled; false: it accepted */
    const char *dialled_name; /* name or address, verified in either role; SNI when a DNS name; may be NULL */
    uint16_t dialled_port;
    const struct tlsa_set *tlsa; /* of the dialled name and port, proven by DNSSEC; may be NULL; must outlive */
    const char *peer_patterns;   /* peer=: verified instead of dialled_name; may be NULL */
    bool no_sni;                 /* sni=off */
    const char *alpn;            /* NAME[,NAME]: one of them must be agreed; NULL: none is asked for */
    const char *client_ciphers;  /* GnuTLS cipher priorities of the client candidate; NULL: AES-128-GCM first */
    const char *server_ciphers;  /* likewise of the server candidate */
    const char *client_groups;   /* "+GROUP-X25519:..."; NULL: X25519, P-256, X448, P-384 */
    const char *server_groups;
    struct reflection *reflection; /* with a pre-shared key; NULL: reflections are not looked for */
    struct reflection_ends ends;   /* of this connection, for that */
    uint32_t lifetime_ms;          /* until when it is sure to be over */
    bool resume;                   /* tickets may be offered (by a side that connected) and issued (by the other) */
    const void *service;           /* stands for the rule, in tickets: it does not change while the process lives */
    const char *peer;              /* of a side that connected: ADDRESS:PORT, where tickets are good; may be NULL */
};

struct handshake; /* about 20 KiB while it lives; one thread at a time */

enum { HANDSHAKE_WHY_MAX = 512, HANDSHAKE_SUBJECT_MAX = 1024, HANDSHAKE_NAME_MAX = 256 };

/* Draws the value, and if speaks_first and not hears_first builds the client hello into the output. */
MUST_USE enum result handshake_new(const struct handshake_config *config, struct handshake **out,
                                   char why[HANDSHAKE_WHY_MAX]);
void handshake_free(struct handshake *hs); /* wipes; NULL is fine */

/* Nothing of the peer is there to be fed: builds the own hello, if it is due. A peer that has the other's hello already
 * never makes the one that it would drop. True if there is something new to send, or the state is another one. */
bool handshake_speak(struct handshake *hs);

/* RESULT_AGAIN: wants input or has output. RESULT_OK: verified and finished (output may still be left to send).
 * RESULT_IDENTITY, RESULT_PROTOCOL, RESULT_NOMEM: refused for good; the output holds the alert for the peer (if one
 * is due) and handshake_why says what happened. */
enum result handshake_state(const struct handshake *hs);
const char *handshake_why(const struct handshake *hs);

/* Bytes to send next; stays valid until handshake_sent or handshake_feed. */
const uint8_t *handshake_output(const struct handshake *hs, size_t *len);
void handshake_sent(struct handshake *hs, size_t len);

/* How many bytes to read at most before the next feed (a record's header, then the rest of its body); 0 when no
 * input is wanted (finished, failed). */
size_t handshake_wanted(const struct handshake *hs);
/* Is all that the peer can have said for the handshake? Nothing has left this side yet, so it has no keys. */
bool handshake_owns_input(const struct handshake *hs);

/* Gives 1 to handshake_wanted bytes and drives the state machine. Returns handshake_state. */
MUST_USE enum result handshake_feed(struct handshake *hs, const uint8_t *bytes, size_t len);

/* Tells that the transport ended (FIN): RESULT_PROTOCOL, or RESULT_IDENTITY when an alert said so before. */
MUST_USE enum result handshake_feed_end(struct handshake *hs);

/* Refuses from outside (timeout): queues the alert (RFC 8446 section 6.2). */
void handshake_abort(struct handshake *hs, enum result reason, uint8_t alert, const char *why);

struct handshake_secrets {
    bool is_client;
    bool peer_has_role; /* the peer is one of us, and not a conventional TLS stack */
    enum record_suite suite;
    uint16_t record_max; /* the peer takes no more plaintext in a record; 0: as much as any */
    uint16_t secret_len;
    uint8_t read[RECORD_SECRET_MAX];      /* application traffic secret of the peer's direction */
    uint8_t write[RECORD_SECRET_MAX];     /* of ours */
    uint8_t exporter[RECORD_SECRET_MAX];  /* exporter_secret (RFC 8446 section 7.5) */
    bool proven;                          /* the peer showed an identity, and it was accepted */
    bool resumed;                         /* by a ticket; all else is as in a full handshake */
    char subject[HANDSHAKE_SUBJECT_MAX];  /* that identity, whole and printable, or empty: too long; "(unauthenticated)"
                                             if not proven */
    char alpn[HANDSHAKE_NAME_MAX];        /* the agreed application protocol; empty: none was asked for here */
    char server_name[HANDSHAKE_NAME_MAX]; /* the name that the peer dialled, if it said one; also where its hello lost
                                             the tie-break */
};

/* After RESULT_OK. The caller wipes *out. */
void handshake_take_secrets(struct handshake *hs, struct handshake_secrets *out);

/* After RESULT_OK, of the server: the NewSessionTicket message (RFC 8446 section 4.6.1) that is to go out in front of
 * application data; NULL: none. The caller frees it. */
struct ticket_message *handshake_take_ticket(struct handshake *hs);
/* Of the client: the number by which it waits for its ticket (tickets_arrived), or 0: none can come. Who takes it has
 * to end the waiting. */
uint64_t handshake_take_awaited(struct handshake *hs);

/* What an alert of the peer means, in words, and which result it is. id: of this side, or NULL; own_was_shown: what
 * this side shows may have reached the peer. Also for alerts that come after the handshake: a server is the last to
 * judge. */
enum result handshake_reason_alert(uint8_t alert, const struct identity *id, bool own_was_shown,
                                   char why[HANDSHAKE_WHY_MAX]);

#endif
