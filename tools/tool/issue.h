/* Making certificates: what genca, gencert and sign have in common. */
#ifndef P2PTLS_TOOL_ISSUE_H
#define P2PTLS_TOOL_ISSUE_H

#include "keys.h"
#include "options.h"

/* What the command line says. */
struct issue {
    const char *stem;            /* STEM.pem, STEM.key, STEM.csr */
    const struct key_type *type; /* of a key that is made */
    const char *key_file;        /* --key: one that is there */
    const char *passphrase_file; /* of the key that is made, or of that one */
    const char *common_name;     /* --name */
    struct validity_options validity;
    const char *request; /* --request FILE (sign) */
    bool only_request;   /* --request (gencert) */
    const char *ca_key;  /* --ca-key: not beside the certificate */
    const char *ca_passphrase_file;
    bool force;
    struct names names;
};

/* The options that any of them has; those in letters are taken. False: the status is in *status. */
bool issue_options(struct issue *issue, int argc, char **argv, const char *letters, const struct option *names,
                   enum status *status);

/* A key and its public half: of issue->key_file, or new. False after failed(). */
bool issue_key(const struct issue *issue, gnutls_privkey_t *key, gnutls_pubkey_t *public);
/* Would nothing be in the way of STEM.SUFFIX and, if a key is made, of STEM.key? */
bool issue_is_free(const struct issue *issue, const char *suffix);
/* Writes PEM to STEM.SUFFIX and the key, if it is new (NULL: it is not), to STEM.key. */
bool issue_write(const struct issue *issue, const char *suffix, const gnutls_datum_t *pem, gnutls_privkey_t key);
/* A certificate by its own key: makes, writes and tells. */
bool issue_self_signed(const struct issue *issue, const struct certificate_plan *plan, gnutls_privkey_t key,
                       gnutls_pubkey_t public);

#endif
