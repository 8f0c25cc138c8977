/* Keys of record protection: RFC 8448's derivations, limits, updates, and broken ones refused. */
#include "record_help.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc8448_keys_come_out),
        cmocka_unit_test(expand_label_gives_rfc8448_finished_key),
        cmocka_unit_test(expand_label_takes_a_context),
        cmocka_unit_test(expand_label_refuses_what_does_not_fit),
        cmocka_unit_test(keys_are_made_only_for_the_three_suites_and_their_secret_lengths),
        cmocka_unit_test(broken_keys_are_noticed),
        cmocka_unit_test(limits_keep_a_margin_to_the_bound_of_the_cipher),
        cmocka_unit_test(update_derives_the_next_secret_with_traffic_upd),
        cmocka_unit_test(handles_follow_suite_and_epoch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
