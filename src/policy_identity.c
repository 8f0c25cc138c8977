/* Options that say who this side is, in a rule or in an identity statement. The files are read by identity.c. */
#include "policy_internal.h"

#include <string.h>

enum { IDENTITY_NAME_MAX = 64, PSK_NAME_MAX = 128 };

bool policy_take_identity_name(struct lexer *lx, struct word w, const char **out)
{
    bool fits = w.len && w.len <= IDENTITY_NAME_MAX;
    for (size_t i = 0; fits && i < w.len; i++) {
        char c = w.at[i];
        fits = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (i && strchr("-_.", c));
    }
    if (!fits)
        return policy_expected(lx, "a name of letters, digits, '-', '_' and '.', at most 64", w, NULL, NULL);
    *out = policy_keep(lx, w.at, w.len);
    return *out;
}

const struct named_identity *policy_find_identity(const struct policy *p, const char *name)
{
    const struct named_identity *i = p->identities;
    while (i && strcmp(i->options.values.own.name, name) != 0)
        i = i->next;
    return i || !p->known ? i : policy_find_identity(p->known, name);
}

bool policy_parse_id(struct lexer *lx, struct word w, struct options *o)
{
    return policy_take_identity_name(lx, w, &o->values.own.name);
}

bool policy_parse_cert(struct lexer *lx, struct word w, struct options *o)
{
    return policy_path_or_token(lx, w, &o->values.own.cert_file);
}

bool policy_parse_key(struct lexer *lx, struct word w, struct options *o)
{
    return policy_path_or_token(lx, w, &o->values.own.key_file);
}

bool policy_parse_passphrase(struct lexer *lx, struct word w, struct options *o)
{
    return policy_path(lx, w, &o->values.own.passphrase_file);
}

bool policy_parse_pin_file(struct lexer *lx, struct word w, struct options *o)
{
    return policy_path(lx, w, &o->values.own.pin_file);
}

bool policy_parse_staple(struct lexer *lx, struct word w, struct options *o)
{
    return policy_path(lx, w, &o->values.own.ocsp_staple);
}

bool policy_parse_psk(struct lexer *lx, struct word w, struct options *o)
{
    return policy_path(lx, w, &o->values.own.psk_file);
}

bool policy_parse_psk_name(struct lexer *lx, struct word w, struct options *o)
{
    if (w.len > PSK_NAME_MAX || memchr(w.at, ':', w.len))
        return policy_expected(lx, "the name of a key in the file of psk=, without ':'", w, NULL, NULL);
    o->values.own.psk_name = policy_keep(lx, w.at, w.len);
    return o->values.own.psk_name;
}

bool policy_parse_show(struct lexer *lx, struct word w, struct options *o)
{
    static const struct named_value shows[] = {
        {"always", SHOW_ALWAYS}, {"proven", SHOW_PROVEN}, {"never", SHOW_NEVER}, {0}};
    int value = 0;
    bool ok = policy_named(lx, w, shows, "always, proven or never", &value);
    o->values.show = (enum policy_show)value;
    return ok;
}

static bool in_token(const char *path)
{
    return path && !strncmp(path, "pkcs11:", 7);
}

/* A half-given identity is a mistake, and what it would fall back to is not what was meant. */
bool policy_check_own(struct lexer *lx, const struct options *o, const struct policy_rule *rule)
{
    static const struct {
        enum option given, needed;
        const char *message;
    } needs[] = {
        {OPTION_CERT, OPTION_KEY, "expected key= beside cert=, found none"},
        {OPTION_PASSPHRASE_FILE, OPTION_KEY, "expected key= beside passphrase-file=, found none"},
        {OPTION_PIN_FILE, OPTION_KEY, "expected key= beside pin-file=, found none"},
        {OPTION_OCSP_STAPLE, OPTION_CERT, "expected cert= and key= beside ocsp-staple=, found none"},
        {OPTION_PSK_NAME, OPTION_PSK, "expected psk= beside psk-name=, found none"},
    };
    const struct policy_identity *own = &o->values.own;
    for (size_t i = 0; i < sizeof needs / sizeof needs[0]; i++)
        if ((o->given & BIT(needs[i].given)) && !(o->given & BIT(needs[i].needed)))
            return policy_fail(lx, policy_place_of(o, needs[i].given, rule), "%s", needs[i].message);
    if (own->pin_file && !in_token(own->key_file) && !in_token(own->cert_file))
        return policy_fail(lx, policy_place_of(o, OPTION_PIN_FILE, rule),
                           "expected a pkcs11: URI in key= beside pin-file=, found a file; the passphrase of a file is "
                           "passphrase-file=");
    if (own->passphrase_file && in_token(own->key_file))
        return policy_fail(
            lx, policy_place_of(o, OPTION_PASSPHRASE_FILE, rule),
            "expected a file in key= beside passphrase-file=, found a pkcs11: URI; the PIN of a token is "
            "pin-file=");
    return true;
}
