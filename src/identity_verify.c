/* Judges who the other side is, once its certificate, raw public key or pre-shared key is known. */
#include "trust_internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* Files may be looked at in here (known peers), and none of that may be a cancellation point, nor touch errno. */
struct calm {
    int errno_before, cancel_state;
};

static struct calm calm_begin(void)
{
    struct calm calm = {.errno_before = errno};

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &calm.cancel_state);
    return calm;
}

static void calm_end(struct calm calm)
{
    pthread_setcancelstate(calm.cancel_state, NULL);
    errno = calm.errno_before;
}

static enum result refuse(struct identity_peer *peer, uint8_t alert, char *why, const char *reason)
{
    peer->alert = alert;
    snprintf(why, IDENTITY_WHY_MAX, "%s", reason);
    return RESULT_IDENTITY;
}

static void name_peer(const struct shown_peer *shown, bool by_own_key, struct identity_peer *peer)
{
    if (by_own_key)
        snprintf(peer->subject, sizeof peer->subject, "own identity (SHA-256 %.16s)", shown->certificate_hash);
    else
        snprintf(peer->subject, sizeof peer->subject, "%s", shown->subject);
}

static enum result check_usage(const struct identity *id, struct shown_peer *shown,
                               const struct identity_expectation *expect, struct identity_peer *peer, char *why)
{
    if (id->usage != USAGE_ROLE || shown->raw)
        return RESULT_OK;
    const enum result r = shown_peer_parse(shown, why);
    if (r != RESULT_OK || identity_usage_fits(shown->chain[0], expect->peer_is_server))
        return r;
    peer->alert = GNUTLS_A_UNSUPPORTED_CERTIFICATE;
    snprintf(
        why, IDENTITY_WHY_MAX,
        "the certificate of %.100s (SHA-256 %s) is not for a TLS %s: issue it with that extended key usage, or remove "
        "usage=role here",
        shown->subject, shown->certificate_hash, expect->peer_is_server ? "server" : "client");
    return RESULT_IDENTITY;
}

static enum result judge_shown(const struct identity *id, struct shown_peer *shown,
                               const struct identity_expectation *expect, struct identity_peer *peer, char *why)
{
    const struct trust_question q = {id->trust, shown, expect, &id->user_spki};
    struct trust_verdict verdict = {0};

    if (!shown->key.len)
        return refuse(peer, GNUTLS_A_CERTIFICATE_REQUIRED, why,
                      "the remote side sent no certificate: set cert= and key= there, and no show= that hides it");
    enum result r = trust_judge(&q, &verdict, why);
    peer->alert = verdict.alert;
    if (r == RESULT_OK)
        r = check_usage(id, shown, expect, peer, why);
    if (r == RESULT_OK)
        name_peer(shown, verdict.facts & TRUST_OWN, peer);
    peer->expires = shown->expires;
    return r;
}

static enum result verify_shown(const struct identity *id, gnutls_session_t session,
                                const struct identity_expectation *expect, struct identity_peer *peer, char *why)
{
    struct shown_peer shown;
    enum result r = shown_peer_take(id->trust, session, expect, &shown, why);

    peer->alert = GNUTLS_A_BAD_CERTIFICATE;
    if (r == RESULT_OK)
        r = judge_shown(id, &shown, expect, peer, why);
    shown_peer_free(&shown);
    return r;
}

/* A server that takes no PSK may go on with certificates (RFC 8446 section 4.2.11), which this identity never looks at:
 * so ask what was really used. Without (EC)DHE there would be no forward secrecy. A key proves no host, so the name
 * that was dialled does not count; that of the key does. */
static enum result verify_psk(const struct identity *id, gnutls_session_t session,
                              const struct identity_expectation *expect, struct identity_peer *peer, char *why)
{
    const gnutls_kx_algorithm_t kx = gnutls_kx_get(session);
    const char *name = gnutls_psk_server_get_username(session);

    if (kx != GNUTLS_KX_ECDHE_PSK && kx != GNUTLS_KX_DHE_PSK)
        return refuse(peer, GNUTLS_A_HANDSHAKE_FAILURE, why,
                      "the remote side did not take part with a pre-shared key: set the same psk= there");
    if (!name)
        name = id->psks[id->psk_sent].name;
    char printable[4 * PSK_NAME_MAX + 1];
    (void)trust_print_escaped(printable, sizeof printable, name, strlen(name), false);
    if (expect->peer_patterns && !identity_patterns_match_psk(name, expect->peer_patterns)) {
        peer->alert = GNUTLS_A_HANDSHAKE_FAILURE;
        snprintf(why, IDENTITY_WHY_MAX,
                 "the pre-shared key %.150s is none of peer=%.100s: only psk:NAME can be checked with one", printable,
                 expect->peer_patterns);
        return RESULT_IDENTITY;
    }
    snprintf(peer->subject, sizeof peer->subject, "psk:%s", printable);
    return RESULT_OK;
}

enum result identity_verify(const struct identity *id, gnutls_session_t session,
                            const struct identity_expectation *expect, struct identity_peer *peer,
                            char why[IDENTITY_WHY_MAX])
{
    const struct calm calm = calm_begin();

    why[0] = '\0';
    *peer = (struct identity_peer){.alert = GNUTLS_A_INTERNAL_ERROR};
    const enum result r = id->kind == IDENTITY_PSK ? verify_psk(id, session, expect, peer, why)
                                                   : verify_shown(id, session, expect, peer, why);
    calm_end(calm);
    return r;
}

enum result identity_confirm(const struct identity *id, gnutls_session_t session,
                             const struct identity_expectation *expect, struct identity_peer *peer,
                             char why[IDENTITY_WHY_MAX])
{
    struct shown_peer shown;
    struct trust_verdict verdict = {0};

    why[0] = '\0';
    if (id->kind == IDENTITY_PSK || !(id->trust_terms & TRUST_KNOWN))
        return RESULT_OK;
    const struct calm calm = calm_begin();
    enum result r = shown_peer_take(id->trust, session, expect, &shown, why);
    if (r == RESULT_OK && shown.key.len) {
        const struct trust_question q = {id->trust, &shown, expect, &id->user_spki};
        r = trust_record(&q, &verdict, why);
    }
    peer->alert = verdict.alert;
    shown_peer_free(&shown);
    calm_end(calm);
    return r;
}
