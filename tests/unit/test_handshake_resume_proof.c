/* What must be the same for a session to be resumed, and that a resumed connection proves what a full one proves. */
#include "resume_help.h"

static struct certificate ca, alice, bob;
static struct identity *alice_id, *bob_id;

static void what_differs_where_a_ticket_is_offered(void **state)
{
    const struct handshake_config good = dialling(alice_id);
    struct handshake_config other[4];
    struct identity *again = load_files(&alice, &ca);

    (void)state;
    for (int i = 0; i < 4; i++)
        other[i] = good;
    other[0].peer = "127.0.0.1:7001";
    other[1].dialled_name = "127.0.0.1";
    other[2].service = "another rule";
    other[3].identity = again;
    get_ticket(good, serving(bob_id));
    for (int i = 0; i < 4; i++)
        assert_full(other[i], serving(bob_id), false);
    assert_resumed(good, serving(bob_id));
    forget_tickets_of(alice_id);
    identity_unref(again);
}

static void what_differs_where_a_ticket_was_issued(void **state)
{
    const struct handshake_config a = dialling(alice_id);
    struct handshake_config other_rule = serving(bob_id), other_identity = serving(bob_id);
    struct identity *again = load_files(&bob, &ca);

    (void)state;
    other_rule.service = "another rule";
    other_identity.identity = again;
    get_ticket(a, serving(bob_id));
    assert_full(a, other_rule, true);
    forget_tickets_of(alice_id);
    get_ticket(a, serving(bob_id));
    assert_full(a, other_identity, true);
    forget_tickets_of(alice_id);
    identity_unref(again);
}

/* The same ticket, carried over to a connection that asks for something else. */
static void other_names_in_the_hello_are_another_session(void **state)
{
    struct handshake_config a = dialling(alice_id), b = serving(bob_id), with_address = a, with_protocols = a;
    const struct ticket_place place = place_of(&a);

    (void)state;
    a.alpn = b.alpn = "one,two";
    struct ticket *t = take_ticket(a, b);
    tickets_keep(&place, alice_id, copy_ticket(t), 100, 0);
    assert_resumed(a, b);
    forget_tickets_of(alice_id);
    with_protocols.alpn = "two,one";
    tickets_keep(&place, alice_id, copy_ticket(t), 100, 0);
    assert_full(with_protocols, b, true);
    forget_tickets_of(alice_id);
    with_address.alpn = a.alpn;
    with_address.dialled_name = "127.0.0.1"; /* no SNI */
    const struct ticket_place other = place_of(&with_address);
    tickets_keep(&other, alice_id, copy_ticket(t), 100, 0);
    assert_full(with_address, b, true);
    forget_tickets_of(alice_id);
    ticket_free(t);
}

static void a_second_use_of_a_ticket_proves_as_much(void **state)
{
    const struct handshake_config a = dialling(alice_id);
    const struct ticket_place place = place_of(&a);
    struct ticket *t = take_ticket(a, serving(bob_id));
    struct met m[2];

    (void)state;
    for (int i = 0; i < 2; i++) {
        tickets_keep(&place, alice_id, copy_ticket(t), 100, 0);
        m[i] = meet_once(a, serving(bob_id));
        assert_true(m[i].done && m[i].a.proven && m[i].b.proven);
        assert_string_equal(m[i].b.subject, m[0].b.subject);
        forget_tickets_of(alice_id);
    }
    assert_memory_not_equal(m[0].a.read, m[1].a.read, 32);
    ticket_free(t);
}

static void a_hello_retry_request_leaves_the_ticket_good(void **state)
{
    struct handshake_config b = serving(bob_id);

    (void)state;
    b.server_groups = "+GROUP-SECP256R1";
    get_ticket(dialling(alice_id), b);
    assert_resumed(dialling(alice_id), b);
    forget_tickets_of(alice_id);
}

static void fork_at_the_retry(struct pair_of_sides *pair, struct side *from, struct side *to, const uint8_t *record,
                              size_t len)
{
    if (from == &pair->b && record[0] == RECORD_HANDSHAKE && from->records == 1)
        tickets_forked(false);
    wire_add(&to->in, record, len);
}

static void a_fork_between_two_hellos_ends_the_handshake(void **state)
{
    struct handshake_config b = serving(bob_id);

    (void)state;
    b.server_groups = "+GROUP-SECP256R1";
    get_ticket(dialling(alice_id), b);
    struct pair_of_sides *pair = pair_new(dialling(alice_id), b);
    pair->relay = fork_at_the_retry;
    const struct met m = finish_meeting(pair);
    sides_free(pair);
    assert_false(m.done);
    assert_non_null(strstr(m.why_b, "forked between two hellos"));
}

static void after_a_fork_a_ticket_is_worth_nothing(void **state)
{
    (void)state;
    get_ticket(dialling(alice_id), serving(bob_id));
    tickets_forked(false); /* in the parent: its own tickets stay, and its services take new keys */
    assert_int_equal(tickets_count(), 1);
    assert_full(dialling(alice_id), serving(bob_id), true);
    assert_resumed(dialling(alice_id), serving(bob_id));
    tickets_forked(true); /* in the child */
    assert_int_equal(tickets_count(), 0);
}

static void a_fork_before_the_end_issues_no_ticket(void **state)
{
    (void)state;
    struct pair_of_sides *pair = pair_new(dialling(alice_id), serving(bob_id));
    while (handshake_state(pair->a.hs) == RESULT_AGAIN) {
        side_send(pair, &pair->a, &pair->b);
        side_send(pair, &pair->b, &pair->a);
        side_read(pair, &pair->a);
        if (handshake_state(pair->a.hs) == RESULT_AGAIN)
            side_read(pair, &pair->b);
    }
    tickets_forked(false);
    const struct met m = finish_meeting(pair);
    assert_true(m.done);
    assert_false(m.issued);
    sides_free(pair);
}

static time_t in_two_years(time_t *t)
{
    const time_t then = time(NULL) + 2L * 366 * 86400;

    if (t)
        *t = then;
    return then;
}

static void what_has_expired_since_is_refused(void **state)
{
    struct identity *careless = load_ok((struct identity_files){.auth = AUTH_INSECURE_NONE,
                                                                .cert_file = write_certificates("a.crt", &alice, NULL),
                                                                .key_file = write_key("a.key", &alice, 0600)});

    (void)state;
    get_ticket(dialling(alice_id), serving(bob_id));
    tickets_clock_forward(61000); /* until then the signatures of a chain are taken for checked, and only they */
    gnutls_global_set_time_function(in_two_years);
    struct met m = meet_once(dialling(alice_id), serving(bob_id));
    gnutls_global_set_time_function(time);
    assert_true(m.offered);
    assert_false(m.done);
    assert_non_null(strstr(m.why_a, "expired"));

    get_ticket(dialling(careless), serving(bob_id)); /* now it is the server that has to find out */
    tickets_clock_forward(61000);
    gnutls_global_set_time_function(in_two_years);
    m = meet_once(dialling(careless), serving(bob_id));
    gnutls_global_set_time_function(time);
    assert_true(m.offered);
    assert_false(m.done);
    assert_non_null(strstr(m.why_b, "expired"));
    identity_unref(careless);
}

static void other_patterns_of_peer_refuse_a_resumed_connection(void **state)
{
    struct handshake_config a = dialling(alice_id), b = serving(bob_id);

    (void)state;
    get_ticket(a, b);
    a.peer_patterns = "carol.example";
    struct met m = meet_once(a, b);
    assert_true(m.offered && !m.done);
    assert_non_null(strstr(m.why_a, "carol.example"));
    a = dialling(alice_id);
    get_ticket(a, b);
    b.peer_patterns = "carol.example";
    m = meet_once(a, b);
    assert_true(m.offered && !m.done);
    assert_non_null(strstr(m.why_b, "carol.example"));
}

static void when_an_identity_goes_its_tickets_go(void **state)
{
    struct identity *id = load_files(&alice, &ca);

    (void)state;
    get_ticket(dialling(id), serving(bob_id));
    assert_int_equal(tickets_count(), 1);
    identity_unref(id);
    assert_int_equal(tickets_count(), 0);
}

static void a_client_that_shows_nothing_stays_unknown_when_it_comes_again(void **state)
{
    struct identity *shy = load_ok((struct identity_files){
        .show = SHOW_NEVER, .state_dir = in_folder("shy"), .ca_file = write_certificates("ca.crt", &ca, NULL)});
    struct identity *asks = load_ok((struct identity_files){.auth = AUTH_REQUEST,
                                                            .cert_file = write_certificates("b.crt", &bob, NULL),
                                                            .key_file = write_key("b.key", &bob, 0600),
                                                            .ca_file = write_certificates("ca.crt", &ca, NULL)});

    (void)state;
    get_ticket(dialling(shy), serving(asks));
    const struct met m = meet_once(dialling(shy), serving(asks));
    assert_true(m.done && m.a_resumed && m.a.proven);
    assert_false(m.b.proven);
    assert_string_equal(m.b.subject, "(unauthenticated)");
    forget_tickets_of(shy);
    identity_unref(shy);
    identity_unref(asks);
}

static void raw_keys_and_pre_shared_keys_are_not_resumed(void **state)
{
    struct identity *psk = load_psk("psk", PSK_ALICE);
    struct handshake_config b = serving(bob_id);
    struct met m;

    (void)state;
    m = meet_once(dialling(psk), serving(psk));
    assert_true(m.done);
    assert_false(m.issued);
    get_ticket(dialling(alice_id), b); /* and a ticket is no pre-shared key */
    b.identity = psk;
    m = meet_once(dialling(alice_id), b);
    assert_true(m.offered && !m.done);
    assert_non_null(strstr(m.why_b, "offers no pre-shared key"));
    identity_unref(psk);

    struct certificate key = make_certificate((struct certificate_spec){.name = "raw"});
    struct identity *raw =
        load_ok((struct identity_files){.auth = AUTH_INSECURE_NONE, .key_file = write_key("raw.key", &key, 0600)});
    m = meet_once(dialling(raw), serving(raw));
    if (!m.done)
        fail_msg("not done: %s / %s", m.why_a, m.why_b);
    assert_false(m.issued || m.kept);
    identity_unref(raw);
    free_certificate(&key);
}

static void a_server_that_rejects_is_offered_nothing_for_a_while(void **state)
{
    const struct handshake_config a = dialling(alice_id);

    (void)state;
    for (int i = 0; i < TICKET_GIVE_UP; i++) {
        get_ticket(a, serving(bob_id));
        tickets_forked(false);
        assert_full(a, serving(bob_id), true);
        forget_tickets_of(alice_id);
    }
    struct met m = meet_once(a, serving(bob_id));
    assert_true(m.done);
    assert_false(m.kept);
    tickets_clock_forward(TICKET_GIVE_UP_MS + 1);
    get_ticket(a, serving(bob_id));
    assert_resumed(a, serving(bob_id));
    forget_tickets_of(alice_id);
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
        cmocka_unit_test(what_differs_where_a_ticket_is_offered),
        cmocka_unit_test(what_differs_where_a_ticket_was_issued),
        cmocka_unit_test(other_names_in_the_hello_are_another_session),
        cmocka_unit_test(a_second_use_of_a_ticket_proves_as_much),
        cmocka_unit_test(a_hello_retry_request_leaves_the_ticket_good),
        cmocka_unit_test(a_fork_between_two_hellos_ends_the_handshake),
        cmocka_unit_test(after_a_fork_a_ticket_is_worth_nothing),
        cmocka_unit_test(a_fork_before_the_end_issues_no_ticket),
        cmocka_unit_test(what_has_expired_since_is_refused),
        cmocka_unit_test(other_patterns_of_peer_refuse_a_resumed_connection),
        cmocka_unit_test(when_an_identity_goes_its_tickets_go),
        cmocka_unit_test(a_client_that_shows_nothing_stays_unknown_when_it_comes_again),
        cmocka_unit_test(raw_keys_and_pre_shared_keys_are_not_resumed),
        cmocka_unit_test(a_server_that_rejects_is_offered_nothing_for_a_while),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
