/* The keys under which accepting sides seal their tickets. Each identity has a secret of its own, so that an identity
 * that was loaded anew, because a key, a certificate or somebody who is trusted has changed, opens none of the old
 * ones.
 *
 * Who holds such a key can open tickets that travel in hellos, and be any client towards the service. So neither a
 * forked child nor its parent goes on with what the other one has, as with chunks (chunk.h). */
#include "tickets.h"

#include "bytes.h"
#include "identity_internal.h"

#include <gnutls/crypto.h>
#include <pthread.h>

enum { INFO_BYTES = 32 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of all identities' secrets */
static _Atomic uint64_t generation = 1;

uint64_t tickets_generation(void)
{
    return atomic_load(&generation);
}

/* The lock is held. */
static bool refresh(struct identity_ticket_secret *s, int64_t now)
{
    gnutls_datum_t fresh;

    if (s->generation == atomic_load(&generation) && now < s->until_ms)
        return true;
    if (gnutls_session_ticket_key_generate(&fresh) < 0)
        return false;
    const bool fits = fresh.size == sizeof s->secret;
    if (fits) {
        memcpy(s->secret, fresh.data, sizeof s->secret);
        s->generation = atomic_load(&generation);
        s->until_ms = now + (int64_t)TICKET_LIFETIME_S * 1000;
    }
    wipe(fresh.data, fresh.size);
    gnutls_free(fresh.data);
    return fits;
}

enum result tickets_key(const struct identity *id, const uint8_t *binding, size_t len, uint8_t key[TICKET_KEY_BYTES])
{
    struct identity_ticket_secret *s = &((struct identity *)id)->ticket_secret;
    uint8_t info[INFO_BYTES], secret[sizeof s->secret];

    if (gnutls_hash_fast(GNUTLS_DIG_SHA256, binding, len, info) < 0)
        return RESULT_NOMEM;
    pthread_mutex_lock(&lock);
    const bool fresh = refresh(s, tickets_now_ms());
    memcpy(secret, s->secret, sizeof secret);
    pthread_mutex_unlock(&lock);
    const gnutls_datum_t from = {secret, sizeof secret}, about = {info, sizeof info};
    const bool derived = fresh && gnutls_hkdf_expand(GNUTLS_MAC_SHA256, &from, &about, key, TICKET_KEY_BYTES) >= 0;
    wipe(secret, sizeof secret);
    return derived ? RESULT_OK : RESULT_NOMEM;
}

void tickets_key_forked(bool in_child)
{
    if (in_child)
        pthread_mutex_init(&lock, NULL);
    atomic_fetch_add(&generation, 1);
}
