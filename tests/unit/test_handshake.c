/* The handshake between two honest sides: every pair of roles, forced values, who speaks, and how the bytes arrive. */
#include "handshake_help.h"

enum { MANY_CONNECTIONS = 1000 };

static struct identity *psk;

static struct handshake_config peer(enum role_set effective, bool speaks)
{
    return (struct handshake_config){.effective = effective, .speaks_first = speaks, .identity = psk};
}

/* What two effective role sets must come to, written down by hand. */
enum expected { REFUSED, A_CLIENT, A_SERVER, EITHER };

static const enum expected by_roles[4][4] = {
    [ROLE_CLIENT] = {[ROLE_CLIENT] = REFUSED, [ROLE_SERVER] = A_CLIENT, [ROLE_PEER] = A_CLIENT},
    [ROLE_SERVER] = {[ROLE_CLIENT] = A_SERVER, [ROLE_SERVER] = REFUSED, [ROLE_PEER] = A_SERVER},
    [ROLE_PEER] = {[ROLE_CLIENT] = A_SERVER, [ROLE_SERVER] = A_CLIENT, [ROLE_PEER] = EITHER},
};

static void assert_outcome(struct pair_of_sides *pair, enum expected expected)
{
    if (expected == REFUSED) {
        assert_int_equal(handshake_state(pair->a.hs), RESULT_PROTOCOL);
        assert_int_equal(handshake_state(pair->b.hs), RESULT_PROTOCOL);
        return;
    }
    bool a_client = assert_both_done(pair);
    if (expected != EITHER)
        assert_int_equal(a_client, expected == A_CLIENT);
}

static void try_roles(enum role_set a, enum role_set b, bool a_speaks, bool b_speaks)
{
    struct pair_of_sides *pair = pair_new(peer(a, a_speaks), peer(b, b_speaks));

    pair_run(pair);
    assert_outcome(pair, by_roles[a][b]);
    sides_free(pair);
}

static void every_pair_of_roles_comes_to_one_client_and_one_server_or_is_refused(void **state)
{
    (void)state;
    for (enum role_set a = ROLE_CLIENT; a <= ROLE_PEER; a++)
        for (enum role_set b = ROLE_CLIENT; b <= ROLE_PEER; b++) {
            try_roles(a, b, true, true);
            try_roles(a, b, true, false);
            try_roles(a, b, false, true);
        }
}

/* local and remote of both sides: the effective sets, and what they come to, agree with what each side asked for. */
static void the_remote_role_cuts_the_local_one(void **state)
{
    char why[HANDSHAKE_WHY_MAX];

    (void)state;
    for (unsigned local = 0; local <= ROLE_PEER; local++)
        for (unsigned remote = 0; remote <= ROLE_PEER; remote++) {
            enum role_set mine = role_effective((enum role_set)local, (enum role_set)remote);
            struct handshake_config config = peer(mine, true);
            struct handshake *hs;
            enum result result = handshake_new(&config, &hs, why);
            bool client = (local & ROLE_CLIENT) && (remote & ROLE_SERVER);
            bool server = (local & ROLE_SERVER) && (remote & ROLE_CLIENT);
            assert_int_equal(result, client || server ? RESULT_OK : RESULT_CONFIG);
            if (result == RESULT_CONFIG)
                assert_non_null(strstr(why, "remote="));
            if (client && server)
                try_roles(mine, ROLE_PEER, true, true);
            handshake_free(hs);
        }
}

static void two_sides_that_wait_say_nothing(void **state)
{
    struct pair_of_sides *pair = pair_new(peer(ROLE_PEER, false), peer(ROLE_PEER, false));

    (void)state;
    pair_run(pair);
    assert_int_equal(pair->a.out.len + pair->b.out.len, 0);
    assert_int_equal(handshake_state(pair->a.hs), RESULT_AGAIN);
    assert_int_equal(handshake_wanted(pair->b.hs), RECORD_HEADER);
    sides_free(pair);
}

static void the_refusals_name_the_roles(void **state)
{
    struct pair_of_sides *servers = pair_new(peer(ROLE_SERVER, true), peer(ROLE_SERVER, false));
    struct pair_of_sides *clients = pair_new(peer(ROLE_CLIENT, true), peer(ROLE_CLIENT, true));

    (void)state;
    pair_run(servers);
    assert_refused(servers->b.hs, RESULT_PROTOCOL, "both are role=server");
    assert_refused(servers->a.hs, RESULT_PROTOCOL, "handshake_failure");
    pair_run(clients);
    assert_refused(clients->a.hs, RESULT_PROTOCOL, "both are role=client");
    assert_refused(clients->b.hs, RESULT_PROTOCOL, "both are role=client");
    sides_free(servers);
    sides_free(clients);
}

#define ZEROS 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
#define ONES 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255

static const struct {
    struct forced_value a, b;
    enum expected expected;
} forced[] = {
    {{{0, ZEROS, 1}}, {{0, ZEROS, 2}}, A_CLIENT},       {{{0, ZEROS, 2}}, {{0, ZEROS, 1}}, A_SERVER},
    {{{0, ZEROS, 1}}, {{0, ZEROS, 1}}, REFUSED},        {{{0, ZEROS, 255}}, {{0, ZEROS, 254}}, A_SERVER},
    {{{255, ONES, 254}}, {{255, ONES, 253}}, A_SERVER}, {{{255, ONES, 254}}, {{255, ONES, 254}}, REFUSED},
    {{{127, ONES, 255}}, {{128, ZEROS, 0}}, A_CLIENT},                                                 /* unsigned */
    {{{128, ZEROS, 0}}, {{127, ONES, 255}}, A_SERVER},  {{{1, ZEROS, 0}}, {{0, ONES, 255}}, A_SERVER}, /* big-endian */
    {{{0, ONES, 255}}, {{1, ZEROS, 0}}, A_CLIENT},      {{{0, ZEROS, 1}}, {{255, ONES, 254}}, A_CLIENT},
};

static struct handshake_config with_value(struct handshake_config config, const struct forced_value *value)
{
    config.random = (struct random_source){fill_forced, (void *)value};
    return config;
}

static void forced_values_give_the_prescribed_outcome(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof forced / sizeof forced[0]; i++) {
        struct pair_of_sides *pair =
            pair_new(with_value(peer(ROLE_PEER, true), &forced[i].a), with_value(peer(ROLE_PEER, true), &forced[i].b));
        pair_run(pair);
        assert_outcome(pair, forced[i].expected);
        if (forced[i].expected == REFUSED)
            assert_refused(pair->a.hs, RESULT_PROTOCOL, "equals our own");
        sides_free(pair);
    }
}

static void the_neighbours_of_the_reserved_values_bow_to_them(void **state)
{
    static const struct forced_value least = {{0, ZEROS, 1}}, most = {{255, ONES, 254}};
    struct pair_of_sides *low = pair_new(with_value(peer(ROLE_PEER, true), &least), peer(ROLE_CLIENT, true));
    struct pair_of_sides *high = pair_new(with_value(peer(ROLE_PEER, true), &most), peer(ROLE_SERVER, true));

    (void)state;
    pair_run(low);
    assert_outcome(low, A_SERVER);
    pair_run(high);
    assert_outcome(high, A_CLIENT);
    sides_free(low);
    sides_free(high);
}

static void a_source_that_gives_reserved_values_or_nothing_is_refused(void **state)
{
    static const struct forced_value zeros = {{0}};
    struct handshake_config config = with_value(peer(ROLE_PEER, true), &zeros);
    struct handshake *hs;
    char why[HANDSHAKE_WHY_MAX];

    (void)state;
    assert_int_equal(handshake_new(&config, &hs, why), RESULT_IO);
    assert_null(hs);
    config.random = (struct random_source){fill_never, NULL};
    assert_int_equal(handshake_new(&config, &hs, why), RESULT_IO);
    assert_non_null(strstr(why, "randomness"));
}

static void prefer_decides_between_peers(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        struct handshake_config a = peer(ROLE_PEER, true), b = peer(ROLE_PEER, true);
        a.prefer = PREFER_CLIENT;
        b.prefer = PREFER_SERVER;
        struct pair_of_sides *pair = pair_new(a, b);
        pair_run(pair);
        assert_outcome(pair, A_CLIENT);
        sides_free(pair);
    }
}

static void over_many_connections_each_side_is_client_about_half_of_the_time(void **state)
{
    int a_clients = 0;

    (void)state;
    for (int i = 0; i < MANY_CONNECTIONS; i++) {
        struct pair_of_sides *pair = pair_new(peer(ROLE_PEER, true), peer(ROLE_PEER, true));
        pair_run(pair);
        a_clients += assert_both_done(pair);
        sides_free(pair);
    }
    assert_in_range(a_clients, MANY_CONNECTIONS * 40 / 100, MANY_CONNECTIONS * 60 / 100);
}

/* A peer that waits lets the other be client, and shows no hello of its own; only all ones make it speak. */
static void a_waiting_peer_is_server_and_a_waiting_acceptor_shows_no_hello(void **state)
{
    static const struct forced_value high = {{255, ZEROS, 9}};

    (void)state;
    for (int i = 0; i < 10; i++) {
        struct pair_of_sides *pair = pair_new(with_value(peer(ROLE_PEER, true), &high), peer(ROLE_PEER, false));
        pair_run(pair);
        assert_outcome(pair, A_CLIENT);
        assert_int_equal(pair->b.out.bytes[RECORD_HEADER], GNUTLS_HANDSHAKE_SERVER_HELLO);
        sides_free(pair);
    }
}

/* Its hello is made, but the other one came before any byte of it left: then it is not shown. */
static void a_hello_that_has_not_left_is_kept_back_when_it_loses(void **state)
{
    static const struct forced_value low = {{1, ZEROS, 9}}, high = {{2, ZEROS, 9}};
    struct pair_of_sides *pair =
        pair_new(with_value(peer(ROLE_PEER, true), &low), with_value(peer(ROLE_PEER, true), &high));

    (void)state;
    side_send(pair, &pair->a, &pair->b);
    while (side_read(pair, &pair->b)) {
    }
    pair_run(pair);
    assert_outcome(pair, A_CLIENT);
    assert_int_equal(pair->b.out.bytes[RECORD_HEADER], GNUTLS_HANDSHAKE_SERVER_HELLO);
    sides_free(pair);
}

/* One byte of it has left: so the rest goes, and the echo names it. */
static void a_hello_that_has_left_in_part_is_sent_whole_and_echoed(void **state)
{
    static const struct forced_value low = {{1, ZEROS, 9}}, high = {{2, ZEROS, 9}};
    struct pair_of_sides *pair =
        pair_new(with_value(peer(ROLE_PEER, true), &low), with_value(peer(ROLE_PEER, true), &high));
    size_t len;

    (void)state;
    const uint8_t *bytes = handshake_output(pair->b.hs, &len);
    wire_add(&pair->b.out, bytes, 1);
    handshake_sent(pair->b.hs, 1);
    side_send(pair, &pair->a, &pair->b);
    while (side_read(pair, &pair->b)) {
    }
    pair_run(pair);
    assert_outcome(pair, A_CLIENT);
    assert_int_equal(pair->b.out.bytes[RECORD_HEADER], GNUTLS_HANDSHAKE_CLIENT_HELLO);
    sides_free(pair);
}

static const struct {
    const char *priority;
    enum record_suite suite;
    size_t secret_len;
} suites[] = {
    {NULL, SUITE_AES_128_GCM_SHA256, 32},
    {"+AES-256-GCM", SUITE_AES_256_GCM_SHA384, 48},
    {"+CHACHA20-POLY1305", SUITE_CHACHA20_POLY1305_SHA256, 32},
    {"+CHACHA20-POLY1305:+AES-256-GCM", SUITE_CHACHA20_POLY1305_SHA256, 32},
};

static void each_candidate_has_its_own_ciphers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof suites / sizeof suites[0]; i++) {
        struct handshake_config a = peer(ROLE_CLIENT, true), b = peer(ROLE_SERVER, false);
        struct handshake_secrets secrets;
        /* A PSK is bound to a hash (RFC 8446 section 4.2.11): certificates leave the choice to the cipher list. */
        a.identity = b.identity = load_user("suites");
        b.server_ciphers = suites[i].priority;
        b.client_ciphers = "+AES-256-GCM"; /* the candidate that is never used */
        struct pair_of_sides *pair = pair_new(a, b);
        pair_run(pair);
        assert_true(both_done(pair));
        handshake_take_secrets(pair->a.hs, &secrets);
        assert_int_equal(secrets.suite, suites[i].suite);
        assert_int_equal(secrets.secret_len, suites[i].secret_len);
        sides_free(pair);
        identity_unref((struct identity *)a.identity);
    }
}

static void sides_without_a_common_cipher_are_refused(void **state)
{
    struct handshake_config a = peer(ROLE_CLIENT, true), b = peer(ROLE_SERVER, false);

    (void)state;
    a.client_ciphers = "+CHACHA20-POLY1305";
    b.server_ciphers = "+AES-128-GCM";
    struct pair_of_sides *pair = pair_new(a, b);
    pair_run(pair);
    assert_refused(pair->b.hs, RESULT_PROTOCOL, "cipher");
    assert_refused(pair->a.hs, RESULT_PROTOCOL, "handshake_failure");
    sides_free(pair);
}

static void a_pre_shared_key_without_a_cipher_of_its_hash_is_refused_with_a_hint(void **state)
{
    struct handshake_config a = peer(ROLE_CLIENT, true), b = peer(ROLE_SERVER, false);

    (void)state;
    b.server_ciphers = "+AES-256-GCM";
    struct pair_of_sides *pair = pair_new(a, b);
    pair_run(pair);
    assert_refused(pair->b.hs, RESULT_PROTOCOL, "a pre-shared key goes with AES-128-GCM");
    sides_free(pair);
}

static void a_cipher_list_that_does_not_parse_is_a_configuration_error(void **state)
{
    struct handshake *hs;
    char why[HANDSHAKE_WHY_MAX];

    (void)state;
    for (int speaks = 0; speaks <= 1; speaks++) {
        struct handshake_config client = peer(ROLE_PEER, speaks), server = client;
        client.client_ciphers = server.server_ciphers = "+NO-SUCH-CIPHER";
        assert_int_equal(handshake_new(&client, &hs, why), RESULT_CONFIG);
        assert_non_null(strstr(why, "ciphers or groups of the client role"));
        assert_int_equal(handshake_new(&server, &hs, why), RESULT_CONFIG);
        assert_non_null(strstr(why, "ciphers or groups of the server role"));
    }
}

/* Parsed lists are kept, but not without bound. */
static void any_number_of_cipher_lists_may_be_used(void **state)
{
    char list[400] = "+AES-128-GCM";

    (void)state;
    for (int i = 0; i < 20; i++) {
        struct handshake_config a = peer(ROLE_CLIENT, true), b = peer(ROLE_SERVER, false);
        a.client_ciphers = b.server_ciphers = list;
        struct pair_of_sides *pair = pair_new(a, b);
        pair_run(pair);
        assert_true(assert_both_done(pair));
        sides_free(pair);
        size_t len = strlen(list);
        snprintf(list + len, sizeof list - len, ":+AES-256-GCM");
    }
}

static void settings_that_fit_no_session_are_configuration_errors(void **state)
{
    struct handshake_config long_list = peer(ROLE_CLIENT, true), no_name = peer(ROLE_CLIENT, true);
    char list[3000], why[HANDSHAKE_WHY_MAX];
    struct handshake *hs;

    (void)state;
    memset(list, 'A', sizeof list - 1);
    list[sizeof list - 1] = '\0';
    long_list.client_ciphers = list;
    assert_int_equal(handshake_new(&long_list, &hs, why), RESULT_CONFIG);
    assert_non_null(strstr(why, "ciphers or groups"));
    no_name.dialled_name = "\xff\xfe.example";
    assert_int_equal(handshake_new(&no_name, &hs, why), RESULT_CONFIG);
    assert_non_null(strstr(why, "DNS name"));
}

static void secrets_are_given_once(void **state)
{
    static const uint8_t nothing[RECORD_SECRET_MAX];
    struct pair_of_sides *pair = pair_new(peer(ROLE_PEER, true), peer(ROLE_PEER, true));
    struct handshake_secrets secrets;

    (void)state;
    pair_run(pair);
    handshake_take_secrets(pair->a.hs, &secrets);
    assert_memory_not_equal(secrets.read, nothing, 32);
    handshake_take_secrets(pair->a.hs, &secrets);
    assert_memory_equal(secrets.read, nothing, RECORD_SECRET_MAX);
    sides_free(pair);
}

static int setup(void **state)
{
    if (folder_make(state) != 0)
        return -1;
    psk = load_psk("psk", PSK_ALICE);
    return 0;
}

static int teardown(void **state)
{
    identity_unref(psk);
    return folder_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pair_of_roles_comes_to_one_client_and_one_server_or_is_refused),
        cmocka_unit_test(the_remote_role_cuts_the_local_one),
        cmocka_unit_test(two_sides_that_wait_say_nothing),
        cmocka_unit_test(the_refusals_name_the_roles),
        cmocka_unit_test(forced_values_give_the_prescribed_outcome),
        cmocka_unit_test(the_neighbours_of_the_reserved_values_bow_to_them),
        cmocka_unit_test(a_source_that_gives_reserved_values_or_nothing_is_refused),
        cmocka_unit_test(prefer_decides_between_peers),
        cmocka_unit_test(over_many_connections_each_side_is_client_about_half_of_the_time),
        cmocka_unit_test(a_waiting_peer_is_server_and_a_waiting_acceptor_shows_no_hello),
        cmocka_unit_test(a_hello_that_has_not_left_is_kept_back_when_it_loses),
        cmocka_unit_test(a_hello_that_has_left_in_part_is_sent_whole_and_echoed),
        cmocka_unit_test(each_candidate_has_its_own_ciphers),
        cmocka_unit_test(sides_without_a_common_cipher_are_refused),
        cmocka_unit_test(a_pre_shared_key_without_a_cipher_of_its_hash_is_refused_with_a_hint),
        cmocka_unit_test(a_cipher_list_that_does_not_parse_is_a_configuration_error),
        cmocka_unit_test(any_number_of_cipher_lists_may_be_used),
        cmocka_unit_test(settings_that_fit_no_session_are_configuration_errors),
        cmocka_unit_test(secrets_are_given_once),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
