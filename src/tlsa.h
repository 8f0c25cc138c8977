/* TLSA records (RFC 6698) as DNSSEC has proven them. No GnuTLS; part of libp2ptls.so, which looks them up. */
#ifndef P2PTLS_TLSA_H
#define P2PTLS_TLSA_H

#include "result.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TLSA_RECORDS_MAX = 16, TLSA_BYTES_MAX = 4096 };

struct tlsa_record {
    uint8_t usage, selector, matching;
    uint16_t at, len; /* of the set's bytes */
};

/* Only what came with the AD bit of a trusted resolver goes in here. All zero: no records. */
struct tlsa_set {
    uint8_t count;
    uint16_t used;
    struct tlsa_record records[TLSA_RECORDS_MAX];
    uint8_t bytes[TLSA_BYTES_MAX];
};

/* One record's RDATA. False if it is malformed, unusable here (RFC 7671 section 4.1: unknown numbers, a digest of the
 * wrong length), or more than fits: then it is not in the set, and the others count. */
bool tlsa_add(struct tlsa_set *set, const uint8_t *rdata, size_t len);

/* How the embedder looks them up, without waiting. */
struct tlsa_lookup;
enum { TLSA_WHY_MAX = 300 };
struct tlsa_resolver {
    /* Asks for the records of a name and port; gives up at until_ms (CLOCK_MONOTONIC). NULL, with a sentence in why: it
     * cannot be asked. */
    struct tlsa_lookup *(*begin)(const char *name, uint16_t port, int64_t until_ms, char why[TLSA_WHY_MAX]);
    /* RESULT_AGAIN: not yet (ask again in some milliseconds). RESULT_OK: *set is what is proven, empty if it is that
     * there is none. Else nothing is proven, and why says what to do. */
    enum result (*ask)(struct tlsa_lookup *lookup, struct tlsa_set *set, char why[TLSA_WHY_MAX]);
    void (*end)(struct tlsa_lookup *lookup); /* at any time; NULL is fine */
};

#endif
