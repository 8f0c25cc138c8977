/* What the identity_*.c files share: one loaded identity, and the steps that identity_load is made of. */
#ifndef P2PTLS_IDENTITY_INTERNAL_H
#define P2PTLS_IDENTITY_INTERNAL_H

#include "identity.h"

#include <gnutls/abstract.h>
#include <gnutls/x509.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

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

/* What this side shows of itself. */
enum identity_kind {
    IDENTITY_INVALID = 0,
    IDENTITY_X509,
    IDENTITY_RAW, /* a public key without a certificate (RFC 7250) */
    IDENTITY_PSK,
};

enum { PRIORITIES_ROOM = 800 };

/* What its session tickets are sealed with (tickets_key.c); all that changes in an identity. */
struct identity_ticket_secret {
    uint8_t secret[64];
    uint64_t generation; /* of forks; 0: there is none yet */
    int64_t until_ms;
};

struct identity {
    atomic_uint references;
    uint64_t serial;
    enum identity_kind kind;
    enum policy_auth auth;
    enum policy_show show;
    enum policy_usage usage;
    unsigned trust_terms; /* what the trust expression asks about */
    bool accepts_raw;     /* a peer's raw public key can be judged */
    char client_priorities[PRIORITIES_ROOM], server_priorities[PRIORITIES_ROOM];

    gnutls_certificate_credentials_t certificate; /* trust list and callbacks; IDENTITY_PSK: NULL */
    gnutls_privkey_t key;
    struct secret_bytes pin; /* of the token with the key, which asks for it again after fork */
    gnutls_pcert_st *chain;  /* leaf first; one raw public key */
    unsigned chain_len;
    time_t valid_from, expires;    /* of the certificate of the chain that expires first; expires 0: none does */
    gnutls_ocsp_data_st staple;    /* about the leaf; response.data NULL: none */
    struct secret_bytes own_spki;  /* SubjectPublicKeyInfo of the own key, DER */
    struct secret_bytes user_spki; /* likewise of the per-user identity, if trust asks about it */
    struct trust_store *trust;     /* IDENTITY_PSK: NULL */

    gnutls_psk_client_credentials_t psk_client;
    gnutls_psk_server_credentials_t psk_server;
    struct psk_entry *psks; /* all are accepted */
    size_t psk_count;
    size_t psk_sent; /* the one that this side offers */

    struct identity_ticket_secret ticket_secret;
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
 * secret_wipe. RESULT_CONFIG, and errno ENOENT if and only if there is no such file; RESULT_NOMEM; RESULT_IO when
 * descriptors are out. */
MUST_USE enum result identity_file_read(int dir_fd, const char *path, const char *shown, enum file_kind kind,
                                        struct secret_bytes *out, char *why);

/* identity_key.c: id->key from PEM text, or from a token by its "pkcs11:" URI; the names are for messages. passphrase
 * may be NULL. */
MUST_USE enum result identity_key_pem(struct identity *id, const struct secret_bytes *pem, const char *name,
                                      const struct policy_identity *own, char *why);
MUST_USE enum result identity_key_token(struct identity *id, const struct policy_identity *own, char *why);
bool identity_is_token(const char *path);
/* Reads pin-file= once; why a GnuTLS error came from a token; the PIN for GnuTLS, with id as user data. */
MUST_USE enum result identity_token_open(struct identity *id, const struct policy_identity *own, char *why);
MUST_USE enum result identity_token_refuse(const struct identity *id, int e, const char *uri,
                                           const struct policy_identity *own, char *why);
gnutls_pin_callback_t identity_token_pin(void);
/* For messages: without the query, which may hold a PIN. */
void identity_token_shown(const char *uri, char *shown, size_t room);
/* The public key of id->key, to be freed by the caller, and as SubjectPublicKeyInfo; a GnuTLS error code or 0. */
int identity_key_public(const struct identity *id, gnutls_pubkey_t *out);
int identity_key_spki(const struct identity *id, struct secret_bytes *out);

/* identity_x509.c: chain of own certificates, from PEM text or a token, and whether id->key belongs to them. */
MUST_USE enum result identity_x509_own(struct identity *id, const struct secret_bytes *cert, const char *cert_name,
                                       const char *key_name, char *why);
MUST_USE enum result identity_x509_token(struct identity *id, const struct policy_identity *own, const char *key_name,
                                         char *why);
/* id->user_spki, of the per-user certificate. */
MUST_USE enum result identity_x509_user(struct identity *id, const struct secret_bytes *cert, const char *name,
                                        char *why);
/* id->key as a chain of one raw public key. */
MUST_USE enum result identity_raw_own(struct identity *id, const char *key_name, char *why);
/* identity_staple.c: the OCSP answer about the first certificate of the chain. */
MUST_USE enum result identity_staple_load(struct identity *id, const char *path, char *why);
/* identity_show.c: the certificate credentials of id, once, before the above. */
MUST_USE enum result identity_show_new(struct identity *id, char *why);
/* Last: the priorities for what id shows and accepts. */
void identity_show_prepare(struct identity *id);
void identity_x509_free(struct identity *id);
/* SubjectPublicKeyInfo, DER; a GnuTLS error code or 0. */
int identity_x509_spki(gnutls_x509_crt_t cert, struct secret_bytes *out);
int identity_spki_of(gnutls_pubkey_t pub, struct secret_bytes *out);
/* "2026-11-24 18:20:00 UTC" */
void identity_print_date(time_t t, char out[32]);
/* Is that key good enough to be shown? (Ed25519, ECDSA, RSA from 2048 bits) */
MUST_USE enum result identity_check_strength(int pk, unsigned bits, const char *name, char *why);

/* Opens the directory of the per-user identity, made if absent; nobody else can write to it. */
MUST_USE enum result identity_auto_directory(const char *dir, int *fd, char *why);
/* STATE_DIR/identity.pem, made if absent. */
MUST_USE enum result identity_auto_read(const char *state_dir, struct secret_bytes *pem, char *why);
/* A new Ed25519 key and self-signed certificate, both PEM in one text. */
MUST_USE enum result identity_auto_generate(struct secret_bytes *pem, char *why);

/* Parses NAME:HEX lines into id->psks and makes the credentials of both roles. sent: the name of the key that this side
 * offers; NULL: the first. */
MUST_USE enum result identity_psk_load(struct identity *id, const struct secret_bytes *text, const char *name,
                                       const char *sent, char *why);
void identity_psk_free(struct identity *id);

/* identity_stamps.c: what the files of an identity looked like, to see that they have changed. No padding: compared by
 * memcmp. */
struct file_stamp {
    uint64_t device, inode, size, changed_ns, modified_ns;
    uint64_t inside; /* a folder's files, mixed */
    uint64_t error;  /* errno where it cannot be looked at */
};

struct identity_watch {
    struct watched_file {
        char *path;
        struct file_stamp stamp;
    } * files;
    size_t count;
    bool fresh; /* one had changed so lately that a second change could look the same */
};

/* False without memory; identity_watch_free either way. */
MUST_USE bool identity_watch_init(struct identity_watch *w, const struct identity_config *c);
enum identity_change { CHANGE_NONE = 0, CHANGE_POSSIBLE, CHANGE_SEEN };
/* Since the last look (before the first one files are as good as absent). */
enum identity_change identity_watch_look(struct identity_watch *w);
void identity_watch_free(struct identity_watch *w);

/* identity_expiry.c: logs what is about to expire, at most once a day; *warned is when it did last. */
void identity_warn_expiry(const struct identity *id, const char *rule, time_t now, time_t *warned);

/* Does a subject alternative name of the certificate match a DNS name or IP literal? RFC 6125 section 6.4: one
 * wildcard as the whole leftmost label; the common name is never looked at. */
bool identity_name_matches(gnutls_x509_crt_t cert, const char *name);

/* identity_usage.c: does the certificate's extended key usage, if it has one, allow this TLS role? (RFC 5280 section
 * 4.2.1.12) */
bool identity_usage_fits(gnutls_x509_crt_t cert, bool is_server);

#endif
