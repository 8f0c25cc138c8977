/* The value of trust=: conditions on what is known about a peer, combined in words. Parsed once, evaluated at each
 * handshake. No GnuTLS; part of libp2ptls.so. */
#ifndef P2PTLS_TRUST_H
#define P2PTLS_TRUST_H

#include "result.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Facts about a peer, and the terms of an expression that ask for them. */
enum trust_fact {
    TRUST_CA = 1,       /* its certificate was issued by a CA of ca= */
    TRUST_PINNED = 2,   /* its key is one of pin= */
    TRUST_KNOWN = 4,    /* its key is the recorded one, or this is the first contact */
    TRUST_DANE = 8,     /* a TLSA record of its name fits */
    TRUST_REVOKED = 16, /* revoked, or it could not be found out that it is not */
    TRUST_OWN = 32,     /* its key is that of this side's own identity */
};

enum { TRUST_OPS_MAX = 64, TRUST_DEPTH_MAX = 16 };

/* Postfix. All zero: an empty expression, which nobody fulfils. */
struct trust_expression {
    uint8_t ops[TRUST_OPS_MAX];
    unsigned count;
    unsigned terms; /* set of enum trust_fact that occur */
};

/* EXPRESSION = AND { "or" AND };  AND = ITEM { "and" ITEM };  ITEM = "ca" | "pinned" | "known" | "dane" | "own" |
 * "not" "revoked" | "(" EXPRESSION ")". Words are separated by blanks. RESULT_CONFIG with the offset of the offending
 * word and what would fit there (static). What would trust a peer of whom nothing is known is refused as well. */
MUST_USE enum result trust_parse(const char *text, size_t len, struct trust_expression *out, size_t *bad_at,
                                 const char **expected);

/* Does it hold for this set of facts? */
bool trust_evaluate(const struct trust_expression *e, unsigned facts);

/* Without trust=: every given term must hold, and TRUST_REVOKED must not. */
void trust_default(unsigned given_terms, struct trust_expression *out);

#endif
