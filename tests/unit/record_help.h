/* Keys, hex and raw sealing for the tests of record protection. */
#ifndef TESTS_RECORD_HELP_H
#define TESTS_RECORD_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bytes.h"
#include "record.h"

#include <gnutls/crypto.h>
#include <stdlib.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

enum { ALERT_UNEXPECTED = 10, ALERT_MAC = 20, ALERT_OVERFLOW = 22, ALERT_INTERNAL = 80 };

static const struct {
    enum record_suite suite;
    size_t secret_len, key_len;
    gnutls_cipher_algorithm_t cipher;
} suites[] = {
    {SUITE_AES_128_GCM_SHA256, 32, 16, GNUTLS_CIPHER_AES_128_GCM},
    {SUITE_AES_256_GCM_SHA384, 48, 32, GNUTLS_CIPHER_AES_256_GCM},
    {SUITE_CHACHA20_POLY1305_SHA256, 32, 32, GNUTLS_CIPHER_CHACHA20_POLY1305},
};

/* Text of hex digits and blanks. */
static inline size_t unhex(const char *text, uint8_t *out, size_t room)
{
    size_t digits = 0;
    for (; *text; text++) {
        if (*text == ' ')
            continue;
        unsigned v = (unsigned)(*text <= '9' ? *text - '0' : *text - 'a' + 10);
        assert_true(v < 16 && digits / 2 < room);
        out[digits / 2] = (uint8_t)(digits % 2 ? out[digits / 2] << 4 | v : v);
        digits++;
    }
    assert_int_equal(digits % 2, 0);
    return digits / 2;
}

static inline void expect_hex(const uint8_t *got, size_t len, const char *text)
{
    uint8_t expected[512];
    assert_int_equal(unhex(text, expected, sizeof expected), len);
    assert_memory_equal(got, expected, len);
}

/* Keys from a secret that counts up from a first byte. */
static inline struct record_keys keys_of(size_t i, uint8_t first)
{
    struct record_keys k;
    uint8_t secret[RECORD_SECRET_MAX];
    for (size_t b = 0; b < sizeof secret; b++)
        secret[b] = (uint8_t)(first + b);
    assert_int_equal(record_keys_init(&k, suites[i].suite, secret, suites[i].secret_len), RESULT_OK);
    return k;
}

static inline struct record_cipher *cipher_of(const struct record_keys *k)
{
    struct record_cipher *c = NULL;
    assert_int_equal(record_cipher_fit(&c, k), RESULT_OK);
    assert_non_null(c);
    return c;
}

/* Seals any inner plaintext, which record_seal never would, straight on the AEAD. Returns the record's length. */
static inline size_t seal_raw(size_t suite, const struct record_keys *k, const uint8_t *inner, size_t len, uint8_t *out)
{
    gnutls_aead_cipher_hd_t h;
    gnutls_datum_t key = {(unsigned char *)k->key, (unsigned)suites[suite].key_len};
    uint8_t nonce[12];
    size_t sealed = len + 16;
    memcpy(nonce, k->iv, 12);
    for (int i = 0; i < 8; i++)
        nonce[4 + i] ^= (uint8_t)(k->seq >> (56 - 8 * i));
    out[0] = 23;
    put_be16(out + 1, 0x0303);
    put_be16(out + 3, (uint16_t)(len + 16));
    giovec_t header = {out, 5}, body = {(void *)inner, len};
    assert_int_equal(gnutls_aead_cipher_init(&h, suites[suite].cipher, &key), 0);
    assert_int_equal(gnutls_aead_cipher_encryptv(h, nonce, 12, &header, 1, 16, &body, 1, out + 5, &sealed), 0);
    gnutls_aead_cipher_deinit(h);
    return 5 + sealed;
}

struct opened {
    enum result result;
    enum record_type type;
    size_t len;
    uint8_t alert;
    uint8_t plain[RECORD_CIPHER_MAX];
};

/* Opens from an allocation of the exact size into one of the exact size, then in place, and demands the same. */
static inline void open_both_ways(struct record_cipher *c, const struct record_keys *k, const uint8_t *record,
                                  size_t len, struct opened *o)
{
    size_t inner = len > RECORD_OVERHEAD ? record_room(k, len - RECORD_OVERHEAD) : 0, len2;
    uint8_t *copy = malloc(len ? len : 1), *plain = malloc(inner ? inner : 1), alert2;
    enum record_type type2;
    assert_non_null(copy);
    assert_non_null(plain);
    memcpy(copy, record, len);
    memset(plain, 0, inner);
    o->result = record_open(c, k, copy, len, plain, &o->len, &o->type, &o->alert);
    if (o->result == RESULT_OK)
        memcpy(o->plain, plain, o->len);
    else
        for (size_t i = 0; i < inner; i++)
            assert_int_equal(plain[i], 0); /* nothing of an unproven record is left */
    assert_int_equal(record_open(c, k, copy, len, copy + (len < 5 ? len : 5), &len2, &type2, &alert2), o->result);
    assert_true(len2 == o->len && type2 == o->type && alert2 == o->alert);
    if (o->result == RESULT_OK)
        assert_memory_equal(copy + 5, o->plain, o->len);
    free(copy);
    free(plain);
}

/* RFC 8448 section 3 */
#define CLIENT_HS "b3eddb126e067f35a780b3abf45e2d8f3b1a950738f52e9600746a0e27a55a21"
#define SERVER_HS "b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38"
#define CLIENT_AP "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5"
#define SERVER_AP "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643"

static inline struct record_keys rfc8448_keys(const char *secret_hex)
{
    struct record_keys k;
    uint8_t secret[32];
    assert_int_equal(unhex(secret_hex, secret, sizeof secret), 32);
    assert_int_equal(record_keys_init(&k, SUITE_AES_128_GCM_SHA256, secret, 32), RESULT_OK);
    return k;
}

#endif
