/* Which names a certificate carries: RFC 6125 on subject alternative names, never the common name. */
#include "identity_help.h"

struct expectation {
    const char *name;
    bool matches;
};

/* The certificate with these names matches exactly what the table says. */
static void check(struct certificate_spec spec, const struct expectation *table, size_t count)
{
    struct certificate c = make_certificate(spec);

    for (size_t i = 0; i < count; i++)
        if (identity_name_matches(c.cert, table[i].name) != table[i].matches)
            fail_msg("%s must %smatch", table[i].name, table[i].matches ? "" : "not ");
    free_certificate(&c);
}

#define CHECK(spec, ...)                                                                                               \
    check((struct certificate_spec)spec, (const struct expectation[])__VA_ARGS__,                                      \
          sizeof((const struct expectation[])__VA_ARGS__) / sizeof(struct expectation))
#define SPEC(...)                                                                                                      \
    {                                                                                                                  \
        __VA_ARGS__                                                                                                    \
    }

static void dns_names_match_whole_and_without_case(void **state)
{
    (void)state;
    CHECK(
        SPEC(.sans = {{SAN_DNS, "redis_1.example.org", 0}, {SAN_DNS, "db.example.org", 0}, {SAN_DNS, "localhost", 0}}),
        {
            {"db.example.org", true},
            {"DB.Example.ORG", true},
            {"db.example.org.", true},
            {"redis_1.example.org", true},
            {"localhost", true},
            {"db.example.org..", false},
            {".db.example.org", false},
            {"xdb.example.org", false},
            {"b.example.org", false},
            {"example.org", false},
            {"db.example.or", false},
            {"db.example.orgx", false},
            {"*.example.org", false},
            {"127.0.0.1", false},
            {"", false},
            {".", false},
        });
}

static void a_wildcard_is_one_whole_leftmost_label(void **state)
{
    (void)state;
    CHECK(SPEC(.sans = {{SAN_DNS, "*.example.org", 0}}), {
                                                             {"a.example.org", true},
                                                             {"A.EXAMPLE.org", true},
                                                             {"a.example.org.", true},
                                                             {"example.org", false},
                                                             {".example.org", false},
                                                             {"a.b.example.org", false},
                                                             {"*.example.org", false},
                                                             {"a.example.com", false},
                                                         });
    CHECK(SPEC(.sans = {{SAN_DNS, "*.org", 0}}), {{"example.org", false}, {"*.org", false}});
    CHECK(SPEC(.sans = {{SAN_DNS, "*", 0}}), {{"localhost", false}, {"*", false}});
    CHECK(SPEC(.sans = {{SAN_DNS, "a*.example.org", 0}}), {{"ab.example.org", false}, {"a.example.org", false}});
    CHECK(SPEC(.sans = {{SAN_DNS, "a.*.example.org", 0}}), {{"a.b.example.org", false}});
    CHECK(SPEC(.sans = {{SAN_DNS, "*.*.example.org", 0}}), {{"a.b.example.org", false}});
}

static void addresses_match_only_address_entries(void **state)
{
    (void)state;
    CHECK(SPEC(.sans = {{SAN_IP, "\x0a\0\0\1", 4}, {SAN_IP, "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16}}),
          {
              {"10.0.0.1", true},
              {"2001:db8::1", true},
              {"2001:0DB8:0:0:0:0:0:1", true},
              {"10.0.0.2", false},
              {"2001:db8::2", false},
              {"::ffff:10.0.0.1", false},
              {"10.0.0.1.", false},
          });
    CHECK(SPEC(.sans = {{SAN_DNS, "10.0.0.1", 0}}), {{"10.0.0.1", false}});
    CHECK(SPEC(.sans = {{SAN_DNS, "*.0.0.1", 0}}), {{"10.0.0.1", false}});
}

static void the_common_name_is_never_looked_at(void **state)
{
    char uri[400] = "https://example.org/";

    (void)state;
    memset(uri + strlen(uri), 'x', sizeof uri - 1 - strlen(uri));
    CHECK(SPEC(.name = "db.example.org"), {{"db.example.org", false}});
    CHECK(SPEC(.name = "10.0.0.1"), {{"10.0.0.1", false}});
    CHECK(SPEC(.name = "db.example.org", .sans = {{SAN_IP, "\x0a\0\0\1", 4}}), {{"db.example.org", false}});
    /* an entry larger than GnuTLS's own buffer in front of the real one */
    CHECK(SPEC(.name = "cn.example.org", .sans = {{SAN_URI, uri, 0}, {SAN_DNS, "db.example.org", 0}}),
          {{"cn.example.org", false}, {"db.example.org", true}});
}

/* SEQUENCE { [2] "db.example.org", 0, ".evil.com" } */
static const uint8_t with_zero[] = "\x30\x1a\x82\x18"
                                   "db.example.org\0.evil.com";
static const uint8_t without_zero[] = "\x30\x1a\x82\x18"
                                      "db.example.orgx.evil.com";

static void a_name_with_a_zero_byte_matches_nothing(void **state)
{
    (void)state;
    CHECK(SPEC(.raw_sans = with_zero, .raw_sans_len = 28),
          {{"db.example.org", false}, {"db.example.org\0.evil.com", false}});
    CHECK(SPEC(.raw_sans = without_zero, .raw_sans_len = 28),
          {{"db.example.org", false}, {"db.example.orgx.evil.com", true}});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dns_names_match_whole_and_without_case),
        cmocka_unit_test(a_wildcard_is_one_whole_leftmost_label),
        cmocka_unit_test(addresses_match_only_address_entries),
        cmocka_unit_test(the_common_name_is_never_looked_at),
        cmocka_unit_test(a_name_with_a_zero_byte_matches_nothing),
    };

    return cmocka_run_group_tests_name("identity_name", tests, NULL, NULL);
}
