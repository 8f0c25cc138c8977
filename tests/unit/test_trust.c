/* Trust expressions: what parses, where an error is, and what holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "trust.h"

#include <stdio.h>
#include <string.h>

enum { ALL_FACTS = 64 };

static struct trust_expression parse(const char *text)
{
    struct trust_expression e;
    size_t bad_at = 0;
    const char *expected = "";

    if (trust_parse(text, strlen(text), &e, &bad_at, &expected) != RESULT_OK)
        fail_msg("%s: at %zu expected %s", text, bad_at, expected);
    return e;
}

static void parse_fails(const char *text, size_t at, const char *part)
{
    struct trust_expression e;
    size_t bad_at = 999;
    const char *expected = "";

    assert_int_equal(trust_parse(text, strlen(text), &e, &bad_at, &expected), RESULT_CONFIG);
    if (bad_at != at || !strstr(expected, part))
        fail_msg("%s: expected an error at %zu with: %s\nfound: at %zu: %s", text, at, part, bad_at, expected);
    for (unsigned facts = 0; facts < ALL_FACTS; facts++)
        assert_false(trust_evaluate(&e, facts));
}

/* C's own operators say what each expression means, for every set of facts. */
#define HOLDS_EXACTLY(text, condition)                                                                                 \
    do {                                                                                                               \
        struct trust_expression e_ = parse(text);                                                                      \
        for (unsigned f = 0; f < ALL_FACTS; f++) {                                                                     \
            const bool ca = f & TRUST_CA, pinned = f & TRUST_PINNED, known = f & TRUST_KNOWN, dane = f & TRUST_DANE,   \
                       revoked = f & TRUST_REVOKED, own = f & TRUST_OWN;                                               \
            (void)ca, (void)pinned, (void)known, (void)dane, (void)revoked, (void)own;                                 \
            if (trust_evaluate(&e_, f) != (condition))                                                                 \
                fail_msg("%s with facts %u", text, f);                                                                 \
        }                                                                                                              \
    } while (0)

static void expressions_mean_what_their_words_say(void **state)
{
    (void)state;
    HOLDS_EXACTLY("ca", ca);
    HOLDS_EXACTLY("own", own);
    HOLDS_EXACTLY("known", known);
    HOLDS_EXACTLY("dane", dane);
    HOLDS_EXACTLY("(ca and not revoked) or pinned", (ca && !revoked) || pinned);
    HOLDS_EXACTLY("ca and (not revoked or pinned)", ca && (!revoked || pinned));
    HOLDS_EXACTLY("ca and not revoked or pinned", (ca && !revoked) || pinned);
    HOLDS_EXACTLY("pinned or ca and known or dane", pinned || (ca && known) || dane);
    HOLDS_EXACTLY("(pinned or ca)and(known or dane)and(own)", (pinned || ca) && (known || dane) && own);
    HOLDS_EXACTLY("  ((ca))\t", ca);
}

static void the_terms_that_occur_are_told(void **state)
{
    (void)state;
    assert_int_equal(parse("(ca and not revoked) or pinned").terms, TRUST_CA | TRUST_REVOKED | TRUST_PINNED);
    assert_int_equal(parse("known or dane or own").terms, TRUST_KNOWN | TRUST_DANE | TRUST_OWN);
}

static void an_error_is_shown_where_it_is(void **state)
{
    (void)state;
    parse_fails("", 0, "ca, pinned");
    parse_fails("   ", 3, "ca, pinned");
    parse_fails("ca or", 5, "ca, pinned");
    parse_fails("ca pinned", 3, "'and', 'or' or the end");
    parse_fails("ca and pined", 7, "pinned");
    parse_fails("cat", 0, "ca, pinned");
    parse_fails("CA", 0, "ca, pinned");
    parse_fails("ca and revoked", 7, "not revoked");
    parse_fails("not ca", 4, "'revoked'");
    parse_fails("not (ca)", 4, "'revoked'");
    parse_fails("(ca or pinned", 13, "')'");
    parse_fails("ca)", 2, "the end");
    parse_fails("()", 1, "ca, pinned");
    parse_fails("ca && pinned", 3, "'and'");
}

static void a_byte_zero_is_no_blank(void **state)
{
    struct trust_expression e;
    size_t bad_at;
    const char *expected;

    (void)state;
    assert_int_equal(trust_parse("ca\0or own", 9, &e, &bad_at, &expected), RESULT_CONFIG);
    assert_int_equal(trust_parse("ca \0", 4, &e, &bad_at, &expected), RESULT_CONFIG);
    assert_int_equal(bad_at, 3);
}

static void what_would_trust_strangers_is_refused(void **state)
{
    (void)state;
    parse_fails("not revoked", 11, "who the peer is");
    parse_fails("ca or not revoked", 17, "who the peer is");
    parse_fails("not revoked and (pinned or not revoked)", 39, "who the peer is");
}

/* n times before, the middle, n times after. */
static void repeat(char *out, size_t room, size_t n, const char *before, const char *middle, const char *after)
{
    size_t at = 0;

    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(out + at, room - at, "%s", before);
    at += (size_t)snprintf(out + at, room - at, "%s", middle);
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(out + at, room - at, "%s", after);
    assert_true(at < room);
}

static void length_and_depth_are_bounded(void **state)
{
    char text[2000];

    (void)state;
    repeat(text, sizeof text, TRUST_DEPTH_MAX, "(", "ca", ")");
    parse(text);
    repeat(text, sizeof text, TRUST_DEPTH_MAX + 1, "(", "ca", ")");
    parse_fails(text, TRUST_DEPTH_MAX + 1, "parentheses");
    repeat(text, sizeof text, TRUST_OPS_MAX / 2 - 1, "ca or ", "ca", "");
    parse(text);
    repeat(text, sizeof text, TRUST_OPS_MAX / 2, "ca or ", "ca", "");
    parse_fails(text, strlen(text), "shorter");
}

static void without_an_expression_all_that_is_given_must_hold(void **state)
{
    (void)state;
    for (unsigned given = 0; given < ALL_FACTS; given++) {
        struct trust_expression e;
        const unsigned wanted = given & ~(unsigned)TRUST_REVOKED;
        trust_default(given, &e);
        for (unsigned facts = 0; facts < ALL_FACTS; facts++) {
            const bool refused = given & TRUST_REVOKED && facts & TRUST_REVOKED;
            assert_int_equal(trust_evaluate(&e, facts), wanted && (facts & wanted) == wanted && !refused);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expressions_mean_what_their_words_say),
        cmocka_unit_test(the_terms_that_occur_are_told),
        cmocka_unit_test(an_error_is_shown_where_it_is),
        cmocka_unit_test(a_byte_zero_is_no_blank),
        cmocka_unit_test(what_would_trust_strangers_is_refused),
        cmocka_unit_test(length_and_depth_are_bounded),
        cmocka_unit_test(without_an_expression_all_that_is_given_must_hold),
    };

    return cmocka_run_group_tests_name("trust", tests, NULL, NULL);
}
