/* Queries and answers (RFC 1035 section 4). Every length is checked against what is left; names are compared as they
 * are read, label by label, and a pointer only ever leads backwards. */
#include "dns.h"

#include "bytes.h"

#include <stdio.h>
#include <string.h>

enum {
    TYPE_CNAME = 5,
    TYPE_OPT = 41,
    TYPE_TLSA = 52,
    CLASS_IN = 1,
    LABEL_MAX = 63,
    NAME_MAX_BYTES = 255,
    EDNS_SIZE = 1232, /* of the answer by UDP: fits every path (RFC 9715) */
    OPT_BYTES = 11,
    ALIASES_MAX = 8,
};
enum { FLAG_ANSWER = 0x8000, FLAG_OPCODE = 0x7800, FLAG_TRUNCATED = 0x0200, FLAG_RECURSE = 0x0100, FLAG_PROVEN = 0x20 };
enum { RCODE_NONE = 0, RCODE_NO_NAME = 3, RCODE_MASK = 15 };

/* Appends the labels of a name with dots in it; the new length, or 0. Its end is not written. */
static size_t put_labels(uint8_t *out, size_t at, const char *name)
{
    for (;;) {
        const size_t len = strcspn(name, ".");
        if (len == 0 || len > LABEL_MAX || at + 1 + len + 1 > DNS_HEADER + NAME_MAX_BYTES)
            return 0;
        out[at++] = (uint8_t)len;
        for (size_t i = 0; i < len; i++)
            if (name[i] <= ' ' || name[i] >= 0x7f)
                return 0;
        memcpy(out + at, name, len);
        at += len;
        name += len;
        if (!name[0] || !name[1]) /* a dot at the end is the root's */
            return at;
        name++;
    }
}

size_t dns_tlsa_query(const char *name, uint16_t port, uint16_t id, uint8_t query[DNS_QUERY_MAX])
{
    char prefix[16];
    size_t at = DNS_HEADER;

    snprintf(prefix, sizeof prefix, "_%u._tcp", port);
    memset(query, 0, DNS_QUERY_MAX);
    put_be16(query, id);
    put_be16(query + 2, FLAG_RECURSE | FLAG_PROVEN);
    put_be16(query + 4, 1);  /* one question */
    put_be16(query + 10, 1); /* one additional record: OPT */
    at = put_labels(query, at, prefix);
    if (!(at = put_labels(query, at, name)))
        return 0;
    at++; /* the root */
    put_be16(query + at, TYPE_TLSA);
    put_be16(query + at + 2, CLASS_IN);
    at += 4;
    put_be16(query + at + 1, TYPE_OPT); /* of the root's name; RFC 6891 section 6.1.2 */
    put_be16(query + at + 3, EDNS_SIZE);
    return at + OPT_BYTES;
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
}

static bool same_bytes(const uint8_t *a, const uint8_t *b, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (lower(a[i]) != lower(b[i]))
            return false;
    return true;
}

bool dns_answers(const uint8_t *query, size_t query_len, const uint8_t *answer, size_t len)
{
    const size_t question = query_len - DNS_HEADER - OPT_BYTES;

    return len >= DNS_HEADER + question && be16(answer) == be16(query) && be16(answer + 2) & FLAG_ANSWER &&
           !(be16(answer + 2) & FLAG_OPCODE) && be16(answer + 4) == 1 &&
           same_bytes(answer + DNS_HEADER, query + DNS_HEADER, question);
}

struct message {
    const uint8_t *bytes;
    size_t len;
};

/* Reads a name at *at into out, without compression; *at is then behind it. Its length with the root's zero, or 0. */
static size_t take_name(const struct message *m, size_t *at, uint8_t out[NAME_MAX_BYTES])
{
    size_t from = *at, n = 0, lowest = from;
    bool jumped = false;

    while (from < m->len) {
        const uint8_t len = m->bytes[from];
        if (len > LABEL_MAX) {
            if (len < 0xc0 || from + 2 > m->len)
                return 0;
            const size_t to = be16(m->bytes + from) & 0x3fffu;
            if (to >= lowest) /* only ever backwards: so it ends */
                return 0;
            if (!jumped)
                *at = from + 2;
            jumped = true;
            lowest = from = to;
            continue;
        }
        if (n + 1 + len > NAME_MAX_BYTES || from + 1 + len > m->len)
            return 0;
        memcpy(out + n, m->bytes + from, 1u + len);
        n += 1u + len;
        from += 1u + len;
        if (len == 0) {
            if (!jumped)
                *at = from;
            return n;
        }
    }
    return 0;
}

struct name {
    uint8_t bytes[NAME_MAX_BYTES];
    size_t len;
};

static bool same_name(const struct name *a, const struct name *b)
{
    return a->len == b->len && same_bytes(a->bytes, b->bytes, a->len);
}

struct record {
    struct name owner;
    uint16_t type, class, len;
    size_t data; /* offset in the message */
};

static bool take_record(const struct message *m, size_t *at, struct record *r)
{
    r->owner.len = take_name(m, at, r->owner.bytes);
    if (!r->owner.len || m->len - *at < 10)
        return false;
    r->type = be16(m->bytes + *at);
    r->class = be16(m->bytes + *at + 2);
    r->len = be16(m->bytes + *at + 8);
    r->data = *at + 10;
    *at = r->data + r->len;
    return *at <= m->len;
}

/* One pass over the records of the answer. *wanted becomes what it is an alias of. False: malformed. */
static bool scan(const struct message *m, size_t at, unsigned count, struct name *wanted, bool *alias,
                 struct tlsa_set *set, bool *found)
{
    struct record r;

    *alias = false;
    for (unsigned i = 0; i < count; i++) {
        if (!take_record(m, &at, &r))
            return false;
        if (r.class != CLASS_IN || !same_name(&r.owner, wanted))
            continue;
        if (r.type == TYPE_TLSA) {
            *found = true;
            (void)tlsa_add(set, m->bytes + r.data, r.len);
        } else if (r.type == TYPE_CNAME && !*found) {
            size_t target = r.data;
            const struct message inside = {m->bytes, r.data + r.len};
            wanted->len = take_name(&inside, &target, wanted->bytes);
            if (!wanted->len)
                return false;
            *alias = true;
        }
    }
    return true;
}

static enum dns_verdict read_records(const struct message *m, size_t query_len, struct tlsa_set *set)
{
    size_t at = DNS_HEADER;
    struct name wanted;
    bool alias = true, found = false;

    wanted.len = take_name(m, &at, wanted.bytes);
    if (!wanted.len || at + 4 != query_len - OPT_BYTES)
        return DNS_MALFORMED;
    for (int i = 0; alias && !found && i < ALIASES_MAX; i++)
        if (!scan(m, at + 4, be16(m->bytes + 6), &wanted, &alias, set, &found))
            return DNS_MALFORMED;
    if (alias && !found)
        return DNS_MALFORMED; /* of itself, or a longer chain than anybody needs */
    return found ? DNS_FOUND : DNS_ABSENT;
}

enum dns_verdict dns_tlsa_answer(const uint8_t *query, size_t query_len, const uint8_t *answer, size_t len,
                                 struct tlsa_set *set, unsigned *rcode)
{
    const struct message m = {answer, len};

    memset(set, 0, sizeof *set);
    if (query_len < DNS_HEADER + OPT_BYTES || !dns_answers(query, query_len, answer, len) ||
        be16(answer + 2) & FLAG_TRUNCATED)
        return DNS_MALFORMED;
    *rcode = answer[3] & RCODE_MASK;
    if (*rcode != RCODE_NONE && *rcode != RCODE_NO_NAME)
        return DNS_FAILED;
    if (!(be16(answer + 2) & FLAG_PROVEN))
        return DNS_INSECURE;
    const enum dns_verdict verdict = read_records(&m, query_len, set);
    if (verdict != DNS_FOUND)
        memset(set, 0, sizeof *set);
    return verdict;
}
