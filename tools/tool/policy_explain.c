/* What a rule does, in sentences. */
#include "policy_view.h"

#include "policy_internal.h"

#include <string.h>

static void say_own(const struct policy_rule *r, const char *indent)
{
    const struct policy_identity *own = &r->own;

    printf("%sthis side is ", indent);
    if (own->psk_file)
        printf("a holder of the key %s in %s", own->psk_name ? own->psk_name : "that stands first", own->psk_file);
    else if (own->cert_file)
        printf("the certificate in %s", own->cert_file);
    else if (own->key_file)
        printf("the raw public key of %s", own->key_file);
    else
        fputs("the per-user identity", stdout);
    if (own->name)
        printf(" (id=%s)", own->name);
    if (!own->psk_file && r->show != SHOW_ALWAYS)
        printf(", shown %s", r->show == SHOW_NEVER ? "to nobody" : "to who was accepted before");
    putchar('\n');
}

static void say_conditions(const struct policy_rule *r)
{
    const struct policy_trust *t = &r->trust;
    const char *between = "";

#define SAY(given, ...)                                                                                                \
    if (given) {                                                                                                       \
        fputs(between, stdout);                                                                                        \
        printf(__VA_ARGS__);                                                                                           \
        between = "; ";                                                                                                \
    }
    SAY(t->ca, "a certificate of an authority in %s", t->ca)
    SAY(t->pins, "a key that is pinned")
    SAY(t->known_peers, "a key that is known%s%s", strcmp(t->known_peers, "on") ? " in " : "",
        strcmp(t->known_peers, "on") ? t->known_peers : "")
    SAY(t->dane, "a TLSA record that fits")
    SAY(t->crl, "not revoked by %s", t->crl)
    SAY(t->ocsp_stapled, "not revoked by a stapled answer")
    SAY(r->trust_words, "together: %s", r->trust_words)
#undef SAY
}

static bool has_conditions(const struct policy_trust *t)
{
    return t->ca || t->pins || t->known_peers || t->dane || t->crl || t->ocsp_stapled;
}

static void say_trust(const struct policy_rule *r, const char *indent)
{
    if (r->auth == AUTH_INSECURE_NONE) {
        printf("%sanybody is accepted: nobody is asked who it is\n", indent);
        return;
    }
    printf("%saccepted is ", indent);
    if (r->own.psk_file)
        fputs("who knows a key of that file", stdout);
    else if (has_conditions(&r->trust))
        say_conditions(r);
    else
        fputs("the same per-user identity alone", stdout);
    if (r->peer_patterns)
        printf(", as %s", r->peer_patterns);
    else if (r->trust.expression.terms & TRUST_CA && r->directions & POLICY_CONNECT)
        fputs(", under the name or address that is dialled", stdout);
    fputs(r->auth == AUTH_REQUEST ? "; and who shows nothing\n" : "\n", stdout);
}

static void say_roles(const struct policy_rule *r, const char *indent)
{
    printf("%sTLS role: %s\n", indent,
           r->effective == ROLE_CLIENT   ? "client"
           : r->effective == ROLE_SERVER ? "server"
           : r->hello == HELLO_WAIT      ? "either; it waits for the other side's hello"
                                         : "either, the tie-breaker decides");
}

void policy_explain_rule(const struct policy_rule *r, const char *indent)
{
    if (r->observe)
        printf("%smode=observe: it is logged, and left alone\n", indent);
    if (r->action != POLICY_PROTECT)
        return;
    say_own(r, indent);
    say_trust(r, indent);
    say_roles(r, indent);
    if (r->accept_plain)
        printf("%splaintext is taken, too: insecure-accept-plain=on\n", indent);
}
