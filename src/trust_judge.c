/* Finds out which facts hold for a peer, asks the expression, and puts a refusal into words: what about which
 * certificate or key, and what to do. */
#include "trust_known.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { FACTS = 6 };

struct findings {
    unsigned facts;
    bool dane_needs_name;
    uint8_t alert;
    char reasons[FACTS][REASON_MAX]; /* of the facts that do not hold (of TRUST_REVOKED: that it does) */
};

static char *reason_of(struct findings *f, enum trust_fact fact)
{
    return f->reasons[__builtin_ctz(fact)];
}

static bool asks(const struct trust_question *q, enum trust_fact fact)
{
    return q->store->expression.terms & fact;
}

static void say(struct findings *f, enum trust_fact fact, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void say(struct findings *f, enum trust_fact fact, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vsnprintf(reason_of(f, fact), REASON_MAX, format, ap);
    va_end(ap);
}

static void find_own(const struct trust_question *q, struct findings *f)
{
    const struct secret_bytes *own = q->own_key, *key = &q->shown->key;

    if (own && own->len && own->len == key->len && gnutls_memcmp(own->bytes, key->bytes, key->len) == 0)
        f->facts |= TRUST_OWN;
    else
        say(f, TRUST_OWN,
            "is not of this user's own identity, which alone is trusted without configuration: run both ends as one "
            "user, or say who is trusted with ca=, pin=, known-peers= or psk=");
}

static void find_pin(const struct trust_question *q, struct findings *f)
{
    for (size_t i = 0; i < q->store->pin_count; i++)
        if (memcmp(q->store->pins[i], q->shown->key_hash, KEY_HASH_BYTES) == 0) {
            f->facts |= TRUST_PINNED;
            return;
        }
    say(f, TRUST_PINNED,
        "has the key %s, which is not pinned: if it is the right one, add it to pin=", q->shown->fingerprint);
}

static void say_changed(const struct trust_question *q, struct findings *f, const uint8_t *recorded)
{
    char old[FINGERPRINT_TEXT], where[KNOWN_WHERE_MAX];

    trust_print_fingerprint(recorded, old);
    if (!known_peers_where(q->expect->dialled_name, q->expect->port, where))
        where[0] = '\0';
    say(f, TRUST_KNOWN,
        "has the key %s, but the one recorded is %s: somebody may be in between; if not: p2ptls trust add "
        "%s%.100s %s",
        q->shown->fingerprint, old, known_peers_option(q->store->known), where, q->shown->fingerprint);
}

static void take_known_answer(const struct trust_question *q, struct findings *f, enum known_answer answer,
                              const uint8_t *recorded)
{
    switch (answer) {
    case KNOWN_SAME:
    case KNOWN_FIRST:
        f->facts |= TRUST_KNOWN;
        return;
    case KNOWN_OTHER:
        say_changed(q, f, recorded);
        return;
    case KNOWN_UNREADABLE: /* the reason is there */
        return;
    }
}

static void find_known(const struct trust_question *q, struct findings *f)
{
    uint8_t recorded[KEY_HASH_BYTES];

    if (!q->store->known) {
        say(f, TRUST_KNOWN, "cannot be a known peer: set known-peers=on");
        return;
    }
    if (q->expect->connected_side && q->expect->dialled_name) {
        take_known_answer(q, f,
                          known_peers_ask(q->store->known, q->expect->dialled_name, q->expect->port, q->shown->key_hash,
                                          recorded, reason_of(f, TRUST_KNOWN)),
                          recorded);
        return;
    }
    if (q->expect->connected_side)
        say(f, TRUST_KNOWN, "cannot be a known peer: nobody knows what was dialled");
    else if (known_peers_accept(q->store->known, q->shown->key_hash, reason_of(f, TRUST_KNOWN)))
        f->facts |= TRUST_KNOWN;
}

/* The same certificates were verified a moment ago. */
static bool verified_lately(const struct trust_question *q)
{
    return q->store->verified && !q->shown->raw && verified_chains_have(q->store->verified, q->shown);
}

/* How its certificate fits ca=; the path is then complete for whoever looks for revocation. */
static void find_ca(const struct trust_question *q, struct findings *f, const struct trust_path *path)
{
    const char *remedy, *words;

    if (q->shown->raw) {
        say(f, TRUST_CA, "is no certificate, so no CA can have issued it: set cert= there, or pin its key here");
        return;
    }
    const unsigned status =
        q->store->has_cas ? trust_path_verify(path, q->store->anchors) : GNUTLS_CERT_SIGNER_NOT_FOUND;
    if (status == 0) {
        f->facts |= TRUST_CA;
        if (q->store->verified)
            verified_chains_add(q->store->verified, q->shown, path);
        return;
    }
    words = trust_status_words(status, &remedy, &f->alert);
    say(f, TRUST_CA, "%s: %s", words, remedy);
}

static void find_revoked(const struct trust_question *q, struct findings *f, const struct trust_path *path)
{
    char *reason = reason_of(f, TRUST_REVOKED);
    bool clear = q->store->has_crls || q->store->ocsp_stapled;

    if (q->shown->raw) {
        say(f, TRUST_REVOKED, "is no certificate, so whether it was revoked cannot be told: set cert= there");
        clear = false;
    } else if (!clear) {
        say(f, TRUST_REVOKED, "may be revoked: set crl= or ocsp=stapled");
    }
    if (clear && q->store->has_crls)
        clear = revocation_clears(&q->store->crls, path, q->store->anchors, reason);
    if (clear && q->store->ocsp_stapled)
        clear = ocsp_clears(q->shown, path, time(NULL), reason);
    if (!clear)
        f->facts |= TRUST_REVOKED;
}

static void find_dane(const struct trust_question *q, struct findings *f, const struct trust_path *path)
{
    if (!q->store->dane || !q->expect->connected_side) {
        say(f, TRUST_DANE, "cannot be proven by DANE: only names that were dialled can, with dane=on");
        return;
    }
    const enum dane_match match =
        dane_match(q->expect->tlsa, q->shown, path, q->store->has_cas, f->facts & TRUST_CA, reason_of(f, TRUST_DANE));
    if (match != DANE_NONE)
        f->facts |= TRUST_DANE;
    f->dane_needs_name = match == DANE_NEEDS_NAME;
}

/* RESULT_OK, or RESULT_NOMEM. */
static enum result find_facts(const struct trust_question *q, struct findings *f, char *why)
{
    const bool lately = asks(q, TRUST_CA) && verified_lately(q);
    struct trust_path path = {0};

    f->alert = GNUTLS_A_BAD_CERTIFICATE;
    if ((asks(q, TRUST_CA) && !lately) || asks(q, TRUST_DANE | TRUST_REVOKED)) {
        const enum result r = shown_peer_parse(q->shown, why);
        if (r != RESULT_OK)
            return r;
        trust_path_find(&path, q->shown, q->store->anchors, q->store->has_system_cas);
    }
    if (asks(q, TRUST_OWN))
        find_own(q, f);
    if (asks(q, TRUST_PINNED))
        find_pin(q, f);
    if (asks(q, TRUST_KNOWN))
        find_known(q, f);
    if (lately)
        f->facts |= TRUST_CA;
    else if (asks(q, TRUST_CA | TRUST_DANE))
        find_ca(q, f, &path);
    if (asks(q, TRUST_DANE))
        find_dane(q, f, &path);
    if (asks(q, TRUST_REVOKED))
        find_revoked(q, f, &path);
    trust_path_free(&path);
    return RESULT_OK;
}

static int print_subject(const struct shown_peer *shown, char *why)
{
    if (shown->raw)
        return snprintf(why, IDENTITY_WHY_MAX, "the raw public key of the remote side");
    return snprintf(why, IDENTITY_WHY_MAX, "the certificate of %.100s (SHA-256 %s)",
                    shown->subject[0] ? shown->subject : "(a long subject)", shown->certificate_hash);
}

static enum result refuse(const struct trust_question *q, const char *reason, char *why)
{
    const int n = print_subject(q->shown, why);

    snprintf(why + n, (size_t)(IDENTITY_WHY_MAX - n), " %s", reason);
    return RESULT_IDENTITY;
}

/* The one fact without which it fails, if there is one: others are then beside the point. */
static unsigned decisive(const struct trust_expression *e, unsigned facts)
{
    static const enum trust_fact order[] = {TRUST_CA, TRUST_REVOKED, TRUST_PINNED, TRUST_KNOWN, TRUST_DANE, TRUST_OWN};

    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++)
        if (e->terms & order[i] && trust_evaluate(e, facts ^ order[i]))
            return order[i];
    return 0;
}

static bool fails(unsigned fact, unsigned facts)
{
    return fact == TRUST_REVOKED ? facts & fact : !(facts & fact);
}

static enum result refuse_expression(const struct trust_question *q, struct findings *f, char *why)
{
    const struct trust_expression *e = &q->store->expression;
    const unsigned one = decisive(e, f->facts), candidates = one ? one : e->terms;
    const char *between = "";
    int n = print_subject(q->shown, why);

    if (!e->count)
        return refuse(q, "cannot be accepted, as nothing is trusted here: set ca=, pin= or known-peers=", why);
    if (f->facts & TRUST_REVOKED && (one == TRUST_REVOKED || !one) && !(f->facts & TRUST_CA && !one))
        f->alert = GNUTLS_A_CERTIFICATE_REVOKED;
    else if (!(candidates & TRUST_CA))
        f->alert = candidates == TRUST_OWN ? GNUTLS_A_UNKNOWN_CA : GNUTLS_A_BAD_CERTIFICATE;
    for (unsigned fact = 1; fact < 1u << FACTS && n < IDENTITY_WHY_MAX - 1; fact <<= 1) {
        if (!(candidates & fact) || !fails(fact, f->facts))
            continue;
        n += snprintf(why + n, (size_t)(IDENTITY_WHY_MAX - n), "%s %s", between, reason_of(f, fact));
        between = "; it";
    }
    return RESULT_IDENTITY;
}

/* Does the expression hold because of something that is about names? A pinned, known or own key needs none, in SSH's
 * manner; RFC 7671 section 5.1 for DANE-EE. */
static bool rests_on_a_name(const struct trust_question *q, const struct findings *f)
{
    const unsigned named = TRUST_CA | (f->dane_needs_name ? (unsigned)TRUST_DANE : 0);

    return !trust_evaluate(&q->store->expression, f->facts & ~named);
}

static bool patterns_match(const struct trust_question *q, const char *patterns)
{
    struct trust_path path;

    trust_path_find(&path, q->shown, q->store->anchors, q->store->has_system_cas);
    const bool match = identity_patterns_match_path(&path, patterns);
    trust_path_free(&path);
    return match;
}

/* RESULT_OK: shown->carries_name says it. */
static enum result look_for_name(const struct trust_question *q, const char *name, char *why)
{
    struct shown_peer *shown = q->shown;

    if (shown->raw || shown->carries_name)
        return RESULT_OK;
    const enum result r = shown_peer_parse(shown, why);
    if (r == RESULT_OK)
        shown->carries_name =
            q->expect->peer_patterns ? patterns_match(q, name) : identity_name_matches(shown->chain[0], name);
    return r;
}

static enum result judge_name(const struct trust_question *q, const struct findings *f, struct trust_verdict *verdict,
                              char *why)
{
    const struct identity_expectation *expect = q->expect;
    const char *name = expect->peer_patterns;
    char reason[REASON_MAX];

    verdict->alert = GNUTLS_A_BAD_CERTIFICATE;
    if (!name) {
        name = expect->dialled_name;
        if (!expect->connected_side || !name || !rests_on_a_name(q, f))
            return RESULT_OK;
    }
    const enum result r = look_for_name(q, name, why);
    if (r != RESULT_OK || q->shown->carries_name)
        return r;
    if (q->shown->raw)
        snprintf(reason, sizeof reason, "carries no name, so peer=%.80s cannot be checked: use a certificate there",
                 name);
    else
        snprintf(reason, sizeof reason,
                 "does not carry the name %.80s: it must be one of its subject alternative names%s", name,
                 expect->peer_patterns ? "" : ", or set peer=");
    return refuse(q, reason, why);
}

/* System CAs may be a token's, and change: what fits peer= may hang on them (trust_constraints.c). */
static void keep(const struct trust_question *q)
{
    if (q->shown->count)
        seen_peers_keep(q->store->seen, q->shown, q->expect, !q->expect->peer_patterns || !q->store->has_system_cas);
}

enum result trust_judge(const struct trust_question *q, struct trust_verdict *verdict, char *why)
{
    struct findings f = {0};
    enum result r = find_facts(q, &f, why);

    if (r != RESULT_OK)
        return r;
    verdict->facts = f.facts;
    if (trust_evaluate(&q->store->expression, f.facts)) {
        r = judge_name(q, &f, verdict, why);
        if (r == RESULT_OK)
            keep(q);
        return r;
    }
    r = refuse_expression(q, &f, why);
    verdict->alert = f.alert;
    return r;
}

enum result trust_record(const struct trust_question *q, struct trust_verdict *verdict, char *why)
{
    const struct identity_expectation *expect = q->expect;
    struct findings f = {0};
    uint8_t recorded[KEY_HASH_BYTES];

    if (!asks(q, TRUST_KNOWN) || !q->store->known || !expect->connected_side || !expect->dialled_name)
        return RESULT_OK;
    const enum known_answer before = known_peers_ask(q->store->known, expect->dialled_name, expect->port,
                                                     q->shown->key_hash, recorded, reason_of(&f, TRUST_KNOWN));
    if (before == KNOWN_SAME)
        return RESULT_OK;
    if (before == KNOWN_FIRST)
        take_known_answer(q, &f,
                          known_peers_record(q->store->known, expect->dialled_name, expect->port, q->shown->key_hash,
                                             recorded, reason_of(&f, TRUST_KNOWN)),
                          recorded);
    else
        take_known_answer(q, &f, before, recorded);
    if (f.facts & TRUST_KNOWN)
        return RESULT_OK;
    /* Another process met another key meanwhile, or the file cannot be written: does something else trust this one? */
    struct findings others = {0};
    const enum result r = find_facts(q, &others, why);
    if (r != RESULT_OK)
        return r;
    if (trust_evaluate(&q->store->expression, others.facts & ~(unsigned)TRUST_KNOWN))
        return RESULT_OK;
    verdict->alert = GNUTLS_A_BAD_CERTIFICATE;
    return refuse(q, reason_of(&f, TRUST_KNOWN), why);
}
