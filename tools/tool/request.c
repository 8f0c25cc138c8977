/* Certificate requests (PKCS #10, RFC 2986): a node's key stays on the node, the authority's on another machine. */
#include "keys.h"

#include "identity_internal.h"
#include "tool.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

static int fill(gnutls_x509_crq_t request, const struct names *names, gnutls_pubkey_t key)
{
    int e = gnutls_x509_crq_set_version(request, 1);

    if (e >= 0)
        e = gnutls_x509_crq_set_dn_by_oid(request, GNUTLS_OID_X520_COMMON_NAME, 0, "p2ptls", 6);
    for (unsigned i = 0; i < names->count && e >= 0; i++)
        e = gnutls_x509_crq_set_subject_alt_name(request, names->all[i].kind, names->all[i].bytes, names->all[i].len,
                                                 GNUTLS_FSAN_APPEND);
    return e < 0 ? e : gnutls_x509_crq_set_pubkey(request, key);
}

bool request_make(const struct names *names, gnutls_pubkey_t public, gnutls_privkey_t key, gnutls_datum_t *pem)
{
    gnutls_digest_algorithm_t hash = GNUTLS_DIG_SHA256;
    gnutls_x509_crq_t request = NULL;
    int e = gnutls_x509_crq_init(&request);

    if (e >= 0)
        e = fill(request, names, public);
    if (e >= 0)
        e = gnutls_pubkey_get_preferred_hash_algorithm(public, &hash, NULL);
    if (e >= 0)
        e = gnutls_x509_crq_privkey_sign(request, key, hash, 0);
    if (e >= 0)
        e = gnutls_x509_crq_export2(request, GNUTLS_X509_FMT_PEM, pem);
    if (request)
        gnutls_x509_crq_deinit(request);
    return !gnutls_failed(e, "cannot make the request");
}

/* As names_add takes it. */
static bool spell(int type, const unsigned char *bytes, size_t len, char *out, size_t room)
{
    char address[INET6_ADDRSTRLEN];

    if (type != GNUTLS_SAN_IPADDRESS && strlen((const char *)bytes) != len)
        return false;
    switch (type) {
    case GNUTLS_SAN_IPADDRESS:
        if (len != 4 && len != 16)
            return false;
        inet_ntop(len == 4 ? AF_INET : AF_INET6, bytes, address, sizeof address);
        return snprintf(out, room, "ip:%s", address) < (int)room;
    case GNUTLS_SAN_DNSNAME:
        return snprintf(out, room, "dns:%s", bytes) < (int)room;
    case GNUTLS_SAN_URI:
        return snprintf(out, room, "uri:%s", bytes) < (int)room;
    case GNUTLS_SAN_RFC822NAME:
        return snprintf(out, room, "email:%s", bytes) < (int)room;
    }
    return false;
}

static bool take_names(gnutls_x509_crq_t request, const char *path, struct names *names)
{
    for (unsigned i = 0;; i++) {
        unsigned char bytes[NAME_BYTES + 1] = "";
        size_t len = sizeof bytes - 1;
        unsigned type = 0;
        char text[NAME_BYTES + 16];

        const int e = gnutls_x509_crq_get_subject_alt_name(request, i, bytes, &len, &type, NULL);
        if (e == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
            return true;
        if (e < 0 || !spell(e, bytes, len, text, sizeof text)) {
            (void)failed("%s asks for a name that is not understood: give the names to this command", path);
            return false;
        }
        if (!names_add(names, text))
            return false;
    }
}

static int import(const struct secret_bytes *pem, gnutls_x509_crq_t *request, gnutls_pubkey_t *key)
{
    const gnutls_datum_t text = {pem->bytes, (unsigned)pem->len};
    int e = gnutls_x509_crq_init(request);

    if (e >= 0)
        e = gnutls_x509_crq_import(*request, &text, GNUTLS_X509_FMT_PEM);
    if (e >= 0)
        e = gnutls_x509_crq_verify(*request, 0);
    if (e >= 0)
        e = gnutls_pubkey_init(key);
    return e < 0 ? e : gnutls_pubkey_import_x509_crq(*key, *request, 0);
}

/* A public key that is too weak to be shown would be refused by its own node only later. */
static bool check_key(gnutls_pubkey_t key, const char *path)
{
    char why[IDENTITY_WHY_MAX];
    unsigned bits = 0;
    const int algorithm = gnutls_pubkey_get_pk_algorithm(key, &bits);

    if (identity_check_strength(algorithm, bits, path, why) == RESULT_OK)
        return true;
    (void)failed("%s", why);
    return false;
}

bool request_load(const char *path, gnutls_pubkey_t *key, struct names *names)
{
    gnutls_x509_crq_t request = NULL;
    struct secret_bytes pem;
    char why[IDENTITY_WHY_MAX];

    *key = NULL;
    if (identity_file_read(AT_FDCWD, path, path, FILE_PUBLIC, &pem, why) != RESULT_OK) {
        (void)failed("%s", why);
        return false;
    }
    const int e = import(&pem, &request, key);
    secret_wipe(&pem);
    if (e < 0)
        (void)failed("%s holds no good certificate request: %s", path, gnutls_strerror(e));
    const bool good = e >= 0 && check_key(*key, path) && (names->count || take_names(request, path, names));
    if (request)
        gnutls_x509_crq_deinit(request);
    if (!good && *key) {
        gnutls_pubkey_deinit(*key);
        *key = NULL;
    }
    return good;
}
