/* The file of known peers, in SSH's manner: HOST:PORT sha256:FINGERPRINT [comment]. Such lines count where this side
 * connects (known_hosts); "accept" in the place of HOST:PORT is for those that may connect to this side
 * (authorized_keys). This file answers from what was read last; trust_record.c appends. What cannot be read again (a
 * chroot, privileges that were dropped, a broken line) leaves the last good state, in which nobody is met for the first
 * time. */
#define LOG_CATEGORY LOG_CATEGORY_IDENTITY

#include "trust_known.h"

#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static atomic_bool frozen;

void known_peers_freeze(bool on)
{
    atomic_store(&frozen, on);
}

static bool same_stamp(const struct known_stamp *a, const struct known_stamp *b)
{
    return a->there == b->there && a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->modified.tv_sec == b->modified.tv_sec && a->modified.tv_nsec == b->modified.tv_nsec &&
           a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

static bool take_stamp(const char *path, struct known_stamp *stamp)
{
    struct stat st;

    *stamp = (struct known_stamp){0};
    if (stat(path, &st) != 0)
        return errno == ENOENT;
    *stamp = (struct known_stamp){true, st.st_dev, st.st_ino, st.st_size, st.st_mtim, st.st_ctim};
    return true;
}

/* A chroot has other files under the same names. */
static bool root_changed(const struct known_peers *known)
{
    struct stat st;

    return stat("/", &st) != 0 || st.st_dev != known->root_device || st.st_ino != known->root_inode;
}

static bool keep_entry(struct known_entries *entries, const struct known_entry *entry)
{
    if (entries->count % 64 == 0) {
        struct known_entry *more = realloc(entries->items, (entries->count + 64) * sizeof *more);
        if (!more)
            return false;
        entries->items = more;
    }
    entries->items[entries->count++] = *entry;
    return true;
}

/* 0, the number of a line that cannot be understood, or -1 without memory. */
static long parse_text(struct known_entries *entries, const char *text, size_t len)
{
    const char *at = text, *const end = text + len;

    for (long number = 1; at < end; number++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t n = (size_t)((stop ? stop : end) - at);
        struct known_entry entry;
        if (n > 0 && at[n - 1] == '\r')
            n--;
        if (n > 0 && at[0] != '#') {
            if (!known_peers_parse_line(at, n, &entry))
                return number;
            if (!keep_entry(entries, &entry))
                return -1;
        }
        at = stop ? stop + 1 : end;
    }
    return 0;
}

static enum result read_entries(const char *path, off_t size, struct known_entries *entries, char *why)
{
    struct secret_bytes text = {0};
    enum result r = size > 0 ? identity_file_read(AT_FDCWD, path, path, FILE_PUBLIC, &text, why) : RESULT_OK;

    if (r != RESULT_OK)
        return r;
    const long bad = text.len ? parse_text(entries, (const char *)text.bytes, text.len) : 0;
    secret_wipe(&text);
    if (bad < 0)
        return identity_nomem(why);
    if (bad > 0)
        return identity_refuse(
            why, "%.160s:%ld: expected HOST:PORT or accept, and sha256:FINGERPRINT: mend or remove that line", path,
            bad);
    return RESULT_OK;
}

static enum result fail_stale(struct known_peers *known, const char *why)
{
    known->stale = true;
    if (strcmp(known->why, why) != 0)
        log_event(LOG_LEVEL_WARN, "known peers stay as they were read last: %s", why);
    snprintf(known->why, sizeof known->why, "%s", why);
    return RESULT_CONFIG;
}

enum result known_peers_refresh(struct known_peers *known, bool always)
{
    struct known_stamp stamp;
    struct known_entries entries = {0};
    char why[IDENTITY_WHY_MAX];

    if (atomic_load(&frozen))
        return fail_stale(known, "a sandbox keeps this process from files");
    if (root_changed(known))
        return fail_stale(known, "the program has changed its root directory");
    if (!take_stamp(known->path, &stamp)) {
        identity_refuse(why, "cannot examine %.200s: %s", known->path, strerror(errno));
        return fail_stale(known, why);
    }
    if (!stamp.there && known->entries.count) {
        identity_refuse(why, "%.200s has vanished: make it again, empty, if that was meant", known->path);
        return fail_stale(known, why);
    }
    if (!always && known->read_once && !known->stale && same_stamp(&stamp, &known->stamp))
        return RESULT_OK;
    const enum result r = read_entries(known->path, stamp.size, &entries, why);
    if (r != RESULT_OK) {
        free(entries.items);
        return fail_stale(known, why);
    }
    free(known->entries.items);
    known->entries = entries;
    known->stamp = stamp;
    known->read_once = true;
    known->stale = false;
    known->why[0] = '\0';
    return RESULT_OK;
}

enum result known_peers_open(const char *path, bool by_path, struct known_peers **out, char *why)
{
    struct known_peers *known = calloc(1, sizeof *known);
    struct stat st;

    *out = NULL;
    if (!known)
        return identity_nomem(why);
    pthread_mutex_init(&known->lock, NULL);
    enum result r = strlen(path) < sizeof known->path && stat("/", &st) == 0
                        ? RESULT_OK
                        : identity_refuse(why, "the path of the known peers is too long: %.100s", path);
    if (r == RESULT_OK) {
        snprintf(known->path, sizeof known->path, "%s", path);
        if (by_path && strlen(path) + sizeof "-f  " <= sizeof known->option)
            snprintf(known->option, sizeof known->option, "-f %s ", path);
        known->root_device = st.st_dev;
        known->root_inode = st.st_ino;
        r = known_peers_refresh(known, true);
        snprintf(why, IDENTITY_WHY_MAX, "%s", known->why);
    }
    if (r == RESULT_OK)
        *out = known;
    else
        known_peers_close(known);
    return r;
}

const char *known_peers_option(const struct known_peers *known)
{
    return known->option;
}

void known_peers_close(struct known_peers *known)
{
    if (!known)
        return;
    pthread_mutex_destroy(&known->lock);
    free(known->entries.items);
    free(known);
}

enum known_answer known_peers_look_up(const struct known_peers *known, const char *where,
                                      const uint8_t hash[KEY_HASH_BYTES], uint8_t recorded[KEY_HASH_BYTES])
{
    enum known_answer answer = KNOWN_FIRST;

    for (size_t i = 0; i < known->entries.count; i++) {
        const struct known_entry *entry = &known->entries.items[i];
        if (strcmp(entry->where, where) != 0)
            continue;
        if (memcmp(entry->hash, hash, KEY_HASH_BYTES) == 0)
            return KNOWN_SAME;
        memcpy(recorded, entry->hash, KEY_HASH_BYTES); /* the last one is the newest */
        answer = KNOWN_OTHER;
    }
    return answer;
}

enum known_answer known_peers_ask(struct known_peers *known, const char *host, uint16_t port,
                                  const uint8_t hash[KEY_HASH_BYTES], uint8_t recorded[KEY_HASH_BYTES],
                                  char reason[REASON_MAX])
{
    char where[KNOWN_WHERE_MAX];

    if (!known_peers_where(host, port, where)) {
        snprintf(reason, REASON_MAX, "cannot be recorded: the name that was dialled is no host name");
        return KNOWN_UNREADABLE;
    }
    pthread_mutex_lock(&known->lock);
    result_ignore(known_peers_refresh(known, false));
    enum known_answer answer = known_peers_look_up(known, where, hash, recorded);
    if (answer == KNOWN_FIRST && known->stale) {
        answer = KNOWN_UNREADABLE;
        snprintf(reason, REASON_MAX, "is met for the first time and cannot be recorded: %.250s", known->why);
    }
    pthread_mutex_unlock(&known->lock);
    return answer;
}

static const char *find_server(const struct known_peers *known, const uint8_t hash[KEY_HASH_BYTES])
{
    for (size_t i = 0; i < known->entries.count; i++)
        if (memcmp(known->entries.items[i].hash, hash, KEY_HASH_BYTES) == 0)
            return known->entries.items[i].where;
    return NULL;
}

bool known_peers_accept(struct known_peers *known, const uint8_t hash[KEY_HASH_BYTES], char reason[REASON_MAX])
{
    uint8_t other[KEY_HASH_BYTES];
    char fingerprint[FINGERPRINT_TEXT];

    pthread_mutex_lock(&known->lock);
    result_ignore(known_peers_refresh(known, false));
    const bool accepted = known_peers_look_up(known, KNOWN_ACCEPT, hash, other) == KNOWN_SAME;
    const char *server = accepted ? NULL : find_server(known, hash);
    trust_print_fingerprint(hash, fingerprint);
    if (!accepted && server)
        snprintf(reason, REASON_MAX,
                 "has a key that is recorded for connecting to %.60s alone; if it may connect here: p2ptls trust add "
                 "%saccept %s",
                 server, known->option, fingerprint);
    else if (!accepted)
        snprintf(reason, REASON_MAX,
                 "has a key that is not recorded; if it may connect here: p2ptls trust add %saccept %s", known->option,
                 fingerprint);
    pthread_mutex_unlock(&known->lock);
    return accepted;
}
