/* The handshake under attack: whoever holds the wire changes, drops, repeats, reflects, swaps or injects hellos, the
 * discarded one as well as the winning one, and never gets a connection through. */
#include "handshake_help.h"

static struct identity *psk, *user;

static const struct forced_value low = {{1, 2, 3}}, middle = {{100, 2, 3}}, high = {{200, 2, 3}};

enum target { OF_A = 1, OF_B = 2 }; /* whose hello is attacked: a's wins, b's is discarded */

enum attack {
    FLIP_BIT = 1,
    DROP,
    REPEAT,
    REFLECT,
    REPLACE,
    ADD_BEFORE,
    ADD_BEHIND,
    STRIP_ROLE,
    REWRITE_VALUE,
    DROP_AND_REPEAT_LATER
};

struct attacker {
    enum target target;
    enum attack attack;
    unsigned skip; /* hellos of the target that go through first */
    size_t at_byte;
    unsigned bit;
    uint8_t stranger[2048]; /* a hello of a third session that holds the same key */
    size_t stranger_len;
    uint8_t kept[2048];
    size_t kept_len;
    bool done;
};

static struct handshake_config speaker(const struct identity *id, const struct forced_value *value)
{
    return (struct handshake_config){
        .effective = ROLE_PEER, .speaks_first = true, .identity = id, .random = {fill_forced, (void *)value}};
}

static void record_stranger(struct attacker *x, const struct identity *id, const struct forced_value *value)
{
    struct handshake *hs = make_handshake(speaker(id, value));
    size_t len;
    const uint8_t *hello = handshake_output(hs, &len);

    assert_true(len <= sizeof x->stranger);
    memcpy(x->stranger, hello, len);
    x->stranger_len = len;
    handshake_free(hs);
}

/* p2p_role is the first extension of our hellos; its 4 bytes of header and 16 of value are found by their number. */
static uint8_t *find_role(uint8_t *record, size_t len)
{
    uint8_t *found = memmem(record, len, "\xff\xa2\0\x10", 4);

    assert_non_null(found);
    return found;
}

static size_t extensions_at(const uint8_t *record)
{
    size_t at = RECORD_HEADER + 4 + 2 + 32;

    at += 1 + (size_t)record[at];
    at += 2 + (size_t)be16(record + at);
    return at + 1 + record[at];
}

/* Takes the extension out, and all lengths around it are right again. */
static size_t strip_role(uint8_t *record, size_t len)
{
    enum { GONE = 4 + ROLE_VALUE_BYTES };
    uint8_t *role = find_role(record, len);
    size_t exts = extensions_at(record);

    memmove(role, role + GONE, len - (size_t)(role - record) - GONE);
    put_be16(record + 3, (uint16_t)(be16(record + 3) - GONE));
    put_be24(record + RECORD_HEADER + 1, be24(record + RECORD_HEADER + 1) - GONE);
    put_be16(record + exts, (uint16_t)(be16(record + exts) - GONE));
    return len - GONE;
}

static void attack_hello(struct attacker *x, struct side *from, struct side *to, uint8_t *record, size_t len)
{
    switch (x->attack) {
    case FLIP_BIT:
        record[x->at_byte] ^= (uint8_t)(1U << x->bit);
        break;
    case DROP:
        return;
    case REPEAT:
        wire_add(&to->in, record, len);
        break;
    case REFLECT:
        wire_add(&from->in, record, len);
        return;
    case REPLACE:
        wire_add(&to->in, x->stranger, x->stranger_len);
        return;
    case ADD_BEFORE:
        wire_add(&to->in, x->stranger, x->stranger_len);
        break;
    case ADD_BEHIND:
        wire_add(&to->in, record, len);
        wire_add(&to->in, x->stranger, x->stranger_len);
        return;
    case STRIP_ROLE:
        len = strip_role(record, len);
        break;
    case REWRITE_VALUE:
        memcpy(find_role(record, len) + 4, middle.bytes, ROLE_VALUE_BYTES); /* the order stays the same */
        break;
    case DROP_AND_REPEAT_LATER:
        memcpy(x->kept, record, len);
        x->kept_len = len;
        return;
    }
    wire_add(&to->in, record, len);
}

static void relay_attacked(struct pair_of_sides *pair, struct side *from, struct side *to, const uint8_t *record,
                           size_t len)
{
    struct attacker *x = pair->ctx;
    uint8_t copy[RECORD_WIRE_MAX];

    memcpy(copy, record, len);
    if (!x->done && record[0] == RECORD_HANDSHAKE && from == (x->target == OF_A ? &pair->a : &pair->b) &&
        x->skip-- == 0) {
        x->done = true;
        attack_hello(x, from, to, copy, len);
        return;
    }
    wire_add(&to->in, record, len);
    if (x->kept_len && from == (x->target == OF_A ? &pair->a : &pair->b)) {
        wire_add(&to->in, x->kept, x->kept_len);
        x->kept_len = 0;
    }
}

static struct pair_of_sides *pair_under(struct attacker *x, const struct identity *id, bool b_speaks)
{
    struct handshake_config a = speaker(id, &low), b = speaker(id, &high);

    b.speaks_first = b_speaks;
    struct pair_of_sides *pair = pair_new(a, b);
    pair->relay = relay_attacked;
    pair->ctx = x;
    return pair;
}

static void assert_neither_done(struct pair_of_sides *pair, const char *what, size_t at)
{
    if (handshake_state(pair->a.hs) == RESULT_OK || handshake_state(pair->b.hs) == RESULT_OK)
        fail_msg("%s %zu: a: %s, b: %s", what, at, result_name(handshake_state(pair->a.hs)),
                 result_name(handshake_state(pair->b.hs)));
}

static size_t hello_len(const struct identity *id, const struct forced_value *value)
{
    struct handshake *hs = make_handshake(speaker(id, value));
    size_t len;

    handshake_output(hs, &len);
    handshake_free(hs);
    return len;
}

static void flip_everything(const struct identity *id, enum target target)
{
    size_t len = hello_len(id, target == OF_A ? &low : &high);

    assert_true(len > 150);
    for (size_t at = RECORD_HEADER; at < len; at++)
        for (unsigned bit = 0; bit < 8; bit++) {
            struct attacker x = {.target = target, .attack = FLIP_BIT, .at_byte = at, .bit = bit};
            struct pair_of_sides *pair = pair_under(&x, id, true);
            pair_run(pair);
            assert_true(x.done);
            assert_neither_done(pair, target == OF_A ? "winning hello, bit" : "discarded hello, bit", at * 8 + bit);
            sides_free(pair);
        }
}

static void no_bit_of_the_winning_hello_can_be_flipped(void **state)
{
    (void)state;
    flip_everything(psk, OF_A);
    flip_everything(user, OF_A);
}

static void no_bit_of_the_discarded_hello_can_be_flipped(void **state)
{
    (void)state;
    flip_everything(psk, OF_B);
    flip_everything(user, OF_B);
}

/* The record header is in no transcript (RFC 8446 section 5.1); only 0x0301 and 0x0303 are taken for one another. */
static void of_the_record_header_only_the_version_may_change_and_to_a_usual_one_only(void **state)
{
    (void)state;
    for (enum target target = OF_A; target <= OF_B; target++)
        for (size_t at = 0; at < RECORD_HEADER; at++)
            for (unsigned bit = 0; bit < 8; bit++) {
                struct attacker x = {.target = target, .attack = FLIP_BIT, .at_byte = at, .bit = bit};
                struct pair_of_sides *pair = pair_under(&x, psk, true);
                pair_run(pair);
                if (at == 2 && bit == 1)
                    assert_true(assert_both_done(pair));
                else
                    assert_neither_done(pair, "record header, bit", at * 8 + bit);
                sides_free(pair);
            }
}

static const struct {
    const char *name;
    enum attack attack;
    bool client_may_finish; /* the server sees the attack only after the client has finished: it is the last to judge */
} attacks[] = {
    {"drop", DROP, false},
    {"repeat", REPEAT, true},
    {"reflect", REFLECT, false},
    {"replace", REPLACE, false},
    {"add before", ADD_BEFORE, false},
    {"add behind", ADD_BEHIND, true},
    {"strip p2p_role", STRIP_ROLE, false},
    {"rewrite the value", REWRITE_VALUE, false},
    {"drop and send later", DROP_AND_REPEAT_LATER, false},
};

static void try_attack(size_t i, enum target target, const struct identity *id, const struct forced_value *stranger,
                       bool b_speaks)
{
    struct attacker x = {.target = target, .attack = attacks[i].attack};

    record_stranger(&x, id, stranger);
    struct pair_of_sides *pair = pair_under(&x, id, b_speaks);
    pair_run(pair);
    assert_true(x.done);
    assert_false(both_done(pair));
    if (!(attacks[i].client_may_finish && target == OF_A))
        assert_neither_done(pair, attacks[i].name, target);
    assert_int_not_equal(handshake_state(pair->b.hs), RESULT_OK); /* the server, never */
    sides_free(pair);
}

static void no_rearrangement_of_hellos_gets_a_connection_through(void **state)
{
    static const struct forced_value *const strangers[] = {&low, &middle, &high};

    (void)state;
    for (size_t i = 0; i < sizeof attacks / sizeof attacks[0]; i++)
        for (size_t k = 0; k < 3; k++) {
            try_attack(i, OF_A, psk, strangers[k], true);
            try_attack(i, OF_B, psk, strangers[k], true);
            try_attack(i, OF_A, user, strangers[k], true);
            try_attack(i, OF_B, user, strangers[k], true);
        }
}

/* The acceptor waits and has sent nothing; the attacker speaks for it. */
static void a_hello_injected_for_a_silent_server_is_found(void **state)
{
    static const struct forced_value *const strangers[] = {&middle, &high};

    (void)state;
    for (size_t k = 0; k < 2; k++) {
        struct attacker x = {0};
        struct handshake_config a = speaker(psk, &low), b = speaker(psk, &high);
        b.speaks_first = false;
        record_stranger(&x, psk, strangers[k]);
        struct pair_of_sides *pair = pair_new(a, b);
        wire_add(&pair->a.in, x.stranger, x.stranger_len);
        pair_run(pair);
        assert_refused(pair->a.hs, RESULT_PROTOCOL, "not the one that it sent");
        assert_refused(pair->b.hs, RESULT_PROTOCOL, "illegal_parameter");
        sides_free(pair);
    }
}

static void a_dropped_discarded_hello_is_found_by_the_echo(void **state)
{
    struct attacker x = {.target = OF_B, .attack = DROP};
    struct pair_of_sides *pair = pair_under(&x, psk, true);

    (void)state;
    pair_run(pair);
    assert_refused(pair->a.hs, RESULT_PROTOCOL, "none came");
    assert_refused(pair->b.hs, RESULT_PROTOCOL, "illegal_parameter");
    sides_free(pair);
}

static void a_changed_discarded_hello_is_found_by_the_echo(void **state)
{
    struct attacker x = {.target = OF_B, .attack = FLIP_BIT, .at_byte = RECORD_HEADER + 4 + 2}; /* of the random */
    struct pair_of_sides *pair = pair_under(&x, psk, true);

    (void)state;
    pair_run(pair);
    assert_refused(pair->a.hs, RESULT_PROTOCOL, "not the one that it sent");
    assert_refused(pair->b.hs, RESULT_PROTOCOL, "illegal_parameter");
    sides_free(pair);
}

static void the_value_cannot_be_taken_out_of_a_second_hello(void **state)
{
    struct attacker x = {.target = OF_A, .attack = STRIP_ROLE, .skip = 1};
    struct handshake_config a = speaker(psk, &low), b = speaker(psk, &high);

    (void)state;
    b.server_ciphers = "+AES-128-GCM:-GROUP-X25519"; /* of which a sends no share: HelloRetryRequest */
    struct pair_of_sides *pair = pair_new(a, b);
    pair->relay = relay_attacked;
    pair->ctx = &x;
    pair_run(pair);
    assert_true(x.done);
    assert_refused(pair->b.hs, RESULT_PROTOCOL, "another value");
    assert_refused(pair->a.hs, RESULT_PROTOCOL, "illegal_parameter");
    sides_free(pair);
}

static void a_connection_that_leads_back_to_itself_is_refused(void **state)
{
    struct handshake *hs = make_handshake(speaker(psk, &middle));
    uint8_t hello[2048];
    size_t len;

    (void)state;
    const uint8_t *out = handshake_output(hs, &len);
    memcpy(hello, out, len);
    handshake_sent(hs, len);
    assert_int_equal(handshake_feed(hs, hello, RECORD_HEADER), RESULT_AGAIN);
    assert_int_equal(handshake_feed(hs, hello + RECORD_HEADER, len - RECORD_HEADER), RESULT_PROTOCOL);
    assert_refused(hs, RESULT_PROTOCOL, "leads back to itself");
    handshake_free(hs);
}

/* The sender of all ones is never client, whatever it is answered. */
static void a_server_hello_for_a_server_is_unexpected(void **state)
{
    static const uint8_t server_hello[] = {RECORD_HANDSHAKE, 3, 3, 0, 4, GNUTLS_HANDSHAKE_SERVER_HELLO, 0, 0, 40};
    static const uint8_t alert[] = {RECORD_ALERT, 3, 3, 0, 2, 2, 10};
    struct handshake_config config = {.effective = ROLE_SERVER, .speaks_first = true, .identity = psk};
    struct handshake *hs = make_handshake(config);
    size_t len;

    (void)state;
    handshake_output(hs, &len);
    handshake_sent(hs, len);
    assert_int_equal(handshake_feed(hs, server_hello, RECORD_HEADER), RESULT_AGAIN);
    assert_int_equal(handshake_feed(hs, server_hello + RECORD_HEADER, 4), RESULT_PROTOCOL);
    assert_refused(hs, RESULT_PROTOCOL, "role=server");
    assert_memory_equal(handshake_output(hs, &len), alert, sizeof alert);
    handshake_free(hs);
}

static int setup(void **state)
{
    if (folder_make(state) != 0)
        return -1;
    psk = load_psk("psk", PSK_ALICE);
    user = load_user("user");
    return 0;
}

static int teardown(void **state)
{
    identity_unref(psk);
    identity_unref(user);
    return folder_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_bit_of_the_winning_hello_can_be_flipped),
        cmocka_unit_test(no_bit_of_the_discarded_hello_can_be_flipped),
        cmocka_unit_test(of_the_record_header_only_the_version_may_change_and_to_a_usual_one_only),
        cmocka_unit_test(no_rearrangement_of_hellos_gets_a_connection_through),
        cmocka_unit_test(a_hello_injected_for_a_silent_server_is_found),
        cmocka_unit_test(a_dropped_discarded_hello_is_found_by_the_echo),
        cmocka_unit_test(a_changed_discarded_hello_is_found_by_the_echo),
        cmocka_unit_test(the_value_cannot_be_taken_out_of_a_second_hello),
        cmocka_unit_test(a_connection_that_leads_back_to_itself_is_refused),
        cmocka_unit_test(a_server_hello_for_a_server_is_unexpected),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
