/* The DNS of a look-up of TLSA records: queries, answers that are put together byte by byte, and resolv.conf. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dns.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

enum { PROVEN = 0x20, TRUNCATED = 0x02, ANSWER = 0x80, TLSA = 52, CNAME = 5, A = 1 };

struct wire {
    uint8_t query[DNS_QUERY_MAX], bytes[DNS_ANSWER_MAX];
    size_t query_len, len;
};

static void put(struct wire *w, const void *bytes, size_t len)
{
    memcpy(w->bytes + w->len, bytes, len);
    w->len += len;
}

static void put16(struct wire *w, unsigned v)
{
    const uint8_t bytes[] = {(uint8_t)(v >> 8), (uint8_t)v};
    put(w, bytes, 2);
}

/* The answer's header and question, to a query for db.example port 5432. */
static struct wire begin(unsigned rcode)
{
    struct wire w = {0};
    w.query_len = dns_tlsa_query("db.example", 5432, 0x1234, w.query);
    assert_true(w.query_len > 0);
    put(&w, w.query, w.query_len - 11); /* without OPT */
    w.bytes[2] |= ANSWER;
    w.bytes[3] = (uint8_t)(PROVEN | rcode);
    w.bytes[11] = 0;
    return w;
}

/* owner: encoded. */
static void record(struct wire *w, const void *owner, size_t owner_len, unsigned type, const void *data, size_t len)
{
    put(w, owner, owner_len);
    put16(w, type);
    put16(w, 1);
    put(w, "\0\0\0\74", 4);
    put16(w, (unsigned)len);
    put(w, data, len);
    w->bytes[7]++;
}

#define QUESTION "\xc0\x0c", 2 /* a pointer to the question's name */

static const uint8_t rdata[35] = {3, 1, 1, 0xaa};

static enum dns_verdict read_it(const struct wire *w, struct tlsa_set *set)
{
    unsigned rcode;
    return dns_tlsa_answer(w->query, w->query_len, w->bytes, w->len, set, &rcode);
}

static void expect(const struct wire *w, enum dns_verdict verdict, unsigned records)
{
    struct tlsa_set set;
    assert_int_equal(read_it(w, &set), verdict);
    assert_int_equal(set.count, records);
}

static void a_query_asks_for_the_records_of_port_and_name_with_the_ad_bit(void **state)
{
    static const uint8_t wanted[] = "\x12\x34\1\x20\0\1\0\0\0\0\0\1\5_5432\4_tcp\2db\7example\0\0\x34\0\1"
                                    "\0\0\x29\4\xd0\0\0\0\0\0";
    uint8_t query[DNS_QUERY_MAX];
    (void)state;
    assert_int_equal(dns_tlsa_query("db.example", 5432, 0x1234, query), sizeof wanted);
    assert_memory_equal(query, wanted, sizeof wanted);
    assert_int_equal(dns_tlsa_query("db.example.", 5432, 0x1234, query), sizeof wanted);
    assert_memory_equal(query, wanted, sizeof wanted);
}

static void what_is_no_name_of_dns_is_not_asked_for(void **state)
{
    char label[65], name[300] = "";
    const char *const bad[] = {"",
                               ".",
                               "a..b",
                               ".a",
                               "a b",
                               "b\xc3\xbc"
                               "cher.example",
                               "a\x7f",
                               label};
    uint8_t query[DNS_QUERY_MAX];
    (void)state;
    memset(label, 'a', 64);
    label[64] = 0;
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_int_equal(dns_tlsa_query(bad[i], 1, 1, query), 0);
    label[63] = 0;
    assert_true(dns_tlsa_query(label, 1, 1, query) > 0);
    /* 255 bytes with the root's; the prefix "_65535._tcp" takes 12 of them */
    memset(name, 'a', 241);
    name[63] = name[127] = name[191] = '.';
    assert_int_equal(dns_tlsa_query(name, 65535, 1, query), DNS_HEADER + 255 + 4 + 11);
    name[241] = 'a';
    assert_int_equal(dns_tlsa_query(name, 65535, 1, query), 0);
}

static void proven_records_are_taken_and_others_beside_them_are_not(void **state)
{
    struct wire w = begin(0);
    (void)state;
    record(&w, QUESTION, TLSA, rdata, sizeof rdata);
    record(&w, QUESTION, A, "\x7f\0\0\1", 4);
    record(&w, "\5other\0", 7, TLSA, rdata, sizeof rdata);
    record(&w, "\5_5432\4_TCP\2Db\7EXAMPLE", 23, TLSA, rdata, sizeof rdata);
    expect(&w, DNS_FOUND, 2);
    w = begin(0);
    record(&w, QUESTION, TLSA, "\x09\1\1", 3); /* cannot be used, and is there */
    expect(&w, DNS_FOUND, 0);
}

static void absence_counts_only_when_it_is_proven(void **state)
{
    struct wire w = begin(0);
    (void)state;
    expect(&w, DNS_ABSENT, 0);
    w = begin(3);
    expect(&w, DNS_ABSENT, 0);
    w.bytes[3] &= (uint8_t)~PROVEN;
    expect(&w, DNS_INSECURE, 0);
}

static void records_that_are_not_proven_are_none(void **state)
{
    struct wire w = begin(0);
    (void)state;
    record(&w, QUESTION, TLSA, rdata, sizeof rdata);
    w.bytes[3] &= (uint8_t)~PROVEN;
    expect(&w, DNS_INSECURE, 0);
}

static void an_error_of_the_resolver_is_told_with_its_number(void **state)
{
    (void)state;
    for (unsigned rcode = 1; rcode < 16; rcode++) {
        struct wire w = begin(rcode);
        struct tlsa_set set;
        unsigned found = 0;
        if (rcode == 3)
            continue;
        record(&w, QUESTION, TLSA, rdata, sizeof rdata);
        assert_int_equal(dns_tlsa_answer(w.query, w.query_len, w.bytes, w.len, &set, &found), DNS_FAILED);
        assert_int_equal(found, rcode);
        assert_int_equal(set.count, 0);
    }
}

static void what_answers_another_question_is_no_answer(void **state)
{
    static const struct {
        size_t at;
        uint8_t flip;
    } changes[] = {{0, 1}, {1, 1}, {2, ANSWER}, {2, 0x08}, {5, 1}, {13, 3}, {30, 1}, {2, TRUNCATED}};
    (void)state;
    for (size_t i = 0; i < COUNT(changes); i++) {
        struct wire w = begin(0);
        record(&w, QUESTION, TLSA, rdata, sizeof rdata);
        w.bytes[changes[i].at] ^= changes[i].flip;
        expect(&w, DNS_MALFORMED, 0);
    }
}

static void aliases_are_followed_in_any_order_and_not_for_ever(void **state)
{
    static const uint8_t alias[] = "\5alias"; /* with the root's zero */
    struct wire w = begin(0);
    (void)state;
    record(&w, QUESTION, CNAME, alias, sizeof alias);
    record(&w, alias, sizeof alias, TLSA, rdata, sizeof rdata);
    expect(&w, DNS_FOUND, 1);
    w = begin(0);
    record(&w, alias, sizeof alias, TLSA, rdata, sizeof rdata);
    record(&w, QUESTION, CNAME, alias, sizeof alias);
    expect(&w, DNS_FOUND, 1);
    w = begin(0);
    record(&w, QUESTION, CNAME, alias, sizeof alias);
    expect(&w, DNS_ABSENT, 0);
    record(&w, alias, sizeof alias, CNAME, alias, sizeof alias);
    record(&w, QUESTION, TLSA, rdata, sizeof rdata); /* beside an alias: of a name that is not asked for any more */
    expect(&w, DNS_MALFORMED, 0);
}

static void an_answer_that_was_cut_or_points_in_circles_is_malformed(void **state)
{
    struct wire w = begin(0);
    (void)state;
    record(&w, QUESTION, TLSA, rdata, sizeof rdata);
    const size_t whole = w.len;
    for (w.len = 0; w.len < whole; w.len++)
        expect(&w, DNS_MALFORMED, 0);
    const unsigned here = (unsigned)begin(0).len;
    const uint8_t circle[] = {0xc0, (uint8_t)here}, forward[] = {0xc0, (uint8_t)(here + 2)}, strange[] = {0x80, 0};
    const uint8_t *const owners[] = {circle, forward, strange};
    for (size_t i = 0; i < COUNT(owners); i++) {
        w = begin(0);
        record(&w, owners[i], 2, TLSA, rdata, sizeof rdata);
        expect(&w, DNS_MALFORMED, 0);
    }
}

static void resolvers_are_believed_on_loopback_or_where_trust_ad_says_so(void **state)
{
    static const struct {
        const char *text;
        unsigned count, timeout_s, attempts;
        const char *first;
    } table[] = {
        {"", 1, 5, 2, "127.0.0.1"},
        {"search example\noptions ndots:2\n", 1, 5, 2, "127.0.0.1"},
        {"nameserver 127.0.0.53\noptions edns0 timeout:3 attempts:1\n", 1, 3, 1, "127.0.0.53"},
        {"nameserver 127.0.0.53", 1, 5, 2, "127.0.0.53"},
        {"nameserver ::1\n", 1, 5, 2, "::1"},
        {"nameserver 192.0.2.1\n", 0, 5, 2, NULL},
        {"nameserver 192.0.2.1\nnameserver 127.0.0.1\n", 1, 5, 2, "127.0.0.1"},
        {"options trust-ad\r\nnameserver 192.0.2.1 # ours\nnameserver 2001:db8::1\n", 2, 5, 2, "192.0.2.1"},
        {"nameserver fe80::1%eth0\noptions trust-ad\n", 0, 5, 2, NULL},
        {"nameserver fe80::1%2\noptions trust-ad\n", 1, 5, 2, "fe80::1"},
        {"nameserver 1.example\n", 0, 5, 2, NULL},
        {"nameserver\n", 0, 5, 2, NULL},
        {"# nameserver 127.0.0.1\n;options trust-ad\nnameserver 192.0.2.1\n", 0, 5, 2, NULL},
        {"nameserver 127.0.0.1\nnameserver 127.0.0.2\nnameserver 127.0.0.3\nnameserver 127.0.0.4\n"
         "options timeout:0 attempts:99",
         3, 1, 5, "127.0.0.1"},
        {"optionstrust-ad\nnameserver 192.0.2.1\n", 0, 5, 2, NULL},
        {"options trust-add\nnameserver 192.0.2.1\n", 0, 5, 2, NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        struct dns_servers s;
        char text[INET6_ADDRSTRLEN];
        dns_servers_read(table[i].text, strlen(table[i].text), &s);
        if (s.count != table[i].count || s.timeout_s != table[i].timeout_s || s.attempts != table[i].attempts)
            fail_msg("%s: %u servers, %u s, %u attempts", table[i].text, s.count, s.timeout_s, s.attempts);
        if (table[i].first)
            assert_string_equal(inet_ntop(s.servers[0].family, s.servers[0].address, text, sizeof text),
                                table[i].first);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_query_asks_for_the_records_of_port_and_name_with_the_ad_bit),
        cmocka_unit_test(what_is_no_name_of_dns_is_not_asked_for),
        cmocka_unit_test(proven_records_are_taken_and_others_beside_them_are_not),
        cmocka_unit_test(absence_counts_only_when_it_is_proven),
        cmocka_unit_test(records_that_are_not_proven_are_none),
        cmocka_unit_test(an_error_of_the_resolver_is_told_with_its_number),
        cmocka_unit_test(what_answers_another_question_is_no_answer),
        cmocka_unit_test(aliases_are_followed_in_any_order_and_not_for_ever),
        cmocka_unit_test(an_answer_that_was_cut_or_points_in_circles_is_malformed),
        cmocka_unit_test(resolvers_are_believed_on_loopback_or_where_trust_ad_says_so),
    };
    return cmocka_run_group_tests_name("dns", tests, NULL, NULL);
}
