/* What certificates say that were accepted before. To parse one is a tenth of what a resumed handshake costs, and what
 * is read from the same bytes is the same. Nothing here is a verdict: who is trusted, for how long and under which name
 * is judged each time (trust_judge.c); the name is only found again where it was found in these very certificates. */
#include "trust_internal.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* An entry is found by the first byte of its hash; another chain with the same one takes its place. */
enum { PEERS = 256, ENTRY_MAX = 2048 };

/* One allocation: behind it the key, the subject and the name, each text with its end. */
struct seen {
    uint8_t chain[KEY_HASH_BYTES], key_hash[KEY_HASH_BYTES];
    char certificate_hash[2 * KEY_HASH_BYTES + 1], fingerprint[FINGERPRINT_TEXT];
    time_t expires;
    bool name_is_patterns;      /* of peer=, not what was dialled */
    const char *subject, *name; /* name NULL: none was looked for */
    size_t key_len;
    uint8_t key[];
};

struct seen_peers {
    pthread_mutex_t lock;
    struct seen *entries[PEERS];
};

struct seen_peers *seen_peers_new(void)
{
    struct seen_peers *s = calloc(1, sizeof *s);

    if (s)
        pthread_mutex_init(&s->lock, NULL);
    return s;
}

void seen_peers_free(struct seen_peers *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < PEERS; i++)
        free(s->entries[i]);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static const char *expected(const struct identity_expectation *expect)
{
    return expect->peer_patterns ? expect->peer_patterns : expect->dialled_name;
}

static bool fill_in(const struct seen *e, struct shown_peer *shown, const struct identity_expectation *expect)
{
    const char *name = expected(expect);

    if (!(shown->key.bytes = malloc(e->key_len)))
        return false;
    shown->key.len = e->key_len;
    memcpy(shown->key.bytes, e->key, e->key_len);
    memcpy(shown->key_hash, e->key_hash, sizeof e->key_hash);
    memcpy(shown->certificate_hash, e->certificate_hash, sizeof e->certificate_hash);
    memcpy(shown->fingerprint, e->fingerprint, sizeof e->fingerprint);
    memcpy(shown->subject, e->subject, strlen(e->subject) + 1);
    shown->expires = e->expires;
    shown->carries_name =
        e->name && name && e->name_is_patterns == (expect->peer_patterns != NULL) && strcmp(e->name, name) == 0;
    return true;
}

bool seen_peers_recall(struct seen_peers *s, struct shown_peer *shown, const struct identity_expectation *expect)
{
    bool found = false;

    if (shown->raw)
        return false;
    pthread_mutex_lock(&s->lock);
    const struct seen *e = s->entries[shown->chain_hash[0]];
    if (e && memcmp(e->chain, shown->chain_hash, sizeof e->chain) == 0)
        found = fill_in(e, shown, expect);
    pthread_mutex_unlock(&s->lock);
    return found;
}

static struct seen *make(const struct shown_peer *shown, const char *name, bool patterns)
{
    const size_t subject_size = strlen(shown->subject) + 1, name_size = name ? strlen(name) + 1 : 0,
                 size = sizeof(struct seen) + shown->key.len + subject_size + name_size;
    struct seen *e = size <= ENTRY_MAX ? malloc(size) : NULL;

    if (!e)
        return NULL;
    char *subject = (char *)e->key + shown->key.len, *kept_name = subject + subject_size;
    *e = (struct seen){.expires = shown->expires,
                       .name_is_patterns = patterns,
                       .subject = subject,
                       .name = name ? kept_name : NULL,
                       .key_len = shown->key.len};
    memcpy(e->chain, shown->chain_hash, sizeof e->chain);
    memcpy(e->key_hash, shown->key_hash, sizeof e->key_hash);
    memcpy(e->certificate_hash, shown->certificate_hash, sizeof e->certificate_hash);
    memcpy(e->fingerprint, shown->fingerprint, sizeof e->fingerprint);
    memcpy(e->key, shown->key.bytes, shown->key.len);
    memcpy(subject, shown->subject, subject_size);
    if (name)
        memcpy(kept_name, name, name_size);
    return e;
}

void seen_peers_keep(struct seen_peers *s, const struct shown_peer *shown, const struct identity_expectation *expect,
                     bool keep_name)
{
    const bool named = keep_name && shown->carries_name;
    struct seen *fresh = make(shown, named ? expected(expect) : NULL, expect->peer_patterns != NULL);

    if (!fresh)
        return;
    pthread_mutex_lock(&s->lock);
    struct seen *old = s->entries[fresh->chain[0]];
    s->entries[fresh->chain[0]] = fresh;
    pthread_mutex_unlock(&s->lock);
    free(old);
}
