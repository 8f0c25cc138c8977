/* From a peer's certificate to a trusted CA: finds the path first, then has GnuTLS verify exactly that one, so that
 * whoever looks for revocation looks at the certificates that were verified. */
#include "trust_internal.h"

/* At least 112 bits, so RSA from 2048 and no SHA-1 or MD5 signatures. */
#define VERIFY_FLAGS (GNUTLS_PROFILE_TO_VFLAGS(GNUTLS_PROFILE_MEDIUM) | GNUTLS_VERIFY_DISABLE_CRL_CHECKS)

/* The next one is an unused certificate with the issuer's name and key identifier; whether its key made the signature
 * is found out by the verification. */
static bool extend(struct trust_path *path, const struct shown_peer *shown, bool used[SHOWN_MAX])
{
    gnutls_x509_crt_t last = path->certs[path->count - 1];

    for (unsigned i = 1; i < shown->count; i++) {
        if (used[i] || !gnutls_x509_crt_check_issuer(last, shown->chain[i]))
            continue;
        used[i] = true;
        path->certs[path->count++] = shown->chain[i];
        return true;
    }
    return false;
}

void trust_path_find(struct trust_path *path, const struct shown_peer *shown, gnutls_x509_trust_list_t list,
                     bool shared)
{
    /* A copy of the anchor costs as much as parsing it did. */
    const unsigned flags = shared ? GNUTLS_TL_GET_COPY : 0;
    bool used[SHOWN_MAX] = {true};

    *path = (struct trust_path){.certs = {shown->chain[0]}, .count = shown->count ? 1 : 0, .anchor_owned = shared};
    if (!path->count)
        return;
    do {
        gnutls_x509_crt_t last = path->certs[path->count - 1];
        if (list && gnutls_x509_trust_list_get_issuer(list, last, &path->anchor, flags) >= 0)
            return;
        path->anchor = NULL;
    } while (extend(path, shown, used));
}

void trust_path_free(struct trust_path *path)
{
    if (path->anchor && path->anchor_owned)
        gnutls_x509_crt_deinit(path->anchor);
    *path = (struct trust_path){0};
}

unsigned trust_path_verify(const struct trust_path *path, gnutls_x509_trust_list_t list)
{
    gnutls_x509_crt_t certs[SHOWN_MAX];
    unsigned status = 0;

    for (unsigned i = 0; i < path->count; i++)
        certs[i] = path->certs[i];
    if (!path->count || gnutls_x509_trust_list_verify_crt(list, certs, path->count, VERIFY_FLAGS, &status, NULL) < 0)
        return GNUTLS_CERT_INVALID;
    if (status == 0 && !trust_constraints_allow_uris(path))
        status = GNUTLS_CERT_INVALID | GNUTLS_CERT_SIGNER_CONSTRAINTS_FAILURE;
    return status;
}

/* In the order of how much each explains; GnuTLS sets several at once. */
static const struct {
    unsigned status;
    uint8_t alert;
    const char *reason, *remedy;
} refusals[] = {
    {GNUTLS_CERT_SIGNATURE_FAILURE, GNUTLS_A_BAD_CERTIFICATE, "has a bad signature",
     "it was changed after it was issued, or another CA has the same name"},
    {GNUTLS_CERT_SIGNER_NOT_FOUND, GNUTLS_A_UNKNOWN_CA, "was not issued by a trusted CA",
     "compare ca= here with the CA that issued it"},
    {GNUTLS_CERT_SIGNER_NOT_CA, GNUTLS_A_UNKNOWN_CA, "was issued by a certificate that is no CA",
     "the remote side needs one from a CA"},
    {GNUTLS_CERT_SIGNER_CONSTRAINTS_FAILURE, GNUTLS_A_BAD_CERTIFICATE, "is outside of what its CA may issue",
     "look at the CA's name and path constraints"},
    {GNUTLS_CERT_EXPIRED, GNUTLS_A_CERTIFICATE_EXPIRED, "or one of its chain has expired",
     "renew it on the remote side"},
    {GNUTLS_CERT_NOT_ACTIVATED, GNUTLS_A_CERTIFICATE_EXPIRED, "or one of its chain is not valid yet",
     "check the clocks of both machines"},
    {GNUTLS_CERT_INSECURE_ALGORITHM, GNUTLS_A_BAD_CERTIFICATE, "or one of its chain uses a weak key or signature",
     "issue it anew with SHA-256 and RSA from 2048 bits, ECDSA or Ed25519"},
};

const char *trust_status_words(unsigned status, const char **remedy, uint8_t *alert)
{
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++)
        if (status & refusals[i].status) {
            *remedy = refusals[i].remedy;
            *alert = refusals[i].alert;
            return refusals[i].reason;
        }
    *remedy = "look at it with: certtool --verify";
    *alert = GNUTLS_A_BAD_CERTIFICATE;
    return "is not valid";
}
