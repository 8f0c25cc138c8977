/* What a CA may issue (name constraints, RFC 5280 section 4.2.1.10), where GnuTLS does not look; in both TLS roles. */
#include "trust_help.h"

static struct certificate ca;

static int make_all(void **state)
{
    ca = make_certificate((struct certificate_spec){.name = "test CA", .is_ca = true});
    return folder_make(state);
}

static int free_all(void **state)
{
    free_certificate(&ca);
    return folder_remove(state);
}

/* "+" in front of a constraint: permitted, "-": excluded. */
static gnutls_x509_name_constraints_t constraints_of(gnutls_x509_subject_alt_name_t type, const char *const *texts)
{
    gnutls_x509_name_constraints_t constraints;

    assert_int_equal(gnutls_x509_name_constraints_init(&constraints), 0);
    for (; *texts; texts++) {
        const gnutls_datum_t name = {(uint8_t *)*texts + 1, (unsigned)strlen(*texts) - 1};
        assert_int_equal((**texts == '+' ? gnutls_x509_name_constraints_add_permitted
                                         : gnutls_x509_name_constraints_add_excluded)(constraints, type, &name),
                         0);
    }
    return constraints;
}

/* One chain: the leaf, an intermediate with the constraints, the root; with a second CA in between, or not. */
static void assert_issued(const struct certificate_spec *leaf_spec, gnutls_x509_subject_alt_name_t type,
                          const char *const *texts, bool deep, const char *peer, const char *refusal)
{
    struct certificate_spec spec = *leaf_spec;
    struct certificate limited =
                           make_certificate((struct certificate_spec){.name = "limited",
                                                                      .is_ca = true,
                                                                      .issuer = &ca,
                                                                      .constraints = constraints_of(type, texts)}),
                       below = make_certificate(
                           (struct certificate_spec){.name = "below", .is_ca = true, .issuer = &limited});
    const struct policy_trust trust =
        trust_of((struct policy_trust){.ca = write_certificates("ca.pem", &ca, NULL)}, NULL);
    const struct identity_expectation expect = {.peer_patterns = peer};

    spec.issuer = deep ? &below : &limited;
    struct certificate leaf = make_certificate(spec);
    const struct show show = {.chain = {&leaf, spec.issuer, deep ? &limited : NULL}, .count = deep ? 3 : 2};
    if (refusal)
        refuses(&trust, &show, expect, refusal);
    else
        accepts(&trust, &show, expect);
    free_certificate(&leaf);
    free_certificate(&below);
    free_certificate(&limited);
}

static const char OUTSIDE[] = "is outside of what its CA may issue";

static void constraints_on_uris_bind(void **state)
{
    static const struct {
        const char *constraints[3], *uri;
        bool fits;
    } cases[] = {
        {{"+td"}, "spiffe://td/a", true},
        {{"+other"}, "spiffe://td/a", false},
        {{"+td.example"}, "spiffe://TD.example/a", true},
        {{"+.td.example"}, "spiffe://a.td.example/a", true},
        {{"+.td.example"}, "spiffe://td.example/a", false},
        {{"+td.example"}, "spiffe://a.td.example/a", false},
        {{"+td.example"}, "https://user@td.example:8443/a", true},
        {{"+td.example"}, "https://td.example@evil.example/a", false},
        {{"+td.example"}, "https://evil.example/@td.example", false},
        {{"+td.example"}, "https://evil.example#@td.example", false},
        {{"+other", "+td"}, "spiffe://td/a", true},
        {{"-td"}, "spiffe://td/a", false},
        {{"-td"}, "spiffe://other/a", false}, /* GnuTLS takes nothing below a URI that is excluded */
        {{"+.example", "-evil.example"}, "spiffe://evil.example/a", false},
        {{"+td"}, "urn:td", false},
        {{"-td"}, "urn:other", false},
        {{"-td"}, "https://127.0.0.1/a", false},
        {{"-td"}, "https://[::1]/a", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct certificate_spec leaf = {.name = "leaf", .sans = {{SAN_URI, cases[i].uri, 0}}};
        char peer[100];
        snprintf(peer, sizeof peer, "uri:%s", cases[i].uri);
        for (int deep = 0; deep < 2; deep++) {
            assert_issued(&leaf, GNUTLS_SAN_URI, cases[i].constraints, deep, peer, cases[i].fits ? NULL : OUTSIDE);
            assert_issued(&leaf, GNUTLS_SAN_URI, cases[i].constraints, deep, NULL, cases[i].fits ? NULL : OUTSIDE);
        }
    }
}

static void constraints_on_other_names_leave_uris_alone(void **state)
{
    static const char *const dns[] = {"+other.example", NULL}, *const uri[] = {"+other.example", NULL};
    const struct certificate_spec with_uri = {.name = "a.other.example", .sans = {{SAN_URI, "spiffe://td/a", 0}}},
                                  with_dns = {.name = "leaf", .sans = {{SAN_DNS, "db.example", 0}}};

    (void)state;
    assert_issued(&with_uri, GNUTLS_SAN_DNSNAME, dns, false, "uri:spiffe://td/a", NULL);
    assert_issued(&with_dns, GNUTLS_SAN_URI, uri, false, "db.example", NULL);
}

static void a_common_name_is_taken_only_where_its_cas_may_issue_that_name(void **state)
{
    static const char *const permitted[] = {"+other.example", NULL}, *const excluded[] = {"-db.example", NULL};
    const struct certificate_spec leaf = {.name = "db.example", .sans = {{SAN_DNS, "a.other.example", 0}}},
                                  inside = {.name = "b.other.example", .sans = {{SAN_DNS, "a.other.example", 0}}};
    static const char refusal[] = "does not carry the name cn:db.example";

    (void)state;
    for (int deep = 0; deep < 2; deep++) {
        assert_issued(&leaf, GNUTLS_SAN_DNSNAME, permitted, deep, "cn:db.example", refusal);
        assert_issued(&leaf, GNUTLS_SAN_DNSNAME, excluded, deep, "cn:db.example", refusal);
        assert_issued(&leaf, GNUTLS_SAN_DNSNAME, permitted, deep, "cn:db.example,a.other.example", NULL);
        assert_issued(&inside, GNUTLS_SAN_DNSNAME, permitted, deep, "cn:b.other.example", NULL);
        assert_issued(&inside, GNUTLS_SAN_DNSNAME, excluded, deep, "cn:b.other.example", NULL);
    }
}

static void what_is_below_a_uri_is_a_plain_path(void **state)
{
    static const struct {
        const char *uri;
        bool fits;
    } cases[] = {
        {"spiffe://td/a/b", true},     {"spiffe://td/a/b/c..d", true},    {"spiffe://td/a/", false},
        {"spiffe://td/a", false},      {"spiffe://td/a/%2e%2e/b", false}, {"spiffe://td/a/%2E%2e", false},
        {"spiffe://td/a/..?x", false}, {"spiffe://td/a/..#x", false},     {"spiffe://td/a/b?x", false},
        {"spiffe://td/a/b#x", false},  {"spiffe://td/a/../b", false},     {"spiffe://td/a/b/..", false},
        {"spiffe://td/a/./b", false},  {"spiffe://td/a//", false},        {"spiffe://td/a/b//c", false},
        {"spiffe://td/a/..", false},   {"spiffe://td/a/..\\b", false},    {"spiffe://td/ab/c", false},
    };
    const struct policy_trust trust =
        trust_of((struct policy_trust){.ca = write_certificates("ca.pem", &ca, NULL)}, NULL);
    const struct identity_expectation expect = {.peer_patterns = "uri:spiffe://td/a/*"};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct certificate leaf = make_certificate(
            (struct certificate_spec){.name = "leaf", .issuer = &ca, .sans = {{SAN_URI, cases[i].uri, 0}}});
        const struct show show = {.chain = {&leaf}, .count = 1};
        if (cases[i].fits)
            accepts(&trust, &show, expect);
        else
            refuses(&trust, &show, expect, "does not carry the name uri:spiffe://td/a/*");
        free_certificate(&leaf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(constraints_on_uris_bind),
        cmocka_unit_test(constraints_on_other_names_leave_uris_alone),
        cmocka_unit_test(a_common_name_is_taken_only_where_its_cas_may_issue_that_name),
        cmocka_unit_test(what_is_below_a_uri_is_a_plain_path),
    };

    return cmocka_run_group_tests_name("trust_constraints", tests, make_all, free_all);
}
