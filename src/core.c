#include "core.h"

#include "chunk.h"
#include "slotlock.h"

#include <gnutls/gnutls.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct known_source {
    struct known_source *next;
    const struct policy_rule *rule;
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

static struct identity_source *source_of(const struct policy_rule *rule, const char *state_dir)
{
    pthread_mutex_lock(&sources_lock);
    struct known_source *k = sources;
    while (k && k->rule != rule)
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
    if (in_child) {
        pthread_mutex_init(&sources_lock, NULL);
        for (struct known_source *k = sources; k; k = k->next)
            identity_source_forked(k->source);
        slotlock_forked();
        chunk_reset_lock();
        holders_child();
        reflection_forked();
    }
    chunk_forked();
}

void core_sandbox(const struct core_sandbox *sandbox)
{
    conn_set_io(sandbox->io);
    holders_sandbox(sandbox->no_file_locks);
    slotlock_sandbox(sandbox->no_robust);
    identity_source_freeze(sandbox->no_files);
    reflection_sandbox(sandbox->no_registry);
}

static const struct core_api api = {
#define X(name) .name = name,
    CORE_CALLS(X)
#undef X
};

__attribute__((visibility("default"))) const struct core_api *p2ptls_core_open(const struct core_host *host)
{
    if (host->abi != CORE_ABI)
        return NULL;
    /* One more than its constructor's: its destructor then leaves alone what connections at the end of exit need. */
    (void)gnutls_global_init(); /* a failure of the constructor's shows when it is used */
    conn_set_io(host->io);
    holders_init(host->hide);
    hide_fd = host->hide;
    own_number = host->own;
    log_set_sink(host->log, host->log_threshold);
#ifdef P2PTLS_NONCE_AUDIT
    record_nonce_audit_sink(host->nonce_audit, NULL);
#endif
    return &api;
}
