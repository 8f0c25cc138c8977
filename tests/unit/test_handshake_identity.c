/* Who the other side is, as the handshake sees it: refusals in either role and what the other side hears of them,
 * names, alerts in words, and secrets that never reach a file. */
#include "handshake_help.h"

#include "record.h"

static struct certificate ca, other_ca, alice, bob, mallory;
static struct identity *alice_id, *bob_id, *mallory_id;

static struct handshake_config client_of(const struct identity *id)
{
    return (struct handshake_config){.effective = ROLE_CLIENT, .speaks_first = true, .identity = id};
}

static struct handshake_config server_of(const struct identity *id)
{
    return (struct handshake_config){.effective = ROLE_SERVER, .identity = id};
}

static struct handshake_config named(struct handshake_config config, const char *peer_name)
{
    config.dialled_name = peer_name;
    config.connected_side = true;
    return config;
}

static void assert_accepted(struct handshake_config client, struct handshake_config server)
{
    struct pair_of_sides *pair = pair_new(client, server);

    pair_run(pair);
    assert_true(assert_both_done(pair));
    sides_free(pair);
}

/* The client refuses: the server hears of it in the handshake. */
static void assert_client_refuses(struct handshake_config client, struct handshake_config server, const char *why,
                                  const char *alert)
{
    struct pair_of_sides *pair = pair_new(client, server);

    pair_run(pair);
    assert_refused(pair->a.hs, RESULT_IDENTITY, why);
    assert_refused(pair->b.hs, RESULT_IDENTITY, alert);
    sides_free(pair);
}

/* Behind its Finished the client reads with application keys, and finds the server's alert there. */
static uint8_t read_late_alert(struct pair_of_sides *pair)
{
    struct handshake_secrets secrets;
    struct record_keys keys;
    struct record_cipher *cipher = NULL;
    enum record_type type;
    uint8_t plain[100], alert;
    size_t plain_len, len = pair->a.in.len - pair->a.in.read;

    handshake_take_secrets(pair->a.hs, &secrets);
    assert_int_equal(record_keys_init(&keys, secrets.suite, secrets.read, secrets.secret_len), RESULT_OK);
    assert_int_equal(record_cipher_fit(&cipher, &keys), RESULT_OK);
    assert_in_range(len, RECORD_OVERHEAD, sizeof plain);
    assert_int_equal(
        record_open(cipher, &keys, pair->a.in.bytes + pair->a.in.read, len, plain, &plain_len, &type, &alert),
        RESULT_OK);
    record_cipher_free(cipher);
    assert_int_equal(type, RECORD_ALERT);
    assert_int_equal(plain_len, 2);
    assert_int_equal(plain[0], 2);
    return plain[1];
}

/* The server refuses: it is the last to judge, and the client has finished. */
static void assert_server_refuses(struct handshake_config client, struct handshake_config server, const char *why,
                                  uint8_t alert)
{
    struct pair_of_sides *pair = pair_new(client, server);

    pair_run(pair);
    assert_refused(pair->b.hs, RESULT_IDENTITY, why);
    assert_int_equal(handshake_state(pair->a.hs), RESULT_OK);
    assert_int_equal(read_late_alert(pair), alert);
    sides_free(pair);
}

static void certificates_of_one_ca_are_accepted_in_either_role(void **state)
{
    (void)state;
    assert_accepted(client_of(alice_id), server_of(bob_id));
    assert_accepted(client_of(bob_id), server_of(alice_id));
    assert_accepted(named(client_of(alice_id), "bob.example"), named(server_of(bob_id), "alice.example"));
    assert_accepted(named(client_of(bob_id), "127.0.0.1"), server_of(alice_id));
}

static void the_subject_names_the_peer(void **state)
{
    struct pair_of_sides *pair = pair_new(client_of(alice_id), server_of(bob_id));
    struct handshake_secrets secrets;

    (void)state;
    pair_run(pair);
    handshake_take_secrets(pair->a.hs, &secrets);
    assert_non_null(strstr(secrets.subject, "Bob"));
    handshake_take_secrets(pair->b.hs, &secrets);
    assert_non_null(strstr(secrets.subject, "Alice"));
    sides_free(pair);
}

static void another_ca_is_refused_in_either_role(void **state)
{
    (void)state;
    assert_client_refuses(client_of(alice_id), server_of(mallory_id), "trusted CA", "unknown_ca");
    assert_server_refuses(client_of(mallory_id), server_of(bob_id), "trusted CA", 48);
}

static void another_name_is_refused_in_either_role(void **state)
{
    (void)state;
    assert_client_refuses(named(client_of(alice_id), "carol.example"), server_of(bob_id), "carol.example",
                          "bad_certificate");
    assert_client_refuses(named(client_of(alice_id), "127.0.0.2"), server_of(bob_id), "127.0.0.2", "bad_certificate");
    assert_server_refuses(client_of(alice_id), named(server_of(bob_id), "carol.example"), "carol.example", 42);
}

static time_t in_two_years(time_t *t)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    now.tv_sec += 2L * 366 * 86400;
    if (t)
        *t = now.tv_sec;
    return now.tv_sec;
}

static void an_expired_certificate_is_refused_in_either_role(void **state)
{
    /* Of these no chain was verified before: what was, within a minute, is not verified again. */
    struct identity *fresh_alice = load_files(&alice, &ca), *fresh_bob = load_files(&bob, &ca);

    (void)state;
    gnutls_global_set_time_function(in_two_years);
    assert_client_refuses(client_of(fresh_alice), server_of(fresh_bob), "expired", "certificate_expired");
    gnutls_global_set_time_function(time);
    assert_accepted(client_of(fresh_alice), server_of(fresh_bob));
    identity_unref(fresh_alice);
    identity_unref(fresh_bob);
}

static const char *write_large(const char *name, const struct certificate *c)
{
    gnutls_datum_t pem;

    assert_true(gnutls_x509_crt_export2(c->cert, GNUTLS_X509_FMT_PEM, &pem) >= 0);
    const char *path = write_file(name, pem.data, pem.size, 0644);
    gnutls_free(pem.data);
    return path;
}

/* A certificate larger than a record, from either side. */
static void a_large_certificate_is_carried_in_several_records(void **state)
{
    char uri[30000];

    (void)state;
    memset(uri, 'u', sizeof uri);
    memcpy(uri, "urn:", 4);
    struct certificate large = make_certificate(
        (struct certificate_spec){.name = "Large", .issuer = &ca, .sans = {{SAN_URI, uri, sizeof uri}}});
    struct identity *id = load_ok((struct identity_files){.cert_file = write_large("large.crt", &large),
                                                          .key_file = write_key("large.key", &large, 0600),
                                                          .ca_file = write_certificates("ca.crt", &ca, NULL)});
    assert_accepted(client_of(id), server_of(bob_id));
    assert_accepted(client_of(alice_id), server_of(id));
    assert_accepted(client_of(id), server_of(id));
    identity_unref(id);
    free_certificate(&large);
}

static void the_user_identity_trusts_itself_alone(void **state)
{
    struct identity *one = load_user("one"), *again = load_user("one"), *two = load_user("two");

    (void)state;
    assert_accepted(client_of(one), server_of(again));
    assert_client_refuses(client_of(one), server_of(two), "own identity", "unknown_ca");
    assert_client_refuses(client_of(one), server_of(bob_id), "own identity", "the peer ");
    identity_unref(one);
    identity_unref(again);
    identity_unref(two);
}

static void insecure_checks_nobody_and_says_so(void **state)
{
    struct identity *insecure =
        load_ok((struct identity_files){.auth = AUTH_INSECURE_NONE, .state_dir = in_folder("one")});
    struct pair_of_sides *pair = pair_new(client_of(insecure), server_of(insecure));
    struct handshake_secrets secrets;

    (void)state;
    pair_run(pair);
    assert_true(both_done(pair));
    handshake_take_secrets(pair->a.hs, &secrets);
    assert_string_equal(secrets.subject, "(unauthenticated)");
    handshake_take_secrets(pair->b.hs, &secrets);
    assert_string_equal(secrets.subject, "(unauthenticated)");
    sides_free(pair);
    assert_accepted(client_of(insecure), server_of(insecure));
    assert_server_refuses(client_of(insecure), server_of(bob_id), "trusted CA", 48);
    assert_client_refuses(client_of(bob_id), server_of(insecure), "trusted CA", "unknown_ca");
    identity_unref(insecure);
}

static const struct {
    const char *client, *server;
    const char *why, *alert; /* NULL: accepted */
} psk_pairs[] = {
    {PSK_ALICE, PSK_ALICE, NULL, NULL},
    {PSK_ALICE, PSK_BOB PSK_ALICE, NULL, NULL},
    {PSK_BOB, PSK_BOB PSK_ALICE, NULL, NULL},
    {PSK_ALICE, "alice:00112233445566778899aabbccddeef0\n", "another pre-shared key of the same name", "decrypt_error"},
    {PSK_ALICE, PSK_BOB, "unknown here", "unknown_psk_identity"},
};

static void pre_shared_keys_are_told_apart(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof psk_pairs / sizeof psk_pairs[0]; i++) {
        struct identity *client = load_psk("client", psk_pairs[i].client),
                        *server = load_psk("server", psk_pairs[i].server);
        struct pair_of_sides *pair = pair_new(client_of(client), server_of(server));
        pair_run(pair);
        if (psk_pairs[i].why) {
            assert_refused(pair->b.hs, RESULT_IDENTITY, psk_pairs[i].why);
            assert_refused(pair->a.hs, RESULT_IDENTITY, psk_pairs[i].alert);
        } else {
            assert_true(assert_both_done(pair));
        }
        sides_free(pair);
        identity_unref(client);
        identity_unref(server);
    }
}

static void a_pre_shared_key_and_a_certificate_do_not_meet(void **state)
{
    struct identity *psk = load_psk("psk", PSK_ALICE);
    struct pair_of_sides *with_psk = pair_new(client_of(psk), server_of(bob_id));
    struct pair_of_sides *with_certificate = pair_new(client_of(alice_id), server_of(psk));

    (void)state;
    pair_run(with_psk);
    assert_false(handshake_state(with_psk->a.hs) == RESULT_OK || handshake_state(with_psk->b.hs) == RESULT_OK);
    assert_non_null(strstr(handshake_why(with_psk->b.hs), "psk="));
    pair_run(with_certificate);
    assert_false(handshake_state(with_certificate->a.hs) == RESULT_OK ||
                 handshake_state(with_certificate->b.hs) == RESULT_OK);
    assert_non_null(strstr(handshake_why(with_certificate->b.hs), "psk="));
    sides_free(with_psk);
    sides_free(with_certificate);
    identity_unref(psk);
}

static bool hello_has(const struct identity *id, const char *peer_name, const char *text)
{
    struct handshake *hs = make_handshake(named(client_of(id), peer_name));
    size_t len;
    const uint8_t *hello = handshake_output(hs, &len);
    bool found = memmem(hello, len, text, strlen(text)) != NULL;

    handshake_free(hs);
    return found;
}

static void the_name_is_sent_if_it_is_a_dns_name(void **state)
{
    (void)state;
    assert_true(hello_has(alice_id, "bob.example", "bob.example"));
    assert_false(hello_has(alice_id, NULL, "bob.example"));
    assert_false(hello_has(alice_id, "127.0.0.1", "127.0.0.1"));
    assert_false(hello_has(alice_id, "fe80::1%eth0", "fe80"));
    assert_false(hello_has(alice_id, "::1", "::1"));
}

static const struct {
    uint8_t alert;
    enum result result;
    const char *name;
} alerts[] = {
    {0, RESULT_PROTOCOL, "close_notify"},
    {10, RESULT_PROTOCOL, "unexpected_message"},
    {20, RESULT_PROTOCOL, "bad_record_mac"},
    {40, RESULT_PROTOCOL, "handshake_failure"},
    {42, RESULT_IDENTITY, "bad_certificate"},
    {43, RESULT_IDENTITY, "unsupported_certificate"},
    {44, RESULT_IDENTITY, "certificate_revoked"},
    {45, RESULT_IDENTITY, "certificate_expired"},
    {46, RESULT_IDENTITY, "certificate_unknown"},
    {47, RESULT_PROTOCOL, "illegal_parameter"},
    {48, RESULT_IDENTITY, "unknown_ca"},
    {49, RESULT_IDENTITY, "access_denied"},
    {50, RESULT_PROTOCOL, "decode_error"},
    {51, RESULT_IDENTITY, "decrypt_error"},
    {70, RESULT_PROTOCOL, "protocol_version"},
    {80, RESULT_PROTOCOL, "internal_error"},
    {90, RESULT_PROTOCOL, "user_canceled"},
    {115, RESULT_IDENTITY, "unknown_psk_identity"},
    {116, RESULT_IDENTITY, "certificate_required"},
    {120, RESULT_PROTOCOL, "no_application_protocol"},
    {71, RESULT_PROTOCOL, "alert 71"},
    {255, RESULT_PROTOCOL, "alert 255"},
};

static void an_alert_is_put_into_words_and_not_answered(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof alerts / sizeof alerts[0]; i++) {
        const uint8_t record[] = {RECORD_ALERT, 3, 3, 0, 2, 2, alerts[i].alert};
        struct handshake *hs = make_handshake(client_of(alice_id));
        size_t len;
        handshake_output(hs, &len);
        handshake_sent(hs, len);
        assert_int_equal(handshake_feed(hs, record, RECORD_HEADER), RESULT_AGAIN);
        assert_int_equal(handshake_feed(hs, record + RECORD_HEADER, 2), alerts[i].result);
        assert_refused(hs, alerts[i].result, alerts[i].name);
        assert_int_equal(handshake_feed_end(hs), alerts[i].result); /* the FIN behind it changes nothing */
        assert_null(handshake_output(hs, &len));
        assert_int_equal(len, 0);
        handshake_free(hs);
    }
}

/* The process runs with SSLKEYLOGFILE from its start. GnuTLS itself obeys it, which the second half shows. */
static void secrets_never_reach_the_file_that_sslkeylogfile_names(void **state)
{
    const char *path = getenv("SSLKEYLOGFILE");

    (void)state;
    assert_accepted(client_of(alice_id), server_of(bob_id));
    assert_int_equal(access(path, F_OK), -1);
    struct pair plain = shake_identities(alice_id, bob_id);
    assert_int_equal(plain.client.error, 0);
    assert_int_equal(access(path, F_OK), 0);
    pair_free(&plain);
}

static struct certificate issue(const char *name, const char *dns, const struct certificate *issuer)
{
    return make_certificate((struct certificate_spec){
        .name = name, .issuer = issuer, .sans = {{SAN_DNS, dns, 0}, {SAN_IP, "\x7f\0\0\1", 4}}});
}

static int setup(void **state)
{
    if (folder_make(state) != 0)
        return -1;
    setenv("SSLKEYLOGFILE", in_folder("keylog"), 1);
    ca = make_certificate((struct certificate_spec){.name = "CA", .is_ca = true});
    other_ca = make_certificate((struct certificate_spec){.name = "Other CA", .is_ca = true});
    alice = issue("Alice", "alice.example", &ca);
    bob = issue("Bob", "bob.example", &ca);
    mallory = issue("Mallory", "bob.example", &other_ca);
    alice_id = load_files(&alice, &ca);
    bob_id = load_files(&bob, &ca);
    mallory_id = load_files(&mallory, &ca);
    return 0;
}

static int teardown(void **state)
{
    identity_unref(alice_id);
    identity_unref(bob_id);
    identity_unref(mallory_id);
    free_certificate(&ca);
    free_certificate(&other_ca);
    free_certificate(&alice);
    free_certificate(&bob);
    free_certificate(&mallory);
    return folder_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(certificates_of_one_ca_are_accepted_in_either_role),
        cmocka_unit_test(the_subject_names_the_peer),
        cmocka_unit_test(another_ca_is_refused_in_either_role),
        cmocka_unit_test(another_name_is_refused_in_either_role),
        cmocka_unit_test(an_expired_certificate_is_refused_in_either_role),
        cmocka_unit_test(a_large_certificate_is_carried_in_several_records),
        cmocka_unit_test(the_user_identity_trusts_itself_alone),
        cmocka_unit_test(insecure_checks_nobody_and_says_so),
        cmocka_unit_test(pre_shared_keys_are_told_apart),
        cmocka_unit_test(a_pre_shared_key_and_a_certificate_do_not_meet),
        cmocka_unit_test(the_name_is_sent_if_it_is_a_dns_name),
        cmocka_unit_test(an_alert_is_put_into_words_and_not_answered),
        cmocka_unit_test(secrets_never_reach_the_file_that_sslkeylogfile_names),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
