/* Kinds of credentials that do not meet: refused with a reason that says so on both sides, whichever TLS role each has.
 */
#include "meeting_help.h"

#include <gnutls/crypto.h>

static struct certificate ca, own, rsa;
static struct identity *x509, *raw, *psk, *pinning;

static void expect_part(const char *what, const char *who, const struct handshake *hs, const char *part)
{
    const char *why = handshake_why(hs);

    if (!part && handshake_state(hs) == RESULT_OK)
        return; /* a client has finished before the server judges */
    if (!part || !why || !strstr(why, part))
        fail_msg("%s, %s: expected %s, found: %s", what, who, part ? part : "the end", why ? why : "(nothing)");
}

#define NO_PSK_THERE "the peer offers no pre-shared key"
#define PSK_THERE "the peer has a pre-shared key"
#define NOTHING_SHARED "compare role= and the ciphers, and the kind of credential: this side has "
#define RAW_HERE "the peer takes certificates alone, and this side has a raw public key"
#define RAW_THERE "the peer has a raw public key (key= without cert=), and this side takes certificates alone"

static void both_sides_say_which_kinds_they_have(void **state)
{
    const struct {
        const char *what;
        const struct identity *client, *server;
        const char *of_client, *of_server;
    } table[] = {
        {"psk, x509", psk, x509, NOTHING_SHARED "a pre-shared key", PSK_THERE},
        {"psk, raw", psk, raw, NOTHING_SHARED "a pre-shared key", PSK_THERE},
        {"x509, psk", x509, psk, NOTHING_SHARED "a certificate", NO_PSK_THERE},
        {"raw, psk", raw, psk, NOTHING_SHARED "a raw public key", NO_PSK_THERE},
        {"x509, raw", x509, raw, RAW_THERE, RAW_HERE},
        {"raw, x509", raw, x509, NULL, RAW_THERE},
        {"raw that takes raw, x509", pinning, x509, NULL, RAW_THERE},
        {"raw, raw that takes raw", raw, pinning, RAW_THERE, RAW_HERE},
        {"raw that takes raw, raw", pinning, raw, RAW_HERE, RAW_THERE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        for (int peers = 0; peers < 2; peers++) {
            static const struct forced_value low = {{1, 2, 3}}, high = {{200, 2, 3}};
            struct handshake_config client = {.effective = peers ? ROLE_PEER : ROLE_CLIENT,
                                              .identity = table[i].client,
                                              .random = {fill_forced, (void *)&low},
                                              .connected_side = true,
                                              .speaks_first = true};
            struct handshake_config server = {.effective = peers ? ROLE_PEER : ROLE_SERVER,
                                              .identity = table[i].server,
                                              .random = {fill_forced, (void *)&high},
                                              .speaks_first = peers};
            struct pair_of_sides *pair = pair_new(client, server);
            pair_run(pair);
            expect_part(table[i].what, "client", pair->a.hs, table[i].of_client);
            expect_part(table[i].what, "server", pair->b.hs, table[i].of_server);
            sides_free(pair);
        }
}

/* What comes after a client has finished, by its record layer. */
static void a_late_alert_is_told_in_words_that_fit_what_was_shown(void **state)
{
    static const struct {
        uint8_t alert;
        enum result result;
        const char *of_raw, *of_x509;
    } table[] = {
        {116, RESULT_IDENTITY, RAW_HERE, "set cert= and key= here; if they are there"},
        {43, RESULT_IDENTITY, RAW_HERE, "cannot use our certificate"},
        {48, RESULT_IDENTITY, "does not know who issued", "does not know who issued"},
        {40, RESULT_PROTOCOL, "this side has a raw public key", "this side has a certificate"},
    };
    char why[HANDSHAKE_WHY_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        assert_int_equal(handshake_reason_alert(table[i].alert, raw, true, why), table[i].result);
        assert_non_null(strstr(why, table[i].of_raw));
        assert_int_equal(handshake_reason_alert(table[i].alert, x509, true, why), table[i].result);
        assert_non_null(strstr(why, table[i].of_x509));
        assert_int_equal(handshake_reason_alert(table[i].alert, NULL, true, why), table[i].result);
    }
}

static gnutls_session_t rsa_client(void)
{
    static gnutls_certificate_credentials_t shown;
    gnutls_session_t session =
        make_session(false, ":+ECDHE-ECDSA:+ECDHE-RSA:+CTYPE-X509:+SIGN-RSA-PSS-RSAE-SHA256:+SIGN-RSA-SHA256");

    assert_true(gnutls_certificate_allocate_credentials(&shown) >= 0);
    assert_true(gnutls_certificate_set_x509_key(shown, &rsa.cert, 1, rsa.key) >= 0);
    assert_true(gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, shown) >= 0);
    return session;
}

static void a_client_that_takes_no_signature_of_our_kind_of_key_is_told_of(void **state)
{
    (void)state;
    struct meeting m = meet((struct handshake_config){.effective = ROLE_SERVER, .identity = x509}, rsa_client());
    run(&m);
    assert_refused(m.hs, RESULT_IDENTITY, "the peer takes no signature that the key of this side makes");
    assert_int_equal(gnutls_alert_get(m.session), GNUTLS_A_HANDSHAKE_FAILURE);
    void *shown = NULL;
    assert_true(gnutls_credentials_get(m.session, GNUTLS_CRD_CERTIFICATE, &shown) >= 0);
    meeting_free(&m);
    gnutls_certificate_free_credentials(shown);
}

/* Of own's key, which both sides have. */
static const char *pin_own(void)
{
    static char pin[7 + 64 + 1] = "sha256:";
    struct secret_bytes key = {0};
    uint8_t hash[32];

    assert_int_equal(identity_x509_spki(own.cert, &key), 0);
    assert_int_equal(gnutls_hash_fast(GNUTLS_DIG_SHA256, key.bytes, key.len, hash), 0);
    secret_wipe(&key);
    for (size_t i = 0; i < sizeof hash; i++)
        snprintf(pin + 7 + 2 * i, 3, "%02x", hash[i]);
    return pin;
}

static int make_all(void **state)
{
    if (folder_make(state) != 0)
        return -1;
    ca = make_certificate((struct certificate_spec){.name = "CA", .is_ca = true});
    own = make_certificate((struct certificate_spec){.name = "node", .issuer = &ca});
    rsa = make_certificate((struct certificate_spec){.name = "rsa", .issuer = &ca, .pk = GNUTLS_PK_RSA, .bits = 2048});
    x509 = load_files(&own, &ca);
    const char *key = write_key("raw.key", &own, 0600);
    raw = load_ok((struct identity_files){.key_file = key, .ca_file = write_certificates("ca.crt", &ca, NULL)});
    pinning = load_ok((struct identity_files){
        .key_file = key,
        .trust = {.pins = pin_own(), .expression = {.ops = {TRUST_PINNED}, .count = 1, .terms = TRUST_PINNED}}});
    psk = load_psk("psk", PSK_ALICE);
    return 0;
}

static int free_all(void **state)
{
    identity_unref(x509);
    identity_unref(raw);
    identity_unref(pinning);
    identity_unref(psk);
    free_certificate(&own);
    free_certificate(&rsa);
    free_certificate(&ca);
    return folder_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_sides_say_which_kinds_they_have),
        cmocka_unit_test(a_late_alert_is_told_in_words_that_fit_what_was_shown),
        cmocka_unit_test(a_client_that_takes_no_signature_of_our_kind_of_key_is_told_of),
    };

    return cmocka_run_group_tests_name("handshake_kinds", tests, make_all, free_all);
}
