/* The identity of a rule over time. Its files are looked at from outside, at most once a second; when one has changed
 * all are read again, and the new identity takes the place of the old one for handshakes that start then. What cannot
 * be read or does not fit together (a file half written, a key that comes after its certificate) leaves the last good
 * one.
 *
 * Locks: `loading` is held over all file access, by one thread at a time, while others go on with what is there; `lock`
 * guards `current` for the time of taking a reference. Neither is held at a fork: no thread is inside then. */
#define LOG_CATEGORY LOG_CATEGORY_IDENTITY

#include "trust_internal.h"

#include "log.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { LOOK_MS = 1000, RULE_NAME_MAX = 200 };

struct identity_source {
    struct identity_config config;
    char name[RULE_NAME_MAX];

    pthread_mutex_t lock;
    struct identity *current;
    int64_t look_due_ms;

    pthread_mutex_t loading;
    struct identity_watch watch;
    bool tried, retry;          /* loaded at least once, well or not; the last failure may pass by itself */
    enum result failure;        /* of the last load */
    char why[IDENTITY_WHY_MAX]; /* likewise */
    dev_t root_device;          /* at the start: after chroot the paths mean other files */
    ino_t root_inode;
    bool away_logged;
    time_t warned; /* of the coming expiry */
};

static atomic_bool frozen;

void identity_source_freeze(bool on)
{
    atomic_store(&frozen, on);
    known_peers_freeze(on);
}

static int64_t now_ms(void)
{
    struct timespec t = {0};

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

struct identity_source *identity_source_new(const struct identity_config *config, const char *name)
{
    struct identity_source *s = calloc(1, sizeof *s);
    struct stat root;

    if (!s)
        return NULL;
    s->config = *config;
    snprintf(s->name, sizeof s->name, "%s", name);
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->loading, NULL);
    if (stat("/", &root) == 0) {
        s->root_device = root.st_dev;
        s->root_inode = root.st_ino;
    }
    if (identity_watch_init(&s->watch, config))
        return s;
    identity_source_free(s);
    return NULL;
}

void identity_source_free(struct identity_source *s)
{
    if (!s)
        return;
    identity_unref(s->current);
    identity_watch_free(&s->watch);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->loading);
    free(s);
}

void identity_source_forked(struct identity_source *s)
{
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->loading, NULL);
}

static void replace(struct identity_source *s, struct identity *id)
{
    pthread_mutex_lock(&s->lock);
    struct identity *old = s->current;
    s->current = id;
    pthread_mutex_unlock(&s->lock);
    if (old)
        log_event(LOG_LEVEL_INFO, "%s: its files have changed and were read again", s->name);
    identity_unref(old);
}

/* The per-user identity is made when it is first read: that is no change of it. */
static bool has_made_files(const struct identity_source *s)
{
    const struct policy_identity *own = s->config.own;
    return !s->current && !(own && (own->cert_file || own->key_file || own->psk_file));
}

/* loading is held. The same failure of files that look the same was logged before. */
static void load(struct identity_source *s, bool files_changed)
{
    struct identity *id;
    char why[IDENTITY_WHY_MAX];

    const bool made = has_made_files(s);
    s->failure = identity_load(&s->config, &id, why);
    if (made && s->failure == RESULT_OK)
        (void)identity_watch_look(&s->watch);
    s->tried = true;
    s->retry = s->failure == RESULT_IO || s->failure == RESULT_NOMEM;
    if (s->failure == RESULT_OK)
        replace(s, id);
    else if (s->current && (files_changed || strcmp(why, s->why) != 0))
        log_event(LOG_LEVEL_WARN,
                  "%s: its files have changed and cannot be used; new connections go on with what was read before: %s",
                  s->name, why);
    snprintf(s->why, sizeof s->why, "%s", why);
}

/* After chroot, or in a mount namespace with another root, other people's files may bear these names. */
static bool is_away(struct identity_source *s)
{
    struct stat root;

    if (stat("/", &root) == 0 && root.st_dev == s->root_device && root.st_ino == s->root_inode)
        return false;
    if (!s->away_logged)
        log_event(LOG_LEVEL_INFO, "%s: the root directory has changed: files are not read again from here on", s->name);
    s->away_logged = true;
    return true;
}

/* loading is held. */
static void look(struct identity_source *s)
{
    if (s->current && is_away(s))
        return;
    const enum identity_change change = identity_watch_look(&s->watch);
    if (!s->tried || s->retry || change != CHANGE_NONE)
        load(s, change == CHANGE_SEEN);
    if (s->current)
        identity_warn_expiry(s->current, s->name, time(NULL), &s->warned);
}

static struct identity *take_current(struct identity_source *s, bool *due)
{
    const int64_t now = now_ms();

    pthread_mutex_lock(&s->lock);
    struct identity *id = s->current ? identity_ref(s->current) : NULL;
    *due = !id || s->config.revalidate_always || now >= s->look_due_ms;
    if (*due)
        s->look_due_ms = now + LOOK_MS;
    pthread_mutex_unlock(&s->lock);
    return id;
}

/* Whoever has something to go on with does not wait for another thread that is at the files already. */
static bool enter(struct identity_source *s, bool must)
{
    if (!must)
        return pthread_mutex_trylock(&s->loading) == 0;
    pthread_mutex_lock(&s->loading);
    return true;
}

static bool is_in_token(const struct identity_source *s)
{
    const struct policy_identity *own = s->config.own;
    return own && (identity_is_token(own->key_file) || identity_is_token(own->cert_file));
}

static enum result get(struct identity_source *s, struct identity **out, char *why)
{
    bool due;

    *out = take_current(s, &due);
    if (!due || (*out && atomic_load(&frozen)))
        return RESULT_OK;
    enum result failure = RESULT_OK;
    const bool token = identity_token_enter(is_in_token(s));
    if (enter(s, !*out || s->config.revalidate_always)) {
        look(s);
        identity_unref(*out);
        *out = take_current(s, &due);
        failure = s->failure;
        if (!*out)
            snprintf(why, IDENTITY_WHY_MAX, "%s", s->why);
        pthread_mutex_unlock(&s->loading);
    }
    identity_token_leave(token);
    return *out ? RESULT_OK : failure;
}

enum result identity_source_get(struct identity_source *source, struct identity **out, char why[IDENTITY_WHY_MAX])
{
    const int saved = errno;

    why[0] = '\0';
    const enum result r = get(source, out, why);
    errno = saved;
    return r;
}
