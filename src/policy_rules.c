/* From options to a rule: what defaults add, what cannot stand together, and what a rule needs to be able to work.
 * A statement's own words win over inherited ones that speak against them; two of its own are an error. */
#include "policy_internal.h"

#include <stddef.h>
#include <string.h>

#define BIT(option) (1u << (option))

/* clang-format off */
#define MEMBER(name) {offsetof(struct policy_rule, name), sizeof((struct policy_rule *)0)->name}
/* clang-format on */

static const struct {
    size_t offset, size;
} members[OPTION_COUNT] = {
    [OPTION_ROLE] = MEMBER(role),
    [OPTION_REMOTE_ROLE] = MEMBER(remote_role),
    [OPTION_HELLO] = MEMBER(hello),
    [OPTION_PREFER] = MEMBER(prefer),
    [OPTION_CONNECT] = MEMBER(connect_waits),
    [OPTION_INSECURE] = MEMBER(auth),
    [OPTION_HANDSHAKE_TIMEOUT] = MEMBER(handshake_timeout_ms),
    [OPTION_EARLY_DATA_BUFFER] = MEMBER(early_limit_bytes),
    [OPTION_REKEY_AFTER] = MEMBER(rekey_after_records),
    [OPTION_CERT] = MEMBER(own.cert_file),
    [OPTION_KEY] = MEMBER(own.key_file),
    [OPTION_CA] = MEMBER(trust.ca),
    [OPTION_PSK] = MEMBER(own.psk_file),
    [OPTION_PEER] = MEMBER(peer_patterns),
    [OPTION_CIPHERS] = MEMBER(client_ciphers),
};

static const struct {
    enum option a, b;
    const char *why;
} conflicts[] = {
    {OPTION_PSK, OPTION_CERT, "psk= without cert=, or cert= without psk=: a side has one kind of identity"},
    {OPTION_PSK, OPTION_KEY, "psk= without key=, or key= without psk=: a side has one kind of identity"},
    {OPTION_PSK, OPTION_CA, "psk= without ca=, or ca= without psk=: no certificate is shown where a PSK is used"},
    {OPTION_PSK, OPTION_PEER, "psk= without peer=, or peer= without psk=: a PSK proves no name"},
    {OPTION_PSK, OPTION_INSECURE, "psk= without insecure, or insecure without psk=: a PSK always proves both sides"},
    {OPTION_INSECURE, OPTION_CA, "insecure without ca=, or ca= without insecure: insecure checks nothing"},
    {OPTION_INSECURE, OPTION_PEER, "insecure without peer=, or peer= without insecure: insecure checks nothing"},
    {OPTION_PREFER, OPTION_HELLO,
     "prefer= without hello=wait, or hello=wait without prefer=: who waits becomes server"},
};

enum { CONFLICTS = sizeof conflicts / sizeof conflicts[0] };

static bool has(const struct options *o, enum option option)
{
    return o->given & BIT(option);
}

/* hello=now speaks against nothing. */
static bool in_conflict(const struct options *a, enum option in_a, const struct options *b, enum option in_b)
{
    if (!has(a, in_a) || !has(b, in_b))
        return false;
    return in_b != OPTION_HELLO || b->values.hello == HELLO_WAIT;
}

static bool later(struct place a, struct place b)
{
    return a.line != b.line ? a.line > b.line : a.column > b.column;
}

bool policy_check_conflicts(struct lexer *lx, const struct options *o)
{
    for (size_t i = 0; i < CONFLICTS; i++) {
        struct place a = o->place[conflicts[i].a], b = o->place[conflicts[i].b];
        if (in_conflict(o, conflicts[i].a, o, conflicts[i].b))
            return policy_fail(lx, later(a, b) ? a : b, "expected %s", conflicts[i].why);
    }
    return true;
}

static bool overruled(const struct options *own, const struct options *defaults, enum option inherited)
{
    for (size_t i = 0; i < CONFLICTS; i++) {
        if (conflicts[i].b == inherited && in_conflict(own, conflicts[i].a, defaults, inherited))
            return true;
        if (conflicts[i].a == inherited && in_conflict(defaults, inherited, own, conflicts[i].b))
            return true;
    }
    return false;
}

void policy_inherit(struct options *own, const struct options *defaults)
{
    unsigned added = 0;
    for (unsigned i = 0; i < OPTION_COUNT; i++) {
        if (has(own, i) || !has(defaults, i) || overruled(own, defaults, i))
            continue;
        memcpy((char *)&own->values + members[i].offset, (const char *)&defaults->values + members[i].offset,
               members[i].size);
        added |= BIT(i);
    }
    own->given |= added;
}

/* An inherited option is reported where the rule stands that it does not fit. */
static struct place place_of(const struct options *o, unsigned said, enum option option, const struct policy_rule *r)
{
    return said & BIT(option) ? o->place[option] : (struct place){r->line, r->column};
}

static const char *role_name(enum role_set role)
{
    return role == ROLE_CLIENT ? "client" : role == ROLE_SERVER ? "server" : "peer";
}

static bool check_roles(struct lexer *lx, const struct options *o, unsigned said, struct policy_rule *r)
{
    r->effective = role_effective(r->role, r->remote_role);
    if (r->effective == ROLE_NONE)
        return policy_fail(lx, place_of(o, said, said & BIT(OPTION_REMOTE_ROLE) ? OPTION_REMOTE_ROLE : OPTION_ROLE, r),
                           "expected a client and a server, found role=%s remote-role=%s", role_name(r->role),
                           role_name(r->remote_role));
    if (r->prefer != PREFER_NONE && r->effective != ROLE_PEER) {
        if (said & BIT(OPTION_PREFER))
            return policy_fail(lx, o->place[OPTION_PREFER],
                               "expected prefer= only where both roles are open; this side is always %s",
                               role_name(r->effective));
        r->prefer = PREFER_NONE;
    }
    return true;
}

static bool check_direction(struct lexer *lx, const struct options *o, unsigned said, struct policy_rule *r)
{
    if (!r->connect_waits || (r->directions & POLICY_CONNECT))
        return true;
    if (said & BIT(OPTION_CONNECT))
        return policy_fail(lx, o->place[OPTION_CONNECT],
                           "expected connect= after connect or any, found it after accept");
    r->connect_waits = false;
    return true;
}

/* Both sides are always authenticated unless the rule says insecure: a half-given identity is a mistake, and what
 * it would fall back to is not what was meant. */
static bool check_identity(struct lexer *lx, const struct options *o, unsigned said, const struct policy_rule *r)
{
    static const struct {
        enum option given, needed, instead;
        const char *message;
    } needs[] = {
        {OPTION_CERT, OPTION_KEY, OPTION_COUNT, "expected key= beside cert=, found none"},
        {OPTION_KEY, OPTION_CERT, OPTION_COUNT, "expected cert= beside key=, found none"},
        {OPTION_CERT, OPTION_CA, OPTION_INSECURE,
         "expected ca= beside cert=, found none: nobody would be trusted (insecure: everybody)"},
        {OPTION_CA, OPTION_CERT, OPTION_COUNT,
         "expected cert= and key= beside ca=, found none: both sides show a certificate"},
        {OPTION_PEER, OPTION_CA, OPTION_COUNT,
         "expected ca= beside peer=, found none: the per-user identity has no name"},
    };
    for (size_t i = 0; i < sizeof needs / sizeof needs[0]; i++) {
        bool fine = !has(o, needs[i].given) || has(o, needs[i].needed) ||
                    (needs[i].instead != OPTION_COUNT && has(o, needs[i].instead));
        if (!fine)
            return policy_fail(lx, place_of(o, said, needs[i].given, r), "%s", needs[i].message);
    }
    return true;
}

/* GnuTLS knows external PSKs with SHA-256 only, which RFC 8446 section 4.2.11 makes the default, and a PSK goes with
 * the suites of its hash alone: with no other suite each handshake would fail. */
static bool check_psk_ciphers(struct lexer *lx, const struct options *o, unsigned said, const struct policy_rule *r)
{
    if (!r->own.psk_file || !r->client_ciphers || strcmp(r->client_ciphers, "+AES-256-GCM"))
        return true;
    return policy_fail(lx, place_of(o, said, OPTION_CIPHERS, r),
                       "expected aes-128-gcm or chacha20-poly1305 in ciphers= beside psk=: PSKs go with SHA-256 only");
}

bool policy_apply_options(struct lexer *lx, struct options *o, unsigned said, struct policy_rule *r)
{
    for (unsigned i = 0; i < OPTION_COUNT; i++)
        if (has(o, i))
            memcpy((char *)r + members[i].offset, (const char *)&o->values + members[i].offset, members[i].size);
    r->server_ciphers = r->client_ciphers;
    return check_roles(lx, o, said, r) && check_direction(lx, o, said, r) && check_identity(lx, o, said, r) &&
           check_psk_ciphers(lx, o, said, r);
}
