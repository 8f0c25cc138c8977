/* The reader of the first hello: how its message may lie in records, its bounds, and what comes instead of one. */
#include "hello_help.h"

static void a_hello_may_be_cut_anywhere(void **state)
{
    struct text whole, cut;
    (void)state;
    real_hello(&whole, true);
    for (size_t n = 1; n < whole.len - 5; n++) {
        fragment(&cut, whole.bytes + 5, whole.len - 5, n, 0x0301);
        expect_client(&cut, true);
    }
}

static void an_unfinished_hello_is_incomplete_and_can_be_freed_at_once(void **state)
{
    struct text whole, cut;
    (void)state;
    real_hello(&whole, true);
    for (size_t n = 1; n < whole.len - 5; n++) {
        struct hello h = {0};
        cut.len = 0;
        put_record(&cut, 22, 0x0301, whole.bytes + 5, n);
        assert_int_equal(feed(&h, &cut), RESULT_OK);
        assert_int_equal(h.kind, HELLO_INCOMPLETE);
        hello_free(&h);
    }
}

static void strange_record_versions_are_refused_with_the_role_alone(void **state)
{
    static const struct {
        unsigned version;
        bool good;
    } table[] = {{0x0301, true},  {0x0303, true}, {0x0300, false}, {0x0302, false},
                 {0x0304, false}, {0, false},     {0xffff, false}};
    struct text wire, message, with_role = {.len = 0}, without = {.len = 0};
    (void)state;
    put_extension(&with_role, P2P_ROLE_EXTENSION, 16, 1);
    put_extension(&without, 43, 3, 1);
    for (size_t i = 0; i < COUNT(table); i++) {
        wrap(&wire, &without, table[i].version);
        expect_client(&wire, false);
        wrap(&wire, &with_role, table[i].version);
        if (table[i].good)
            expect_client(&wire, true);
        else
            expect_bad(&wire, 47, "strange version");
        build_hello(&message, &with_role);
        for (int which = 0; which < 2; which++) { /* in one of two records alone */
            wire.len = 0;
            put_record(&wire, 22, which == 0 ? table[i].version : 0x0301, message.bytes, 10);
            put_record(&wire, 22, which == 1 ? table[i].version : 0x0301, message.bytes + 10, message.len - 10);
            if (table[i].good)
                expect_client(&wire, true);
            else
                expect_bad(&wire, 47, "strange version");
        }
    }
}

static void the_last_record_holds_nothing_else(void **state)
{
    struct text message, wire = {.len = 0}, none = {.len = 0};
    (void)state;
    build_hello(&message, &none);
    put_u8(&message, 0);
    put_record(&wire, 22, 0x0301, message.bytes, message.len);
    expect_bad(&wire, 10, "more than it");
    wire.len = 0; /* likewise when the message is spread over two */
    put_record(&wire, 22, 0x0301, message.bytes, 3);
    put_record(&wire, 22, 0x0301, message.bytes + 3, message.len - 3);
    expect_bad(&wire, 10, "more than it");
}

static void hellos_up_to_32_kib_are_taken(void **state)
{
    struct text wire, extensions = {.len = 0};
    size_t fixed = 4 + 41 + 2;
    (void)state;
    put_extension(&extensions, 21, HELLO_MAX_BYTES - fixed - 4, 0);
    wrap(&wire, &extensions, 0x0301);
    expect_client(&wire, false);
    extensions.len = 0;
    put_extension(&extensions, 21, HELLO_MAX_BYTES - fixed - 4 + 1, 0);
    wrap(&wire, &extensions, 0x0301);
    expect_bad(&wire, 47, "32 KiB");
}

static void a_length_above_32_kib_is_refused_at_its_header(void **state)
{
    static const uint8_t just_right[] = {1, 0, 0x7f, 0xfc}, one_more[] = {1, 0, 0x7f, 0xfd},
                         huge[] = {1, 0xff, 0xff, 0xff};
    struct text wire = {.len = 0};
    struct hello h = {0};
    (void)state;
    put_record(&wire, 22, 0x0301, one_more, 4);
    expect_bad(&wire, 47, "32 KiB");
    wire.len = 0;
    put_record(&wire, 22, 0x0301, huge, 4);
    expect_bad(&wire, 47, "32 KiB");
    wire.len = 0;
    put_record(&wire, 22, 0x0301, just_right, 4);
    assert_int_equal(feed(&h, &wire), RESULT_OK);
    assert_int_equal(h.kind, HELLO_INCOMPLETE);
    hello_free(&h);
}

static void a_hello_may_be_spread_over_1024_records_and_no_more(void **state)
{
    struct text message, wire, extensions = {.len = 0};
    (void)state;
    put_extension(&extensions, 21, HELLO_MAX_RECORDS - (4 + 41 + 2) - 4, 0);
    build_hello(&message, &extensions);
    assert_int_equal(message.len, HELLO_MAX_RECORDS);
    fragment(&wire, message.bytes, message.len, 1, 0x0301);
    expect_client(&wire, false);
    extensions.len = 0;
    put_extension(&extensions, 21, HELLO_MAX_RECORDS + 1 - (4 + 41 + 2) - 4, 0);
    build_hello(&message, &extensions);
    fragment(&wire, message.bytes, message.len, 1, 0x0301);
    expect_bad(&wire, 10, "too many records");
}

static void headers_alone_tell_what_is_not_tls(void **state)
{
    static const struct {
        uint8_t header[5];
        unsigned alert;
        const char *why;
    } table[] = {
        {{'G', 'E', 'T', ' ', '/'}, 10, "does not speak TLS (plaintext?)"},
        {{'S', 'S', 'H', '-', '2'}, 10, "does not speak TLS (plaintext?)"},
        {{'*', '1', '\r', '\n', '$'}, 10, "does not speak TLS (plaintext?)"},
        {{0, 0, 0, 0, 0}, 10, "does not speak TLS (plaintext?)"},
        {{24, 3, 3, 0, 3}, 10, "does not speak TLS (plaintext?)"},
        {{0x80, 0x2e, 1, 0, 2}, 70, "SSL 2.0"},
        {{0x80, 0x2e, 1, 3, 1}, 70, "SSL 2.0"},
        {{0x80, 0x2e, 4, 0, 1}, 10, "does not speak TLS (plaintext?)"},
        {{20, 3, 3, 0, 1}, 10, "change_cipher_spec"},
        {{23, 3, 3, 0, 30}, 10, "application data"},
        {{22, 3, 1, 0x40, 0x01}, 22, "longer than 16384"},
        {{22, 3, 1, 0xff, 0xff}, 22, "longer than 16384"},
        {{21, 3, 1, 0x40, 0x01}, 22, "longer than 16384"},
        {{22, 3, 1, 0, 0}, 10, "empty"},
        {{21, 3, 1, 0, 0}, 10, "empty"},
        {{21, 3, 1, 0, 1}, 50, "malformed alert"},
        {{21, 3, 1, 0, 3}, 50, "malformed alert"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        struct hello h = {0};
        size_t body = 0;
        assert_int_equal(hello_check_header(&h, table[i].header, &body), RESULT_PROTOCOL);
        assert_int_equal(h.kind, HELLO_BAD);
        assert_int_equal(h.alert, table[i].alert);
        assert_non_null(strstr(h.why, table[i].why));
        hello_free(&h);
    }
    static const uint8_t largest[] = {22, 3, 1, 0x40, 0x00}, least[] = {22, 3, 1, 0, 1};
    struct hello h = {0};
    size_t body = 0;
    assert_int_equal(hello_check_header(&h, largest, &body), RESULT_OK);
    assert_int_equal(body, 16384);
    assert_int_equal(hello_check_header(&h, least, &body), RESULT_OK);
    assert_int_equal(body, 1);
    assert_int_equal(h.kind, HELLO_INCOMPLETE);
}

static void nothing_may_come_between_the_parts_of_a_hello(void **state)
{
    static const struct {
        uint8_t record[8];
        size_t len;
    } table[] = {{{20, 3, 3, 0, 1, 1}, 6},
                 {{21, 3, 3, 0, 2, 2, 40}, 7},
                 {{23, 3, 3, 0, 1, 1}, 6},
                 {{22, 3, 3, 0, 0}, 5},
                 {"GET / HT", 8}};
    struct text message, wire;
    (void)state;
    build_hello(&message, NULL);
    for (size_t i = 0; i < COUNT(table); i++) {
        wire.len = 0;
        put_record(&wire, 22, 0x0301, message.bytes, 10);
        put(&wire, table[i].record, table[i].len);
        expect_bad(&wire, 10, "");
    }
}

static void a_server_hello_is_known_by_its_first_byte_and_kept(void **state)
{
    static const uint8_t body[] = {2, 0, 0, 0x76, 3, 3};
    (void)state;
    for (size_t n = 1; n <= sizeof body; n++) {
        struct text wire = {.len = 0};
        struct hello h = {0};
        put_record(&wire, 22, 0x0303, body, n);
        assert_int_equal(feed(&h, &wire), RESULT_OK);
        assert_int_equal(h.kind, HELLO_SERVER);
        assert_int_equal(h.wire_len, wire.len);
        assert_memory_equal(h.wire, wire.bytes, wire.len);
        hello_free(&h);
    }
}

static void every_other_handshake_message_is_refused(void **state)
{
    (void)state;
    for (unsigned type = 0; type < 256; type++) {
        uint8_t body[] = {(uint8_t)type, 0, 0, 0};
        struct text wire = {.len = 0};
        put_record(&wire, 22, 0x0303, body, sizeof body);
        if (type != 1 && type != 2)
            expect_bad(&wire, 10, "no hello");
    }
}

static void an_alert_is_kept_for_the_log(void **state)
{
    static const uint8_t record[] = {21, 3, 3, 0, 2, 2, 40};
    struct text wire = {.len = 0};
    struct hello h = {0};
    (void)state;
    put(&wire, record, sizeof record);
    assert_int_equal(feed(&h, &wire), RESULT_OK);
    assert_int_equal(h.kind, HELLO_ALERT);
    assert_int_equal(h.wire_len, sizeof record);
    assert_memory_equal(h.wire, record, sizeof record);
    hello_free(&h);
}

static void misuse_is_an_error_and_no_overflow(void **state)
{
    static const uint8_t record[] = {22, 3, 1, 0, 4, 2, 0, 0, 0};
    struct hello h = {0};
    (void)state;
    for (size_t len = 0; len < sizeof record; len++) {
        uint8_t *copy = malloc(len ? len : 1);
        assert_non_null(copy);
        memcpy(copy, record, len);
        assert_int_equal(hello_add_record(&h, copy, len), RESULT_PROTOCOL);
        assert_int_equal(h.alert, 80);
        free(copy);
        hello_free(&h);
    }
    assert_int_equal(hello_add_record(&h, record, sizeof record), RESULT_OK);
    assert_int_equal(h.kind, HELLO_SERVER);
    assert_int_equal(hello_add_record(&h, record, sizeof record), RESULT_PROTOCOL);
    hello_free(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hello_may_be_cut_anywhere),
        cmocka_unit_test(an_unfinished_hello_is_incomplete_and_can_be_freed_at_once),
        cmocka_unit_test(strange_record_versions_are_refused_with_the_role_alone),
        cmocka_unit_test(the_last_record_holds_nothing_else),
        cmocka_unit_test(hellos_up_to_32_kib_are_taken),
        cmocka_unit_test(a_length_above_32_kib_is_refused_at_its_header),
        cmocka_unit_test(a_hello_may_be_spread_over_1024_records_and_no_more),
        cmocka_unit_test(headers_alone_tell_what_is_not_tls),
        cmocka_unit_test(nothing_may_come_between_the_parts_of_a_hello),
        cmocka_unit_test(a_server_hello_is_known_by_its_first_byte_and_kept),
        cmocka_unit_test(every_other_handshake_message_is_refused),
        cmocka_unit_test(an_alert_is_kept_for_the_log),
        cmocka_unit_test(misuse_is_an_error_and_no_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
