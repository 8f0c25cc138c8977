/* What a rule trusts in the end: the expression of trust= against the options that its terms need, or the one that
 * follows from the options; and whether somebody can be trusted at all. */
#include "policy_internal.h"

#include <string.h>

static const struct term {
    unsigned fact;
    const char *word;
    enum option options[2]; /* one of them is needed */
    const char *missing, *unused;
} terms[] = {
    {TRUST_CA,
     "ca",
     {OPTION_CA, OPTION_CA},
     "expected ca= beside the word ca in trust=, found none",
     "expected the word ca in trust=, found none: ca= would count for nothing"},
    {TRUST_PINNED,
     "pinned",
     {OPTION_PIN, OPTION_PIN},
     "expected pin= beside the word pinned in trust=, found none",
     "expected the word pinned in trust=, found none: pin= would count for nothing"},
    {TRUST_KNOWN,
     "known",
     {OPTION_KNOWN_PEERS, OPTION_KNOWN_PEERS},
     "expected known-peers= beside the word known in trust=, found none",
     "expected the word known in trust=, found none: known-peers= would count for nothing"},
    {TRUST_DANE,
     "dane",
     {OPTION_DANE, OPTION_DANE},
     "expected dane=on beside the word dane in trust=, found none",
     "expected the word dane in trust=, found none: dane=on would count for nothing"},
    {TRUST_REVOKED,
     "revoked",
     {OPTION_CRL, OPTION_OCSP},
     "expected crl= or ocsp=stapled beside the words not revoked in trust=, found none",
     "expected the words not revoked in trust=, found none: crl= and ocsp= would count for nothing"},
};

enum { TERMS = sizeof terms / sizeof terms[0] };

static unsigned given_terms(const struct policy_trust *t)
{
    return (t->ca ? TRUST_CA : 0u) | (t->pins ? TRUST_PINNED : 0u) | (t->known_peers ? TRUST_KNOWN : 0u) |
           (t->dane ? TRUST_DANE : 0u) | (t->crl || t->ocsp_stapled ? TRUST_REVOKED : 0u);
}

/* Words in an expression are separated by blanks and parentheses. */
static struct place place_of_word(const struct options *o, const struct policy_rule *r, const char *word)
{
    struct place place = o->trust_place;
    if (!(o->said & BIT(OPTION_TRUST)))
        return policy_place_of(o, OPTION_TRUST, r);
    for (const char *at = o->trust_text; *at;) {
        size_t len = strcspn(at, " ()");
        if (len == strlen(word) && !memcmp(at, word, len)) {
            place.column += (unsigned)(at - o->trust_text);
            break;
        }
        at += len + !len;
    }
    return place;
}

static bool check_expression(struct lexer *lx, const struct options *o, const struct policy_rule *r, unsigned given)
{
    unsigned asked = r->trust.expression.terms;
    for (size_t i = 0; i < TERMS; i++) {
        const struct term *t = &terms[i];
        if ((asked & t->fact) && !(given & t->fact))
            return policy_fail(lx, place_of_word(o, r, t->word), "%s", t->missing);
    }
    for (size_t i = 0; i < TERMS; i++) {
        const struct term *t = &terms[i];
        enum option option = o->said & BIT(t->options[0]) ? t->options[0] : t->options[1];
        if ((given & t->fact) && !(asked & t->fact) && (o->said & BIT(option)))
            return policy_fail(lx, o->place[option], "%s", t->unused);
    }
    return true;
}

static bool has_own(const struct policy_identity *own)
{
    return own->cert_file || own->key_file;
}

/* Only a chain of certificates can be revoked, or carry a name that somebody vouches for. */
static bool check_needs(struct lexer *lx, const struct options *o, const struct policy_rule *r, unsigned given)
{
    unsigned proofs = given & ~(unsigned)TRUST_REVOKED;
    if (r->trust.crl && !r->trust.ca)
        return policy_fail(lx, policy_place_of(o, OPTION_CRL, r),
                           "expected ca= beside crl=, found none: what a CA issued can be revoked, and nothing else");
    if (r->trust.ocsp_stapled && !r->trust.ca)
        return policy_fail(lx, policy_place_of(o, OPTION_OCSP, r),
                           "expected ca= beside ocsp=stapled, found none: its answers come from a CA");
    if (r->peer_patterns && !proofs)
        return policy_fail(lx, policy_place_of(o, OPTION_PEER, r),
                           "expected ca=, pin=, known-peers= or dane=on beside peer=, found none: the per-user "
                           "identity has no name");
    if (proofs == TRUST_CA && !has_own(&r->own) && r->show != SHOW_NEVER && !(r->trust.expression.terms & TRUST_OWN))
        return policy_fail(lx, policy_place_of(o, OPTION_CA, r),
                           "expected cert= and key= beside ca=, found none: both sides show a certificate (show=never: "
                           "this one does not)");
    return true;
}

static bool check_somebody(struct lexer *lx, const struct options *o, const struct policy_rule *r)
{
    enum option option = r->own.cert_file ? OPTION_CERT : OPTION_KEY;
    if (r->auth != AUTH_REQUIRE || !has_own(&r->own))
        return true;
    return policy_fail(lx, policy_place_of(o, o->said & BIT(OPTION_ID) ? OPTION_ID : option, r),
                       "expected ca=, pin=, known-peers= or dane=on beside %s=, found none: nobody would be trusted "
                       "(auth=insecure-none: everybody)",
                       r->own.name             ? "id"
                       : option == OPTION_CERT ? "cert"
                                               : "key");
}

static bool check_psk_patterns(struct lexer *lx, const struct options *o, const struct policy_rule *r)
{
    if (!r->peer_patterns || r->own.psk_file || !policy_has_psk_pattern(r->peer_patterns))
        return true;
    return policy_fail(lx, policy_place_of(o, OPTION_PEER, r), "expected psk= beside peer=psk:NAME, found none");
}

bool policy_check_trust(struct lexer *lx, const struct options *o, struct policy_rule *r)
{
    unsigned given = given_terms(&r->trust);
    if (!check_psk_patterns(lx, o, r))
        return false;
    if (r->own.psk_file || (r->auth == AUTH_INSECURE_NONE && r->show != SHOW_PROVEN)) {
        r->trust.expression = (struct trust_expression){0};
        return true;
    }
    if (!check_needs(lx, o, r, given))
        return false;
    if (o->given & BIT(OPTION_TRUST))
        return check_expression(lx, o, r, given);
    if (!given && !check_somebody(lx, o, r))
        return false;
    if (!given && has_own(&r->own))
        r->trust.expression = (struct trust_expression){0};
    else
        trust_default(given ? given : (unsigned)TRUST_OWN, &r->trust.expression);
    return true;
}
