/* Client sessions that wait for their ticket, and what a hostile server may send in the place of one. */
#include "resume_help.h"

static struct certificate ca, alice, bob;
static struct identity *alice_id, *bob_id;

/* ---- sessions that wait -------------------------------------------------------------------------------------------
 */

static struct handshake_config a_config, b_config;

/* A meeting whose ticket is not carried over: *m tells the secrets. */
static uint64_t await(struct met *m, struct ticket_message **ticket)
{
    struct pair_of_sides *pair = pair_new(a_config, b_config);

    pair_run(pair);
    assert_true(both_done(pair));
    handshake_take_secrets(pair->a.hs, &m->a);
    handshake_take_secrets(pair->b.hs, &m->b);
    *ticket = handshake_take_ticket(pair->b.hs);
    const uint64_t awaited = handshake_take_awaited(pair->a.hs);
    sides_free(pair);
    return awaited;
}

static void few_sessions_wait_and_only_who_has_waited_long_gives_way(void **state)
{
    uint64_t waiting[TICKETS_AWAITED + 1];
    struct met m[TICKETS_AWAITED + 1];
    struct ticket_message *ticket[TICKETS_AWAITED + 1];

    (void)state;
    for (int i = 0; i < TICKETS_AWAITED + 1; i++)
        waiting[i] = await(&m[i], &ticket[i]);
    for (int i = 0; i < TICKETS_AWAITED; i++)
        assert_true(waiting[i] && waiting[i] != TICKET_FOR_NOBODY);
    assert_true(waiting[TICKETS_AWAITED] == TICKET_FOR_NOBODY);
    tickets_clock_forward(3000);
    ticket_message_free(ticket[TICKETS_AWAITED]);
    waiting[TICKETS_AWAITED] = await(&m[TICKETS_AWAITED], &ticket[TICKETS_AWAITED]);
    assert_true(waiting[TICKETS_AWAITED] != TICKET_FOR_NOBODY);
    assert_false(deliver_ticket(&m[0].b, waiting[0], ticket[0]->bytes, ticket[0]->len)); /* it gave way */
    assert_true(deliver_ticket(&m[1].b, waiting[1], ticket[1]->bytes, ticket[1]->len));
    assert_false(deliver_ticket(&m[1].b, waiting[1], ticket[1]->bytes, ticket[1]->len)); /* one each */
    tickets_await_no_more(waiting[2]);
    assert_false(deliver_ticket(&m[2].b, waiting[2], ticket[2]->bytes, ticket[2]->len));
    assert_false(deliver_ticket(&m[3].b, 0, ticket[3]->bytes, ticket[3]->len));
    assert_false(deliver_ticket(&m[3].b, UINT64_MAX, ticket[3]->bytes, ticket[3]->len));
    tickets_forked(true);
    assert_false(deliver_ticket(&m[4].b, waiting[4], ticket[4]->bytes, ticket[4]->len));
    for (int i = 0; i < TICKETS_AWAITED + 1; i++)
        ticket_message_free(ticket[i]);
    tickets_forget(identity_serial(alice_id));
}

enum { HEAD = 4, LIFETIME = 4, NONCE_LEN = HEAD + 8, MESSAGE_ROOM = RECORD_PLAIN_MAX };

static size_t write_ticket(uint8_t *to, uint32_t lifetime, size_t nonce, size_t ticket, size_t extensions)
{
    size_t n = HEAD;

    memset(to, 'x', MESSAGE_ROOM);
    put_be16(to + n, (uint16_t)(lifetime >> 16));
    put_be16(to + n + 2, (uint16_t)lifetime);
    n += LIFETIME + 4;
    to[n] = (uint8_t)nonce;
    n += 1 + nonce;
    put_be16(to + n, (uint16_t)ticket);
    n += 2 + ticket;
    put_be16(to + n, (uint16_t)extensions);
    n += 2;
    if (extensions >= 4) { /* one, of an unknown type */
        put_be16(to + n, 0xfafa);
        put_be16(to + n + 2, (uint16_t)(extensions - 4));
    }
    n += extensions;
    to[0] = 4;
    put_be24(to + 1, (uint32_t)(n - HEAD));
    return n;
}

static bool deliver(const uint8_t *message, size_t len)
{
    struct met m;
    struct ticket_message *ticket;
    const uint64_t awaited = await(&m, &ticket);

    assert_true(awaited && awaited != TICKET_FOR_NOBODY);
    ticket_message_free(ticket);
    const bool kept = deliver_ticket(&m.b, awaited, message, len);
    assert_false(deliver_ticket(&m.b, awaited, message, len)); /* no second try: the session is gone */
    return kept;
}

static void tickets_of_a_hostile_server_are_kept_or_dropped_and_do_no_harm(void **state)
{
    static uint8_t m[MESSAGE_ROOM];
    const struct {
        uint32_t lifetime;
        size_t nonce, ticket, extensions;
        bool kept;
    } table[] = {
        {7200, 4, 200, 0, true},    {7200, 0, 1, 0, true},         {7200, 255, 2000, 0, true},
        {0, 4, 200, 0, false},      {UINT32_MAX, 4, 200, 0, true}, {7200, 4, 0, 0, false},
        {7200, 4, 200, 300, true},  {7200, 4, 16000, 0, false},    {7200, 4, TICKET_BYTES_MAX, 0, false},
        {7200, 4, 100, 4000, true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const size_t len = write_ticket(m, table[i].lifetime, table[i].nonce, table[i].ticket, table[i].extensions);
        if (deliver(m, len) != table[i].kept)
            fail_msg("ticket %zu of the table was %s", i, table[i].kept ? "dropped" : "kept");
        const size_t count = tickets_count();
        assert_int_equal(count, table[i].kept);
        if (count) { /* nobody can open it: a full handshake comes of it */
            const struct met met = meet_once(a_config, b_config);
            assert_true(met.done && met.offered && !met.a_resumed);
        }
        tickets_forget(identity_serial(alice_id));
        tickets_clock_forward(TICKET_GIVE_UP_MS + 1);
        forget_tickets_of(alice_id);
    }
}

static void malformed_tickets_are_dropped(void **state)
{
    static uint8_t m[MESSAGE_ROOM];
    const size_t len = write_ticket(m, 7200, 4, 60, 8);

    (void)state;
    for (size_t cut = HEAD + LIFETIME; cut < len; cut++) { /* its header says how short it is */
        put_be24(m + 1, (uint32_t)(cut - HEAD));
        assert_false(deliver(m, cut));
    }
    assert_int_equal(tickets_count(), 0);
    write_ticket(m, 7200, 4, 60, 8);
    m[NONCE_LEN] = 255;
    assert_false(deliver(m, len));
    write_ticket(m, 7200, 4, 60, 8);
    m[0] = 24; /* a KeyUpdate of an odd size */
    assert_false(deliver(m, len));
    m[0] = 13; /* a request to authenticate */
    assert_false(deliver(m, len));
    assert_int_equal(tickets_count(), 0);
}

static void a_record_that_is_not_the_peers_is_no_ticket(void **state)
{
    struct met m;
    struct ticket_message *ticket;

    (void)state;
    for (int i = 0; i < 4; i++) {
        const uint64_t awaited = await(&m, &ticket);
        struct record_keys keys = keys_after_first(i == 0 ? &m.a : &m.b); /* at first our own direction */
        if (i == 1)
            keys.key[0] ^= 1;
        if (i == 2)
            assert_int_equal(record_keys_update(&keys), RESULT_OK);
        if (i == 3)
            keys.suite = 0;
        assert_true(awaited && awaited != TICKET_FOR_NOBODY);
        assert_false(tickets_arrived(awaited, &keys, ticket->bytes, ticket->len));
        ticket_message_free(ticket);
    }
    assert_int_equal(tickets_count(), 0);
}

static void a_ticket_may_come_in_any_record(void **state)
{
    struct met m;
    struct ticket_message *ticket;

    (void)state;
    const uint64_t awaited = await(&m, &ticket);
    struct record_keys keys = keys_after_first(&m.b);
    keys.seq = 1000;
    assert_true(tickets_arrived(awaited, &keys, ticket->bytes, ticket->len));
    ticket_message_free(ticket);
    const struct met met = meet_once(a_config, b_config);
    assert_true(met.done && met.a_resumed);
    tickets_forget(identity_serial(alice_id));
}

/* Behind the message's nonce. */
static gnutls_datum_t ticket_in(uint8_t *message)
{
    uint8_t *at = message + NONCE_LEN + 1 + message[NONCE_LEN];
    return (gnutls_datum_t){at + 2, be16(at)};
}

static void a_ticket_that_was_changed_is_not_opened(void **state)
{
    struct met m;
    struct ticket_message *ticket;
    struct ticket_place where;

    (void)state;
    assert_true(ticket_place_make(alice_id, a_config.service, here, "bob.example", &where));
    const uint64_t awaited = await(&m, &ticket);
    assert_true(deliver_ticket(&m.b, awaited, ticket->bytes, ticket->len));
    const gnutls_datum_t sealed = ticket_in(ticket->bytes);
    struct ticket *good = tickets_take(&where);
    for (unsigned i = 0; i < sealed.size; i += 7) {
        struct ticket *bad = ticket_new(&good->session, good->shown, good->count, good->raw);
        uint8_t *at = memmem(bad->session.data, bad->session.size, sealed.data, sealed.size);
        assert_non_null(at);
        at[i] ^= 1;
        tickets_keep(&where, alice_id, bad, 100, 0);
        const struct met met = meet_once(a_config, b_config);
        assert_true(met.done && met.offered && !met.a_resumed);
        assert_true(met.a.proven && met.b.proven);
        tickets_forget(identity_serial(alice_id));
        tickets_clock_forward(TICKET_GIVE_UP_MS + 1);
    }
    tickets_keep(&where, alice_id, good, 100, 0);
    assert_false(meet_once(a_config, b_config).a_resumed); /* hours later, by now: the service has another key */
    ticket_message_free(ticket);
    tickets_forget(identity_serial(alice_id));
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
    a_config = dialling(alice_id);
    b_config = serving(bob_id);
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
        cmocka_unit_test(few_sessions_wait_and_only_who_has_waited_long_gives_way),
        cmocka_unit_test(tickets_of_a_hostile_server_are_kept_or_dropped_and_do_no_harm),
        cmocka_unit_test(malformed_tickets_are_dropped),
        cmocka_unit_test(a_record_that_is_not_the_peers_is_no_ticket),
        cmocka_unit_test(a_ticket_may_come_in_any_record),
        cmocka_unit_test(a_ticket_that_was_changed_is_not_opened),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
