/* Targets: which addresses and ports a rule is about, and the same view of a sockaddr. */
#include "policy_internal.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

enum {
    V4_BITS = 32,
    V6_BITS = 128,
    MAPPED_BITS = 96,
    PORT_MAX = 65535,
    HOST_NAME_MAX_BYTES = 253, /* RFC 1035 section 2.3.4, without the root's dot */
    HOST_LABEL_MAX = 63,
};

static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff}; /* ::ffff:0:0/96, RFC 4291 section 2.5.5.2 */

bool policy_same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(a, b, whole))
        return false;
    return !rest || !((a[whole] ^ b[whole]) >> (8 - rest));
}

static struct word head(struct word w, size_t n)
{
    return (struct word){w.at, n, w.place, w.quote};
}

static size_t find(struct word w, const char *any_of)
{
    size_t n = 0;
    while (n < w.len && !memchr(any_of, w.at[n], strlen(any_of)))
        n++;
    return n;
}

/* Takes a number off the front of *w. */
static bool take_number(struct lexer *lx, struct word *w, uint64_t low, uint64_t high, const char *expected,
                        unsigned *out)
{
    uint64_t value;
    size_t used = 0;
    bool fits = policy_digits(w->at, w->len, &value, &used) && value >= low && value <= high;
    if (!fits)
        return policy_expected(lx, expected, *w, NULL, NULL);
    *out = (unsigned)value;
    *w = policy_skip(*w, used);
    return true;
}

static bool take_prefix(struct lexer *lx, struct word *w, unsigned bits, unsigned *prefix)
{
    if (!w->len || w->at[0] != '/')
        return true;
    *w = policy_skip(*w, 1);
    return take_number(lx, w, 0, bits, bits == V4_BITS ? "a prefix from 0 to 32" : "a prefix from 0 to 128", prefix);
}

static const char wildcard_hint[] = "a wildcard stands for whole labels in front: *.db.example";

static const char *v4_hint(struct word w, size_t len)
{
    struct word rest = policy_skip(w, len);
    if (rest.len && rest.at[0] == ':' && find(policy_skip(rest, 1), ":") < rest.len - 1)
        return "an IPv6 address goes into brackets, as in [::1]:443";
    if (len && w.at[len - 1] == '.')
        return "leave the last dot out";
    if (memchr(w.at, '*', len))
        return wildcard_hint;
    return NULL;
}

static bool take_v4(struct lexer *lx, struct word *w, struct policy_target *out)
{
    char text[INET_ADDRSTRLEN] = "";
    size_t len = find(*w, "/:");
    if (len < sizeof text)
        memcpy(text, w->at, len);
    if (inet_pton(AF_INET, text, out->address) != 1) /* strict: four decimal numbers, in every locale */
        return policy_expected(lx, "an address (10.0.0.0/8, [2001:db8::]/32 or *) or a name (db.example, *.db.example)",
                               *w, NULL, v4_hint(*w, len));
    out->family = FAMILY_V4;
    out->prefix = V4_BITS;
    *w = policy_skip(*w, len);
    return take_prefix(lx, w, V4_BITS, &out->prefix);
}

static bool take_v6(struct lexer *lx, struct word *w, struct policy_target *out)
{
    char text[INET6_ADDRSTRLEN] = "";
    struct word inside = policy_skip(*w, 1);
    size_t len = find(inside, "/]"), close = find(inside, "]");
    if (close == inside.len)
        return policy_fail(lx, w->place, "expected ']' after an IPv6 address, found none");
    if (len < sizeof text)
        memcpy(text, inside.at, len);
    if (inet_pton(AF_INET6, text, out->address) != 1)
        return policy_expected(lx, "an IPv6 address in brackets", head(inside, len), NULL,
                               find(inside, "%") < len ? "zones (%eth0) cannot be matched: leave it out" : NULL);
    out->family = FAMILY_V6;
    out->prefix = V6_BITS;
    struct word prefix = head(policy_skip(inside, len), close - len);
    bool prefix_inside = prefix.len > 0;
    if (!take_prefix(lx, &prefix, V6_BITS, &out->prefix))
        return false;
    if (prefix.len)
        return policy_expected(lx, "']' after the prefix", prefix, NULL, NULL);
    *w = policy_skip(inside, close + 1);
    if (prefix_inside && w->len && w->at[0] == '/')
        return policy_expected(lx, "':' and a port", *w, NULL, "the prefix is in the brackets already");
    return take_prefix(lx, w, V6_BITS, &out->prefix);
}

static void unmap(struct policy_target *t)
{
    if (t->family != FAMILY_V6 || t->prefix < MAPPED_BITS || memcmp(t->address, mapped_prefix, sizeof mapped_prefix))
        return;
    t->family = FAMILY_V4;
    t->prefix -= MAPPED_BITS;
    memmove(t->address, t->address + 12, 4);
    memset(t->address + 4, 0, 12);
}

static void clear_host_bits(uint8_t *address, unsigned prefix)
{
    for (unsigned i = 0; i < 16; i++) {
        unsigned kept = prefix > i * 8 ? prefix - i * 8 : 0;
        if (kept < 8)
            address[i] &= (uint8_t)(0xff00u >> kept);
    }
}

static bool check_address(struct lexer *lx, struct word w, const struct policy_target *t)
{
    static const uint8_t zeros[16];
    bool v4 = t->family == FAMILY_V4;
    uint8_t network[16];
    char text[INET6_ADDRSTRLEN];
    memcpy(network, t->address, sizeof network);
    clear_host_bits(network, t->prefix);
    if (memcmp(network, t->address, sizeof network)) {
        inet_ntop(v4 ? AF_INET : AF_INET6, network, text, sizeof text);
        return policy_fail(lx, w.place, "expected no address bits set below the prefix /%u; write %s%s%s/%u", t->prefix,
                           v4 ? "" : "[", text, v4 ? "" : "]", t->prefix);
    }
    /* As in a listen address it looks like "every address", but no connection has it: a rule that never matches
     * would leave the connections that it means in clear. */
    if (t->prefix == (v4 ? V4_BITS : V6_BITS) && !memcmp(t->address, zeros, sizeof zeros))
        return policy_fail(lx, w.place,
                           "expected an address of a connection, found %s; for all of %s write %s, for both *",
                           v4 ? "0.0.0.0" : "[::]", v4 ? "IPv4" : "IPv6", v4 ? "0.0.0.0/0" : "[::]/0");
    return true;
}

static bool take_ports(struct lexer *lx, struct word w, struct policy_target *out)
{
    unsigned low, high;
    if (w.len == 1 && w.at[0] == '*') {
        out->port_low = 0;
        out->port_high = PORT_MAX;
        return true;
    }
    struct word range = w;
    if (!take_number(lx, &w, 1, PORT_MAX, "a port from 1 to 65535, a range as 7000-7100, or '*'", &low))
        return false;
    high = low;
    if (w.len && w.at[0] == '-') {
        w = policy_skip(w, 1);
        if (!take_number(lx, &w, 1, PORT_MAX, "a port from 1 to 65535 after '-'", &high))
            return false;
    }
    if (w.len)
        return policy_expected(lx, "',', a blank or the end of the statement after the ports", w, NULL, NULL);
    if (high < low)
        return policy_fail(lx, range.place, "expected a range that goes up, found %u-%u; write %u-%u", low, high, high,
                           low);
    out->port_low = (uint16_t)low;
    out->port_high = (uint16_t)high;
    return true;
}

static bool label_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

bool policy_is_host_name(const char *name, size_t len)
{
    size_t label = 0;
    bool digits_only = true; /* of the last label: then it is a mistyped IPv4 address (RFC 1123 section 2.1) */
    if (len > HOST_NAME_MAX_BYTES)
        return false;
    for (size_t i = 0; i < len; i++) {
        bool edge = !label || i + 1 == len || name[i + 1] == '.';
        if (name[i] == '.') {
            if (!label)
                return false;
            label = 0;
            digits_only = true;
            continue;
        }
        if (!label_byte(name[i]) || (name[i] == '-' && edge) || ++label > HOST_LABEL_MAX)
            return false;
        digits_only = digits_only && name[i] >= '0' && name[i] <= '9';
    }
    return label && !digits_only;
}

bool policy_is_address(struct word w)
{
    char text[INET6_ADDRSTRLEN] = "";
    uint8_t binary[16];
    if (w.len >= sizeof text)
        return false;
    memcpy(text, w.at, w.len);
    return inet_pton(AF_INET, text, binary) == 1 || inet_pton(AF_INET6, text, binary) == 1;
}

/* NAME or *.NAME, up to the colon of the port; false and nothing taken if it is none. */
static bool take_name(struct lexer *lx, struct word *w, struct policy_target *out)
{
    size_t len = find(*w, ":/"), star = len > 2 && w->at[0] == '*' && w->at[1] == '.' ? 2 : 0;
    bool one_colon = len < w->len && w->at[len] == ':' && find(policy_skip(*w, len + 1), ":") == w->len - len - 1;
    if ((!one_colon && len < w->len) || !policy_is_host_name(w->at + star, len - star))
        return false;
    out->family = FAMILY_NAME;
    out->name = policy_keep_lower(lx, w->at, len);
    *w = policy_skip(*w, len);
    return true;
}

static bool take_address(struct lexer *lx, struct word *w, struct policy_target *out)
{
    struct word address = *w;
    if (w->len && w->at[0] == '*' && (w->len < 2 || !memchr(".-", w->at[1], 2))) {
        *w = policy_skip(*w, 1);
        return true;
    }
    if (!(w->len && w->at[0] == '[' ? take_v6(lx, w, out) : take_v4(lx, w, out)))
        return false;
    unmap(out);
    return check_address(lx, address, out);
}

bool policy_parse_target(struct lexer *lx, struct policy_target *out)
{
    struct word w = policy_take_until(lx, ',');
    memset(out, 0, sizeof *out);
    if (!w.len)
        return policy_expected(lx, "an endpoint (10.0.0.0/8:6379, [::1]:443, *:443 or db.example:5432)", w, NULL, NULL);
    if (!take_name(lx, &w, out) && !take_address(lx, &w, out))
        return false;
    if (lx->result != RESULT_OK)
        return false;
    if (!w.len || w.at[0] != ':')
        return policy_expected(lx, "':' and a port after the address", w, NULL,
                               !w.len            ? "':*' means every port"
                               : w.at[-1] == '*' ? wildcard_hint
                                                 : NULL);
    return take_ports(lx, policy_skip(w, 1), out);
}

bool policy_parse_range(struct lexer *lx, struct word w, struct policy_target *out)
{
    memset(out, 0, sizeof *out);
    out->port_high = PORT_MAX;
    if (w.len && memchr("0123456789[", w.at[0], 11)) {
        if (!take_address(lx, &w, out))
            return false;
        return !w.len || policy_expected(lx, "',' or the end of the value after the address", w, NULL,
                                         "the port of a peer says nothing: leave it out");
    }
    return policy_expected(lx, "an address or range, as 10.0.0.0/8 or [2001:db8::]/32", w, NULL, NULL);
}

bool policy_address_from(const struct sockaddr *address, socklen_t len, struct policy_target *out)
{
    /* The kernel also takes a sockaddr_in6 without sin6_scope_id (RFC 2133), so it must be matched too. */
    const size_t v6_least = offsetof(struct sockaddr_in6, sin6_scope_id);
    sa_family_t family;
    memset(out, 0, sizeof *out);
    if (!address || len < sizeof(struct sockaddr_in))
        return false;
    memcpy(&family, (const char *)address + offsetof(struct sockaddr, sa_family), sizeof family);
    if (family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in); /* the program's pointer may be unaligned */
        *out = (struct policy_target){.family = FAMILY_V4, .prefix = V4_BITS, .port_low = ntohs(in.sin_port)};
        memcpy(out->address, &in.sin_addr, 4);
    } else if (family == AF_INET6 && len >= v6_least) {
        struct sockaddr_in6 in6;
        memcpy(&in6, address, v6_least);
        *out = (struct policy_target){.family = FAMILY_V6, .prefix = V6_BITS, .port_low = ntohs(in6.sin6_port)};
        memcpy(out->address, &in6.sin6_addr, 16);
        unmap(out);
    } else {
        return false;
    }
    out->port_high = out->port_low;
    return true;
}
