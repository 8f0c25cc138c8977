/* The reader of the first hello: what a message may hold, and every way in which a part of it is refused. */
#include "hello_help.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(real_hellos_are_read),
        cmocka_unit_test(every_shortened_or_lengthened_message_is_malformed),
        cmocka_unit_test(the_fixed_part_is_checked),
        cmocka_unit_test(vectors_of_the_fixed_part_have_bounds),
        cmocka_unit_test(hellos_without_extensions_and_with_an_empty_block_have_no_role),
        cmocka_unit_test(the_role_has_16_bytes),
        cmocka_unit_test(no_extension_may_come_twice),
        cmocka_unit_test(extensions_must_fill_their_block_exactly),
        cmocka_unit_test(thousands_of_extensions_are_read_in_one_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
