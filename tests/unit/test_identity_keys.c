/* Own keys of every kind, in real handshakes: raw public keys (RFC 7250), encrypted ones, keys in a PKCS#11 token, and
 * which of several pre-shared keys is offered. */
#include "identity_help.h"

#include <sys/wait.h>

static struct certificate ca, own;
static bool have_token;

static void run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void run(const char *format, ...)
{
    char command[2000];
    va_list ap;

    va_start(ap, format);
    vsnprintf(command, sizeof command, format, ap);
    va_end(ap);
    if (system(command) != 0)
        fail_msg("failed: %s", command);
}

static int setup(void **state)
{
    ca = make_certificate((struct certificate_spec){.name = "test CA", .is_ca = true});
    own = make_certificate((struct certificate_spec){.name = "own", .issuer = &ca});
    return folder_make(state);
}

static int teardown(void **state)
{
    free_certificate(&ca);
    free_certificate(&own);
    return folder_remove(state);
}

static struct policy_trust trust_in_pins(void)
{
    return (struct policy_trust){.pins = "sha256:0000000000000000000000000000000000000000000000000000000000000000",
                                 .expression = {.ops = {TRUST_PINNED}, .count = 1, .terms = TRUST_PINNED}};
}

static struct identity *load_raw(const struct certificate *c, const char *name)
{
    return load_ok((struct identity_files){.key_file = write_key(name, c, 0600), .trust = trust_in_pins()});
}

static struct identity *load_chain(const struct certificate *c, const char *name)
{
    const char *key = write_key(name, c, 0600);
    return load_ok((struct identity_files){
        .cert_file = write_certificates("chain.crt", c, NULL), .key_file = key, .trust = trust_in_pins()});
}

/* What came from the other end, whatever anybody thinks of it: of this kind, with that key. */
static void assert_shown(struct end *e, gnutls_certificate_type_t type, const struct certificate *c)
{
    unsigned count = 0;
    struct secret_bytes expected = {0};

    assert_int_equal(e->error, 0);
    assert_int_equal(gnutls_certificate_type_get2(e->session, GNUTLS_CTYPE_PEERS), type);
    const gnutls_datum_t *shown = gnutls_certificate_get_peers(e->session, &count);
    assert_non_null(shown);
    assert_int_equal(count, 1);
    assert_int_equal(identity_x509_spki(c->cert, &expected), 0);
    if (type == GNUTLS_CRT_RAWPK) {
        assert_int_equal(shown->size, expected.len);
        assert_memory_equal(shown->data, expected.bytes, expected.len);
    }
    secret_wipe(&expected);
}

static gnutls_session_t raw_session_of(const struct identity *id, bool server)
{
    gnutls_session_t s;
    char text[2000];

    snprintf(text, sizeof text, "%s%s", TEST_PRIORITIES, identity_priorities(id, server));
    assert_true(gnutls_init(&s, (server ? GNUTLS_SERVER : GNUTLS_CLIENT) | GNUTLS_NO_TICKETS | GNUTLS_NONBLOCK |
                                    identity_session_flags(id)) >= 0);
    assert_true(gnutls_priority_set_direct(s, text, NULL) >= 0);
    assert_int_equal(identity_apply(id, s, server), RESULT_OK);
    return s;
}

static struct pair shake_raw(const struct identity *client, const struct identity *server)
{
    return shake(raw_session_of(client, false), raw_session_of(server, true));
}

static void raw_keys_and_certificates_meet_in_every_combination(void **state)
{
    static const gnutls_pk_algorithm_t kinds[] = {GNUTLS_PK_EDDSA_ED25519, GNUTLS_PK_ECDSA, GNUTLS_PK_RSA};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct certificate other = make_certificate((struct certificate_spec){
            .name = "other", .issuer = &ca, .pk = kinds[i], .bits = kinds[i] == GNUTLS_PK_RSA ? 2048 : 256});
        struct identity *a[2] = {load_chain(&own, "a.key"), load_raw(&own, "b.key")};
        struct identity *b[2] = {load_chain(&other, "c.key"), load_raw(&other, "d.key")};
        for (int raw_client = 0; raw_client < 2; raw_client++)
            for (int raw_server = 0; raw_server < 2; raw_server++) {
                struct pair p = shake_raw(a[raw_client], b[raw_server]);
                assert_shown(&p.server, raw_client ? GNUTLS_CRT_RAWPK : GNUTLS_CRT_X509, &own);
                assert_shown(&p.client, raw_server ? GNUTLS_CRT_RAWPK : GNUTLS_CRT_X509, &other);
                pair_free(&p);
            }
        for (int k = 0; k < 2; k++) {
            identity_unref(a[k]);
            identity_unref(b[k]);
        }
        free_certificate(&other);
    }
}

static void raw_keys_are_not_taken_where_only_a_ca_is_trusted(void **state)
{
    struct identity *raw = load_raw(&own, "r.key"), *judge = load_files(&own, &ca);

    (void)state;
    assert_int_equal(identity_session_flags(judge), 0);
    struct pair p = shake_raw(raw, judge); /* shows nothing, and one is required */
    assert_int_not_equal(p.server.error, 0);
    pair_free(&p);
    p = shake_raw(judge, raw);
    assert_int_not_equal(p.client.error, 0);
    assert_int_not_equal(p.server.error, 0);
    pair_free(&p);
    identity_unref(raw);
    identity_unref(judge);
}

static void short_raw_keys_are_refused(void **state)
{
    struct certificate weak = make_certificate((struct certificate_spec){.pk = GNUTLS_PK_RSA, .bits = 1024});

    (void)state;
    load_refused((struct identity_files){.key_file = write_key("weak.key", &weak, 0600), .trust = trust_in_pins()},
                 "too short");
    free_certificate(&weak);
}

static const char *write_encrypted(const char *name, const char *passphrase, unsigned cipher)
{
    gnutls_datum_t pem;

    assert_true(gnutls_x509_privkey_export2_pkcs8(own.key, GNUTLS_X509_FMT_PEM, passphrase, cipher, &pem) >= 0);
    const char *path = write_file(name, pem.data, pem.size, 0600);
    gnutls_free(pem.data);
    return path;
}

static void an_encrypted_key_is_opened_by_the_passphrase_in_a_file(void **state)
{
    const unsigned ciphers[] = {GNUTLS_PKCS_PBES2_AES_256, GNUTLS_PKCS_PBES2_3DES};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct identity_files files = {.key_file = write_encrypted("enc.key", "correct horse", ciphers[i]),
                                       .trust = trust_in_pins()};
        load_refused(files, "passphrase-file=");
        files.passphrase_file = write_text("pass", "correct horse\n", 0600);
        identity_unref(load_ok(files));
        files.passphrase_file = write_text("pass", "correct horse", 0600);
        identity_unref(load_ok(files));
        files.passphrase_file = write_text("pass", "wrong horse\n", 0600);
        load_refused(files, "does not open the key");
        files.passphrase_file = write_text("pass", "\n", 0600);
        load_refused(files, "is empty");
        files.passphrase_file = write_text("pass", "correct horse\n", 0640);
        load_refused(files, "lets others use it");
        files.passphrase_file = in_folder("absent");
        load_refused(files, "No such file");
    }
}

static void a_passphrase_that_is_not_needed_does_no_harm(void **state)
{
    (void)state;
    identity_unref(load_ok((struct identity_files){.key_file = write_key("open.key", &own, 0600),
                                                   .passphrase_file = write_text("pass", "x\n", 0600),
                                                   .trust = trust_in_pins()}));
}

static void psk_name_says_which_key_is_offered_and_all_are_accepted(void **state)
{
    const char *file = write_text("keys", PSK_ALICE PSK_BOB, 0600);
    struct identity *first = load_ok((struct identity_files){.psk_file = file}),
                    *second = load_ok((struct identity_files){.psk_file = file, .psk_name = "bob"});

    (void)state;
    struct pair p = shake_identities(first, second);
    verify_ok(second, &p.server, NULL, "psk:alice");
    verify_ok(first, &p.client, NULL, "psk:alice");
    pair_free(&p);
    p = shake_identities(second, first);
    verify_ok(first, &p.server, NULL, "psk:bob");
    verify_ok(second, &p.client, NULL, "psk:bob");
    pair_free(&p);
    load_refused((struct identity_files){.psk_file = file, .psk_name = "carol"}, "carol");
    load_refused((struct identity_files){.psk_file = file, .psk_name = "ali"}, "psk-name=");
    identity_unref(first);
    identity_unref(second);
}

/* SoftHSM keeps its tokens in files. The PIN is 1234. */
static void make_token(void)
{
    char text[400];

    if (have_token)
        return;
    have_token = true;
    run("mkdir -m 700 %s/tokens", folder);
    snprintf(text, sizeof text, "directories.tokendir = %s/tokens\nobjectstore.backend = file\nlog.level = ERROR\n",
             folder);
    setenv("SOFTHSM2_CONF", write_text("softhsm2.conf", text, 0600), 1);
    run("softhsm2-util --init-token --free --label test --so-pin 4321 --pin 1234 >%s/out 2>&1", folder);
    write_key("token.key", &own, 0600);
    write_certificates("token.crt", &own, NULL);
    for (int cert = 0; cert < 2; cert++)
        run("GNUTLS_PIN=1234 p11tool --batch --login --write --label own --id 01 %s%s/token.%s 'pkcs11:token=test' "
            ">>%s/out 2>&1",
            cert ? "--load-certificate=" : "--load-privkey=", folder, cert ? "crt" : "key", folder);
}

#define TOKEN_KEY "pkcs11:token=test;object=own;type=private"
#define TOKEN_CERT "pkcs11:token=test;object=own;type=cert"

static struct identity_files token_files(const char *pin)
{
    make_token();
    return (struct identity_files){
        .key_file = TOKEN_KEY, .pin_file = write_text("pin", pin, 0600), .trust = trust_in_pins()};
}

static void shake_by_token(const struct identity *token, const struct identity *other, bool raw)
{
    for (int swap = 0; swap < 2; swap++) {
        struct pair p = swap ? shake_raw(other, token) : shake_raw(token, other);
        assert_shown(swap ? &p.client : &p.server, raw ? GNUTLS_CRT_RAWPK : GNUTLS_CRT_X509, &own);
        pair_free(&p);
    }
}

static void keys_and_certificates_in_a_token_work_in_both_roles(void **state)
{
    struct identity_files files = token_files("1234\n");
    struct identity *other = load_chain(&own, "o.key");

    (void)state;
    struct identity *id = load_ok(files);
    shake_by_token(id, other, true);
    identity_unref(id);
    files.cert_file = write_certificates("beside.crt", &own, NULL);
    id = load_ok(files);
    shake_by_token(id, other, false);
    identity_unref(id);
    files.cert_file = TOKEN_CERT;
    id = load_ok(files);
    shake_by_token(id, other, false);
    identity_unref(id);
    identity_unref(other);
}

/* Tokens need not have the public key as an object; of an ECDSA or EdDSA key it cannot be told from the private one.
 * That key and certificate belong together then shows by a signature. */
static void a_token_with_nothing_but_the_private_key_serves_a_certificate(void **state)
{
    static const struct {
        const char *label;
        gnutls_pk_algorithm_t pk;
        unsigned bits;
    } kinds[] = {{"bare-ecdsa", GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1)},
                 {"bare-ecdsa-384", GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP384R1)},
                 {"bare-rsa", GNUTLS_PK_RSA, 2048},
                 {"bare-eddsa", GNUTLS_PK_EDDSA_ED25519, 0}};
    struct identity_files files = token_files("1234\n");
    struct identity *other = load_chain(&own, "o.key");
    char uri[100];

    (void)state;
    files.key_file = uri;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const struct certificate_spec spec = {.name = "bare", .pk = kinds[i].pk, .bits = kinds[i].bits};
        struct certificate bare = make_certificate(spec), stranger = make_certificate(spec);
        write_key("bare.key", &bare, 0600);
        run("GNUTLS_PIN=1234 p11tool --batch --login --write --label %s --load-privkey=%s/bare.key 'pkcs11:token=test' "
            ">>%s/out 2>&1",
            kinds[i].label, folder, folder);
        snprintf(uri, sizeof uri, "pkcs11:token=test;object=%s;type=private", kinds[i].label);
        files.cert_file = write_certificates("bare.crt", &bare, NULL);
        struct identity *id = load_ok(files);
        for (int swap = 0; swap < 2; swap++) {
            struct pair p = swap ? shake_raw(other, id) : shake_raw(id, other);
            assert_shown(swap ? &p.client : &p.server, GNUTLS_CRT_X509, &bare);
            pair_free(&p);
        }
        identity_unref(id);
        files.cert_file = write_certificates("bare.crt", &stranger, NULL);
        load_refused(files, "does not belong to the first certificate");
        files.cert_file = NULL; /* a raw public key; that of an RSA key is part of the private one */
        if (kinds[i].pk == GNUTLS_PK_RSA)
            identity_unref(load_ok(files));
        else
            load_refused(files, "does not tell the public key of");
        free_certificate(&bare);
        free_certificate(&stranger);
    }
    identity_unref(other);
}

static void parent_and_child_sign_by_one_token_at_once(void **state)
{
    struct identity_files files = token_files("1234\n");
    struct identity *other = load_chain(&own, "o.key"), *id = load_ok(files);
    int status = -1;

    (void)state;
    shake_by_token(id, other, true); /* the session with the token is open */
    unlink(files.pin_file);          /* as after chroot */
    const pid_t child = fork();
    for (int i = 0; i < 10; i++)
        shake_by_token(id, other, true);
    if (child == 0)
        _exit(0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    identity_unref(id);
    identity_unref(other);
}

static void tokens_that_cannot_be_used_are_refused_and_not_locked(void **state)
{
    struct identity *id;
    char why[IDENTITY_WHY_MAX];
    struct identity_files files = token_files("9999\n");

    (void)state;
    for (int i = 0; i < 3; i++)
        load_refused(files, "does not take the PIN");
    files.pin_file = NULL;
    load_refused(files, "pin-file=");
    files.pin_file = write_text("pin", "1234\n", 0644);
    load_refused(files, "lets others use it");
    files = token_files("1234\n");
    files.key_file = "pkcs11:token=test;object=absent;type=private";
    assert_int_equal(load_as(&files, &id, why), RESULT_IO);
    if (!strstr(why, "p11tool"))
        fail_msg("found: %s", why);
    files.key_file = "pkcs11:token=none;object=own;type=private?pin-value=1234";
    assert_int_equal(load_as(&files, &id, why), RESULT_IO);
    assert_null(strstr(why, "1234"));
    identity_unref(load_ok(token_files("1234\n")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(raw_keys_and_certificates_meet_in_every_combination),
        cmocka_unit_test(raw_keys_are_not_taken_where_only_a_ca_is_trusted),
        cmocka_unit_test(short_raw_keys_are_refused),
        cmocka_unit_test(an_encrypted_key_is_opened_by_the_passphrase_in_a_file),
        cmocka_unit_test(a_passphrase_that_is_not_needed_does_no_harm),
        cmocka_unit_test(psk_name_says_which_key_is_offered_and_all_are_accepted),
        cmocka_unit_test(keys_and_certificates_in_a_token_work_in_both_roles),
        cmocka_unit_test(a_token_with_nothing_but_the_private_key_serves_a_certificate),
        cmocka_unit_test(parent_and_child_sign_by_one_token_at_once),
        cmocka_unit_test(tokens_that_cannot_be_used_are_refused_and_not_locked),
    };

    return cmocka_run_group_tests_name("identity_keys", tests, setup, teardown);
}
