/* The handshake and the way in which bytes arrive: fragments, what may come in between, HelloRetryRequest, broken
 * records, the end of the stream. */
#include "handshake_help.h"

static struct identity *psk;

static const struct forced_value low = {{1, 2, 3}}, high = {{200, 2, 3}};

/* a is the client, and both have sent a hello. */
static struct pair_of_sides *client_and_server(void)
{
    struct handshake_config a = {.effective = ROLE_PEER, .speaks_first = true, .identity = psk}, b = a;

    a.random = (struct random_source){fill_forced, (void *)&low};
    b.random = (struct random_source){fill_forced, (void *)&high};
    return pair_new(a, b);
}

static void add_record(struct wire *w, uint8_t type, const void *body, size_t len)
{
    uint8_t header[RECORD_HEADER] = {type, 3, 3, (uint8_t)(len >> 8), (uint8_t)len};

    wire_add(w, header, sizeof header);
    wire_add(w, body, len);
}

/* Splits each plaintext handshake record into records of *ctx bytes. */
static void relay_in_fragments(struct pair_of_sides *pair, struct side *from, struct side *to, const uint8_t *record,
                               size_t len)
{
    size_t step = *(const size_t *)pair->ctx;

    if (record[0] != RECORD_HANDSHAKE) {
        relay_plainly(pair, from, to, record, len);
        return;
    }
    for (size_t at = RECORD_HEADER; at < len; at += step)
        add_record(&to->in, RECORD_HANDSHAKE, record + at, len - at < step ? len - at : step);
}

static void records_and_segments_of_any_size_are_put_together(void **state)
{
    static const size_t steps[] = {1, 2, 3, 4, 5, 50, 16384}, chunks[] = {1, 3, 0};

    (void)state;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        for (size_t k = 0; k < sizeof chunks / sizeof chunks[0]; k++) {
            struct pair_of_sides *pair = client_and_server();
            size_t step = steps[i];
            pair->relay = relay_in_fragments;
            pair->ctx = &step;
            pair->chunk = chunks[k];
            pair_run(pair);
            assert_true(assert_both_done(pair));
            sides_free(pair);
        }
}

/* Data right behind the last record of the handshake, from both sides. */
static void relay_with_data_behind(struct pair_of_sides *pair, struct side *from, struct side *to,
                                   const uint8_t *record, size_t len)
{
    static const uint8_t data[50] = {RECORD_APPLICATION_DATA, 3, 3, 0, 45};

    relay_plainly(pair, from, to, record, len);
    if (handshake_state(from->hs) == RESULT_OK && from->forwarded == from->out.len)
        wire_add(&to->in, data, sizeof data);
}

static void nothing_behind_finished_is_read(void **state)
{
    struct pair_of_sides *pair = client_and_server();

    (void)state;
    pair->relay = relay_with_data_behind;
    pair_run(pair);
    assert_true(assert_both_done(pair));
    assert_int_equal(pair->b.in.len - pair->b.in.read, 50);
    sides_free(pair);
}

/* Middlebox compatibility (RFC 8446, D.4): a change_cipher_spec behind each record; *ctx counts those sent to a. */
static void relay_with_ccs(struct pair_of_sides *pair, struct side *from, struct side *to, const uint8_t *record,
                           size_t len)
{
    relay_plainly(pair, from, to, record, len);
    if (from->forwarded < from->out.len || handshake_state(to->hs) == RESULT_AGAIN)
        add_record(&to->in, RECORD_CHANGE_CIPHER_SPEC, "\1", 1);
}

static void change_cipher_spec_is_dropped_after_the_first_hello(void **state)
{
    struct pair_of_sides *pair = client_and_server();

    (void)state;
    pair->relay = relay_with_ccs;
    pair_run(pair);
    assert_true(both_done(pair));
    sides_free(pair);
}

static const struct {
    size_t after; /* records that went to b before */
    const char *body;
    size_t len, count;
    const char *why;
} bad_ccs[] = {
    {0, "\1", 1, 1, "before the peer's first hello"},
    {1, "\2", 1, 1, "change_cipher_spec"},
    {1, "\1\1", 2, 1, "change_cipher_spec"},
    {1, "\1", 1, 33, "change_cipher_spec"},
};

static void relay_with_bad_ccs(struct pair_of_sides *pair, struct side *from, struct side *to, const uint8_t *record,
                               size_t len)
{
    size_t i = *(const size_t *)pair->ctx;

    if (to == &pair->b && from->records == bad_ccs[i].after + 1)
        for (size_t n = 0; n < bad_ccs[i].count; n++)
            add_record(&to->in, RECORD_CHANGE_CIPHER_SPEC, bad_ccs[i].body, bad_ccs[i].len);
    relay_plainly(pair, from, to, record, len);
}

static void change_cipher_spec_of_another_kind_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_ccs / sizeof bad_ccs[0]; i++) {
        struct pair_of_sides *pair = client_and_server();
        pair->relay = relay_with_bad_ccs;
        pair->ctx = &i;
        pair_run(pair);
        assert_refused(pair->b.hs, RESULT_PROTOCOL, bad_ccs[i].why);
        sides_free(pair);
    }
}

/* The server lacks X25519, of which alone the client sends a share. */
static struct pair_of_sides *with_retry(bool server_speaks, const char *server_ciphers)
{
    struct handshake_config a = {.effective = ROLE_PEER, .speaks_first = true, .identity = psk}, b = a;

    a.random = (struct random_source){fill_forced, (void *)&low};
    b.random = (struct random_source){fill_forced, (void *)&high};
    b.speaks_first = server_speaks;
    b.server_ciphers = server_ciphers;
    return pair_new(a, b);
}

static size_t count_plain_handshakes(const struct side *s)
{
    size_t n = 0;

    for (size_t at = 0; at + RECORD_HEADER <= s->out.len; at += RECORD_HEADER + be16(s->out.bytes + at + 3))
        n += s->out.bytes[at] == RECORD_HANDSHAKE;
    return n;
}

static void a_hello_retry_request_is_answered(void **state)
{
    (void)state;
    for (int speaks = 0; speaks <= 1; speaks++) {
        struct pair_of_sides *pair = with_retry(speaks, "+AES-128-GCM:-GROUP-X25519");
        size_t step = 7;
        pair->relay = relay_in_fragments;
        pair->ctx = &step;
        pair_run(pair);
        assert_true(assert_both_done(pair));
        assert_int_equal(count_plain_handshakes(&pair->a), 2);          /* two ClientHellos */
        assert_int_equal(count_plain_handshakes(&pair->b), 2 + speaks); /* its own, HelloRetryRequest, ServerHello */
        sides_free(pair);
    }
}

/* Finds p2p_role in a ClientHello record by its value and changes it. */
static void relay_other_value_on_retry(struct pair_of_sides *pair, struct side *from, struct side *to,
                                       const uint8_t *record, size_t len)
{
    uint8_t copy[4096];

    memcpy(copy, record, len);
    if (from == &pair->a && record[0] == RECORD_HANDSHAKE && ++*(unsigned *)pair->ctx == 2) {
        uint8_t *value = memmem(copy, len, "\1\2\3\1\2\3", 3);
        while (value && memcmp(value - 4, "\xff\xa2\0\x10", 4) != 0)
            value = memmem(value + 1, len - (size_t)(value + 1 - copy), "\1\2\3", 3);
        assert_non_null(value);
        value[15] ^= 1;
    }
    relay_plainly(pair, from, to, copy, len);
}

static void the_second_hello_must_carry_the_same_value(void **state)
{
    struct pair_of_sides *pair = with_retry(false, "+AES-128-GCM:-GROUP-X25519");
    unsigned hellos = 0;

    (void)state;
    pair->relay = relay_other_value_on_retry;
    pair->ctx = &hellos;
    pair_run(pair);
    assert_refused(pair->b.hs, RESULT_PROTOCOL, "another value");
    assert_refused(pair->a.hs, RESULT_PROTOCOL, "illegal_parameter");
    sides_free(pair);
}

static const struct {
    const char *bytes;
    size_t len;
    uint8_t alert;
    const char *why;
} first_bytes[] = {
    {"GET / HTTP/1.1\r\n\r\n", 5, 10, "does not speak TLS"},
    {"SSH-2.0-OpenSSH_9.2\r\n", 5, 10, "does not speak TLS"},
    {"\x16\x03\x01\x40\x01", 5, 22, "longer"},
    {"\x16\x03\x01\x00\x00", 5, 10, "empty"},
    {"\x17\x03\x03\x00\x20", 5, 10, "application data"},
    {"\x16\x03\x01\x00\x01\x0b", 6, 10, "no hello"},
    {"\x16\x03\x01\x00\x04\x01\x00\x80\x00", 9, 47, "32 KiB"},
    {"\x16\x03\x03\x00\x01\x02", 6, 10, "answered a hello that was not sent"},
    {"\x15\x03\x01\x00\x03", 5, 50, "malformed alert"},
};

static enum result feed_all(struct handshake *hs, const uint8_t *bytes, size_t len)
{
    while (len && handshake_state(hs) == RESULT_AGAIN) {
        size_t n = handshake_wanted(hs) < len ? handshake_wanted(hs) : len;
        enum result result = handshake_feed(hs, bytes, n);
        assert_int_equal(result, handshake_state(hs));
        bytes += n;
        len -= n;
    }
    return handshake_state(hs);
}

static void a_first_message_that_is_no_hello_is_refused_with_its_alert(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof first_bytes / sizeof first_bytes[0]; i++) {
        struct handshake *hs = make_handshake((struct handshake_config){.effective = ROLE_PEER, .identity = psk});
        const uint8_t alert[] = {21, 3, 3, 0, 2, 2, first_bytes[i].alert};
        size_t len;
        feed_all(hs, (const uint8_t *)first_bytes[i].bytes, first_bytes[i].len);
        assert_refused(hs, RESULT_PROTOCOL, first_bytes[i].why);
        const uint8_t *out = handshake_output(hs, &len);
        assert_int_equal(len, sizeof alert);
        assert_memory_equal(out, alert, sizeof alert);
        handshake_free(hs);
    }
}

/* Records that do not belong behind the first hello. Each comes to the client instead of ServerHello, or instead of the
 * first protected record. */
static const struct {
    uint8_t instead_of;
    const char *bytes;
    size_t len;
    const char *why, *alert;
} later_records[] = {
    {RECORD_HANDSHAKE, "\x17\x03\x03\x00\x20", 5, "before ServerHello", "unexpected_message"},
    {RECORD_HANDSHAKE, "\x16\x03\x03\x00\x01\x01", 6, "second ClientHello", "unexpected_message"},
    {RECORD_HANDSHAKE, "\x16\x03\x03\x00\x01\x08", 6, "no ServerHello", "unexpected_message"},
    {RECORD_HANDSHAKE, "\x16\x03\x03\x00\x04\x02\x00\x3f\xfd", 9, "too large", "decode_error"},
    {RECORD_HANDSHAKE, "\x16\x03\x03\x00\x05\x02\x00\x00\x00\x08", 10, "holds more", "unexpected_message"},
    {RECORD_HANDSHAKE, "\x16\x03\x03\x00\x04\x02\x00\x00\x00", 9, "TLS handshake failed", "decode_error"},
    {RECORD_HANDSHAKE, "\x16\x03\x03\x00\x01\x02\x14\x03\x03\x00\x01\x01", 12, "change_cipher", "unexpected_message"},
    {RECORD_HANDSHAKE, "\x16\x03\x03\x40\x01", 5, "longer", "record_overflow"},
    {RECORD_HANDSHAKE, "\x15\x03\x03\x00\x01\x02", 6, "malformed alert", "decode_error"},
    {RECORD_APPLICATION_DATA, "\x16\x03\x03\x00\x04\x08\x00\x00\x00", 9, "unprotected", "unexpected_message"},
    {RECORD_APPLICATION_DATA, "\x17\x03\x03\x41\x01", 5, "longer", "record_overflow"},
    {RECORD_APPLICATION_DATA, "\x17\x03\x03\x00\x10", 5, "too short", "bad_record_mac"},
    {RECORD_APPLICATION_DATA, "\x18\x03\x03\x00\x10", 5, "no TLS record", "unexpected_message"},
    {RECORD_APPLICATION_DATA, "\x14\x03\x03\x00\x00", 5, "empty", "unexpected_message"},
    {RECORD_APPLICATION_DATA,
     "\x17\x03\x03\x00\x11"
     "AAAAAAAAAAAAAAAAA",
     22, "cannot be decrypted", "bad_record_mac"},
};

static void relay_later_record(struct pair_of_sides *pair, struct side *from, struct side *to, const uint8_t *record,
                               size_t len)
{
    size_t i = *(const size_t *)pair->ctx;

    if (from == &pair->b && from->records > 1 && record[0] == later_records[i].instead_of)
        wire_add(&to->in, later_records[i].bytes, later_records[i].len);
    else if (from == &pair->a || from->records == 1 || later_records[i].instead_of == RECORD_APPLICATION_DATA)
        relay_plainly(pair, from, to, record, len);
}

static void records_that_do_not_belong_are_refused_and_the_peer_is_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof later_records / sizeof later_records[0]; i++) {
        struct pair_of_sides *pair = client_and_server();
        pair->relay = relay_later_record;
        pair->ctx = &i;
        pair_run(pair);
        assert_refused(pair->a.hs, RESULT_PROTOCOL, later_records[i].why);
        assert_refused(pair->b.hs, RESULT_PROTOCOL, later_records[i].alert); /* in the peer's words */
        assert_int_equal(handshake_feed(pair->a.hs, (const uint8_t *)"\x16", 1), RESULT_PROTOCOL); /* it stays so */
        sides_free(pair);
    }
}

/* What comes to the server instead of the second hello that it asked for. */
static const struct {
    const char *bytes;
    size_t len;
    const char *why;
} retries[] = {
    {"\x16\x03\x03\x00\x01\x02", 6, "no ClientHello"},
    {"\x16\x03\x03\x00\x04\x01\x00\x00\x00", 9, "malformed"},
    {"\x16\x03\x03\x00\x01\x01\x14\x03\x03\x00\x01\x01", 12, "change_cipher_spec"},
    {"\x17\x03\x03\x00\x20", 5, "before ServerHello"},
};

static void relay_other_retry(struct pair_of_sides *pair, struct side *from, struct side *to, const uint8_t *record,
                              size_t len)
{
    size_t i = *(const size_t *)pair->ctx;

    if (from == &pair->a && from->records > 1 && record[0] == RECORD_HANDSHAKE)
        wire_add(&to->in, retries[i].bytes, retries[i].len);
    else
        relay_plainly(pair, from, to, record, len);
}

static void another_answer_to_a_hello_retry_request_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof retries / sizeof retries[0]; i++) {
        struct pair_of_sides *pair = with_retry(false, "+AES-128-GCM:-GROUP-X25519");
        pair->relay = relay_other_retry;
        pair->ctx = &i;
        pair_run(pair);
        assert_refused(pair->b.hs, RESULT_PROTOCOL, retries[i].why);
        assert_refused(pair->a.hs, RESULT_PROTOCOL, "the peer ");
        sides_free(pair);
    }
}

static void a_stream_that_ends_anywhere_is_refused(void **state)
{
    struct pair_of_sides *whole = client_and_server();
    size_t lens[2];

    (void)state;
    pair_run(whole);
    assert_true(both_done(whole));
    lens[0] = whole->b.in.len; /* what the server reads, what the client reads */
    lens[1] = whole->a.in.len;
    sides_free(whole);
    for (int reader = 0; reader < 2; reader++)
        for (size_t at = 0; at < lens[reader]; at += reader ? 3 : 1) {
            struct pair_of_sides *pair = client_and_server();
            struct side *s = reader ? &pair->a : &pair->b;
            pair->chunk = 1;
            while (s->in.read < at) {
                side_send(pair, &pair->a, &pair->b);
                side_send(pair, &pair->b, &pair->a);
                side_read(pair, s);
                if (s->in.read < s->in.len && s->in.read < at)
                    continue;
                side_read(pair, s == &pair->a ? &pair->b : &pair->a);
            }
            assert_int_equal(handshake_state(s->hs), RESULT_AGAIN);
            assert_int_equal(handshake_feed_end(s->hs), RESULT_PROTOCOL);
            assert_refused(s->hs, RESULT_PROTOCOL, "closed the connection");
            sides_free(pair);
        }
}

static void feeding_more_than_wanted_is_refused(void **state)
{
    struct handshake *hs = make_handshake((struct handshake_config){.effective = ROLE_PEER, .identity = psk});

    (void)state;
    assert_int_equal(handshake_feed(hs, (const uint8_t *)"\x16\x03\x01\x00\x01\x01", 6), RESULT_PROTOCOL);
    handshake_free(hs);
    handshake_free(NULL);
}

static void an_abort_tells_the_peer(void **state)
{
    struct handshake *hs = make_handshake((struct handshake_config){.effective = ROLE_PEER, .identity = psk});
    const uint8_t alert[] = {21, 3, 3, 0, 2, 1, 90};
    size_t len;

    (void)state;
    handshake_abort(hs, RESULT_TIMEOUT, 90, "nothing came for 10 s");
    assert_refused(hs, RESULT_TIMEOUT, "10 s");
    assert_memory_equal(handshake_output(hs, &len), alert, sizeof alert);
    assert_int_equal(len, sizeof alert);
    handshake_abort(hs, RESULT_PROTOCOL, 80, "again");
    assert_refused(hs, RESULT_TIMEOUT, "10 s"); /* the first reason stays */
    handshake_free(hs);
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
        cmocka_unit_test(records_and_segments_of_any_size_are_put_together),
        cmocka_unit_test(nothing_behind_finished_is_read),
        cmocka_unit_test(change_cipher_spec_is_dropped_after_the_first_hello),
        cmocka_unit_test(change_cipher_spec_of_another_kind_is_refused),
        cmocka_unit_test(a_hello_retry_request_is_answered),
        cmocka_unit_test(the_second_hello_must_carry_the_same_value),
        cmocka_unit_test(a_first_message_that_is_no_hello_is_refused_with_its_alert),
        cmocka_unit_test(records_that_do_not_belong_are_refused_and_the_peer_is_told),
        cmocka_unit_test(another_answer_to_a_hello_retry_request_is_refused),
        cmocka_unit_test(a_stream_that_ends_anywhere_is_refused),
        cmocka_unit_test(feeding_more_than_wanted_is_refused),
        cmocka_unit_test(an_abort_tells_the_peer),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
