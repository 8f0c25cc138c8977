/* Options of the policy language: values and their limits, defaults, and what cannot stand together. */
#include "policy_help.h"

static void a_rule_without_options_has_the_documented_defaults(void **state)
{
    (void)state;
    struct policy *p = parse("any *:*");
    const struct policy_rule *r = policy_rule_at(p, 0);
    assert_int_equal(r->role, ROLE_PEER);
    assert_int_equal(r->remote_role, ROLE_PEER);
    assert_int_equal(r->effective, ROLE_PEER);
    assert_int_equal(r->prefer, PREFER_NONE);
    assert_int_equal(r->hello, HELLO_DEFAULT);
    assert_false(r->connect_waits || r->auth != AUTH_REQUIRE);
    assert_int_equal(r->handshake_timeout_ms, 10000);
    assert_int_equal(r->early_limit_bytes, 262144);
    assert_int_equal(r->rekey_after_records, 0);
    assert_null(r->own.cert_file);
    assert_null(r->own.key_file);
    assert_null(r->trust.ca);
    assert_null(r->own.psk_file);
    assert_null(r->peer_patterns);
    assert_null(r->client_ciphers);
    policy_free(p);
}

static void every_option_reaches_its_member(void **state)
{
    (void)state;
    struct policy *p = parse("connect *:1 role=peer remote-role=server hello=now connect=wait handshake-timeout=2.5 "
                             "early-data-buffer=64K rekey-after=1000 cert=/c key=/k ca=/a peer=db.example "
                             "ciphers=chacha20-poly1305,aes-128-gcm\n"
                             "accept *:1 role=server hello=wait psk=/p early-data-buffer=1M\n"
                             "any *:1 prefer=server auth=insecure-none handshake-timeout=250ms early-data-buffer=77\n"
                             "any *:1 prefer=client hello=now remote-role=peer");
    const struct policy_rule *r = policy_rule_at(p, 0);
    assert_int_equal(r->role, ROLE_PEER);
    assert_int_equal(r->remote_role, ROLE_SERVER);
    assert_int_equal(r->effective, ROLE_CLIENT);
    assert_int_equal(r->hello, HELLO_NOW);
    assert_true(r->connect_waits);
    assert_int_equal(r->handshake_timeout_ms, 2500);
    assert_int_equal(r->early_limit_bytes, 65536);
    assert_int_equal(r->rekey_after_records, 1000);
    assert_string_equal(r->own.cert_file, "/c");
    assert_string_equal(r->own.key_file, "/k");
    assert_string_equal(r->trust.ca, "/a");
    assert_string_equal(r->peer_patterns, "db.example");
    assert_string_equal(r->client_ciphers, "+CHACHA20-POLY1305:+AES-128-GCM");
    r = policy_rule_at(p, 1);
    assert_int_equal(r->role, ROLE_SERVER);
    assert_int_equal(r->effective, ROLE_SERVER);
    assert_int_equal(r->hello, HELLO_WAIT);
    assert_string_equal(r->own.psk_file, "/p");
    assert_int_equal(r->early_limit_bytes, 1 << 20);
    r = policy_rule_at(p, 2);
    assert_int_equal(r->prefer, PREFER_SERVER);
    assert_true(r->auth == AUTH_INSECURE_NONE);
    assert_int_equal(r->handshake_timeout_ms, 250);
    assert_int_equal(r->early_limit_bytes, 77);
    assert_int_equal(policy_rule_at(p, 3)->prefer, PREFER_CLIENT);
    policy_free(p);
}

static void values_at_their_limits_are_taken(void **state)
{
    static const struct {
        const char *text;
        uint64_t timeout_ms, early, rekey;
    } table[] = {
        {"any *:1 handshake-timeout=1ms early-data-buffer=1 rekey-after=1", 1, 1, 1},
        {"any *:1 handshake-timeout=86400 early-data-buffer=64M rekey-after=18446744073709551615", 86400000, 64 << 20,
         UINT64_MAX},
        {"any *:1 handshake-timeout=0.001s early-data-buffer=65536K rekey-after=0", 1, 64 << 20, 0},
        {"any *:1 handshake-timeout=86400000ms early-data-buffer=67108864", 86400000, 64 << 20, 0},
        {"any *:1 handshake-timeout=3.04s", 3040, 262144, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        struct policy *p = parse(table[i].text);
        assert_int_equal(policy_rule_at(p, 0)->handshake_timeout_ms, table[i].timeout_ms);
        assert_int_equal(policy_rule_at(p, 0)->early_limit_bytes, table[i].early);
        assert_int_equal(policy_rule_at(p, 0)->rekey_after_records, table[i].rekey);
        policy_free(p);
    }
}

static void values_beyond_their_limits_are_refused(void **state)
{
    static const char *const options[] = {
        "handshake-timeout=0",
        "handshake-timeout=0.000",
        "handshake-timeout=86400.001",
        "handshake-timeout=86401",
        "handshake-timeout=86400001ms",
        "handshake-timeout=-1",
        "handshake-timeout=1.",
        "handshake-timeout=1.0001",
        "handshake-timeout=.5",
        "handshake-timeout=1e3",
        "handshake-timeout=1,5",
        "handshake-timeout=1.5ms",
        "handshake-timeout=1m",
        "handshake-timeout=+1",
        "handshake-timeout=18446744073709551617",
        "handshake-timeout=0x10",
        "early-data-buffer=0",
        "early-data-buffer=67108865",
        "early-data-buffer=65M",
        "early-data-buffer=65537K",
        "early-data-buffer=1G",
        "early-data-buffer=1k",
        "early-data-buffer=1KB",
        "early-data-buffer=K",
        "early-data-buffer=1.5K",
        "early-data-buffer=18014398509481985K",
        "rekey-after=18446744073709551616",
        "rekey-after=-1",
        "rekey-after=1K",
        "rekey-after=x",
    };
    char text[200];
    (void)state;
    for (size_t i = 0; i < COUNT(options); i++) {
        snprintf(text, sizeof text, "any *:1 %s", options[i]);
        unsigned column = 9 + (unsigned)(strchr(options[i], '=') - options[i]) + 1;
        assert_refused(text, 1, column, ", found \"");
    }
}

static void contradictions_are_refused(void **state)
{
    static const struct {
        const char *options;
        unsigned column;
        const char *part;
    } table[] = {
        {"role=client remote-role=client", 21, "expected a client and a server"},
        {"role=server remote-role=server", 21, "expected a client and a server"},
        {"prefer=client role=client", 9, "this side is always client"},
        {"remote-role=client prefer=server", 28, "this side is always server"},
        {"prefer=client hello=wait", 23, "who waits becomes server"},
        {"hello=wait prefer=server", 20, "who waits becomes server"},
        {"cert=/c", 9, "expected key="},
        {"key=/k", 9, "expected ca=, pin=, known-peers= or dane=on beside key=, found none: nobody"},
        {"cert=/c key=/k", 9, "expected ca="},
        {"ca=/a", 9, "expected cert="},
        {"peer=x", 9, "expected ca="},
        {"psk=/p cert=/c", 16, "psk= without cert="},
        {"psk=/p key=/k", 16, "psk= without key="},
        {"ca=/a psk=/p", 15, "psk= without ca="},
        {"psk=/p peer=x", 16, "psk= with peer=psk:NAME only"},
        {"psk=/p auth=insecure-none", 16, "a PSK always proves both sides"},
        {"cert=/c key=/k ca=/a auth=insecure-none", 30, "auth=insecure-none without ca="},
        {"auth=insecure-none peer=x", 28, "auth=insecure-none without peer="},
        {"psk=/p ciphers=aes-256-gcm", 16, "PSKs go with SHA-256 only"},
    };
    char text[200];
    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        snprintf(text, sizeof text, "any *:1 %s", table[i].options);
        assert_refused(text, 1, table[i].column, table[i].part);
    }
    assert_refused("accept *:1 connect=wait", 1, 12, "found it after accept");
}

static void combinations_that_can_work_are_taken(void **state)
{
    static const char *const texts[] = {
        "connect *:1 connect=wait",
        "any *:1 connect=wait",
        "any *:1 auth=insecure-none",
        "any *:1 cert=/c key=/k auth=insecure-none",
        "any *:1 cert=/c key=/k ca=/a peer=x",
        "any *:1 role=client hello=wait",
        "any *:1 role=server hello=now",
        "any *:1 hello=wait",
        "any *:1 psk=/p ciphers=aes-256-gcm,aes-128-gcm",
        "any *:1 psk=/p ciphers=chacha20-poly1305",
        "any *:1 ciphers=aes-256-gcm",
        "any *:1 hello=now prefer=client",
        "any *:1 role=client remote-role=server",
        "any *:1 remote-role=server role=peer",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++)
        policy_free(parse(texts[i]));
}

static void role_sets_are_cut_by_the_mirror_of_the_remote_ones(void **state)
{
    static const char *const names[] = {"client", "server", "peer"};
    static const enum role_set sets[] = {ROLE_CLIENT, ROLE_SERVER, ROLE_PEER};
    static const enum role_set mirrors[] = {ROLE_SERVER, ROLE_CLIENT, ROLE_PEER};
    char text[100];
    (void)state;
    for (size_t i = 0; i < 3; i++)
        for (size_t j = 0; j < 3; j++) {
            unsigned both = sets[i] & (unsigned)mirrors[j];
            snprintf(text, sizeof text, "any *:1 role=%s remote-role=%s", names[i], names[j]);
            if (!both) {
                assert_refused(text, 1, 9 + (unsigned)strlen(names[i]) + 6, "expected a client and a server");
                continue;
            }
            struct policy *p = parse(text);
            assert_int_equal(policy_rule_at(p, 0)->effective, both);
            policy_free(p);
        }
}

static void peer_names_are_dns_names_or_addresses(void **state)
{
    static const char label63[] = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk";
    char longest[300], longer[300], label64[80];
    snprintf(longest, sizeof longest, "%s.%s.%s.%.61s", label63, label63, label63, label63);
    snprintf(longer, sizeof longer, "%s.%s.%s.%.62s", label63, label63, label63, label63);
    snprintf(label64, sizeof label64, "x%s", label63);
    const char *const good[] = {"db",      "db.example",  "a-b_c.x1", "1a.2b", "xn--bcher-kva.example",
                                "8.8.8.8", "2001:db8::1", "::1",      "a.1.b", "DB.Example",
                                label63,   longest};
    const char *const bad[] = {"",     ".",    "a..b", ".a",        "a.",        "-a",           "a-",    "a.-b",
                               "a-.b", "*.",   "a b",  "1.2.3.4.5", "1.2.3.256", "123",          "a.1",   "a/b",
                               "[::1", "[db]", "[]",   "a:1",       "b\xc3\xbc", "fe80::1%eth0", label64, longer};
    char text[500];
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        snprintf(text, sizeof text, "any *:1 cert=/c key=/k ca=/a peer=%s", good[i]);
        struct policy *p = parse(text);
        assert_string_equal(policy_rule_at(p, 0)->peer_patterns, good[i]);
        policy_free(p);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        snprintf(text, sizeof text, "any *:1 cert=/c key=/k ca=/a peer=\"%s\"", bad[i]);
        assert_refused(text, 1, 35 + (*bad[i] != 0), "expected a");
    }
    struct policy *p = parse("any *:1 cert=/c key=/k ca=/a peer=[::1]");
    assert_string_equal(policy_rule_at(p, 0)->peer_patterns, "::1");
    policy_free(p);
}

static void every_cipher_list_is_translated_in_its_order(void **state)
{
    static const struct {
        const char *text, *ciphers;
    } table[] = {
        {"any *:1 ciphers=aes-128-gcm", "+AES-128-GCM"},
        {"any *:1 ciphers=aes-256-gcm,aes-128-gcm", "+AES-256-GCM:+AES-128-GCM"},
        {"any *:1 ciphers=chacha20-poly1305,aes-256-gcm,aes-128-gcm", "+CHACHA20-POLY1305:+AES-256-GCM:+AES-128-GCM"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        struct policy *p = parse(table[i].text);
        assert_string_equal(policy_rule_at(p, 0)->client_ciphers, table[i].ciphers);
        policy_free(p);
    }
}

static void defaults_hold_for_the_statements_after_them(void **state)
{
    (void)state;
    struct policy *p = parse("any *:1; set handshake-timeout=3 role=client; any *:2; any *:3 role=server\n"
                             "set handshake-timeout=4; any *:4; any *:5 deny");
    assert_int_equal(policy_count(p), 5);
    assert_int_equal(policy_rule_at(p, 0)->handshake_timeout_ms, 10000);
    assert_int_equal(policy_rule_at(p, 0)->role, ROLE_PEER);
    assert_int_equal(policy_rule_at(p, 1)->handshake_timeout_ms, 3000);
    assert_int_equal(policy_rule_at(p, 1)->role, ROLE_CLIENT);
    assert_int_equal(policy_rule_at(p, 2)->handshake_timeout_ms, 3000);
    assert_int_equal(policy_rule_at(p, 2)->role, ROLE_SERVER);
    assert_int_equal(policy_rule_at(p, 3)->handshake_timeout_ms, 4000);
    assert_int_equal(policy_rule_at(p, 3)->role, ROLE_CLIENT);
    assert_int_equal(policy_rule_at(p, 4)->action, POLICY_DENY);
    policy_free(p);
}

static void what_a_statement_says_wins_over_defaults_that_speak_against_it(void **state)
{
    (void)state;
    struct policy *p = parse("set cert=/c key=/k ca=/a peer=x prefer=client connect=wait\n"
                             "connect *:1\n"
                             "connect *:2 psk=/p\n"
                             "connect *:3 auth=insecure-none\n"
                             "connect *:4 hello=wait\n"
                             "accept *:5 role=server\n"
                             "connect *:6 cert=/c2 key=/k2\n"
                             "set psk=/p\n"
                             "connect *:7\n"
                             "connect *:8 cert=/c key=/k ca=/a\n"
                             "set auth=insecure-none; connect *:9\n"
                             "connect *:10 cert=/c key=/k ca=/a\n");
    const struct policy_rule *r = policy_rule_at(p, 0);
    assert_string_equal(r->trust.ca, "/a");
    assert_string_equal(r->peer_patterns, "x");
    assert_int_equal(r->prefer, PREFER_CLIENT);
    assert_true(r->connect_waits);
    r = policy_rule_at(p, 1);
    assert_string_equal(r->own.psk_file, "/p");
    assert_true(!r->own.cert_file && !r->own.key_file && !r->trust.ca && !r->peer_patterns);
    r = policy_rule_at(p, 2);
    assert_true(r->auth == AUTH_INSECURE_NONE && !r->trust.ca && !r->peer_patterns);
    assert_string_equal(r->own.cert_file, "/c");
    r = policy_rule_at(p, 3);
    assert_int_equal(r->hello, HELLO_WAIT);
    assert_int_equal(r->prefer, PREFER_NONE);
    r = policy_rule_at(p, 4);
    assert_false(r->connect_waits);
    assert_int_equal(r->prefer, PREFER_NONE);
    r = policy_rule_at(p, 5);
    assert_string_equal(r->own.cert_file, "/c2");
    assert_string_equal(r->trust.ca, "/a");
    r = policy_rule_at(p, 6);
    assert_string_equal(r->own.psk_file, "/p");
    assert_true(!r->own.cert_file && !r->trust.ca);
    r = policy_rule_at(p, 7);
    assert_true(!r->own.psk_file && r->auth == AUTH_REQUIRE);
    assert_string_equal(r->trust.ca, "/a");
    assert_true(policy_rule_at(p, 8)->auth == AUTH_INSECURE_NONE && !policy_rule_at(p, 8)->own.psk_file);
    assert_false(policy_rule_at(p, 9)->auth == AUTH_INSECURE_NONE);
    policy_free(p);
}

static void inherited_options_that_leave_a_rule_unable_to_work_are_reported_at_the_rule(void **state)
{
    (void)state;
    assert_refused("set ca=/a\n any *:1", 2, 2, "expected cert=");
    assert_refused("set role=client\nany *:1 remote-role=client", 2, 9, "expected a client and a server");
    assert_refused("set role=client remote-role=client\n any *:1", 2, 2, "expected a client and a server");
    assert_refused("set ciphers=aes-256-gcm\n any *:1 psk=/p", 2, 2, "SHA-256");
    assert_refused("set psk=/p cert=/c", 1, 12, "psk= without cert=");
    assert_refused("set role=client role=client", 1, 17, "once");
    policy_free(parse("set ca=/a; any *:1 cert=/c key=/k; any *:2 deny; any *:3 auth=insecure-none"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rule_without_options_has_the_documented_defaults),
        cmocka_unit_test(every_option_reaches_its_member),
        cmocka_unit_test(values_at_their_limits_are_taken),
        cmocka_unit_test(values_beyond_their_limits_are_refused),
        cmocka_unit_test(contradictions_are_refused),
        cmocka_unit_test(combinations_that_can_work_are_taken),
        cmocka_unit_test(role_sets_are_cut_by_the_mirror_of_the_remote_ones),
        cmocka_unit_test(peer_names_are_dns_names_or_addresses),
        cmocka_unit_test(every_cipher_list_is_translated_in_its_order),
        cmocka_unit_test(defaults_hold_for_the_statements_after_them),
        cmocka_unit_test(what_a_statement_says_wins_over_defaults_that_speak_against_it),
        cmocka_unit_test(inherited_options_that_leave_a_rule_unable_to_work_are_reported_at_the_rule),
    };
    return cmocka_run_group_tests_name("policy options", tests, NULL, NULL);
}
