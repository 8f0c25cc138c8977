/* Options of the connection: TLS roles, the hello, ciphers, and limits. */
#include "policy_internal.h"

#include <string.h>

enum { LIST_MAX = 8, LIST_TEXT_MAX = 160 };

/* Of GnuTLS 3.7; it leaves out silently what is more than that. */
enum { ALPN_NAMES_MAX = 8, ALPN_NAME_MAX = 31 };

static bool role_set(struct lexer *lx, struct word w, enum role_set *out)
{
    static const struct named_value roles[] = {
        {"peer", ROLE_PEER}, {"client", ROLE_CLIENT}, {"server", ROLE_SERVER}, {0}};
    int value = 0;
    bool ok = policy_named(lx, w, roles, "peer, client or server", &value);
    *out = (enum role_set)value;
    return ok;
}

bool policy_parse_role(struct lexer *lx, struct word w, struct options *o)
{
    return role_set(lx, w, &o->values.role);
}

bool policy_parse_remote_role(struct lexer *lx, struct word w, struct options *o)
{
    return role_set(lx, w, &o->values.remote_role);
}

bool policy_parse_hello(struct lexer *lx, struct word w, struct options *o)
{
    static const struct named_value hellos[] = {{"now", HELLO_NOW}, {"wait", HELLO_WAIT}, {0}};
    int value = 0;
    bool ok = policy_named(lx, w, hellos, "now or wait", &value);
    o->values.hello = (enum policy_hello)value;
    return ok;
}

bool policy_parse_prefer(struct lexer *lx, struct word w, struct options *o)
{
    static const struct named_value prefers[] = {{"client", PREFER_CLIENT}, {"server", PREFER_SERVER}, {0}};
    int value = 0;
    bool ok = policy_named(lx, w, prefers, "client or server", &value);
    o->values.prefer = (enum role_prefer)value;
    return ok;
}

bool policy_parse_connect(struct lexer *lx, struct word w, struct options *o)
{
    static const struct named_value connects[] = {{"wait", true}, {0}};
    int value = 0;
    bool ok = policy_named(lx, w, connects, "wait", &value);
    o->values.connect_waits = value;
    return ok;
}

bool policy_parse_sni(struct lexer *lx, struct word w, struct options *o)
{
    return policy_on_off(lx, w, &o->values.sni);
}

bool policy_parse_alpn(struct lexer *lx, struct word w, struct options *o)
{
    struct word rest = w, item;
    unsigned count = 0;
    while (policy_next_item(&rest, &item)) {
        if (!item.len)
            return policy_expected(lx, "the name of a protocol", item, NULL, "as in alpn=redis or alpn=h2,http/1.1");
        if (item.len > ALPN_NAME_MAX)
            return policy_fail(lx, item.place, "expected the name of a protocol of at most %d bytes, found %zu",
                               ALPN_NAME_MAX, item.len);
        if (++count > ALPN_NAMES_MAX)
            return policy_fail(lx, item.place, "expected at most %d protocols, found one more", ALPN_NAMES_MAX);
        for (const char *before = w.at; before < item.at;
             before = (const char *)memchr(before, ',', (size_t)(item.at - before)) + 1)
            if (!strncmp(before, item.at, item.len) && before[item.len] == ',')
                return policy_expected(lx, "each protocol once", item, NULL, NULL);
    }
    o->values.alpn = policy_keep(lx, w.at, w.len);
    return o->values.alpn;
}

struct translation {
    const char *name, *gnutls;
};

static const struct translation ciphers[] = {
    {"aes-128-gcm", "+AES-128-GCM"}, {"aes-256-gcm", "+AES-256-GCM"}, {"chacha20-poly1305", "+CHACHA20-POLY1305"}, {0}};
static const struct translation groups[] = {{"x25519", "+GROUP-X25519"},
                                            {"secp256r1", "+GROUP-SECP256R1"},
                                            {"x448", "+GROUP-X448"},
                                            {"secp384r1", "+GROUP-SECP384R1"},
                                            {0}};

static bool find_translation(struct lexer *lx, struct word item, const struct translation *known, const char *expected,
                             unsigned *index)
{
    const char *names[LIST_MAX] = {0};
    for (unsigned i = 0; known[i].name; i++) {
        if (policy_word_is(item, known[i].name)) {
            *index = i;
            return true;
        }
        names[i] = known[i].name;
    }
    return policy_expected(lx, expected, item, names, NULL);
}

/* Into GnuTLS's names, joined with ":", in the same order. */
static const char *translate(struct lexer *lx, struct word w, const struct translation *known, const char *expected,
                             const char *once)
{
    char out[LIST_TEXT_MAX];
    size_t len = 0;
    unsigned seen = 0, i = 0;
    struct word rest = w, item;
    while (policy_next_item(&rest, &item)) {
        if (!find_translation(lx, item, known, expected, &i))
            return NULL;
        if (seen & 1u << i) {
            policy_expected(lx, once, item, NULL, NULL);
            return NULL;
        }
        seen |= 1u << i;
        if (len)
            out[len++] = ':';
        memcpy(out + len, known[i].gnutls, strlen(known[i].gnutls));
        len += strlen(known[i].gnutls);
    }
    return policy_keep(lx, out, len);
}

static const char *cipher_list(struct lexer *lx, struct word w)
{
    return translate(lx, w, ciphers, "aes-128-gcm, aes-256-gcm or chacha20-poly1305", "each cipher once");
}

static const char *group_list(struct lexer *lx, struct word w)
{
    return translate(lx, w, groups, "x25519, secp256r1, x448 or secp384r1", "each group once");
}

bool policy_parse_client_ciphers(struct lexer *lx, struct word w, struct options *o)
{
    return (o->values.client_ciphers = cipher_list(lx, w));
}

bool policy_parse_server_ciphers(struct lexer *lx, struct word w, struct options *o)
{
    return (o->values.server_ciphers = cipher_list(lx, w));
}

bool policy_parse_ciphers(struct lexer *lx, struct word w, struct options *o)
{
    return (o->values.client_ciphers = o->values.server_ciphers = cipher_list(lx, w));
}

bool policy_parse_client_groups(struct lexer *lx, struct word w, struct options *o)
{
    return (o->values.client_groups = group_list(lx, w));
}

bool policy_parse_server_groups(struct lexer *lx, struct word w, struct options *o)
{
    return (o->values.server_groups = group_list(lx, w));
}

bool policy_parse_groups(struct lexer *lx, struct word w, struct options *o)
{
    return (o->values.client_groups = o->values.server_groups = group_list(lx, w));
}

bool policy_parse_timeout(struct lexer *lx, struct word w, struct options *o)
{
    return policy_time(lx, w, &o->values.handshake_timeout_ms);
}

bool policy_parse_early(struct lexer *lx, struct word w, struct options *o)
{
    return policy_size(lx, w, &o->values.early_limit_bytes);
}

bool policy_parse_rekey(struct lexer *lx, struct word w, struct options *o)
{
    return policy_count_value(lx, w, &o->values.rekey_after_records);
}

bool policy_parse_eof(struct lexer *lx, struct word w, struct options *o)
{
    static const struct named_value eofs[] = {{"strict", EOF_STRICT}, {"insecure-fin", EOF_INSECURE_FIN}, {0}};
    int value = 0;
    bool ok = policy_named(lx, w, eofs, "strict or insecure-fin", &value);
    o->values.eof = (enum policy_eof)value;
    return ok;
}

bool policy_parse_revalidate(struct lexer *lx, struct word w, struct options *o)
{
    static const struct named_value moments[] = {{"changed", false}, {"always", true}, {0}};
    int value = 0;
    bool ok = policy_named(lx, w, moments, "always or changed", &value);
    o->values.revalidate_always = value;
    return ok;
}

bool policy_parse_resume(struct lexer *lx, struct word w, struct options *o)
{
    return policy_on_off(lx, w, &o->values.resume);
}

bool policy_parse_accept_plain(struct lexer *lx, struct word w, struct options *o)
{
    return policy_on_off(lx, w, &o->values.accept_plain);
}

bool policy_parse_plain_wait(struct lexer *lx, struct word w, struct options *o)
{
    return policy_time(lx, w, &o->values.plain_wait_ms);
}
