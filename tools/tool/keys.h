/* Keys and certificates of the tool. GnuTLS makes, signs and writes them. */
#ifndef P2PTLS_TOOL_KEYS_H
#define P2PTLS_TOOL_KEYS_H

#include <gnutls/abstract.h>
#include <gnutls/x509.h>
#include <stdbool.h>
#include <time.h>

/* All return false after failed() or usage_error(); last_status() says which. */

/* Ed25519, or ECDSA on a curve of NIST. No RSA: see p2ptls-genkey(1). */
struct key_type {
    const char *name, *words;
    gnutls_pk_algorithm_t algorithm;
    unsigned bits; /* as gnutls_privkey_generate takes it */
};
const struct key_type *key_type_find(const char *name); /* NULL: usage_error() was called */
extern const struct key_type *const key_type_default;

bool key_generate(const struct key_type *type, gnutls_privkey_t *out);
/* PKCS #8, PEM; encrypted with the first line of passphrase_file, if that is not NULL. Freed by pem_free. */
bool key_export(gnutls_privkey_t key, const char *passphrase_file, gnutls_datum_t *pem);
/* A PEM file that nobody else may read. */
bool key_load(const char *path, const char *passphrase_file, gnutls_privkey_t *out);
bool key_public(gnutls_privkey_t key, gnutls_pubkey_t *out);
const char *key_words(gnutls_pubkey_t key); /* "Ed25519 key" */

enum { PIN_TEXT = 7 + 44 + 1, PIN_BYTES = 32 };
/* As pin= takes it: sha256: and the digest of the public key, in base64. */
bool key_pin(gnutls_pubkey_t key, char out[PIN_TEXT]);
bool key_digest(gnutls_pubkey_t key, unsigned char out[PIN_BYTES]);

void pem_free(gnutls_datum_t *pem); /* wipes it, too */
/* Says what GnuTLS's error number means. */
bool gnutls_failed(int error, const char *what);

/* ---- names.c ---- */

enum { NAMES_MAX = 100, NAME_BYTES = 256 };

struct alternative_name {
    gnutls_x509_subject_alt_name_t kind;
    char shown[NAME_BYTES + 8];
    unsigned char bytes[NAME_BYTES];
    unsigned len;
};

struct names {
    struct alternative_name all[NAMES_MAX];
    unsigned count;
};

/* A DNS name (*.NAME too), an IP address, or with its kind in front: dns: ip: uri: email:. usage_error() if not. */
bool names_add(struct names *names, const char *text);

/* ---- certificate.c ---- */

struct validity {
    time_t from, until;
};

/* --days, --hours and --until; NULL: not given. */
struct validity_options {
    const char *days, *hours, *until;
};
bool validity_parse(const struct validity_options *options, unsigned days_default, struct validity *out);

struct certificate_plan {
    const char *common_name; /* NULL: the first name, if it is short enough */
    const struct names *names;
    struct validity validity;
    bool authority;
};

/* Signed by issuer's key; issuer NULL: by its own, which signer then is. */
bool certificate_make(const struct certificate_plan *plan, gnutls_pubkey_t key, gnutls_x509_crt_t issuer,
                      gnutls_privkey_t signer, gnutls_x509_crt_t *out);
bool certificate_load(const char *path, gnutls_x509_crt_t *out); /* the first of the file */
bool certificate_export(gnutls_x509_crt_t certificate, gnutls_datum_t *pem);
/* FILE: certificate for NAMES, from ... until ...; the pin. On standard output. */
bool certificate_tell(const char *path, gnutls_x509_crt_t certificate);
void print_date(time_t t, char out[32]); /* 2026-12-01 03:20:00 UTC */

/* ---- request.c ---- */

bool request_make(const struct names *names, gnutls_pubkey_t public, gnutls_privkey_t key, gnutls_datum_t *pem);
/* Checks its signature. The names that it asks for are taken if there are none in *names. */
bool request_load(const char *path, gnutls_pubkey_t *key, struct names *names);

/* ---- stems: STEM.pem, STEM.key, STEM.csr ---- */

enum { STEM_MAX = 4096 };
/* A name, not a folder, whose files would be hidden ones. False: usage_error() was called. */
bool stem_is_name(const char *stem);
/* STEM may end in .pem, .key or .csr; false: too long. */
bool stem_file(const char *stem, const char *suffix, char out[STEM_MAX]);

#endif
