/* What a peer with a certificate is called: printable, whole, and never as another is. */
#include "identity_help.h"

static struct certificate ca;

static int make_ca(void **state)
{
    ca = make_certificate((struct certificate_spec){.name = "test CA", .is_ca = true});
    return folder_make(state);
}

static int free_ca(void **state)
{
    free_certificate(&ca);
    return folder_remove(state);
}

/* Whichever end of a handshake has this certificate. */
static void assert_reads(struct certificate_spec spec, const char *subject)
{
    const struct identity_expectation expect = {0};
    char why[IDENTITY_WHY_MAX];

    spec.issuer = &ca;
    struct certificate own = make_certificate(spec);
    struct identity *id = load_files(&own, &ca);
    struct pair p = shake_identities(id, id);
    for (int server = 0; server < 2; server++) {
        struct identity_peer peer;
        const struct end *e = server ? &p.server : &p.client;
        assert_int_equal(e->error, 0);
        if (identity_verify(id, e->session, &expect, &peer, why) != RESULT_OK)
            fail_msg("refused: %s", why);
        assert_string_equal(peer.subject, subject);
    }
    pair_free(&p);
    identity_unref(id);
    free_certificate(&own);
}

/* Certificates of SPIFFE have at most O= and C=, those of cert-manager nothing at all there, and what p2ptls sign makes
 * for a name that is too long for it has a word that says nothing. */
static void a_subject_that_names_nobody_is_led_by_a_name(void **state)
{
    static char long_one[2000];
    static const struct {
        struct certificate_spec spec;
        const char *subject;
    } cases[] = {
        {{.sans = {{SAN_URI, "spiffe://fleet.example/redis", 0}}}, "uri:spiffe://fleet.example/redis"},
        {{.organization = "SPIRE", .sans = {{SAN_URI, "spiffe://fleet.example/redis", 0}}},
         "uri:spiffe://fleet.example/redis (O=SPIRE)"},
        {{.sans = {{SAN_DNS, "a.example", 0}, {SAN_URI, "spiffe://a/b", 0}}}, "dns:a.example"},
        {{.sans = {{SAN_IP, "\x0a\0\0\1", 4}, {SAN_EMAIL, "a@b.example", 0}}}, "email:a@b.example"},
        {{.name = "p2ptls", .sans = {{SAN_DNS, "a.example", 0}}}, "dns:a.example (CN=p2ptls)"},
        /* A blank ends the name, so there is none in it. */
        {{.organization = "X", .sans = {{SAN_URI, "a (O=Y)", 0}}}, "O=X"},
        {{.sans = {{SAN_URI, "a\\b", 0}}}, "uri:a\\5cb"},
        {{.raw_sans = (const uint8_t *)"\x30\x07\x86\x05u\x1b[\0m", .raw_sans_len = 9}, "uri:u\\1b[\\00m"},
        {{.sans = {{SAN_URI, long_one, 0}}}, "(no subject)"},
        {{.organization = "X", .sans = {{SAN_IP, "\x0a\0\0\1", 4}}}, "O=X"},
        {{.organization = "X"}, "O=X"},
        {{.name = NULL}, "(no subject)"},
        {{.name = "a", .organization = "X", .sans = {{SAN_DNS, "b.example", 0}}}, "O=X,CN=a"},
        {{.name = "p2ptls2", .sans = {{SAN_DNS, "b.example", 0}}}, "CN=p2ptls2"},
    };

    (void)state;
    memset(long_one, 'x', sizeof long_one - 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_reads(cases[i].spec, cases[i].subject);
    }
}

/* Programs authorise by it. */
static void different_subjects_never_read_alike(void **state)
{
    static char long_one[200], long_subject[sizeof long_one + 3] = "CN=", too_long[400];
    const struct {
        const char *name, *subject;
    } cases[] = {
        {"jos\xc3\xa9", "CN=jos\\c3\\a9"}, {"jos\xc3\xa0", "CN=jos\\c3\\a0"}, {"jos\\c3\\a9", "CN=jos\\\\c3\\\\a9"},
        {"a,CN=b", "CN=a\\,CN=b"},         {long_one, long_subject},
    };

    (void)state;
    memset(long_one, 'x', sizeof long_one - 1);
    memcpy(long_subject + 3, long_one, sizeof long_one);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_reads((struct certificate_spec){.name = cases[i].name}, cases[i].subject);
    }
    for (size_t i = 0; i + 1 < sizeof too_long; i++)
        too_long[i] = "\xc3\xa9"[i % 2];
    too_long[sizeof too_long - 1 - sizeof too_long % 2] = '\0';
    assert_reads((struct certificate_spec){.name = too_long}, ""); /* and not a part of it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_subject_that_names_nobody_is_led_by_a_name),
        cmocka_unit_test(different_subjects_never_read_alike),
    };

    return cmocka_run_group_tests_name("identity_subject", tests, make_ca, free_ca);
}
