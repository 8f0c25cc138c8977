/* From options to a rule, and what a rule needs to be able to work: roles that can meet, a direction for what it says,
 * ciphers that fit. */
#include "policy_internal.h"

#include <string.h>

struct place policy_place_of(const struct options *o, enum option option, const struct policy_rule *rule)
{
    return o->said & BIT(option) ? o->place[option] : (struct place){rule->line, rule->column};
}

static bool said(const struct options *o, enum option option)
{
    return o->said & BIT(option);
}

static const char *role_name(enum role_set role)
{
    return role == ROLE_CLIENT ? "client" : role == ROLE_SERVER ? "server" : "peer";
}

/* In TLS 1.3 the server always shows its certificate, and before it has seen the client's: so a side that may not do
 * that is client. A PSK shows nothing. */
static bool cut_by_show(struct lexer *lx, const struct options *o, struct policy_rule *r)
{
    if (r->show == SHOW_ALWAYS || r->own.psk_file)
        return true;
    if (r->effective == ROLE_SERVER)
        return policy_fail(lx, policy_place_of(o, OPTION_SHOW, r),
                           "expected show=always where this side is always server, found show=%s; a server shows its "
                           "certificate first",
                           r->show == SHOW_PROVEN ? "proven" : "never");
    r->effective = ROLE_CLIENT;
    return true;
}

static bool check_prefer(struct lexer *lx, const struct options *o, struct policy_rule *r)
{
    if (r->prefer == PREFER_NONE || r->effective == ROLE_PEER)
        return true;
    if (said(o, OPTION_PREFER))
        return policy_fail(lx, o->place[OPTION_PREFER],
                           "expected prefer= only where both roles are open; this side is always %s",
                           role_name(r->effective));
    r->prefer = PREFER_NONE;
    return true;
}

static bool check_roles(struct lexer *lx, const struct options *o, struct policy_rule *r)
{
    r->effective = role_effective(r->role, r->remote_role);
    if (r->effective == ROLE_NONE)
        return policy_fail(lx, policy_place_of(o, said(o, OPTION_REMOTE_ROLE) ? OPTION_REMOTE_ROLE : OPTION_ROLE, r),
                           "expected a client and a server, found role=%s remote-role=%s", role_name(r->role),
                           role_name(r->remote_role));
    return cut_by_show(lx, o, r) && check_prefer(lx, o, r);
}

/* What is inherited is left out where it has no meaning. */
static bool check_direction(struct lexer *lx, const struct options *o, struct policy_rule *r)
{
    bool connects = r->directions & POLICY_CONNECT, accepts = r->directions & POLICY_ACCEPT;
    bool accepts_only = accepts && !connects;
    static const char connect_only[] = "expected connect= after connect or any, found it after accept";
    static const char dane_only[] =
        "expected dane= after connect or any, found it after accept: DANE is about the name "
        "that is dialled";
    static const char from_only[] = "expected from= after accept or any with an address, found it after connect";
    static const char plain_only[] = "expected insecure-accept-plain= after accept, found it after connect or any";
    static const char wait_only[] = "expected insecure-accept-plain=on beside plain-wait=, found none";
    if (r->connect_waits && !connects && said(o, OPTION_CONNECT))
        return policy_fail(lx, o->place[OPTION_CONNECT], connect_only);
    if (r->trust.dane && !connects && said(o, OPTION_DANE))
        return policy_fail(lx, o->place[OPTION_DANE], dane_only);
    if (r->from && !accepts && said(o, OPTION_FROM))
        return policy_fail(lx, o->place[OPTION_FROM], from_only);
    if (r->accept_plain && !accepts_only && said(o, OPTION_ACCEPT_PLAIN))
        return policy_fail(lx, o->place[OPTION_ACCEPT_PLAIN], plain_only);
    if (said(o, OPTION_PLAIN_WAIT) && !(r->accept_plain && accepts_only))
        return policy_fail(lx, o->place[OPTION_PLAIN_WAIT], wait_only);
    r->connect_waits = r->connect_waits && connects;
    r->trust.dane = r->trust.dane && connects;
    r->from_count = accepts ? r->from_count : 0;
    r->from = accepts ? r->from : NULL;
    r->accept_plain = r->accept_plain && accepts_only;
    return true;
}

/* GnuTLS knows external PSKs with SHA-256 only, which RFC 8446 section 4.2.11 makes the default, and a PSK goes with
 * the suites of its hash alone: with no other suite each handshake would fail. */
static bool check_psk_ciphers(struct lexer *lx, const struct options *o, const struct policy_rule *r)
{
    static const char only[] = "+AES-256-GCM";
    bool client = r->client_ciphers && !strcmp(r->client_ciphers, only);
    bool server = r->server_ciphers && !strcmp(r->server_ciphers, only);
    if (!r->own.psk_file || (!client && !server))
        return true;
    return policy_fail(lx, policy_place_of(o, client ? OPTION_CLIENT_CIPHERS : OPTION_SERVER_CIPHERS, r),
                       "expected aes-128-gcm or chacha20-poly1305 in ciphers= beside psk=: PSKs go with SHA-256 only");
}

static bool check_final(struct lexer *lx, const struct options *o, const struct policy_rule *r)
{
    if (!r->final || !r->observe)
        return true;
    return policy_fail(lx, policy_place_of(o, OPTION_MODE, r),
                       "expected mode=enforce beside final, found mode=observe; what only looks on decides nothing");
}

bool policy_apply_options(struct lexer *lx, const struct options *o, struct policy_rule *r)
{
    policy_copy_given(r, o);
    r->trust_words = o->given & BIT(OPTION_TRUST) ? o->trust_text : NULL;
    if (!check_final(lx, o, r))
        return false;
    if (r->action != POLICY_PROTECT)
        return true;
    return check_roles(lx, o, r) && check_direction(lx, o, r) && policy_check_own(lx, o, r) &&
           policy_check_trust(lx, o, r) && check_psk_ciphers(lx, o, r);
}
