/* What this side shows in a handshake: its certificates or its raw public key, once GnuTLS asks, and which kinds of
 * either are offered and accepted (RFC 7250). */
#include "identity_internal.h"

#include <stdio.h>
#include <stdlib.h>

static const char CERTIFICATES[] =
    ":+SIGN-EDDSA-ED25519:+SIGN-ECDSA-SECP256R1-SHA256:+SIGN-ECDSA-SECP384R1-SHA384:+SIGN-ECDSA-SECP521R1-SHA512"
    ":+SIGN-RSA-PSS-RSAE-SHA256:+SIGN-RSA-PSS-RSAE-SHA384:+SIGN-RSA-PSS-RSAE-SHA512"
    ":+SIGN-RSA-PSS-SHA256:+SIGN-RSA-PSS-SHA384:+SIGN-RSA-PSS-SHA512"
    ":+SIGN-RSA-SHA256:+SIGN-RSA-SHA384:+SIGN-RSA-SHA512"; /* in chains only: RFC 8446 section 4.2.3 */

/* GnuTLS takes no priorities without a signature algorithm, although nothing is signed here. +PSK is left out: psk_ke
 * without (EC)DHE has no forward secrecy (RFC 8446 section 4.2.9). */
static const char PSK[] = ":+ECDHE-PSK:+CTYPE-X509:+SIGN-EDDSA-ED25519";

static gnutls_certificate_type_t own_type(const struct identity *id)
{
    return id->kind == IDENTITY_RAW ? GNUTLS_CRT_RAWPK : GNUTLS_CRT_X509;
}

static void write_priorities(const struct identity *id, bool server, char out[PRIORITIES_ROOM])
{
    const char *own = server ? "SRV" : "CLI", *peer = server ? "CLI" : "SRV";

    /* GnuTLS refuses a client whose only kind is missing here, also where he need not show anything: so it is taken,
     * and counts for nothing (identity_peer_shows). */
    const bool takes_raw = id->accepts_raw || (server && id->kind == IDENTITY_RAW && id->auth == AUTH_REQUEST);

    if (id->kind == IDENTITY_PSK)
        snprintf(out, PRIORITIES_ROOM, "%s", PSK);
    else
        snprintf(out, PRIORITIES_ROOM, ":+ECDHE-ECDSA:+ECDHE-RSA:+CTYPE-%s-%s:+CTYPE-%s-X509%s%s%s%s", own,
                 id->kind == IDENTITY_RAW ? "RAWPK" : "X509", peer, takes_raw ? ":+CTYPE-" : "", takes_raw ? peer : "",
                 takes_raw ? "-RAWPK" : "", CERTIFICATES);
}

bool identity_peer_shows(const struct identity *id, gnutls_session_t session)
{
    unsigned count = 0;
    const bool raw = gnutls_certificate_type_get2(session, GNUTLS_CTYPE_PEERS) == GNUTLS_CRT_RAWPK;

    return gnutls_certificate_get_peers(session, &count) && (!raw || id->accepts_raw);
}

const char *identity_kind_words(const struct identity *id)
{
    switch (id->kind) {
    case IDENTITY_RAW:
        return "a raw public key (key= without cert=)";
    case IDENTITY_PSK:
        return "a pre-shared key (psk=)";
    case IDENTITY_X509:
    case IDENTITY_INVALID:
        break;
    }
    return "a certificate";
}

bool identity_shows_raw(const struct identity *id)
{
    return id->kind == IDENTITY_RAW;
}

bool identity_takes_raw(const struct identity *id)
{
    return id->accepts_raw;
}

bool identity_signs_by(const struct identity *id, uint16_t scheme)
{
    unsigned bits = 0;

    if (!id->chain_len)
        return false;
    switch (gnutls_pubkey_get_pk_algorithm(id->chain[0].pubkey, &bits)) {
    case GNUTLS_PK_EDDSA_ED25519:
        return scheme == 0x0807;
    case GNUTLS_PK_ECDSA:
        return scheme == (bits == 256 ? 0x0403 : bits == 384 ? 0x0503 : 0x0603);
    case GNUTLS_PK_RSA:
        return scheme >= 0x0804 && scheme <= 0x0806;
    case GNUTLS_PK_RSA_PSS:
        return scheme >= 0x0809 && scheme <= 0x080b;
    default:
        return false;
    }
}

const char *identity_priorities(const struct identity *id, bool server)
{
    return server ? id->server_priorities : id->client_priorities;
}

unsigned identity_session_flags(const struct identity *id)
{
    return id->kind == IDENTITY_RAW || id->accepts_raw ? GNUTLS_ENABLE_RAWPK : 0;
}

/* GnuTLS's own choice holds a certificate back that none of the CAs named by the server issued (RFC 8446 section
 * 4.4.2.3 leaves that to the client). We have one identity: it is shown whenever one is asked for, in the form that was
 * agreed. It is found by the session's database pointer (identity_apply), which nothing else needs, since no resumption
 * data is stored.
 *
 * GnuTLS asks when CertificateRequest is there, before the server's certificate: so show=proven holds back here where
 * nothing can be proven, and elsewhere because a server that is not accepted ends the handshake before ours leaves. */
static int present_own(gnutls_session_t session, const struct gnutls_cert_retr_st *info, gnutls_pcert_st **certs,
                       unsigned *count, gnutls_ocsp_data_st **ocsp, unsigned *ocsp_count, gnutls_privkey_t *key,
                       unsigned *flags)
{
    const struct identity *id = gnutls_db_get_ptr(session);

    (void)info;
    if (!id)
        return -1;
    const bool hidden = id->show == SHOW_NEVER || (id->show == SHOW_PROVEN && id->auth == AUTH_INSECURE_NONE);
    const bool shown = !hidden && gnutls_certificate_type_get2(session, GNUTLS_CTYPE_OURS) == own_type(id);
    const bool stapled = shown && id->staple.response.data;
    *certs = shown ? id->chain : NULL;
    *count = shown ? id->chain_len : 0;
    *key = shown ? id->key : NULL;
    *ocsp = stapled ? (gnutls_ocsp_data_st *)&id->staple : NULL;
    *ocsp_count = stapled;
    *flags = 0;
    return 0;
}

enum result identity_show_new(struct identity *id, char *why)
{
    const int e = gnutls_certificate_allocate_credentials(&id->certificate);

    if (e < 0)
        return identity_refuse_gnutls(why, e, "cannot make credentials");
    gnutls_certificate_set_retrieve_function3(id->certificate, present_own);
    return RESULT_OK;
}

enum result identity_raw_own(struct identity *id, const char *key_name, char *why)
{
    gnutls_pubkey_t pub;
    unsigned bits = 0;

    id->chain = calloc(1, sizeof *id->chain);
    if (!id->chain)
        return identity_nomem(why);
    int e = identity_key_public(id, &pub);
    if (e < 0 && gnutls_privkey_get_type(id->key) == GNUTLS_PRIVKEY_PKCS11)
        return identity_refuse(why,
                               "the token does not tell the public key of %s: store it there as an object of its own, "
                               "with the same id, or show a certificate (cert=)",
                               key_name);
    if (e < 0)
        return identity_refuse_gnutls(why, e, "cannot use the key in %s", key_name);
    const int pk = gnutls_pubkey_get_pk_algorithm(pub, &bits);
    const enum result r = identity_check_strength(pk, bits, key_name, why);
    e = identity_spki_of(pub, &id->own_spki);
    if (e >= 0 && (e = gnutls_pcert_import_rawpk(&id->chain[0], pub, 0)) >= 0) {
        id->chain_len = 1; /* it owns pub now */
        return r;
    }
    gnutls_pubkey_deinit(pub);
    return identity_refuse_gnutls(why, e, "cannot show the public key of %s", key_name);
}

void identity_show_prepare(struct identity *id)
{
    write_priorities(id, false, id->client_priorities);
    write_priorities(id, true, id->server_priorities);
}
