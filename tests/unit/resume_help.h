/* For the tests of resumption: two sides in memory that meet again. */
#ifndef RESUME_HELP_H
#define RESUME_HELP_H

#include "handshake_help.h"

#include "hello.h"
#include "tickets.h"

static const char here[] = "127.0.0.1:7000";

/* The side that connected, with both roles open, and the side that accepted. */
HELP struct handshake_config dialling(const struct identity *id)
{
    return (struct handshake_config){.effective = ROLE_PEER,
                                     .speaks_first = true,
                                     .identity = id,
                                     .connected_side = true,
                                     .dialled_name = "bob.example",
                                     .resume = true,
                                     .service = "the rule of the side that connects",
                                     .peer = here};
}

HELP struct handshake_config accepting(const struct identity *id)
{
    return (struct handshake_config){.effective = ROLE_PEER,
                                     .speaks_first = true,
                                     .identity = id,
                                     .resume = true,
                                     .service = "the rule of the side that accepts"};
}

/* How a meeting of two sides went. */
struct met {
    bool a_is_client, a_resumed, b_resumed, done;
    bool offered; /* the first hello of a holds a ticket */
    bool issued;  /* b made a NewSessionTicket */
    bool kept;    /* and a kept it */
    struct handshake_secrets a, b;
    char why_a[HANDSHAKE_WHY_MAX], why_b[HANDSHAKE_WHY_MAX];
};

HELP bool has_extension(const uint8_t *records, size_t len, uint16_t type, struct cursor *body)
{
    static struct hello hello; /* body points into it */
    hello_free(&hello);
    return len > RECORD_HEADER && hello_add_record(&hello, records, RECORD_HEADER + be16(records + 3)) == RESULT_OK &&
           hello_extension(&hello, type, body);
}

/* The keys of the side that wrote it, behind its first record. */
HELP struct record_keys keys_after_first(const struct handshake_secrets *writer)
{
    struct record_keys keys;

    assert_int_equal(record_keys_init(&keys, writer->suite, writer->write, writer->secret_len), RESULT_OK);
    keys.seq = 1;
    return keys;
}

HELP bool deliver_ticket(const struct handshake_secrets *server, uint64_t awaited, const uint8_t *message, size_t len)
{
    const struct record_keys keys = keys_after_first(server);

    return tickets_arrived(awaited, &keys, message, len);
}

/* Runs a pair to its end and carries the ticket over. */
HELP struct met finish_meeting(struct pair_of_sides *pair)
{
    struct met m = {0};
    struct cursor body;

    pair_run(pair);
    m.offered = has_extension(pair->a.out.bytes, pair->a.out.len, 41, &body);
    m.done = both_done(pair);
    snprintf(m.why_a, sizeof m.why_a, "%s", handshake_why(pair->a.hs));
    snprintf(m.why_b, sizeof m.why_b, "%s", handshake_why(pair->b.hs));
    if (!m.done)
        return m;
    handshake_take_secrets(pair->a.hs, &m.a);
    handshake_take_secrets(pair->b.hs, &m.b);
    assert_memory_equal(m.a.read, m.b.write, m.a.secret_len);
    assert_memory_equal(m.a.write, m.b.read, m.a.secret_len);
    assert_true(m.a.is_client != m.b.is_client);
    assert_int_equal(m.a.resumed, m.b.resumed);
    m.a_is_client = m.a.is_client;
    m.a_resumed = m.a.resumed;
    m.b_resumed = m.b.resumed;
    struct ticket_message *ticket = handshake_take_ticket(pair->b.hs);
    const uint64_t awaited = handshake_take_awaited(pair->a.hs);
    assert_null(handshake_take_ticket(pair->a.hs));
    assert_int_equal(handshake_take_awaited(pair->b.hs), 0);
    m.issued = ticket;
    if (ticket && awaited)
        m.kept = deliver_ticket(&m.b, awaited, ticket->bytes, ticket->len);
    tickets_await_no_more(awaited);
    ticket_message_free(ticket);
    return m;
}

HELP struct met meet_once(struct handshake_config a, struct handshake_config b)
{
    struct pair_of_sides *pair = pair_new(a, b);
    const struct met m = finish_meeting(pair);

    sides_free(pair);
    return m;
}

/* Until a ticket lies there: an accepting peer stays client half of the time, and issues none then. */
HELP void get_ticket(struct handshake_config a, struct handshake_config b)
{
    const size_t before = tickets_count();

    for (int i = 0; i < 100 && tickets_count() == before; i++) {
        const struct met m = meet_once(a, b);
        if (!m.done)
            fail_msg("not done: %s / %s", m.why_a, m.why_b);
    }
    assert_int_equal(tickets_count(), before + 1);
}

/* Fixed roles: no chance is left in who issues a ticket. */
HELP struct handshake_config serving(const struct identity *id)
{
    struct handshake_config config = accepting(id);
    config.effective = ROLE_SERVER;
    config.speaks_first = false;
    return config;
}

HELP void assert_full(struct handshake_config a, struct handshake_config b, bool offered)
{
    const struct met m = meet_once(a, b);

    if (!m.done)
        fail_msg("not done: %s / %s", m.why_a, m.why_b);
    assert_int_equal(m.offered, offered);
    assert_false(m.a_resumed);
    assert_true(m.a.proven && m.b.proven);
}

HELP void assert_resumed(struct handshake_config a, struct handshake_config b)
{
    const struct met m = meet_once(a, b);

    if (!m.done)
        fail_msg("not done: %s / %s", m.why_a, m.why_b);
    assert_true(m.offered && m.a_resumed && m.b_resumed);
}

HELP struct ticket *copy_ticket(const struct ticket *t)
{
    struct ticket *copy = ticket_new(&t->session, t->shown, t->count, t->raw);

    assert_non_null(copy);
    return copy;
}

HELP struct ticket_place place_of(const struct handshake_config *a)
{
    struct ticket_place place;

    assert_true(ticket_place_make(a->identity, a->service, a->peer, a->dialled_name, &place));
    return place;
}

HELP struct ticket *take_ticket(struct handshake_config a, struct handshake_config b)
{
    const struct ticket_place place = place_of(&a);

    get_ticket(a, b);
    struct ticket *t = tickets_take(&place);
    assert_non_null(t);
    return t;
}

HELP struct certificate issue(const char *name, const char *dns, const struct certificate *issuer)
{
    return make_certificate((struct certificate_spec){
        .name = name, .issuer = issuer, .sans = {{SAN_DNS, dns, 0}, {SAN_IP, "\x7f\0\0\1", 4}}});
}

HELP void forget_tickets_of(const struct identity *id)
{
    tickets_forget(identity_serial(id));
}

#endif
