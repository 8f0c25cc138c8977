/* What session resumption keeps in a process (RFC 8446 section 4.6.1; docs/PROTOCOL.md, "Resumption"): the tickets of
 * connecting sides, client sessions whose ticket is still to come, and the keys under which accepting sides seal
 * theirs. Nothing of it survives a fork: the child has no tickets (each is offered once, by the parent), and neither
 * goes on with a key that the other one has.
 *
 * Threads: any, at once. No lock is held over a call into another module, but for GnuTLS's hashes. */
#ifndef P2PTLS_TICKETS_H
#define P2PTLS_TICKETS_H

#include "identity.h"
#include "record.h"
#include "result.h"

#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TICKETS_EACH = 8,             /* of one place */
    TICKETS_ALL = 256,            /* in a process; the oldest gives way */
    TICKETS_BYTES = 512 << 10,    /* likewise, all together */
    TICKET_BYTES_MAX = 8192,      /* of one, with the peer's certificates: it travels in a ClientHello */
    TICKET_LIFETIME_S = 7200,     /* of a ticket, whatever the server says, and of a key */
    TICKETS_AWAITED = 8,          /* sessions of some 20 KiB that wait for a ticket */
    TICKETS_DUE = 64,             /* that were made and have not gone out */
    TICKETS_DUE_BYTES = 48 << 10, /* likewise, all together */
    TICKET_GIVE_UP = 3,           /* rejections in a row, after which a place gets no offer for a while */
    TICKET_GIVE_UP_MS = 600000,
    TICKET_PLACE_BYTES = 32,
};

/* Where a ticket is good: a digest of the identity, the rule, the address and the name that were dialled. */
struct ticket_place {
    uint8_t digest[TICKET_PLACE_BYTES];
};

/* rule: an address that stands for it as long as the process lives; peer: ADDRESS:PORT; name may be NULL. False:
 * GnuTLS has no memory. */
MUST_USE bool ticket_place_make(const struct identity *id, const void *rule, const char *peer, const char *name,
                                struct ticket_place *out);

/* One ticket: GnuTLS's session data, and what the peer showed when it was issued. One allocation, wiped when freed. */
struct ticket {
    size_t size;            /* of all */
    gnutls_datum_t session; /* gnutls_session_get_data2 */
    bool raw;               /* shown is one raw public key */
    unsigned count;         /* of shown */
    gnutls_datum_t shown[]; /* certificates, the leaf first */
};

/* NULL without memory, or where it would be larger than TICKET_BYTES_MAX. */
struct ticket *ticket_new(const gnutls_datum_t *session, const gnutls_datum_t *shown, unsigned count, bool raw);
void ticket_free(struct ticket *t); /* NULL is fine */

/* The newest ticket of a place that is still good: it is the caller's, and nobody else gets it again. NULL: none. */
struct ticket *tickets_take(const struct ticket_place *place);
/* Keeps one for lifetime_s seconds, at most TICKET_LIFETIME_S, and not beyond expires (0: no limit). Consumes t. */
void tickets_keep(const struct ticket_place *place, const struct identity *id, struct ticket *t, uint32_t lifetime_s,
                  time_t expires);
/* Is there room for one more of that place, and does its server take any? */
bool tickets_wanted(const struct ticket_place *place);
/* What became of an offer that was answered. */
void tickets_told(const struct ticket_place *place, bool accepted);
/* An identity goes: its tickets go with it. serial: identity_serial. */
void tickets_forget(uint64_t serial);

/* tickets_await.c. A client session whose handshake is over, until its ticket has come. Consumes session, which must
 * have no pointers to the caller's memory but what is replaced here (transport, hooks, session pointer). Returns its
 * number, or 0: there are TICKETS_AWAITED already, or no memory. */
uint64_t tickets_await(gnutls_session_t session, const struct ticket_place *place, const struct identity *id,
                       time_t expires);
/* One that stands for none: a ticket may come, and is not wanted. */
#define TICKET_FOR_NOBODY UINT64_MAX
/* A NewSessionTicket message (with its header) that came in the record before keys->seq, under these keys of the
 * peer's direction: keeps the ticket, and frees the session. False: it was no ticket that can be kept. */
bool tickets_arrived(uint64_t number, const struct record_keys *keys, const uint8_t *message, size_t len);
void tickets_await_no_more(uint64_t number); /* 0 is fine */
void tickets_await_none(void);               /* frees all that wait */

/* tickets_due.c. A NewSessionTicket message, wiped when it is freed. */
struct ticket_message {
    size_t len;
    uint8_t bytes[];
};
struct ticket_message *ticket_message_new(const uint8_t *bytes, size_t len); /* NULL without memory */
void ticket_message_free(struct ticket_message *m);                          /* NULL is fine */
/* Keeps a copy until it is taken, or too many others came after it. 0: m was NULL, or does not fit. */
uint64_t tickets_due_add(const struct ticket_message *m);
struct ticket_message *tickets_due_take(uint64_t number); /* NULL: it is not there any more */

/* tickets_key.c. The key of a service for what binding says, for gnutls_session_ticket_enable_server: of an identity's
 * own, random, made anew after TICKET_LIFETIME_S and after a fork. RESULT_OK, RESULT_NOMEM. */
enum { TICKET_KEY_BYTES = 64 };
MUST_USE enum result tickets_key(const struct identity *id, const uint8_t *binding, size_t len,
                                 uint8_t key[TICKET_KEY_BYTES]);
/* Counts forks: what was sealed in another generation is opened by nobody. */
uint64_t tickets_generation(void);

/* After fork(2), in both processes; nobody is inside. */
void tickets_forked(bool in_child);
void tickets_await_forked(bool in_child); /* called by it */
void tickets_due_forked(bool in_child);   /* likewise */
void tickets_key_forked(bool in_child);   /* likewise */

/* For tests: this module's clock goes ms forward; how many tickets there are. */
void tickets_clock_forward(int64_t ms);
int64_t tickets_now_ms(void);
size_t tickets_count(void);

#endif
