/* The key schedule of the record layer: traffic secrets to keys, and KeyUpdate (RFC 8446 section 7). */
#include "bytes.h"
#include "record_internal.h"

enum { LABEL_MAX = 255, CONTEXT_MAX = 255 }; /* HkdfLabel, section 7.1; the label with its prefix */

/* Section 5.5 allows AES-GCM 2^24.5 records of full size under one key; half a bit is the margin. ChaCha20-Poly1305 is
 * bounded by the sequence number alone. */
static const struct suite_parts suites[] = {
    {SUITE_AES_128_GCM_SHA256, GNUTLS_CIPHER_AES_128_GCM, GNUTLS_MAC_SHA256, 16, 32, UINT64_C(1) << 24,
     "TLS_AES_128_GCM_SHA256"},
    {SUITE_AES_256_GCM_SHA384, GNUTLS_CIPHER_AES_256_GCM, GNUTLS_MAC_SHA384, 32, 48, UINT64_C(1) << 24,
     "TLS_AES_256_GCM_SHA384"},
    {SUITE_CHACHA20_POLY1305_SHA256, GNUTLS_CIPHER_CHACHA20_POLY1305, GNUTLS_MAC_SHA256, 32, 32, UINT64_C(1) << 60,
     "TLS_CHACHA20_POLY1305_SHA256"},
};

const struct suite_parts *record_suite_find(unsigned suite)
{
    for (size_t i = 0; i < sizeof suites / sizeof suites[0]; i++)
        if (suites[i].suite == suite)
            return &suites[i];
    return NULL;
}

const char *record_suite_name(unsigned suite)
{
    const struct suite_parts *parts = record_suite_find(suite);
    return parts ? parts->name : "?";
}

bool record_keys_valid(const struct record_keys *k)
{
    const struct suite_parts *parts = record_suite_find(k->suite);
    return parts && k->secret_len == parts->hash_len && k->epoch != 0;
}

uint64_t record_limit(enum record_suite suite)
{
    const struct suite_parts *parts = record_suite_find(suite);
    return parts ? parts->limit : 0;
}

/* Writes the HkdfLabel structure; 0 if a part does not fit. */
static size_t build_label(uint8_t info[2 + 1 + LABEL_MAX + 1 + CONTEXT_MAX], const char *label, const uint8_t *context,
                          size_t context_len, size_t out_len)
{
    static const char prefix[] = {'t', 'l', 's', '1', '3', ' '};
    size_t label_len = strlen(label), at = 0;

    if (sizeof prefix + label_len > LABEL_MAX || context_len > CONTEXT_MAX || out_len > UINT16_MAX)
        return 0;
    put_be16(info, (uint16_t)out_len);
    at += 2;
    info[at++] = (uint8_t)(sizeof prefix + label_len);
    memcpy(info + at, prefix, sizeof prefix);
    at += sizeof prefix;
    memcpy(info + at, label, label_len);
    at += label_len;
    info[at++] = (uint8_t)context_len;
    if (context_len)
        memcpy(info + at, context, context_len);
    return at + context_len;
}

enum result record_expand_label(enum record_suite suite, const uint8_t *secret, size_t secret_len, const char *label,
                                const uint8_t *context, size_t context_len, uint8_t *out, size_t out_len)
{
    const struct suite_parts *parts = record_suite_find(suite);
    uint8_t info[2 + 1 + LABEL_MAX + 1 + CONTEXT_MAX];

    if (!parts || secret_len != parts->hash_len)
        return RESULT_PROTOCOL;
    size_t info_len = build_label(info, label, context, context_len, out_len);
    if (!info_len)
        return RESULT_PROTOCOL;
    gnutls_datum_t key = {(unsigned char *)secret, (unsigned)secret_len}, data = {info, (unsigned)info_len};
    int rc = gnutls_hkdf_expand(parts->mac, &key, &data, out, out_len);
    wipe(info, sizeof info); /* the context of an exporter may be secret */
    if (rc < 0) {
        wipe(out, out_len);
        return rc == GNUTLS_E_MEMORY_ERROR ? RESULT_NOMEM : RESULT_PROTOCOL;
    }
    return RESULT_OK;
}

/* Fills *k from a secret; *k is wiped, and so invalid, on failure. */
static enum result derive(struct record_keys *k, const struct suite_parts *parts, const uint8_t *secret, uint32_t epoch)
{
    *k = (struct record_keys){.suite = (uint16_t)parts->suite, .secret_len = parts->hash_len, .epoch = epoch};
    memcpy(k->secret, secret, parts->hash_len);
    enum result r = record_expand_label(parts->suite, secret, parts->hash_len, "key", NULL, 0, k->key, parts->key_len);
    if (r == RESULT_OK)
        r = record_expand_label(parts->suite, secret, parts->hash_len, "iv", NULL, 0, k->iv, sizeof k->iv);
    if (r != RESULT_OK)
        wipe(k, sizeof *k);
    return r;
}

enum result record_keys_init(struct record_keys *k, enum record_suite suite, const uint8_t *secret, size_t len)
{
    const struct suite_parts *parts = record_suite_find(suite);

    if (!parts || len != parts->hash_len) {
        wipe(k, sizeof *k);
        return RESULT_PROTOCOL;
    }
    return derive(k, parts, secret, 1);
}

enum result record_keys_update(struct record_keys *k)
{
    struct record_keys next = {0};
    uint8_t secret[RECORD_SECRET_MAX];

    if (!record_keys_valid(k) || k->epoch == UINT32_MAX)
        return RESULT_PROTOCOL;
    const struct suite_parts *parts = record_suite_find(k->suite);
    enum result r =
        record_expand_label(parts->suite, k->secret, parts->hash_len, "traffic upd", NULL, 0, secret, parts->hash_len);
    if (r == RESULT_OK)
        r = derive(&next, parts, secret, k->epoch + 1);
    if (r == RESULT_OK)
        *k = next;
    wipe(secret, sizeof secret);
    wipe(&next, sizeof next);
    return r;
}

enum result record_exporter(enum record_suite suite, const uint8_t *exporter_secret, size_t secret_len,
                            const char *label, const uint8_t *context, size_t context_len, uint8_t *out, size_t out_len)
{
    const struct suite_parts *parts = record_suite_find(suite);
    uint8_t hash[RECORD_SECRET_MAX], derived[RECORD_SECRET_MAX];
    /* GnuTLS takes no NULL for nothing. */
    const uint8_t nothing = 0;

    if (!parts || !out_len)
        return RESULT_PROTOCOL;
    const gnutls_digest_algorithm_t digest = (gnutls_digest_algorithm_t)parts->mac;
    if (gnutls_hash_fast(digest, &nothing, 0, hash) < 0)
        return RESULT_NOMEM;
    enum result r =
        record_expand_label(suite, exporter_secret, secret_len, label, hash, parts->hash_len, derived, parts->hash_len);
    if (r == RESULT_OK && gnutls_hash_fast(digest, context_len ? context : &nothing, context_len, hash) < 0)
        r = RESULT_NOMEM;
    if (r == RESULT_OK)
        r = record_expand_label(suite, derived, parts->hash_len, "exporter", hash, parts->hash_len, out, out_len);
    wipe(derived, sizeof derived);
    wipe(hash, sizeof hash); /* of a context that may be secret */
    return r;
}
