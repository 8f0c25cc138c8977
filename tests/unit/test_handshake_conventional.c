/* The handshake against conventional TLS 1.3 sessions (GnuTLS, which knows nothing of p2p_role), in fixed roles: they
 * must work, and those that break the rules must be refused. */
#include "meeting_help.h"

#include "record.h"

static struct identity *user, *psk;

/* Both are through, and what the GnuTLS session seals with its keys opens with the secrets of ours. */
static void assert_works(struct meeting *m, bool we_are_client)
{
    struct handshake_secrets secrets;
    struct record_keys keys;
    struct record_cipher *cipher = NULL;
    enum record_type type;
    uint8_t record[100], plain[100], alert;
    size_t plain_len;

    run(m);
    if (handshake_state(m->hs) != RESULT_OK || m->error != GNUTLS_E_SUCCESS)
        fail_msg("ours: %s, theirs: %s", handshake_why(m->hs), gnutls_strerror(m->error));
    handshake_take_secrets(m->hs, &secrets);
    assert_int_equal(secrets.is_client, we_are_client);
    assert_int_equal(gnutls_record_send(m->session, "hello", 5), 5);
    ssize_t n = recv(m->ours, record, sizeof record, 0);
    assert_int_equal(n, 5 + RECORD_OVERHEAD);
    assert_int_equal(record_keys_init(&keys, secrets.suite, secrets.read, secrets.secret_len), RESULT_OK);
    assert_int_equal(record_cipher_fit(&cipher, &keys), RESULT_OK);
    assert_int_equal(record_open(cipher, &keys, record, (size_t)n, plain, &plain_len, &type, &alert), RESULT_OK);
    assert_int_equal(plain_len, 5);
    assert_memory_equal(plain, "hello", 5);
    record_cipher_free(cipher);
}

/* The exporter secret gives what the session's own exporter gives (RFC 8446 section 7.5). */
static void assert_same_exporter(struct meeting *m, const struct handshake_secrets *secrets)
{
    static const uint8_t context[] = "a context, which may be binary\0";
    uint8_t ours[100], theirs[100];

    assert_int_equal(
        record_exporter(secrets->suite, secrets->exporter, secrets->secret_len, "EXPORTER-test", NULL, 0, ours, 32),
        RESULT_OK);
    assert_true(gnutls_prf_rfc5705(m->session, 13, "EXPORTER-test", 0, NULL, 32, (char *)theirs) >= 0);
    assert_memory_equal(ours, theirs, 32);
    assert_int_equal(record_exporter(secrets->suite, secrets->exporter, secrets->secret_len, "EXPORTER-test", context,
                                     sizeof context, ours, sizeof ours),
                     RESULT_OK);
    assert_true(gnutls_prf_rfc5705(m->session, 13, "EXPORTER-test", sizeof context, (const char *)context,
                                   sizeof theirs, (char *)theirs) >= 0);
    assert_memory_equal(ours, theirs, sizeof ours);
}

static struct handshake_config as(enum role_set roles, bool speaks, const struct identity *id)
{
    return (struct handshake_config){.effective = roles, .speaks_first = speaks, .identity = id};
}

static void client_and_peer_work_with_a_conventional_server(void **state)
{
    const struct identity *const ids[] = {user, psk};

    (void)state;
    for (int i = 0; i < 2; i++)
        for (int roles = ROLE_CLIENT; roles <= ROLE_PEER; roles += ROLE_PEER - ROLE_CLIENT) {
            struct meeting m = meet(as((enum role_set)roles, true, ids[i]), session_of(ids[i], true));
            assert_works(&m, true);
            meeting_free(&m);
        }
}

static void a_waiting_server_and_a_waiting_peer_work_with_a_conventional_client(void **state)
{
    const struct identity *const ids[] = {user, psk};

    (void)state;
    for (int i = 0; i < 2; i++)
        for (int roles = ROLE_SERVER; roles <= ROLE_PEER; roles++) {
            struct meeting m = meet(as((enum role_set)roles, false, ids[i]), session_of(ids[i], false));
            assert_works(&m, false);
            meeting_free(&m);
        }
}

static void the_exporter_secret_is_that_of_the_session(void **state)
{
    struct meeting m = meet(as(ROLE_CLIENT, true, user), session_of(user, true));
    struct handshake_secrets secrets;

    (void)state;
    run(&m);
    assert_int_equal(handshake_state(m.hs), RESULT_OK);
    handshake_take_secrets(m.hs, &secrets);
    assert_same_exporter(&m, &secrets);
    meeting_free(&m);
}

static void a_conventional_client_of_a_side_that_speaks_is_refused(void **state)
{
    struct meeting m = meet(as(ROLE_PEER, true, user), session_of(user, false));

    (void)state;
    run(&m);
    assert_refused(m.hs, RESULT_PROTOCOL, "conventional TLS client");
    assert_int_not_equal(m.error, GNUTLS_E_SUCCESS);
    meeting_free(&m);
}

static void a_conventional_client_of_a_waiting_client_is_refused(void **state)
{
    struct meeting m = meet(as(ROLE_CLIENT, false, user), session_of(user, false));

    (void)state;
    run(&m);
    assert_refused(m.hs, RESULT_PROTOCOL, "conventional TLS client");
    assert_int_equal(m.error, GNUTLS_E_FATAL_ALERT_RECEIVED);
    assert_int_equal(gnutls_alert_get(m.session), GNUTLS_A_HANDSHAKE_FAILURE);
    meeting_free(&m);
}

static void a_conventional_server_that_answers_a_server_is_refused(void **state)
{
    struct meeting m = meet(as(ROLE_SERVER, true, user), session_of(user, true));

    (void)state;
    run(&m);
    assert_refused(m.hs, RESULT_PROTOCOL, "role=server");
    assert_int_not_equal(m.error, GNUTLS_E_SUCCESS);
    meeting_free(&m);
}

static void a_client_without_a_certificate_is_refused(void **state)
{
    gnutls_certificate_credentials_t none;
    gnutls_session_t session = make_session(false, identity_priorities(user, false));

    (void)state;
    assert_true(gnutls_certificate_allocate_credentials(&none) >= 0);
    assert_true(gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, none) >= 0);
    struct meeting m = meet(as(ROLE_SERVER, false, user), session);
    run(&m);
    assert_refused(m.hs, RESULT_IDENTITY, "no certificate");
    assert_int_equal(gnutls_record_recv(m.session, (char[10]){0}, 10), GNUTLS_E_FATAL_ALERT_RECEIVED);
    assert_int_equal(gnutls_alert_get(m.session), GNUTLS_A_CERTIFICATE_REQUIRED);
    meeting_free(&m);
    gnutls_certificate_free_credentials(none);
}

static void tls_1_2_is_refused_in_either_role(void **state)
{
    (void)state;
    for (int server = 0; server <= 1; server++) {
        gnutls_session_t session = session_of(user, server);
        assert_true(gnutls_priority_set_direct(session, "NORMAL:-VERS-ALL:+VERS-TLS1.2", NULL) >= 0);
        struct meeting m = meet(as(server ? ROLE_CLIENT : ROLE_SERVER, server, user), session);
        run(&m);
        assert_int_equal(handshake_state(m.hs), RESULT_PROTOCOL);
        assert_int_not_equal(m.error, GNUTLS_E_SUCCESS);
        meeting_free(&m);
    }
}

/* A p2p_role extension of the test's own, for a server that misuses it. */
static const uint8_t *extension;
static size_t extension_len;

static int send_extension(gnutls_session_t session, gnutls_buffer_t buffer)
{
    (void)session;
    if (extension_len == 0)
        return GNUTLS_E_INT_RET_0;
    return gnutls_buffer_append_data(buffer, extension, extension_len);
}

static int take_extension(gnutls_session_t session, const unsigned char *bytes, size_t len)
{
    (void)session;
    (void)bytes;
    (void)len;
    return 0;
}

static gnutls_session_t server_with_extension(const uint8_t *bytes, size_t len)
{
    gnutls_session_t session = session_of(user, true);

    extension = bytes;
    extension_len = len;
    assert_true(gnutls_session_ext_register(
                    session, "test", P2P_ROLE_EXTENSION, GNUTLS_EXT_TLS, take_extension, send_extension, NULL, NULL,
                    NULL, GNUTLS_EXT_FLAG_TLS | GNUTLS_EXT_FLAG_CLIENT_HELLO | GNUTLS_EXT_FLAG_EE) >= 0);
    return session;
}

static void an_empty_echo_is_right_where_no_hello_was_discarded(void **state)
{
    struct meeting m = meet(as(ROLE_PEER, true, user), server_with_extension(NULL, 0));

    (void)state;
    assert_works(&m, true);
    meeting_free(&m);
}

static void an_echo_that_nobody_earned_is_an_illegal_parameter(void **state)
{
    static const uint8_t echo[48] = {1};
    static const size_t lens[] = {1, 16, 47, 48};

    (void)state;
    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        struct meeting m = meet(as(ROLE_PEER, true, user), server_with_extension(echo, lens[i]));
        run(&m);
        assert_refused(m.hs, RESULT_PROTOCOL, "none came");
        assert_int_equal(m.error, GNUTLS_E_FATAL_ALERT_RECEIVED);
        assert_int_equal(gnutls_alert_get(m.session), GNUTLS_A_ILLEGAL_PARAMETER);
        meeting_free(&m);
    }
}

/* Somebody speaks before the server: a hello that loses, of which the server knows nothing, or which it forgets. */
static void a_server_that_does_not_echo_what_was_discarded_is_refused(void **state)
{
    static const struct forced_value low = {{1}}, high = {{200}};
    static const uint8_t wrong[48] = {200};
    static const struct {
        bool registered;
        size_t len;
        const char *why;
    } servers[] = {{false, 0, "does not say which"},
                   {true, 0, "not the one"},
                   {true, 47, "not the one"},
                   {true, 48, "not the one"}};

    (void)state;
    for (size_t i = 0; i < sizeof servers / sizeof servers[0]; i++) {
        struct handshake_config ours = as(ROLE_PEER, true, user), theirs = ours;
        ours.random = (struct random_source){fill_forced, (void *)&low};
        theirs.random = (struct random_source){fill_forced, (void *)&high};
        struct meeting m =
            meet(ours, servers[i].registered ? server_with_extension(wrong, servers[i].len) : session_of(user, true));
        struct handshake *speaker = make_handshake(theirs);
        size_t len;
        const uint8_t *hello = handshake_output(speaker, &len);
        assert_int_equal(send(m.theirs, hello, len, MSG_NOSIGNAL), (ssize_t)len);
        handshake_free(speaker);
        run(&m);
        assert_refused(m.hs, RESULT_PROTOCOL, servers[i].why);
        assert_int_equal(m.error, GNUTLS_E_FATAL_ALERT_RECEIVED);
        assert_int_equal(gnutls_alert_get(m.session), GNUTLS_A_ILLEGAL_PARAMETER);
        assert_null(gnutls_certificate_get_peers(m.session, &(unsigned){0})); /* ours was not shown */
        meeting_free(&m);
    }
}

/* What the GnuTLS session sends goes through here: its Finished gets a message more, in the same record. */
static struct record_keys handshake_keys;

static int note_secret(gnutls_session_t session, gnutls_record_encryption_level_t level, const void *read,
                       const void *write, size_t len)
{
    (void)read;
    if (level == GNUTLS_ENCRYPTION_LEVEL_HANDSHAKE && write)
        assert_int_equal(record_keys_init(&handshake_keys,
                                          gnutls_cipher_get(session) == GNUTLS_CIPHER_AES_256_GCM
                                              ? SUITE_AES_256_GCM_SHA384
                                              : SUITE_AES_128_GCM_SHA256,
                                          write, len),
                         RESULT_OK);
    return 0;
}

static ssize_t push_with_more(gnutls_transport_ptr_t at, const void *bytes, size_t len)
{
    static const uint8_t key_update[] = {24, 0, 0, 1, 0};
    struct meeting *m = at;
    struct record_cipher *cipher = NULL;
    enum record_type type;
    uint8_t plain[RECORD_WIRE_MAX], record[RECORD_WIRE_MAX], alert;
    size_t plain_len, record_len;

    memcpy(record, bytes, record_len = len);
    if (record[0] == RECORD_APPLICATION_DATA && handshake_keys.epoch) {
        assert_int_equal(record_cipher_fit(&cipher, &handshake_keys), RESULT_OK);
        assert_int_equal(record_open(cipher, &handshake_keys, record, len, plain, &plain_len, &type, &alert),
                         RESULT_OK);
        if (plain[0] == GNUTLS_HANDSHAKE_FINISHED) {
            memcpy(plain + plain_len, key_update, sizeof key_update);
            assert_int_equal(record_seal(cipher, &handshake_keys, handshake_keys.seq, type, plain,
                                         plain_len + sizeof key_update, record, &record_len),
                             RESULT_OK);
            handshake_keys.epoch = 0;
        }
        handshake_keys.seq++;
        record_cipher_free(cipher);
    }
    assert_int_equal(send(m->theirs, record, record_len, MSG_NOSIGNAL), record_len);
    return (ssize_t)len;
}

/* RFC 8446 section 5.1: keys change behind it, and what is there would be read by nobody. */
static void a_message_behind_finished_in_its_record_is_refused(void **state)
{
    const struct identity *const ids[] = {user, psk};

    (void)state;
    for (int i = 0; i < 2; i++)
        for (int server = 0; server <= 1; server++) {
            struct meeting m = meet(as(server ? ROLE_CLIENT : ROLE_SERVER, server, ids[i]), session_of(ids[i], server));
            handshake_keys = (struct record_keys){0};
            gnutls_handshake_set_secret_function(m.session, note_secret);
            gnutls_transport_set_ptr2(m.session, (gnutls_transport_ptr_t)(intptr_t)m.theirs, &m);
            gnutls_transport_set_push_function(m.session, push_with_more);
            run(&m);
            assert_refused(m.hs, RESULT_PROTOCOL, "holds more than");
            if (m.error == GNUTLS_E_SUCCESS)
                m.error = (int)gnutls_record_recv(m.session, (char[10]){0}, 10);
            assert_int_equal(m.error, GNUTLS_E_FATAL_ALERT_RECEIVED);
            assert_int_equal(gnutls_alert_get(m.session), GNUTLS_A_UNEXPECTED_MESSAGE);
            meeting_free(&m);
        }
}

static int setup(void **state)
{
    if (folder_make(state) != 0)
        return -1;
    user = load_user("user");
    psk = load_psk("psk", PSK_ALICE);
    return 0;
}

static int teardown(void **state)
{
    identity_unref(user);
    identity_unref(psk);
    return folder_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(client_and_peer_work_with_a_conventional_server),
        cmocka_unit_test(a_waiting_server_and_a_waiting_peer_work_with_a_conventional_client),
        cmocka_unit_test(the_exporter_secret_is_that_of_the_session),
        cmocka_unit_test(a_conventional_client_of_a_side_that_speaks_is_refused),
        cmocka_unit_test(a_conventional_client_of_a_waiting_client_is_refused),
        cmocka_unit_test(a_conventional_server_that_answers_a_server_is_refused),
        cmocka_unit_test(a_client_without_a_certificate_is_refused),
        cmocka_unit_test(tls_1_2_is_refused_in_either_role),
        cmocka_unit_test(an_empty_echo_is_right_where_no_hello_was_discarded),
        cmocka_unit_test(an_echo_that_nobody_earned_is_an_illegal_parameter),
        cmocka_unit_test(a_server_that_does_not_echo_what_was_discarded_is_refused),
        cmocka_unit_test(a_message_behind_finished_in_its_record_is_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
