/* The tie-breaker: drawing of values, and the judgement re-derived from the rules in plain language. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "role.h"

#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

/* A random source that gives prepared blocks, the last one again and again, and counts. */
struct script {
    const struct role_value *blocks;
    size_t count, calls;
    bool fails;
};

static bool script_fill(void *ctx, uint8_t *out, size_t n)
{
    struct script *s = ctx;
    assert_int_equal(n, ROLE_VALUE_BYTES);
    size_t i = s->calls < s->count ? s->calls : s->count - 1;
    s->calls++;
    if (!s->fails)
        memcpy(out, s->blocks[i].bytes, n);
    return !s->fails;
}

static bool xorshift_fill(void *ctx, uint8_t *out, size_t n)
{
    uint64_t *x = ctx;
    for (size_t i = 0; i < n; i++) {
        *x ^= *x << 13;
        *x ^= *x >> 7;
        *x ^= *x << 17;
        out[i] = (uint8_t)(*x >> 24);
    }
    return true;
}

static struct role_value all(uint8_t byte)
{
    struct role_value v;
    memset(v.bytes, byte, sizeof v.bytes);
    return v;
}

static struct role_value with(struct role_value v, size_t at, uint8_t byte)
{
    v.bytes[at] = byte;
    return v;
}

static void effective_set_is_local_cut_by_the_mirror_of_remote(void **state)
{
    static const enum role_set table[4][4] = {
        /* remote:      none       client       server       peer */
        [ROLE_NONE] = {ROLE_NONE, ROLE_NONE, ROLE_NONE, ROLE_NONE},
        [ROLE_CLIENT] = {ROLE_NONE, ROLE_NONE, ROLE_CLIENT, ROLE_CLIENT},
        [ROLE_SERVER] = {ROLE_NONE, ROLE_SERVER, ROLE_NONE, ROLE_SERVER},
        [ROLE_PEER] = {ROLE_NONE, ROLE_SERVER, ROLE_CLIENT, ROLE_PEER},
    };
    (void)state;
    for (int local = 0; local < 4; local++)
        for (int remote = 0; remote < 4; remote++)
            assert_int_equal(role_effective((enum role_set)local, (enum role_set)remote), table[local][remote]);
}

static void fixed_roles_draw_the_reserved_values_without_randomness(void **state)
{
    struct role_value v, any = all(0x42);
    struct script s = {&any, 1, 0, true};
    struct random_source source = {script_fill, &s};
    (void)state;
    for (int prefer = PREFER_NONE; prefer <= PREFER_SERVER; prefer++) {
        assert_int_equal(role_draw(ROLE_CLIENT, (enum role_prefer)prefer, source, &v), RESULT_OK);
        assert_true(role_value_is_min(&v) && !role_value_is_max(&v));
        assert_int_equal(role_draw(ROLE_SERVER, (enum role_prefer)prefer, source, &v), RESULT_OK);
        assert_true(role_value_is_max(&v) && !role_value_is_min(&v));
        assert_int_equal(role_draw(ROLE_NONE, (enum role_prefer)prefer, source, &v), RESULT_CONFIG);
    }
    assert_int_equal(s.calls, 0);
}

static void a_peer_takes_the_random_value_as_it_is(void **state)
{
    struct role_value v, first = with(all(0x42), 15, 1);
    struct script s = {&first, 1, 0, false};
    (void)state;
    assert_int_equal(role_draw(ROLE_PEER, PREFER_NONE, (struct random_source){script_fill, &s}, &v), RESULT_OK);
    assert_memory_equal(v.bytes, first.bytes, sizeof v.bytes);
    assert_int_equal(s.calls, 1);
}

static void reserved_values_are_drawn_again(void **state)
{
    (void)state;
    const struct role_value last = with(all(0), 15, 1);
    const struct {
        enum role_prefer prefer;
        struct role_value blocks[3];
        size_t expected_calls;
        struct role_value expected;
    } table[] = {
        {PREFER_NONE, {all(0), all(0xff), last}, 3, last},
        {PREFER_NONE, {all(0xff), with(all(0xff), 15, 0xfe), last}, 2, with(all(0xff), 15, 0xfe)},
        /* The forced byte must not make a reserved value out of a free one ... */
        {PREFER_CLIENT, {with(all(0), 0, 5), all(0), last}, 3, last},
        {PREFER_SERVER, {with(all(0xff), 0, 5), all(0xff), all(7)}, 3, with(all(7), 0, 0xff)},
        /* ... and saves one that would have been reserved. */
        {PREFER_CLIENT, {all(0xff), last, last}, 1, with(all(0xff), 0, 0)},
        {PREFER_SERVER, {all(0), last, last}, 1, with(all(0), 0, 0xff)},
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        struct role_value v;
        struct script s = {table[i].blocks, 3, 0, false};
        struct random_source source = {script_fill, &s};
        assert_int_equal(role_draw(ROLE_PEER, table[i].prefer, source, &v), RESULT_OK);
        assert_int_equal(s.calls, table[i].expected_calls);
        assert_memory_equal(v.bytes, table[i].expected.bytes, sizeof v.bytes);
    }
}

static void a_failing_or_stuck_source_is_an_error(void **state)
{
    struct role_value v, zero = all(0);
    struct script failing = {&zero, 1, 0, true}, stuck = {&zero, 1, 0, false};
    (void)state;
    assert_int_equal(role_draw(ROLE_PEER, PREFER_NONE, (struct random_source){script_fill, &failing}, &v), RESULT_IO);
    assert_int_equal(failing.calls, 1);
    assert_int_equal(role_draw(ROLE_PEER, PREFER_NONE, (struct random_source){script_fill, &stuck}, &v), RESULT_IO);
}

/* The generator is fixed, so these numbers do not change from run to run: 8 sigma of a fair coin over 4,096 draws. */
static void every_free_bit_of_the_values_is_a_fair_coin(void **state)
{
    enum { DRAWS = 4096, SLACK = 256 };
    (void)state;
    for (int prefer = PREFER_NONE; prefer <= PREFER_SERVER; prefer++) {
        uint64_t x = 88172645463325252;
        unsigned ones[ROLE_VALUE_BYTES * 8] = {0};
        for (int i = 0; i < DRAWS; i++) {
            struct role_value v;
            struct random_source source = {xorshift_fill, &x};
            assert_int_equal(role_draw(ROLE_PEER, (enum role_prefer)prefer, source, &v), RESULT_OK);
            assert_false(role_value_is_min(&v) || role_value_is_max(&v));
            if (prefer != PREFER_NONE)
                assert_int_equal(v.bytes[0], prefer == PREFER_SERVER ? 0xff : 0x00);
            for (size_t bit = 0; bit < COUNT(ones); bit++)
                ones[bit] += v.bytes[bit / 8] >> (bit % 8) & 1;
        }
        for (size_t bit = prefer == PREFER_NONE ? 0 : 8; bit < COUNT(ones); bit++)
            assert_in_range(ones[bit], DRAWS / 2 - SLACK, DRAWS / 2 + SLACK);
    }
}

static void values_compare_as_big_endian_numbers(void **state)
{
    (void)state;
    const struct role_value rising[] = {all(0),
                                        with(all(0), 15, 1),
                                        with(all(0), 15, 0xff),
                                        with(all(0), 14, 1),
                                        with(all(0), 0, 1),
                                        all(0x7f),
                                        with(all(0x80), 15, 0x7f),
                                        with(all(0xff), 15, 0xfe),
                                        all(0xff)};
    for (size_t i = 0; i < COUNT(rising); i++)
        for (size_t j = 0; j < COUNT(rising); j++) {
            int order = role_value_compare(&rising[i], &rising[j]);
            assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
        }
}

/* What the other's hello carries, as the rules speak of it. BETWEEN_x: neither reserved value, compared with ours. */
enum theirs { ABSENT, ALL_ZERO, ALL_ONES, BETWEEN_LOWER, BETWEEN_EQUAL, BETWEEN_HIGHER, THEIRS_KINDS };

enum { NO, YES, EITHER };

#define R OUTCOME_REFUSE
#define C OUTCOME_CLIENT
#define S OUTCOME_SERVER
#define H OUTCOME_SEND_HELLO

static const struct rule {
    const char *words;
    enum role_set set;
    int sent, waits;
    enum role_outcome outcome[THEIRS_KINDS]; /* absent, zero, ones, lower, equal, higher */
} rules[] = {
    {"a client that has sent is client of everything above zero", ROLE_CLIENT, YES, EITHER, {R, R, C, C, C, C}},
    {"a client that waits answers a value above zero with its hello; refuses zero and none",
     ROLE_CLIENT,
     NO,
     YES,
     {R, R, H, H, H, H}},
    {"a client about to speak does the same", ROLE_CLIENT, NO, NO, {R, R, H, H, H, H}},
    {"a server that has sent refuses servers, and hellos that do not know of the tie-breaker",
     ROLE_SERVER,
     YES,
     EITHER,
     {R, S, R, S, S, S}},
    {"a server that waits takes conventional clients too", ROLE_SERVER, NO, YES, {S, S, R, S, S, S}},
    {"a server about to speak refuses hellos without the extension", ROLE_SERVER, NO, NO, {R, S, R, S, S, S}},
    {"a peer that has sent is what the comparison says", ROLE_PEER, YES, EITHER, {R, S, C, S, R, C}},
    {"a peer told to wait becomes server, or client if all ones come", ROLE_PEER, NO, YES, {S, S, H, S, S, S}},
    {"a peer about to speak is what the comparison says, and sends only if it will be client",
     ROLE_PEER,
     NO,
     NO,
     {R, S, H, S, R, H}},
};

static enum theirs classify(const struct role_value *own, const struct role_value *theirs)
{
    if (!theirs)
        return ABSENT;
    if (role_value_is_min(theirs))
        return ALL_ZERO;
    if (role_value_is_max(theirs))
        return ALL_ONES;
    int order = role_value_compare(theirs, own);
    return order < 0 ? BETWEEN_LOWER : order > 0 ? BETWEEN_HIGHER : BETWEEN_EQUAL;
}

static const struct rule *rule_for(enum role_set set, bool sent, bool waits)
{
    const struct rule *found = NULL;
    for (size_t i = 0; i < COUNT(rules); i++)
        if (rules[i].set == set && (rules[i].sent == EITHER || rules[i].sent == sent) &&
            (rules[i].waits == EITHER || rules[i].waits == waits)) {
            assert_null(found); /* the rules do not overlap */
            found = &rules[i];
        }
    assert_non_null(found); /* and leave nothing out */
    return found;
}

/* The reserved values, their neighbours, and a middle with its neighbours. */
static size_t interesting(struct role_value out[8])
{
    size_t n = 0;
    out[n++] = all(0);
    out[n++] = with(all(0), 15, 1);
    out[n++] = with(all(0x80), 15, 0x7f);
    out[n++] = all(0x80);
    out[n++] = with(all(0x80), 15, 0x81);
    out[n++] = with(all(0xff), 0, 0xfe);
    out[n++] = with(all(0xff), 15, 0xfe);
    out[n++] = all(0xff);
    return n;
}

static bool may_hold(enum role_set set, const struct role_value *v)
{
    if (set == ROLE_PEER)
        return !role_value_is_min(v) && !role_value_is_max(v);
    return set == ROLE_CLIENT ? role_value_is_min(v) : role_value_is_max(v);
}

static void judgement_follows_the_rules_in_every_situation(void **state)
{
    struct role_value values[8];
    size_t n = interesting(values), judged = 0;
    (void)state;
    for (int set = ROLE_CLIENT; set <= ROLE_PEER; set++)
        for (int flags = 0; flags < 4; flags++)
            for (size_t own = 0; own < n; own++)
                for (size_t theirs = 0; theirs <= n; theirs++) {
                    const struct role_value *other = theirs < n ? &values[theirs] : NULL;
                    bool sent = flags & 1, waits = flags & 2;
                    if (!may_hold((enum role_set)set, &values[own]))
                        continue;
                    const struct rule *rule = rule_for((enum role_set)set, sent, waits);
                    enum role_outcome got = role_judge((enum role_set)set, &values[own], sent, waits, other);
                    enum theirs kind = classify(&values[own], other);
                    if (got != rule->outcome[kind])
                        fail_msg("%s: own %zu, theirs %zu: expected %d, got %d", rule->words, own, theirs,
                                 rule->outcome[kind], got);
                    judged++;
                }
    assert_int_equal(judged, (1 + 1 + 6) * 4 * 9);
}

static void two_sides_that_both_sent_always_agree(void **state)
{
    struct role_value values[8];
    size_t n = interesting(values), connected = 0;
    (void)state;
    for (int a = ROLE_CLIENT; a <= ROLE_PEER; a++)
        for (int b = ROLE_CLIENT; b <= ROLE_PEER; b++)
            for (size_t i = 0; i < n; i++)
                for (size_t j = 0; j < n; j++) {
                    if (!may_hold((enum role_set)a, &values[i]) || !may_hold((enum role_set)b, &values[j]))
                        continue;
                    enum role_outcome at_a = role_judge((enum role_set)a, &values[i], true, false, &values[j]);
                    enum role_outcome at_b = role_judge((enum role_set)b, &values[j], true, false, &values[i]);
                    bool equal = role_value_compare(&values[i], &values[j]) == 0;
                    assert_int_equal(at_a == OUTCOME_REFUSE, equal);
                    assert_int_equal(at_b == OUTCOME_REFUSE, equal);
                    if (!equal)
                        assert_int_equal(at_a == OUTCOME_CLIENT ? OUTCOME_SERVER : OUTCOME_CLIENT, at_b);
                    connected += !equal;
                }
    assert_int_equal(connected, 8 * 8 - 8);
}

/* Values that role_draw never gives to a set: broken callers and hostile memory must not turn the rules around. */
static void reserved_values_bind_whatever_the_set_says(void **state)
{
    struct role_value values[8];
    size_t n = interesting(values);
    (void)state;
    for (int set = ROLE_NONE; set <= ROLE_PEER; set++)
        for (int flags = 0; flags < 4; flags++)
            for (size_t own = 0; own < n; own++)
                for (size_t theirs = 0; theirs <= n; theirs++) {
                    enum role_outcome got = role_judge((enum role_set)set, &values[own], flags & 1, flags & 2,
                                                       theirs < n ? &values[theirs] : NULL);
                    bool client = got == OUTCOME_CLIENT || got == OUTCOME_SEND_HELLO;
                    if (client)
                        assert_true((set & ROLE_CLIENT) && !role_value_is_max(&values[own]));
                    if (got == OUTCOME_SERVER)
                        assert_true((set & ROLE_SERVER) && !role_value_is_min(&values[own]));
                    assert_int_equal(got == OUTCOME_CLIENT, client && (flags & 1));
                }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(effective_set_is_local_cut_by_the_mirror_of_remote),
        cmocka_unit_test(fixed_roles_draw_the_reserved_values_without_randomness),
        cmocka_unit_test(a_peer_takes_the_random_value_as_it_is),
        cmocka_unit_test(reserved_values_are_drawn_again),
        cmocka_unit_test(a_failing_or_stuck_source_is_an_error),
        cmocka_unit_test(every_free_bit_of_the_values_is_a_fair_coin),
        cmocka_unit_test(values_compare_as_big_endian_numbers),
        cmocka_unit_test(judgement_follows_the_rules_in_every_situation),
        cmocka_unit_test(two_sides_that_both_sent_always_agree),
        cmocka_unit_test(reserved_values_bind_whatever_the_set_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
