/* ca=, pin=, crl= and their refusals: a peer is judged in both TLS roles. */
#include "trust_help.h"

static struct certificate ca, other_ca, between, leaf, deep, other;
static const struct identity_expectation nobody_dialled;

static int make_all(void **state)
{
    if (folder_make(state) != 0)
        return -1;
    ca = make_certificate((struct certificate_spec){.name = "test CA", .is_ca = true});
    other_ca = make_certificate((struct certificate_spec){.name = "other CA", .is_ca = true});
    between = make_certificate((struct certificate_spec){.name = "between", .is_ca = true, .issuer = &ca});
    leaf = make_certificate((struct certificate_spec){
        .name = "leaf", .issuer = &ca, .sans = {{SAN_DNS, "db.example.org", 0}, {SAN_IP, "\x7f\0\0\1", 4}}});
    deep = make_certificate((struct certificate_spec){.name = "deep", .issuer = &between});
    other = make_certificate((struct certificate_spec){.name = "other", .issuer = &other_ca});
    return 0;
}

static int free_all(void **state)
{
    struct certificate *all[] = {&ca, &other_ca, &between, &leaf, &deep, &other};

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free_certificate(all[i]);
    return folder_remove(state);
}

static struct show show_one(const struct certificate *c)
{
    return (struct show){.chain = {c}, .count = 1};
}

static struct policy_trust trust_ca_file(void)
{
    return trust_of((struct policy_trust){.ca = write_certificates("ca.pem", &ca, NULL)}, NULL);
}

static void every_kind_of_key_is_judged(void **state)
{
    static const struct {
        gnutls_pk_algorithm_t pk;
        unsigned bits;
    } keys[] = {{GNUTLS_PK_EDDSA_ED25519, 256},
                {GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1)},
                {GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP384R1)},
                {GNUTLS_PK_RSA, 2048}};
    const struct policy_trust trust = trust_ca_file();

    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        struct certificate c = make_certificate(
            (struct certificate_spec){.name = "x", .issuer = &ca, .pk = keys[i].pk, .bits = keys[i].bits});
        struct show show = show_one(&c);
        accepts(&trust, &show, nobody_dialled);
        const struct policy_trust pinned = trust_of((struct policy_trust){.pins = pin_of(&c)}, NULL);
        accepts(&pinned, &show, nobody_dialled);
        show.raw = true;
        accepts(&pinned, &show, nobody_dialled);
        free_certificate(&c);
    }
}

static void another_ca_is_refused_with_unknown_ca(void **state)
{
    const struct policy_trust trust = trust_ca_file();
    const struct show show = show_one(&other);

    (void)state;
    refuses_with(&trust, &show, nobody_dialled, GNUTLS_A_UNKNOWN_CA, "certificate of CN=other (SHA-256 ");
    refuses(&trust, &show, nobody_dialled, "was not issued by a trusted CA: compare ca= here");
}

static void a_folder_of_cas_is_read_and_other_files_in_it_are_not(void **state)
{
    const struct show mine = show_one(&leaf), others = show_one(&other);
    struct policy_trust trust;

    (void)state;
    assert_int_equal(mkdir(in_folder("cas"), 0755), 0);
    trust = trust_of((struct policy_trust){.ca = in_folder("cas")}, NULL);
    store_refused(&trust, "holds no file that ends in .pem");
    write_certificates("cas/one.pem", &ca, NULL);
    write_text("cas/README", "not a certificate", 0644);
    write_text("cas/.hidden.pem", "not a certificate", 0644);
    accepts(&trust, &mine, nobody_dialled);
    refuses(&trust, &others, nobody_dialled, "not issued by a trusted CA");
    write_certificates("cas/two.crt", &other_ca, NULL);
    accepts(&trust, &mine, nobody_dialled);
    accepts(&trust, &others, nobody_dialled);
    write_text("cas/broken.pem", "-----BEGIN CERTIFICATE-----\nMIIB", 0644);
    store_refused(&trust, "cas/broken.pem holds no readable PEM certificate");
    assert_int_equal(unlink(in_folder("cas/broken.pem")), 0);
    assert_int_equal(chmod(in_folder("cas"), 0757), 0);
    store_refused(&trust, "everyone can add files to the folder");
    assert_int_equal(chmod(in_folder("cas"), 0755), 0);
}

static void several_sources_of_cas_add_up(void **state)
{
    char both[600];
    const struct show mine = show_one(&leaf), others = show_one(&other);

    (void)state;
    snprintf(both, sizeof both, "%s,system,%s", write_certificates("ca.pem", &ca, NULL),
             write_certificates("other.pem", &other_ca, NULL));
    const struct policy_trust trust = trust_of((struct policy_trust){.ca = both}, NULL),
                              system_only = trust_of((struct policy_trust){.ca = "system"}, NULL);
    accepts(&trust, &mine, nobody_dialled);
    accepts(&trust, &others, nobody_dialled);
    refuses(&system_only, &mine, nobody_dialled, "not issued by a trusted CA");
    struct trust_store *store = store_ok(&system_only);
    gnutls_x509_trust_list_iter_t at = NULL;
    gnutls_x509_crt_t cert;
    assert_true(gnutls_x509_trust_list_iter_get_ca(store->anchors, &at, &cert) >= 0);
    gnutls_x509_crt_deinit(cert);
    gnutls_x509_trust_list_iter_deinit(at);
    trust_store_free(store);
}

static void intermediates_must_be_shown_in_any_order(void **state)
{
    const struct policy_trust trust = trust_ca_file();
    const struct show whole = {.chain = {&deep, &between}, .count = 2}, part_only = show_one(&deep),
                      shuffled = {.chain = {&deep, &other_ca, &between}, .count = 3},
                      with_root = {.chain = {&deep, &between, &ca}, .count = 3};

    (void)state;
    accepts(&trust, &whole, nobody_dialled);
    accepts(&trust, &with_root, nobody_dialled);
    accepts(&trust, &shuffled, nobody_dialled);
    refuses(&trust, &part_only, nobody_dialled, "was not issued by a trusted CA");
}

static void who_is_no_ca_issues_nothing(void **state)
{
    struct certificate fake = make_certificate((struct certificate_spec){.name = "victim", .issuer = &leaf});
    const struct show show = {.chain = {&fake, &leaf}, .count = 2};
    const struct policy_trust trust = trust_ca_file();

    (void)state;
    refuses_with(&trust, &show, nobody_dialled, GNUTLS_A_UNKNOWN_CA, "was issued by a certificate that is no CA");
    free_certificate(&fake);
}

static void a_stranger_with_the_name_of_the_ca_is_refused(void **state)
{
    struct certificate twin = make_certificate((struct certificate_spec){.name = "test CA", .is_ca = true}),
                       fake = make_certificate((struct certificate_spec){.name = "fake", .issuer = &twin});
    const struct show show = {.chain = {&fake, &twin}, .count = 2};
    const struct policy_trust trust = trust_ca_file();

    (void)state;
    refuses(&trust, &show, nobody_dialled, "certificate of CN=fake");
    free_certificate(&twin);
    free_certificate(&fake);
}

static time_t year_ahead(time_t *t)
{
    return (void)t, time(NULL) + 500 * 86400L;
}

static time_t year_ago(time_t *t)
{
    return (void)t, time(NULL) - 400 * 86400L;
}

static void dates_count(void **state)
{
    const struct policy_trust trust = trust_ca_file();
    const struct show show = show_one(&leaf);

    (void)state;
    gnutls_global_set_time_function(year_ahead);
    refuses_with(&trust, &show, nobody_dialled, GNUTLS_A_CERTIFICATE_EXPIRED, "expired: renew it on the remote side");
    gnutls_global_set_time_function(year_ago);
    refuses_with(&trust, &show, nobody_dialled, GNUTLS_A_CERTIFICATE_EXPIRED, "not valid yet: check the clocks");
    gnutls_global_set_time_function(time);
}

/* What is shown, as from a session of before: no handshake is needed for it. */
static struct shown_peer shown_of(const struct certificate *c)
{
    struct identity_expectation before = {.remembered_count = 1};
    struct shown_peer shown;
    gnutls_datum_t der;
    char why[IDENTITY_WHY_MAX];

    assert_true(gnutls_x509_crt_export2(c->cert, GNUTLS_X509_FMT_DER, &der) >= 0);
    before.remembered = &der;
    assert_int_equal(shown_peer_take(NULL, NULL, &before, &shown, why), RESULT_OK);
    gnutls_free(der.data);
    return shown;
}

static void remember(struct verified_chains *v, const struct shown_peer *shown, gnutls_x509_trust_list_t anchors)
{
    struct trust_path path;

    trust_path_find(&path, shown, anchors, true);
    verified_chains_add(v, shown, &path);
    trust_path_free(&path);
}

static void a_chain_that_was_verified_is_known_until_one_of_it_expires(void **state)
{
    const struct policy_trust trust = trust_ca_file();
    struct certificate old =
        make_certificate((struct certificate_spec){.name = "old", .issuer = &ca, .from_days = -2, .until_days = -1});
    struct trust_store *store = store_ok(&trust);
    struct verified_chains *v = verified_chains_new();
    struct shown_peer good = shown_of(&leaf), expired = shown_of(&old), unanchored = shown_of(&other);

    (void)state;
    assert_false(verified_chains_have(v, &good));
    remember(v, &good, store->anchors);
    assert_true(verified_chains_have(v, &good));
    remember(v, &expired, store->anchors);
    assert_false(verified_chains_have(v, &expired));
    remember(v, &unanchored, store->anchors);
    assert_false(verified_chains_have(v, &unanchored));
    verified_chains_free(v);
    trust_store_free(store);
    shown_peer_free(&good);
    shown_peer_free(&expired);
    shown_peer_free(&unanchored);
    free_certificate(&old);
}

static void a_chain_of_a_hundred_is_refused_unread(void **state)
{
    static struct certificate chain[100];
    static struct show show;
    const struct policy_trust trust = trust_ca_file();

    (void)state;
    chain[99] = make_certificate((struct certificate_spec){.name = "c99", .is_ca = true, .issuer = &ca});
    for (int i = 98; i >= 0; i--)
        chain[i] = make_certificate((struct certificate_spec){.name = "c", .is_ca = true, .issuer = &chain[i + 1]});
    show.count = 100;
    for (unsigned i = 0; i < 100; i++)
        show.chain[i] = &chain[i];
    refuses(&trust, &show, nobody_dialled, "shows 100 certificates, more than the 16");
    show.count = SHOWN_MAX + 1;
    refuses(&trust, &show, nobody_dialled, "shows 17 certificates");
    for (unsigned i = 0; i < SHOWN_MAX; i++)
        show.chain[i] = &chain[100 - SHOWN_MAX + i];
    show.count = SHOWN_MAX;
    accepts(&trust, &show, nobody_dialled);
    for (int i = 0; i < 100; i++)
        free_certificate(&chain[i]);
}

static void the_dialled_name_must_be_in_a_certificate_that_a_ca_vouches_for(void **state)
{
    const struct policy_trust trust = trust_ca_file(),
                              both = trust_of((struct policy_trust){.ca = trust.ca, .pins = pin_of(&leaf)}, NULL),
                              either = trust_of((struct policy_trust){.ca = trust.ca, .pins = pin_of(&leaf)},
                                                "ca or pinned");
    const struct show show = show_one(&leaf);
    struct identity_expectation dialled = {.dialled_name = "db.example.org", .port = 5432, .connected_side = true};

    (void)state;
    accepts(&trust, &show, dialled);
    dialled.dialled_name = "127.0.0.1";
    accepts(&trust, &show, dialled);
    dialled.dialled_name = "evil.example.org";
    refuses(&trust, &show, dialled, "does not carry the name evil.example.org");
    refuses(&both, &show, dialled, "does not carry the name evil.example.org");
    accepts(&either, &show, dialled); /* a pinned key needs no name */
    dialled.peer_patterns = "*.example.org";
    accepts(&trust, &show, dialled);
    dialled.peer_patterns = "uri:spiffe://td/x,email:a@example.org";
    refuses(&trust, &show, dialled, "does not carry the name uri:spiffe://td/x,email:a@example.org");
    refuses(&either, &show, dialled, "does not carry the name"); /* peer= counts always */
    dialled.connected_side = false;
    refuses(&trust, &show, dialled, "does not carry the name");
    dialled.peer_patterns = NULL;
    accepts(&trust, &show, dialled); /* who accepts has dialled nothing */
}

static void a_pin_is_the_key_whatever_the_certificate_says(void **state)
{
    struct certificate self = make_certificate((struct certificate_spec){.name = "self"}),
                       old = make_certificate((struct certificate_spec){.from_days = -10, .until_days = -5});
    const struct show shown = show_one(&self), expired = show_one(&old), stranger = show_one(&leaf);
    char two[200];

    (void)state;
    snprintf(two, sizeof two, "%s,%s", pin_of(&old), pin_of(&self));
    const struct policy_trust trust = trust_of((struct policy_trust){.pins = two}, NULL);
    accepts(&trust, &shown, (struct identity_expectation){.dialled_name = "any.example.org", .connected_side = true});
    accepts(&trust, &expired, nobody_dialled);
    refuses(&trust, &stranger, nobody_dialled, pin_of(&leaf));
    refuses(&trust, &stranger, nobody_dialled, "which is not pinned: if it is the right one, add it to pin=");
    free_certificate(&self);
    free_certificate(&old);
}

static void pins_are_read_in_hexadecimal_and_base64(void **state)
{
    static const char *const good[] = {
        "sha256:0000000000000000000000000000000000000000000000000000000000000000",
        "sha256:ABCDEFabcdef0123456789000000000000000000000000000000000000000000",
        "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};
    static const char *const bad[] = {"",
                                      "sha256:",
                                      "sha1:0000000000000000000000000000000000000000",
                                      "0000",
                                      "sha256:000000000000000000000000000000000000000000000000000000000000000",
                                      "sha256:000000000000000000000000000000000000000000000000000000000000000g",
                                      "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=", /* bits behind the end */
                                      "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==",
                                      "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA-A="};
    uint8_t hash[KEY_HASH_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (!trust_parse_fingerprint(good[i], strlen(good[i]), hash))
            fail_msg("refused: %s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (trust_parse_fingerprint(bad[i], strlen(bad[i]), hash))
            fail_msg("taken: %s", bad[i]);
    for (unsigned i = 0; i < 256; i++) {
        char text[FINGERPRINT_TEXT];
        uint8_t back[KEY_HASH_BYTES];
        memset(hash, (int)i, sizeof hash);
        trust_print_fingerprint(hash, text);
        assert_true(trust_parse_fingerprint(text, strlen(text), back));
        assert_memory_equal(hash, back, sizeof hash);
    }
}

static void a_raw_key_carries_no_name_and_has_no_ca(void **state)
{
    struct show raw = show_one(&leaf);
    const struct policy_trust by_ca = trust_ca_file(),
                              pinned = trust_of((struct policy_trust){.pins = pin_of(&leaf)}, NULL);
    struct identity_expectation expect = {.dialled_name = "db.example.org", .connected_side = true};

    (void)state;
    raw.raw = true;
    refuses(&by_ca, &raw, expect,
            "the raw public key of the remote side is no certificate, so no CA can have issued it");
    accepts(&pinned, &raw, expect);
    expect.peer_patterns = "db.example.org";
    refuses(&pinned, &raw, expect, "carries no name, so peer=db.example.org cannot be checked");
}

static void conditions_combine_and_the_reason_is_the_one_that_counts(void **state)
{
    const char *cas = write_certificates("ca.pem", &ca, NULL);
    const struct policy_trust either =
                                  trust_of((struct policy_trust){.ca = cas, .pins = pin_of(&other)}, "ca or pinned"),
                              both = trust_of((struct policy_trust){.ca = cas, .pins = pin_of(&other)}, NULL);
    struct certificate third = make_certificate((struct certificate_spec){.name = "third"});
    const struct show mine = show_one(&leaf), pinned = show_one(&other), neither = show_one(&third);

    (void)state;
    accepts(&either, &mine, nobody_dialled);
    accepts(&either, &pinned, nobody_dialled);
    refuses(&either, &neither, nobody_dialled, "was not issued by a trusted CA");
    refuses(&both, &mine, nobody_dialled, "CN=leaf");
    refuses(&both, &mine, nobody_dialled, "is not pinned");
    refuses(&both, &pinned, nobody_dialled, "was not issued by a trusted CA");
    refuses(&both, &neither, nobody_dialled, "; it has the key");
    free_certificate(&third);
}

static void nobody_is_accepted_where_nothing_is_trusted(void **state)
{
    const struct policy_trust nothing = {0};
    const struct show mine = show_one(&leaf);

    (void)state;
    refuses(&nothing, &mine, nobody_dialled, "nothing is trusted here");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_key_is_judged),
        cmocka_unit_test(another_ca_is_refused_with_unknown_ca),
        cmocka_unit_test(a_folder_of_cas_is_read_and_other_files_in_it_are_not),
        cmocka_unit_test(several_sources_of_cas_add_up),
        cmocka_unit_test(intermediates_must_be_shown_in_any_order),
        cmocka_unit_test(who_is_no_ca_issues_nothing),
        cmocka_unit_test(a_stranger_with_the_name_of_the_ca_is_refused),
        cmocka_unit_test(dates_count),
        cmocka_unit_test(a_chain_that_was_verified_is_known_until_one_of_it_expires),
        cmocka_unit_test(a_chain_of_a_hundred_is_refused_unread),
        cmocka_unit_test(the_dialled_name_must_be_in_a_certificate_that_a_ca_vouches_for),
        cmocka_unit_test(a_pin_is_the_key_whatever_the_certificate_says),
        cmocka_unit_test(pins_are_read_in_hexadecimal_and_base64),
        cmocka_unit_test(a_raw_key_carries_no_name_and_has_no_ca),
        cmocka_unit_test(conditions_combine_and_the_reason_is_the_one_that_counts),
        cmocka_unit_test(nobody_is_accepted_where_nothing_is_trusted),
    };

    return cmocka_run_group_tests_name("trust_ca", tests, make_all, free_all);
}
