/* Trust expressions (docs/POLICY.md, trust=): which facts about a peer's identity, combined how, make it accepted.
 * Parsed with the policy, evaluated in each handshake. No GnuTLS. */
#ifndef P2PTLS_TRUST_H
#define P2PTLS_TRUST_H

#include "result.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A set of these is what is known of a peer (facts), or what an expression asks about (terms). */
enum trust_fact {
    TRUST_CA = 1,       /* a chain to an authority of ca= */
    TRUST_PINNED = 2,   /* the key is one of pin= */
    TRUST_KNOWN = 4,    /* the key is recorded in known-peers= */
    TRUST_DANE = 8,     /* a TLSA record matches */
    TRUST_REVOKED = 16, /* crl= or a stapled OCSP answer says revoked */
    TRUST_OWN = 32,     /* the per-user identity's own key */
};

struct trust_expression {
    uint8_t ops[64]; /* postfix */
    unsigned count;
    unsigned terms; /* set of enum trust_fact: what occurs in it */
};

/* RESULT_CONFIG: *bad_at is the offset of what is wrong, *expected what should stand there (static). */
MUST_USE enum result trust_parse(const char *text, size_t len, struct trust_expression *out, size_t *bad_at,
                                 const char **expected);

/* An empty expression accepts nobody. */
bool trust_evaluate(const struct trust_expression *e, unsigned facts);

/* Without trust=: every given term holds, and not revoked. No term at all: nobody. */
void trust_default(unsigned given_terms, struct trust_expression *out);

#endif
