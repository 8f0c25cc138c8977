/* Patterns of peer= (docs/POLICY.md): which names of a certificate each kind takes, and which it must not. */
#include "identity_help.h"

#include "trust_internal.h"

struct expectation {
    const char *patterns;
    bool fits;
};

static void check(const struct certificate *c, const struct expectation *table, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (identity_patterns_match(c->cert, table[i].patterns) != table[i].fits)
            fail_msg("peer=%s must %sfit", table[i].patterns, table[i].fits ? "" : "not ");
}

#define CHECK(c, ...)                                                                                                  \
    check(c, (const struct expectation[])__VA_ARGS__,                                                                  \
          sizeof((const struct expectation[])__VA_ARGS__) / sizeof(struct expectation))

static struct certificate of(enum san_type type, const char *name)
{
    return make_certificate((struct certificate_spec){.name = "node", .sans = {{type, name, 0}}});
}

static void a_dns_name_fits_whole_without_case_and_without_the_dot_of_the_root(void **state)
{
    struct certificate c = of(SAN_DNS, "Db.Example.org");

    (void)state;
    CHECK(&c, {
                  {"db.example.org", true},
                  {"dns:DB.EXAMPLE.ORG", true},
                  {"dns:db.example.org.", true},
                  {"other.example.org,db.example.org", true},
                  {"db.example.org,other.example.org", true},
                  {"other.example.org", false},
                  {"dns:xdb.example.org", false},
                  {"dns:b.example.org", false},
                  {"dns:example.org", false},
                  {"dns:.db.example.org", false},
                  {"dns:db.example.org..", false},
                  {"dns:", false},
                  {"dns:.", false},
                  {"", false},
                  {",", false},
                  {"email:db.example.org", false},
                  {"uri:db.example.org", false},
                  {"ip:db.example.org", false},
                  {"cn:db.example.org", false},
                  {"psk:db.example.org", false},
                  {"DNS:db.example.org", false}, /* words are in lower case */
              });
    free_certificate(&c);
    c = of(SAN_DNS, "db.example.org."); /* RFC 5280 knows no dot there */
    CHECK(&c, {{"db.example.org", false}});
    free_certificate(&c);
}

static void a_pattern_with_a_wildcard_takes_one_whole_label(void **state)
{
    struct certificate one = of(SAN_DNS, "a.db.example.org"), two = of(SAN_DNS, "b.a.db.example.org"),
                       none = of(SAN_DNS, "db.example.org"), all = of(SAN_DNS, "*.db.example.org"),
                       part = of(SAN_DNS, "a*.db.example.org"), empty = of(SAN_DNS, ".db.example.org");

    (void)state;
    CHECK(&one, {{"*.db.example.org", true},
                 {"dns:*.DB.example.org", true},
                 {"*.db.example.org.", true},
                 {"*.example.org", false},
                 {"*", false},
                 {"*.", false},
                 {"dns:*", false},
                 {"a.*.example.org", false},
                 {"a*.db.example.org", false},
                 {"*.*.example.org", false}});
    CHECK(&two, {{"*.db.example.org", false}, {"*.a.db.example.org", true}});
    CHECK(&none, {{"*.db.example.org", false}});
    CHECK(&part, {{"*.db.example.org", false}, {"ab.db.example.org", false}});
    CHECK(&empty, {{"*.db.example.org", false}, {"db.example.org", false}});
    /* A wildcard in the certificate speaks for each of these names, and so for all of them. */
    CHECK(&all, {{"*.db.example.org", true},
                 {"a.db.example.org", true},
                 {"b.a.db.example.org", false},
                 {"db.example.org", false}});
    free_certificate(&one);
    free_certificate(&two);
    free_certificate(&none);
    free_certificate(&all);
    free_certificate(&part);
    free_certificate(&empty);
}

static void names_beyond_ascii_fit_by_their_a_labels(void **state)
{
    struct certificate c = of(SAN_DNS, "xn--bcher-kva.example"); /* bücher */

    (void)state;
    CHECK(&c, {{"xn--bcher-kva.example", true},
               {"XN--BCHER-KVA.example", true},
               {"b\xc3\xbc"
                "cher.example",
                true},
               {"B\xc3\x9c"
                "CHER.example",
                true},
               {"bucher.example", false},
               {"b\xc3"
                "cher.example",
                false}, /* no UTF-8 */
               {"*.example", true},
               {"xn--.example", false}});
    free_certificate(&c);
}

static void an_address_fits_byte_for_byte(void **state)
{
    struct certificate v4 = make_certificate((struct certificate_spec){.sans = {{SAN_IP, "\x0a\0\0\1", 4}}}),
                       v6 = make_certificate(
                           (struct certificate_spec){.sans = {{SAN_IP, "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16}}}),
                       written = of(SAN_DNS, "10.0.0.1"),
                       masked = make_certificate(
                           (struct certificate_spec){.sans = {{SAN_IP, "\x0a\0\0\1\xff\xff\xff\xff", 8}}});

    (void)state;
    CHECK(&v4, {{"10.0.0.1", true},
                {"ip:10.0.0.1", true},
                {"ip:10.0.0.2", false},
                {"ip:010.0.0.1", false},
                {"ip:10.1", false},
                {"ip:", false},
                {"ip:::ffff:10.0.0.1", false},
                {"dns:10.0.0.1", false},
                {"*.0.0.1", false}});
    CHECK(&v6, {{"2001:db8::1", true},
                {"ip:2001:0DB8:0:0::1", true},
                {"ip:2001:db8::2", false},
                {"ip:2001:db8::1%eth0", false}});
    CHECK(&written, {{"10.0.0.1", false}, {"ip:10.0.0.1", false}});
    CHECK(&masked, {{"10.0.0.1", false}}); /* the form that name constraints have */
    free_certificate(&v4);
    free_certificate(&v6);
    free_certificate(&written);
    free_certificate(&masked);
}

static void a_uri_fits_byte_for_byte_or_below_a_folder(void **state)
{
    struct certificate c = of(SAN_URI, "spiffe://td/ns/db"), dots = of(SAN_URI, "spiffe://td/ns/../admin"),
                       dot = of(SAN_URI, "spiffe://td/ns/."), folder_itself = of(SAN_URI, "spiffe://td/ns/"),
                       sibling = of(SAN_URI, "spiffe://tdx/ns/db");

    (void)state;
    CHECK(&c, {{"uri:spiffe://td/ns/db", true},
               {"uri:spiffe://td/*", true},
               {"uri:spiffe://td/ns/*", true},
               {"uri:spiffe://td/ns/db/*", false},
               {"uri:spiffe://td/ns/d*", false},
               {"uri:spiffe://TD/ns/db", false},
               {"uri:SPIFFE://td/ns/db", false},
               {"uri:spiffe://td/ns/db/", false},
               {"uri:spiffe://td/ns", false},
               {"uri:spiffe://td", false},
               {"uri:spiffe://t/*", false},
               {"uri:", false},
               {"uri:*", false},
               {"uri:/*", false},
               {"dns:td", false}});
    CHECK(&dots, {{"uri:spiffe://td/ns/*", false}, {"uri:spiffe://td/ns/../admin", true}});
    CHECK(&dot, {{"uri:spiffe://td/*", false}});
    CHECK(&folder_itself, {{"uri:spiffe://td/ns/*", false}, {"uri:spiffe://td/*", true}});
    CHECK(&sibling, {{"uri:spiffe://td/*", false}});
    free_certificate(&c);
    free_certificate(&dots);
    free_certificate(&dot);
    free_certificate(&folder_itself);
    free_certificate(&sibling);
}

static void an_e_mail_address_fits_exactly_before_and_without_case_behind_the_at(void **state)
{
    struct certificate c = of(SAN_EMAIL, "Ann@Example.org"), host = of(SAN_EMAIL, "example.org"),
                       two = of(SAN_EMAIL, "a@b@example.org");

    (void)state;
    CHECK(&c, {{"email:Ann@example.org", true},
               {"email:Ann@EXAMPLE.ORG", true},
               {"email:Ann@example.org.", true},
               {"email:ann@example.org", false},
               {"email:Ann@example.com", false},
               {"email:Ann@xample.org", false},
               {"email:nn@example.org", false},
               {"email:@example.org", false},
               {"email:example.org", false},
               {"email:Ann@", false},
               {"email:", false},
               {"email:*@example.org", false},
               {"Ann@example.org", false},
               {"dns:example.org", false},
               {"cn:Ann@Example.org", false}});
    CHECK(&host, {{"email:example.org", false}, {"email:@example.org", false}}); /* the form of name constraints */
    CHECK(&two, {{"email:b@example.org", false}, {"email:a@example.org", false}});
    free_certificate(&c);
    free_certificate(&host);
    free_certificate(&two);
}

static void set_common_name(struct certificate *c, const void *der, unsigned len)
{
    assert_true(gnutls_x509_crt_init(&c->cert) >= 0);
    assert_true(gnutls_x509_crt_set_dn_by_oid(c->cert, GNUTLS_OID_X520_COMMON_NAME, 1, der, len) >= 0);
}

static void a_common_name_counts_only_when_it_is_asked_for_and_whole(void **state)
{
    struct certificate c = make_certificate((struct certificate_spec){.name = "node 7"}),
                       nameless = make_certificate((struct certificate_spec){0}), two = {0}, zero = {0};

    (void)state;
    CHECK(&c, {{"cn:node 7", true},
               {"cn:Node 7", false},
               {"cn:node", false},
               {"cn:node 77", false},
               {"cn:*", false},
               {"cn:", false},
               {"node 7", false},
               {"dns:node 7", false}});
    CHECK(&nameless, {{"cn:", false}, {"cn:node", false}, {"", false}});
    set_common_name(&two, "\x0c\4node", 6);
    assert_true(gnutls_x509_crt_set_dn_by_oid(two.cert, GNUTLS_OID_X520_COMMON_NAME, 0, "other", 5) >= 0);
    CHECK(&two, {{"cn:node", false}, {"cn:other", false}}); /* of several none is the name */
    set_common_name(&zero, "\x0c\6node\0x", 8);
    CHECK(&zero, {{"cn:node", false}, {"cn:node\0x", false}});
    free_certificate(&c);
    free_certificate(&nameless);
    gnutls_x509_crt_deinit(two.cert);
    gnutls_x509_crt_deinit(zero.cert);
}

/* SEQUENCE { [tag] name }, with whatever is in the name. */
static struct certificate of_raw(uint8_t tag, const char *name, size_t len)
{
    static uint8_t der[64];

    der[0] = 0x30;
    der[1] = (uint8_t)(len + 2);
    der[2] = tag;
    der[3] = (uint8_t)len;
    memcpy(der + 4, name, len);
    return make_certificate((struct certificate_spec){.name = "node", .raw_sans = der, .raw_sans_len = len + 4});
}

static void a_zero_byte_in_a_name_ends_nothing(void **state)
{
    static const struct {
        uint8_t tag;
        const char *name;
        size_t len;
        const char *patterns[4];
    } table[] = {
        {0x82, "db.example\0.evil", 16, {"db.example", "dns:db.example", "*.example", "*.evil"}},
        {0x82, "\0db.example", 11, {"db.example", "*.example", ".example", ""}},
        {0x82, "a\0.example", 10, {"*.example", "a.example", "a", "example"}},
        {0x81, "a@db.example\0.evil", 18, {"email:a@db.example", "email:a@db.example.evil", "a@db.example", ""}},
        {0x81, "a\0@db.example", 13, {"email:a@db.example", "email:a", "dns:db.example", ""}},
        {0x86, "spiffe://td/a\0b", 15, {"uri:spiffe://td/a", "uri:spiffe://td/*", "uri:spiffe://td/ab", ""}},
        {0x86, "spiffe://td/\0", 13, {"uri:spiffe://td/", "uri:spiffe://td/*", "", ""}},
        {0x82, "", 0, {"dns:", "", ".", "*."}},
        {0x81, "", 0, {"email:", "email:@", "", ""}},
        {0x86, "", 0, {"uri:", "uri:*", "uri:/*", ""}},
        {0x87, "", 0, {"ip:", "0.0.0.0", "::", ""}},
        {0x87, "\0\0\0\0\0", 5, {"0.0.0.0", "ip:0.0.0.0", "::", ""}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct certificate c = of_raw(table[i].tag, table[i].name, table[i].len);
        for (size_t j = 0; j < 4; j++)
            check(&c, &(struct expectation){table[i].patterns[j], false}, 1);
        free_certificate(&c);
    }
    struct certificate c = of_raw(0x82, "db.example", 10); /* the same without a zero */
    CHECK(&c, {{"db.example", true}, {"*.example", true}});
    free_certificate(&c);
}

static void a_name_among_others_is_found_and_a_raw_key_has_none(void **state)
{
    struct certificate c = make_certificate((struct certificate_spec){.sans = {{SAN_DNS, "a.example", 0},
                                                                               {SAN_EMAIL, "a@b.example", 0},
                                                                               {SAN_URI, "spiffe://td/x", 0},
                                                                               {SAN_IP, "\x7f\0\0\1", 4}}});
    char longer[1500];

    (void)state;
    CHECK(&c, {{"a.example", true},
               {"email:a@b.example", true},
               {"uri:spiffe://td/x", true},
               {"127.0.0.1", true},
               {"cn:x,psk:y,127.0.0.1", true},
               {"cn:x,psk:y,127.0.0.2", false}});
    assert_false(identity_patterns_match(NULL, "a.example"));
    /* What is too long for a pattern fits nothing, and does not hide the next one. */
    memset(longer, 'a', sizeof longer);
    memcpy(longer + sizeof longer - sizeof ",a.example", ",a.example", sizeof ",a.example");
    assert_true(identity_patterns_match(c.cert, longer));
    free_certificate(&c);
}

static void the_name_of_a_psk_fits_exactly_and_by_no_other_kind(void **state)
{
    (void)state;
    assert_true(identity_patterns_match_psk("2026", "psk:2026"));
    assert_true(identity_patterns_match_psk("2026", "psk:2025,psk:2026"));
    assert_false(identity_patterns_match_psk("2026", "2026"));
    assert_false(identity_patterns_match_psk("2026", "dns:2026,cn:2026"));
    assert_false(identity_patterns_match_psk("2026", "psk:202"));
    assert_false(identity_patterns_match_psk("2026", "psk:20266"));
    assert_false(identity_patterns_match_psk("a", "psk:A"));
    assert_false(identity_patterns_match_psk("2026", ""));
    assert_false(identity_patterns_match_psk("", ""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dns_name_fits_whole_without_case_and_without_the_dot_of_the_root),
        cmocka_unit_test(a_pattern_with_a_wildcard_takes_one_whole_label),
        cmocka_unit_test(names_beyond_ascii_fit_by_their_a_labels),
        cmocka_unit_test(an_address_fits_byte_for_byte),
        cmocka_unit_test(a_uri_fits_byte_for_byte_or_below_a_folder),
        cmocka_unit_test(an_e_mail_address_fits_exactly_before_and_without_case_behind_the_at),
        cmocka_unit_test(a_common_name_counts_only_when_it_is_asked_for_and_whole),
        cmocka_unit_test(a_zero_byte_in_a_name_ends_nothing),
        cmocka_unit_test(a_name_among_others_is_found_and_a_raw_key_has_none),
        cmocka_unit_test(the_name_of_a_psk_fits_exactly_and_by_no_other_kind),
    };

    return cmocka_run_group_tests_name("identity_patterns", tests, NULL, NULL);
}
