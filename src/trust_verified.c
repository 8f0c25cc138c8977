/* Chains whose signatures were checked lately: the check of the signatures below a CA is a quarter of what a handshake
 * costs, and half of a resumed one, which repeats all that is asked about a peer. What a store trusts never changes, so
 * the answer hangs on nothing but the certificates and the time. That the peer holds its key is another question, and
 * asked each time. */
#include "trust_internal.h"

#include "tickets.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* An entry is found by the first byte of its hash; another chain with the same one takes its place. */
enum { CHAINS = 256, VERIFIED_MS = 60000 };

struct verified {
    uint8_t chain[KEY_HASH_BYTES];
    int64_t until_ms;   /* 0: no entry */
    time_t since, ends; /* ends: the first of the path to expire */
};

struct verified_chains {
    pthread_mutex_t lock;
    struct verified entries[CHAINS];
};

struct verified_chains *verified_chains_new(void)
{
    struct verified_chains *v = calloc(1, sizeof *v);

    if (v)
        pthread_mutex_init(&v->lock, NULL);
    return v;
}

void verified_chains_free(struct verified_chains *v)
{
    if (!v)
        return;
    pthread_mutex_destroy(&v->lock);
    free(v);
}

bool verified_chains_have(struct verified_chains *v, const struct shown_peer *shown)
{
    const struct verified *e = &v->entries[shown->chain_hash[0]];
    const time_t now = time(NULL);

    pthread_mutex_lock(&v->lock);
    const bool have = memcmp(e->chain, shown->chain_hash, sizeof e->chain) == 0 && tickets_now_ms() < e->until_ms &&
                      now >= e->since && now < e->ends;
    pthread_mutex_unlock(&v->lock);
    return have;
}

static time_t first_end(const struct trust_path *path)
{
    time_t ends = path->anchor ? gnutls_x509_crt_get_expiration_time(path->anchor) : 0; /* without one: at once */

    for (unsigned i = 0; i < path->count; i++) {
        const time_t one = gnutls_x509_crt_get_expiration_time(path->certs[i]);
        ends = one < ends ? one : ends;
    }
    return ends;
}

void verified_chains_add(struct verified_chains *v, const struct shown_peer *shown, const struct trust_path *path)
{
    struct verified fresh = {.until_ms = tickets_now_ms() + VERIFIED_MS, .since = time(NULL), .ends = first_end(path)};

    memcpy(fresh.chain, shown->chain_hash, sizeof fresh.chain);
    pthread_mutex_lock(&v->lock);
    v->entries[fresh.chain[0]] = fresh;
    pthread_mutex_unlock(&v->lock);
}
