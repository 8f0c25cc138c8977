/* Record protection: RFC 8448's trace, round trips at the boundaries, and every way in which a record is refused. */
#include "record_help.h"

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

/* GnuTLS's call for a record in one piece is the other implementation. */
static void records_are_those_of_the_aead_in_one_piece(void **state)
{
    enum { LEN_MAX = 70, PADDING_MAX = 35 };
    (void)state;
    for (size_t suite = 0; suite < COUNT(suites); suite++) {
        struct record_keys k = keys_of(suite, 1);
        struct record_cipher *c = cipher_of(&k);
        for (size_t len = 0; len <= LEN_MAX; len++)
            for (size_t padding = 0; padding <= PADDING_MAX; padding++, k.seq++) {
                uint8_t inner[LEN_MAX + 1 + PADDING_MAX] = {0}, raw[sizeof inner + RECORD_OVERHEAD];
                uint8_t sealed[LEN_MAX + RECORD_OVERHEAD];
                struct opened o;
                size_t sealed_len;
                for (size_t i = 0; i < len; i++)
                    inner[i] = (uint8_t)(i % 3 ? i * 7 + k.seq : 0);
                inner[len] = RECORD_APPLICATION_DATA;
                const size_t raw_len = seal_raw(suite, &k, inner, len + 1 + padding, raw);
                open_both_ways(c, &k, raw, raw_len, &o);
                assert_int_equal(o.result, RESULT_OK);
                assert_true(o.type == RECORD_APPLICATION_DATA && o.len == len);
                assert_memory_equal(o.plain, inner, len);
                assert_int_equal(record_seal(c, &k, k.seq, o.type, inner, len, sealed, &sealed_len), RESULT_OK);
                if (!padding)
                    assert_memory_equal(sealed, raw, sealed_len);
            }
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
        cmocka_unit_test(rfc8448_records_open_and_seal_to_the_same_bytes),
        cmocka_unit_test(round_trips_at_the_boundaries),
        cmocka_unit_test(records_are_those_of_the_aead_in_one_piece),
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
