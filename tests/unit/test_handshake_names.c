/* What a side asks for and shows: application protocols, names, groups, extended key usage, in either TLS role. */
#include "handshake_help.h"

static struct certificate ca, any_use, for_server, for_client;
static struct identity *any_id, *server_id, *client_id, *strict_id, *psk;

static const struct forced_value low = {{1, 2, 3}}, high = {{200, 2, 3}};

/* The side that connects becomes client or server; the other one accepts. */
static struct pair_of_sides *meet(const char *connector_alpn, const char *acceptor_alpn, const char *name,
                                  bool connector_is_client)
{
    struct handshake_config a = {.effective = ROLE_PEER, .speaks_first = true, .identity = psk}, b = a;

    a.connected_side = true;
    a.dialled_name = name;
    a.alpn = connector_alpn;
    b.alpn = acceptor_alpn;
    a.random = (struct random_source){fill_forced, (void *)(connector_is_client ? &low : &high)};
    b.random = (struct random_source){fill_forced, (void *)(connector_is_client ? &high : &low)};
    struct pair_of_sides *pair = pair_new(a, b);
    pair_run(pair);
    return pair;
}

static const struct {
    const char *connector, *acceptor;
    const char *agreed; /* NULL: refused */
} protocols[] = {
    {NULL, NULL, ""},
    {"sip", "sip", "sip"},
    {"one,two", "two,one", "one"}, /* the order of the side that dialled */
    {"two,one", "one,two", "two"},
    {"one,two", "three,two", "two"},
    {"one", "two", NULL},
    {"one", NULL, NULL},
    {NULL, "one", NULL},
    {"one", "on", NULL},
    {"1234567890123456789012345678901", "1234567890123456789012345678901", "1234567890123456789012345678901"},
    {"a,b,c,d,e,f,g,h", "h", "h"},
};

static void assert_agreed(struct pair_of_sides *pair, const char *agreed, bool a_is_client)
{
    struct handshake_secrets a, b;

    if (!both_done(pair))
        fail_msg("not done: %s / %s", handshake_why(pair->a.hs), handshake_why(pair->b.hs));
    handshake_take_secrets(pair->a.hs, &a);
    handshake_take_secrets(pair->b.hs, &b);
    assert_int_equal(a.is_client, a_is_client);
    assert_string_equal(a.alpn, agreed);
    assert_string_equal(b.alpn, agreed);
}

static void both_sides_agree_on_a_protocol_or_refuse_whatever_the_roles(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof protocols / sizeof protocols[0]; i++)
        for (int client = 0; client < 2; client++) {
            struct pair_of_sides *pair = meet(protocols[i].connector, protocols[i].acceptor, NULL, client);
            if (protocols[i].agreed) {
                assert_agreed(pair, protocols[i].agreed, client);
            } else {
                const struct handshake *a = pair->a.hs, *b = pair->b.hs;
                const struct handshake *refuser = strstr(handshake_why(a), "alpn= here") ? a : b;
                assert_refused(refuser, RESULT_PROTOCOL, "alpn= on both sides");
                assert_int_not_equal(handshake_state(a), RESULT_OK);
                assert_int_not_equal(handshake_state(b), RESULT_OK);
            }
            sides_free(pair);
        }
}

static void a_list_that_cannot_be_sent_is_a_configuration_error(void **state)
{
    static const char *const lists[] = {"", ",", "a,,b", "12345678901234567890123456789012", "a,b,c,d,e,f,g,h,i"};

    (void)state;
    for (size_t i = 1; i < sizeof lists / sizeof lists[0]; i++) {
        struct handshake_config config = {.effective = ROLE_PEER, .identity = psk, .alpn = lists[i]};
        struct handshake *hs;
        char why[HANDSHAKE_WHY_MAX];
        assert_int_equal(handshake_new(&config, &hs, why), RESULT_CONFIG);
        assert_non_null(strstr(why, "alpn="));
    }
}

static void the_accepting_side_learns_the_dialled_name_in_either_role(void **state)
{
    static const struct {
        const char *dialled, *heard;
    } names[] = {{"db.example", "db.example"}, {"127.0.0.1", ""}, {NULL, ""}};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        for (int client = 0; client < 2; client++) {
            struct pair_of_sides *pair = meet(NULL, NULL, names[i].dialled, client);
            struct handshake_secrets a, b;
            assert_true(both_done(pair));
            handshake_take_secrets(pair->a.hs, &a);
            handshake_take_secrets(pair->b.hs, &b);
            assert_string_equal(b.server_name, names[i].heard);
            assert_string_equal(a.server_name, "");
            sides_free(pair);
        }
}

static void sni_off_keeps_the_name_back(void **state)
{
    struct handshake_config config = {
        .effective = ROLE_CLIENT, .speaks_first = true, .identity = psk, .dialled_name = "db.example", .no_sni = true};
    struct handshake *hs = make_handshake(config);
    size_t len;
    const uint8_t *hello = handshake_output(hs, &len);

    (void)state;
    assert_null(memmem(hello, len, "db.example", 10));
    handshake_free(hs);
}

static void where_an_address_was_dialled_the_one_name_of_peer_is_sent(void **state)
{
    static const struct {
        const char *dialled, *peer;
        bool sent;
    } table[] = {
        {"192.0.2.1", "db.example", true},
        {"::1", "dns:db.example", true},
        {"192.0.2.1", "*.db.example", false},
        {"192.0.2.1", "db.example,other.example", false},
        {"192.0.2.1", "cn:db.example", false},
        {"192.0.2.1", "email:a@db.example", false},
        {"other.example", "db.example", false}, /* that name was meant */
        {NULL, "db.example", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct handshake *hs = make_handshake((struct handshake_config){.effective = ROLE_CLIENT,
                                                                        .speaks_first = true,
                                                                        .identity = psk,
                                                                        .dialled_name = table[i].dialled,
                                                                        .peer_patterns = table[i].peer});
        size_t len;
        const uint8_t *hello = handshake_output(hs, &len);
        if (!memmem(hello, len, "db.example", 10) == table[i].sent)
            fail_msg("%s with peer=%s", table[i].dialled, table[i].peer);
        handshake_free(hs);
    }
}

static void groups_are_set_for_each_outcome(void **state)
{
    static const struct {
        const char *client, *server;
        bool works;
    } groups[] = {
        {NULL, NULL, true},
        {"+GROUP-SECP384R1", NULL, true},
        {NULL, "+GROUP-X448", true}, /* by HelloRetryRequest */
        {"+GROUP-X448", "+GROUP-X448", true},
        {"+GROUP-X448", "+GROUP-SECP256R1", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        struct handshake_config a = {.effective = ROLE_CLIENT, .speaks_first = true, .identity = psk},
                                b = {.effective = ROLE_SERVER, .identity = psk};
        a.client_groups = groups[i].client;
        a.server_groups = b.client_groups = "+GROUP-SECP521R1"; /* the outcome that does not come about */
        b.server_groups = groups[i].server;
        struct pair_of_sides *pair = pair_new(a, b);
        pair_run(pair);
        if (groups[i].works)
            assert_both_done(pair);
        else
            assert_refused(pair->b.hs, RESULT_PROTOCOL, "");
        sides_free(pair);
    }
}

/* usage=role: what the peer's certificate is for must be the peer's TLS role. */
static void extended_key_usage_counts_with_usage_role_alone(void **state)
{
    const struct {
        const struct identity *client, *server;
        const char *client_says, *server_says;
    } table[] = {
        {client_id, strict_id, NULL, NULL},
        {server_id, strict_id, NULL, "is not for a TLS client"},
        {any_id, strict_id, NULL, NULL},
        {strict_id, server_id, NULL, NULL},
        {strict_id, client_id, "is not for a TLS server", NULL},
        {strict_id, any_id, NULL, NULL},
        {server_id, client_id, NULL, NULL}, /* wrong way round, and nobody asked */
    };

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct pair_of_sides *pair = pair_new(
            (struct handshake_config){.effective = ROLE_CLIENT, .speaks_first = true, .identity = table[i].client},
            (struct handshake_config){.effective = ROLE_SERVER, .identity = table[i].server});
        pair_run(pair);
        if (table[i].client_says)
            assert_refused(pair->a.hs, RESULT_IDENTITY, table[i].client_says);
        else if (table[i].server_says)
            assert_refused(pair->b.hs, RESULT_IDENTITY, table[i].server_says);
        else
            assert_both_done(pair);
        sides_free(pair);
    }
}

/* show=never and show=proven make a client; two of them cannot meet, and are told why. */
static void two_sides_that_hold_their_certificates_back_say_so(void **state)
{
    struct identity *never = load_ok((struct identity_files){.state_dir = in_folder("user"), .show = SHOW_NEVER}),
                    *proven = load_ok((struct identity_files){.state_dir = in_folder("user"), .show = SHOW_PROVEN});
    struct handshake_config a = {.effective = ROLE_PEER, .speaks_first = true, .identity = never}, b = a;

    (void)state;
    b.identity = proven;
    struct pair_of_sides *pair = pair_new(a, b);
    pair_run(pair);
    assert_refused(pair->a.hs, RESULT_PROTOCOL, "show=never or show=proven");
    assert_refused(pair->b.hs, RESULT_PROTOCOL, "show=never or show=proven");
    sides_free(pair);
    identity_unref(never);
    identity_unref(proven);
}

static struct identity *load_one(const char *name, struct certificate *own, enum policy_usage usage)
{
    char cert[40], key[40];

    snprintf(cert, sizeof cert, "%s.crt", name);
    snprintf(key, sizeof key, "%s.key", name);
    return load_ok((struct identity_files){.cert_file = write_certificates(cert, own, NULL),
                                           .key_file = write_key(key, own, 0600),
                                           .ca_file = write_certificates("ca.crt", &ca, NULL),
                                           .usage = usage});
}

static int setup(void **state)
{
    if (folder_make(state) != 0)
        return -1;
    ca = make_certificate((struct certificate_spec){.name = "CA", .is_ca = true});
    any_use = make_certificate((struct certificate_spec){.name = "any", .issuer = &ca});
    for_server =
        make_certificate((struct certificate_spec){.name = "s", .issuer = &ca, .purpose = GNUTLS_KP_TLS_WWW_SERVER});
    for_client =
        make_certificate((struct certificate_spec){.name = "c", .issuer = &ca, .purpose = GNUTLS_KP_TLS_WWW_CLIENT});
    any_id = load_one("any", &any_use, USAGE_ANY);
    server_id = load_one("server", &for_server, USAGE_ANY);
    client_id = load_one("client", &for_client, USAGE_ANY);
    strict_id = load_one("strict", &any_use, USAGE_ROLE);
    psk = load_psk("psk", PSK_ALICE);
    return 0;
}

static int teardown(void **state)
{
    identity_unref(any_id);
    identity_unref(server_id);
    identity_unref(client_id);
    identity_unref(strict_id);
    identity_unref(psk);
    free_certificate(&ca);
    free_certificate(&any_use);
    free_certificate(&for_server);
    free_certificate(&for_client);
    return folder_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_sides_agree_on_a_protocol_or_refuse_whatever_the_roles),
        cmocka_unit_test(a_list_that_cannot_be_sent_is_a_configuration_error),
        cmocka_unit_test(the_accepting_side_learns_the_dialled_name_in_either_role),
        cmocka_unit_test(sni_off_keeps_the_name_back),
        cmocka_unit_test(where_an_address_was_dialled_the_one_name_of_peer_is_sent),
        cmocka_unit_test(groups_are_set_for_each_outcome),
        cmocka_unit_test(extended_key_usage_counts_with_usage_role_alone),
        cmocka_unit_test(two_sides_that_hold_their_certificates_back_say_so),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
