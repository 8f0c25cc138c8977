/* What the files of an identity look like from outside (stat(2)), so that a change is seen without reading them. */
#include "identity_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FRESH_NS = 50 * 1000 * 1000 };

static uint64_t nanoseconds(struct timespec t)
{
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct file_stamp stamp_of(const struct stat *st)
{
    return (struct file_stamp){
        .device = st->st_dev,
        .inode = st->st_ino,
        .size = (uint64_t)st->st_size,
        .changed_ns = nanoseconds(st->st_ctim),
        .modified_ns = nanoseconds(st->st_mtim),
    };
}

/* FNV-1a; nobody gains by a collision who can write to the folder. */
static uint64_t mix(uint64_t hash, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ at[i]) * 0x100000001b3u;
    return hash;
}

/* The sum does not depend on the order in which the folder is listed. */
static uint64_t stamp_inside(const char *path, struct file_stamp *newest)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    uint64_t sum = 0;
    struct stat st;

    if (!dir) {
        if (fd >= 0)
            close(fd);
        return 0;
    }
    for (const struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.' || fstatat(dirfd(dir), entry->d_name, &st, 0) != 0)
            continue;
        const struct file_stamp stamp = stamp_of(&st);
        sum += mix(mix(0xcbf29ce484222325u, entry->d_name, strlen(entry->d_name)), &stamp, sizeof stamp);
        if (stamp.changed_ns > newest->changed_ns)
            newest->changed_ns = stamp.changed_ns;
    }
    closedir(dir);
    return sum;
}

static struct file_stamp take_stamp(const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return (struct file_stamp){.error = (uint64_t)errno};
    struct file_stamp stamp = stamp_of(&st);
    if (S_ISDIR(st.st_mode))
        stamp.inside = stamp_inside(path, &stamp);
    return stamp;
}

/* Did it change so lately that the next change could leave the same stamp? (The kernel's clock for files ticks.) */
static bool is_fresh(const struct file_stamp *stamp)
{
    struct timespec now;

    return stamp->error == 0 && clock_gettime(CLOCK_REALTIME, &now) == 0 &&
           stamp->changed_ns + FRESH_NS > nanoseconds(now);
}

enum identity_change identity_watch_look(struct identity_watch *w)
{
    enum identity_change change = w->fresh ? CHANGE_POSSIBLE : CHANGE_NONE;

    w->fresh = false;
    for (size_t i = 0; i < w->count; i++) {
        const struct file_stamp stamp = take_stamp(w->files[i].path);
        if (memcmp(&stamp, &w->files[i].stamp, sizeof stamp) != 0)
            change = CHANGE_SEEN;
        w->fresh |= is_fresh(&stamp);
        w->files[i].stamp = stamp;
    }
    return change;
}

static size_t count_items(const char *list)
{
    size_t n = 0;

    for (; list && *list; list += *list == ',')
        n++, list += strcspn(list, ",");
    return n;
}

static bool add(struct identity_watch *w, const char *path, size_t len)
{
    if (len == 0 || identity_is_token(path))
        return true;
    char *copy = strndup(path, len);
    if (copy)
        w->files[w->count++].path = copy;
    return copy;
}

static bool add_file(struct identity_watch *w, const char *path)
{
    return !path || add(w, path, strlen(path));
}

/* "system" is whatever GnuTLS was built with; Debian makes this file anew when one of the others changes. */
static bool add_list(struct identity_watch *w, const char *list)
{
    static const char system_file[] = "/etc/ssl/certs/ca-certificates.crt";

    while (list && *list) {
        const size_t len = strcspn(list, ",");
        const bool is_system = len == 6 && memcmp(list, "system", len) == 0;
        if (!add(w, is_system ? system_file : list, is_system ? sizeof system_file - 1 : len))
            return false;
        list += len + (list[len] == ',');
    }
    return true;
}

static bool add_user(struct identity_watch *w, const struct identity_config *c)
{
    char path[PATH_MAX];
    const bool uses = c->trust->expression.terms & TRUST_OWN || !(c->own->key_file || c->own->psk_file);

    if (!uses || !c->state_dir)
        return true;
    const int n = snprintf(path, sizeof path, "%s/identity.pem", c->state_dir);
    return n < 0 || (size_t)n >= sizeof path || add_file(w, path);
}

enum { SINGLE_FILES = 7 };

bool identity_watch_init(struct identity_watch *w, const struct identity_config *c)
{
    const struct policy_identity *own = c->own;

    *w = (struct identity_watch){0};
    w->files = calloc(SINGLE_FILES + count_items(c->trust->ca) + count_items(c->trust->crl), sizeof *w->files);
    return w->files && add_file(w, own->cert_file) && add_file(w, own->key_file) && add_file(w, own->passphrase_file) &&
           add_file(w, own->pin_file) && add_file(w, own->ocsp_staple) && add_file(w, own->psk_file) &&
           add_user(w, c) && add_list(w, c->trust->ca) && add_list(w, c->trust->crl);
}

void identity_watch_free(struct identity_watch *w)
{
    for (size_t i = 0; i < w->count; i++)
        free(w->files[i].path);
    free(w->files);
}
