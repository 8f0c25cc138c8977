/* Puts into words why a handshake ended, with a remedy where there is one: by the tie-breaker, by an alert of the peer,
 * or by an error of GnuTLS. */
#include "handshake_internal.h"

#include <stdio.h>

const char *handshake_reason_refused(const struct handshake *hs)
{
    const struct role_value *theirs = &hs->first.role;
    const bool hides = identity_client_only(hs->identity);

    if (!hs->first.has_role && hides)
        return "the peer is a conventional TLS client, and this side can only be client, because show=never or "
               "show=proven holds its certificate back: set show=always here";
    if (!hs->first.has_role)
        return "the peer is a conventional TLS client, and this side does not wait for one: set role=server "
               "here if it "
               "accepts connections from conventional clients";
    if (role_value_is_max(&hs->own) && role_value_is_max(theirs))
        return "the peer also drew the value of a server-only side: both are role=server; set role=peer or role=client "
               "on one side";
    if (hides && role_value_is_min(theirs))
        return "both sides can only be client: this one because show=never or show=proven holds its certificate back, "
               "the other for the same reason or by role=client; set show=always on one side, and no role=client there";
    if (role_value_is_min(&hs->own) && role_value_is_min(theirs))
        return "the peer also drew the value of a client-only side: both are role=client (or one has show=never or "
               "show=proven); set role=peer or role=server, and show=always, on one side";
    if (role_value_compare(&hs->own, theirs) == 0)
        return "the peer's value equals our own: the connection leads back to itself, or something between the two "
               "sides reflects messages";
    return "the values give this side a role that it may not take: compare role= and remote= on both sides";
}

struct alert_text {
    uint8_t alert;
    enum result result;
    const char *text;
};

static const struct alert_text alert_texts[] = {
    {ALERT_CLOSE_NOTIFY, RESULT_PROTOCOL, "closed the connection during the handshake (close_notify)"},
    {ALERT_UNEXPECTED_MESSAGE, RESULT_PROTOCOL,
     "did not expect our message (unexpected_message): it may be server only, or something between changes messages"},
    {ALERT_BAD_RECORD_MAC, RESULT_PROTOCOL,
     "could not decrypt a record (bad_record_mac): something between the two sides changes bytes"},
    {ALERT_RECORD_OVERFLOW, RESULT_PROTOCOL, "found a record too long (record_overflow)"},
    {ALERT_HANDSHAKE_FAILURE, RESULT_PROTOCOL,
     "found nothing in common (handshake_failure): compare role=, the ciphers, and whether both use psk= or "
     "certificates"},
    {ALERT_BAD_CERTIFICATE, RESULT_IDENTITY,
     "refused our certificate (bad_certificate): compare the names in cert= here with what is expected there"},
    {ALERT_UNSUPPORTED_CERTIFICATE, RESULT_IDENTITY,
     "cannot use our certificate (unsupported_certificate): issue one with an Ed25519, ECDSA or RSA key"},
    {ALERT_CERTIFICATE_REVOKED, RESULT_IDENTITY, "says that our certificate was revoked (certificate_revoked)"},
    {ALERT_CERTIFICATE_EXPIRED, RESULT_IDENTITY,
     "says that our certificate is expired (certificate_expired): renew cert=, and check the clocks of both machines"},
    {ALERT_CERTIFICATE_UNKNOWN, RESULT_IDENTITY, "refused our certificate (certificate_unknown): its log says why"},
    {ALERT_ILLEGAL_PARAMETER, RESULT_PROTOCOL,
     "found a wrong field in our message (illegal_parameter): something between the two sides may change messages"},
    {ALERT_UNKNOWN_CA, RESULT_IDENTITY,
     "does not know who issued our certificate (unknown_ca): compare cert= here with ca= there, or run both ends as "
     "one user"},
    {ALERT_ACCESS_DENIED, RESULT_IDENTITY, "does not let this identity in (access_denied)"},
    {ALERT_DECODE_ERROR, RESULT_PROTOCOL, "could not parse our message (decode_error)"},
    {ALERT_DECRYPT_ERROR, RESULT_IDENTITY,
     "could not verify our proof (decrypt_error): compare the keys in psk= on both sides, or cert= with key= here"},
    {ALERT_PROTOCOL_VERSION, RESULT_PROTOCOL, "does not speak TLS 1.3 (protocol_version)"},
    {ALERT_INTERNAL_ERROR, RESULT_PROTOCOL, "failed for a reason of its own (internal_error): its log says why"},
    {ALERT_USER_CANCELED, RESULT_PROTOCOL, "gave up waiting (user_canceled)"},
    {ALERT_UNKNOWN_PSK_IDENTITY, RESULT_IDENTITY,
     "does not know our pre-shared key's name (unknown_psk_identity): compare psk= on both sides"},
    {ALERT_CERTIFICATE_REQUIRED, RESULT_IDENTITY,
     "wants a certificate (certificate_required): set cert= and key= here; if they are there, show=always, and a kind "
     "of "
     "key whose signatures it takes"},
    {ALERT_NO_APPLICATION_PROTOCOL, RESULT_PROTOCOL,
     "speaks none of our application protocols (no_application_protocol): compare alpn= on both sides"},
};

enum result handshake_reason_alert(uint8_t alert, const struct identity *id, bool own_was_shown,
                                   char why[HANDSHAKE_WHY_MAX])
{
    const enum result of_kinds = handshake_kinds_alert(id, alert, own_was_shown, why);

    if (of_kinds != RESULT_INVALID)
        return of_kinds;
    for (size_t i = 0; i < sizeof alert_texts / sizeof alert_texts[0]; i++) {
        if (alert_texts[i].alert == alert) {
            snprintf(why, HANDSHAKE_WHY_MAX, "the peer %s", alert_texts[i].text);
            return alert_texts[i].result;
        }
    }
    const char *name = gnutls_alert_get_strname((gnutls_alert_description_t)alert);
    snprintf(why, HANDSHAKE_WHY_MAX, "the peer refused the handshake (%s, alert %u)", name ? name : "unknown", alert);
    return RESULT_PROTOCOL;
}

struct error_text {
    int error;
    enum result result;
    uint8_t alert;
    const char *text;
};

static const struct error_text error_texts[] = {
    {GNUTLS_E_NO_CERTIFICATE_FOUND, RESULT_IDENTITY, ALERT_CERTIFICATE_REQUIRED,
     "the peer sent no certificate: set cert= and key= there, or psk= on both sides"},
    {GNUTLS_E_CERTIFICATE_REQUIRED, RESULT_IDENTITY, ALERT_CERTIFICATE_REQUIRED,
     "the peer sent no certificate: set cert= and key= there, or psk= on both sides"},
    {GNUTLS_E_CERTIFICATE_ERROR, RESULT_IDENTITY, ALERT_BAD_CERTIFICATE, "the peer's certificate cannot be used"},
    {GNUTLS_E_PK_SIG_VERIFY_FAILED, RESULT_IDENTITY, ALERT_DECRYPT_ERROR,
     "the peer does not own the key of its certificate: the signature is wrong"},
    {GNUTLS_E_SRP_PWD_ERROR, RESULT_IDENTITY, ALERT_UNKNOWN_PSK_IDENTITY,
     "the peer's pre-shared key has a name that is unknown here: compare psk= on both sides"},
    {GNUTLS_E_UNKNOWN_SRP_USERNAME, RESULT_IDENTITY, ALERT_UNKNOWN_PSK_IDENTITY,
     "the peer's pre-shared key has a name that is unknown here: compare psk= on both sides"},
    {GNUTLS_E_INSUFFICIENT_CREDENTIALS, RESULT_IDENTITY, ALERT_HANDSHAKE_FAILURE,
     "the two sides have no kind of credential in common: one may have psk= and the other certificates"},
    {GNUTLS_E_ERROR_IN_FINISHED_PACKET, RESULT_PROTOCOL, ALERT_DECRYPT_ERROR,
     "the peer's Finished is wrong: something between the two sides changes messages"},
    {GNUTLS_E_DECRYPTION_FAILED, RESULT_PROTOCOL, ALERT_BAD_RECORD_MAC,
     "a record cannot be decrypted: something between the two sides changes bytes"},
    {GNUTLS_E_NO_CIPHER_SUITES, RESULT_PROTOCOL, ALERT_HANDSHAKE_FAILURE,
     "the two sides have no cipher suite in common: compare the cipher lists, and whether both use psk= or "
     "certificates"},
    {GNUTLS_E_UNKNOWN_CIPHER_SUITE, RESULT_PROTOCOL, ALERT_HANDSHAKE_FAILURE,
     "the two sides have no cipher suite in common: compare the cipher lists, and whether both use psk= or "
     "certificates"},
    {GNUTLS_E_NO_COMMON_KEY_SHARE, RESULT_PROTOCOL, ALERT_HANDSHAKE_FAILURE,
     "the two sides have no key exchange group in common"},
    {GNUTLS_E_UNSUPPORTED_VERSION_PACKET, RESULT_PROTOCOL, ALERT_PROTOCOL_VERSION, "the peer does not speak TLS 1.3"},
    {GNUTLS_E_MEMORY_ERROR, RESULT_NOMEM, ALERT_INTERNAL_ERROR, "no memory for the handshake"},
};

static const struct error_text wrong_binder = {
    0, RESULT_IDENTITY, ALERT_DECRYPT_ERROR,
    "the peer has another pre-shared key of the same name: compare psk= on both sides"};

/* GnuTLS has no error of its own for a PSK binder that does not fit (RFC 8446 section 4.2.11.2). The structure of the
 * hello was checked before, so that is what an illegal parameter means in practice. */
static bool is_wrong_binder(const struct handshake *hs, int error)
{
    return error == GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER && hs->phase == PHASE_SERVER && !hs->encrypted &&
           identity_uses_psk(hs->identity);
}

/* An external PSK goes with one hash (RFC 8446 section 4.2.11), SHA-256 unless its maker said otherwise. */
static const struct error_text no_psk_cipher = {0, RESULT_PROTOCOL, ALERT_HANDSHAKE_FAILURE,
                                                "the two sides have no cipher suite in common: compare the cipher "
                                                "lists (a pre-shared key goes with AES-128-GCM and "
                                                "CHACHA20-POLY1305 alone), and whether both use psk= or certificates"};

static const struct error_text *find_error(const struct handshake *hs, int error)
{
    if (is_wrong_binder(hs, error))
        return &wrong_binder;
    if (error == GNUTLS_E_NO_CIPHER_SUITES && identity_uses_psk(hs->identity))
        return &no_psk_cipher;
    for (size_t i = 0; i < sizeof error_texts / sizeof error_texts[0]; i++)
        if (error_texts[i].error == error)
            return &error_texts[i];
    return NULL;
}

/* GnuTLS finds nothing that both sides can do, or was shown nothing. */
static bool is_about_kinds(int error)
{
    switch (error) {
    case GNUTLS_E_NO_CIPHER_SUITES:
    case GNUTLS_E_UNKNOWN_CIPHER_SUITE:
    case GNUTLS_E_INSUFFICIENT_CREDENTIALS:
    case GNUTLS_E_UNSUPPORTED_CERTIFICATE_TYPE:
    case GNUTLS_E_INCOMPATIBLE_SIG_WITH_KEY:
    case GNUTLS_E_UNSUPPORTED_SIGNATURE_ALGORITHM:
    case GNUTLS_E_NO_CERTIFICATE_FOUND:
    case GNUTLS_E_CERTIFICATE_REQUIRED:
        return true;
    default:
        return false;
    }
}

enum result handshake_reason_error(const struct handshake *hs, int error, uint8_t *alert, char why[HANDSHAKE_WHY_MAX])
{
    const struct error_text *known = find_error(hs, error);
    const char *kinds = is_about_kinds(error) ? handshake_kinds_differ(hs, alert) : NULL;
    int level;

    if (kinds) {
        snprintf(why, HANDSHAKE_WHY_MAX, "%s", kinds);
        return RESULT_IDENTITY;
    }

    if (known) {
        *alert = known->alert;
        snprintf(why, HANDSHAKE_WHY_MAX, "%s", known->text);
        return known->result;
    }
    *alert = (uint8_t)gnutls_error_to_alert(error, &level);
    snprintf(why, HANDSHAKE_WHY_MAX, "the TLS handshake failed: %s", gnutls_strerror(error));
    return RESULT_PROTOCOL;
}
