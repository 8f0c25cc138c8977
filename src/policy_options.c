/* The options of a statement: their values, how defaults are inherited, and which of them can stand together. */
#include "policy_internal.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <string.h>

enum {
    HOST_NAME_MAX_BYTES = 253, /* RFC 1035 section 2.3.4, without the root's dot */
    HOST_LABEL_MAX = 63,
    MAX_HANDSHAKE_TIMEOUT_MS = 24 * 3600 * 1000,
    MAX_EARLY_LIMIT = 64 * 1024 * 1024,
};

struct named_value {
    const char *name;
    int value;
};

static const struct named_value roles[] = {{"peer", ROLE_PEER}, {"client", ROLE_CLIENT}, {"server", ROLE_SERVER}, {0}};
static const struct named_value hellos[] = {{"now", HELLO_NOW}, {"wait", HELLO_WAIT}, {0}};
static const struct named_value prefers[] = {{"client", PREFER_CLIENT}, {"server", PREFER_SERVER}, {0}};
static const struct named_value connects[] = {{"wait", true}, {0}};

enum { NAMED_MAX = 4 };

static bool parse_named(struct lexer *lx, struct word w, const struct named_value *named, const char *expected,
                        int *out)
{
    const char *names[NAMED_MAX] = {0};
    for (size_t i = 0; named[i].name; i++) {
        if (policy_word_is(w, named[i].name)) {
            *out = named[i].value;
            return true;
        }
        names[i] = named[i].name;
    }
    return policy_expected(lx, expected, w, names, NULL);
}

static bool parse_role_set(struct lexer *lx, struct word w, enum role_set *out)
{
    int value = 0;
    bool ok = parse_named(lx, w, roles, "peer, client or server", &value);
    *out = (enum role_set)value;
    return ok;
}

static bool parse_role(struct lexer *lx, struct word w, struct policy_rule *r)
{
    return parse_role_set(lx, w, &r->role);
}

static bool parse_remote_role(struct lexer *lx, struct word w, struct policy_rule *r)
{
    return parse_role_set(lx, w, &r->remote_role);
}

static bool parse_hello(struct lexer *lx, struct word w, struct policy_rule *r)
{
    int value = 0;
    bool ok = parse_named(lx, w, hellos, "now or wait", &value);
    r->hello = (enum policy_hello)value;
    return ok;
}

static bool parse_prefer(struct lexer *lx, struct word w, struct policy_rule *r)
{
    int value = 0;
    bool ok = parse_named(lx, w, prefers, "client or server", &value);
    r->prefer = (enum role_prefer)value;
    return ok;
}

static bool parse_connect(struct lexer *lx, struct word w, struct policy_rule *r)
{
    int value = 0;
    bool ok = parse_named(lx, w, connects, "wait", &value);
    r->connect_waits = value;
    return ok;
}

static bool unit_is(const char *s, size_t len, const char *unit)
{
    return strlen(unit) == len && !memcmp(s, unit, len);
}

/* The digits after the point, in milliseconds. */
static bool parse_fraction(const char **s, size_t *left, uint64_t *ms)
{
    uint64_t value = 0;
    size_t used = 0;
    if (!policy_digits(*s, *left, &value, &used) || used > 3)
        return false;
    for (size_t i = used; i < 3; i++)
        value *= 10;
    *ms += value;
    *s += used;
    *left -= used;
    return true;
}

/* SECONDS or SECONDS.FRACTION, with or without the unit s, or whole milliseconds with ms. */
static bool duration_ms(struct word w, uint64_t *ms)
{
    size_t used = 0;
    if (!policy_digits(w.at, w.len, ms, &used) || *ms > MAX_HANDSHAKE_TIMEOUT_MS)
        return false;
    const char *s = w.at + used;
    size_t left = w.len - used;
    if (unit_is(s, left, "ms"))
        return true;
    *ms *= 1000;
    if (left && *s == '.') {
        s++, left--;
        if (!parse_fraction(&s, &left, ms))
            return false;
    }
    return !left || unit_is(s, left, "s");
}

static bool parse_timeout(struct lexer *lx, struct word w, struct policy_rule *r)
{
    uint64_t ms = 0;
    if (!duration_ms(w, &ms) || !ms || ms > MAX_HANDSHAKE_TIMEOUT_MS)
        return policy_expected(lx, "a time above 0 and up to 86400 s, as 10, 2.5, 2.5s or 250ms", w, NULL, NULL);
    r->handshake_timeout_ms = (uint32_t)ms;
    return true;
}

static bool parse_early(struct lexer *lx, struct word w, struct policy_rule *r)
{
    static const char expected[] = "a size from 1 byte to 64M, as 100000, 256K or 1M";
    uint64_t value = 0, unit = 1;
    size_t used = 0;
    bool ok = policy_digits(w.at, w.len, &value, &used) && value <= MAX_EARLY_LIMIT;
    if (ok && used < w.len) {
        unit = w.at[used] == 'K' ? 1024 : w.at[used] == 'M' ? 1024 * 1024 : 0;
        ok = unit && used + 1 == w.len;
    }
    if (!ok || !value || value * unit > MAX_EARLY_LIMIT)
        return policy_expected(lx, expected, w, NULL, NULL);
    r->early_limit_bytes = (uint32_t)(value * unit);
    return true;
}

static bool parse_rekey(struct lexer *lx, struct word w, struct policy_rule *r)
{
    size_t used = 0;
    if (!policy_digits(w.at, w.len, &r->rekey_after_records, &used) || used != w.len)
        return policy_expected(lx, "a number of records (0: the cipher's own limit)", w, NULL, NULL);
    return true;
}

/* Absolute, since a daemon changes its directory and the files may be read later than this. */
static bool parse_path(struct lexer *lx, struct word w, const char **out)
{
    if (w.at[0] != '/')
        return policy_expected(lx, "an absolute path", w, NULL, "begin it with '/'");
    *out = policy_keep(lx, w.at, w.len);
    return *out;
}

static bool parse_cert(struct lexer *lx, struct word w, struct policy_rule *r)
{
    return parse_path(lx, w, &r->own.cert_file);
}

static bool parse_key(struct lexer *lx, struct word w, struct policy_rule *r)
{
    return parse_path(lx, w, &r->own.key_file);
}

static bool parse_ca(struct lexer *lx, struct word w, struct policy_rule *r)
{
    return parse_path(lx, w, &r->trust.ca);
}

static bool parse_psk(struct lexer *lx, struct word w, struct policy_rule *r)
{
    return parse_path(lx, w, &r->own.psk_file);
}

static bool label_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static bool is_host_name(const char *name, size_t len)
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

static bool is_address(const char *text)
{
    uint8_t binary[16];
    return inet_pton(AF_INET, text, binary) == 1 || inet_pton(AF_INET6, text, binary) == 1;
}

static bool parse_peer(struct lexer *lx, struct word w, struct policy_rule *r)
{
    struct word name = w;
    if (name.len > 2 && name.at[0] == '[' && name.at[name.len - 1] == ']')
        name = (struct word){name.at + 1, name.len - 2, w.place};
    r->peer_patterns = policy_keep(lx, name.at, name.len);
    if (!r->peer_patterns)
        return false;
    if (is_address(r->peer_patterns) || (name.len == w.len && is_host_name(name.at, name.len)))
        return true;
    const char *hint = NULL;
    if (w.at[w.len - 1] == '.')
        hint = "leave the last dot out";
    else if (memchr(w.at, '*', w.len))
        hint = "a wildcard may stand in the certificate, not here";
    return policy_expected(lx, "a DNS name or an IP address", w, NULL, hint);
}

static const char *const cipher_names[] = {"aes-128-gcm", "aes-256-gcm", "chacha20-poly1305", NULL};
static const char *const gnutls_names[] = {"+AES-128-GCM", "+AES-256-GCM", "+CHACHA20-POLY1305"};

static bool parse_cipher(struct lexer *lx, struct word name, unsigned *seen, unsigned *index)
{
    unsigned i = 0;
    while (cipher_names[i] && !policy_word_is(name, cipher_names[i]))
        i++;
    if (!cipher_names[i])
        return policy_expected(lx, "aes-128-gcm, aes-256-gcm or chacha20-poly1305", name, cipher_names, NULL);
    if (*seen & 1u << i)
        return policy_expected(lx, "each cipher once", name, NULL, NULL);
    *seen |= 1u << i;
    *index = i;
    return true;
}

static bool parse_ciphers(struct lexer *lx, struct word w, struct policy_rule *r)
{
    char out[sizeof "+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305"];
    size_t len = 0, at = 0;
    unsigned seen = 0, i = 0;
    do {
        const char *comma = memchr(w.at + at, ',', w.len - at);
        size_t name_len = comma ? (size_t)(comma - w.at) - at : w.len - at;
        struct word name = {w.at + at, name_len, {w.place.line, w.place.column + (unsigned)at}};
        if (!parse_cipher(lx, name, &seen, &i))
            return false;
        if (len)
            out[len++] = ':';
        memcpy(out + len, gnutls_names[i], strlen(gnutls_names[i]));
        len += strlen(gnutls_names[i]);
        at += name_len + 1;
    } while (at <= w.len);
    r->client_ciphers = r->server_ciphers = policy_keep(lx, out, len);
    return r->client_ciphers;
}

static const struct {
    const char *name;
    bool (*parse)(struct lexer *lx, struct word value, struct policy_rule *out); /* NULL: a bare word */
} known[OPTION_COUNT] = {
    [OPTION_ROLE] = {"role", parse_role},
    [OPTION_REMOTE_ROLE] = {"remote-role", parse_remote_role},
    [OPTION_HELLO] = {"hello", parse_hello},
    [OPTION_PREFER] = {"prefer", parse_prefer},
    [OPTION_CONNECT] = {"connect", parse_connect},
    [OPTION_INSECURE] = {"insecure", NULL},
    [OPTION_HANDSHAKE_TIMEOUT] = {"handshake-timeout", parse_timeout},
    [OPTION_EARLY_DATA_BUFFER] = {"early-data-buffer", parse_early},
    [OPTION_REKEY_AFTER] = {"rekey-after", parse_rekey},
    [OPTION_CERT] = {"cert", parse_cert},
    [OPTION_KEY] = {"key", parse_key},
    [OPTION_CA] = {"ca", parse_ca},
    [OPTION_PSK] = {"psk", parse_psk},
    [OPTION_PEER] = {"peer", parse_peer},
    [OPTION_CIPHERS] = {"ciphers", parse_ciphers},
};

static bool unknown_option(struct lexer *lx, struct word name)
{
    const char *names[OPTION_COUNT + 3] = {0};
    for (unsigned i = 0; i < OPTION_COUNT; i++)
        names[i] = known[i].name;
    names[OPTION_COUNT] = "plain";
    names[OPTION_COUNT + 1] = "deny";
    bool action = policy_word_is(name, "plain") || policy_word_is(name, "deny");
    return policy_expected(lx, "an option (docs/POLICY.md lists them) or ';'", name, action ? NULL : names,
                           action ? "plain and deny stand alone, right after the targets" : NULL);
}

bool policy_parse_option(struct lexer *lx, struct options *options)
{
    struct word name = policy_take_until(lx, '='), value;
    unsigned i = 0;
    while (i < OPTION_COUNT && !policy_word_is(name, known[i].name))
        i++;
    if (i == OPTION_COUNT)
        return unknown_option(lx, name);
    if (options->given & 1u << i)
        return policy_fail(lx, name.place, "expected each option once, found %s again", known[i].name);
    options->given |= 1u << i;
    options->place[i] = name.place;
    bool assigned = policy_peek(lx) == '=';
    if (!known[i].parse) {
        options->values.auth = AUTH_INSECURE_NONE;
        return !assigned || policy_fail(lx, lx->here, "expected %s alone, found a value", known[i].name);
    }
    if (!assigned)
        return policy_fail(lx, lx->here, "expected '=' and a value after %s, found none", known[i].name);
    policy_next(lx);
    return policy_take_value(lx, &value) && known[i].parse(lx, value, &options->values);
}
