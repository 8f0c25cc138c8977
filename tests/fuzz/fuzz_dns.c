/* libFuzzer target: any bytes as a resolver's answer, and as the file that names resolvers. What is found must be
 * inside of what came. */
#include "dns.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "does not hold: %s\n", what);
    abort();
}

static void check_set(const struct tlsa_set *set, enum dns_verdict verdict)
{
    require(set->count <= TLSA_RECORDS_MAX && set->used <= TLSA_BYTES_MAX, "a set keeps its bounds");
    require(!set->count || verdict == DNS_FOUND, "records come with a proof");
    for (unsigned i = 0; i < set->count; i++)
        require(set->records[i].at + set->records[i].len <= set->used, "a record lies in its set");
}

static void check_answer(const uint8_t *query, size_t query_len, const uint8_t *answer, size_t len)
{
    static struct tlsa_set set;
    unsigned rcode = 0;
    const enum dns_verdict verdict = dns_tlsa_answer(query, query_len, answer, len, &set, &rcode);

    check_set(&set, verdict);
    if (verdict == DNS_FOUND || verdict == DNS_ABSENT)
        require(dns_answers(query, query_len, answer, len) && answer[3] & 0x20, "a proof has the AD bit");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t query[DNS_QUERY_MAX], whole[DNS_ANSWER_MAX];
    struct dns_servers servers;
    const size_t query_len = dns_tlsa_query("db.example", 443, 0x1234, query), question = query_len - 11;

    check_answer(query, query_len, data, size);
    dns_servers_read((const char *)data, size, &servers);
    require(servers.count <= DNS_SERVERS_MAX && servers.attempts && servers.timeout_s, "resolvers keep their bounds");
    /* The same behind a header and a question that fit: its first bytes are flags and the count of records. */
    if (size < 4 || question + size - 4 > sizeof whole)
        return 0;
    memcpy(whole, query, question);
    whole[2] = data[0];
    whole[3] = data[1];
    whole[6] = data[2];
    whole[7] = data[3];
    whole[11] = 0;
    memcpy(whole + question, data + 4, size - 4);
    check_answer(query, query_len, whole, question + size - 4);
    return 0;
}
