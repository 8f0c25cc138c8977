/* Judges who the other side is, once its certificate (or pre-shared key) is known. */
#include "identity_internal.h"

#include "bytes.h"

#include <stdio.h>
#include <string.h>

enum { PRINTABLE_MAX = 128, FINGERPRINT_BYTES = 32 };

/* What an administrator is told about a certificate that was refused. */
struct peer_description {
    char subject[PRINTABLE_MAX];
    char fingerprint[2 * FINGERPRINT_BYTES + 1];
};

static void copy_printable(char *out, size_t room, const void *text, size_t len)
{
    const uint8_t *in = text;
    size_t n = 0;

    for (; n < len && n + 1 < room; n++)
        out[n] = in[n] >= 0x20 && in[n] < 0x7f ? (char)in[n] : '?';
    if (room)
        out[n] = '\0';
}

static void describe_fingerprint(char *out, gnutls_x509_crt_t cert)
{
    uint8_t digest[FINGERPRINT_BYTES];
    size_t len = sizeof digest;

    if (gnutls_x509_crt_get_fingerprint(cert, GNUTLS_DIG_SHA256, digest, &len) < 0)
        len = 0;
    for (size_t i = 0; i < len; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
    out[2 * len] = '\0';
}

static void describe(struct peer_description *d, gnutls_x509_crt_t cert)
{
    gnutls_datum_t dn = {0};

    describe_fingerprint(d->fingerprint, cert);
    if (gnutls_x509_crt_get_dn3(cert, &dn, 0) >= 0 && dn.size > 0)
        copy_printable(d->subject, sizeof d->subject, dn.data, dn.size);
    else
        snprintf(d->subject, sizeof d->subject, "(no subject)");
    gnutls_free(dn.data);
}

static enum result refuse(char *why, const struct peer_description *d, const char *reason, const char *remedy)
{
    snprintf(why, IDENTITY_WHY_MAX, "the certificate of %.100s (SHA-256 %s) %s: %s", d->subject, d->fingerprint, reason,
             remedy);
    return RESULT_IDENTITY;
}

/* In the order of how much each explains; GnuTLS sets several at once. */
static const struct {
    unsigned status;
    const char *reason, *remedy;
} refusals[] = {
    {GNUTLS_CERT_REVOKED, "was revoked", "the remote side needs a new one"},
    {GNUTLS_CERT_SIGNATURE_FAILURE, "has a bad signature",
     "it was changed after it was issued, or another CA has the same name"},
    {GNUTLS_CERT_SIGNER_NOT_FOUND, "was not issued by a trusted CA", "compare ca= here with the CA that issued it"},
    {GNUTLS_CERT_SIGNER_NOT_CA, "was issued by a certificate that is no CA", "the remote side needs one from a CA"},
    {GNUTLS_CERT_SIGNER_CONSTRAINTS_FAILURE, "is outside of what its CA may issue",
     "look at the CA's name and path constraints"},
    {GNUTLS_CERT_EXPIRED, "or one of its chain has expired", "renew it on the remote side"},
    {GNUTLS_CERT_NOT_ACTIVATED, "or one of its chain is not valid yet", "check the clocks of both machines"},
    {GNUTLS_CERT_INSECURE_ALGORITHM, "or one of its chain uses a weak key or signature",
     "issue it anew with SHA-256 and RSA from 2048 bits, ECDSA or Ed25519"},
    {GNUTLS_CERT_INVALID, "is not valid", "look at it with: certtool --verify"},
};

static enum result refuse_status(char *why, const struct peer_description *d, unsigned status)
{
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++)
        if (status & refusals[i].status)
            return refuse(why, d, refusals[i].reason, refusals[i].remedy);
    return refuse(why, d, "was refused for a reason unknown to p2ptls", "look at it with: certtool --verify");
}

/* No key purpose is given, so extended key usage is not looked at: a certificate is good in either TLS role. */
static enum result verify_chain(gnutls_session_t session, const struct peer_description *d, char *why)
{
    unsigned status = 0;
    const int e = gnutls_certificate_verify_peers(session, NULL, 0, &status);

    if (e < 0)
        return refuse(why, d, "could not be verified", gnutls_strerror(e));
    return status == 0 ? RESULT_OK : refuse_status(why, d, status);
}

static enum result verify_name(gnutls_x509_crt_t cert, const struct peer_description *d, const char *name, char *why)
{
    if (identity_name_matches(cert, name))
        return RESULT_OK;
    snprintf(why, IDENTITY_WHY_MAX,
             "the certificate of %.80s (SHA-256 %s) does not carry the name %.80s: it must be one of its subject "
             "alternative names",
             d->subject, d->fingerprint, name);
    return RESULT_IDENTITY;
}

static enum result verify_own_key(const struct identity *id, gnutls_x509_crt_t cert, const struct peer_description *d,
                                  char *why)
{
    struct secret_bytes spki = {0};
    const int e = identity_x509_spki(cert, &spki);
    const bool same =
        e >= 0 && spki.len == id->user_spki.len && gnutls_memcmp(spki.bytes, id->user_spki.bytes, spki.len) == 0;

    secret_wipe(&spki);
    if (e == GNUTLS_E_MEMORY_ERROR)
        return identity_nomem(why);
    if (same)
        return RESULT_OK;
    return refuse(why, d, "is not of this user's own identity, which alone is trusted without configuration",
                  "run both ends as one user, or set cert=, key= and ca=, or psk=");
}

static enum result verify_certificate(const struct identity *id, gnutls_session_t session, gnutls_x509_crt_t cert,
                                      const struct identity_expectation *expect, char *subject, size_t subject_len,
                                      char *why)
{
    struct peer_description d;
    enum result r;

    describe(&d, cert);
    if (id->usage == USAGE_ROLE && !identity_usage_fits(cert, expect && expect->peer_is_server))
        return refuse(why, &d, expect && expect->peer_is_server ? "is not for a TLS server" : "is not for a TLS client",
                      "issue it with that extended key usage, or remove usage=role here");
    if (id->trust_terms & TRUST_OWN) {
        r = verify_own_key(id, cert, &d, why);
        if (r == RESULT_OK)
            snprintf(subject, subject_len, "own identity (SHA-256 %.16s)", d.fingerprint);
        return r;
    }
    r = verify_chain(session, &d, why);
    if (r == RESULT_OK && expect && expect->peer_name)
        r = verify_name(cert, &d, expect->peer_name, why);
    if (r == RESULT_OK)
        snprintf(subject, subject_len, "%s", d.subject);
    return r;
}

static enum result verify_peer_certificate(const struct identity *id, gnutls_session_t session,
                                           const struct identity_expectation *expect, char *subject, size_t subject_len,
                                           char *why)
{
    unsigned count = 0;
    gnutls_x509_crt_t cert;
    enum result r;

    if (gnutls_certificate_type_get2(session, GNUTLS_CTYPE_PEERS) != GNUTLS_CRT_X509) {
        snprintf(why, IDENTITY_WHY_MAX, "the remote side sent no X.509 certificate: set cert= and key= there");
        return RESULT_IDENTITY;
    }
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &count);
    if (!chain || count == 0) {
        snprintf(why, IDENTITY_WHY_MAX, "the remote side sent no certificate: set cert= and key= there");
        return RESULT_IDENTITY;
    }
    if (gnutls_x509_crt_init(&cert) < 0)
        return identity_nomem(why);
    const int e = gnutls_x509_crt_import(cert, &chain[0], GNUTLS_X509_FMT_DER);
    if (e < 0) {
        snprintf(why, IDENTITY_WHY_MAX, "the certificate of the remote side cannot be parsed: %s", gnutls_strerror(e));
        r = RESULT_IDENTITY;
    } else {
        r = verify_certificate(id, session, cert, expect, subject, subject_len, why);
    }
    gnutls_x509_crt_deinit(cert);
    return r;
}

/* A server that takes no PSK may go on with certificates (RFC 8446 section 4.2.11), which this identity never looks at:
 * so ask what was really used. Without (EC)DHE there would be no forward secrecy. */
static enum result verify_psk(const struct identity *id, gnutls_session_t session,
                              const struct identity_expectation *expect, char *subject, size_t subject_len, char *why)
{
    const gnutls_kx_algorithm_t kx = gnutls_kx_get(session);
    const char *name = gnutls_psk_server_get_username(session);

    if (kx != GNUTLS_KX_ECDHE_PSK && kx != GNUTLS_KX_DHE_PSK) {
        snprintf(why, IDENTITY_WHY_MAX,
                 "the remote side did not take part with a pre-shared key: set the same psk= there");
        return RESULT_IDENTITY;
    }
    if (expect && expect->peer_name) {
        snprintf(why, IDENTITY_WHY_MAX,
                 "peer=%.80s cannot be checked with a pre-shared key: remove it, or use certificates",
                 expect->peer_name);
        return RESULT_IDENTITY;
    }
    char printable[PSK_NAME_MAX + 1];
    if (!name)
        name = id->psks[id->psk_sent].name;
    copy_printable(printable, sizeof printable, name, strlen(name));
    snprintf(subject, subject_len, "psk:%s", printable);
    return RESULT_OK;
}

enum result identity_verify(const struct identity *id, gnutls_session_t session,
                            const struct identity_expectation *expect, char *subject, size_t subject_len,
                            char why[IDENTITY_WHY_MAX])
{
    why[0] = '\0';
    if (subject_len)
        subject[0] = '\0';
    if (id->kind == IDENTITY_PSK)
        return verify_psk(id, session, expect, subject, subject_len, why);
    return verify_peer_certificate(id, session, expect, subject, subject_len, why);
}
