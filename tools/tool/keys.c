#include "keys.h"

#include "identity_internal.h"
#include "tool.h"
#include "trust_internal.h"

#include "bytes.h"

#include <fcntl.h>
#include <gnutls/crypto.h>
#include <stdlib.h>
#include <string.h>

static const struct key_type types[] = {
    {"ed25519", "Ed25519", GNUTLS_PK_EDDSA_ED25519, 256},
    {"p256", "ECDSA P-256", GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1)},
    {"p384", "ECDSA P-384", GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP384R1)},
};

const struct key_type *const key_type_default = &types[0];

const struct key_type *key_type_find(const char *name)
{
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(name, types[i].name) == 0)
            return &types[i];
    (void)usage_error("--type takes ed25519, p256 or p384, found '%s'", name);
    return NULL;
}

bool gnutls_failed(int error, const char *what)
{
    if (error < 0)
        (void)failed("%s: %s", what, gnutls_strerror(error));
    return error < 0;
}

bool key_generate(const struct key_type *type, gnutls_privkey_t *out)
{
    int e = gnutls_privkey_init(out);

    if (e >= 0 && (e = gnutls_privkey_generate(*out, type->algorithm, type->bits, 0)) < 0)
        gnutls_privkey_deinit(*out);
    return !gnutls_failed(e, "cannot make a key");
}

void pem_free(gnutls_datum_t *pem)
{
    if (pem->data)
        wipe(pem->data, pem->size);
    gnutls_free(pem->data);
    *pem = (gnutls_datum_t){0};
}

/* The first line, as the library reads it (identity_key.c). */
static bool read_passphrase(const char *path, struct secret_bytes *out)
{
    char why[IDENTITY_WHY_MAX];

    if (identity_file_read(AT_FDCWD, path, path, FILE_SECRET, out, why) != RESULT_OK) {
        (void)failed("%s", why);
        return false;
    }
    out->bytes[strcspn((const char *)out->bytes, "\r\n")] = '\0';
    if (out->bytes[0])
        return true;
    secret_wipe(out);
    (void)failed("the first line of %s is empty", path);
    return false;
}

bool key_export(gnutls_privkey_t key, const char *passphrase_file, gnutls_datum_t *pem)
{
    struct secret_bytes passphrase = {0};
    gnutls_x509_privkey_t plain = NULL;

    *pem = (gnutls_datum_t){0};
    if (passphrase_file && !read_passphrase(passphrase_file, &passphrase))
        return false;
    int e = gnutls_privkey_export_x509(key, &plain);
    if (e >= 0)
        e = gnutls_x509_privkey_export2_pkcs8(plain, GNUTLS_X509_FMT_PEM, (const char *)passphrase.bytes,
                                              passphrase_file ? GNUTLS_PKCS_PBES2_AES_256 : GNUTLS_PKCS_PLAIN, pem);
    if (plain)
        gnutls_x509_privkey_deinit(plain);
    secret_wipe(&passphrase);
    return !gnutls_failed(e, "cannot write the key as PEM");
}

bool key_load(const char *path, const char *passphrase_file, gnutls_privkey_t *out)
{
    const struct policy_identity own = {.key_file = path, .passphrase_file = passphrase_file};
    struct identity id = {0};
    struct secret_bytes pem;
    char why[IDENTITY_WHY_MAX] = "";

    enum result r = identity_file_read(AT_FDCWD, path, path, FILE_SECRET, &pem, why);
    if (r == RESULT_OK)
        r = identity_key_pem(&id, &pem, path, &own, why);
    secret_wipe(&pem);
    *out = id.key;
    if (r != RESULT_OK)
        (void)failed("%s", why);
    return r == RESULT_OK;
}

bool key_public(gnutls_privkey_t key, gnutls_pubkey_t *out)
{
    int e = gnutls_pubkey_init(out);

    if (e >= 0 && (e = gnutls_pubkey_import_privkey(*out, key, 0, 0)) < 0)
        gnutls_pubkey_deinit(*out);
    return !gnutls_failed(e, "cannot read the public key");
}

const char *key_words(gnutls_pubkey_t key)
{
    static char words[64];
    unsigned bits = 0;
    const int algorithm = gnutls_pubkey_get_pk_algorithm(key, &bits);

    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (types[i].algorithm == (gnutls_pk_algorithm_t)algorithm &&
            (algorithm != GNUTLS_PK_ECDSA || bits == (i == 1 ? 256u : 384u)))
            return types[i].words;
    snprintf(words, sizeof words, "%s, %u bits", gnutls_pk_get_name((gnutls_pk_algorithm_t)algorithm), bits);
    return words;
}

bool key_digest(gnutls_pubkey_t key, unsigned char out[PIN_BYTES])
{
    struct secret_bytes spki = {0};
    int e = identity_spki_of(key, &spki);

    if (e >= 0)
        e = gnutls_hash_fast(GNUTLS_DIG_SHA256, spki.bytes, spki.len, out);
    secret_wipe(&spki);
    return !gnutls_failed(e, "cannot make the fingerprint");
}

bool key_pin(gnutls_pubkey_t key, char out[PIN_TEXT])
{
    unsigned char digest[PIN_BYTES];

    if (!key_digest(key, digest))
        return false;
    trust_print_fingerprint(digest, out);
    return true;
}

static size_t stem_length(const char *stem)
{
    const size_t len = strlen(stem);
    const char *end = len > 4 ? stem + len - 4 : "";
    const bool has_suffix = strcmp(end, ".pem") == 0 || strcmp(end, ".key") == 0 || strcmp(end, ".csr") == 0;

    return has_suffix ? len - 4 : len;
}

bool stem_is_name(const char *stem)
{
    const size_t len = stem_length(stem);
    size_t begin = len;

    while (begin && stem[begin - 1] != '/')
        begin--;
    const size_t name = len - begin;
    if (name && !(stem[begin] == '.' && (name == 1 || (name == 2 && stem[begin + 1] == '.'))))
        return true;
    (void)usage_error("'%s' is no name of a file: .pem is put behind it", stem);
    return false;
}

bool stem_file(const char *stem, const char *suffix, char out[STEM_MAX])
{
    return snprintf(out, STEM_MAX, "%.*s%s", (int)stem_length(stem), stem, suffix) < STEM_MAX;
}
