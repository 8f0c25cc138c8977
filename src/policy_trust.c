/* Options that say whom this side accepts: what must be true of the remote identity, and its name. */
#include "policy_internal.h"

#include <stdio.h>
#include <string.h>

enum { PIN_BYTES = 32, PIN_HEX = 2 * PIN_BYTES, PIN_BASE64 = 44 };

bool policy_parse_auth(struct lexer *lx, struct word w, struct options *o)
{
    static const struct named_value auths[] = {
        {"require", AUTH_REQUIRE}, {"request", AUTH_REQUEST}, {"insecure-none", AUTH_INSECURE_NONE}, {0}};
    int value = 0;
    bool ok = policy_named(lx, w, auths, "require, request or insecure-none", &value);
    o->values.auth = (enum policy_auth)value;
    return ok;
}

bool policy_parse_usage(struct lexer *lx, struct word w, struct options *o)
{
    static const struct named_value usages[] = {{"any", USAGE_ANY}, {"role", USAGE_ROLE}, {0}};
    int value = 0;
    bool ok = policy_named(lx, w, usages, "any or role", &value);
    o->values.usage = (enum policy_usage)value;
    return ok;
}

/* Absolute paths; alone: a word that may stand in the place of one. */
static bool path_list(struct lexer *lx, struct word w, const char *alone, const char *expected, const char **out)
{
    struct word rest = w, item;
    while (policy_next_item(&rest, &item))
        if (!(alone && policy_word_is(item, alone)) && (!item.len || item.at[0] != '/'))
            return policy_expected(lx, expected, item, (const char *const[]){alone, NULL}, "begin a path with '/'");
    *out = policy_keep(lx, w.at, w.len);
    return *out;
}

bool policy_parse_ca(struct lexer *lx, struct word w, struct options *o)
{
    return path_list(lx, w, "system", "absolute paths of files or folders, or system", &o->values.trust.ca);
}

bool policy_parse_crl(struct lexer *lx, struct word w, struct options *o)
{
    return path_list(lx, w, NULL, "absolute paths of files or folders", &o->values.trust.crl);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int base64_digit(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

static bool from_hex(struct word w, uint8_t out[PIN_BYTES])
{
    for (size_t i = 0; i < PIN_BYTES; i++) {
        int high = hex_digit(w.at[2 * i]), low = hex_digit(w.at[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* 43 digits and one '=' hold 32 bytes; the last two bits of the last digit are zero (RFC 4648 section 3.5). */
static bool from_base64(struct word w, uint8_t out[PIN_BYTES])
{
    unsigned bits = 0, held = 0;
    size_t n = 0;
    for (size_t i = 0; i < PIN_BASE64 - 1; i++) {
        int digit = base64_digit(w.at[i]);
        if (digit < 0)
            return false;
        held = held << 6 | (unsigned)digit;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out[n++] = (uint8_t)(held >> bits);
            held &= (1u << bits) - 1;
        }
    }
    return !held && w.at[PIN_BASE64 - 1] == '=';
}

static bool take_pin(struct lexer *lx, struct word item, char *hex)
{
    static const char kind[] = "sha256:";
    uint8_t digest[PIN_BYTES];
    bool prefixed = item.len > sizeof kind - 1 && !memcmp(item.at, kind, sizeof kind - 1);
    if (!prefixed)
        return policy_expected(lx, "sha256: and the digest of a public key", item, NULL,
                               "as in pin=sha256:BASE64, 44 digits, or 64 hexadecimal ones");
    struct word text = policy_skip(item, sizeof kind - 1);
    if (!(text.len == PIN_HEX && from_hex(text, digest)) && !(text.len == PIN_BASE64 && from_base64(text, digest)))
        return policy_expected(lx, "64 hexadecimal digits, or 44 of base64, after sha256:", text, NULL, NULL);
    memcpy(hex, kind, sizeof kind - 1);
    for (size_t i = 0; i < PIN_BYTES; i++)
        snprintf(hex + sizeof kind - 1 + 2 * i, 3, "%02x", digest[i]);
    return true;
}

/* Kept in one spelling, so that others need to know one only. */
bool policy_parse_pin(struct lexer *lx, struct word w, struct options *o)
{
    enum { ONE = sizeof "sha256:" - 1 + PIN_HEX };
    char out[(POLICY_WORD_MAX / PIN_BASE64 + 1) * (ONE + 1)];
    size_t len = 0;
    struct word rest = w, item;
    while (policy_next_item(&rest, &item)) {
        if (len)
            out[len++] = ',';
        if (!take_pin(lx, item, out + len))
            return false;
        len += ONE;
    }
    o->values.trust.pins = policy_keep(lx, out, len);
    return o->values.trust.pins;
}

bool policy_parse_known_peers(struct lexer *lx, struct word w, struct options *o)
{
    static const char *const words[] = {"on", "off", NULL};
    o->values.trust.known_peers = NULL;
    if (policy_word_is(w, "off"))
        return true;
    if (!policy_word_is(w, "on") && w.at[0] != '/')
        return policy_expected(lx, "on, off or an absolute path", w, words, "begin a path with '/'");
    o->values.trust.known_peers = policy_keep(lx, w.at, w.len);
    return o->values.trust.known_peers;
}

bool policy_parse_dane(struct lexer *lx, struct word w, struct options *o)
{
    return policy_on_off(lx, w, &o->values.trust.dane);
}

bool policy_parse_ocsp(struct lexer *lx, struct word w, struct options *o)
{
    static const struct named_value values[] = {{"off", false}, {"stapled", true}, {0}};
    int value = 0;
    bool ok = policy_named(lx, w, values, "off or stapled", &value);
    o->values.trust.ocsp_stapled = value;
    return ok;
}

static size_t word_length(const char *text, size_t len)
{
    size_t n = 0;
    while (n < len && !memchr(" ()", text[n], 3))
        n++;
    return n ? n : len > 0;
}

bool policy_parse_trust(struct lexer *lx, struct word w, struct options *o)
{
    static const char *const words[] = {"ca", "pinned", "known", "dane", "revoked", "own", "and", "or", "not", NULL};
    size_t bad_at = 0;
    const char *expected = NULL;
    if (trust_parse(w.at, w.len, &o->values.trust.expression, &bad_at, &expected) != RESULT_OK) {
        struct word bad = policy_skip(w, bad_at < w.len ? bad_at : w.len);
        bad.len = word_length(bad.at, bad.len);
        if (!bad.len)
            return policy_fail(lx, bad.place, "expected %s, found the end of the value", expected);
        return policy_expected(lx, expected, bad, words, NULL);
    }
    o->trust_text = policy_keep(lx, w.at, w.len);
    o->trust_place = policy_skip(w, 0).place;
    return o->trust_text;
}

struct kind {
    const char *prefix;
    const char *expected;
};

static const struct kind kinds[] = {
    {"dns:", "a DNS name, or one with *. in front, after dns:"},
    {"ip:", "an IP address after ip:"},
    {"uri:", "a URI without blanks after uri:, with '*' at most at its end after a '/'"},
    {"email:", "an address as user@example after email:"},
    {"cn:", "a common name after cn:"},
    {"psk:", "the name of a PSK after psk:"},
};

enum { KIND_DNS, KIND_IP, KIND_URI, KIND_EMAIL, KIND_CN, KIND_PSK, KINDS, KIND_NONE = KINDS };

static bool is_dns_pattern(struct word w)
{
    size_t star = w.len > 2 && w.at[0] == '*' && w.at[1] == '.' ? 2 : 0;
    return policy_is_host_name(w.at + star, w.len - star);
}

static bool is_port(const char *at, const char *end)
{
    const char *digit = at;
    while (digit < end && *digit >= '0' && *digit <= '9')
        digit++;
    return digit > at && digit == end;
}

/* At least a scheme, and a wildcard only for all that is below a folder: spiffe://td/.. must not take spiffe://tdx. */
static bool is_uri_pattern(struct word w)
{
    const char *colon = memchr(w.at, ':', w.len), *star = memchr(w.at, '*', w.len);
    if (!colon || colon == w.at || memchr(w.at, ' ', w.len))
        return false;
    return !star || (star == w.at + w.len - 1 && w.len > 1 && star[-1] == '/');
}

static bool is_email(struct word w)
{
    const char *at = memchr(w.at, '@', w.len);
    size_t local = at ? (size_t)(at - w.at) : 0;
    return local && policy_is_host_name(at + 1, w.len - local - 1);
}

static bool fits_kind(int kind, struct word w)
{
    switch (kind) {
    case KIND_DNS:
        return is_dns_pattern(w);
    case KIND_IP:
        return policy_is_address(w);
    case KIND_URI:
        return is_uri_pattern(w);
    case KIND_EMAIL:
        return is_email(w);
    case KIND_CN:
    case KIND_PSK:
        return w.len;
    case KIND_NONE:
        return is_dns_pattern(w) || policy_is_address(w);
    }
    return false;
}

static int kind_of(struct word *w)
{
    for (int i = 0; i < KINDS; i++) {
        size_t len = strlen(kinds[i].prefix);
        if (w->len >= len && !memcmp(w->at, kinds[i].prefix, len)) {
            *w = policy_skip(*w, len);
            return i;
        }
    }
    return KIND_NONE;
}

static struct word without_brackets(struct word w)
{
    bool bracketed = w.len > 2 && w.at[0] == '[' && w.at[w.len - 1] == ']';
    struct word inside = bracketed ? policy_skip(w, 1) : w;
    inside.len -= bracketed;
    return bracketed && policy_is_address(inside) ? inside : w;
}

static bool check_pattern(struct lexer *lx, struct word item, struct word *prefix, struct word *value)
{
    static const char *const names[] = {"dns", "ip", "uri", "email", "cn", "psk", NULL};
    struct word w = item;
    int kind = kind_of(&w);
    *prefix = (struct word){item.at, item.len - w.len, item.place, 0};
    *value = kind == KIND_NONE || kind == KIND_IP ? without_brackets(w) : w;
    if (fits_kind(kind, *value))
        return true;
    if (kind != KIND_NONE)
        return policy_expected(lx, kinds[kind].expected, w, NULL, NULL);
    const char *colon = memchr(w.at, ':', w.len), *hint = "";
    if (w.len && w.at[w.len - 1] == '.')
        hint = "leave the last dot out";
    else if (w.len && memchr(w.at, '*', w.len))
        hint = "a wildcard stands for one label in front: *.example.org";
    if (colon && is_port(colon + 1, w.at + w.len))
        hint = "the port of a peer says nothing: leave it out";
    else if (colon)
        w.len = (size_t)(colon - w.at);
    return policy_expected(lx, "a DNS name, an IP address, or one of dns: ip: uri: email: cn: psk: and its value", w,
                           names, *hint ? hint : NULL);
}

bool policy_parse_peer(struct lexer *lx, struct word w, struct options *o)
{
    char out[POLICY_WORD_MAX + 1];
    size_t len = 0;
    struct word rest = w, item, prefix, value;
    while (policy_next_item(&rest, &item)) {
        if (!check_pattern(lx, item, &prefix, &value))
            return false;
        if (len)
            out[len++] = ',';
        memcpy(out + len, prefix.at, prefix.len);
        memcpy(out + len + prefix.len, value.at, value.len);
        len += prefix.len + value.len;
    }
    o->values.peer_patterns = policy_keep(lx, out, len);
    return o->values.peer_patterns;
}

static bool has_pattern(const char *patterns, bool of_psk)
{
    struct word rest = {patterns, strlen(patterns), {0}, 0}, item;
    while (policy_next_item(&rest, &item))
        if ((kind_of(&item) == KIND_PSK) == of_psk)
            return true;
    return false;
}

bool policy_has_psk_pattern(const char *patterns)
{
    return has_pattern(patterns, true);
}

bool policy_has_other_pattern(const char *patterns)
{
    return has_pattern(patterns, false);
}
