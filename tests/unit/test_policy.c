/* The policy language: statements, words, quotes, sources, and errors that point at the right place. */
#include "policy_help.h"

static void empty_texts_are_policies_without_rules(void **state)
{
    static const char *const texts[] = {"", " ", "\n", ";", " ; \n;;\t", "# a comment", "#\n", "\r\n", "\xef\xbb\xbf"};
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct policy *p = parse(texts[i]);
        assert_int_equal(policy_count(p), 0);
        assert_null(policy_rule_at(p, 0));
        assert_int_equal(match(p, POLICY_CONNECT, "127.0.0.1", 80), 0);
        assert_false(policy_has(p, POLICY_CONNECT) || policy_has(p, POLICY_ACCEPT));
        policy_free(p);
    }
    assert_int_equal(policy_count(NULL), 0);
    assert_null(match_address(NULL, POLICY_CONNECT, NULL, 0));
    assert_false(policy_has(NULL, POLICY_CONNECT));
    policy_free(NULL);
}

static void statements_end_at_semicolons_and_newlines(void **state)
{
    (void)state;
    struct policy *p = parse("connect *:1;accept *:2 # both; not a statement\r\n\n  any\t*:3 deny;;connect *:4 plain");
    static const struct {
        unsigned line, column, directions;
        enum policy_action action;
    } expected[] = {
        {1, 1, POLICY_CONNECT, POLICY_PROTECT},
        {1, 13, POLICY_ACCEPT, POLICY_PROTECT},
        {3, 3, POLICY_CONNECT | POLICY_ACCEPT, POLICY_DENY},
        {3, 17, POLICY_CONNECT, POLICY_PLAIN},
    };
    assert_int_equal(policy_count(p), COUNT(expected));
    for (size_t i = 0; i < COUNT(expected); i++) {
        const struct policy_rule *r = policy_rule_at(p, i);
        assert_int_equal(r->line, expected[i].line);
        assert_int_equal(r->column, expected[i].column);
        assert_int_equal(r->directions, expected[i].directions);
        assert_int_equal(r->action, expected[i].action);
        assert_string_equal(r->source, "P2PTLS_POLICY");
    }
    policy_free(p);
}

static void errors_point_at_the_place_and_say_what_to_do(void **state)
{
    static const struct {
        const char *text;
        unsigned line, column;
        const char *part;
    } table[] = {
        {"conect *:1", 1, 1,
         "expected connect, accept, any, set, identity or include, found \"conect\"; did you mean connect?"},
        {"ANY *:1", 1, 1, "did you mean any?"},
        {"tls *:1", 1, 1, "found \"tls\""},
        {"connect", 1, 8, "expected an endpoint"},
        {"connect\naccept *:1", 1, 8, "found the end of the line"},
        {"connect # all", 1, 14, "found the end of the text"},
        {"connect # all\n", 1, 14, "found the end of the line"},
        {"any *:#", 1, 7, "found a comment"},
        {"connect *:1,", 1, 13, "expected an endpoint"},
        {"connect *:1,;", 1, 13, "found ';'"},
        {"any *:1;\n  any *:x", 2, 9, "expected a port from 1 to 65535"},
        {"any *", 1, 6, "':*' means every port"},
        {"any *4:1", 1, 6, "expected ':'"},
        {"any *:", 1, 7, "expected a port"},
        {"any *:0", 1, 7, "expected a port"},
        {"any *:65536", 1, 7, "found \"65536\""},
        {"any *:18446744073709551617", 1, 7, "expected a port"},
        {"any *:36893488147419103240", 1, 7, "expected a port"}, /* 8, if it wrapped */
        {"any *:1-", 1, 9, "expected a port from 1 to 65535 after '-'"},
        {"any *:1-65536", 1, 9, "expected a port"},
        {"any *:2-1", 1, 7, "found 2-1; write 1-2"},
        {"any *:1x", 1, 8, "found \"x\""},
        {"any *:1-2-3", 1, 10, "found \"-3\""},
        {"any *:http", 1, 7, "found \"http\""},
        {"any *:-1", 1, 7, "expected a port"},
        {"any *:*1", 1, 7, "expected a port"},
        {"any */8:1", 1, 6, "expected ':'"},
        {"accept localhost:1", 1, 8, "a name is known only where the program connects"},
        {"any 10.0.0:1", 1, 5, "expected an address"},
        {"any 10.0.0.256:1", 1, 5, "expected an address"},
        {"any 10.0.0.1.1:1", 1, 5, "expected an address"},
        {"any 010.0.0.1:1", 1, 5, "expected an address"},
        {"any 10.0.0.1", 1, 13, "expected ':'"},
        {"any 10.0.0.0/33:1", 1, 14, "expected a prefix from 0 to 32"},
        {"any 10.0.0.0/:1", 1, 14, "expected a prefix"},
        {"any 10.0.0.0/8", 1, 15, "expected ':'"},
        {"any 10.0.0.0/8/8:1", 1, 15, "expected ':'"},
        {"any 10.1.2.3/8:1", 1, 5, "write 10.0.0.0/8"},
        {"any 10.0.0.1/31:1", 1, 5, "write 10.0.0.0/31"},
        {"any 1.0.0.0/0:1", 1, 5, "write 0.0.0.0/0"},
        {"any [2001:db8::1]/32:1", 1, 5, "write [2001:db8::]/32"},
        {"any [::ffff:10.1.0.0/104]:1", 1, 5, "write 10.0.0.0/8"},
        {"any [::ffff:0:0/95]:1", 1, 5, "write [::fffe:0:0]/95"},
        {"any [fe80::/129]:1", 1, 13, "expected a prefix from 0 to 128"},
        {"any [fe80::/10]/10:1", 1, 16, "in the brackets already"},
        {"any [fe80::/10x]:1", 1, 15, "expected ']' after the prefix"},
        {"any [fe80::1:1", 1, 5, "expected ']'"},
        {"any []:1", 1, 6, "expected an IPv6 address"},
        {"any [10.0.0.1]:1", 1, 6, "expected an IPv6 address"},
        {"any [fe80::1%eth0]:1", 1, 6, "leave it out"},
        {"any ::1:443", 1, 5, "brackets"},
        {"any 0.0.0.0:1", 1, 5, "0.0.0.0/0"},
        {"any [::]:1", 1, 5, "[::]/0"},
        {"any [::ffff:0.0.0.0]:1", 1, 5, "0.0.0.0/0"},
        {"any *:1 plain role=peer", 1, 15, "expected for= or the end of the statement after plain"},
        {"any *:1 deny plain", 1, 14, "expected for=, mode= or the end of the statement after deny"},
        {"any *:1 role=peer deny", 1, 19, "right after the endpoints"},
        {"any *:1 plian", 1, 9, "did you mean plain?"},
        {"any *:1 rolle=peer", 1, 9, "did you mean role?"},
        {"any *:1 remote_role=peer", 1, 9, "did you mean remote-role?"},
        {"any *:1 insecure", 1, 9, "expected auth=insecure-none, found \"insecure\""},
        {"any *:1 xyzzy=1", 1, 9, "found \"xyzzy\""},
        {"any *:1 =peer", 1, 9, "found '='"},
        {"any *:1 role", 1, 13, "expected '=' and a value after role"},
        {"any *:1 role=", 1, 14, "expected a value after '='"},
        {"any *:1 role=;", 1, 14, "found ';'"},
        {"any *:1 role =peer", 1, 13, "expected '='"},
        {"any *:1 role=sever", 1, 14, "did you mean server?"},
        {"any *:1 role=none", 1, 14, "expected peer, client or server"},
        {"any *:1 hello=later", 1, 15, "expected now or wait"},
        {"any *:1 prefer=peer", 1, 16, "expected client or server"},
        {"any *:1 connect=now", 1, 17, "expected wait"},
        {"any *:1 insecure=yes", 1, 9, "expected auth=insecure-none"},
        {"any *:1 role=peer role=peer", 1, 19, "expected each option once, found role again"},
        {"any *:1 auth=request auth=request", 1, 22, "auth again"},
        {"any *:1 ciphers=aes-128-gcm client-ciphers=aes-128-gcm", 1, 29, "client-ciphers again"},
        {"any *:1 server-groups=x448 groups=x448", 1, 28, "groups again"},
        {"any *:1 ciphers=aes-128-gmc", 1, 17, "did you mean aes-128-gcm?"},
        {"any *:1 ciphers=aes-128-gcm,", 1, 29, "expected aes-128-gcm"},
        {"any *:1 ciphers=,aes-128-gcm", 1, 17, "expected aes-128-gcm"},
        {"any *:1 ciphers=aes-256-gcm,aes-256-gcm", 1, 29, "expected each cipher once"},
        {"any *:1 psk=keys", 1, 13, "begin it with '/'"},
        {"any *:1 psk=\"keys\"", 1, 13, "begin it with '/'"},
        {"any *:1 psk=\"\"", 1, 13, "found empty quotes"},
        {"any *:1 psk=\"/k", 1, 13, "expected a closing quote '\"' on the same line, found the end of the text"},
        {"any *:1 psk=\"/k\n\"", 1, 13, "found the end of the line"},
        {"any *:1 psk=\"/k\\", 1, 17, "write a backslash twice"},
        {"any *:1 psk=\"/k\\n\"", 1, 17, "write a backslash twice"},
        {"any *:1 psk=\"/k\"x", 1, 17, "expected a blank after the closing quote"},
        {"any *:1 psk=/a\x01", 1, 13, "0x01"},
        {"any *:1 psk=\"/a\x7f\"", 1, 13, "0x7f"},
        {"any *:1 \xc2\xa0role=peer", 1, 9, "found the byte 0xc2"},
        {"\xc3\xa4ny *:1", 1, 1, "found the byte 0xc3"},
        {"any *:1\rany *:2", 1, 8, "found the byte 0x0d"},
        {"default role=peer", 1, 1, "found \"default\"; it is now called set"},
        {"set", 1, 4, "expected an option after set"},
        {"set plain", 1, 5, "expected an option"},
        {"set *:1", 1, 5, "expected an option"},
        {"any *.db.example.:1", 1, 5, "leave the last dot out"},
        {"any *db.example:1", 1, 6, "expected ':'"},
        {"any db.*.example:1", 1, 5, "expected an address"},
        {"any db_.-x:1", 1, 5, "expected an address"},
        {"any *.1:1", 1, 5, "whole labels"},
        {"any db.example", 1, 15, "':*' means every port"},
        {"any db.example/8:1", 1, 5, "expected an address"},
        {"any *:1 tls tls", 1, 13, "right after the endpoints"},
        {"any *:1 final tls", 1, 9, "expected final in the files of /etc/p2ptls only"},
        {"any *:1 role=client tls", 1, 21, "right after the endpoints"},
        {"any *:1 plain final", 1, 15, "found it after plain"},
        {"any *:1 plain mode=observe", 1, 15, "expected for="},
        {"identity", 1, 9, "expected a name of letters"},
        {"identity x/y cert=/c", 1, 10, "expected a name of letters"},
        {"identity x", 1, 11, "expected cert=, key= or psk= after the name"},
        {"identity x cret=/c", 1, 12, "did you mean cert?"},
        {"identity x ca=/c", 1, 12, "expected cert=, key=, passphrase-file="},
        {"identity x cert=/c", 1, 12, "expected key= beside cert="},
        {"identity x psk=/p key=/k", 1, 19, "a side has one kind of identity"},
        {"identity x psk=/p; identity x psk=/q", 1, 29,
         "expected another name, found x again: it is defined in P2PTLS_P"},
        {"any *:1 id=x", 1, 9, "there is none"},
        {"identity abcd psk=/p; any *:1 id=abdc", 1, 31, "did you mean abcd?"},
        {"object=y", 1, 1, "a value with ';' in it stands in quotes"},
        {"include", 1, 8, "expected the path of a file"},
        {"include a", 1, 9, "expected an absolute path"},
        {"include /a b", 1, 12, "a path with a blank in it stands in quotes"},
        {"include /a", 1, 9, "expected no include in this text, found one"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(table); i++)
        assert_refused(table[i].text, table[i].line, table[i].column, table[i].part);
}

static void words_that_resemble_nothing_get_no_suggestion(void **state)
{
    static const char *const texts[] = {"any *:1 aa=1", "any *:1 xyzzy=1", "any *:1 \xc2\xa0role=peer", "tls *:1"};
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++)
        assert_null(strstr(refused_bytes(texts[i], strlen(texts[i])).message, "did you mean"));
}

static void quoted_values_keep_what_would_end_a_word(void **state)
{
    static const struct {
        const char *text, *path;
    } table[] = {
        {"any *:1 psk=\"/a b;c#d\\\"e\\\\f\"", "/a b;c#d\"e\\f"},
        {"any *:1 psk=\"/a\" # comment", "/a"},
        {"any *:1 psk=\"/a\";", "/a"},
        {"any *:1 psk=/a#comment", "/a"},
        {"any *:1 psk=/a\\b=c,d", "/a\\b=c,d"},
        {"any *:1 psk=/\xc3\xa4", "/\xc3\xa4"},
        {"any *:1 psk=\"/\xc3\xa4\"", "/\xc3\xa4"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        struct policy *p = parse(table[i].text);
        assert_string_equal(policy_rule_at(p, 0)->own.psk_file, table[i].path);
        policy_free(p);
    }
    assert_refused("any *:1 psk=\"/a\tb\"", 1, 13, "0x09"); /* a tab is a control byte in quotes too */
}

static void a_value_of_the_maximum_is_taken_and_one_byte_more_is_refused(void **state)
{
    enum { MAX = 4096 };
    char text[MAX + 100];
    (void)state;
    for (int quoted = 0; quoted < 2; quoted++)
        for (size_t len = MAX; len <= MAX + 1; len++) {
            size_t n = (size_t)snprintf(text, sizeof text, "any *:1 psk=%s/", quoted ? "\"" : "");
            memset(text + n, 'x', len - 1);
            snprintf(text + n + len - 1, sizeof text - n - len + 1, "%s", quoted ? "\"" : "");
            if (len > MAX) {
                assert_refused(text, 1, 13, "at most 4096 bytes");
                continue;
            }
            struct policy *p = parse(text);
            assert_int_equal(strlen(policy_rule_at(p, 0)->own.psk_file), MAX);
            policy_free(p);
        }
}

static void a_nul_byte_is_refused_where_it_stands(void **state)
{
    static const char *const before[] = {"", "any *:1\n# comm", "any *:1 psk=\"/a", "any *:1\r\nany *:2 psk=/a"};
    static const struct {
        unsigned line, column;
    } at[] = {{1, 1}, {2, 7}, {1, 16}, {2, 15}};
    (void)state;
    for (size_t i = 0; i < COUNT(before); i++) {
        char text[64] = {0};
        size_t n = (size_t)snprintf(text, sizeof text, "%s", before[i]);
        struct policy_error error = refused_bytes(text, n + 3);
        assert_int_equal(error.line, at[i].line);
        assert_int_equal(error.column, at[i].column);
        assert_non_null(strstr(error.message, "expected text, found the byte 0x00"));
    }
}

static void a_text_above_a_mebibyte_is_refused_and_one_of_it_is_not(void **state)
{
    const size_t len = 1024 * 1024;
    char *text = malloc(len + 1);
    (void)state;
    assert_non_null(text);
    memset(text, ' ', len + 1);
    policy_free(parse_bytes(text, len));
    struct policy_error error = refused_bytes(text, len + 1);
    assert_non_null(strstr(error.message, "expected at most 1048576 bytes, found 1048577"));
    free(text);
}

static void long_words_are_cut_in_messages(void **state)
{
    char text[2000] = "any ";
    (void)state;
    memset(text + 4, 'z', sizeof text - 5);
    text[sizeof text - 1] = '\0';
    assert_refused(text, 1, 5, "found \"zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz...\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_texts_are_policies_without_rules),
        cmocka_unit_test(statements_end_at_semicolons_and_newlines),
        cmocka_unit_test(errors_point_at_the_place_and_say_what_to_do),
        cmocka_unit_test(words_that_resemble_nothing_get_no_suggestion),
        cmocka_unit_test(quoted_values_keep_what_would_end_a_word),
        cmocka_unit_test(a_value_of_the_maximum_is_taken_and_one_byte_more_is_refused),
        cmocka_unit_test(a_nul_byte_is_refused_where_it_stands),
        cmocka_unit_test(a_text_above_a_mebibyte_is_refused_and_one_of_it_is_not),
        cmocka_unit_test(long_words_are_cut_in_messages),
    };
    return cmocka_run_group_tests_name("policy language", tests, NULL, NULL);
}
