/* identity_apply and identity_verify in real TLS 1.3 handshakes, in both roles. */
#include "identity_help.h"

#include "trust_internal.h"

static struct certificate ca, other_ca;

static int make_cas(void **state)
{
    ca = make_certificate((struct certificate_spec){.name = "test CA", .is_ca = true});
    other_ca = make_certificate((struct certificate_spec){.name = "other CA", .is_ca = true});
    return folder_make(state);
}

static int free_cas(void **state)
{
    free_certificate(&ca);
    free_certificate(&other_ca);
    return folder_remove(state);
}

/* An identity with a certificate of this shape, which trusts ca. */
static struct identity *identity_with(struct certificate_spec spec)
{
    if (!spec.issuer)
        spec.issuer = &ca;
    struct certificate own = make_certificate(spec);
    struct identity *id = load_files(&own, &ca);

    free_certificate(&own);
    return id;
}

/* Both ends accept each other, whichever is TLS client. */
static void accept_both_ways(const struct identity *a, const char *a_subject, const struct identity *b,
                             const char *b_subject)
{
    for (int swap = 0; swap < 2; swap++) {
        struct pair p = swap ? shake_identities(b, a) : shake_identities(a, b);
        verify_ok(a, swap ? &p.server : &p.client, NULL, b_subject);
        verify_ok(b, swap ? &p.client : &p.server, NULL, a_subject);
        pair_free(&p);
    }
}

/* The judge refuses the suspect, whichever of them is TLS client. */
static void refuse_both_ways(const struct identity *judge, const struct identity *suspect, const char *name,
                             const char *part)
{
    for (int swap = 0; swap < 2; swap++) {
        struct pair p = swap ? shake_identities(suspect, judge) : shake_identities(judge, suspect);
        verify_refused(judge, swap ? &p.server : &p.client, name, part);
        pair_free(&p);
    }
}

static void certificates_of_one_ca_trust_each_other(void **state)
{
    static const struct {
        gnutls_pk_algorithm_t pk;
        unsigned bits;
    } keys[] = {{GNUTLS_PK_EDDSA_ED25519, 256},
                {GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1)},
                {GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP384R1)},
                {GNUTLS_PK_RSA, 2048}};
    struct identity *a = identity_with((struct certificate_spec){.name = "alpha"});

    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        struct identity *b =
            identity_with((struct certificate_spec){.name = "beta", .pk = keys[i].pk, .bits = keys[i].bits});
        accept_both_ways(a, "CN=alpha", b, "CN=beta");
        identity_unref(b);
    }
    identity_unref(a);
}

static void a_certificate_of_another_ca_is_refused(void **state)
{
    struct identity *a = identity_with((struct certificate_spec){.name = "alpha"}),
                    *b = identity_with((struct certificate_spec){.name = "beta", .issuer = &other_ca});

    (void)state;
    refuse_both_ways(a, b, NULL, "certificate of CN=beta");
    refuse_both_ways(a, b, NULL, "was not issued by a trusted CA");
    accept_both_ways(a, "CN=alpha", a, "CN=alpha");
    identity_unref(a);
    identity_unref(b);
}

static void the_chain_is_sent_with_its_intermediates(void **state)
{
    struct certificate between =
                           make_certificate((struct certificate_spec){.name = "between", .is_ca = true, .issuer = &ca}),
                       no_ca = make_certificate((struct certificate_spec){.name = "no CA", .issuer = &ca}),
                       leaf = make_certificate((struct certificate_spec){.name = "leaf", .issuer = &between}),
                       bad = make_certificate((struct certificate_spec){.name = "bad", .issuer = &no_ca});
    struct identity_files config = {.cert_file = write_certificates("chain.crt", &leaf, &between, NULL),
                                    .key_file = write_key("chain.key", &leaf, 0600),
                                    .ca_file = write_certificates("chain-ca.crt", &ca, NULL)};
    struct identity *whole = load_ok(config), *judge = identity_with((struct certificate_spec){.name = "judge"});

    (void)state;
    accept_both_ways(whole, "CN=leaf", judge, "CN=judge");
    config.cert_file = write_certificates("chain.crt", &leaf, NULL);
    struct identity *part = load_ok(config);
    refuse_both_ways(judge, part, NULL, "was not issued by a trusted CA");
    config.cert_file = write_certificates("chain.crt", &bad, &no_ca, NULL);
    config.key_file = write_key("chain.key", &bad, 0600);
    struct identity *forged = load_ok(config);
    refuse_both_ways(judge, forged, NULL, "no CA");
    identity_unref(whole);
    identity_unref(part);
    identity_unref(forged);
    identity_unref(judge);
    free_certificate(&between);
    free_certificate(&no_ca);
    free_certificate(&leaf);
    free_certificate(&bad);
}

static time_t year_ahead(time_t *t)
{
    return (void)t, time(NULL) + 500 * 86400L;
}

static time_t year_ago(time_t *t)
{
    return (void)t, time(NULL) - 400 * 86400L;
}

static void certificates_outside_their_validity_are_refused(void **state)
{
    struct identity *a = identity_with((struct certificate_spec){.name = "alpha"});

    (void)state;
    gnutls_global_set_time_function(year_ahead);
    refuse_both_ways(a, a, NULL, "expired");
    gnutls_global_set_time_function(year_ago);
    refuse_both_ways(a, a, NULL, "not valid yet");
    gnutls_global_set_time_function(time);
    accept_both_ways(a, "CN=alpha", a, "CN=alpha");
    identity_unref(a);
}

static void extended_key_usage_is_not_looked_at(void **state)
{
    static const char *const purposes[] = {GNUTLS_KP_TLS_WWW_SERVER, GNUTLS_KP_TLS_WWW_CLIENT,
                                           GNUTLS_KP_EMAIL_PROTECTION};
    struct identity *plain = identity_with((struct certificate_spec){.name = "plain"});

    (void)state;
    for (size_t i = 0; i < sizeof purposes / sizeof purposes[0]; i++) {
        struct identity *limited = identity_with((struct certificate_spec){
            .name = "limited", .purpose = purposes[i], .usage = GNUTLS_KEY_DIGITAL_SIGNATURE});
        accept_both_ways(limited, "CN=limited", plain, "CN=plain");
        identity_unref(limited);
    }
    identity_unref(plain);
}

static void the_expected_name_is_checked_in_either_role(void **state)
{
    struct identity *a = identity_with((struct certificate_spec){.name = "alpha"}),
                    *b = identity_with((struct certificate_spec){
                        .name = "cn.example.org", .sans = {{SAN_DNS, "db.example.org", 0}, {SAN_IP, "\x7f\0\0\1", 4}}});
    static const char *const good[] = {"db.example.org", "127.0.0.1"}, *const bad[] = {"cn.example.org", "127.0.0.2"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct pair p = shake_identities(a, b);
        verify_ok(a, &p.client, good[i], "CN=cn.example.org");
        pair_free(&p);
        p = shake_identities(b, a);
        verify_ok(a, &p.server, good[i], "CN=cn.example.org");
        pair_free(&p);
        refuse_both_ways(a, b, bad[i], bad[i]);
        refuse_both_ways(a, b, bad[i], "subject alternative names");
    }
    identity_unref(a);
    identity_unref(b);
}

static void weak_signatures_are_refused(void **state)
{
    struct certificate rsa_ca =
        make_certificate((struct certificate_spec){.name = "RSA CA", .is_ca = true, .pk = GNUTLS_PK_RSA, .bits = 2048});
    struct certificate own = make_certificate((struct certificate_spec){.name = "own", .issuer = &rsa_ca}),
                       weak = make_certificate(
                           (struct certificate_spec){.name = "weak", .issuer = &rsa_ca, .digest = GNUTLS_DIG_SHA1});
    struct identity *a = load_files(&own, &rsa_ca), *b = load_files(&weak, &rsa_ca);

    (void)state;
    accept_both_ways(a, "CN=own", a, "CN=own");
    refuse_both_ways(a, b, NULL, "weak key or signature");
    identity_unref(a);
    identity_unref(b);
    free_certificate(&rsa_ca);
    free_certificate(&own);
    free_certificate(&weak);
}

static void a_short_rsa_key_in_the_chain_is_refused(void **state)
{
    struct certificate short_ca = make_certificate(
        (struct certificate_spec){.name = "short CA", .is_ca = true, .pk = GNUTLS_PK_RSA, .bits = 1024});
    struct certificate own = make_certificate((struct certificate_spec){.name = "own", .issuer = &short_ca});
    struct identity *a = load_files(&own, &short_ca);

    (void)state;
    refuse_both_ways(a, a, NULL, "weak key or signature");
    identity_unref(a);
    free_certificate(&short_ca);
    free_certificate(&own);
}

static void control_bytes_in_a_subject_never_reach_the_log(void **state)
{
    struct identity *a = identity_with((struct certificate_spec){.name = "x\x1b[31m\ny"});

    (void)state;
    accept_both_ways(a, "CN=x\\1b[31m\\0ay", a, "CN=x\\1b[31m\\0ay");
    refuse_both_ways(a, a, "other.example.org", "CN=x\\1b[31m\\0ay");
    identity_unref(a);
}

/* Escaped as GnuTLS does it: the backslash in front of a zero is there. */
static void escaping_leaves_room_or_nothing(void **state)
{
    char out[12];

    (void)state;
    assert_true(trust_print_escaped(out, sizeof out, "a\\\0b", 4, true));
    assert_string_equal(out, "a\\00b");
    assert_true(trust_print_escaped(out, sizeof out, "a\\\\00", 5, true));
    assert_string_equal(out, "a\\\\00");
    assert_true(trust_print_escaped(out, sizeof out, "a\\\xc3", 3, false));
    assert_string_equal(out, "a\\5c\\c3");
    assert_false(trust_print_escaped(out, sizeof out, "\xc3\xa9\xc3\xa9", 4, true));
    assert_string_equal(out, "");
}

/* A conventional end, with GnuTLS's own means: a certificate that trusts ca, and no callbacks. */
static gnutls_certificate_credentials_t conventional(const struct certificate *own, const struct certificate *trust)
{
    gnutls_certificate_credentials_t cred;
    gnutls_x509_crt_t list[1] = {trust->cert};

    assert_true(gnutls_certificate_allocate_credentials(&cred) >= 0);
    assert_true(gnutls_certificate_set_x509_trust(cred, list, 1) >= 0);
    if (own) {
        gnutls_x509_crt_t chain[1] = {own->cert};
        assert_true(gnutls_certificate_set_x509_key(cred, chain, 1, own->key) >= 0);
    }
    return cred;
}

static void our_certificate_is_shown_even_if_the_server_names_other_cas(void **state)
{
    struct certificate server = make_certificate((struct certificate_spec){.name = "server", .issuer = &ca});
    gnutls_certificate_credentials_t cred = conventional(&server, &other_ca); /* asks for certificates of other_ca */
    struct identity *a = identity_with((struct certificate_spec){.name = "alpha"});
    gnutls_session_t s = make_session(true, identity_priorities(a, false));
    unsigned count = 0;

    (void)state;
    gnutls_certificate_server_set_request(s, GNUTLS_CERT_REQUIRE);
    gnutls_credentials_set(s, GNUTLS_CRD_CERTIFICATE, cred);
    struct pair p = shake(session_of(a, false), s);
    verify_ok(a, &p.client, NULL, "CN=server");
    assert_int_equal(p.server.error, 0);
    assert_non_null(gnutls_certificate_get_peers(p.server.session, &count));
    assert_int_equal(count, 1);
    pair_free(&p);
    gnutls_certificate_free_credentials(cred);
    identity_unref(a);
    free_certificate(&server);
}

static int named_cas;

static int count_named_cas(gnutls_session_t session, const gnutls_datum_t *req_ca_dn, int nreqs,
                           const gnutls_pk_algorithm_t *pk_algos, int pk_algos_length, gnutls_pcert_st **pcert,
                           unsigned int *pcert_length, gnutls_privkey_t *privkey)
{
    (void)session, (void)req_ca_dn, (void)pk_algos, (void)pk_algos_length, (void)privkey;
    named_cas = nreqs;
    *pcert = NULL;
    *pcert_length = 0;
    return 0;
}

/* A client without a certificate, that is asked for one; returns how the server ended. */
static int ask_bare_client(const struct identity *server)
{
    gnutls_certificate_credentials_t cred = conventional(NULL, &ca);
    gnutls_session_t c = make_session(false, identity_priorities(server, false));

    named_cas = -1;
    gnutls_certificate_set_retrieve_function2(cred, count_named_cas);
    gnutls_credentials_set(c, GNUTLS_CRD_CERTIFICATE, cred);
    struct pair p = shake(c, session_of(server, true));
    const int error = p.server.error;
    pair_free(&p);
    gnutls_certificate_free_credentials(cred);
    return error;
}

static void a_client_without_a_certificate_is_refused_and_told_no_ca_names(void **state)
{
    struct identity *a = identity_with((struct certificate_spec){.name = "alpha"}),
                    *own = load_ok((struct identity_files){.state_dir = in_folder("state")});

    (void)state;
    assert_int_equal(ask_bare_client(a), GNUTLS_E_CERTIFICATE_REQUIRED);
    assert_int_equal(named_cas, 0);
    assert_int_equal(ask_bare_client(own), GNUTLS_E_CERTIFICATE_REQUIRED);
    assert_int_equal(named_cas, 0);
    identity_unref(a);
    identity_unref(own);
}

static void an_insecure_server_asks_for_nothing(void **state)
{
    struct identity *any = load_ok((struct identity_files){.auth = AUTH_INSECURE_NONE}),
                    *a = identity_with((struct certificate_spec){.name = "alpha"});

    (void)state;
    assert_int_equal(ask_bare_client(any), 0);
    assert_int_equal(named_cas, -1);
    struct pair p = shake_identities(any, a);
    assert_int_equal(p.client.error, 0);
    verify_refused(a, &p.server, NULL, "was not issued by a trusted CA");
    pair_free(&p);
    p = shake_identities(a, any);
    assert_int_equal(p.server.error, 0);
    verify_refused(a, &p.client, NULL, "was not issued by a trusted CA");
    pair_free(&p);
    identity_unref(any);
    identity_unref(a);
}

static void the_per_user_identity_trusts_exactly_itself(void **state)
{
    struct identity *one = load_ok((struct identity_files){.state_dir = in_folder("one")}),
                    *same = load_ok((struct identity_files){.state_dir = in_folder("one")}),
                    *other = load_ok((struct identity_files){.state_dir = in_folder("other")});

    (void)state;
    accept_both_ways(one, "own identity", same, "own identity");
    refuse_both_ways(one, other, NULL, "not of this user's own identity");
    /* names and dates do not matter to it */
    gnutls_global_set_time_function(year_ago);
    struct pair p = shake_identities(one, same);
    verify_ok(one, &p.client, "any.example.org", "own identity");
    gnutls_global_set_time_function(time);
    pair_free(&p);
    identity_unref(one);
    identity_unref(same);
    identity_unref(other);
}

static void a_ca_signed_certificate_with_a_stolen_name_is_not_the_per_user_identity(void **state)
{
    struct identity *one = load_ok((struct identity_files){.state_dir = in_folder("one")}),
                    *thief = identity_with((struct certificate_spec){.name = "p2ptls per-user identity"});

    (void)state;
    refuse_both_ways(one, thief, NULL, "not of this user's own identity");
    refuse_both_ways(thief, one, NULL, "was not issued by a trusted CA");
    identity_unref(one);
    identity_unref(thief);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(certificates_of_one_ca_trust_each_other),
        cmocka_unit_test(a_certificate_of_another_ca_is_refused),
        cmocka_unit_test(the_chain_is_sent_with_its_intermediates),
        cmocka_unit_test(certificates_outside_their_validity_are_refused),
        cmocka_unit_test(extended_key_usage_is_not_looked_at),
        cmocka_unit_test(the_expected_name_is_checked_in_either_role),
        cmocka_unit_test(weak_signatures_are_refused),
        cmocka_unit_test(a_short_rsa_key_in_the_chain_is_refused),
        cmocka_unit_test(escaping_leaves_room_or_nothing),
        cmocka_unit_test(control_bytes_in_a_subject_never_reach_the_log),
        cmocka_unit_test(our_certificate_is_shown_even_if_the_server_names_other_cas),
        cmocka_unit_test(a_client_without_a_certificate_is_refused_and_told_no_ca_names),
        cmocka_unit_test(an_insecure_server_asks_for_nothing),
        cmocka_unit_test(the_per_user_identity_trusts_exactly_itself),
        cmocka_unit_test(a_ca_signed_certificate_with_a_stolen_name_is_not_the_per_user_identity),
    };

    return cmocka_run_group_tests_name("identity_verify", tests, make_cas, free_cas);
}
