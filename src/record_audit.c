/* Debug builds only (P2PTLS_NONCE_AUDIT): remembers every spent pair of key and nonce, and aborts on a double.
 *
 * The set is a fixed table of 64-bit fingerprints filled by compare-and-swap: a lock could be held by another thread at
 * a fork that runs no atfork handlers. A fork copies the set, so a child is checked against its parent's past too. */
#include "record.h"

#ifdef P2PTLS_NONCE_AUDIT

#include "bytes.h"
#include "log.h"

#include <gnutls/crypto.h>
#include <stdatomic.h>
#include <stdlib.h>

/* 128 MiB of untouched zero pages. A million pairs give a false alarm once in 3 * 10^7 runs. */
enum { TABLE_SIZE = 1 << 24, PROBES_MAX = 1 << 16 };

static _Atomic uint64_t seen[TABLE_SIZE];
static void (*_Atomic sink_fn)(void *, const uint8_t *);
static void *sink_ctx;

void record_nonce_audit_sink(void (*sink)(void *ctx, const uint8_t entry[RECORD_AUDIT_ENTRY]), void *ctx)
{
    sink_ctx = ctx;
    atomic_store(&sink_fn, sink);
}

static uint64_t hash64(const uint8_t *bytes, size_t len)
{
    uint8_t digest[32];
    uint64_t out;

    if (gnutls_hash_fast(GNUTLS_DIG_SHA256, bytes, len, digest) < 0)
        abort();
    memcpy(&out, digest, sizeof out);
    return out ? out : 1; /* zero marks a free place */
}

static bool add(uint64_t fingerprint)
{
    for (unsigned i = 0; i < PROBES_MAX; i++) {
        uint64_t found = 0;
        if (atomic_compare_exchange_strong(&seen[(fingerprint + i) % TABLE_SIZE], &found, fingerprint))
            return true;
        if (found == fingerprint)
            return false;
    }
    log_event(LOG_LEVEL_ERROR, "nonce audit: the table is full");
    abort();
}

void record_nonce_spent(const struct record_keys *k, uint64_t seq)
{
    uint8_t material[sizeof k->key + sizeof k->iv], entry[RECORD_AUDIT_ENTRY];

    memcpy(material, k->key, sizeof k->key);
    memcpy(material + sizeof k->key, k->iv, sizeof k->iv);
    uint64_t key_hash = hash64(material, sizeof material);
    wipe(material, sizeof material);
    memcpy(entry, &key_hash, sizeof key_hash);
    for (int i = 0; i < 8; i++)
        entry[8 + i] = (uint8_t)(seq >> (56 - 8 * i));

    if (!add(hash64(entry, sizeof entry))) {
        log_event(LOG_LEVEL_ERROR, "nonce audit: sequence number %llu of epoch %u was spent twice",
                  (unsigned long long)seq, k->epoch);
        abort();
    }
    void (*sink)(void *, const uint8_t *) = atomic_load(&sink_fn);
    if (sink)
        sink(sink_ctx, entry);
}

#endif
