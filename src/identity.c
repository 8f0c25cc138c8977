/* Loads an identity from its configuration and puts it on GnuTLS sessions. */
#include "identity_internal.h"

#include "bytes.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum result identity_refuse(char *why, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vsnprintf(why, IDENTITY_WHY_MAX, format, ap);
    va_end(ap);
    return RESULT_CONFIG;
}

enum result identity_nomem(char *why)
{
    snprintf(why, IDENTITY_WHY_MAX, "out of memory");
    return RESULT_NOMEM;
}

enum result identity_refuse_gnutls(char *why, int error, const char *format, ...)
{
    char what[IDENTITY_WHY_MAX];
    va_list ap;

    if (error == GNUTLS_E_MEMORY_ERROR)
        return identity_nomem(why);
    va_start(ap, format);
    vsnprintf(what, sizeof what, format, ap);
    va_end(ap);
    return identity_refuse(why, "%.300s: %.80s", what, gnutls_strerror(error));
}

static enum result check_config(const struct identity_config *c, char *why)
{
    if (c->psk_file && (c->cert_file || c->key_file || c->ca_file))
        return identity_refuse(why, "psk= goes with none of cert=, key= and ca=: use one or the other");
    if (c->psk_file && c->auth == AUTH_INSECURE_NONE)
        return identity_refuse(
            why, "auth=insecure-none has no meaning with psk=: whoever has the key is authenticated by it");
    if (!c->cert_file != !c->key_file)
        return identity_refuse(why, "%s= is missing: cert= and key= go together", c->cert_file ? "key" : "cert");
    if (c->ca_file && !c->cert_file)
        return identity_refuse(why, "ca= needs cert= and key=: both sides are always authenticated");
    if (c->cert_file && !c->ca_file && c->auth == AUTH_REQUIRE)
        return identity_refuse(why, "ca= is missing: without it nobody would be trusted");
    if (!c->cert_file && !c->psk_file && !c->state_dir && c->auth != AUTH_INSECURE_NONE)
        return identity_refuse(
            why, "no identity: set cert=, key= and ca=, or psk=, or HOME or XDG_STATE_HOME for a per-user identity");
    return RESULT_OK;
}

static enum result load_trust(struct identity *id, const char *ca_file, char *why)
{
    struct secret_bytes ca;

    enum result r = identity_file_read(AT_FDCWD, ca_file, ca_file, FILE_PUBLIC, &ca, why);
    if (r != RESULT_OK)
        return r;
    r = identity_x509_trust(id, &ca, ca_file, why);
    secret_wipe(&ca);
    return r;
}

static enum result load_files(struct identity *id, const struct identity_config *c, char *why)
{
    struct secret_bytes cert, key = {0};

    id->kind = IDENTITY_X509;
    enum result r = identity_file_read(AT_FDCWD, c->cert_file, c->cert_file, FILE_PUBLIC, &cert, why);
    if (r == RESULT_OK)
        r = identity_file_read(AT_FDCWD, c->key_file, c->key_file, FILE_SECRET, &key, why);
    if (r == RESULT_OK)
        r = identity_x509_own(id, &cert, c->cert_file, &key, c->key_file, why);
    secret_wipe(&cert);
    secret_wipe(&key);
    if (r == RESULT_OK && c->ca_file)
        r = load_trust(id, c->ca_file, why);
    return r;
}

static enum result load_psk(struct identity *id, const struct identity_config *c, char *why)
{
    struct secret_bytes text;

    id->kind = IDENTITY_PSK;
    enum result r = identity_file_read(AT_FDCWD, c->psk_file, c->psk_file, FILE_SECRET, &text, why);
    if (r == RESULT_OK)
        r = identity_psk_load(id, &text, c->psk_file, why);
    secret_wipe(&text);
    return r;
}

static enum result load_own_key(struct identity *id, const struct identity_config *c, char *why)
{
    struct secret_bytes pem = {0};

    id->kind = IDENTITY_OWN_KEY;
    enum result r = c->state_dir ? identity_auto_read(c->state_dir, &pem, why) : identity_auto_generate(&pem, why);
    if (r == RESULT_OK) {
        char shown[200];
        snprintf(shown, sizeof shown, "%.180s/identity.pem", c->state_dir ? c->state_dir : "(memory)");
        r = identity_x509_own(id, &pem, shown, &pem, shown, why);
    }
    secret_wipe(&pem);
    return r;
}

static enum result load(struct identity *id, const struct identity_config *c, char *why)
{
    enum result r = check_config(c, why);

    if (r != RESULT_OK)
        return r;
    if (c->psk_file)
        return load_psk(id, c, why);
    r = identity_x509_new(id, why);
    if (r != RESULT_OK)
        return r;
    return c->cert_file ? load_files(id, c, why) : load_own_key(id, c, why);
}

enum result identity_load(const struct identity_config *config, struct identity **out, char why[IDENTITY_WHY_MAX])
{
    struct identity *id = calloc(1, sizeof *id);

    *out = NULL;
    why[0] = '\0';
    if (!id)
        return identity_nomem(why);
    id->auth = config->auth;
    id->show = config->show;
    id->usage = config->usage;
    const enum result r = load(id, config, why);
    if (r == RESULT_OK)
        *out = id;
    else
        identity_free(id);
    return r;
}

void identity_free(struct identity *id)
{
    if (!id)
        return;
    identity_x509_free(id);
    identity_psk_free(id);
    free(id);
}

bool identity_uses_psk(const struct identity *id)
{
    return id->kind == IDENTITY_PSK;
}

enum policy_auth identity_auth(const struct identity *id)
{
    return id->auth;
}

enum policy_show identity_show(const struct identity *id)
{
    return id->show;
}

bool identity_client_only(const struct identity *id)
{
    return id->kind != IDENTITY_PSK && id->show != SHOW_ALWAYS;
}

const char *identity_priorities(const struct identity *id)
{
    /* GnuTLS takes no priorities without a signature algorithm, although nothing is signed here. +PSK is left out:
     * psk_ke without (EC)DHE has no forward secrecy (RFC 8446 section 4.2.9). */
    if (id->kind == IDENTITY_PSK)
        return ":+ECDHE-PSK:+CTYPE-X509:+SIGN-EDDSA-ED25519";
    return ":+ECDHE-ECDSA:+ECDHE-RSA:+CTYPE-X509"
           ":+SIGN-EDDSA-ED25519:+SIGN-ECDSA-SECP256R1-SHA256:+SIGN-ECDSA-SECP384R1-SHA384:+SIGN-ECDSA-SECP521R1-SHA512"
           ":+SIGN-RSA-PSS-RSAE-SHA256:+SIGN-RSA-PSS-RSAE-SHA384:+SIGN-RSA-PSS-RSAE-SHA512"
           ":+SIGN-RSA-PSS-SHA256:+SIGN-RSA-PSS-SHA384:+SIGN-RSA-PSS-SHA512"
           ":+SIGN-RSA-SHA256:+SIGN-RSA-SHA384:+SIGN-RSA-SHA512"; /* in chains only: RFC 8446 section 4.2.3 */
}

static int apply_psk(const struct identity *id, gnutls_session_t session, bool server)
{
    return gnutls_credentials_set(session, GNUTLS_CRD_PSK, server ? (void *)id->psk_server : (void *)id->psk_client);
}

static gnutls_certificate_request_t request_of(enum policy_auth auth)
{
    switch (auth) {
    case AUTH_REQUIRE:
        return GNUTLS_CERT_REQUIRE;
    case AUTH_REQUEST:
        return GNUTLS_CERT_REQUEST;
    case AUTH_INSECURE_NONE:
        return GNUTLS_CERT_IGNORE;
    }
    return GNUTLS_CERT_REQUIRE;
}

static int apply_certificate(const struct identity *id, gnutls_session_t session, bool server)
{
    if (server) {
        gnutls_certificate_server_set_request(session, request_of(id->auth));
        /* The names of our CAs are nobody's business, and clients of ours do not choose by them. */
        gnutls_certificate_send_x509_rdn_sequence(session, 1);
    }
    return gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, id->certificate);
}

enum result identity_apply(const struct identity *id, gnutls_session_t session, bool server)
{
    gnutls_db_set_ptr(session, (void *)id);
    const int e = id->kind == IDENTITY_PSK ? apply_psk(id, session, server) : apply_certificate(id, session, server);
    return e < 0 ? RESULT_NOMEM : RESULT_OK;
}
