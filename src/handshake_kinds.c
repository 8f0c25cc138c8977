/* Kinds of credentials that do not meet, in words: what the peer's hello asks for, beside what this side has. GnuTLS
 * says that there is no cipher suite in common, whatever the cause. */
#include "handshake_internal.h"

#include <stdio.h>

/* RFC 8446 section 4.2, RFC 7250 section 3. */
enum { SIGNATURE_ALGORITHMS = 13, CLIENT_CERTIFICATE_TYPE = 19, SERVER_CERTIFICATE_TYPE = 20, PRE_SHARED_KEY = 41 };
enum { TYPE_X509 = 0, TYPE_RAW = 2 };

/* Does a list of one-byte certificate types have this one? Without the extension certificates alone are meant. */
static bool lists_type(const struct hello *h, uint16_t extension, uint8_t type)
{
    struct cursor body, list;

    if (!hello_extension(h, extension, &body) || !cursor_vec8(&body, &list))
        return type == TYPE_X509;
    return memchr(list.at, type, list.left) != NULL;
}

static bool takes_our_signature(const struct handshake *hs, const struct hello *h)
{
    struct cursor body, list;
    uint16_t scheme;

    if (!hello_extension(h, SIGNATURE_ALGORITHMS, &body) || !cursor_vec16(&body, &list))
        return false;
    while (cursor_u16(&list, &scheme))
        if (identity_signs_by(hs->identity, scheme))
            return true;
    return false;
}

static const char *say(uint8_t *alert, uint8_t which, const char *why)
{
    *alert = which;
    return why;
}

/* Is there an identity of age 0? Tickets have an age that is added to a random number (RFC 8446 section 4.2.11), and
 * say nothing. */
static bool offers_psk(const struct hello *h)
{
    struct cursor body, list, name;
    const uint8_t *age;
    static const uint8_t none[4];

    if (!hello_extension(h, PRE_SHARED_KEY, &body) || !cursor_vec16(&body, &list))
        return false;
    while (cursor_vec16(&list, &name) && cursor_take(&list, sizeof none, &age))
        if (memcmp(age, none, sizeof none) == 0)
            return true;
    return false;
}

static const char *find_lone_psk(const struct handshake *hs)
{
    if (identity_uses_psk(hs->identity))
        return offers_psk(&hs->first)
                   ? NULL
                   : "the peer offers no pre-shared key, and this side has nothing else (psk=): use one kind of "
                     "credential on both sides";
    return hs->first.has_role && offers_psk(&hs->first)
               ? "the peer has a pre-shared key (psk=), and this side has none: use one kind of "
                 "credential on both sides"
               : NULL;
}

/* GnuTLS would answer with a certificate, and the other side would have to find out what that means. */
enum result handshake_kinds_judge(struct handshake *hs)
{
    const char *why = find_lone_psk(hs);

    return why ? handshake_fail(hs, RESULT_IDENTITY, ALERT_HANDSHAKE_FAILURE, why) : RESULT_AGAIN;
}

const char *handshake_kinds_differ(const struct handshake *hs, uint8_t *alert)
{
    const struct identity *id = hs->identity;
    const struct hello *h = &hs->first;

    if (hs->phase != PHASE_SERVER || h->kind != HELLO_CLIENT || identity_uses_psk(id))
        return NULL;
    if (!lists_type(h, SERVER_CERTIFICATE_TYPE, identity_shows_raw(id) ? TYPE_RAW : TYPE_X509))
        return say(alert, ALERT_UNSUPPORTED_CERTIFICATE,
                   identity_shows_raw(id)
                       ? "the peer takes certificates alone, and this side has a raw public key (key= without cert=): "
                         "set cert= here, or pin= or known-peers= there"
                       : "the peer takes raw public keys alone, and this side has a certificate");
    if (!takes_our_signature(hs, h))
        return say(
            alert, ALERT_HANDSHAKE_FAILURE,
            "the peer takes no signature that the key of this side makes: let it take Ed25519, ECDSA or RSA-PSS, "
            "whichever it is, or use another kind of key here");
    if (!lists_type(h, CLIENT_CERTIFICATE_TYPE, TYPE_X509) && !identity_takes_raw(id))
        return say(alert, ALERT_UNSUPPORTED_CERTIFICATE,
                   "the peer has a raw public key (key= without cert=), and this side takes certificates alone: set "
                   "cert= there, or pin= or known-peers= here");
    return NULL;
}

enum result handshake_kinds_alert(const struct identity *id, uint8_t alert, bool own_was_shown,
                                  char why[HANDSHAKE_WHY_MAX])
{
    const bool raw = id && identity_shows_raw(id);

    if (alert == ALERT_HANDSHAKE_FAILURE && id) {
        snprintf(why, HANDSHAKE_WHY_MAX,
                 "the peer found nothing in common (handshake_failure): compare role= and the ciphers, and the kind of "
                 "credential: this side has %s",
                 identity_kind_words(id));
        return RESULT_PROTOCOL;
    }
    if (alert == ALERT_UNSUPPORTED_CERTIFICATE && id && !own_was_shown && !identity_takes_raw(id)) {
        snprintf(why, HANDSHAKE_WHY_MAX,
                 "the peer has a raw public key (key= without cert=), and this side takes certificates alone "
                 "(unsupported_certificate): set cert= there, or pin= or known-peers= here");
        return RESULT_IDENTITY;
    }
    if ((alert == ALERT_UNSUPPORTED_CERTIFICATE || alert == ALERT_CERTIFICATE_REQUIRED) && raw) {
        snprintf(
            why, HANDSHAKE_WHY_MAX,
            "the peer takes certificates alone, and this side has a raw public key (key= without cert=): set cert= "
            "here, or pin= or known-peers= there");
        return RESULT_IDENTITY;
    }
    return RESULT_INVALID;
}
