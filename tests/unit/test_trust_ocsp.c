/* ocsp=stapled: only a good answer in force clears a certificate, made here by openssl's responder; in both TLS roles.
 */
#include "trust_help.h"

#include <sys/wait.h>

static struct certificate ca, other_ca, between, leaf, second, deep;
static struct policy_trust trust;
static const struct identity_expectation nobody_dialled;

static int make_all(void **state)
{
    if (folder_make(state) != 0)
        return -1;
    ca = make_certificate(
        (struct certificate_spec){.name = "test CA", .is_ca = true, .pk = GNUTLS_PK_ECDSA, .bits = 256});
    other_ca = make_certificate(
        (struct certificate_spec){.name = "test CA", .is_ca = true, .pk = GNUTLS_PK_ECDSA, .bits = 256});
    between = make_certificate(
        (struct certificate_spec){.name = "between", .is_ca = true, .issuer = &ca, .pk = GNUTLS_PK_ECDSA, .bits = 256});
    leaf = make_certificate((struct certificate_spec){.name = "leaf", .issuer = &ca});
    second = make_certificate((struct certificate_spec){.name = "second", .issuer = &ca});
    deep = make_certificate((struct certificate_spec){.name = "deep", .issuer = &between});
    trust = trust_of((struct policy_trust){.ca = write_certificates("ca.pem", &ca, NULL), .ocsp_stapled = true}, NULL);
    return 0;
}

static int free_all(void **state)
{
    struct certificate *all[] = {&ca, &other_ca, &between, &leaf, &second, &deep};

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free_certificate(all[i]);
    return folder_remove(state);
}

struct answer_spec {
    const struct certificate *about, *issuer, *signer; /* signer NULL: the issuer */
    char status;                                       /* of openssl's index: V, R, or 0: not listed */
    const char *dates;                                 /* options of openssl ocsp; NULL: in force for a day */
};

static gnutls_datum_t answer(struct answer_spec spec)
{
    const struct certificate *signer = spec.signer ? spec.signer : spec.issuer;
    uint8_t serial[20];
    size_t len = sizeof serial;
    char hex[41], index[200] = "", command[2000];
    static char bytes[4][4096];
    static unsigned next;
    char *out = bytes[next++ % 4];

    assert_true(gnutls_x509_crt_get_serial(spec.about->cert, serial, &len) >= 0);
    for (size_t i = 0; i < len; i++)
        snprintf(hex + 2 * i, 3, "%02X", serial[i]);
    if (spec.status)
        snprintf(index, sizeof index, "%c\t391231235959Z\t%s\t%s\tunknown\t/CN=x\n", spec.status,
                 spec.status == 'R' ? "200101000000Z" : "", hex);
    const char *issuer = write_certificates("issuer.pem", spec.issuer, NULL);
    snprintf(command, sizeof command,
             "openssl ocsp -index %s -CA %s -rsigner %s -rkey %s -issuer %s -serial 0x%s -respout %s %s >%s 2>&1",
             write_text("index", index, 0644), issuer, write_certificates("signer.pem", signer, NULL),
             write_key("signer.key", signer, 0600), issuer, hex, in_folder("answer.der"),
             spec.dates ? spec.dates : "-ndays 1", in_folder("openssl.log"));
    if (system(command) != 0)
        fail_msg("failed: %s", command);
    FILE *f = fopen(in_folder("answer.der"), "re");
    assert_non_null(f);
    const size_t n = fread(out, 1, sizeof bytes[0], f);
    fclose(f);
    assert_true(n > 0 && n < sizeof bytes[0]);
    return (gnutls_datum_t){(uint8_t *)out, (unsigned)n};
}

static struct show show_with(gnutls_datum_t staple)
{
    return (struct show){.chain = {&leaf}, .count = 1, .staple = staple};
}

static void a_good_answer_is_accepted(void **state)
{
    struct show show = show_with(answer((struct answer_spec){.about = &leaf, .issuer = &ca, .status = 'V'}));

    (void)state;
    accepts(&trust, &show, nobody_dialled);
    show.staple = answer((struct answer_spec){.about = &leaf, .issuer = &ca, .status = 'V', .dates = ""});
    accepts(&trust, &show, nobody_dialled); /* without a date for the next one: of today */
}

static void no_answer_is_refused(void **state)
{
    const struct show show = show_with((gnutls_datum_t){0});

    (void)state;
    refuses_with(&trust, &show, nobody_dialled, GNUTLS_A_CERTIFICATE_REVOKED,
                 "came without a stapled OCSP answer, which ocsp=stapled asks for: set ocsp-staple= there");
}

static void revoked_and_unknown_are_refused(void **state)
{
    struct show show = show_with(answer((struct answer_spec){.about = &leaf, .issuer = &ca, .status = 'R'}));

    (void)state;
    refuses_with(&trust, &show, nobody_dialled, GNUTLS_A_CERTIFICATE_REVOKED,
                 "was revoked, as its stapled OCSP answer says");
    show.staple = answer((struct answer_spec){.about = &leaf, .issuer = &ca});
    refuses(&trust, &show, nobody_dialled, "is unknown to the responder");
}

static void an_answer_about_another_certificate_is_refused(void **state)
{
    const struct show show = show_with(answer((struct answer_spec){.about = &second, .issuer = &ca, .status = 'V'}));

    (void)state;
    refuses(&trust, &show, nobody_dialled, "stapled OCSP answer about another certificate");
}

static void an_answer_that_the_ca_has_not_signed_is_refused(void **state)
{
    struct certificate stranger = make_certificate((struct certificate_spec){
        .name = "responder", .issuer = &ca, .pk = GNUTLS_PK_ECDSA, .bits = 256}); /* without the purpose of signing */
    struct show show =
        show_with(answer((struct answer_spec){.about = &leaf, .issuer = &ca, .status = 'V', .signer = &other_ca}));

    (void)state;
    refuses(&trust, &show, nobody_dialled, "that its CA has not signed");
    show.staple = answer((struct answer_spec){.about = &leaf, .issuer = &ca, .status = 'V', .signer = &stranger});
    refuses(&trust, &show, nobody_dialled, "that its CA has not signed");
    free_certificate(&stranger);
}

static void a_responder_named_by_the_ca_may_sign(void **state)
{
    struct certificate responder = make_certificate((struct certificate_spec){
        .name = "responder", .issuer = &ca, .pk = GNUTLS_PK_ECDSA, .bits = 256, .purpose = GNUTLS_KP_OCSP_SIGNING});
    const struct show show =
        show_with(answer((struct answer_spec){.about = &leaf, .issuer = &ca, .status = 'V', .signer = &responder}));

    (void)state;
    accepts(&trust, &show, nobody_dialled);
    free_certificate(&responder);
}

static void the_issuer_may_be_an_intermediate_that_is_shown(void **state)
{
    const struct show show = {.chain = {&deep, &between},
                              .count = 2,
                              .staple =
                                  answer((struct answer_spec){.about = &deep, .issuer = &between, .status = 'V'})};

    (void)state;
    accepts(&trust, &show, nobody_dialled);
}

static void rubbish_is_refused(void **state)
{
    const struct show show = show_with((gnutls_datum_t){(uint8_t *)"rubbish", 7});

    (void)state;
    refuses(&trust, &show, nobody_dialled, "has a stapled OCSP answer that cannot be read");
}

static void an_answer_that_has_expired_is_refused(void **state)
{
    const struct show show = show_with(answer((struct answer_spec){.about = &leaf, .issuer = &ca, .status = 'V'}));
    struct shown_peer peer;
    struct trust_path path;
    char why[IDENTITY_WHY_MAX], reason[REASON_MAX];

    (void)state;
    for (int role = 0; role < 2; role++) {
        struct meeting m = meet(&show, role);
        struct trust_store *store = store_ok(&trust);
        assert_int_equal(shown_peer_take(NULL, m.judge, &nobody_dialled, &peer, why), RESULT_OK);
        trust_path_find(&path, &peer, store->anchors, true);
        assert_true(ocsp_clears(&peer, &path, time(NULL) + 86000, reason));
        assert_false(ocsp_clears(&peer, &path, time(NULL) + 87000, reason));
        assert_non_null(strstr(reason, "that has expired: the remote side must fetch a new one"));
        assert_false(ocsp_clears(&peer, &path, time(NULL) - 1000, reason));
        assert_non_null(strstr(reason, "of a later date than now"));
        trust_path_free(&path);
        shown_peer_free(&peer);
        trust_store_free(store);
        part(&m);
    }
}

static void where_the_answer_is_asked_for_crl_counts_too(void **state)
{
    const struct show show = show_with(answer((struct answer_spec){.about = &leaf, .issuer = &ca, .status = 'V'}));
    char command[1000];

    (void)state;
    write_text("empty-index", "", 0644);
    write_certificates("issuer.pem", &ca, NULL);
    write_key("issuer.key", &ca, 0600);
    write_text("ca.cnf", "[ca]\ndefault_ca=d\n[d]\ndatabase=empty-index\ndefault_md=sha256\ndefault_crl_days=1\n",
               0644);
    snprintf(command, sizeof command,
             "cd %s && openssl ca -config ca.cnf -gencrl -cert issuer.pem -keyfile issuer.key -out other.crl 2>log",
             folder);
    assert_int_equal(system(command), 0);
    const struct policy_trust both = trust_of(
        (struct policy_trust){.ca = in_folder("ca.pem"), .ocsp_stapled = true, .crl = in_folder("other.crl")}, NULL);
    accepts(&both, &show, nobody_dialled);
    const struct show bare = show_with((gnutls_datum_t){0});
    refuses(&both, &bare, nobody_dialled, "came without a stapled OCSP answer");
}

/* What is trusted by its pin alone has no path to a CA, so nobody can have signed an answer about it. */
static void an_answer_about_what_has_no_known_issuer_is_refused(void **state)
{
    struct certificate stranger_ca = make_certificate((struct certificate_spec){.name = "stranger", .is_ca = true});
    const struct policy_trust pinned = trust_of(
        (struct policy_trust){
            .ca = write_certificates("stranger.pem", &stranger_ca, NULL), .ocsp_stapled = true, .pins = pin_of(&leaf)},
        "(ca or pinned) and not revoked");
    const struct show show = show_with(answer((struct answer_spec){.about = &leaf, .issuer = &ca, .status = 'V'}));

    (void)state;
    refuses(&pinned, &show, nobody_dialled, "has an issuer that is not known here, so its stapled OCSP answer cannot");
    free_certificate(&stranger_ca);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_answer_is_accepted),
        cmocka_unit_test(no_answer_is_refused),
        cmocka_unit_test(revoked_and_unknown_are_refused),
        cmocka_unit_test(an_answer_about_another_certificate_is_refused),
        cmocka_unit_test(an_answer_that_the_ca_has_not_signed_is_refused),
        cmocka_unit_test(a_responder_named_by_the_ca_may_sign),
        cmocka_unit_test(the_issuer_may_be_an_intermediate_that_is_shown),
        cmocka_unit_test(rubbish_is_refused),
        cmocka_unit_test(an_answer_that_has_expired_is_refused),
        cmocka_unit_test(an_answer_about_what_has_no_known_issuer_is_refused),
        cmocka_unit_test(where_the_answer_is_asked_for_crl_counts_too),
    };

    return cmocka_run_group_tests_name("trust_ocsp", tests, make_all, free_all);
}
