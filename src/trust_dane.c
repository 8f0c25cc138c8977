/* Does a peer fit the TLSA records of the name that was dialled? RFC 6698, and RFC 7671 on how to do it. */
#include "trust_internal.h"

#include <gnutls/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { USAGE_PKIX_TA = 0, USAGE_PKIX_EE, USAGE_DANE_TA, USAGE_DANE_EE };
enum { SELECT_CERTIFICATE = 0, SELECT_KEY };
enum { MATCH_FULL = 0, MATCH_SHA256, MATCH_SHA512 };

/* RFC 7671 section 9: of several digests of one usage and selector only the strongest counts. */
static bool is_outdone(const struct tlsa_set *set, const struct tlsa_record *r)
{
    for (unsigned i = 0; r->matching == MATCH_SHA256 && i < set->count; i++) {
        const struct tlsa_record *other = &set->records[i];
        if (other->usage == r->usage && other->selector == r->selector && other->matching == MATCH_SHA512)
            return true;
    }
    return false;
}

static bool bytes_match(const struct tlsa_set *set, const struct tlsa_record *r, const void *bytes, size_t len)
{
    uint8_t digest[64];
    const gnutls_digest_algorithm_t algorithm = r->matching == MATCH_SHA256 ? GNUTLS_DIG_SHA256 : GNUTLS_DIG_SHA512;

    if (r->matching != MATCH_FULL) {
        if (gnutls_hash_fast(algorithm, bytes, len, digest) < 0)
            return false;
        bytes = digest;
        len = gnutls_hash_get_len(algorithm);
    }
    return len == r->len && memcmp(bytes, set->bytes + r->at, len) == 0;
}

static bool certificate_matches(const struct tlsa_set *set, const struct tlsa_record *r, gnutls_x509_crt_t cert)
{
    struct secret_bytes key = {0};
    gnutls_datum_t der = {0};
    bool matches = false;

    if (r->selector == SELECT_KEY) {
        matches = identity_x509_spki(cert, &key) >= 0 && bytes_match(set, r, key.bytes, key.len);
        secret_wipe(&key);
        return matches;
    }
    if (gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_DER, &der) >= 0)
        matches = bytes_match(set, r, der.data, der.size);
    gnutls_free(der.data);
    return matches;
}

static bool leaf_matches(const struct tlsa_set *set, const struct tlsa_record *r, const struct shown_peer *shown)
{
    if (!shown->raw)
        return certificate_matches(set, r, shown->chain[0]);
    return r->selector == SELECT_KEY && bytes_match(set, r, shown->key.bytes, shown->key.len);
}

/* The certificates below it, judged with that one as their only CA. */
static bool verify_below(const struct trust_path *path, unsigned below, gnutls_x509_crt_t anchor)
{
    struct trust_path part = {.count = below};
    gnutls_x509_trust_list_t only;
    bool good = false;

    if (below == 0 || gnutls_x509_trust_list_init(&only, 0) < 0)
        return false;
    memcpy(part.certs, path->certs, below * sizeof part.certs[0]);
    if (gnutls_x509_trust_list_add_cas(only, &anchor, 1, 0) == 1)
        good = trust_path_verify(&part, only) == 0;
    gnutls_x509_trust_list_deinit(only, 0);
    return good;
}

/* RFC 7671 section 5.2.2: the trust anchor must be among what the peer shows, unless the record is all of it. */
static bool anchor_matches(const struct tlsa_set *set, const struct tlsa_record *r, const struct trust_path *shown)
{
    for (unsigned i = 1; i < shown->count; i++)
        if (certificate_matches(set, r, shown->certs[i]) && verify_below(shown, i, shown->certs[i]))
            return true;
    if (r->selector != SELECT_CERTIFICATE || r->matching != MATCH_FULL)
        return false;
    const gnutls_datum_t der = {(uint8_t *)set->bytes + r->at, r->len};
    gnutls_x509_crt_t cert;
    if (gnutls_x509_crt_init(&cert) < 0)
        return false;
    const bool good =
        gnutls_x509_crt_import(cert, &der, GNUTLS_X509_FMT_DER) >= 0 && verify_below(shown, shown->count, cert);
    gnutls_x509_crt_deinit(cert);
    return good;
}

static bool issuer_matches(const struct tlsa_set *set, const struct tlsa_record *r, const struct trust_path *path)
{
    for (unsigned i = 1; i < path->count; i++)
        if (certificate_matches(set, r, path->certs[i]))
            return true;
    return path->anchor && certificate_matches(set, r, path->anchor);
}

static bool record_matches(const struct tlsa_set *set, const struct tlsa_record *r, const struct shown_peer *shown,
                           const struct trust_path *path, const struct trust_path *unanchored, bool ca_trusted)
{
    switch (r->usage) {
    case USAGE_DANE_EE:
        return leaf_matches(set, r, shown);
    case USAGE_DANE_TA:
        return anchor_matches(set, r, unanchored);
    case USAGE_PKIX_EE:
        return ca_trusted && leaf_matches(set, r, shown);
    case USAGE_PKIX_TA:
        return ca_trusted && issuer_matches(set, r, path);
    default:
        return false;
    }
}

enum dane_match dane_match(const struct tlsa_set *set, const struct shown_peer *shown, const struct trust_path *path,
                           bool has_cas, bool ca_trusted, char reason[REASON_MAX])
{
    struct trust_path unanchored;
    enum dane_match found = DANE_NONE;
    unsigned usable = 0;

    trust_path_find(&unanchored, shown, NULL, false);
    for (unsigned i = 0; set && i < set->count; i++) {
        const struct tlsa_record *r = &set->records[i];
        if (is_outdone(set, r) || (r->usage <= USAGE_PKIX_EE && !has_cas))
            continue;
        usable++;
        if (!record_matches(set, r, shown, path, &unanchored, ca_trusted))
            continue;
        if (r->usage == USAGE_DANE_EE)
            return DANE_NAMELESS;
        found = DANE_NEEDS_NAME;
    }
    if (!set)
        snprintf(reason, REASON_MAX,
                 "cannot be proven by DANE, as an address was dialled: DANE is about names (docs/POLICY.md, dane=)");
    else if (usable == 0)
        snprintf(reason, REASON_MAX,
                 "has no TLSA record that could be used, as DNSSEC proves: publish one for the key %s",
                 shown->fingerprint);
    else
        snprintf(reason, REASON_MAX, "fits none of the %u TLSA records of its name%s: publish a new one for the key %s",
                 usable, set->count == TLSA_RECORDS_MAX ? " (more are not looked at)" : "", shown->fingerprint);
    return found;
}
