/* Record protection: RFC 8448's trace, round trips at the boundaries, and every way in which a record is refused. */
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
static size_t unhex(const char *text, uint8_t *out, size_t room)
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

static void expect_hex(const uint8_t *got, size_t len, const char *text)
{
    uint8_t expected[512];
    assert_int_equal(unhex(text, expected, sizeof expected), len);
    assert_memory_equal(got, expected, len);
}

/* Keys from a secret that counts up from a first byte. */
static struct record_keys keys_of(size_t i, uint8_t first)
{
    struct record_keys k;
    uint8_t secret[RECORD_SECRET_MAX];
    for (size_t b = 0; b < sizeof secret; b++)
        secret[b] = (uint8_t)(first + b);
    assert_int_equal(record_keys_init(&k, suites[i].suite, secret, suites[i].secret_len), RESULT_OK);
    return k;
}

static struct record_cipher *cipher_of(const struct record_keys *k)
{
    struct record_cipher *c = NULL;
    assert_int_equal(record_cipher_fit(&c, k), RESULT_OK);
    assert_non_null(c);
    return c;
}

/* Seals any inner plaintext, which record_seal never would, straight on the AEAD. Returns the record's length. */
static size_t seal_raw(size_t suite, const struct record_keys *k, const uint8_t *inner, size_t len, uint8_t *out)
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
static void open_both_ways(struct record_cipher *c, const struct record_keys *k, const uint8_t *record, size_t len,
                           struct opened *o)
{
    size_t inner = len > 21 ? len - 21 : 0, len2;
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

static struct record_keys rfc8448_keys(const char *secret_hex)
{
    struct record_keys k;
    uint8_t secret[32];
    assert_int_equal(unhex(secret_hex, secret, sizeof secret), 32);
    assert_int_equal(record_keys_init(&k, SUITE_AES_128_GCM_SHA256, secret, 32), RESULT_OK);
    return k;
}

static void rfc8448_keys_come_out(void **state)
{
    static const struct {
        const char *secret, *key, *iv;
    } table[] = {
        {CLIENT_HS, "dbfaa693d1762c5b666af5d950258d01", "5bd3c71b836e0b76bb73265f"},
        {SERVER_HS, "3fce516009c21727d0f2e4e86ee403bc", "5d313eb2671276ee13000b30"},
        {CLIENT_AP, "17422dda596ed5d9acd890e3c63f5051", "5b78923dee08579033e523d9"},
        {SERVER_AP, "9f02283b6c9c07efc26bb9f2ac92e356", "cf782b88dd83549aadf1e984"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        struct record_keys k = rfc8448_keys(table[i].secret);
        expect_hex(k.key, 16, table[i].key);
        expect_hex(k.iv, 12, table[i].iv);
        assert_true(record_keys_valid(&k));
        assert_true(k.seq == 0 && k.epoch == 1);
    }
}

static void rfc8448_records_open_and_seal_to_the_same_bytes(void **state)
{
#define COUNTING "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031"
    static const struct {
        const char *secret;
        uint64_t seq;
        enum record_type type;
        const char *plain, *record;
    } table[] = {
        {CLIENT_AP, 0, RECORD_APPLICATION_DATA, COUNTING,
         "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a20441e2b62974e1f5a629"
         "2a2"
         "977014bd1e3deae63aeebb21694915e4"},
        {SERVER_AP, 1, RECORD_APPLICATION_DATA, COUNTING,
         "17030300432e937e11ef4ac740e538ad36005fc4a46932fc3225d05f82aa1b36e30efaf97d90e6dffc602dcb501a59a8fcc49c4bf2e5f"
         "0a2"
         "1c0047c2abf332540dd032e167c2955d"},
        {CLIENT_AP, 1, RECORD_ALERT, "0100", "1703030013c9872760655666b74d7ff1153efd6db6d0b0e3"},
        {SERVER_AP, 2, RECORD_ALERT, "0100", "1703030013b58fd67166ebf599d24720cfbe7efa7a8864a9"},
        {CLIENT_HS, 0, RECORD_HANDSHAKE, "14000020a8ec436d677634ae525ac1fcebe11a039ec17694fac6e98527b642f2edd5ce61",
         "170303003575ec4dc238cce60b298044a71e219c56cc77b0517fe9b93c7a4bfc44d87f38f80338ac98fc46deb384bd1caeacab6867d72"
         "6c4"
         "0546"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        struct record_keys k = rfc8448_keys(table[i].secret);
        struct record_cipher *c = cipher_of(&k);
        struct opened o;
        uint8_t record[128], sealed[128];
        size_t len = unhex(table[i].record, record, sizeof record), sealed_len;
        k.seq = table[i].seq;
        open_both_ways(c, &k, record, len, &o);
        assert_int_equal(o.result, RESULT_OK);
        assert_int_equal(o.type, table[i].type);
        expect_hex(o.plain, o.len, table[i].plain);
        assert_int_equal(record_seal(c, &k, k.seq, o.type, o.plain, o.len, sealed, &sealed_len), RESULT_OK);
        assert_int_equal(sealed_len, len);
        assert_memory_equal(sealed, record, len);
        record_cipher_free(c);
    }
}

static void expand_label_gives_rfc8448_finished_key(void **state)
{
    uint8_t secret[32], out[32];
    (void)state;
    unhex(SERVER_HS, secret, sizeof secret);
    assert_int_equal(record_expand_label(SUITE_AES_128_GCM_SHA256, secret, 32, "finished", NULL, 0, out, 32),
                     RESULT_OK);
    expect_hex(out, 32, "008d3b66f816ea559f96b537e885c31fc068bf492c652f01f288a1d8cdc19fc8");
}

/* The resumption secret of RFC 8448 section 4: a label with a context. */
static void expand_label_takes_a_context(void **state)
{
    static const uint8_t nonce[] = {0, 0};
    uint8_t secret[32], out[32];
    (void)state;
    unhex("7df235f2031d2a051287d02b0241b0bfdaf86cc856231f2d5aba46c434ec196c", secret, sizeof secret);
    assert_int_equal(record_expand_label(SUITE_AES_128_GCM_SHA256, secret, 32, "resumption", nonce, 2, out, 32),
                     RESULT_OK);
    expect_hex(out, 32, "4ecd0eb6ec3b4d87f5d6028f922ca4c5851a277fd41311c9e62d2c9492e1c4f3");
}

static void expand_label_refuses_what_does_not_fit(void **state)
{
    uint8_t secret[48] = {1}, out[300], context[256] = {0};
    char label[251];
    (void)state;
    memset(label, 'l', sizeof label);
    label[250] = 0;
    const enum record_suite s = SUITE_AES_128_GCM_SHA256;
    assert_int_equal(record_expand_label(s, secret, 32, label + 1, context, 255, out, 300), RESULT_OK);
    assert_int_equal(record_expand_label(s, secret, 32, label, context, 255, out, 300), RESULT_PROTOCOL);
    assert_int_equal(record_expand_label(s, secret, 32, label + 1, context, 256, out, 300), RESULT_PROTOCOL);
    assert_int_equal(record_expand_label(s, secret, 31, "key", NULL, 0, out, 16), RESULT_PROTOCOL);
    assert_int_equal(record_expand_label(s, secret, 48, "key", NULL, 0, out, 16), RESULT_PROTOCOL);
    assert_int_equal(record_expand_label((enum record_suite)0x1304, secret, 32, "key", NULL, 0, out, 16),
                     RESULT_PROTOCOL);
}

static void keys_are_made_only_for_the_three_suites_and_their_secret_lengths(void **state)
{
    uint8_t secret[64] = {1};
    (void)state;
    for (unsigned suite = 0x12ff; suite <= 0x1305; suite++)
        for (size_t len = 0; len <= sizeof secret; len++) {
            struct record_keys k;
            memset(&k, 0xaa, sizeof k);
            bool good = (suite == 0x1302 && len == 48) || ((suite == 0x1301 || suite == 0x1303) && len == 32);
            assert_int_equal(record_keys_init(&k, (enum record_suite)suite, secret, len),
                             good ? RESULT_OK : RESULT_PROTOCOL);
            assert_int_equal(record_keys_valid(&k), good);
        }
}

/* Bytes from shared memory that a hostile holder wrote. */
static void broken_keys_are_noticed(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(suites); i++) {
        struct record_keys good = keys_of(i, 1), k;
        struct record_cipher *c = NULL;
        k = good;
        k.suite = 0x1304;
        assert_false(record_keys_valid(&k));
        assert_int_equal(record_keys_update(&k), RESULT_PROTOCOL);
        assert_int_equal(record_cipher_fit(&c, &k), RESULT_PROTOCOL);
        k = good;
        k.secret_len = 0xffff;
        assert_false(record_keys_valid(&k));
        assert_int_equal(record_keys_update(&k), RESULT_PROTOCOL);
        assert_int_equal(record_cipher_fit(&c, &k), RESULT_PROTOCOL);
        k = good;
        k.epoch = 0;
        assert_false(record_keys_valid(&k));
        k.epoch = UINT32_MAX; /* would wrap to an epoch that a process may still have a handle of */
        assert_int_equal(record_keys_update(&k), RESULT_PROTOCOL);
        assert_null(c);
    }
}

static void limits_keep_a_margin_to_the_bound_of_the_cipher(void **state)
{
    (void)state;
    assert_in_range(record_limit(SUITE_AES_128_GCM_SHA256), 1 << 20, 23726566 - 1); /* 2^24.5 */
    assert_in_range(record_limit(SUITE_AES_256_GCM_SHA384), 1 << 20, 23726566 - 1);
    assert_true(record_limit(SUITE_CHACHA20_POLY1305_SHA256) > UINT64_C(1) << 32);
    assert_true(record_limit(SUITE_CHACHA20_POLY1305_SHA256) < UINT64_MAX);
    assert_int_equal(record_limit((enum record_suite)0), 0);
}

static void update_derives_the_next_secret_with_traffic_upd(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(suites); i++) {
        struct record_keys k = keys_of(i, 1), before;
        uint8_t expected[RECORD_SECRET_MAX];
        k.seq = 77;
        before = k;
        assert_int_equal(record_expand_label(suites[i].suite, k.secret, suites[i].secret_len, "traffic upd", NULL, 0,
                                             expected, suites[i].secret_len),
                         RESULT_OK);
        assert_int_equal(record_keys_update(&k), RESULT_OK);
        assert_memory_equal(k.secret, expected, suites[i].secret_len);
        assert_true(k.seq == 0 && k.epoch == 2 && k.suite == before.suite);
        struct record_keys fresh;
        assert_int_equal(record_keys_init(&fresh, suites[i].suite, expected, suites[i].secret_len), RESULT_OK);
        assert_memory_equal(k.key, fresh.key, sizeof k.key);
        assert_memory_equal(k.iv, fresh.iv, sizeof k.iv);
        assert_memory_not_equal(k.key, before.key, suites[i].key_len);
        assert_memory_not_equal(k.iv, before.iv, sizeof k.iv);
    }
}

static void handles_follow_suite_and_epoch(void **state)
{
    static const uint8_t text[] = "the same text";
    (void)state;
    struct record_cipher *c = NULL;
    for (size_t round = 0; round < 9; round++) { /* through all suites, each re-keyed twice */
        struct record_keys k = keys_of(round / 3, 1), stale;
        for (size_t updates = round % 3; updates; updates--)
            assert_int_equal(record_keys_update(&k), RESULT_OK);
        stale = k;
        stale.epoch++;
        uint8_t a[64], b[64];
        size_t a_len, b_len;
        assert_int_equal(record_cipher_fit(&c, &k), RESULT_OK);
        struct record_cipher *same = c, *other = cipher_of(&k);
        assert_int_equal(record_cipher_fit(&c, &k), RESULT_OK);
        assert_ptr_equal(c, same);
        assert_int_equal(record_seal(c, &k, 5, RECORD_APPLICATION_DATA, text, sizeof text, a, &a_len), RESULT_OK);
        assert_int_equal(record_seal(other, &k, 5, RECORD_APPLICATION_DATA, text, sizeof text, b, &b_len), RESULT_OK);
        assert_int_equal(a_len, b_len);
        assert_memory_equal(a, b, a_len);
        assert_int_equal(record_seal(c, &stale, 5, RECORD_APPLICATION_DATA, text, sizeof text, a, &a_len),
                         RESULT_PROTOCOL);
        record_cipher_free(other);
    }
    record_cipher_free(c);
    record_cipher_free(NULL);
}

static void round_trips_at_the_boundaries(void **state)
{
    static const size_t lens[] = {0, 1, 2, 15, 16, 17, 255, 256, 1024, 16383, 16384};
    static const enum record_type types[] = {RECORD_APPLICATION_DATA, RECORD_HANDSHAKE, RECORD_ALERT};
    static uint8_t text[RECORD_PLAIN_MAX];
    struct opened o;
    (void)state;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)(i % 3 ? i * 7 : 0); /* ends with zeros, too, at some lengths: no padding */
    for (size_t i = 0; i < COUNT(suites); i++)
        for (size_t l = 0; l < COUNT(lens); l++)
            for (size_t t = 0; t < COUNT(types); t++) {
                struct record_keys k = keys_of(i, 1);
                struct record_cipher *c = cipher_of(&k);
                uint8_t *out = malloc(lens[l] + RECORD_OVERHEAD);
                size_t len;
                k.seq = 3;
                assert_non_null(out);
                enum result r = record_seal(c, &k, 3, types[t], text, lens[l], out, &len);
                assert_int_equal(r, lens[l] || t == 0 ? RESULT_OK : RESULT_PROTOCOL);
                if (r == RESULT_OK) {
                    assert_int_equal(len, lens[l] + RECORD_OVERHEAD);
                    open_both_ways(c, &k, out, len, &o);
                    assert_int_equal(o.result, RESULT_OK);
                    assert_true(o.type == types[t] && o.len == lens[l]);
                    assert_memory_equal(o.plain, text, lens[l]);
                }
                free(out);
                record_cipher_free(c);
            }
}

static void plaintext_may_lie_in_the_output(void **state)
{
    (void)state;
    for (size_t offset = 0; offset <= RECORD_OVERHEAD; offset++) {
        struct record_keys k = keys_of(0, 1);
        struct record_cipher *c = cipher_of(&k);
        uint8_t text[100], out[100 + RECORD_OVERHEAD];
        struct opened o;
        size_t len;
        for (size_t i = 0; i < sizeof text; i++)
            text[i] = (uint8_t)(i + 1);
        memcpy(out + offset, text, sizeof text);
        assert_int_equal(record_seal(c, &k, 0, RECORD_APPLICATION_DATA, out + offset, sizeof text, out, &len),
                         RESULT_OK);
        open_both_ways(c, &k, out, len, &o);
        assert_int_equal(o.result, RESULT_OK);
        assert_memory_equal(o.plain, text, sizeof text);
        record_cipher_free(c);
    }
}

static void sequence_numbers_bind_and_never_wrap(void **state)
{
    static const uint64_t seqs[] = {0, 1, 255, 256, UINT32_MAX, UINT64_C(1) << 32, UINT64_C(1) << 56, UINT64_MAX - 1};
    static const uint8_t text[] = "numbered";
    (void)state;
    for (size_t i = 0; i < COUNT(suites); i++) {
        struct record_keys k = keys_of(i, 1);
        struct record_cipher *c = cipher_of(&k);
        uint8_t out[64];
        struct opened o;
        size_t len;
        for (size_t s = 0; s < COUNT(seqs); s++) {
            assert_int_equal(record_seal(c, &k, seqs[s], RECORD_APPLICATION_DATA, text, sizeof text, out, &len),
                             RESULT_OK);
            for (size_t q = 0; q < COUNT(seqs); q++) {
                k.seq = seqs[q];
                open_both_ways(c, &k, out, len, &o);
                assert_int_equal(o.result, q == s ? RESULT_OK : RESULT_PROTOCOL);
                assert_int_equal(o.alert, q == s ? 0 : ALERT_MAC);
            }
        }
        k.seq = UINT64_MAX; /* rightly sealed by the peer, but there is no number behind it */
        static const uint8_t inner[] = {'x', 23};
        len = seal_raw(i, &k, inner, sizeof inner, out);
        open_both_ways(c, &k, out, len, &o);
        assert_int_equal(o.result, RESULT_PROTOCOL);
        assert_int_equal(o.alert, ALERT_INTERNAL);
        assert_int_equal(record_seal(c, &k, UINT64_MAX, RECORD_APPLICATION_DATA, text, sizeof text, out, &len),
                         RESULT_PROTOCOL);
        assert_int_equal(len, 0);
        record_cipher_free(c);
    }
}

static void seal_refuses_wrong_types_and_lengths(void **state)
{
    static uint8_t text[RECORD_PLAIN_MAX + 1], out[RECORD_PLAIN_MAX + 1 + RECORD_OVERHEAD];
    struct record_keys k = keys_of(0, 1);
    struct record_cipher *c = cipher_of(&k);
    size_t len;
    (void)state;
    for (unsigned type = 0; type < 256; type++)
        assert_int_equal(record_seal(c, &k, 0, (enum record_type)type, text, 1, out, &len),
                         type >= 21 && type <= 23 ? RESULT_OK : RESULT_PROTOCOL);
    assert_int_equal(record_seal(c, &k, 0, RECORD_APPLICATION_DATA, text, RECORD_PLAIN_MAX + 1, out, &len),
                     RESULT_PROTOCOL);
    assert_int_equal(record_seal(c, &k, 0, RECORD_APPLICATION_DATA, text, SIZE_MAX, out, &len), RESULT_PROTOCOL);
    assert_int_equal(record_seal(NULL, &k, 0, RECORD_APPLICATION_DATA, text, 1, out, &len), RESULT_PROTOCOL);
    record_cipher_free(c);
}

static void a_flipped_bit_anywhere_is_refused(void **state)
{
    static const uint8_t text[] = "a short record";
    (void)state;
    for (size_t i = 0; i < COUNT(suites); i++) {
        struct record_keys k = keys_of(i, 1);
        struct record_cipher *c = cipher_of(&k);
        uint8_t out[64];
        struct opened o;
        size_t len;
        assert_int_equal(record_seal(c, &k, 0, RECORD_APPLICATION_DATA, text, sizeof text, out, &len), RESULT_OK);
        for (size_t bit = 0; bit < len * 8; bit++) {
            out[bit / 8] ^= (uint8_t)(1 << bit % 8);
            open_both_ways(c, &k, out, len, &o);
            assert_int_equal(o.result, RESULT_PROTOCOL);
            assert_true(o.len == 0 && o.type == RECORD_INVALID);
            if (bit >= 40 || (bit >= 8 && bit < 24))
                assert_int_equal(o.alert, ALERT_MAC); /* the header is authenticated, its ignored version too */
            out[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        open_both_ways(c, &k, out, len, &o);
        assert_int_equal(o.result, RESULT_OK);
        record_cipher_free(c);
    }
}

static void truncated_records_are_refused_at_every_length(void **state)
{
    static const uint8_t text[] = "a short record";
    struct record_keys k = keys_of(0, 1);
    struct record_cipher *c = cipher_of(&k);
    uint8_t out[64];
    struct opened o;
    size_t len;
    (void)state;
    assert_int_equal(record_seal(c, &k, 0, RECORD_APPLICATION_DATA, text, sizeof text, out, &len), RESULT_OK);
    for (size_t n = 0; n < len; n++) {
        open_both_ways(c, &k, out, n, &o); /* the header promises more than there is */
        assert_int_equal(o.result, RESULT_PROTOCOL);
        if (n < 5)
            continue;
        uint8_t cut[64];
        memcpy(cut, out, n);
        put_be16(cut + 3, (uint16_t)(n - 5));
        open_both_ways(c, &k, cut, n, &o); /* the header agrees */
        assert_int_equal(o.result, RESULT_PROTOCOL);
        assert_int_equal(o.alert, ALERT_MAC);
    }
    record_cipher_free(c);
}

static void inner_plaintexts_are_judged(void **state)
{
    static const struct {
        size_t content, zeros;
        unsigned type;
        uint8_t alert; /* 0: good */
    } table[] = {
        {5, 0, 23, 0},
        {5, 1, 23, 0}, /* padding */
        {5, 1000, 22, 0},
        {0, 0, 23, 0}, /* empty application data, as cover traffic */
        {0, 300, 23, 0},
        {16384, 0, 23, 0},
        {0, 16384, 23, 0},
        {16383, 1, 21, 0},
        {16384, 1, 23, ALERT_OVERFLOW}, /* section 5.4: padding does not stretch the limit */
        {16385, 0, 23, ALERT_OVERFLOW},
        {1, 16384, 23, ALERT_OVERFLOW},
        {16384, 239, 23, ALERT_OVERFLOW}, /* the largest TLSCiphertext */
        {0, 0, 22, ALERT_UNEXPECTED},     /* section 5.4: no empty handshake or alert */
        {0, 9, 21, ALERT_UNEXPECTED},
        {5, 0, 20, ALERT_UNEXPECTED}, /* change_cipher_spec is never protected */
        {5, 0, 24, ALERT_UNEXPECTED},
        {5, 3, 255, ALERT_UNEXPECTED},
        {0, 0, 0, ALERT_UNEXPECTED}, /* all zeros: no type */
        {0, 700, 0, ALERT_UNEXPECTED},
        {0, 16384, 0, ALERT_UNEXPECTED},
    };
    static uint8_t inner[RECORD_CIPHER_MAX], record[RECORD_WIRE_MAX];
    struct opened o;
    (void)state;
    for (size_t i = 0; i < COUNT(suites); i++)
        for (size_t row = 0; row < COUNT(table); row++) {
            struct record_keys k = keys_of(i, 1);
            struct record_cipher *c = cipher_of(&k);
            k.seq = row;
            memset(inner, 0, sizeof inner);
            memset(inner, 'c', table[row].content);
            inner[table[row].content] = (uint8_t)table[row].type;
            size_t len = seal_raw(i, &k, inner, table[row].content + 1 + table[row].zeros, record);
            open_both_ways(c, &k, record, len, &o);
            assert_int_equal(o.alert, table[row].alert);
            assert_int_equal(o.result, table[row].alert ? RESULT_PROTOCOL : RESULT_OK);
            if (!table[row].alert) {
                assert_true(o.type == table[row].type && o.len == table[row].content);
                assert_memory_equal(o.plain, inner, o.len);
            }
            record_cipher_free(c);
        }
}

static void headers_promise_a_bounded_body(void **state)
{
    static const struct {
        uint8_t header[5];
        size_t body; /* 0: refused */
        uint8_t alert;
    } table[] = {
        {{23, 3, 3, 0, 17}, 17, 0},
        {{23, 0, 0, 0x41, 0}, 16640, 0},
        {{23, 3, 3, 0, 16}, 0, ALERT_MAC},
        {{23, 3, 3, 0, 0}, 0, ALERT_MAC},
        {{23, 3, 3, 0x41, 1}, 0, ALERT_OVERFLOW},
        {{23, 3, 3, 0xff, 0xff}, 0, ALERT_OVERFLOW},
        {{20, 3, 3, 0, 1}, 0, ALERT_UNEXPECTED},
        {{21, 3, 3, 0, 19}, 0, ALERT_UNEXPECTED},
        {{22, 3, 3, 0, 19}, 0, ALERT_UNEXPECTED},
        {{'G', 'E', 'T', ' ', '/'}, 0, ALERT_UNEXPECTED},
    };
    static uint8_t record[5 + 0xffff];
    struct record_keys k = keys_of(0, 1);
    struct record_cipher *c = cipher_of(&k);
    struct opened o;
    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        size_t body = 0;
        assert_int_equal(record_header(table[i].header, &body), table[i].body ? RESULT_OK : RESULT_PROTOCOL);
        assert_int_equal(body, table[i].body);
        if (table[i].body)
            continue;
        memcpy(record, table[i].header, 5);
        open_both_ways(c, &k, record, 5U + be16(record + 3), &o);
        assert_int_equal(o.result, RESULT_PROTOCOL);
        assert_int_equal(o.alert, table[i].alert);
    }
    record_cipher_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc8448_keys_come_out),
        cmocka_unit_test(rfc8448_records_open_and_seal_to_the_same_bytes),
        cmocka_unit_test(expand_label_gives_rfc8448_finished_key),
        cmocka_unit_test(expand_label_takes_a_context),
        cmocka_unit_test(expand_label_refuses_what_does_not_fit),
        cmocka_unit_test(keys_are_made_only_for_the_three_suites_and_their_secret_lengths),
        cmocka_unit_test(broken_keys_are_noticed),
        cmocka_unit_test(limits_keep_a_margin_to_the_bound_of_the_cipher),
        cmocka_unit_test(update_derives_the_next_secret_with_traffic_upd),
        cmocka_unit_test(handles_follow_suite_and_epoch),
        cmocka_unit_test(round_trips_at_the_boundaries),
        cmocka_unit_test(plaintext_may_lie_in_the_output),
        cmocka_unit_test(sequence_numbers_bind_and_never_wrap),
        cmocka_unit_test(seal_refuses_wrong_types_and_lengths),
        cmocka_unit_test(a_flipped_bit_anywhere_is_refused),
        cmocka_unit_test(truncated_records_are_refused_at_every_length),
        cmocka_unit_test(inner_plaintexts_are_judged),
        cmocka_unit_test(headers_promise_a_bounded_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
