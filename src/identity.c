/* Loads an identity from its configuration and puts it on GnuTLS sessions. */
#include "identity_internal.h"

#include "bytes.h"
#include "identity_trust.h"
#include "tickets.h"

#include <fcntl.h>
#include <gnutls/ocsp.h>
#include <pthread.h>
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

static bool insecure(const struct identity_config *c)
{
    return c->auth == AUTH_INSECURE_NONE;
}

static unsigned terms_of(const struct identity_config *c)
{
    const struct policy_trust *t = c->trust;
    const unsigned given = (t->ca ? TRUST_CA : 0) | (t->pins ? TRUST_PINNED : 0) | (t->known_peers ? TRUST_KNOWN : 0) |
                           (t->dane ? TRUST_DANE : 0) | (t->crl || t->ocsp_stapled ? TRUST_REVOKED : 0);

    if (t->expression.count)
        return t->expression.terms;
    if (given)
        return given;
    return c->own->key_file || c->own->psk_file || c->auth != AUTH_REQUIRE ? 0 : TRUST_OWN;
}

/* What the policy's parser lets through is not believed here: nobody may be trusted, or shown, by mistake. */
static enum result check_config(const struct identity_config *c, char *why)
{
    const struct policy_identity *own = c->own;
    const struct policy_trust *trust = c->trust;
    const bool trusts = terms_of(c) != 0;

    if (own->psk_file && (own->cert_file || own->key_file || trust->ca))
        return identity_refuse(why, "psk= goes with none of cert=, key= and ca=: use one or the other");
    if (own->psk_file && insecure(c))
        return identity_refuse(
            why, "auth=insecure-none has no meaning with psk=: whoever has the key is authenticated by it");
    if (own->cert_file && !own->key_file)
        return identity_refuse(why, "key= is missing: cert= and key= go together");
    if (trust->ca && !own->key_file && c->show != SHOW_NEVER)
        return identity_refuse(why, "ca= needs cert= and key=, or show=never: the other side asks for a certificate");
    if (own->key_file && !trusts && c->auth == AUTH_REQUIRE)
        return identity_refuse(why,
                               "ca= is missing (or pin=, known-peers=, dane=): without one nobody would be trusted");
    if (!own->key_file && !own->psk_file && !c->state_dir && !insecure(c))
        return identity_refuse(
            why, "no identity: set cert=, key= and ca=, or psk=, or HOME or XDG_STATE_HOME for a per-user identity");
    return RESULT_OK;
}

static enum result load_trust(struct identity *id, const struct identity_config *c, char *why)
{
    struct policy_trust trust = *c->trust;

    if (!trust.expression.count)
        trust_default(id->trust_terms, &trust.expression);
    return trust_store_load(&trust, c->state_dir, &id->trust, why);
}

static enum result load_key(struct identity *id, const struct policy_identity *own, char *why)
{
    struct secret_bytes key;

    if (identity_is_token(own->key_file))
        return identity_key_token(id, own, why);
    enum result r = identity_file_read(AT_FDCWD, own->key_file, own->key_file, FILE_SECRET, &key, why);
    if (r == RESULT_OK)
        r = identity_key_pem(id, &key, own->key_file, own, why);
    secret_wipe(&key);
    return r;
}

static enum result load_chain(struct identity *id, const struct policy_identity *own, const char *key_name, char *why)
{
    struct secret_bytes cert;

    if (identity_is_token(own->cert_file))
        return identity_x509_token(id, own, key_name, why);
    enum result r = identity_file_read(AT_FDCWD, own->cert_file, own->cert_file, FILE_PUBLIC, &cert, why);
    if (r == RESULT_OK)
        r = identity_x509_own(id, &cert, own->cert_file, key_name, why);
    secret_wipe(&cert);
    return r;
}

static enum result load_own(struct identity *id, const struct policy_identity *own, char *why)
{
    char key_name[200];

    identity_token_shown(own->key_file, key_name, sizeof key_name);
    const enum result r = load_key(id, own, why);
    if (r != RESULT_OK)
        return r;
    if (own->cert_file)
        return load_chain(id, own, key_name, why);
    id->kind = IDENTITY_RAW;
    return identity_raw_own(id, key_name, why);
}

static enum result load_psk(struct identity *id, const struct policy_identity *own, char *why)
{
    struct secret_bytes text;

    id->kind = IDENTITY_PSK;
    enum result r = identity_file_read(AT_FDCWD, own->psk_file, own->psk_file, FILE_SECRET, &text, why);
    if (r == RESULT_OK)
        r = identity_psk_load(id, &text, own->psk_file, own->psk_name, why);
    secret_wipe(&text);
    return r;
}

static enum result take_user_key(struct identity *id, const struct secret_bytes *pem, const char *shown, bool show,
                                 char *why)
{
    const struct policy_identity plain = {0};

    if (!show)
        return identity_x509_user(id, pem, shown, why);
    enum result r = identity_key_pem(id, pem, shown, &plain, why);
    if (r == RESULT_OK)
        r = identity_x509_own(id, pem, shown, shown, why);
    return r == RESULT_OK ? identity_x509_user(id, pem, shown, why) : r;
}

/* The per-user identity: to be shown, or only as what trust= calls own. */
static enum result load_user(struct identity *id, const char *state_dir, bool show, char *why)
{
    struct secret_bytes pem = {0};
    char shown[200];

    enum result r = state_dir ? identity_auto_read(state_dir, &pem, why) : identity_auto_generate(&pem, why);
    snprintf(shown, sizeof shown, "%.180s/identity.pem", state_dir ? state_dir : "(memory)");
    if (r == RESULT_OK)
        r = take_user_key(id, &pem, shown, show, why);
    secret_wipe(&pem);
    return r;
}

static enum result load_certificates(struct identity *id, const struct identity_config *c, char *why)
{
    const bool own = c->own->key_file;

    id->kind = IDENTITY_X509;
    enum result r = identity_show_new(id, why);
    if (r == RESULT_OK && own)
        r = load_own(id, c->own, why);
    if (r == RESULT_OK && (!own || id->trust_terms & TRUST_OWN))
        r = load_user(id, c->state_dir, !own, why);
    if (r == RESULT_OK && c->own->ocsp_staple)
        r = identity_staple_load(id, c->own->ocsp_staple, why);
    if (r == RESULT_OK)
        r = load_trust(id, c, why);
    return r;
}

static enum result load(struct identity *id, const struct identity_config *c, char *why)
{
    const enum result r = check_config(c, why);

    if (r != RESULT_OK)
        return r;
    id->trust_terms = terms_of(c);
    id->accepts_raw = insecure(c) || id->trust_terms & (TRUST_PINNED | TRUST_KNOWN | TRUST_DANE);
    return c->own->psk_file ? load_psk(id, c->own, why) : load_certificates(id, c, why);
}

enum result identity_load(const struct identity_config *config, struct identity **out, char why[IDENTITY_WHY_MAX])
{
    static _Atomic uint64_t last_serial;
    struct identity *id = calloc(1, sizeof *id);

    *out = NULL;
    why[0] = '\0';
    if (!id)
        return identity_nomem(why);
    atomic_init(&id->references, 1);
    id->serial = atomic_fetch_add(&last_serial, 1) + 1;
    id->auth = config->auth;
    id->show = config->show;
    id->usage = config->usage;
    const enum result r = load(id, config, why);
    if (r == RESULT_OK) {
        identity_show_prepare(id);
        *out = id;
    } else {
        identity_unref(id);
    }
    return r;
}

struct identity *identity_ref(const struct identity *id)
{
    struct identity *held = (struct identity *)id;

    atomic_fetch_add_explicit(&held->references, 1, memory_order_relaxed);
    return held;
}

void identity_unref(struct identity *id)
{
    if (!id || atomic_fetch_sub_explicit(&id->references, 1, memory_order_acq_rel) != 1)
        return;
    tickets_forget(id->serial);
    wipe(&id->ticket_secret, sizeof id->ticket_secret);
    int cancel_state; /* the session of a token ends in its module, which may wait for it */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
    const bool token = identity_token_enter(identity_in_token(id));
    identity_x509_free(id);
    identity_token_leave(token);
    pthread_setcancelstate(cancel_state, NULL);
    identity_psk_free(id);
    trust_store_free(id->trust);
    free(id);
}

uint64_t identity_serial(const struct identity *id)
{
    return id->serial;
}

bool identity_resumes(const struct identity *id)
{
    return id->kind != IDENTITY_PSK && !(id->trust && trust_store_wants_staple(id->trust));
}

bool identity_in_token(const struct identity *id)
{
    return id && id->key && gnutls_privkey_get_type(id->key) == GNUTLS_PRIVKEY_PKCS11;
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
    } else if (trust_store_wants_staple(id->trust) || id->staple.response.data) {
        /* A server asks always. GnuTLS as server refuses the answer of a client that has not asked for one itself. */
        const int e = gnutls_ocsp_status_request_enable_client(session, NULL, 0, NULL);
        if (e < 0)
            return e;
    }
    return gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, id->certificate);
}

enum result identity_apply(const struct identity *id, gnutls_session_t session, bool server)
{
    gnutls_db_set_ptr(session, (void *)id);
    const int e = id->kind == IDENTITY_PSK ? apply_psk(id, session, server) : apply_certificate(id, session, server);
    return e < 0 ? RESULT_NOMEM : RESULT_OK;
}
