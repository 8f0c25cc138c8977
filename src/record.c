/* Seals and opens TLS 1.3 records (RFC 8446 section 5) with GnuTLS's AEADs. */
#include "record.h"

#include "bytes.h"
#include "record_internal.h"

#include <endian.h>
#include <stdlib.h>

enum { NONCE_BYTES = 12, TYPE_BYTE = 1 };

/* RFC 8446 section 6. */
enum {
    ALERT_UNEXPECTED_MESSAGE = 10,
    ALERT_BAD_RECORD_MAC = 20,
    ALERT_RECORD_OVERFLOW = 22,
    ALERT_INTERNAL_ERROR = 80
};

static enum result cipher_result(int rc)
{
    if (rc >= 0)
        return RESULT_OK;
    return rc == GNUTLS_E_MEMORY_ERROR ? RESULT_NOMEM : RESULT_PROTOCOL;
}

static enum result cipher_new(struct record_cipher **out, gnutls_cipher_algorithm_t algorithm,
                              const gnutls_datum_t *key)
{
    struct record_cipher *c = calloc(1, sizeof *c);
    if (!c)
        return RESULT_NOMEM;
    enum result r = cipher_result(gnutls_aead_cipher_init(&c->handle, algorithm, key));
    if (r != RESULT_OK) {
        free(c);
        return r;
    }
    *out = c;
    return RESULT_OK;
}

/* A new handle for each key: gnutls_aead_cipher_set_key of GnuTLS 3.7.9 leaves AES-GCM on x86 with a wrong GHASH key,
 * since it encrypts the old one in place of the block of zeros; tags are then not those of any other implementation. */
enum result record_cipher_fit(struct record_cipher **c, const struct record_keys *k)
{
    if (!record_keys_valid(k))
        return RESULT_PROTOCOL;
    if (record_cipher_fits(*c, k))
        return RESULT_OK;

    const struct suite_parts *parts = record_suite_find(k->suite);
    gnutls_datum_t key = {(unsigned char *)k->key, parts->key_len};
    record_cipher_free(*c);
    *c = NULL;
    enum result r = cipher_new(c, parts->cipher, &key);
    if (r != RESULT_OK)
        return r;
    (*c)->suite = k->suite;
    (*c)->epoch = k->epoch;
    (*c)->limit = parts->limit;
    return RESULT_OK;
}

void record_cipher_free(struct record_cipher *c)
{
    if (!c)
        return;
    gnutls_aead_cipher_deinit(c->handle); /* wipes the key */
    free(c);
}

/* Section 5.3: the iv, with the sequence number over its last eight bytes. */
static void build_nonce(uint8_t nonce[NONCE_BYTES], const struct record_keys *k, uint64_t seq)
{
    uint64_t low;
    memcpy(nonce, k->iv, NONCE_BYTES);
    memcpy(&low, nonce + NONCE_BYTES - sizeof low, sizeof low);
    low ^= htobe64(seq);
    memcpy(nonce + NONCE_BYTES - sizeof low, &low, sizeof low);
}

static bool type_is_inner(unsigned type)
{
    return type == RECORD_ALERT || type == RECORD_HANDSHAKE || type == RECORD_APPLICATION_DATA;
}

static void put_header(uint8_t *out, size_t body_len)
{
    out[0] = RECORD_APPLICATION_DATA;
    put_be16(out + 1, 0x0303);
    put_be16(out + 3, (uint16_t)body_len);
}

/* The content is copied in front of its type byte and encrypted in place. gnutls_aead_cipher_encryptv would save the
 * copy, but costs as much or more (CPU seconds per GB, 16 KiB and 1 KiB records: AES-128 0.234 and 0.334 against 0.236
 * and 0.315 here, AES-256 0.272 and 0.383 against 0.251 and 0.347); encryptv2 is the slowest. */
enum result record_seal(struct record_cipher *c, const struct record_keys *k, uint64_t seq, enum record_type type,
                        const uint8_t *plain, size_t len, uint8_t *out, size_t *out_len)
{
    uint8_t nonce[NONCE_BYTES];
    size_t body_len = len + TYPE_BYTE + RECORD_TAG, sealed = len + TYPE_BYTE + RECORD_TAG;

    *out_len = 0;
    if (!record_cipher_fits(c, k) || seq == UINT64_MAX || len > RECORD_PLAIN_MAX || !type_is_inner(type) ||
        (len == 0 && type != RECORD_APPLICATION_DATA))
        return RESULT_PROTOCOL;
    uint8_t *body = out + RECORD_HEADER;
    if (len)
        memmove(body, plain, len);
    body[len] = (uint8_t)type;
    put_header(out, body_len);
    build_nonce(nonce, k, seq);
    int rc = gnutls_aead_cipher_encrypt(c->handle, nonce, NONCE_BYTES, out, RECORD_HEADER, RECORD_TAG, body,
                                        len + TYPE_BYTE, body, &sealed);
    wipe(nonce, sizeof nonce);
    if (rc < 0 || sealed != body_len) {
        wipe(body, body_len); /* the copy of the content */
        return rc == GNUTLS_E_MEMORY_ERROR ? RESULT_NOMEM : RESULT_PROTOCOL;
    }
    *out_len = RECORD_HEADER + body_len;
    return RESULT_OK;
}

enum result record_header(const uint8_t header[RECORD_HEADER], size_t *body_len)
{
    size_t len = be16(header + 3);

    if (header[0] != RECORD_APPLICATION_DATA || len < TYPE_BYTE + RECORD_TAG || len > RECORD_CIPHER_MAX)
        return RESULT_PROTOCOL;
    *body_len = len;
    return RESULT_OK;
}

/* 0 if record holds exactly one record that is worth decrypting, else the alert. */
static uint8_t check_outside(const uint8_t *record, size_t len)
{
    size_t body_len;

    if (len < RECORD_HEADER)
        return ALERT_INTERNAL_ERROR;
    if (record[0] != RECORD_APPLICATION_DATA)
        return ALERT_UNEXPECTED_MESSAGE;
    if (be16(record + 3) > RECORD_CIPHER_MAX)
        return ALERT_RECORD_OVERFLOW;
    if (record_header(record, &body_len) != RESULT_OK)
        return ALERT_BAD_RECORD_MAC;
    return len == RECORD_HEADER + body_len ? 0 : ALERT_INTERNAL_ERROR;
}

/* Finds the type behind the content and in front of the padding; 0 if it is allowed, else the alert. */
static uint8_t check_inside(const uint8_t *inner, size_t inner_len, size_t *content_len, enum record_type *type)
{
    if (inner_len > RECORD_PLAIN_MAX + TYPE_BYTE) /* section 5.4: padding does not stretch the limit */
        return ALERT_RECORD_OVERFLOW;
    size_t n = inner_len;
    while (n && inner[n - 1] == 0)
        n--;
    if (n == 0 || !type_is_inner(inner[n - 1]))
        return ALERT_UNEXPECTED_MESSAGE;
    if (n == TYPE_BYTE && inner[0] != RECORD_APPLICATION_DATA) /* section 5.4 */
        return ALERT_UNEXPECTED_MESSAGE;
    *content_len = n - TYPE_BYTE;
    *type = (enum record_type)inner[n - 1];
    return 0;
}

static uint8_t decrypt(struct record_cipher *c, const struct record_keys *k, const uint8_t *record, size_t body_len,
                       uint8_t *plain)
{
    uint8_t nonce[NONCE_BYTES], header[RECORD_HEADER];
    size_t inner_len = body_len - RECORD_TAG;

    memcpy(header, record, sizeof header);
    build_nonce(nonce, k, k->seq);
    int rc = gnutls_aead_cipher_decrypt(c->handle, nonce, NONCE_BYTES, header, RECORD_HEADER, RECORD_TAG,
                                        record + RECORD_HEADER, body_len, plain, &inner_len);
    wipe(nonce, sizeof nonce);
    return rc < 0 || inner_len != body_len - RECORD_TAG ? ALERT_BAD_RECORD_MAC : 0;
}

enum result record_open(struct record_cipher *c, const struct record_keys *k, const uint8_t *record, size_t len,
                        uint8_t *plain, size_t *plain_len, enum record_type *type, uint8_t *alert)
{
    *plain_len = 0;
    *type = RECORD_INVALID;
    *alert = record_cipher_fits(c, k) && k->seq != UINT64_MAX ? check_outside(record, len) : ALERT_INTERNAL_ERROR;
    if (*alert)
        return RESULT_PROTOCOL; /* plain has not been written */

    size_t inner_len = len - RECORD_HEADER - RECORD_TAG;
    *alert = decrypt(c, k, record, len - RECORD_HEADER, plain);
    if (!*alert)
        *alert = check_inside(plain, inner_len, plain_len, type);
    if (*alert) {
        wipe(plain, inner_len);
        return RESULT_PROTOCOL;
    }
    return RESULT_OK;
}
