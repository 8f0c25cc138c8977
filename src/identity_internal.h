/* What the identity_*.c files share: one loaded identity, and the steps that identity_load is made of. */
#ifndef P2PTLS_IDENTITY_INTERNAL_H
#define P2PTLS_IDENTITY_INTERNAL_H

#include "identity.h"

#include <gnutls/abstract.h>
#include <gnutls/x509.h>
#include <stdint.h>

enum {
    IDENTITY_FILE_MAX = 1 << 20,
    PSK_NAME_MAX = 128,
    PSK_KEY_MIN = 16, /* 128 bits: a hello's binder lets whoever dials try weaker ones offline */
    PSK_KEY_MAX = 64,
};

/* Bytes of a file or of a key; secret_wipe clears them before they are freed. */
struct secret_bytes {
    uint8_t *bytes;
    size_t len;
};

struct psk_entry {
    char name[PSK_NAME_MAX + 1];
    size_t name_len;
    uint8_t key[PSK_KEY_MAX];
    size_t key_len;
};

enum identity_kind {
    IDENTITY_INVALID = 0,
    IDENTITY_OWN_KEY, /* trusts exactly the own public key */
    IDENTITY_X509,    /* trusts what a CA of ca_file signed */
    IDENTITY_PSK,
};

struct identity {
    enum identity_kind kind;
    enum policy_auth auth;
    enum policy_show show;
    enum policy_usage usage;

    gnutls_certificate_credentials_t certificate; /* trust list and callbacks; IDENTITY_PSK: NULL */
    gnutls_privkey_t key;
    gnutls_pcert_st *chain; /* leaf first */
    unsigned chain_len;
    struct secret_bytes own_spki; /* SubjectPublicKeyInfo of the leaf, DER */

    gnutls_psk_client_credentials_t psk_client;
    gnutls_psk_server_credentials_t psk_server;
    struct psk_entry *psks; /* the first is sent, all are accepted */
    size_t psk_count;
};

/* Writes the sentence and returns RESULT_CONFIG, or RESULT_NOMEM for GnuTLS's GNUTLS_E_MEMORY_ERROR. */
enum result identity_refuse(char *why, const char *format, ...) __attribute__((format(printf, 2, 3)));
enum result identity_refuse_gnutls(char *why, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
enum result identity_nomem(char *why);

void secret_wipe(struct secret_bytes *s);

enum file_kind {
    FILE_SECRET = 0, /* neither group nor others may have any permission */
    FILE_PUBLIC,     /* others may read it, but not write it */
};

/* Opens (never blocking, following links), checks and reads a whole regular file. dir_fd as for openat(2); shown is
 * the path for messages. On success *out is a terminated copy, len without the terminator, to be freed with
 * secret_wipe. RESULT_CONFIG, and errno ENOENT if and only if there is no such file; RESULT_NOMEM. */
MUST_USE enum result identity_file_read(int dir_fd, const char *path, const char *shown, enum file_kind kind,
                                        struct secret_bytes *out, char *why);

/* Key and chain from PEM text (which may be the same bytes) into id; the names are for messages. */
MUST_USE enum result identity_x509_own(struct identity *id, const struct secret_bytes *cert, const char *cert_name,
                                       const struct secret_bytes *key, const char *key_name, char *why);
/* The CAs of a PEM text into id's trust list. */
MUST_USE enum result identity_x509_trust(struct identity *id, const struct secret_bytes *ca, const char *ca_name,
                                         char *why);
/* The certificate credentials of id, once, before the two above. */
MUST_USE enum result identity_x509_new(struct identity *id, char *why);
void identity_x509_free(struct identity *id);
/* SubjectPublicKeyInfo, DER; a GnuTLS error code or 0. */
int identity_x509_spki(gnutls_x509_crt_t cert, struct secret_bytes *out);

/* STATE_DIR/identity.pem, made if absent. */
MUST_USE enum result identity_auto_read(const char *state_dir, struct secret_bytes *pem, char *why);
/* A new Ed25519 key and self-signed certificate, both PEM in one text. */
MUST_USE enum result identity_auto_generate(struct secret_bytes *pem, char *why);

/* Parses NAME:HEX lines into id->psks and makes the credentials of both roles. */
MUST_USE enum result identity_psk_load(struct identity *id, const struct secret_bytes *text, const char *name,
                                       char *why);
void identity_psk_free(struct identity *id);

/* Does a subject alternative name of the certificate match a DNS name or IP literal? RFC 6125 section 6.4: one
 * wildcard as the whole leftmost label; the common name is never looked at. */
bool identity_name_matches(gnutls_x509_crt_t cert, const char *name);

/* identity_usage.c: does the certificate's extended key usage, if it has one, allow this TLS role? (RFC 5280 section
 * 4.2.1.12) */
bool identity_usage_fits(gnutls_x509_crt_t cert, bool is_server);

#endif
