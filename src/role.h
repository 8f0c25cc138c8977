/* The tie-breaker of peer-to-peer TLS: who becomes client, who server (docs/PROTOCOL.md). Pure arithmetic. */
#ifndef P2PTLS_ROLE_H
#define P2PTLS_ROLE_H

#include "result.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ROLE_VALUE_BYTES = 16 };

/* TLS ExtensionType of p2p_role, from the private-use range 0xff00 to 0xffff (RFC 8446 section 11). */
enum { P2P_ROLE_EXTENSION = 0xffa2 };

/* Sets of TLS roles that one side may take. PEER is both. The empty set is a configuration error. */
enum role_set {
    ROLE_NONE = 0,
    ROLE_CLIENT = 1,
    ROLE_SERVER = 2,
    ROLE_PEER = 3,
};

enum role_prefer {
    PREFER_NONE = 0,
    PREFER_CLIENT, /* highest byte all zeros */
    PREFER_SERVER, /* highest byte all ones */
};

/* Unsigned, big-endian. All zero: this sender can only be client. All ones: only server. */
struct role_value {
    uint8_t bytes[ROLE_VALUE_BYTES];
};

/* Fills out with n random bytes; false if no randomness is to be had. Tests inject their own. */
struct random_source {
    bool (*fill)(void *ctx, uint8_t *out, size_t n);
    void *ctx;
};

/* The roles that this side may really take: local cut by the mirror of remote (a remote client needs a local
 * server). ROLE_NONE means that the two sets cannot meet. */
enum role_set role_effective(enum role_set local, enum role_set remote);

/* The value to send: the reserved ones for CLIENT and SERVER, else random and never reserved.
 * RESULT_CONFIG for ROLE_NONE, RESULT_IO if the source fails. */
MUST_USE enum result role_draw(enum role_set effective, enum role_prefer prefer, struct random_source source,
                               struct role_value *out);

bool role_value_is_min(const struct role_value *v);
bool role_value_is_max(const struct role_value *v);
int role_value_compare(const struct role_value *a, const struct role_value *b); /* <0, 0, >0 as memcmp */

enum role_outcome {
    OUTCOME_REFUSE = 0, /* handshake_failure */
    OUTCOME_CLIENT,     /* go on as client with the hello that was sent */
    OUTCOME_SERVER,     /* drop the own hello (if one was sent) and answer the other */
    OUTCOME_SEND_HELLO, /* the other can only be server: send the own hello now, then be client */
};

/* What a side does with the first ClientHello that it reads.
 * own: the value drawn by this side; own_sent: its hello has left; effective: its role set, as in role_draw;
 * waits: it was told (or, as acceptor in role server, made) to wait for the other's hello;
 * theirs: the value in the hello that came, NULL if it had no p2p_role extension. */
enum role_outcome role_judge(enum role_set effective, const struct role_value *own, bool own_sent, bool waits,
                             const struct role_value *theirs);

#endif
