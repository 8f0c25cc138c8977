#include "core.h"

#include "chunk.h"
#include "slotlock.h"
#include "tickets.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct known_source {
    struct known_source *next;
    const struct policy_rule
        *rule; /* the first one that says this of identities; policies live as long as the process */
    struct identity_source *source;
};

static pthread_mutex_t sources_lock = PTHREAD_MUTEX_INITIALIZER;
static struct known_source *sources;
static hide_descriptor hide_fd;
static void (*own_number)(_Atomic int *number);

static struct identity_source *make_source(const struct policy_rule *rule, const char *state_dir)
{
    struct known_source *k = malloc(sizeof *k);
    char name[200];
    const struct identity_config config = {
        .own = &rule->own,
        .trust = &rule->trust,
        .auth = rule->auth,
        .show = rule->show,
        .usage = rule->usage,
        .state_dir = state_dir,
        .revalidate_always = rule->revalidate_always,
    };
    snprintf(name, sizeof name, "%s:%u", rule->source, rule->line);
    if (k)
        *k = (struct known_source){sources, rule, identity_source_new(&config, name)};
    if (!k || !k->source) {
        free(k);
        return NULL;
    }
    sources = k;
    return k->source;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_expression(const struct trust_expression *a, const struct trust_expression *b)
{
    return a->count == b->count && a->terms == b->terms && memcmp(a->ops, b->ops, a->count) == 0;
}

/* Rules that say the same share what is loaded. STARTTLS (preload/known.c) makes a rule of each text that a program
 * gives. */
static bool same_identity(const struct policy_rule *a, const struct policy_rule *b)
{
    const struct policy_identity *own = &a->own, *other = &b->own;
    const struct policy_trust *trust = &a->trust, *others = &b->trust;

    return a == b ||
           (a->auth == b->auth && a->show == b->show && a->usage == b->usage &&
            a->revalidate_always == b->revalidate_always && same_text(own->cert_file, other->cert_file) &&
            same_text(own->key_file, other->key_file) && same_text(own->passphrase_file, other->passphrase_file) &&
            same_text(own->pin_file, other->pin_file) && same_text(own->ocsp_staple, other->ocsp_staple) &&
            same_text(own->psk_file, other->psk_file) && same_text(own->psk_name, other->psk_name) &&
            same_text(trust->ca, others->ca) && same_text(trust->pins, others->pins) &&
            same_text(trust->known_peers, others->known_peers) && same_text(trust->crl, others->crl) &&
            trust->dane == others->dane && trust->ocsp_stapled == others->ocsp_stapled &&
            same_expression(&trust->expression, &others->expression));
}

static struct identity_source *source_of(const struct policy_rule *rule, const char *state_dir)
{
    pthread_mutex_lock(&sources_lock);
    struct known_source *k = sources;
    while (k && !same_identity(k->rule, rule))
        k = k->next;
    struct identity_source *source = k ? k->source : make_source(rule, state_dir);
    pthread_mutex_unlock(&sources_lock);
    return source;
}

static enum result share_reflection(const char *state_dir, char why[IDENTITY_WHY_MAX])
{
    enum result result = reflection_share(state_dir, hide_fd, why);

    if (result == RESULT_OK)
        own_number(reflection_number(reflection_shared()));
    return result;
}

enum result core_identity(const struct policy_rule *rule, const char *state_dir, struct identity **out,
                          char why[IDENTITY_WHY_MAX])
{
    struct identity_source *source = source_of(rule, state_dir);
    if (!source) {
        snprintf(why, IDENTITY_WHY_MAX, "out of memory");
        return RESULT_NOMEM;
    }
    enum result result = identity_source_get(source, out, why);
    if (result != RESULT_OK || !identity_uses_psk(*out))
        return result;
    if ((result = share_reflection(state_dir, why)) != RESULT_OK) {
        identity_unref(*out);
        *out = NULL;
    }
    return result;
}

void core_prepare_fork(void)
{
    family_found();
}

void core_forked(bool in_child)
{
    if (in_child)
        gnutls_rnd_refresh(); /* GnuTLS hears of forks by fork handlers alone, which many kinds of fork do not run */
    tickets_forked(in_child);
    if (in_child) {
        pthread_mutex_init(&sources_lock, NULL);
        for (struct known_source *k = sources; k; k = k->next)
            identity_source_forked(k->source);
        slotlock_forked();
        chunk_reset_lock();
        holders_child();
        reflection_forked();
        status_forked();
    }
    chunk_forked();
}

void core_quiet(void)
{
    tickets_await_none();
}

void core_sandbox(const struct core_sandbox *sandbox)
{
    conn_set_io(sandbox->io);
    holders_sandbox(sandbox->no_file_locks);
    slotlock_sandbox(sandbox->no_robust);
    identity_source_freeze(sandbox->no_files);
    reflection_sandbox(sandbox->no_registry);
    status_sandbox(sandbox->inside);
    chunk_sandbox(sandbox->inside);
}

static const struct core_api api = {
#define X(name) .name = name,
    CORE_CALLS(X)
#undef X
};

__attribute__((visibility("default"))) const struct core_api *p2ptls_core_open(const struct core_host *host)
{
    if (host->abi != CORE_ABI || strcmp(host->version, P2PTLS_VERSION) != 0)
        return NULL;
    /* One more than its constructor's: its destructor then leaves alone what connections at the end of exit need. */
    (void)gnutls_global_init(); /* a failure of the constructor's shows when it is used */
    conn_set_io(host->io);
    conn_set_resolver(host->resolver);
    holders_init(host->hide);
    hide_fd = host->hide;
    own_number = host->own;
    status_init(&(struct status_host){host->status, host->hide, host->forget, host->own});
    log_set_sink(host->log, LOG_LEVEL_SILENT);
    for (int i = 0; i < LOG_CATEGORIES; i++)
        log_set_threshold((enum log_category)i, host->log_thresholds[i]);
#ifdef P2PTLS_NONCE_AUDIT
    record_nonce_audit_sink(host->nonce_audit, NULL);
#endif
    return &api;
}
