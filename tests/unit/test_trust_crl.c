/* crl=: what was revoked is refused, and so is what no list in force can clear; in both TLS roles. */
#include "trust_help.h"

static struct certificate ca, between, leaf, deep, other_ca;
static const struct identity_expectation nobody_dialled;

static int make_all(void **state)
{
    if (folder_make(state) != 0)
        return -1;
    ca = make_certificate((struct certificate_spec){.name = "test CA", .is_ca = true});
    other_ca = make_certificate((struct certificate_spec){.name = "other CA", .is_ca = true});
    between = make_certificate((struct certificate_spec){.name = "between", .is_ca = true, .issuer = &ca});
    leaf = make_certificate((struct certificate_spec){.name = "leaf", .issuer = &ca});
    deep = make_certificate((struct certificate_spec){.name = "deep", .issuer = &between});
    return 0;
}

static int free_all(void **state)
{
    struct certificate *all[] = {&ca, &between, &leaf, &deep, &other_ca};

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free_certificate(all[i]);
    return folder_remove(state);
}

struct list_spec {
    const struct certificate *issuer, *signer; /* signer NULL: the issuer */
    const struct certificate *revoked[3];
    long from_hours, until_hours; /* relative to now; 0: an hour ago, in a day */
    bool der, undated;
};

static const char *write_list(const char *name, struct list_spec spec)
{
    const struct certificate *signer = spec.signer ? spec.signer : spec.issuer;
    const time_t now = time(NULL), hour = 3600;
    gnutls_x509_crl_t crl;
    gnutls_datum_t text;

    assert_true(gnutls_x509_crl_init(&crl) >= 0);
    assert_true(gnutls_x509_crl_set_version(crl, 2) >= 0);
    assert_true(gnutls_x509_crl_set_this_update(crl, now + (spec.from_hours ? spec.from_hours : -1) * hour) >= 0);
    if (!spec.undated)
        assert_true(gnutls_x509_crl_set_next_update(crl, now + (spec.until_hours ? spec.until_hours : 24) * hour) >= 0);
    assert_true(gnutls_x509_crl_set_number(crl, "\1", 1) >= 0);
    for (size_t i = 0; i < 3 && spec.revoked[i]; i++)
        assert_true(gnutls_x509_crl_set_crt(crl, spec.revoked[i]->cert, now - hour) >= 0);
    assert_true(gnutls_x509_crl_sign2(crl, signer->cert, signer->key, GNUTLS_DIG_SHA512, 0) >= 0);
    assert_true(gnutls_x509_crl_export2(crl, spec.der ? GNUTLS_X509_FMT_DER : GNUTLS_X509_FMT_PEM, &text) >= 0);
    gnutls_x509_crl_deinit(crl);
    const char *path = write_file(name, text.data, text.size, 0644);
    gnutls_free(text.data);
    return path;
}

static struct policy_trust trust_with(const char *crl)
{
    return trust_of((struct policy_trust){.ca = write_certificates("ca.pem", &ca, NULL), .crl = crl}, NULL);
}

static const struct show show_leaf = {.chain = {&leaf}, .count = 1},
                         show_deep = {.chain = {&deep, &between}, .count = 2};

static void what_is_not_listed_is_accepted(void **state)
{
    struct policy_trust trust = trust_with(write_list("ok.crl", (struct list_spec){.issuer = &ca, .revoked = {&deep}}));

    (void)state;
    accepts(&trust, &show_leaf, nobody_dialled);
    trust = trust_with(write_list("ok.crl", (struct list_spec){.issuer = &ca, .der = true}));
    accepts(&trust, &show_leaf, nobody_dialled);
}

static void what_is_listed_is_refused(void **state)
{
    struct policy_trust trust =
        trust_with(write_list("bad.crl", (struct list_spec){.issuer = &ca, .revoked = {&between, &leaf, &deep}}));

    (void)state;
    refuses_with(&trust, &show_leaf, nobody_dialled, GNUTLS_A_CERTIFICATE_REVOKED, "was revoked (");
    refuses(&trust, &show_leaf, nobody_dialled, "bad.crl): the remote side needs a new one");
    trust = trust_with(write_list(
        "old.crl", (struct list_spec){.issuer = &ca, .revoked = {&leaf}, .until_hours = -1, .from_hours = -2}));
    refuses(&trust, &show_leaf, nobody_dialled, "was revoked"); /* an expired list still says so */
}

static void a_list_is_needed_for_each_issuer_of_the_chain(void **state)
{
    const char *root_list = write_list("root.crl", (struct list_spec){.issuer = &ca});
    const char *between_list = write_list("between.crl", (struct list_spec){.issuer = &between});
    char both[600];

    (void)state;
    struct policy_trust trust = trust_with(root_list);
    refuses_with(&trust, &show_deep, nobody_dialled, GNUTLS_A_CERTIFICATE_REVOKED,
                 "may be revoked: crl= holds no list of CN=between");
    trust = trust_with(between_list);
    refuses(&trust, &show_deep, nobody_dialled, "holds no list of CN=test CA");
    snprintf(both, sizeof both, "%s,%s", root_list, between_list);
    trust = trust_with(both);
    accepts(&trust, &show_deep, nobody_dialled);
    snprintf(both, sizeof both, "%s,%s",
             write_list("root.crl", (struct list_spec){.issuer = &ca, .revoked = {&between}}), between_list);
    trust = trust_with(both);
    refuses(&trust, &show_deep, nobody_dialled, "was revoked");
}

static void a_list_that_is_out_of_date_clears_nobody(void **state)
{
    struct policy_trust trust =
        trust_with(write_list("expired.crl", (struct list_spec){.issuer = &ca, .from_hours = -48, .until_hours = -24}));

    (void)state;
    refuses(&trust, &show_leaf, nobody_dialled, "expired.crl has expired: fetch the new one");
    trust = trust_with(write_list("later.crl", (struct list_spec){.issuer = &ca, .from_hours = 24, .until_hours = 48}));
    refuses(&trust, &show_leaf, nobody_dialled, "later date than now: check this machine's clock");
}

static void a_list_without_an_end_clears_nobody(void **state)
{
    const struct policy_trust trust =
        trust_with(write_list("endless.crl", (struct list_spec){.issuer = &ca, .undated = true}));

    (void)state;
    refuses(&trust, &show_leaf, nobody_dialled, "endless.crl does not say until when it counts");
}

/* RFC 5280 section 5.2.5: a list that speaks of a part of what its CA issued says so by a critical extension. */
static void a_part_of_a_list_clears_nobody(void **state)
{
    char command[1000];

    (void)state;
    write_text("index", "", 0644);
    write_certificates("issuer.pem", &ca, NULL);
    write_key("issuer.key", &ca, 0600);
    write_text("ca.cnf",
               "[ca]\ndefault_ca=d\n[d]\ndatabase=index\ndefault_md=sha256\ndefault_crl_days=1\ncrl_extensions=e\n"
               "[e]\nissuingDistributionPoint=critical,@p\n[p]\nonlyuser=TRUE\n",
               0644);
    snprintf(command, sizeof command,
             "cd %s && openssl ca -config ca.cnf -gencrl -cert issuer.pem -keyfile issuer.key -out part.crl 2>log",
             folder);
    assert_int_equal(system(command), 0);
    const struct policy_trust trust = trust_with(in_folder("part.crl"));
    refuses(&trust, &show_leaf, nobody_dialled, "part.crl is a delta or a part of a list, which is not enough");
}

static void a_newer_list_beside_an_expired_one_counts(void **state)
{
    assert_int_equal(mkdir(in_folder("crls"), 0755), 0);
    write_list("crls/1.crl", (struct list_spec){.issuer = &ca, .from_hours = -48, .until_hours = -24});
    const struct policy_trust trust = trust_with(in_folder("crls"));

    (void)state;
    refuses(&trust, &show_leaf, nobody_dialled, "has expired");
    write_list("crls/2.crl", (struct list_spec){.issuer = &ca});
    write_list("crls/3.crl", (struct list_spec){.issuer = &other_ca});
    accepts(&trust, &show_leaf, nobody_dialled);
    write_text("crls/4.crl", "rubbish", 0644);
    store_refused(&trust, "crls/4.crl holds no readable certificate revocation list");
}

static void a_list_by_somebody_else_clears_nobody_and_revokes_nobody(void **state)
{
    struct certificate twin = make_certificate((struct certificate_spec){.name = "test CA", .is_ca = true});
    struct policy_trust trust = trust_with(write_list("forged.crl", (struct list_spec){.issuer = &twin}));

    (void)state;
    refuses(&trust, &show_leaf, nobody_dialled, "forged.crl is not signed by it");
    trust = trust_with(write_list("forged.crl", (struct list_spec){.issuer = &twin, .revoked = {&leaf}}));
    refuses(&trust, &show_leaf, nobody_dialled, "forged.crl is not signed by it");
    free_certificate(&twin);
}

static void a_list_by_a_ca_that_may_not_sign_lists_clears_nobody(void **state)
{
    struct certificate narrow = make_certificate(
        (struct certificate_spec){.name = "narrow CA", .is_ca = true, .usage = GNUTLS_KEY_KEY_CERT_SIGN});
    struct certificate issued = make_certificate((struct certificate_spec){.name = "issued", .issuer = &narrow});
    const struct show show = {.chain = {&issued}, .count = 1};
    const struct policy_trust trust =
        trust_of((struct policy_trust){.ca = write_certificates("narrow.pem", &narrow, NULL),
                                       .crl = write_list("narrow.crl", (struct list_spec){.issuer = &narrow})},
                 NULL);

    (void)state;
    refuses(&trust, &show, nobody_dialled, "narrow.crl is signed by a certificate that may sign none: issue the CA's");
    free_certificate(&issued);
    free_certificate(&narrow);
}

static void revocation_can_be_an_alternative(void **state)
{
    const char *list = write_list("bad.crl", (struct list_spec){.issuer = &ca, .revoked = {&leaf}});
    const struct policy_trust trust = trust_of(
        (struct policy_trust){.ca = write_certificates("ca.pem", &ca, NULL), .crl = list, .pins = pin_of(&leaf)},
        "(ca and not revoked) or pinned");
    const struct policy_trust strict = trust_of(
        (struct policy_trust){.ca = write_certificates("ca.pem", &ca, NULL), .crl = list, .pins = pin_of(&leaf)},
        "(ca or pinned) and not revoked");

    (void)state;
    accepts(&trust, &show_leaf, nobody_dialled);
    refuses_with(&strict, &show_leaf, nobody_dialled, GNUTLS_A_CERTIFICATE_REVOKED, "was revoked");
}

/* What is trusted by its pin alone has no path to a CA, so nobody says that it was not revoked. */
static void what_has_no_known_issuer_cannot_be_cleared(void **state)
{
    const struct policy_trust trust =
        trust_of((struct policy_trust){.ca = write_certificates("other.pem", &other_ca, NULL),
                                       .crl = write_list("ok.crl", (struct list_spec){.issuer = &ca}),
                                       .pins = pin_of(&leaf)},
                 "(ca or pinned) and not revoked");

    (void)state;
    refuses(&trust, &show_leaf, nobody_dialled, "may be revoked: its issuer is not known here: add it to ca=");
}

static void a_raw_key_cannot_be_cleared(void **state)
{
    struct show raw = show_leaf;
    const struct policy_trust trust = trust_of(
        (struct policy_trust){.crl = write_list("ok.crl", (struct list_spec){.issuer = &ca}), .pins = pin_of(&leaf)},
        NULL);

    (void)state;
    raw.raw = true;
    refuses(&trust, &raw, nobody_dialled, "is no certificate, so whether it was revoked cannot be told");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_listed_is_accepted),
        cmocka_unit_test(what_is_listed_is_refused),
        cmocka_unit_test(a_list_is_needed_for_each_issuer_of_the_chain),
        cmocka_unit_test(a_list_that_is_out_of_date_clears_nobody),
        cmocka_unit_test(a_list_without_an_end_clears_nobody),
        cmocka_unit_test(a_part_of_a_list_clears_nobody),
        cmocka_unit_test(a_newer_list_beside_an_expired_one_counts),
        cmocka_unit_test(a_list_by_somebody_else_clears_nobody_and_revokes_nobody),
        cmocka_unit_test(a_list_by_a_ca_that_may_not_sign_lists_clears_nobody),
        cmocka_unit_test(revocation_can_be_an_alternative),
        cmocka_unit_test(what_has_no_known_issuer_cannot_be_cleared),
        cmocka_unit_test(a_raw_key_cannot_be_cleared),
    };

    return cmocka_run_group_tests_name("trust_crl", tests, make_all, free_all);
}
