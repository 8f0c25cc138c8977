/* Every combination of roles, auth=, show=, kind of credential and trust, run as a handshake in memory in each TLS role
 * that it allows, against an oracle that knows nothing of the code: it says who gets through, who refuses, and who is
 * proven. */
#include "handshake_help.h"

#include <gnutls/crypto.h>

enum kind { KIND_X509, KIND_PSK };

/* One side as an administrator would state it. */
struct properties {
    bool raw;  /* shows a raw public key (RFC 7250), and no certificate */
    bool pins; /* knows the other side by its key, in whatever form it comes; else by a CA, which issues certificates */
    enum role_set role;
    enum policy_auth auth;
    enum policy_show show;
    bool accepts; /* is what the other side has an identity that this one trusts? */
};

/* What must come of it. */
struct verdict {
    bool through;
    bool refused_by_a, refused_by_b;      /* who must have refused by itself; neither: nobody, or both at once */
    bool a_is_client, a_proves, b_proves; /* the other one */
};

enum { AUTHS = 3, SHOWS = 3 };

static struct certificate ca, other_ca, own;
static struct identity *shown[2][2][AUTHS][SHOWS][2], *psk[2][2]; /* by raw, pins, auth, show and accepts; by auth */

/* ---- the oracle ---- */

static bool can_be(const struct properties *p, enum kind kind, enum role_set role)
{
    bool hides = kind != KIND_PSK && p->show != SHOW_ALWAYS;
    return (p->role & role) && !(hides && role == ROLE_SERVER);
}

/* Whom nobody is asked about may show anything. */
static bool takes_from(const struct properties *p, const struct properties *other)
{
    return !other->raw || p->pins || p->auth == AUTH_INSECURE_NONE;
}

/* The client sees the server's certificate first, and shows its own only then. A key that the other side cannot take is
 * not shown: a server has then nothing to begin with. */
static struct verdict judge_certificates(const struct properties *client, const struct properties *server)
{
    struct verdict v = {0}; /* a: the client */
    bool asked = server->auth != AUTH_INSECURE_NONE;
    bool looked = client->auth != AUTH_INSECURE_NONE;
    bool willing = client->show == SHOW_ALWAYS || (client->show == SHOW_PROVEN && looked && client->accepts);

    if (!takes_from(client, server))
        return v;
    willing = willing && takes_from(server, client);
    if (looked && !client->accepts) {
        v.refused_by_a = true;
        return v;
    }
    if (asked && willing && !server->accepts)
        v.refused_by_b = true;
    if (asked && !willing && server->auth == AUTH_REQUIRE)
        v.refused_by_b = true;
    v.through = !v.refused_by_b;
    v.a_is_client = true;
    v.a_proves = looked;
    v.b_proves = asked && willing;
    return v;
}

static struct verdict turned(struct verdict v)
{
    return (struct verdict){.through = v.through,
                            .refused_by_a = v.refused_by_b,
                            .refused_by_b = v.refused_by_a,
                            .a_is_client = !v.a_is_client,
                            .a_proves = v.b_proves,
                            .b_proves = v.a_proves};
}

static struct verdict expect(const struct properties *a, const struct properties *b, enum kind kind, bool a_is_lower)
{
    bool a_client = can_be(a, kind, ROLE_CLIENT) && can_be(b, kind, ROLE_SERVER);
    bool b_client = can_be(b, kind, ROLE_CLIENT) && can_be(a, kind, ROLE_SERVER);
    struct verdict v = {0};

    if (!a_client && !b_client)
        return v;
    if (a_client && b_client)
        a_client = a_is_lower;
    if (kind == KIND_X509)
        return a_client ? judge_certificates(a, b) : turned(judge_certificates(b, a));
    v.through = a->accepts && b->accepts; /* one key on both sides, or not */
    v.a_is_client = a_client;
    v.a_proves = v.b_proves = true;
    return v;
}

/* ---- the run ---- */

static const struct forced_value low = {{1, 2, 3}}, high = {{200, 2, 3}};
static unsigned runs, passes;

static void describe(char *text, size_t size, const struct properties *p)
{
    snprintf(text, size, "%s role=%d auth=%d show=%d %s accepts=%d", p->raw ? "raw" : "x509", (int)p->role,
             (int)p->auth, (int)p->show, p->pins ? "pins" : "ca", p->accepts);
}

static struct handshake_config config_of(const struct properties *p, enum kind kind, bool lower)
{
    return (struct handshake_config){
        .effective = p->role,
        .identity = kind == KIND_X509 ? shown[p->raw][p->pins][p->auth][p->show][p->accepts] : psk[p->auth][p->accepts],
        .random = {fill_forced, (void *)(lower ? &low : &high)},
    };
}

static void check(const struct properties *a, const struct properties *b, const struct verdict *v,
                  struct pair_of_sides *pair, const char *what)
{
    struct handshake_secrets of_a, of_b;
    bool a_done = handshake_state(pair->a.hs) == RESULT_OK, b_done = handshake_state(pair->b.hs) == RESULT_OK;
    char text_a[120], text_b[120];

    describe(text_a, sizeof text_a, a);
    describe(text_b, sizeof text_b, b);
    if ((a_done && b_done) != v->through || (v->refused_by_a && a_done) || (v->refused_by_b && b_done))
        fail_msg("%s [%s] and [%s]: expected %s, found a: %s, b: %s", what, text_a, text_b,
                 v->through ? "a connection" : "a refusal", handshake_why(pair->a.hs), handshake_why(pair->b.hs));
    runs++;
    if (!v->through)
        return;
    passes++;
    handshake_take_secrets(pair->a.hs, &of_a);
    handshake_take_secrets(pair->b.hs, &of_b);
    if (of_a.is_client != v->a_is_client || of_a.proven != v->a_proves || of_b.proven != v->b_proves)
        fail_msg("%s [%s] and [%s]: a is %s, a %s, b %s", what, text_a, text_b, of_a.is_client ? "client" : "server",
                 of_a.subject, of_b.subject);
    assert_int_equal(strcmp(of_a.subject, "(unauthenticated)") == 0, !of_a.proven);
    assert_int_equal(strcmp(of_b.subject, "(unauthenticated)") == 0, !of_b.proven);
}

/* A side that has no role left is refused before a byte has left. */
static bool can_begin(const struct properties *p, enum kind kind)
{
    struct handshake_config config = config_of(p, kind, true);
    struct handshake *hs = NULL;
    char why[HANDSHAKE_WHY_MAX];

    enum result result = handshake_new(&config, &hs, why);
    handshake_free(hs);
    bool may = can_be(p, kind, ROLE_CLIENT) || can_be(p, kind, ROLE_SERVER);
    assert_int_equal(result, may ? RESULT_OK : RESULT_CONFIG);
    if (!may)
        assert_non_null(strstr(why, "show="));
    return may;
}

static void run(const struct properties *a, const struct properties *b, enum kind kind, bool a_is_lower)
{
    struct handshake_config ca_ = config_of(a, kind, a_is_lower), cb = config_of(b, kind, !a_is_lower);

    ca_.connected_side = true;
    ca_.speaks_first = true;
    cb.speaks_first = can_be(b, kind, ROLE_CLIENT); /* server only: it waits */
    struct pair_of_sides *pair = pair_new(ca_, cb);
    pair_run(pair);
    struct verdict v = expect(a, b, kind, a_is_lower);
    check(a, b, &v, pair, kind == KIND_X509 ? "x509" : "psk");
    sides_free(pair);
}

static void run_roles(struct properties a, struct properties b, enum kind kind)
{
    static const enum role_set roles[] = {ROLE_CLIENT, ROLE_SERVER, ROLE_PEER};

    for (size_t i = 0; i < 3; i++)
        for (size_t j = 0; j < 3; j++) {
            a.role = roles[i];
            b.role = roles[j];
            if (!can_begin(&a, kind) || !can_begin(&b, kind))
                continue;
            run(&a, &b, kind, true);
            if (a.role == ROLE_PEER && b.role == ROLE_PEER)
                run(&a, &b, kind, false);
        }
}

/* The bits of n choose auth, show and trust of both sides. */
static void run_properties(const struct properties *of_a, const struct properties *of_b)
{
    runs = passes = 0;
    for (unsigned n = 0; n < AUTHS * AUTHS * SHOWS * SHOWS * 4; n++) {
        unsigned m = n / 4;
        struct properties a = *of_a, b = *of_b;
        a.accepts = n & 1;
        b.accepts = n & 2;
        a.auth = (enum policy_auth)(m % AUTHS);
        b.auth = (enum policy_auth)(m / AUTHS % AUTHS);
        a.show = (enum policy_show)(m / (AUTHS * AUTHS) % SHOWS);
        b.show = (enum policy_show)(m / (AUTHS * AUTHS * SHOWS));
        run_roles(a, b, KIND_X509);
    }
    print_message("%s that trusts %s, %s that trusts %s: %u handshakes, %u of them through\n",
                  of_a->raw ? "a raw key" : "a certificate", of_a->pins ? "keys" : "a CA",
                  of_b->raw ? "a raw key" : "a certificate", of_b->pins ? "keys" : "a CA", runs, passes);
    assert_in_range(passes, runs / 20, runs * 9 / 10); /* the table has both kinds */
}

/* Certificates and raw keys, and those who take both or certificates alone. */
static void credentials_that_are_shown_in_every_combination(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 16; n++)
        run_properties(&(struct properties){.raw = n & 1, .pins = n & 2},
                       &(struct properties){.raw = n & 4, .pins = n & 8});
}

/* A pre-shared key shows nothing, and whoever has it is proven: show= and auth=request change nothing. */
static void pre_shared_keys_in_every_combination(void **state)
{
    (void)state;
    runs = passes = 0;
    for (unsigned n = 0; n < 16; n++) {
        struct properties a = {.auth = n & 1 ? AUTH_REQUEST : AUTH_REQUIRE, .accepts = n & 4};
        struct properties b = {.auth = n & 2 ? AUTH_REQUEST : AUTH_REQUIRE, .accepts = n & 8};
        a.show = n & 1 ? SHOW_NEVER : SHOW_ALWAYS;
        b.show = n & 2 ? SHOW_PROVEN : SHOW_ALWAYS;
        if (!a.accepts && !b.accepts) /* then both have the wrong key, which is the same one */
            continue;
        run_roles(a, b, KIND_PSK);
    }
    assert_in_range(passes, runs / 10, runs * 9 / 10);
}

static void a_pre_shared_key_cannot_do_without_authentication(void **state)
{
    (void)state;
    load_refused((struct identity_files){.psk_file = write_text("none", PSK_ALICE, 0600), .auth = AUTH_INSECURE_NONE},
                 "insecure-none");
}

/* Both sides have the same key, in one form or the other. */
static void load_shown(bool raw, bool pins)
{
    static char pin[2][7 + 64 + 1] = {"sha256:0000000000000000000000000000000000000000000000000000000000000000"};
    struct identity_files config = {.cert_file = raw ? NULL : write_certificates("own.crt", &own, NULL),
                                    .key_file = write_key("own.key", &own, 0600)};
    const char *trusted[2] = {write_certificates("other.crt", &other_ca, NULL),
                              write_certificates("ca.crt", &ca, NULL)};
    struct secret_bytes key = {0};
    uint8_t hash[32];

    assert_int_equal(identity_x509_spki(own.cert, &key), 0);
    assert_int_equal(gnutls_hash_fast(GNUTLS_DIG_SHA256, key.bytes, key.len, hash), 0);
    secret_wipe(&key);
    snprintf(pin[1], sizeof pin[1], "sha256:");
    for (size_t i = 0; i < sizeof hash; i++)
        snprintf(pin[1] + 7 + 2 * i, 3, "%02x", hash[i]);
    for (int n = 0; n < AUTHS * SHOWS * 2; n++) {
        config.auth = (enum policy_auth)(n / 2 % AUTHS);
        config.show = (enum policy_show)(n / 2 / AUTHS);
        if (pins)
            config.trust = (struct policy_trust){
                .pins = pin[n % 2], .expression = {.ops = {TRUST_PINNED}, .count = 1, .terms = TRUST_PINNED}};
        else
            config.ca_file = trusted[n % 2];
        shown[raw][pins][config.auth][config.show][n % 2] = load_ok(config);
    }
}

static int setup(void **state)
{
    if (folder_make(state) != 0)
        return -1;
    ca = make_certificate((struct certificate_spec){.name = "CA", .is_ca = true});
    other_ca = make_certificate((struct certificate_spec){.name = "Other", .is_ca = true});
    own = make_certificate((struct certificate_spec){.name = "node", .issuer = &ca});
    load_shown(false, false);
    load_shown(false, true);
    load_shown(true, false);
    load_shown(true, true);
    for (int n = 0; n < 4; n++) {
        const char *key = n % 2 ? PSK_ALICE : "alice:000000000000000000000000000000ff\n";
        psk[n / 2][n % 2] = load_ok((struct identity_files){.psk_file = write_text("psk", key, 0600),
                                                            .auth = n / 2 ? AUTH_REQUEST : AUTH_REQUIRE,
                                                            .show = n / 2 ? SHOW_NEVER : SHOW_ALWAYS});
    }
    return 0;
}

static int teardown(void **state)
{
    for (int n = 0; n < AUTHS * SHOWS * 8; n++)
        identity_unref(shown[n & 1][n >> 1 & 1][n / 8 % AUTHS][n / 8 / AUTHS][n >> 2 & 1]);
    for (int n = 0; n < 4; n++)
        identity_unref(psk[n / 2][n % 2]);
    free_certificate(&own);
    free_certificate(&ca);
    free_certificate(&other_ca);
    return folder_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(credentials_that_are_shown_in_every_combination),
        cmocka_unit_test(pre_shared_keys_in_every_combination),
        cmocka_unit_test(a_pre_shared_key_cannot_do_without_authentication),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
