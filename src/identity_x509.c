/* The own certificate chain, and the CAs that are trusted, into GnuTLS credentials. */
#include "identity_internal.h"

#include "bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

int identity_spki_of(gnutls_pubkey_t pub, struct secret_bytes *out)
{
    gnutls_datum_t der = {0};
    const int e = gnutls_pubkey_export2(pub, GNUTLS_X509_FMT_DER, &der);

    if (e < 0)
        return e;
    out->bytes = malloc(der.size);
    out->len = der.size;
    if (out->bytes)
        memcpy(out->bytes, der.data, der.size);
    gnutls_free(der.data);
    return out->bytes ? 0 : GNUTLS_E_MEMORY_ERROR;
}

int identity_x509_spki(gnutls_x509_crt_t cert, struct secret_bytes *out)
{
    gnutls_pubkey_t pub;
    int e = gnutls_pubkey_init(&pub);

    if (e < 0)
        return e;
    e = gnutls_pubkey_import_x509(pub, cert, 0);
    if (e >= 0)
        e = identity_spki_of(pub, out);
    gnutls_pubkey_deinit(pub);
    return e;
}

void identity_print_date(time_t t, char out[32])
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
        identity_print_date(until, date);
        return identity_refuse(why, "a certificate in %s expired on %s: renew it", name, date);
    }
    if (now < from) {
        identity_print_date(from, date);
        return identity_refuse(why, "a certificate in %s is not valid before %s: check this machine's clock", name,
                               date);
    }
    return RESULT_OK;
}

enum result identity_check_strength(int pk, unsigned bits, const char *name, char *why)
{
    switch (pk) {
    case GNUTLS_PK_RSA:
    case GNUTLS_PK_RSA_PSS:
    case GNUTLS_PK_ECDSA:
        break;
    case GNUTLS_PK_EDDSA_ED25519:
        return RESULT_OK; /* there is one size, and GnuTLS says 0 bits for a key in a token */
    default:
        return identity_refuse(why, "the key type of %s cannot be used: take Ed25519, ECDSA or RSA", name);
    }
    if (gnutls_pk_bits_to_sec_param((gnutls_pk_algorithm_t)pk, bits) < GNUTLS_SEC_PARAM_MEDIUM)
        return identity_refuse(why, "the key of %s is too short (%u bits): RSA needs at least 2048", name, bits);
    return RESULT_OK;
}

/* RFC 8446 section 4.4.2.2: if keyUsage is there, it must allow digitalSignature. Said now rather than by a failed
 * handshake. */
static enum result check_usable(gnutls_x509_crt_t leaf, const char *name, char *why)
{
    unsigned bits = 0, usage = 0;
    const int pk = gnutls_x509_crt_get_pk_algorithm(leaf, &bits);
    const enum result r = identity_check_strength(pk, bits, name, why);

    if (r != RESULT_OK)
        return r;
    if (gnutls_x509_crt_get_key_usage(leaf, &usage, NULL) >= 0 && !(usage & GNUTLS_KEY_DIGITAL_SIGNATURE))
        return identity_refuse(why, "the key usage of %s does not include digitalSignature, which TLS 1.3 needs", name);
    return RESULT_OK;
}

/* A key in a token of which nobody may read the public one: what it signs must fit the certificate. 0, 1 for the same
 * key, or a GnuTLS error code. */
static int pair_by_signature(const struct identity *id)
{
    static const char text[] = "p2ptls: do this key and its certificate belong together?";
    const gnutls_datum_t data = {(unsigned char *)text, sizeof text - 1};
    gnutls_datum_t signature = {0};
    gnutls_digest_algorithm_t digest = GNUTLS_DIG_SHA256;
    gnutls_pubkey_t pub = id->chain[0].pubkey;

    int e = gnutls_pubkey_get_preferred_hash_algorithm(pub, &digest, NULL);
    const gnutls_sign_algorithm_t sign =
        gnutls_pk_to_sign((gnutls_pk_algorithm_t)gnutls_pubkey_get_pk_algorithm(pub, NULL), digest);
    if (e >= 0)
        e = gnutls_privkey_sign_data2(id->key, sign, 0, &data, &signature);
    if (e >= 0)
        e = gnutls_pubkey_verify_data2(pub, sign, 0, &data, &signature) >= 0;
    gnutls_free(signature.data);
    return e;
}

static enum result check_pair(const struct identity *id, const char *cert_name, const char *key_name, char *why)
{
    struct secret_bytes spki = {0};
    int e = identity_key_spki(id, &spki);
    bool same = e >= 0 && spki.len == id->own_spki.len && memcmp(spki.bytes, id->own_spki.bytes, spki.len) == 0;

    secret_wipe(&spki);
    if (e < 0 && gnutls_privkey_get_type(id->key) == GNUTLS_PRIVKEY_PKCS11)
        same = (e = pair_by_signature(id)) == 1;
    if (e < 0)
        return identity_refuse_gnutls(why, e, "cannot use the key in %s", key_name);
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
        const time_t until = gnutls_x509_crt_get_expiration_time(list->items[i]);
        if (id->expires == 0 || until < id->expires) {
            id->expires = until;
            id->valid_from = gnutls_x509_crt_get_activation_time(list->items[i]);
        }
    }
    const int e = identity_x509_spki(list->items[0], &id->own_spki);
    if (e < 0)
        return identity_refuse_gnutls(why, e, "cannot use %s", name);
    return check_usable(list->items[0], name, why);
}

static enum result take_chain(struct identity *id, const struct certificate_list *list, const char *cert_name,
                              const char *key_name, char *why)
{
    const enum result r = load_chain(id, list, cert_name, why);

    return r == RESULT_OK ? check_pair(id, cert_name, key_name, why) : r;
}

enum result identity_x509_own(struct identity *id, const struct secret_bytes *cert, const char *cert_name,
                              const char *key_name, char *why)
{
    struct certificate_list list = {0};

    enum result r = list_parse(&list, cert, cert_name, GNUTLS_X509_CRT_LIST_FAIL_IF_UNSORTED, why);
    if (r == RESULT_OK)
        r = take_chain(id, &list, cert_name, key_name, why);
    list_free(&list);
    return r;
}

enum result identity_x509_token(struct identity *id, const struct policy_identity *own, const char *key_name, char *why)
{
    struct certificate_list list = {0};
    char shown[200];

    enum result r = identity_token_open(id, own, why);
    if (r != RESULT_OK)
        return r;
    identity_token_shown(own->cert_file, shown, sizeof shown);
    const int e =
        gnutls_x509_crt_list_import_url(&list.items, &list.count, own->cert_file, identity_token_pin(), id, 0);
    r = e < 0 ? identity_token_refuse(id, e, own->cert_file, own, why) : take_chain(id, &list, shown, key_name, why);
    list_free(&list);
    return r;
}

enum result identity_x509_user(struct identity *id, const struct secret_bytes *cert, const char *name, char *why)
{
    struct certificate_list list = {0};
    const enum result r = list_parse(&list, cert, name, GNUTLS_X509_CRT_LIST_FAIL_IF_UNSORTED, why);
    const int e = r == RESULT_OK ? identity_x509_spki(list.items[0], &id->user_spki) : 0;

    list_free(&list);
    return e < 0 ? identity_refuse_gnutls(why, e, "cannot use %s", name) : r;
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
    gnutls_free(id->staple.response.data);
    secret_wipe(&id->own_spki);
    secret_wipe(&id->user_spki);
    secret_wipe(&id->pin); /* last: the token may ask for it until the key is gone */
}
