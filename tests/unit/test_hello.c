/* The reader of the first hello: what is taken, and every way in which it refuses. */
#include "hello_help.h"

static void expect_bad(const struct text *wire, unsigned alert, const char *why_has)
{
    struct hello h = {0};
    assert_int_equal(feed(&h, wire), RESULT_PROTOCOL);
    assert_int_equal(h.kind, HELLO_BAD);
    assert_non_null(strstr(h.why, why_has));
    assert_int_equal(h.alert, alert);
    hello_free(&h);
    assert_null(h.wire);
    assert_null(h.message);
}

static void expect_client(const struct text *wire, bool has_role)
{
    struct hello h = {0};
    assert_int_equal(feed(&h, wire), RESULT_OK);
    assert_int_equal(h.kind, HELLO_CLIENT);
    assert_int_equal(h.has_role, has_role);
    assert_int_equal(h.wire_len, wire->len);
    assert_memory_equal(h.wire, wire->bytes, wire->len);
    assert_int_equal(h.message_len, 4 + be24(h.message + 1));
    hello_free(&h);
}

/* Cuts one message into records of at most n bytes. */
static void fragment(struct text *wire, const uint8_t *message, size_t len, size_t n, unsigned version)
{
    wire->len = 0;
    for (size_t at = 0; at < len; at += n)
        put_record(wire, 22, version, message + at, len - at < n ? len - at : n);
}

static void real_hellos_are_read(void **state)
{
    struct text wire;
    struct hello h = {0};
    (void)state;
    real_hello(&wire, false);
    expect_client(&wire, false);
    real_hello(&wire, true);
    expect_client(&wire, true);
    assert_int_equal(feed(&h, &wire), RESULT_OK);
    for (size_t i = 0; i < ROLE_VALUE_BYTES; i++)
        assert_int_equal(h.role.bytes[i], i + 1);
    assert_memory_equal(h.message, wire.bytes + 5, h.message_len);
    hello_free(&h);
}

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

static void every_shortened_or_lengthened_message_is_malformed(void **state)
{
    struct text wire;
    (void)state;
    real_hello(&wire, true);
    size_t len = wire.len - 5, fixed = 4 + 34;
    fixed += 1U + wire.bytes[5 + fixed];
    fixed += 2U + be16(wire.bytes + 5 + fixed);
    fixed += 1U + wire.bytes[5 + fixed];
    for (size_t n = 0; n < len; n++) {
        struct hello h = {0};
        uint8_t *copy = malloc(n ? n : 1);
        assert_non_null(copy);
        memcpy(copy, wire.bytes + 5, n);
        assert_int_equal(hello_parse_client(&h, copy, n), RESULT_PROTOCOL);
        if (n >= 4) { /* and with its length set right; all but the extension block is a hello too */
            put_be24(copy + 1, (uint32_t)(n - 4));
            assert_int_equal(hello_parse_client(&h, copy, n), n == fixed ? RESULT_OK : RESULT_PROTOCOL);
            assert_int_equal(h.alert, 50);
            assert_false(h.has_role);
        }
        free(copy);
        hello_free(&h);
    }
    put_u8(&wire, 0); /* a byte behind the extensions, inside the message */
    put_be24(wire.bytes + 6, (uint32_t)(len + 1 - 4));
    put_be16(wire.bytes + 3, (uint16_t)(len + 1));
    expect_bad(&wire, 50, "malformed");
}

/* All of the hand-made hello but its extensions; each row changes one byte. */
static void the_fixed_part_is_checked(void **state)
{
    static const struct {
        size_t at; /* in the message */
        uint8_t value;
        bool good;
    } table[] = {
        {4, 0x07, true},   /* legacy_version is the server session's to judge */
        {38, 1, false},    /* a session id that eats the suites' length */
        {38, 33, false},   /* a session id above 32 bytes */
        {40, 1, false},    /* an odd number of suite bytes */
        {40, 0, false},    /* no suite */
        {40, 3, false},    /* likewise odd */
        {43, 0, false},    /* no compression method */
        {43, 0xff, false}, /* more than there is */
        {39, 0xff, false}, /* more suites than there are */
        {44, 1, true},     /* another compression method: the server session's to judge */
    };
    struct text message, wire;
    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        build_hello(&message, NULL);
        message.bytes[table[i].at] = table[i].value;
        wire.len = 0;
        put_record(&wire, 22, 0x0301, message.bytes, message.len);
        if (table[i].good)
            expect_client(&wire, false);
        else
            expect_bad(&wire, 50, "malformed");
    }
}

/* Well-formed but for the lengths that section 4.1.2 forbids. */
static void vectors_of_the_fixed_part_have_bounds(void **state)
{
    static const struct {
        size_t session_id, suites, compression;
        bool good;
    } table[] = {{0, 2, 1, true},      {32, 2, 1, true}, {33, 2, 1, false}, {255, 2, 1, false},
                 {0, 0, 1, false},     {0, 1, 1, false}, {0, 3, 1, false},  {0, 4, 1, true},
                 {0, 0x1000, 1, true}, {0, 2, 0, false}, {0, 2, 255, true}};
    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        static const uint8_t zeros[0x1000];
        struct text message = {.len = 0}, wire = {.len = 0};
        size_t body = 34 + 1 + table[i].session_id + 2 + table[i].suites + 1 + table[i].compression;
        put_u16(&message, 0x0100);
        put_u16(&message, (unsigned)body);
        put(&message, zeros, 34);
        put_u8(&message, (unsigned)table[i].session_id);
        put(&message, zeros, table[i].session_id);
        put_u16(&message, (unsigned)table[i].suites);
        put(&message, zeros, table[i].suites);
        put_u8(&message, (unsigned)table[i].compression);
        put(&message, zeros, table[i].compression);
        put_record(&wire, 22, 0x0301, message.bytes, message.len);
        if (table[i].good)
            expect_client(&wire, false);
        else
            expect_bad(&wire, 50, "malformed");
    }
}

static void wrap(struct text *wire, const struct text *extensions, unsigned version)
{
    struct text message;
    build_hello(&message, extensions);
    fragment(wire, message.bytes, message.len, HELLO_RECORD_MAX, version);
}

static void hellos_without_extensions_and_with_an_empty_block_have_no_role(void **state)
{
    struct text wire, none = {.len = 0};
    (void)state;
    wrap(&wire, NULL, 0x0301);
    expect_client(&wire, false);
    wrap(&wire, &none, 0x0301);
    expect_client(&wire, false);
}

static void the_role_has_16_bytes(void **state)
{
    struct text wire;
    (void)state;
    for (size_t n = 0; n <= 40; n++) {
        struct text extensions = {.len = 0};
        put_extension(&extensions, P2P_ROLE_EXTENSION, n, 0x42);
        wrap(&wire, &extensions, 0x0301);
        if (n == ROLE_VALUE_BYTES)
            expect_client(&wire, true);
        else
            expect_bad(&wire, 50, "16 bytes");
    }
}

static void no_extension_may_come_twice(void **state)
{
    static const unsigned types[] = {0, 43, 63, 64, 0x2a2a, P2P_ROLE_EXTENSION, 0xffff};
    struct text wire;
    (void)state;
    for (size_t i = 0; i < COUNT(types); i++)
        for (size_t j = 0; j < COUNT(types); j++) {
            struct text extensions = {.len = 0};
            put_extension(&extensions, types[i], 16, 1);
            put_extension(&extensions, 7, 0, 0);
            put_extension(&extensions, types[j], 16, 2);
            wrap(&wire, &extensions, 0x0303);
            if (i == j)
                expect_bad(&wire, 47, "twice");
            else
                expect_client(&wire, types[i] == P2P_ROLE_EXTENSION || types[j] == P2P_ROLE_EXTENSION);
        }
}

static void extensions_must_fill_their_block_exactly(void **state)
{
    static const struct {
        uint8_t bytes[6];
        size_t len;
    } table[] = {{{0}, 1},          {{0, 1}, 2},          {{0, 1, 0}, 3},
                 {{0, 1, 0, 1}, 4}, {{0, 1, 0, 0, 0}, 5}, {{0, 1, 0xff, 0xff, 0, 0}, 6}};
    struct text wire;
    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        struct text extensions = {.len = 0};
        put(&extensions, table[i].bytes, table[i].len);
        wrap(&wire, &extensions, 0x0301);
        expect_bad(&wire, 50, "malformed");
    }
}

static void thousands_of_extensions_are_read_in_one_pass(void **state)
{
    struct text wire, extensions = {.len = 0};
    (void)state;
    for (unsigned type = 0; type < 8000; type++)
        put_extension(&extensions, type, 0, 0);
    put_extension(&extensions, P2P_ROLE_EXTENSION, 16, 9);
    wrap(&wire, &extensions, 0x0301);
    expect_client(&wire, true);
    put_extension(&extensions, 0, 0, 0);
    wrap(&wire, &extensions, 0x0301);
    expect_bad(&wire, 47, "twice");
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
        cmocka_unit_test(real_hellos_are_read),
        cmocka_unit_test(a_hello_may_be_cut_anywhere),
        cmocka_unit_test(an_unfinished_hello_is_incomplete_and_can_be_freed_at_once),
        cmocka_unit_test(every_shortened_or_lengthened_message_is_malformed),
        cmocka_unit_test(the_fixed_part_is_checked),
        cmocka_unit_test(vectors_of_the_fixed_part_have_bounds),
        cmocka_unit_test(hellos_without_extensions_and_with_an_empty_block_have_no_role),
        cmocka_unit_test(the_role_has_16_bytes),
        cmocka_unit_test(no_extension_may_come_twice),
        cmocka_unit_test(extensions_must_fill_their_block_exactly),
        cmocka_unit_test(thousands_of_extensions_are_read_in_one_pass),
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
