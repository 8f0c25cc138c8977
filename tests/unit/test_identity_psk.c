/* External PSKs in real TLS 1.3 handshakes: which keys meet, with forward secrecy only, and never with a certificate.
 */
#include "identity_help.h"

static struct identity *with_keys(const char *text)
{
    return load_ok((struct identity_files){.psk_file = write_text("keys", text, 0600)});
}

static void both_roles_agree_on_the_name(void **state)
{
    struct identity *alice = with_keys(PSK_ALICE), *both = with_keys(PSK_BOB PSK_ALICE), *bob = with_keys(PSK_BOB);
    struct pair p = shake_identities(alice, both);

    (void)state;
    verify_ok(alice, &p.client, NULL, "psk:alice");
    verify_ok(both, &p.server, NULL, "psk:alice");
    assert_int_equal(gnutls_kx_get(p.client.session), GNUTLS_KX_ECDHE_PSK);
    pair_free(&p);

    p = shake_identities(both, bob); /* the first is sent */
    verify_ok(both, &p.client, NULL, "psk:bob");
    verify_ok(bob, &p.server, NULL, "psk:bob");
    pair_free(&p);

    p = shake_identities(both, alice);
    assert_int_not_equal(p.client.error, 0);
    assert_int_not_equal(p.server.error, 0);
    pair_free(&p);
    identity_unref(alice);
    identity_unref(both);
    identity_unref(bob);
}

static void keys_of_every_length_work(void **state)
{
    char text[8 + 2 * PSK_KEY_MAX];

    (void)state;
    for (size_t len = PSK_KEY_MIN; len <= PSK_KEY_MAX; len += 8) {
        size_t at = (size_t)snprintf(text, sizeof text, "x:");
        for (size_t i = 0; i < len; i++)
            at += (size_t)snprintf(text + at, sizeof text - at, "%02zx", i * 3 & 0xff);
        struct identity *id = with_keys(text);
        struct pair p = shake_identities(id, id);
        verify_ok(id, &p.client, NULL, "psk:x");
        verify_ok(id, &p.server, NULL, "psk:x");
        pair_free(&p);
        identity_unref(id);
    }
}

static void refused_by_server(const char *client_keys, const char *server_keys, int server_error)
{
    struct identity *client = with_keys(client_keys), *server = with_keys(server_keys);
    struct pair p = shake_identities(client, server);

    assert_int_equal(p.server.error, server_error);
    assert_true(p.client.error < 0);
    pair_free(&p);
    identity_unref(client);
    identity_unref(server);
}

static void wrong_keys_and_unknown_names_are_refused_by_the_server(void **state)
{
    (void)state;
    refused_by_server("alice:00112233445566778899aabbccddeefe", PSK_ALICE, GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER);
    refused_by_server("alice:00112233445566778899aabbccddeeff00", PSK_ALICE, GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER);
    refused_by_server("alicia:00112233445566778899aabbccddeeff", PSK_ALICE, GNUTLS_E_SRP_PWD_ERROR);
    refused_by_server("alic:00112233445566778899aabbccddeeff", PSK_ALICE, GNUTLS_E_SRP_PWD_ERROR);
    refused_by_server("Alice:00112233445566778899aabbccddeeff", PSK_ALICE, GNUTLS_E_SRP_PWD_ERROR);
}

/* psk_key_exchange_modes (RFC 8446 section 4.2.9) in the first message of a session. */
static const uint8_t *first_modes(gnutls_session_t client, uint8_t *hello, size_t room, size_t *len)
{
    static const uint8_t head[] = {0, 45, 0};
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    gnutls_transport_set_int(client, fds[0]);
    assert_int_equal(gnutls_handshake(client), GNUTLS_E_AGAIN);
    const ssize_t n = read(fds[1], hello, room);
    assert_true(n > 100);
    gnutls_deinit(client);
    close(fds[0]);
    close(fds[1]);
    const uint8_t *at = memmem(hello + 80, (size_t)n - 80, head, sizeof head);
    assert_non_null(at);
    *len = at[3] - 1u;
    assert_int_equal(at[4], *len);
    return at + 5;
}

static void only_psk_with_ephemeral_keys_is_offered(void **state)
{
    struct identity *alice = with_keys(PSK_ALICE);
    uint8_t hello[2048];
    size_t len;

    (void)state;
    const uint8_t *modes = first_modes(session_of(alice, false), hello, sizeof hello, &len);
    assert_int_equal(len, 1);
    assert_int_equal(modes[0], 1); /* psk_dhe_ke */
    identity_unref(alice);
}

/* A peer that would do without forward secrecy: psk_ke alone. */
static gnutls_session_t without_ephemeral(const struct identity *id, bool server)
{
    gnutls_session_t s = make_session(server, ":+PSK:+CTYPE-X509:+SIGN-EDDSA-ED25519");

    assert_int_equal(identity_apply(id, s, server), RESULT_OK);
    return s;
}

static void psk_without_ephemeral_keys_is_refused_in_either_role(void **state)
{
    struct identity *alice = with_keys(PSK_ALICE);
    uint8_t hello[2048];
    size_t len;

    (void)state;
    assert_int_equal(first_modes(without_ephemeral(alice, false), hello, sizeof hello, &len)[0], 0);
    struct pair p = shake(without_ephemeral(alice, false), session_of(alice, true));
    assert_int_not_equal(p.client.error, 0);
    assert_int_not_equal(p.server.error, 0);
    pair_free(&p);
    p = shake(session_of(alice, false), without_ephemeral(alice, true));
    assert_int_not_equal(p.client.error, 0);
    assert_int_not_equal(p.server.error, 0);
    pair_free(&p);

    p = shake(without_ephemeral(alice, false), without_ephemeral(alice, true));
    verify_refused(alice, &p.client, NULL, "pre-shared key");
    verify_refused(alice, &p.server, NULL, "pre-shared key");
    pair_free(&p);
    identity_unref(alice);
}

static void a_server_with_a_certificate_instead_is_refused(void **state)
{
    struct identity *alice = with_keys(PSK_ALICE), *any = load_ok((struct identity_files){.auth = AUTH_INSECURE_NONE});

    (void)state;
    for (int swap = 0; swap < 2; swap++) {
        struct pair p = swap ? shake_identities(any, alice) : shake_identities(alice, any);
        struct end *ours = swap ? &p.server : &p.client;
        assert_int_not_equal(ours->error, 0);
        pair_free(&p);
    }
    identity_unref(alice);
    identity_unref(any);
}

/* Should a session ever be finished without the PSK, identity_verify is the second lock. */
static void a_session_that_did_not_use_the_key_is_refused(void **state)
{
    struct identity *alice = with_keys(PSK_ALICE), *any = load_ok((struct identity_files){.auth = AUTH_INSECURE_NONE});
    struct pair p = shake_identities(any, any);

    (void)state;
    verify_refused(alice, &p.client, NULL, "did not take part with a pre-shared key");
    verify_refused(alice, &p.server, NULL, "did not take part with a pre-shared key");
    pair_free(&p);
    identity_unref(alice);
    identity_unref(any);
}

static void the_name_of_the_key_is_the_only_one_that_it_proves(void **state)
{
    const struct identity_expectation host = {.peer_patterns = "db.example.org,psk:bob"},
                                      key = {.peer_patterns = "db.example.org,psk:alice"};
    struct identity_peer peer;
    char why[IDENTITY_WHY_MAX];
    struct identity *alice = with_keys(PSK_ALICE);
    struct pair p = shake_identities(alice, alice);

    (void)state;
    verify_refused_as(alice, &p.client, &host, "the pre-shared key alice is none of peer=db.example.org,psk:bob");
    verify_refused_as(alice, &p.server, &host, "only psk:NAME can be checked with one");
    assert_int_equal(identity_verify(alice, p.client.session, &key, &peer, why), RESULT_OK);
    assert_int_equal(identity_verify(alice, p.server.session, &key, &peer, why), RESULT_OK);
    verify_ok(alice, &p.client, "db.example.org", "psk:alice"); /* a key proves no host, so none is looked for */
    pair_free(&p);
    identity_unref(alice);
}

/* An external PSK is bound to SHA-256 (RFC 8446 section 4.2.11): TLS_AES_256_GCM_SHA384 alone cannot work with it. */
static void the_cipher_suite_must_have_the_hash_of_the_key(void **state)
{
    struct identity *alice = with_keys(PSK_ALICE);
    static const struct {
        const char *ciphers;
        int error;
    } table[] = {{":-AES-128-GCM:-AES-256-GCM:-CHACHA20-POLY1305:+AES-256-GCM:+AES-128-GCM", 0},
                 {":-AES-128-GCM:-AES-256-GCM", 0},
                 {":-AES-128-GCM:-CHACHA20-POLY1305", GNUTLS_E_NO_CIPHER_SUITES}};

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char priorities[300];
        snprintf(priorities, sizeof priorities, "%s%s", identity_priorities(alice, false), table[i].ciphers);
        gnutls_session_t c = make_session(false, priorities), s = make_session(true, priorities);
        assert_int_equal(identity_apply(alice, c, false), RESULT_OK);
        assert_int_equal(identity_apply(alice, s, true), RESULT_OK);
        struct pair p = shake(c, s);
        assert_int_equal(p.server.error, table[i].error);
        pair_free(&p);
    }
    identity_unref(alice);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_roles_agree_on_the_name),
        cmocka_unit_test(keys_of_every_length_work),
        cmocka_unit_test(wrong_keys_and_unknown_names_are_refused_by_the_server),
        cmocka_unit_test(only_psk_with_ephemeral_keys_is_offered),
        cmocka_unit_test(psk_without_ephemeral_keys_is_refused_in_either_role),
        cmocka_unit_test(a_server_with_a_certificate_instead_is_refused),
        cmocka_unit_test(a_session_that_did_not_use_the_key_is_refused),
        cmocka_unit_test(the_name_of_the_key_is_the_only_one_that_it_proves),
        cmocka_unit_test(the_cipher_suite_must_have_the_hash_of_the_key),
    };

    return cmocka_run_group_tests_name("identity_psk", tests, folder_make, folder_remove);
}
