/* Own key and certificate chain, and the CAs that are trusted, from PEM into GnuTLS credentials. */
#include "identity_internal.h"

#include "bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* For trust in the remote side: at least 112 bits, so RSA from 2048 and no SHA-1 or MD5 signatures. */
#define VERIFY_FLAGS GNUTLS_PROFILE_TO_VFLAGS(GNUTLS_PROFILE_MEDIUM)

struct certificate_list {
    gnutls_x509_crt_t *items;
    unsigned count;
};

static void list_free(struct certificate_list *list)
{
    for (unsigned i = 0; i < list->count; i++)
        gnutls_x509_crt_deinit(list->items[i]);
    gnutls_free(list->items);
    *list = (struct certificate_list){0};
}

static enum result list_parse(struct certificate_list *list, const struct secret_bytes *pem, const char *name,
                              unsigned flags, char *why)
{
    const gnutls_datum_t text = {pem->bytes, (unsigned)pem->len};
    const int e = gnutls_x509_crt_list_import2(&list->items, &list->count, &text, GNUTLS_X509_FMT_PEM, flags);

    if (e == GNUTLS_E_CERTIFICATE_LIST_UNSORTED)
        return identity_refuse(
            why, "the certificates in %s are out of order: the own one first, then each one's issuer", name);
    if (e < 0)
        return identity_refuse_gnutls(why, e, "%s holds no readable PEM certificate", name);
    return RESULT_OK;
}

int identity_x509_spki(gnutls_x509_crt_t cert, struct secret_bytes *out)
{
    gnutls_pubkey_t pub;
    gnutls_datum_t der = {0};
    int e = gnutls_pubkey_init(&pub);

    if (e < 0)
        return e;
    e = gnutls_pubkey_import_x509(pub, cert, 0);
    if (e >= 0)
        e = gnutls_pubkey_export2(pub, GNUTLS_X509_FMT_DER, &der);
    gnutls_pubkey_deinit(pub);
    if (e < 0)
        return e;
    out->bytes = malloc(der.size);
    out->len = der.size;
    if (out->bytes)
        memcpy(out->bytes, der.data, der.size);
    gnutls_free(der.data);
    return out->bytes ? 0 : GNUTLS_E_MEMORY_ERROR;
}

static void print_date(time_t t, char out[32])
{
    struct tm tm;

    if (!gmtime_r(&t, &tm) || strftime(out, 32, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
        snprintf(out, 32, "an unknown date");
}

static enum result check_dates(gnutls_x509_crt_t cert, const char *name, char *why)
{
    const time_t now = time(NULL), from = gnutls_x509_crt_get_activation_time(cert),
                 until = gnutls_x509_crt_get_expiration_time(cert);
    char date[32];

    if (from == (time_t)-1 || until == (time_t)-1)
        return identity_refuse(why, "a certificate in %s has no readable validity", name);
    if (now > until) {
        print_date(until, date);
        return identity_refuse(why, "a certificate in %s expired on %s: renew it", name, date);
    }
    if (now < from) {
        print_date(from, date);
        return identity_refuse(why, "a certificate in %s is not valid before %s: check this machine's clock", name,
                               date);
    }
    return RESULT_OK;
}

/* RFC 8446 section 4.4.2.2: if keyUsage is there, it must allow digitalSignature. Said now rather than by a failed
 * handshake. */
static enum result check_usable(gnutls_x509_crt_t leaf, const char *name, char *why)
{
    unsigned bits = 0, usage = 0;
    const int pk = gnutls_x509_crt_get_pk_algorithm(leaf, &bits);

    switch (pk) {
    case GNUTLS_PK_RSA:
    case GNUTLS_PK_RSA_PSS:
    case GNUTLS_PK_ECDSA:
    case GNUTLS_PK_EDDSA_ED25519:
        break;
    default:
        return identity_refuse(why, "the key type of %s cannot be used: take Ed25519, ECDSA or RSA", name);
    }
    if (gnutls_pk_bits_to_sec_param((gnutls_pk_algorithm_t)pk, bits) < GNUTLS_SEC_PARAM_MEDIUM)
        return identity_refuse(why, "the key of %s is too short (%u bits): RSA needs at least 2048", name, bits);
    if (gnutls_x509_crt_get_key_usage(leaf, &usage, NULL) >= 0 && !(usage & GNUTLS_KEY_DIGITAL_SIGNATURE))
        return identity_refuse(why, "the key usage of %s does not include digitalSignature, which TLS 1.3 needs", name);
    return RESULT_OK;
}

static enum result load_key(struct identity *id, const struct secret_bytes *pem, const char *name, char *why)
{
    const gnutls_datum_t text = {pem->bytes, (unsigned)pem->len};
    int e = gnutls_privkey_init(&id->key);

    if (e < 0)
        return identity_refuse_gnutls(why, e, "cannot load %s", name);
    e = gnutls_privkey_import_x509_raw(id->key, &text, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (e == GNUTLS_E_DECRYPTION_FAILED)
        return identity_refuse(
            why, "the key in %s is encrypted: nobody can type its password here, so store it without one", name);
    if (e < 0)
        return identity_refuse_gnutls(why, e, "%s holds no readable PEM private key", name);
    return RESULT_OK;
}

static int key_spki(gnutls_privkey_t key, gnutls_datum_t *der)
{
    gnutls_pubkey_t pub;
    int e = gnutls_pubkey_init(&pub);

    if (e < 0)
        return e;
    e = gnutls_pubkey_import_privkey(pub, key, 0, 0);
    if (e >= 0)
        e = gnutls_pubkey_export2(pub, GNUTLS_X509_FMT_DER, der);
    gnutls_pubkey_deinit(pub);
    return e;
}

static enum result check_pair(const struct identity *id, const char *cert_name, const char *key_name, char *why)
{
    gnutls_datum_t der = {0};
    const int e = key_spki(id->key, &der);

    if (e < 0)
        return identity_refuse_gnutls(why, e, "cannot use the key in %s", key_name);
    const bool same = der.size == id->own_spki.len && memcmp(der.data, id->own_spki.bytes, der.size) == 0;
    gnutls_free(der.data);
    if (!same)
        return identity_refuse(why, "the key in %s does not belong to the first certificate in %s", key_name,
                               cert_name);
    return RESULT_OK;
}

static enum result load_chain(struct identity *id, const struct certificate_list *list, const char *name, char *why)
{
    id->chain = calloc(list->count, sizeof *id->chain);
    if (!id->chain)
        return identity_nomem(why);
    for (unsigned i = 0; i < list->count; i++) {
        enum result r = check_dates(list->items[i], name, why);
        if (r != RESULT_OK)
            return r;
        const int e = gnutls_pcert_import_x509(&id->chain[i], list->items[i], 0);
        if (e < 0)
            return identity_refuse_gnutls(why, e, "cannot use %s", name);
        id->chain_len++;
    }
    const int e = identity_x509_spki(list->items[0], &id->own_spki);
    if (e < 0)
        return identity_refuse_gnutls(why, e, "cannot use %s", name);
    return check_usable(list->items[0], name, why);
}

enum result identity_x509_own(struct identity *id, const struct secret_bytes *cert, const char *cert_name,
                              const struct secret_bytes *key, const char *key_name, char *why)
{
    struct certificate_list list = {0};

    enum result r = list_parse(&list, cert, cert_name, GNUTLS_X509_CRT_LIST_FAIL_IF_UNSORTED, why);
    if (r == RESULT_OK)
        r = load_chain(id, &list, cert_name, why);
    if (r == RESULT_OK)
        r = load_key(id, key, key_name, why);
    if (r == RESULT_OK)
        r = check_pair(id, cert_name, key_name, why);
    list_free(&list);
    return r;
}

enum result identity_x509_trust(struct identity *id, const struct secret_bytes *ca, const char *ca_name, char *why)
{
    struct certificate_list list = {0};
    bool any_valid = false;

    enum result r = list_parse(&list, ca, ca_name, 0, why);
    /* One CA of several may be past its date while they are being replaced; if all are, nobody can ever connect. */
    for (unsigned i = list.count; r == RESULT_OK && i-- > 0 && !any_valid;)
        any_valid = check_dates(list.items[i], ca_name, why) == RESULT_OK;
    if (r == RESULT_OK && !any_valid)
        r = RESULT_CONFIG;
    if (r == RESULT_OK) {
        const int e = gnutls_certificate_set_x509_trust(id->certificate, list.items, (int)list.count);
        if (e < 0)
            r = identity_refuse_gnutls(why, e, "cannot trust the certificates in %s", ca_name);
    }
    list_free(&list);
    return r;
}

/* GnuTLS's own choice holds a certificate back that none of the CAs named by the server issued (RFC 8446 section
 * 4.4.2.3 leaves that to the client). We have one identity: it is shown whenever one is asked for. It is found by the
 * session's database pointer (identity_apply), which nothing else needs, since no resumption data is stored.
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
    *certs = hidden ? NULL : id->chain;
    *count = hidden ? 0 : id->chain_len;
    *key = hidden ? NULL : id->key;
    *ocsp = NULL;
    *ocsp_count = 0;
    *flags = 0;
    return 0;
}

enum result identity_x509_new(struct identity *id, char *why)
{
    const int e = gnutls_certificate_allocate_credentials(&id->certificate);

    if (e < 0)
        return identity_refuse_gnutls(why, e, "cannot make credentials");
    gnutls_certificate_set_verify_flags(id->certificate, VERIFY_FLAGS);
    gnutls_certificate_set_retrieve_function3(id->certificate, present_own);
    return RESULT_OK;
}

void identity_x509_free(struct identity *id)
{
    for (unsigned i = 0; i < id->chain_len; i++)
        gnutls_pcert_deinit(&id->chain[i]);
    free(id->chain);
    if (id->key)
        gnutls_privkey_deinit(id->key);
    if (id->certificate)
        gnutls_certificate_free_credentials(id->certificate);
    secret_wipe(&id->own_spki);
}
