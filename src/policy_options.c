/* The table of options, and the reading of one: NAME=VALUE. Their values are read in policy_connection.c,
 * policy_identity.c, policy_trust.c and policy_scope.c. */
#include "policy_internal.h"

#include <string.h>

/* In a rule and in set; a few also elsewhere. */
enum { RULE = SCOPE_RULE | SCOPE_SET, OWN = RULE | SCOPE_IDENTITY };

static const struct known_option {
    const char *name;
    uint64_t options; /* what it sets: ciphers= is client-ciphers= and server-ciphers= */
    option_parser *parse;
    unsigned scopes;
} known[] = {
    {"role", BIT(OPTION_ROLE), policy_parse_role, RULE},
    {"remote-role", BIT(OPTION_REMOTE_ROLE), policy_parse_remote_role, RULE},
    {"hello", BIT(OPTION_HELLO), policy_parse_hello, RULE},
    {"prefer", BIT(OPTION_PREFER), policy_parse_prefer, RULE},
    {"connect", BIT(OPTION_CONNECT), policy_parse_connect, RULE},
    {"auth", BIT(OPTION_AUTH), policy_parse_auth, RULE},
    {"show", BIT(OPTION_SHOW), policy_parse_show, RULE},
    {"usage", BIT(OPTION_USAGE), policy_parse_usage, RULE},
    {"id", BIT(OPTION_ID), policy_parse_id, RULE},
    {"cert", BIT(OPTION_CERT), policy_parse_cert, OWN},
    {"key", BIT(OPTION_KEY), policy_parse_key, OWN},
    {"passphrase-file", BIT(OPTION_PASSPHRASE_FILE), policy_parse_passphrase, OWN},
    {"pin-file", BIT(OPTION_PIN_FILE), policy_parse_pin_file, OWN},
    {"ocsp-staple", BIT(OPTION_OCSP_STAPLE), policy_parse_staple, OWN},
    {"psk", BIT(OPTION_PSK), policy_parse_psk, OWN},
    {"psk-name", BIT(OPTION_PSK_NAME), policy_parse_psk_name, OWN},
    {"ca", BIT(OPTION_CA), policy_parse_ca, RULE},
    {"pin", BIT(OPTION_PIN), policy_parse_pin, RULE},
    {"known-peers", BIT(OPTION_KNOWN_PEERS), policy_parse_known_peers, RULE},
    {"dane", BIT(OPTION_DANE), policy_parse_dane, RULE},
    {"crl", BIT(OPTION_CRL), policy_parse_crl, RULE},
    {"ocsp", BIT(OPTION_OCSP), policy_parse_ocsp, RULE},
    {"trust", BIT(OPTION_TRUST), policy_parse_trust, RULE},
    {"peer", BIT(OPTION_PEER), policy_parse_peer, RULE},
    {"sni", BIT(OPTION_SNI), policy_parse_sni, RULE},
    {"alpn", BIT(OPTION_ALPN), policy_parse_alpn, RULE},
    {"client-ciphers", BIT(OPTION_CLIENT_CIPHERS), policy_parse_client_ciphers, RULE},
    {"server-ciphers", BIT(OPTION_SERVER_CIPHERS), policy_parse_server_ciphers, RULE},
    {"ciphers", BIT(OPTION_CLIENT_CIPHERS) | BIT(OPTION_SERVER_CIPHERS), policy_parse_ciphers, RULE},
    {"client-groups", BIT(OPTION_CLIENT_GROUPS), policy_parse_client_groups, RULE},
    {"server-groups", BIT(OPTION_SERVER_GROUPS), policy_parse_server_groups, RULE},
    {"groups", BIT(OPTION_CLIENT_GROUPS) | BIT(OPTION_SERVER_GROUPS), policy_parse_groups, RULE},
    {"handshake-timeout", BIT(OPTION_HANDSHAKE_TIMEOUT), policy_parse_timeout, RULE},
    {"early-data-buffer", BIT(OPTION_EARLY_DATA_BUFFER), policy_parse_early, RULE},
    {"rekey-after", BIT(OPTION_REKEY_AFTER), policy_parse_rekey, RULE},
    {"eof", BIT(OPTION_EOF), policy_parse_eof, RULE},
    {"revalidate", BIT(OPTION_REVALIDATE), policy_parse_revalidate, RULE},
    {"resume", BIT(OPTION_RESUME), policy_parse_resume, RULE},
    {"from", BIT(OPTION_FROM), policy_parse_from, RULE},
    {"for", BIT(OPTION_FOR), policy_parse_for, RULE | SCOPE_DENY | SCOPE_PLAIN},
    {"mode", BIT(OPTION_MODE), policy_parse_mode, RULE | SCOPE_DENY},
    {"insecure-accept-plain", BIT(OPTION_ACCEPT_PLAIN), policy_parse_accept_plain, RULE},
    {"plain-wait", BIT(OPTION_PLAIN_WAIT), policy_parse_plain_wait, RULE},
};

enum { KNOWN = sizeof known / sizeof known[0], WORDS = 4 };

static const char *const words[WORDS] = {"tls", "plain", "deny", "final"};

static const char *scope_expected(enum scope scope)
{
    switch (scope) {
    case SCOPE_RULE:
        return "an option (docs/POLICY.md lists them) or ';'";
    case SCOPE_DENY:
        return "for=, mode= or the end of the statement after deny";
    case SCOPE_PLAIN:
        return "for= or the end of the statement after plain";
    case SCOPE_IDENTITY:
        return "cert=, key=, passphrase-file=, pin-file=, ocsp-staple=, psk= or psk-name=";
    case SCOPE_SET:
        return "an option (docs/POLICY.md lists them) or ';'";
    }
    return "";
}

static bool is_bare_word(struct word name)
{
    for (size_t i = 0; i < WORDS; i++)
        if (policy_word_is(name, words[i]))
            return true;
    return false;
}

static bool unknown_option(struct lexer *lx, struct word name, enum scope scope)
{
    const char *names[KNOWN + WORDS + 1] = {0};
    size_t n = 0;
    if (policy_word_is(name, "insecure"))
        return policy_expected(lx, "auth=insecure-none", name, NULL, "the remote side is then not checked");
    if (is_bare_word(name))
        return policy_expected(
            lx, scope_expected(scope), name, NULL,
            scope == SCOPE_RULE ? "tls, plain or deny stand right after the endpoints, and final behind them" : NULL);
    for (size_t i = 0; i < KNOWN; i++)
        if (known[i].scopes & (unsigned)scope)
            names[n++] = known[i].name;
    for (size_t i = 0; i < WORDS && scope == SCOPE_RULE; i++)
        names[n++] = words[i];
    return policy_expected(lx, scope_expected(scope), name, names, NULL);
}

static const struct known_option *find_option(struct word name, enum scope scope)
{
    for (size_t i = 0; i < KNOWN; i++)
        if ((known[i].scopes & (unsigned)scope) && policy_word_is(name, known[i].name))
            return &known[i];
    return NULL;
}

static bool note_given(struct lexer *lx, struct options *o, const struct known_option *option, struct place place)
{
    if (o->given & option->options)
        return policy_fail(lx, place, "expected each option once, found %s again", option->name);
    o->given |= option->options;
    o->said |= option->options;
    for (unsigned i = 0; i < OPTION_COUNT; i++)
        if (option->options & BIT(i))
            o->place[i] = place;
    return true;
}

bool policy_parse_option(struct lexer *lx, struct options *options, enum scope scope)
{
    struct word name = policy_take_until(lx, '='), value;
    const struct known_option *option = find_option(name, scope);
    if (!option)
        return unknown_option(lx, name, scope);
    if (!note_given(lx, options, option, name.place))
        return false;
    if (policy_peek(lx) != '=')
        return policy_fail(lx, lx->here, "expected '=' and a value after %s, found none", option->name);
    policy_next(lx);
    return policy_take_value(lx, &value) && option->parse(lx, value, options);
}
