/* What the suites are made of: shared by the key schedule and the record protection, nobody else's business. */
#ifndef P2PTLS_RECORD_INTERNAL_H
#define P2PTLS_RECORD_INTERNAL_H

#include "record.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

struct suite_parts {
    enum record_suite suite;
    gnutls_cipher_algorithm_t cipher;
    gnutls_mac_algorithm_t mac; /* of HKDF */
    uint16_t key_len;
    uint16_t hash_len;
    uint64_t limit;   /* records */
    const char *name; /* RFC 8446 section B.4 */
};

const struct suite_parts *record_suite_find(unsigned suite); /* NULL for any other number */

#endif
