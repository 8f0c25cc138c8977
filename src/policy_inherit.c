/* What set adds to a rule, and what cannot stand together. A statement's own words win over inherited ones that speak
 * against them; two of its own are an error. */
#include "policy_internal.h"

#include <stddef.h>
#include <string.h>

/* Values of options that conflicts ask about, beside the options themselves. */
enum trait {
    WAITS = OPTION_COUNT, /* hello=wait */
    UNCHECKED,            /* auth=insecure-none, and not even show=proven looks at the peer */
    LENIENT,              /* auth=request or insecure-none */
    NAMES,                /* peer= with what is in a certificate */
    PSK_NAMES,            /* peer= with names of PSKs */
};

/* clang-format off */
#define MEMBER(name) {offsetof(struct options, name), sizeof((struct options *)0)->name}
/* clang-format on */

static const struct {
    size_t offset, size;
} members[OPTION_COUNT] = {
    [OPTION_ROLE] = MEMBER(values.role),
    [OPTION_REMOTE_ROLE] = MEMBER(values.remote_role),
    [OPTION_HELLO] = MEMBER(values.hello),
    [OPTION_PREFER] = MEMBER(values.prefer),
    [OPTION_CONNECT] = MEMBER(values.connect_waits),
    [OPTION_AUTH] = MEMBER(values.auth),
    [OPTION_SHOW] = MEMBER(values.show),
    [OPTION_USAGE] = MEMBER(values.usage),
    [OPTION_ID] = MEMBER(values.own.name),
    [OPTION_CERT] = MEMBER(values.own.cert_file),
    [OPTION_KEY] = MEMBER(values.own.key_file),
    [OPTION_PASSPHRASE_FILE] = MEMBER(values.own.passphrase_file),
    [OPTION_PIN_FILE] = MEMBER(values.own.pin_file),
    [OPTION_OCSP_STAPLE] = MEMBER(values.own.ocsp_staple),
    [OPTION_PSK] = MEMBER(values.own.psk_file),
    [OPTION_PSK_NAME] = MEMBER(values.own.psk_name),
    [OPTION_CA] = MEMBER(values.trust.ca),
    [OPTION_PIN] = MEMBER(values.trust.pins),
    [OPTION_KNOWN_PEERS] = MEMBER(values.trust.known_peers),
    [OPTION_DANE] = MEMBER(values.trust.dane),
    [OPTION_CRL] = MEMBER(values.trust.crl),
    [OPTION_OCSP] = MEMBER(values.trust.ocsp_stapled),
    [OPTION_TRUST] = MEMBER(values.trust.expression),
    [OPTION_PEER] = MEMBER(values.peer_patterns),
    [OPTION_SNI] = MEMBER(values.sni),
    [OPTION_ALPN] = MEMBER(values.alpn),
    [OPTION_CLIENT_CIPHERS] = MEMBER(values.client_ciphers),
    [OPTION_SERVER_CIPHERS] = MEMBER(values.server_ciphers),
    [OPTION_CLIENT_GROUPS] = MEMBER(values.client_groups),
    [OPTION_SERVER_GROUPS] = MEMBER(values.server_groups),
    [OPTION_HANDSHAKE_TIMEOUT] = MEMBER(values.handshake_timeout_ms),
    [OPTION_EARLY_DATA_BUFFER] = MEMBER(values.early_limit_bytes),
    [OPTION_REKEY_AFTER] = MEMBER(values.rekey_after_records),
    [OPTION_EOF] = MEMBER(values.eof),
    [OPTION_REVALIDATE] = MEMBER(values.revalidate_always),
    [OPTION_RESUME] = MEMBER(values.resume),
    [OPTION_FROM] = MEMBER(values.from),
    [OPTION_FOR] = MEMBER(programs),
    [OPTION_MODE] = MEMBER(values.observe),
    [OPTION_ACCEPT_PLAIN] = MEMBER(values.accept_plain),
    [OPTION_PLAIN_WAIT] = MEMBER(values.plain_wait_ms),
};

#define ONE_IDENTITY(a, b) a "= without " b "=, or " b "= without " a "=: a side has one kind of identity"
#define PSK_PROVES(what) "psk= without " what ", or " what " without psk=: whoever has the key is proven by it"
#define CHECKS_NOTHING(what)                                                                                           \
    "auth=insecure-none without " what ", or " what " without auth=insecure-none: it checks nothing"

static const struct {
    unsigned a, b; /* enum option or enum trait */
    const char *why;
} conflicts[] = {
    {OPTION_PSK, OPTION_CERT, ONE_IDENTITY("psk", "cert")},
    {OPTION_PSK, OPTION_KEY, ONE_IDENTITY("psk", "key")},
    {OPTION_PSK, OPTION_PASSPHRASE_FILE, ONE_IDENTITY("psk", "passphrase-file")},
    {OPTION_PSK, OPTION_PIN_FILE, ONE_IDENTITY("psk", "pin-file")},
    {OPTION_PSK, OPTION_OCSP_STAPLE, ONE_IDENTITY("psk", "ocsp-staple")},
    {OPTION_PSK_NAME, OPTION_CERT, ONE_IDENTITY("psk-name", "cert")},
    {OPTION_PSK_NAME, OPTION_KEY, ONE_IDENTITY("psk-name", "key")},
    {OPTION_ID, OPTION_CERT, ONE_IDENTITY("id", "cert")},
    {OPTION_ID, OPTION_KEY, ONE_IDENTITY("id", "key")},
    {OPTION_ID, OPTION_PASSPHRASE_FILE, ONE_IDENTITY("id", "passphrase-file")},
    {OPTION_ID, OPTION_PIN_FILE, ONE_IDENTITY("id", "pin-file")},
    {OPTION_ID, OPTION_OCSP_STAPLE, ONE_IDENTITY("id", "ocsp-staple")},
    {OPTION_ID, OPTION_PSK, ONE_IDENTITY("id", "psk")},
    {OPTION_ID, OPTION_PSK_NAME, ONE_IDENTITY("id", "psk-name")},
    {OPTION_PSK, OPTION_CA, PSK_PROVES("ca=")},
    {OPTION_PSK, OPTION_PIN, PSK_PROVES("pin=")},
    {OPTION_PSK, OPTION_KNOWN_PEERS, PSK_PROVES("known-peers=")},
    {OPTION_PSK, OPTION_DANE, PSK_PROVES("dane=")},
    {OPTION_PSK, OPTION_CRL, PSK_PROVES("crl=")},
    {OPTION_PSK, OPTION_OCSP, PSK_PROVES("ocsp=")},
    {OPTION_PSK, OPTION_TRUST, PSK_PROVES("trust=")},
    {OPTION_PSK, LENIENT, "psk= with auth=require only: a PSK always proves both sides"},
    {OPTION_PSK, NAMES, "psk= with peer=psk:NAME only: a PSK proves no other name"},
    {OPTION_CERT, PSK_NAMES, "cert= without peer=psk:NAME: with certificates there are no PSKs"},
    {OPTION_KEY, PSK_NAMES, "key= without peer=psk:NAME: with certificates there are no PSKs"},
    {UNCHECKED, OPTION_CA, CHECKS_NOTHING("ca=")},
    {UNCHECKED, OPTION_PIN, CHECKS_NOTHING("pin=")},
    {UNCHECKED, OPTION_KNOWN_PEERS, CHECKS_NOTHING("known-peers=")},
    {UNCHECKED, OPTION_DANE, CHECKS_NOTHING("dane=")},
    {UNCHECKED, OPTION_CRL, CHECKS_NOTHING("crl=")},
    {UNCHECKED, OPTION_OCSP, CHECKS_NOTHING("ocsp=")},
    {UNCHECKED, OPTION_TRUST, CHECKS_NOTHING("trust=")},
    {UNCHECKED, OPTION_PEER, CHECKS_NOTHING("peer=")},
    {OPTION_PREFER, WAITS, "prefer= without hello=wait, or hello=wait without prefer=: who waits becomes server"},
};

enum { CONFLICTS = sizeof conflicts / sizeof conflicts[0] };

static enum option option_of(unsigned thing)
{
    switch (thing) {
    case WAITS:
        return OPTION_HELLO;
    case UNCHECKED:
    case LENIENT:
        return OPTION_AUTH;
    case NAMES:
    case PSK_NAMES:
        return OPTION_PEER;
    }
    return (enum option)thing;
}

/* show: of the whole rule, wherever it comes from. */
static bool has(const struct options *o, unsigned thing, enum policy_show show)
{
    if (!(o->given & BIT(option_of(thing))))
        return false;
    switch (thing) {
    case WAITS:
        return o->values.hello == HELLO_WAIT;
    case UNCHECKED:
        return o->values.auth == AUTH_INSECURE_NONE && show != SHOW_PROVEN;
    case LENIENT:
        return o->values.auth != AUTH_REQUIRE;
    case NAMES:
        return policy_has_other_pattern(o->values.peer_patterns);
    case PSK_NAMES:
        return policy_has_psk_pattern(o->values.peer_patterns);
    }
    return true;
}

static bool later(struct place a, struct place b)
{
    return a.line != b.line ? a.line > b.line : a.column > b.column;
}

bool policy_check_conflicts(struct lexer *lx, const struct options *o)
{
    for (size_t i = 0; i < CONFLICTS; i++) {
        struct place a = o->place[option_of(conflicts[i].a)], b = o->place[option_of(conflicts[i].b)];
        if (has(o, conflicts[i].a, o->values.show) && has(o, conflicts[i].b, o->values.show))
            return policy_fail(lx, later(a, b) ? a : b, "expected %s", conflicts[i].why);
    }
    return true;
}

/* An identity comes whole: what belongs to another key is not mixed into it. */
static const uint64_t identity_options = BIT(OPTION_ID) | BIT(OPTION_CERT) | BIT(OPTION_KEY) |
                                         BIT(OPTION_PASSPHRASE_FILE) | BIT(OPTION_PIN_FILE) | BIT(OPTION_OCSP_STAPLE) |
                                         BIT(OPTION_PSK) | BIT(OPTION_PSK_NAME);
static const uint64_t identity_heads = BIT(OPTION_ID) | BIT(OPTION_CERT) | BIT(OPTION_KEY) | BIT(OPTION_PSK);

static bool overruled(const struct options *own, const struct options *set, enum option inherited,
                      enum policy_show show)
{
    if ((identity_options & BIT(inherited)) && (own->given & identity_heads))
        return true;
    for (size_t i = 0; i < CONFLICTS; i++) {
        unsigned a = conflicts[i].a, b = conflicts[i].b;
        if (option_of(b) == inherited && has(own, a, show) && has(set, b, show))
            return true;
        if (option_of(a) == inherited && has(set, a, show) && has(own, b, show))
            return true;
    }
    return false;
}

static void copy_option(struct options *to, const struct options *from, enum option option)
{
    memcpy((char *)to + members[option].offset, (const char *)from + members[option].offset, members[option].size);
    if (option == OPTION_TRUST) {
        to->trust_text = from->trust_text;
        to->trust_place = from->trust_place;
    }
    if (option == OPTION_FROM)
        to->values.from_count = from->values.from_count;
}

static bool applies(enum option option, enum scope scope)
{
    return scope == SCOPE_RULE || scope == SCOPE_SET || option == OPTION_FOR ||
           (option == OPTION_MODE && scope == SCOPE_DENY);
}

void policy_inherit(struct options *own, const struct options *set, enum scope scope)
{
    enum policy_show show = own->given & BIT(OPTION_SHOW) ? own->values.show : set->values.show;
    uint64_t added = 0;
    for (unsigned i = 0; i < OPTION_COUNT; i++) {
        if ((own->given & BIT(i)) || !(set->given & BIT(i)) || !applies(i, scope) || overruled(own, set, i, show))
            continue;
        copy_option(own, set, i);
        own->place[i] = set->place[i];
        added |= BIT(i);
    }
    own->given |= added;
    if ((added & BIT(OPTION_PSK_NAME)) && !(own->given & BIT(OPTION_PSK))) /* its key was overruled */
        own->given &= ~BIT(OPTION_PSK_NAME);
}

/* In a rule, that is: what it inherits gives way to its identity, what it says itself is an error. */
static bool settle(struct lexer *lx, struct options *o, unsigned given, unsigned other, const char *why)
{
    enum option option = option_of(other);
    if (!has(o, given, o->values.show) || !has(o, other, o->values.show) || (identity_options & BIT(option)))
        return true;
    if (o->said & BIT(option))
        return policy_fail(lx, o->place[option], "expected %s (id=%s is a PSK)", why, o->values.own.name);
    o->given &= ~BIT(option);
    return true;
}

bool policy_use_identity(struct lexer *lx, struct options *o, const struct named_identity *identity)
{
    for (unsigned i = 0; i < OPTION_COUNT; i++) {
        if (!(identity->options.given & BIT(i)) || i == OPTION_ID)
            continue;
        copy_option(o, &identity->options, i);
        o->given |= BIT(i);
        o->place[i] = o->place[OPTION_ID];
        if (o->said & BIT(OPTION_ID))
            o->said |= BIT(i);
    }
    for (size_t i = 0; i < CONFLICTS; i++)
        if (conflicts[i].a == OPTION_PSK && !settle(lx, o, OPTION_PSK, conflicts[i].b, conflicts[i].why))
            return false;
    return true;
}

void policy_copy_given(struct policy_rule *rule, const struct options *o)
{
    struct options whole = {.values = *rule};
    for (unsigned i = 0; i < OPTION_COUNT; i++)
        if (o->given & BIT(i))
            copy_option(&whole, o, i);
    *rule = whole.values;
}
