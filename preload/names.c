#include "names.h"

#include "large.h"
#include "state.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Pairs of an address and a name. They are added at the head of a chain and never changed or freed, so that readers
 * need no lock. Their number grows with the variety of names that a program looks up, and is bounded: what does not fit
 * is lost, which the program is told once. From then on an address without a name may have any (ruling.c). */
struct pair {
    struct pair *next;
    uint8_t address[16]; /* IPv4 as v4-mapped (RFC 4291 section 2.5.5.2) */
    in_port_t port;      /* that the look-up was for; 0: it did not say */
    const char *name;
};

/* Each name once: this thread's list and the pairs compare pointers. */
struct spelling {
    struct spelling *next;
    char text[];
};

enum { BUCKETS = 1024, PAIRS_MAX = 1 << 16, NAME_BYTES = 253, RECENT = 16 };

static struct pair *_Atomic pairs[BUCKETS] LARGE;
static struct spelling *_Atomic spellings[BUCKETS] LARGE;
static _Atomic unsigned pair_count;
static _Atomic bool lost;

/* What this thread looked up, the newest at recent_at - 1. The name of an address that was written as one is LITERAL:
 * it takes the place of a name that was looked up before. */
static __thread const char *recent[RECENT] __attribute__((tls_model("initial-exec")));
static __thread unsigned recent_at __attribute__((tls_model("initial-exec")));
static const char LITERAL[] = "";

static unsigned bucket_of(const void *bytes, size_t len)
{
    const uint8_t *b = bytes;
    uint32_t h = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < len; i++)
        h = (h ^ b[i]) * 16777619u;
    return h % BUCKETS;
}

static bool address_of(const struct sockaddr *a, socklen_t len, uint8_t out[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (len >= sizeof(struct sockaddr_in) && a->sa_family == AF_INET) {
        memcpy(out, mapped, sizeof mapped);
        memcpy(out + 12, (const char *)a + offsetof(struct sockaddr_in, sin_addr), 4);
        return true;
    }
    if (len < offsetof(struct sockaddr_in6, sin6_scope_id) || a->sa_family != AF_INET6)
        return false;
    memcpy(out, (const char *)a + offsetof(struct sockaddr_in6, sin6_addr), 16);
    return true;
}

static in_port_t port_of(const struct sockaddr *a) /* of one that address_of has taken */
{
    return a->sa_family == AF_INET ? ((const struct sockaddr_in *)a)->sin_port
                                   : ((const struct sockaddr_in6 *)a)->sin6_port;
}

/* Which pairs of an address are meant. */
struct wanted {
    uint8_t address[16];
    in_port_t port;
    bool any_port;
};

static bool fits(const struct pair *p, const struct wanted *w)
{
    return (w->any_port || !p->port || p->port == w->port) && memcmp(p->address, w->address, 16) == 0;
}

static const struct pair *first_pair(const uint8_t address[16])
{
    return atomic_load_explicit(&pairs[bucket_of(address, 16)], memory_order_acquire);
}

static bool has_pair(const struct wanted *w, const char *name)
{
    const struct pair *p = first_pair(w->address);
    while (p && (p->name != name || !fits(p, w)))
        p = p->next;
    return p;
}

void names_each(const struct sockaddr *address, socklen_t len, void (*fn)(const char *name, void *arg), void *arg)
{
    uint8_t key[16];
    if (!atomic_load_explicit(&pair_count, memory_order_relaxed) || !address_of(address, len, key))
        return;
    for (const struct pair *p = first_pair(key); p; p = p->next)
        if (p->name != LITERAL && memcmp(p->address, key, 16) == 0)
            fn(p->name, arg);
}

bool names_lost(void)
{
    return atomic_load_explicit(&lost, memory_order_relaxed);
}

/* What this thread looked up last, of what is wanted. */
static bool find_recent(const struct wanted *w, const char **name)
{
    for (unsigned i = 0; i < RECENT; i++) {
        const char *mine = recent[(recent_at - 1 - i) % RECENT];
        if (!mine)
            return false;
        if (has_pair(w, mine)) {
            *name = mine;
            return true;
        }
    }
    return false;
}

static enum names_verdict find_only(const struct wanted *w, const char **name)
{
    *name = NULL;
    for (const struct pair *p = first_pair(w->address); p; p = p->next) {
        if (p->name == LITERAL || p->name == *name || !fits(p, w))
            continue;
        if (*name)
            return NAMES_AMBIGUOUS;
        *name = p->name;
    }
    return *name ? NAMES_KNOWN : NAMES_BARE;
}

/* A look-up for the port that is dialled says more than one for another port: a name looked up for a web server that
 * has the same address, and perhaps a stranger as its owner. */
enum names_verdict names_dialled(const struct sockaddr *address, socklen_t len, const char **name)
{
    struct wanted w = {.any_port = false};
    enum names_verdict verdict = NAMES_BARE;
    if (!atomic_load_explicit(&pair_count, memory_order_relaxed) || !address_of(address, len, w.address))
        return NAMES_BARE;
    w.port = port_of(address);
    for (int i = 0; i < 2 && verdict == NAMES_BARE; i++, w.any_port = true) {
        if (find_recent(&w, name))
            return *name == LITERAL ? NAMES_BARE : NAMES_KNOWN;
        verdict = find_only(&w, name);
    }
    return verdict;
}

/* A DNS name in lower case, without the root's dot; LITERAL for an address; false for what is neither. */
static bool normalize(const char *name, char out[NAME_BYTES + 1], bool *literal)
{
    uint8_t binary[16];
    char bare[INET6_ADDRSTRLEN];
    size_t len = strlen(name);
    *literal = true;
    if (inet_aton(name, (struct in_addr *)binary)) /* getaddrinfo takes "127.1" and the like as addresses */
        return true;
    size_t zone = strcspn(name, "%");
    if (zone < sizeof bare) {
        memcpy(bare, name, zone);
        bare[zone] = 0;
        if (inet_pton(AF_INET6, bare, binary) == 1)
            return true;
    }
    *literal = false;
    if (len && name[len - 1] == '.')
        len--;
    if (!len || len > NAME_BYTES)
        return false;
    for (size_t i = 0; i < len; i++)
        out[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + ('a' - 'A') : name[i]);
    out[len] = 0;
    return true;
}

static const char *spell(const char *text)
{
    size_t len = strlen(text);
    struct spelling *_Atomic *head = &spellings[bucket_of(text, len)];
    struct spelling *first = atomic_load_explicit(head, memory_order_acquire), *mine = NULL;
    for (;;) {
        for (struct spelling *s = first; s; s = s->next)
            if (strcmp(s->text, text) == 0) {
                free(mine);
                return s->text;
            }
        if (!mine && !(mine = malloc(sizeof *mine + len + 1)))
            return NULL;
        mine->next = first;
        memcpy(mine->text, text, len + 1);
        if (atomic_compare_exchange_strong(head, &first, mine))
            return mine->text;
    }
}

static void lose(void)
{
    if (!atomic_exchange(&lost, true))
        log_event(LOG_LEVEL_WARN,
                  "this program has looked up names for more than %d addresses, or is out of memory: names of further "
                  "ones are not remembered. Connections to them are checked against the address, and refused where a "
                  "rule for a name could concern them: use peer=, and rules for addresses",
                  PAIRS_MAX);
}

static bool has_exactly(const struct wanted *w, const char *name)
{
    const struct pair *p = first_pair(w->address);
    while (p && (p->name != name || p->port != w->port || memcmp(p->address, w->address, 16) != 0))
        p = p->next;
    return p;
}

static void add_pair(const struct sockaddr *a, socklen_t len, const char *name)
{
    struct wanted w = {.any_port = false};
    if (!address_of(a, len, w.address))
        return;
    w.port = port_of(a);
    if (has_exactly(&w, name))
        return;
    struct pair *p = atomic_load(&pair_count) < PAIRS_MAX ? malloc(sizeof *p) : NULL;
    if (!p) {
        lose();
        return;
    }
    memcpy(p->address, w.address, sizeof p->address);
    p->port = w.port;
    p->name = name;
    struct pair *_Atomic *head = &pairs[bucket_of(w.address, 16)];
    p->next = atomic_load(head);
    while (!atomic_compare_exchange_weak(head, &p->next, p))
        ;
    atomic_fetch_add(&pair_count, 1);
}

static const char *begin_note(const char *name)
{
    char text[NAME_BYTES + 1];
    bool literal;
    if (!name || !normalize(name, text, &literal))
        return NULL;
    const char *kept = literal ? LITERAL : spell(text);
    if (kept)
        recent[recent_at++ % RECENT] = kept;
    else
        lose();
    return kept;
}

void names_note(const char *name, const struct addrinfo *found)
{
    int saved = errno;
    const char *kept = begin_note(name);
    for (; kept && found; found = found->ai_next)
        if (found->ai_addr)
            add_pair(found->ai_addr, found->ai_addrlen, kept);
    errno = saved;
}

void names_note_host(const char *name, const struct hostent *found)
{
    int saved = errno;
    const char *kept = begin_note(name);
    for (char **a = found->h_addr_list; kept && *a; a++) {
        struct sockaddr_in v4 = {.sin_family = AF_INET};
        struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
        if (found->h_addrtype == AF_INET && found->h_length == sizeof v4.sin_addr) {
            memcpy(&v4.sin_addr, *a, sizeof v4.sin_addr);
            add_pair((struct sockaddr *)&v4, sizeof v4, kept);
        } else if (found->h_addrtype == AF_INET6 && found->h_length == sizeof v6.sin6_addr) {
            memcpy(&v6.sin6_addr, *a, sizeof v6.sin6_addr);
            add_pair((struct sockaddr *)&v6, sizeof v6, kept);
        }
    }
    errno = saved;
}
