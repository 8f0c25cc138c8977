/* Which rule an address meets, and what a socket could meet before its address is known. */
#include "policy_help.h"

#include <errno.h>
#include <sys/un.h>

static void the_first_rule_that_matches_wins(void **state)
{
    struct policy *p = parse("connect 10.0.0.0/8:80 plain; connect 10.1.0.0/16:*; any *:80 deny; accept *:80");
    (void)state;
    assert_int_equal(match(p, POLICY_CONNECT, "10.1.2.3", 80), 1);
    assert_int_equal(match(p, POLICY_CONNECT, "10.1.2.3", 81), 2);
    assert_int_equal(match(p, POLICY_CONNECT, "11.1.2.3", 80), 3);
    assert_int_equal(match(p, POLICY_CONNECT, "11.1.2.3", 81), 0);
    assert_int_equal(match(p, POLICY_ACCEPT, "10.1.2.3", 80), 3);
    assert_int_equal(match(p, POLICY_ACCEPT, "10.1.2.3", 81), 0);
    policy_free(p);
}

static void directions_are_kept_apart_and_any_is_both(void **state)
{
    static const struct {
        const char *text;
        size_t connect, accept;
    } table[] = {{"connect *:1", 1, 0}, {"accept *:1", 0, 1}, {"any *:1", 1, 1}};
    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        struct policy *p = parse(table[i].text);
        assert_int_equal(match(p, POLICY_CONNECT, "10.0.0.1", 1), table[i].connect);
        assert_int_equal(match(p, POLICY_ACCEPT, "10.0.0.1", 1), table[i].accept);
        policy_free(p);
    }
}

/* Each target with an address just inside and one just outside. */
static void targets_match_up_to_their_edges(void **state)
{
    static const struct {
        const char *target, *address;
        uint16_t port;
        bool matches;
    } table[] = {
        {"10.0.0.0/8:*", "10.0.0.0", 1, true},
        {"10.0.0.0/8:*", "10.255.255.255", 65535, true},
        {"10.0.0.0/8:*", "9.255.255.255", 1, false},
        {"10.0.0.0/8:*", "11.0.0.0", 1, false},
        {"10.128.0.0/9:*", "10.128.0.0", 1, true},
        {"10.128.0.0/9:*", "10.127.255.255", 1, false},
        {"192.0.2.254/31:*", "192.0.2.255", 1, true},
        {"192.0.2.254/31:*", "192.0.2.253", 1, false},
        {"192.0.2.1:*", "192.0.2.1", 1, true},
        {"192.0.2.1:*", "192.0.2.0", 1, false},
        {"192.0.2.1/32:*", "192.0.2.2", 1, false},
        {"0.0.0.0/0:*", "255.255.255.255", 1, true},
        {"0.0.0.0/0:*", "2001:db8::1", 1, false},
        {"128.0.0.0/1:*", "128.0.0.0", 1, true},
        {"128.0.0.0/1:*", "127.255.255.255", 1, false},
        {"[fe80::]/10:*", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 1, true},
        {"[fe80::]/10:*", "fec0::", 1, false},
        {"[fe80::/10]:*", "fe80::1", 1, true},
        {"[fe80::/10]:*", "fe7f::", 1, false},
        {"[2001:db8::fffe/127]:*", "2001:db8::ffff", 1, true},
        {"[2001:db8::fffe/127]:*", "2001:db8::fffd", 1, false},
        {"[::1]:*", "::1", 1, true},
        {"[::1]:*", "::2", 1, false},
        {"[::]/0:*", "2001:db8::1", 1, true},
        {"[::]/0:*", "10.0.0.1", 1, false},
        {"[::]/0:*", "::ffff:10.0.0.1", 1, false},
        {"*:*", "10.0.0.1", 1, true},
        {"*:*", "2001:db8::1", 65535, true},
        {"*:*", "10.0.0.1", 0, true},
        {"*:1-65535", "10.0.0.1", 0, false},
        {"*:443", "10.0.0.1", 443, true},
        {"*:443", "10.0.0.1", 442, false},
        {"*:443", "10.0.0.1", 444, false},
        {"*:7000-7100", "::1", 7000, true},
        {"*:7000-7100", "::1", 7100, true},
        {"*:7000-7100", "::1", 6999, false},
        {"*:7000-7100", "::1", 7101, false},
        {"*:65535", "::1", 65535, true},
        {"*:7-7", "::1", 7, true},
        {"10.0.0.1:1,[::1]:2 , *:3", "10.0.0.1", 1, true},
        {"10.0.0.1:1,[::1]:2 , *:3", "::1", 2, true},
        {"10.0.0.1:1,[::1]:2 , *:3", "::1", 1, false},
        {"10.0.0.1:1,[::1]:2 , *:3", "8.8.8.8", 3, true},
    };
    char text[100];
    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        snprintf(text, sizeof text, "any %s", table[i].target);
        struct policy *p = parse(text);
        if (match(p, POLICY_ACCEPT, table[i].address, table[i].port) != table[i].matches)
            fail_msg("%s and %s port %u", text, table[i].address, table[i].port);
        assert_int_equal(match(p, POLICY_CONNECT, table[i].address, table[i].port), table[i].matches);
        policy_free(p);
    }
}

static void mapped_addresses_are_ipv4_in_rules_and_in_sockets(void **state)
{
    static const char *const same[] = {"10.0.0.0/8:1", "[::ffff:10.0.0.0]/104:1", "[::ffff:a00:0/104]:1"};
    char text[100];
    (void)state;
    for (size_t i = 0; i < COUNT(same); i++) {
        snprintf(text, sizeof text, "any %s", same[i]);
        struct policy *p = parse(text);
        assert_int_equal(match(p, POLICY_ACCEPT, "10.255.0.1", 1), 1);
        assert_int_equal(match(p, POLICY_ACCEPT, "::ffff:10.255.0.1", 1), 1);
        assert_int_equal(match(p, POLICY_ACCEPT, "::ffff:11.0.0.1", 1), 0);
        assert_int_equal(match(p, POLICY_ACCEPT, "::10.255.0.1", 1), 0);
        policy_free(p);
    }
    struct policy *p = parse("any [::ffff:0:0]/96:1");
    assert_int_equal(match(p, POLICY_ACCEPT, "8.8.8.8", 1), 1);
    assert_int_equal(match(p, POLICY_ACCEPT, "2001:db8::1", 1), 0);
    policy_free(p);
}

/* The kernel connects 0.0.0.0 and :: to the own host: a rule for loopback must not be passed by that way. */
static void to_dial_the_wildcard_address_is_to_dial_loopback(void **state)
{
    struct policy *p = parse("any 127.0.0.0/8:1 deny; any [::1]:1");
    (void)state;
    assert_int_equal(match(p, POLICY_CONNECT, "0.0.0.0", 1), 1);
    assert_int_equal(match(p, POLICY_CONNECT, "::ffff:0.0.0.0", 1), 1);
    assert_int_equal(match(p, POLICY_CONNECT, "::", 1), 2);
    assert_int_equal(match(p, POLICY_CONNECT, "::", 2), 0);
    assert_int_equal(match(p, POLICY_ACCEPT, "0.0.0.0", 1), 0);
    assert_int_equal(match(p, POLICY_ACCEPT, "::", 1), 0);
    policy_free(p);
}

static void other_families_and_short_addresses_never_match(void **state)
{
    struct policy *p = parse("any *:*");
    struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "/tmp/some.socket"};
    struct address in = address_of("10.0.0.1", 1), in6 = address_of("2001:db8::1", 1);
    const socklen_t without_scope = offsetof(struct sockaddr_in6, sin6_scope_id);
    (void)state;
    assert_null(match_address(p, POLICY_CONNECT, (struct sockaddr *)&un, sizeof un));
    assert_null(match_address(p, POLICY_CONNECT, NULL, 0));
    assert_null(match_address(p, POLICY_CONNECT, NULL, sizeof in.in));
    for (socklen_t len = 0; len < sizeof in.in; len++)
        assert_null(match_address(p, POLICY_CONNECT, &in.any, len));
    assert_non_null(match_address(p, POLICY_CONNECT, &in.any, sizeof in.in));
    for (socklen_t len = 0; len < without_scope; len++)
        assert_null(match_address(p, POLICY_CONNECT, &in6.any, len));
    /* The kernel takes this one (SIN6_LEN_RFC2133), so it has to match. */
    assert_non_null(match_address(p, POLICY_CONNECT, &in6.any, without_scope));
    in.in.sin_family = AF_UNSPEC;
    assert_null(match_address(p, POLICY_CONNECT, &in.any, sizeof in.in));
    assert_false(policy_could_match(p, POLICY_ACCEPT, (struct sockaddr *)&un, sizeof un));
    assert_false(policy_could_match(p, POLICY_ACCEPT, NULL, 0));
    policy_free(p);
}

static void an_unaligned_address_is_read_as_any_other_and_errno_is_left_alone(void **state)
{
    struct policy *p = parse("any 10.0.0.1:1");
    struct address in = address_of("10.0.0.1", 1);
    char bytes[sizeof in.in + 1];
    (void)state;
    memcpy(bytes + 1, &in.in, sizeof in.in);
    errno = EXDEV;
    assert_ptr_equal(match_address(p, POLICY_CONNECT, (struct sockaddr *)(void *)(bytes + 1), sizeof in.in),
                     policy_rule_at(p, 0));
    assert_int_equal(errno, EXDEV);
    policy_free(p);
}

static void a_partly_known_address_could_match_what_any_of_its_completions_matches(void **state)
{
    static const struct {
        const char *text, *address;
        uint16_t port;
        bool could;
    } table[] = {
        {"accept *:80", "10.0.0.1", 80, true},
        {"accept *:80", "10.0.0.1", 81, false},
        {"accept *:80", "10.0.0.1", 0, true},
        {"connect *:80", "10.0.0.1", 80, false},
        {"any *:80", "10.0.0.1", 80, true},
        {"accept 10.0.0.1:80", "0.0.0.0", 80, true},
        {"accept 10.0.0.1:80", "0.0.0.0", 81, false},
        {"accept 10.0.0.1:80", "0.0.0.0", 0, true},
        {"accept 10.0.0.1:80", "::", 80, true}, /* dual stack */
        {"accept 10.0.0.1:80", "::", 81, false},
        {"accept 10.0.0.1:80", "::ffff:0.0.0.0", 80, true},
        {"accept 10.0.0.1:80", "::ffff:10.0.0.1", 80, true},
        {"accept 10.0.0.1:80", "10.0.0.2", 80, false},
        {"accept [::1]:80", "::", 80, true},
        {"accept [::1]:80", "0.0.0.0", 80, false},
        {"accept [::1]:80", "::2", 80, false},
        {"accept *:80 deny", "10.0.0.1", 80, true},
        {"accept *:80 plain", "10.0.0.1", 80, false},
        {"accept *:80 plain; accept *:*", "10.0.0.1", 80, false},
        {"accept *:80 plain; accept *:*", "10.0.0.1", 0, true},
        {"accept *:80 plain; accept *:*", "::", 80, false},
        {"accept 10.0.0.1:80 plain; accept *:80", "0.0.0.0", 80, true},
        {"accept 10.0.0.1:80 plain; accept *:80", "10.0.0.1", 80, false},
        {"accept 0.0.0.0/0:80 plain; accept *:80", "0.0.0.0", 80, false},
        {"accept 0.0.0.0/0:80 plain; accept *:80", "::", 80, true},
        {"accept *:1-65535 plain; accept *:80", "0.0.0.0", 0, false},
        {"accept *:2-65535 plain; accept *:1", "0.0.0.0", 0, true},
        {"connect *:* plain; accept *:80", "0.0.0.0", 80, true},
        {"accept 10.0.0.1:80,*:81 plain; accept *:80-81", "0.0.0.0", 81, false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        struct policy *p = parse(table[i].text);
        if (could_match(p, POLICY_ACCEPT, table[i].address, table[i].port) != table[i].could)
            fail_msg("%s and %s port %u", table[i].text, table[i].address, table[i].port);
        policy_free(p);
    }
}

static void a_direction_is_had_when_a_rule_of_it_selects_or_denies(void **state)
{
    static const struct {
        const char *text;
        bool connect, accept;
    } table[] = {
        {"connect *:1", true, false},
        {"accept *:1", false, true},
        {"any *:1", true, true},
        {"accept *:1 deny", false, true},
        {"any *:1 plain", false, false},
        {"connect *:* plain; any *:1", false, true},
        {"connect 0.0.0.0/0:* plain; any *:1", true, true},
        {"any *:1,*:* plain; any *:1", false, false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        struct policy *p = parse(table[i].text);
        assert_int_equal(policy_has(p, POLICY_CONNECT), table[i].connect);
        assert_int_equal(policy_has(p, POLICY_ACCEPT), table[i].accept);
        policy_free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_rule_that_matches_wins),
        cmocka_unit_test(directions_are_kept_apart_and_any_is_both),
        cmocka_unit_test(targets_match_up_to_their_edges),
        cmocka_unit_test(mapped_addresses_are_ipv4_in_rules_and_in_sockets),
        cmocka_unit_test(to_dial_the_wildcard_address_is_to_dial_loopback),
        cmocka_unit_test(other_families_and_short_addresses_never_match),
        cmocka_unit_test(an_unaligned_address_is_read_as_any_other_and_errno_is_left_alone),
        cmocka_unit_test(a_partly_known_address_could_match_what_any_of_its_completions_matches),
        cmocka_unit_test(a_direction_is_had_when_a_rule_of_it_selects_or_denies),
    };
    return cmocka_run_group_tests_name("policy match", tests, NULL, NULL);
}
