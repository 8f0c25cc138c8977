/* Who is asked to hear first: decides as if its hello were on its way, and makes it only if it is needed. */
#include "handshake_help.h"

static struct identity *psk;

static struct handshake_config side(enum role_set effective, bool hears, const struct forced_value *value)
{
    struct handshake_config config = {
        .effective = effective, .speaks_first = true, .hears_first = hears, .identity = psk};

    if (value)
        config.random = (struct random_source){fill_forced, (void *)value};
    return config;
}

static void it_decides_by_value_and_makes_no_hello_that_it_would_drop(void **state)
{
    static const struct forced_value low = {{1, 0, 0, 9}}, high = {{2, 0, 0, 9}};

    (void)state;
    for (int server = 0; server < 2; server++) {
        struct pair_of_sides *pair =
            pair_new(side(ROLE_PEER, false, server ? &low : &high), side(ROLE_PEER, true, server ? &high : &low));
        pair_run(pair);
        assert_int_equal(pair->b.out.bytes[RECORD_HEADER],
                         server ? GNUTLS_HANDSHAKE_SERVER_HELLO : GNUTLS_HANDSHAKE_CLIENT_HELLO);
        assert_int_equal(assert_both_done(pair), server);
        sides_free(pair);
    }
}

static void roles_come_to_the_same(void **state)
{
    static const struct forced_value low = {{1, 0, 0, 9}}, high = {{2, 0, 0, 9}};

    (void)state;
    for (enum role_set a = ROLE_CLIENT; a <= ROLE_PEER; a++)
        for (enum role_set b = ROLE_CLIENT; b <= ROLE_PEER; b++) {
            struct pair_of_sides *both = pair_new(side(a, false, &low), side(b, false, &high)),
                                 *hearing = pair_new(side(a, false, &low), side(b, true, &high));
            pair_run(both);
            pair_run(hearing);
            assert_int_equal(handshake_state(hearing->a.hs), handshake_state(both->a.hs));
            assert_int_equal(handshake_state(hearing->b.hs), handshake_state(both->b.hs));
            assert_int_equal(both_done(both), (a | b) == ROLE_PEER); /* one of each kind can be found */
            if (both_done(both))
                assert_int_equal(assert_both_done(hearing), assert_both_done(both));
            sides_free(both);
            sides_free(hearing);
        }
}

static void it_speaks_where_nothing_is_there(void **state)
{
    struct handshake_config waits = side(ROLE_PEER, false, NULL);

    (void)state;
    waits.speaks_first = false;
    struct pair_of_sides *pair = pair_new(waits, side(ROLE_PEER, true, NULL));
    pair_run(pair);
    assert_int_equal(pair->a.out.len + pair->b.out.len, 0);
    assert_true(handshake_owns_input(pair->a.hs) && handshake_owns_input(pair->b.hs));
    assert_false(handshake_speak(pair->a.hs));
    assert_true(handshake_speak(pair->b.hs));
    assert_false(handshake_speak(pair->b.hs));
    pair_run(pair);
    assert_int_equal(pair->b.out.bytes[RECORD_HEADER], GNUTLS_HANDSHAKE_CLIENT_HELLO);
    assert_false(handshake_owns_input(pair->b.hs)); /* its answer may be followed by data */
    assert_false(assert_both_done(pair));           /* who waits is the server */
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
        cmocka_unit_test(it_decides_by_value_and_makes_no_hello_that_it_would_drop),
        cmocka_unit_test(roles_come_to_the_same),
        cmocka_unit_test(it_speaks_where_nothing_is_there),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
