#include "core.h"

#include "chunk.h"
#include "slotlock.h"

#include <gnutls/gnutls.h>
#include <pthread.h>
#include <stdlib.h>

struct known_identity {
    struct known_identity *next;
    const struct policy_rule *rule;
    struct identity *identity;
};

static pthread_mutex_t identities_lock = PTHREAD_MUTEX_INITIALIZER;
static struct known_identity *identities;

static enum result load_identity(const struct policy_rule *rule, const char *state_dir, struct identity **out,
                                 char why[IDENTITY_WHY_MAX])
{
    struct known_identity *k = malloc(sizeof *k);
    struct identity_config config = {
        .cert_file = rule->own.cert_file,
        .key_file = rule->own.key_file,
        .ca_file = rule->trust.ca,
        .psk_file = rule->own.psk_file,
        .state_dir = state_dir,
        .auth = rule->auth,
        .show = rule->show,
        .usage = rule->usage,
    };
    enum result result = k ? identity_load(&config, out, why) : RESULT_NOMEM;
    if (result != RESULT_OK) {
        free(k);
        return result;
    }
    *k = (struct known_identity){identities, rule, *out};
    identities = k;
    return RESULT_OK;
}

enum result core_identity(const struct policy_rule *rule, const char *state_dir, struct identity **out,
                          char why[IDENTITY_WHY_MAX])
{
    pthread_mutex_lock(&identities_lock);
    struct known_identity *k = identities;
    while (k && k->rule != rule)
        k = k->next;
    if (k)
        *out = k->identity;
    enum result result = k ? RESULT_OK : load_identity(rule, state_dir, out, why);
    pthread_mutex_unlock(&identities_lock);
    return result;
}

void core_prepare_fork(void)
{
    family_found();
}

void core_forked(bool in_child)
{
    if (in_child) {
        pthread_mutex_init(&identities_lock, NULL);
        slotlock_forked();
        chunk_reset_lock();
        holders_child();
    }
    chunk_forked();
}

void core_sandbox(const struct core_sandbox *sandbox)
{
    conn_set_io(sandbox->io);
    holders_sandbox(sandbox->no_file_locks);
    slotlock_sandbox(sandbox->no_robust);
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
    log_set_sink(host->log, host->log_threshold);
#ifdef P2PTLS_NONCE_AUDIT
    record_nonce_audit_sink(host->nonce_audit, NULL);
#endif
    return &api;
}
