/* What a stranger can make this side compute before he has proven anything: certificates and keys whose signatures take
 * seconds to check are refused before that is tried. */
#include "meeting_help.h"

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>

enum { CHAIN_MAX = 100 };

static struct identity *user, *raw_user; /* the latter takes raw keys, too */
static struct certificate signer;

/* A peer that shows what no honest one has, and signs with garbage of the right length: an RSA modulus and exponent
 * need no factors to be expensive. */
struct evil {
    gnutls_pcert_st chain[CHAIN_MAX];
    unsigned count;
    gnutls_privkey_t key;
    unsigned modulus_bits;
};

static struct evil evil;

static int sign_garbage(gnutls_privkey_t key, gnutls_sign_algorithm_t algo, void *ctx, unsigned flags,
                        const gnutls_datum_t *data, gnutls_datum_t *signature)
{
    (void)key;
    (void)algo;
    (void)ctx;
    (void)flags;
    (void)data;
    signature->size = evil.modulus_bits / 8;
    signature->data = gnutls_malloc(signature->size);
    memset(signature->data, 0x5a, signature->size);
    return 0;
}

static int tell(gnutls_privkey_t key, unsigned flags, void *ctx)
{
    (void)key;
    (void)ctx;
    if (flags & GNUTLS_PRIVKEY_INFO_PK_ALGO)
        return GNUTLS_PK_RSA;
    if (flags & GNUTLS_PRIVKEY_INFO_PK_ALGO_BITS)
        return (int)evil.modulus_bits;
    return flags & GNUTLS_PRIVKEY_INFO_HAVE_SIGN_ALGO ? 1 : -1;
}

static int show(gnutls_session_t session, const struct gnutls_cert_retr_st *info, gnutls_pcert_st **chain,
                unsigned *count, gnutls_ocsp_data_st **ocsp, unsigned *ocsp_count, gnutls_privkey_t *key,
                unsigned *flags)
{
    (void)session;
    (void)info;
    *chain = evil.chain;
    *count = evil.count;
    *key = evil.key;
    *ocsp = NULL;
    *ocsp_count = *flags = 0;
    return 0;
}

static gnutls_pubkey_t make_rsa(unsigned modulus_bits, unsigned exponent_bits)
{
    static uint8_t modulus[32768], exponent[32768];
    const gnutls_datum_t m = {modulus, modulus_bits / 8}, e = {exponent, (exponent_bits + 7) / 8};
    gnutls_pubkey_t pub;

    memset(modulus, 0xa5, m.size);
    memset(exponent, 0xff, e.size);
    if (exponent_bits % 8)
        exponent[0] = (uint8_t)((1u << exponent_bits % 8) - 1);
    assert_true(gnutls_pubkey_init(&pub) >= 0);
    assert_true(gnutls_pubkey_import_rsa_raw(pub, &m, &e) >= 0);
    return pub;
}

static void make_certificates(gnutls_pubkey_t pub)
{
    const time_t now = time(NULL);

    for (unsigned i = 0; i < evil.count; i++) {
        gnutls_x509_crt_t cert;
        assert_true(gnutls_x509_crt_init(&cert) >= 0);
        gnutls_x509_crt_set_version(cert, 3);
        gnutls_x509_crt_set_serial(cert, "\1", 1);
        gnutls_x509_crt_set_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 0, "evil", 4);
        gnutls_x509_crt_set_activation_time(cert, now - 86400);
        gnutls_x509_crt_set_expiration_time(cert, now + 86400);
        assert_true(gnutls_x509_crt_set_pubkey(cert, pub) >= 0);
        assert_true(gnutls_x509_crt_sign2(cert, signer.cert, signer.key, GNUTLS_DIG_SHA512, 0) >= 0);
        assert_true(gnutls_pcert_import_x509(&evil.chain[i], cert, 0) >= 0);
        gnutls_x509_crt_deinit(cert);
    }
}

/* count 0: a raw public key. */
static void make_evil(unsigned modulus_bits, unsigned exponent_bits, unsigned count)
{
    gnutls_pubkey_t pub = make_rsa(modulus_bits, exponent_bits);

    evil = (struct evil){.count = count, .modulus_bits = modulus_bits};
    make_certificates(pub);
    if (count) {
        gnutls_pubkey_deinit(pub);
    } else {
        assert_true(gnutls_pcert_import_rawpk(&evil.chain[0], pub, 0) >= 0);
        evil.count = 1; /* it owns pub now */
    }
    assert_true(gnutls_privkey_init(&evil.key) >= 0);
    assert_true(gnutls_privkey_import_ext4(evil.key, NULL, sign_garbage, sign_garbage, NULL, NULL, tell, 0) >= 0);
}

static void free_evil(void)
{
    for (unsigned i = 0; i < evil.count; i++)
        gnutls_pcert_deinit(&evil.chain[i]);
    gnutls_privkey_deinit(evil.key);
}

static gnutls_session_t session_like(const struct identity *id, bool server)
{
    gnutls_session_t s;
    char text[2000];

    snprintf(text, sizeof text, "%s%s", TEST_PRIORITIES, identity_priorities(id, server));
    assert_true(gnutls_init(&s, (server ? GNUTLS_SERVER : GNUTLS_CLIENT) | GNUTLS_NO_TICKETS | GNUTLS_NONBLOCK |
                                    identity_session_flags(id)) >= 0);
    assert_true(gnutls_priority_set_direct(s, text, NULL) >= 0);
    return s;
}

/* Our side takes the other role. Returns what it has computed, in microseconds of processor time, for whoever runs this
 * by hand; no test depends on it. */
static long refuse_evil(bool raw, bool evil_is_server, const char *reason)
{
    gnutls_certificate_credentials_t shown;
    gnutls_session_t session = session_like(raw ? raw_user : user, evil_is_server);
    const struct handshake_config ours = {.effective = evil_is_server ? ROLE_CLIENT : ROLE_SERVER,
                                          .speaks_first = evil_is_server,
                                          .identity = raw ? raw_user : user};
    struct timespec before, after;

    assert_true(gnutls_certificate_allocate_credentials(&shown) >= 0);
    gnutls_certificate_set_retrieve_function3(shown, show);
    assert_true(gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, shown) >= 0);
    struct meeting m = meet(ours, session);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    run(&m);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    assert_refused(m.hs, RESULT_IDENTITY, reason);
    meeting_free(&m);
    gnutls_certificate_free_credentials(shown);
    return (after.tv_sec - before.tv_sec) * 1000000 + (after.tv_nsec - before.tv_nsec) / 1000;
}

static void keys_and_chains_that_cost_seconds_are_refused_before_a_signature_is_looked_at(void **state)
{
    static const struct {
        unsigned modulus_bits, exponent_bits, count;
        const char *reason;
    } table[] = {
        {2048, 17, 1, "the signature is wrong"}, /* an ordinary key: it is looked at */
        {8192, 17, 1, "the signature is wrong"},
        {8192, 33, 1, "the signature is wrong"},
        {16384, 17, 1, "RSA key"},
        {4096, 4096, 1, "RSA key"},
        {8192, 8192, 1, "RSA key"},
        {16384, 16384, 1, "RSA key"},
        {131072, 131072, 1, "RSA key"}, /* minutes */
        {8192, 8192, 0, "RSA key"},
        {131072, 131072, 0, "RSA key"},
        {2048, 17, 0, "the signature is wrong"},
        {2048, 17, 17, "17 certificates"},
        {2048, 17, 100, "100 certificates"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        for (int server = 0; server < 2; server++) {
            make_evil(table[i].modulus_bits, table[i].exponent_bits, table[i].count);
            const long us = refuse_evil(!table[i].count, server, table[i].reason);
            print_message("RSA %u, exponent of %u bits, %u certificates, as %s: %ld us for both sides\n",
                          table[i].modulus_bits, table[i].exponent_bits, table[i].count, server ? "server" : "client",
                          us);
            free_evil();
        }
}

static int make_all(void **state)
{
    const int r = folder_make(state);

    signer = make_certificate((struct certificate_spec){.name = "signer"});
    user = load_user("user");
    raw_user = load_ok((struct identity_files){
        .key_file = write_key("raw.key", &signer, 0600),
        .trust = {.pins = "sha256:0000000000000000000000000000000000000000000000000000000000000000",
                  .expression = {.ops = {TRUST_PINNED}, .count = 1, .terms = TRUST_PINNED}}});
    return r;
}

static int free_all(void **state)
{
    identity_unref(user);
    identity_unref(raw_user);
    free_certificate(&signer);
    return folder_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_and_chains_that_cost_seconds_are_refused_before_a_signature_is_looked_at),
    };

    return cmocka_run_group_tests_name("handshake_cost", tests, make_all, free_all);
}
