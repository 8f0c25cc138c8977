/* Resumption as the handshake sees it: who offers and who issues a ticket, and what that does to the roles. */
#include "resume_help.h"

static struct certificate ca, alice, bob;
static struct identity *alice_id, *bob_id;

static void a_second_connection_is_resumed_and_names_the_same_peers(void **state)
{
    struct met first, second;

    (void)state;
    struct handshake_config b = accepting(bob_id);
    b.effective = ROLE_SERVER;
    first = meet_once(dialling(alice_id), b);
    assert_true(first.done && !first.a_resumed && !first.offered);
    assert_true(first.issued);
    assert_true(first.kept);
    second = meet_once(dialling(alice_id), b);
    if (!second.done)
        fail_msg("not done: %s / %s", second.why_a, second.why_b);
    assert_true(second.offered);
    assert_true(second.a_resumed && second.b_resumed);
    assert_string_equal(first.a.subject, second.a.subject);
    assert_string_equal(first.b.subject, second.b.subject);
    assert_true(second.a.proven && second.b.proven);
    assert_true(second.kept);
    assert_memory_not_equal(first.a.read, second.a.read, 32);
    assert_memory_not_equal(first.a.exporter, second.a.exporter, 32);
    struct met third = meet_once(dialling(alice_id), b);
    assert_true(third.a_resumed);
    forget_tickets_of(alice_id);
}

static void either_side_can_be_any_peer(void **state)
{
    unsigned resumed = 0;

    (void)state;
    get_ticket(dialling(alice_id), accepting(bob_id));
    for (int i = 0; i < 20; i++) { /* once in 512 the accepting peer's value is lower */
        const struct met m = meet_once(dialling(alice_id), accepting(bob_id));
        assert_true(m.done);
        resumed += m.a_resumed;
    }
    assert_in_range(resumed, 1, 20);
    forget_tickets_of(alice_id);
}

static const struct forced_value lowest = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};

/* Once in 512, here by force. */
static void a_hello_with_a_ticket_that_loses_the_tie_break_is_dropped_and_the_ticket_with_it(void **state)
{
    struct handshake_config b = accepting(bob_id);

    (void)state;
    get_ticket(dialling(alice_id), serving(bob_id));
    b.random = (struct random_source){fill_forced, (void *)&lowest};
    const struct met m = meet_once(dialling(alice_id), b);
    assert_true(m.done && m.offered && !m.a_is_client);
    assert_false(m.a_resumed || m.issued);
    assert_int_equal(tickets_count(), 0);
}

static void the_next_offer_is_another_ticket(void **state)
{
    (void)state;
    get_ticket(dialling(alice_id), serving(bob_id));
    struct handshake *first = make_handshake(dialling(alice_id)); /* it never hears of anybody */
    assert_int_equal(tickets_count(), 0);
    assert_full(dialling(alice_id), serving(bob_id), false);
    handshake_free(first);
    forget_tickets_of(alice_id);
}

static struct role_value value_of(struct handshake *hs)
{
    struct cursor body;
    struct role_value v;
    size_t len;
    const uint8_t *out = handshake_output(hs, &len);

    assert_true(has_extension(out, len, P2P_ROLE_EXTENSION, &body));
    assert_int_equal(body.left, sizeof v.bytes);
    memcpy(v.bytes, body.at, sizeof v.bytes);
    return v;
}

static void who_holds_a_ticket_draws_a_low_value_that_is_random_but_for_its_first_byte(void **state)
{
    enum { DRAWS = 300 };
    const struct handshake_config a = dialling(alice_id);
    const struct ticket_place place = place_of(&a);
    unsigned seen[256] = {0}, kinds = 0, high = 0;

    (void)state;
    struct ticket *t = take_ticket(a, serving(bob_id));
    for (int i = 0; i < DRAWS; i++) {
        tickets_keep(&place, alice_id, copy_ticket(t), 100, 0);
        struct handshake *hs = make_handshake(a);
        const struct role_value v = value_of(hs);
        assert_int_equal(v.bytes[0], 0);
        assert_false(role_value_is_min(&v));
        kinds += !seen[v.bytes[1]]++;
        handshake_free(hs);
        hs = make_handshake(a); /* without one */
        high += value_of(hs).bytes[0] != 0;
        handshake_free(hs);
    }
    assert_in_range(kinds, 100, 256); /* 177 are expected */
    assert_in_range(high, DRAWS / 2, DRAWS);
    ticket_free(t);
}

static bool forced_handshake(const struct handshake_config *config, uint8_t byte, struct handshake **hs)
{
    struct forced_value forced;
    struct handshake_config a = *config;
    char why[HANDSHAKE_WHY_MAX];

    memset(&forced, byte, sizeof forced);
    a.random = (struct random_source){fill_forced, &forced};
    return handshake_new(&a, hs, why) == RESULT_OK;
}

static void a_value_with_a_ticket_is_never_a_reserved_one(void **state)
{
    const struct handshake_config a = dialling(alice_id);
    const struct ticket_place place = place_of(&a);
    struct ticket *t = take_ticket(a, serving(bob_id));
    struct handshake *hs;

    (void)state;
    tickets_keep(&place, alice_id, copy_ticket(t), 100, 0);
    assert_false(forced_handshake(&a, 0, &hs)); /* all zeros would mean: client only */
    tickets_keep(&place, alice_id, copy_ticket(t), 100, 0);
    assert_true(forced_handshake(&a, 0xff, &hs));
    assert_int_equal(value_of(hs).bytes[0], 0);
    handshake_free(hs);
    ticket_free(t);
}

static void preferences_win_over_a_ticket(void **state)
{
    struct handshake_config a = dialling(alice_id);

    (void)state;
    get_ticket(a, serving(bob_id));
    a.prefer = PREFER_SERVER;
    struct handshake *hs = make_handshake(a);
    assert_int_equal(value_of(hs).bytes[0], 0xff);
    handshake_free(hs);
    assert_int_equal(tickets_count(), 1); /* not spent for nothing */
    a.prefer = PREFER_CLIENT;
    hs = make_handshake(a);
    assert_int_equal(value_of(hs).bytes[0], 0);
    handshake_free(hs);
    assert_int_equal(tickets_count(), 0);
    get_ticket(dialling(alice_id), serving(bob_id));
    a.prefer = PREFER_NONE;
    a.effective = ROLE_CLIENT;
    hs = make_handshake(a);
    struct role_value v = value_of(hs);
    assert_true(role_value_is_min(&v));
    handshake_free(hs);
    assert_int_equal(tickets_count(), 0);
    get_ticket(dialling(alice_id), serving(bob_id));
    a.effective = ROLE_SERVER;
    handshake_free(make_handshake(a));
    assert_int_equal(tickets_count(), 1);
    a.effective = ROLE_PEER;
    a.speaks_first = false;
    handshake_free(make_handshake(a));
    assert_int_equal(tickets_count(), 1);
    forget_tickets_of(alice_id);
}

static void prefer_on_the_other_side_decides_with_a_ticket_too(void **state)
{
    struct handshake_config a = dialling(alice_id), b = accepting(bob_id);
    unsigned clients = 0, resumed = 0;

    (void)state;
    b.prefer = PREFER_SERVER;
    get_ticket(dialling(alice_id), b);
    for (int i = 0; i < 20; i++)
        assert_resumed(dialling(alice_id), b);
    b.prefer = PREFER_CLIENT; /* it is client, but for the holder of a ticket, where chance decides */
    a.prefer = PREFER_CLIENT; /* chance every time */
    for (int i = 0; i < 60; i++) {
        const struct met m = meet_once(a, b);
        assert_true(m.done);
        clients += m.a_is_client;
        resumed += m.a_resumed;
    }
    assert_in_range(clients, 5, 55);
    assert_in_range(resumed, 1, clients);
    forget_tickets_of(alice_id);
}

static void resume_off_on_either_side_makes_full_handshakes(void **state)
{
    struct handshake_config off_a = dialling(alice_id), off_b = serving(bob_id);
    struct cursor body;
    size_t len;

    (void)state;
    off_a.resume = off_b.resume = false;
    get_ticket(dialling(alice_id), serving(bob_id));
    assert_full(off_a, serving(bob_id), false);
    assert_int_equal(tickets_count(), 1);
    assert_full(dialling(alice_id), off_b, true);
    assert_int_equal(tickets_count(), 0); /* used up, and no new one came */
    struct handshake *hs = make_handshake(off_a);
    const uint8_t *out = handshake_output(hs, &len);
    assert_false(has_extension(out, len, 45, &body)); /* psk_key_exchange_modes */
    handshake_free(hs);
}

static void a_hello_asks_for_forward_secrecy_and_offers_no_early_data(void **state)
{
    struct cursor body;
    size_t len;

    (void)state;
    get_ticket(dialling(alice_id), serving(bob_id));
    struct handshake *hs = make_handshake(dialling(alice_id));
    const uint8_t *out = handshake_output(hs, &len);
    assert_true(has_extension(out, len, 41, &body));
    assert_true(has_extension(out, len, 45, &body));
    assert_int_equal(body.left, 2);
    assert_memory_equal(body.at, "\1\1", 2);         /* psk_dhe_ke alone */
    assert_true(has_extension(out, len, 51, &body)); /* key_share */
    assert_false(has_extension(out, len, 42, &body));
    handshake_free(hs);
}

static int setup(void **state)
{
    if (folder_make(state) != 0)
        return -1;
    ca = make_certificate((struct certificate_spec){.name = "CA", .is_ca = true});
    alice = issue("Alice", "alice.example", &ca);
    bob = issue("Bob", "bob.example", &ca);
    alice_id = load_files(&alice, &ca);
    bob_id = load_files(&bob, &ca);
    return 0;
}

static int teardown(void **state)
{
    identity_unref(alice_id);
    identity_unref(bob_id);
    free_certificate(&ca);
    free_certificate(&alice);
    free_certificate(&bob);
    return folder_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_connection_is_resumed_and_names_the_same_peers),
        cmocka_unit_test(either_side_can_be_any_peer),
        cmocka_unit_test(a_hello_with_a_ticket_that_loses_the_tie_break_is_dropped_and_the_ticket_with_it),
        cmocka_unit_test(the_next_offer_is_another_ticket),
        cmocka_unit_test(who_holds_a_ticket_draws_a_low_value_that_is_random_but_for_its_first_byte),
        cmocka_unit_test(a_value_with_a_ticket_is_never_a_reserved_one),
        cmocka_unit_test(preferences_win_over_a_ticket),
        cmocka_unit_test(prefer_on_the_other_side_decides_with_a_ticket_too),
        cmocka_unit_test(resume_off_on_either_side_makes_full_handshakes),
        cmocka_unit_test(a_hello_asks_for_forward_secrecy_and_offers_no_early_data),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
