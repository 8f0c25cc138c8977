/* The tickets that connecting sides of this process hold. */
#include "tickets.h"

#include "bytes.h"

#include <gnutls/crypto.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

struct kept {
    struct ticket_place place;
    uint64_t identity, number; /* a higher number is newer */
    int64_t until_ms;
    time_t expires;        /* of what the peer showed; 0: never */
    struct ticket *ticket; /* NULL: a free entry */
};

/* Places whose servers reject: few, and the one that was told of last stays. */
enum { REJECTING = 32 };
struct rejecting {
    struct ticket_place place;
    unsigned in_a_row;
    uint64_t number; /* as above */
    int64_t last_ms;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of all below */
static struct kept kept[TICKETS_ALL];
static struct rejecting rejecting[REJECTING];
static size_t kept_bytes;
static uint64_t last_number;
static _Atomic int64_t forward_ms;

int64_t tickets_now_ms(void)
{
    struct timespec t = {0};

    (void)clock_gettime(CLOCK_BOOTTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000 + atomic_load_explicit(&forward_ms, memory_order_relaxed);
}

void tickets_clock_forward(int64_t ms)
{
    atomic_fetch_add(&forward_ms, ms);
}

static int hash_text(gnutls_hash_hd_t hash, const char *text)
{
    static const char none[] = "";
    const char *bytes = text ? text : none;

    return gnutls_hash(hash, bytes, strlen(bytes) + 1); /* its end is part of it */
}

bool ticket_place_make(const struct identity *id, const void *rule, const char *peer, const char *name,
                       struct ticket_place *out)
{
    const uint64_t serial = identity_serial(id);
    gnutls_hash_hd_t hash;

    if (gnutls_hash_init(&hash, GNUTLS_DIG_SHA256) < 0)
        return false;
    const bool done = gnutls_hash(hash, &serial, sizeof serial) >= 0 && gnutls_hash(hash, &rule, sizeof rule) >= 0 &&
                      hash_text(hash, peer) >= 0 && hash_text(hash, name) >= 0;
    gnutls_hash_deinit(hash, out->digest);
    return done;
}

static uint8_t *put(uint8_t *at, const gnutls_datum_t *from, gnutls_datum_t *to)
{
    *to = (gnutls_datum_t){at, from->size};
    memcpy(at, from->data, from->size);
    return at + from->size;
}

struct ticket *ticket_new(const gnutls_datum_t *session, const gnutls_datum_t *shown, unsigned count, bool raw)
{
    size_t size = sizeof(struct ticket) + count * sizeof(gnutls_datum_t) + session->size;

    for (unsigned i = 0; i < count; i++)
        size += shown[i].size;
    struct ticket *t = size <= TICKET_BYTES_MAX ? malloc(size) : NULL;
    if (!t)
        return NULL;
    t->size = size;
    t->raw = raw;
    t->count = count;
    uint8_t *at = put((uint8_t *)&t->shown[count], session, &t->session);
    for (unsigned i = 0; i < count; i++)
        at = put(at, &shown[i], &t->shown[i]);
    return t;
}

void ticket_free(struct ticket *t)
{
    if (!t)
        return;
    wipe(t, t->size);
    free(t);
}

/* The lock is held, here and in the next ones. */
static void drop(struct kept *k)
{
    kept_bytes -= k->ticket->size;
    ticket_free(k->ticket);
    *k = (struct kept){0};
}

static bool is_over(const struct kept *k, int64_t now)
{
    return now >= k->until_ms || (k->expires && time(NULL) >= k->expires);
}

static bool is_of(const struct kept *k, const struct ticket_place *place)
{
    return k->ticket && memcmp(k->place.digest, place->digest, sizeof place->digest) == 0;
}

struct ticket *tickets_take(const struct ticket_place *place)
{
    struct kept *best = NULL;
    struct ticket *t = NULL;

    pthread_mutex_lock(&lock);
    const int64_t now = tickets_now_ms();
    for (struct kept *k = kept; kept_bytes && k < kept + TICKETS_ALL; k++) {
        if (!is_of(k, place))
            continue;
        if (is_over(k, now))
            drop(k);
        else if (!best || k->number > best->number)
            best = k;
    }
    if (best) {
        t = best->ticket;
        kept_bytes -= t->size;
        *best = (struct kept){0};
    }
    pthread_mutex_unlock(&lock);
    return t;
}

/* The oldest of a place that is full, else a free entry, else the oldest of all. */
static struct kept *find_entry(const struct ticket_place *place)
{
    struct kept *oldest = NULL, *of_place = NULL, *empty = NULL;
    unsigned count = 0;

    for (struct kept *k = kept; k < kept + TICKETS_ALL; k++) {
        if (!k->ticket) {
            empty = k;
            continue;
        }
        if (!oldest || k->number < oldest->number)
            oldest = k;
        if (!is_of(k, place))
            continue;
        count++;
        if (!of_place || k->number < of_place->number)
            of_place = k;
    }
    return count >= TICKETS_EACH ? of_place : empty ? empty : oldest;
}

static void drop_oldest(void)
{
    struct kept *oldest = NULL;

    for (struct kept *k = kept; k < kept + TICKETS_ALL; k++)
        if (k->ticket && (!oldest || k->number < oldest->number))
            oldest = k;
    if (oldest)
        drop(oldest);
}

void tickets_keep(const struct ticket_place *place, const struct identity *id, struct ticket *t, uint32_t lifetime_s,
                  time_t expires)
{
    if (!lifetime_s) { /* RFC 8446 section 4.6.1: to be discarded immediately */
        ticket_free(t);
        return;
    }
    if (lifetime_s > TICKET_LIFETIME_S)
        lifetime_s = TICKET_LIFETIME_S;
    pthread_mutex_lock(&lock);
    while (kept_bytes && kept_bytes + t->size > TICKETS_BYTES)
        drop_oldest();
    struct kept *k = find_entry(place);
    if (k->ticket)
        drop(k);
    *k = (struct kept){.place = *place,
                       .identity = identity_serial(id),
                       .number = ++last_number,
                       .until_ms = tickets_now_ms() + (int64_t)lifetime_s * 1000,
                       .expires = expires,
                       .ticket = t};
    kept_bytes += t->size;
    pthread_mutex_unlock(&lock);
}

static struct rejecting *find_rejecting(const struct ticket_place *place)
{
    for (struct rejecting *r = rejecting; r < rejecting + REJECTING; r++)
        if (r->in_a_row && memcmp(r->place.digest, place->digest, sizeof place->digest) == 0)
            return r;
    return NULL;
}

bool tickets_wanted(const struct ticket_place *place)
{
    unsigned count = 0;

    pthread_mutex_lock(&lock);
    const int64_t now = tickets_now_ms();
    const struct rejecting *r = find_rejecting(place);
    const bool given_up = r && r->in_a_row >= TICKET_GIVE_UP && now < r->last_ms + TICKET_GIVE_UP_MS;
    for (const struct kept *k = kept; k < kept + TICKETS_ALL; k++)
        if (is_of(k, place) && !is_over(k, now))
            count++;
    pthread_mutex_unlock(&lock);
    return !given_up && count < TICKETS_EACH;
}

void tickets_told(const struct ticket_place *place, bool accepted)
{
    pthread_mutex_lock(&lock);
    struct rejecting *r = find_rejecting(place);
    if (accepted && r)
        *r = (struct rejecting){0};
    if (!accepted && !r) {
        r = rejecting;
        for (struct rejecting *other = rejecting; other < rejecting + REJECTING; other++)
            if (r->in_a_row && (!other->in_a_row || other->number < r->number))
                r = other;
        *r = (struct rejecting){.place = *place};
    }
    if (!accepted) {
        r->in_a_row++;
        r->number = ++last_number;
        r->last_ms = tickets_now_ms();
    }
    pthread_mutex_unlock(&lock);
}

void tickets_forget(uint64_t serial)
{
    pthread_mutex_lock(&lock);
    for (struct kept *k = kept; k < kept + TICKETS_ALL; k++)
        if (k->ticket && k->identity == serial)
            drop(k);
    pthread_mutex_unlock(&lock);
}

size_t tickets_count(void)
{
    size_t count = 0;

    pthread_mutex_lock(&lock);
    for (const struct kept *k = kept; k < kept + TICKETS_ALL; k++)
        count += k->ticket != NULL;
    pthread_mutex_unlock(&lock);
    return count;
}

static void forget_all(void)
{
    for (struct kept *k = kept; k < kept + TICKETS_ALL; k++)
        if (k->ticket)
            drop(k);
}

void tickets_forked(bool in_child)
{
    if (in_child) {
        pthread_mutex_init(&lock, NULL);
        forget_all();
    }
    tickets_await_forked(in_child);
    tickets_due_forked(in_child);
    tickets_key_forked(in_child);
}

__attribute__((destructor)) static void forget_at_exit(void)
{
    if (pthread_mutex_trylock(&lock) != 0)
        return;
    forget_all();
    pthread_mutex_unlock(&lock);
}
