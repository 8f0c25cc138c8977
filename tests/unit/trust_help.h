/* For the tests of trust: a peer that shows anything (a chain of any length, a raw public key, a stapled answer) in
 * either TLS role, and a judge at the other end. */
#ifndef TRUST_HELP_H
#define TRUST_HELP_H

#include "identity_help.h"

#include "trust_internal.h"

#include <gnutls/crypto.h>
#include <gnutls/ocsp.h>

enum { SHOW_MAX = 101 };

struct show {
    const struct certificate *chain[SHOW_MAX];
    unsigned count;
    bool raw;              /* the key of chain[0], without the certificate */
    gnutls_datum_t staple; /* about chain[0] */
};

#define SHOW_PRIORITIES                                                                                                \
    ":+ECDHE-ECDSA:+ECDHE-RSA:+SIGN-EDDSA-ED25519:+SIGN-ECDSA-SECP256R1-SHA256:+SIGN-ECDSA-SECP384R1-SHA384"           \
    ":+SIGN-RSA-PSS-RSAE-SHA256:+SIGN-RSA-SHA256:+SIGN-RSA-SHA1"

static const struct show *shown_by_peer; /* by the one peer of the handshake that runs */
static gnutls_pcert_st show_certs[SHOW_MAX];
static gnutls_ocsp_data_st show_staple;
static gnutls_privkey_t show_key;

HELP int show_retrieve(gnutls_session_t session, const struct gnutls_cert_retr_st *info, gnutls_pcert_st **certs,
                       unsigned *count, gnutls_ocsp_data_st **ocsp, unsigned *ocsp_count, gnutls_privkey_t *key,
                       unsigned *flags)
{
    (void)session, (void)info;
    *certs = show_certs;
    *count = shown_by_peer->count;
    *key = show_key;
    *ocsp = &show_staple;
    *ocsp_count = show_staple.response.size ? 1 : 0;
    *flags = 0;
    return 0;
}

HELP void show_prepare(const struct show *show)
{
    shown_by_peer = show;
    memset(show_certs, 0, sizeof show_certs);
    show_staple = (gnutls_ocsp_data_st){.response = show->staple};
    show_key = NULL;
    if (!show->count)
        return;
    assert_true(gnutls_privkey_init(&show_key) >= 0);
    assert_true(gnutls_privkey_import_x509(show_key, show->chain[0]->key, 0) >= 0);
    for (unsigned i = 0; i < show->count; i++) {
        if (show->raw) {
            gnutls_pubkey_t pub;
            assert_true(gnutls_pubkey_init(&pub) >= 0);
            assert_true(gnutls_pubkey_import_x509(pub, show->chain[0]->cert, 0) >= 0);
            assert_true(gnutls_pcert_import_rawpk(&show_certs[i], pub, 0) >= 0);
        } else {
            gnutls_x509_crt_t cert = show->chain[i]->cert;
            assert_true(gnutls_pcert_import_x509(&show_certs[i], cert, 0) >= 0);
        }
    }
}

HELP void show_finish(const struct show *show)
{
    for (unsigned i = 0; i < show->count; i++)
        gnutls_pcert_deinit(&show_certs[i]);
    if (show_key)
        gnutls_privkey_deinit(show_key);
}

/* types: which kinds of certificate client and server show. */
HELP gnutls_session_t plain_session(bool server, const char *types, gnutls_certificate_credentials_t cred)
{
    gnutls_session_t s;
    char text[1000];

    snprintf(text, sizeof text, "%s%s%s", TEST_PRIORITIES, SHOW_PRIORITIES, types);
    assert_true(gnutls_init(&s, (server ? GNUTLS_SERVER : GNUTLS_CLIENT) | GNUTLS_NO_TICKETS | GNUTLS_NONBLOCK |
                                    GNUTLS_ENABLE_RAWPK) >= 0);
    assert_true(gnutls_priority_set_direct(s, text, NULL) >= 0);
    assert_true(gnutls_credentials_set(s, GNUTLS_CRD_CERTIFICATE, cred) >= 0);
    if (server)
        gnutls_certificate_server_set_request(s, GNUTLS_CERT_REQUEST);
    return s;
}

struct meeting {
    struct pair pair;
    gnutls_session_t judge; /* has seen what the peer shows */
    gnutls_certificate_credentials_t peer_cred, judge_cred;
    struct certificate judge_own;
};

HELP struct meeting meet(const struct show *show, bool peer_is_server)
{
    const char *types = !show->raw       ? ":+CTYPE-X509"
                        : peer_is_server ? ":+CTYPE-CLI-X509:+CTYPE-SRV-RAWPK"
                                         : ":+CTYPE-CLI-RAWPK:+CTYPE-SRV-X509";
    struct meeting m;

    show_prepare(show);
    m.judge_own = make_certificate((struct certificate_spec){.name = "judge"});
    assert_true(gnutls_certificate_allocate_credentials(&m.peer_cred) >= 0);
    assert_true(gnutls_certificate_allocate_credentials(&m.judge_cred) >= 0);
    gnutls_certificate_set_retrieve_function3(m.peer_cred, show_retrieve);
    assert_true(gnutls_certificate_set_x509_key(m.judge_cred, &m.judge_own.cert, 1, m.judge_own.key) >= 0);
    m.judge = plain_session(!peer_is_server, types, m.judge_cred);
    gnutls_session_t peer = plain_session(peer_is_server, types, m.peer_cred);
    m.pair = peer_is_server ? shake(m.judge, peer) : shake(peer, m.judge);
    if (m.pair.client.error || m.pair.server.error)
        fail_msg("client: %s, server: %s", gnutls_strerror(m.pair.client.error), gnutls_strerror(m.pair.server.error));
    show_finish(show);
    return m;
}

HELP void part(struct meeting *m)
{
    pair_free(&m->pair);
    gnutls_certificate_free_credentials(m->peer_cred);
    gnutls_certificate_free_credentials(m->judge_cred);
    free_certificate(&m->judge_own);
}

/* A rule's trust: an expression in words, or NULL for what is given. */
HELP struct policy_trust trust_of(struct policy_trust trust, const char *expression)
{
    const unsigned given = (trust.ca ? TRUST_CA : 0) | (trust.pins ? TRUST_PINNED : 0) |
                           (trust.known_peers ? TRUST_KNOWN : 0) | (trust.dane ? TRUST_DANE : 0) |
                           (trust.crl || trust.ocsp_stapled ? TRUST_REVOKED : 0);
    const char *expected = "";
    size_t bad_at;

    if (!expression)
        trust_default(given, &trust.expression);
    else if (trust_parse(expression, strlen(expression), &trust.expression, &bad_at, &expected) != RESULT_OK)
        fail_msg("%s: expected %s", expression, expected);
    return trust;
}

HELP struct trust_store *store_ok(const struct policy_trust *trust)
{
    struct trust_store *store;
    char why[IDENTITY_WHY_MAX] = "";

    if (trust_store_load(trust, folder, &store, why) != RESULT_OK)
        fail_msg("not loaded: %s", why);
    return store;
}

HELP void store_refused(const struct policy_trust *trust, const char *part_of_why)
{
    struct trust_store *store;
    char why[IDENTITY_WHY_MAX] = "";

    assert_int_equal(trust_store_load(trust, folder, &store, why), RESULT_CONFIG);
    assert_null(store);
    if (!strstr(why, part_of_why))
        fail_msg("expected a sentence with: %s\nfound: %s", part_of_why, why);
}

/* What the judge's session says of the peer. */
HELP enum result ask_judge(const struct trust_store *store, gnutls_session_t judge,
                           const struct identity_expectation *expect, const struct secret_bytes *own, uint8_t *alert,
                           char *why)
{
    struct shown_peer peer;
    enum result r = shown_peer_take(store, judge, expect, &peer, why);

    if (r == RESULT_OK) {
        const struct trust_question q = {store, &peer, expect, own};
        struct trust_verdict verdict = {0};
        r = trust_judge(&q, &verdict, why);
        if (r == RESULT_OK)
            r = trust_record(&q, &verdict, why);
        *alert = verdict.alert;
    }
    shown_peer_free(&peer);
    return r;
}

/* Whichever is TLS client, and whichever has connected (expect says that). */
HELP void accepts(const struct policy_trust *trust, const struct show *show, struct identity_expectation expect)
{
    struct trust_store *store = store_ok(trust);

    for (int role = 0; role < 2; role++) {
        struct meeting m = meet(show, role);
        char why[IDENTITY_WHY_MAX] = "";
        uint8_t alert = 0;
        if (ask_judge(store, m.judge, &expect, NULL, &alert, why) != RESULT_OK)
            fail_msg("peer is %s: refused: %s", role ? "server" : "client", why);
        part(&m);
    }
    trust_store_free(store);
}

HELP void refuses_with(const struct policy_trust *trust, const struct show *show, struct identity_expectation expect,
                       uint8_t alert, const char *part_of_why)
{
    struct trust_store *store = store_ok(trust);

    for (int role = 0; role < 2; role++) {
        struct meeting m = meet(show, role);
        char why[IDENTITY_WHY_MAX] = "";
        uint8_t found = 0;
        assert_int_equal(ask_judge(store, m.judge, &expect, NULL, &found, why), RESULT_IDENTITY);
        if (!strstr(why, part_of_why))
            fail_msg("expected a sentence with: %s\nfound: %s", part_of_why, why);
        if (alert)
            assert_int_equal(found, alert);
        part(&m);
    }
    trust_store_free(store);
}

HELP void refuses(const struct policy_trust *trust, const struct show *show, struct identity_expectation expect,
                  const char *part_of_why)
{
    refuses_with(trust, show, expect, 0, part_of_why);
}

/* "sha256:..." of a certificate's key, as pin= has it. */
HELP const char *pin_of(const struct certificate *c)
{
    static char texts[8][FINGERPRINT_TEXT];
    static unsigned next;
    struct secret_bytes key = {0};
    uint8_t hash[KEY_HASH_BYTES];
    char *text = texts[next++ % 8];

    assert_int_equal(identity_x509_spki(c->cert, &key), 0);
    assert_true(gnutls_hash_fast(GNUTLS_DIG_SHA256, key.bytes, key.len, hash) >= 0);
    secret_wipe(&key);
    trust_print_fingerprint(hash, text);
    return text;
}

#endif
