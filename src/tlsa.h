/* TLSA records (RFC 6698) as DNSSEC has proven them. No GnuTLS; part of libp2ptls.so, which looks them up. */
#ifndef P2PTLS_TLSA_H
#define P2PTLS_TLSA_H

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

#endif
