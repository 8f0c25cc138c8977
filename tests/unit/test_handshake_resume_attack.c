/* Tickets travel in clear. What can be done with somebody else's by who does not hold its key: nothing that makes him
 * that other one. The attacker here is a client on GnuTLS alone, without a certificate, at a server that asks for one
 * and lets strangers in (auth=request). */
#include "meeting_help.h"
#include "resume_help.h"

#include <sched.h>

static struct certificate ca, alice, bob;
static struct identity *alice_id, *bob_id, *asks;

enum { PRIORITIES_MAX = 600 };

/* A ticket of Alice's for the server, and the message in which it came. */
struct stolen {
    uint8_t message[TICKET_BYTES_MAX];
    size_t len;
    uint8_t *session; /* GnuTLS's data, which holds the secret as well: the tests spoil that, or time does */
    size_t session_len;
};

static struct handshake_config at(const struct identity *id)
{
    struct handshake_config config = accepting(id);
    config.effective = ROLE_SERVER;
    config.speaks_first = false;
    return config;
}

static struct handshake_config victim(void)
{
    struct handshake_config config = dialling(alice_id);
    config.dialled_name = "127.0.0.1"; /* no SNI, as the attacker has none */
    return config;
}

static struct stolen steal(struct handshake_config server)
{
    const struct handshake_config a = victim();
    struct pair_of_sides *pair = pair_new(a, server);
    struct ticket_place place;
    struct handshake_secrets b;
    struct stolen s;

    pair_run(pair);
    assert_true(both_done(pair));
    handshake_take_secrets(pair->b.hs, &b);
    assert_true(b.proven);
    struct ticket_message *ticket = handshake_take_ticket(pair->b.hs);
    assert_non_null(ticket);
    s.len = ticket->len;
    memcpy(s.message, ticket->bytes, s.len);
    ticket_message_free(ticket);
    assert_true(deliver_ticket(&b, handshake_take_awaited(pair->a.hs), s.message, s.len));
    sides_free(pair);
    assert_true(ticket_place_make(a.identity, a.service, a.peer, a.dialled_name, &place));
    struct ticket *t = tickets_take(&place);
    s.session_len = t->session.size;
    s.session = malloc(s.session_len);
    memcpy(s.session, t->session.data, s.session_len);
    ticket_free(t);
    return s;
}

/* Lifetime and age_add stand side by side, in the message as in the data. */
static uint8_t *lifetime_in(const struct stolen *s)
{
    uint8_t *found = memmem(s->session, s->session_len, s->message + 4, 8);
    assert_non_null(found);
    return found;
}

static void put_be32(uint8_t *to, uint32_t v)
{
    put_be16(to, (uint16_t)(v >> 16));
    put_be16(to + 2, (uint16_t)v);
}

static gnutls_session_t attacker(const struct stolen *s, const struct identity *shows,
                                 gnutls_certificate_credentials_t *nothing)
{
    char priorities[PRIORITIES_MAX];
    gnutls_session_t session;

    snprintf(priorities, sizeof priorities, "NORMAL:-VERS-ALL:+VERS-TLS1.3:-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1");
    assert_true(gnutls_init(&session, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_KEY_SHARE_TOP) >= 0);
    assert_true(gnutls_priority_set_direct(session, priorities, NULL) >= 0);
    *nothing = NULL;
    if (shows) {
        assert_int_equal(identity_apply(shows, session, false), RESULT_OK);
    } else {
        assert_true(gnutls_certificate_allocate_credentials(nothing) >= 0);
        assert_true(gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, *nothing) >= 0);
    }
    assert_true(gnutls_session_set_data(session, s->session, s->session_len) >= 0);
    return session;
}

/* Nobody is taken for Alice. Where the handshake ends well, the server says so. */
static void assert_nobody(struct meeting *m, bool may_end_well)
{
    struct handshake_secrets secrets;

    run(m);
    if (handshake_state(m->hs) != RESULT_OK)
        return;
    handshake_take_secrets(m->hs, &secrets);
    assert_false(secrets.proven || secrets.resumed);
    assert_string_equal(secrets.subject, "(unauthenticated)");
    assert_true(may_end_well);
}

static void the_holder_of_the_secret_is_alice(void **state)
{
    struct stolen s = steal(at(asks));
    struct handshake_secrets secrets;
    gnutls_certificate_credentials_t nothing;

    (void)state;
    struct meeting m = meet(at(asks), attacker(&s, NULL, &nothing));
    run(&m);
    assert_int_equal(handshake_state(m.hs), RESULT_OK);
    handshake_take_secrets(m.hs, &secrets);
    assert_true(secrets.proven && secrets.resumed);
    assert_non_null(strstr(secrets.subject, "Alice"));
    meeting_free(&m);
    gnutls_certificate_free_credentials(nothing);
    free(s.session);
}

/* GnuTLS opens a ticket, takes its certificates over, and only then finds that its client calls it too old: no binder
 * is asked for, and the handshake goes on with an empty Certificate. */
static void a_ticket_that_is_called_too_old_leaves_nobody_behind(void **state)
{
    const struct identity *const servers[] = {asks, bob_id};

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct stolen s = steal(at(servers[i]));
        gnutls_certificate_credentials_t nothing;
        uint8_t *lifetime = lifetime_in(&s);
        const uint32_t age_add = (uint32_t)be16(lifetime + 4) << 16 | be16(lifetime + 6);
        put_be32(lifetime + 4, age_add + 7 * 86400 * 1000u);
        struct meeting m = meet(at(servers[i]), attacker(&s, NULL, &nothing));
        assert_nobody(&m, servers[i] == asks);
        if (servers[i] == asks)
            assert_int_equal(handshake_state(m.hs), RESULT_OK); /* a stranger like others */
        else
            assert_int_equal(handshake_state(m.hs), RESULT_IDENTITY);
        meeting_free(&m);
        gnutls_certificate_free_credentials(nothing);
        free(s.session);
    }
}

/* The same by one who has a certificate of his own: he is himself. */
static void a_ticket_that_is_called_too_old_does_not_hide_who_shows_a_certificate(void **state)
{
    struct stolen s = steal(at(asks));
    struct handshake_secrets secrets;
    gnutls_certificate_credentials_t nothing;
    uint8_t *lifetime = lifetime_in(&s);

    (void)state;
    put_be32(lifetime + 4, ((uint32_t)be16(lifetime + 4) << 16 | be16(lifetime + 6)) + 7 * 86400 * 1000u);
    struct meeting m = meet(at(asks), attacker(&s, bob_id, &nothing));
    run(&m);
    assert_int_equal(handshake_state(m.hs), RESULT_OK);
    handshake_take_secrets(m.hs, &secrets);
    assert_true(secrets.proven && !secrets.resumed);
    assert_non_null(strstr(secrets.subject, "Bob"));
    meeting_free(&m);
    free(s.session);
}

/* Without the secret the binder is wrong, and that ends it. */
static void a_ticket_without_its_secret_is_refused(void **state)
{
    struct stolen s = steal(at(asks));
    gnutls_certificate_credentials_t nothing;
    uint8_t *lifetime = lifetime_in(&s);
    uint8_t *nonce =
        lifetime + 8; /* its length, then it, then the ticket: 4 bytes of length, then it, then the secret */
    uint8_t *ticket = nonce + 1 + nonce[0];
    const size_t ticket_len = (size_t)be16(ticket + 2);
    uint8_t *secret = ticket + 4 + ticket_len;

    (void)state;
    assert_int_equal(secret[0], 32);
    secret[1] ^= 1;
    struct meeting m = meet(at(asks), attacker(&s, NULL, &nothing));
    assert_nobody(&m, false);
    assert_int_equal(handshake_state(m.hs), RESULT_PROTOCOL);
    meeting_free(&m);
    gnutls_certificate_free_credentials(nothing);
    free(s.session);
}

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* A first hello with a good ticket (it could be a copy of Alice's), a HelloRetryRequest, and a second hello without
 * one. GnuTLS goes on calling the session resumed. The client drops its ticket in between because its time is over. */
static void a_retry_without_the_ticket_is_no_resumption(void **state)
{
    struct handshake_config server = at(asks);
    gnutls_certificate_credentials_t nothing;

    (void)state;
    server.server_groups = "+GROUP-SECP256R1";
    struct stolen s = steal(server);
    put_be32(lifetime_in(&s), 0); /* good for less than a second */
    struct meeting m = meet(server, attacker(&s, NULL, &nothing));
    const int64_t until = now_ms() + 1100;
    m.error = gnutls_handshake(m.session);
    drive_ours(&m);
    drive_ours(&m);
    while (now_ms() < until)
        sched_yield();
    assert_nobody(&m, true);
    meeting_free(&m);
    gnutls_certificate_free_credentials(nothing);
    free(s.session);
}

static int setup(void **state)
{
    if (folder_make(state) != 0)
        return -1;
    ca = make_certificate((struct certificate_spec){.name = "CA", .is_ca = true});
    alice = make_certificate((struct certificate_spec){.name = "Alice", .issuer = &ca});
    bob =
        make_certificate((struct certificate_spec){.name = "Bob", .issuer = &ca, .sans = {{SAN_IP, "\x7f\0\0\1", 4}}});
    alice_id = load_files(&alice, &ca);
    bob_id = load_files(&bob, &ca);
    asks = load_ok((struct identity_files){.auth = AUTH_REQUEST,
                                           .cert_file = write_certificates("b.crt", &bob, NULL),
                                           .key_file = write_key("b.key", &bob, 0600),
                                           .ca_file = write_certificates("ca.crt", &ca, NULL)});
    return 0;
}

static int teardown(void **state)
{
    identity_unref(alice_id);
    identity_unref(bob_id);
    identity_unref(asks);
    free_certificate(&ca);
    free_certificate(&alice);
    free_certificate(&bob);
    return folder_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_holder_of_the_secret_is_alice),
        cmocka_unit_test(a_ticket_that_is_called_too_old_leaves_nobody_behind),
        cmocka_unit_test(a_ticket_that_is_called_too_old_does_not_hide_who_shows_a_certificate),
        cmocka_unit_test(a_ticket_without_its_secret_is_refused),
        cmocka_unit_test(a_retry_without_the_ticket_is_no_resumption),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
