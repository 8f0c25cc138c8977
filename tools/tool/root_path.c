#include "root_path.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINKS_MOST = 40 }; /* as the kernel's, path_resolution(7) */

struct walk {
    const char *root;
    char done[PATH_MAX], rest[PATH_MAX]; /* done: without root, without links, and no slash at its end */
    unsigned links;
};

/* Puts a link's target in front of the rest. */
static bool follow(struct walk *w, const char *target)
{
    char rest[PATH_MAX];

    if (++w->links > LINKS_MOST || snprintf(rest, sizeof rest, "%s/%s", target, w->rest) >= (int)sizeof rest)
        return false;
    memcpy(w->rest, rest, sizeof rest);
    if (*target == '/')
        w->done[0] = '\0';
    return true;
}

static bool step(struct walk *w, const char *name)
{
    char full[PATH_MAX], target[PATH_MAX];
    struct stat st;
    const size_t len = strlen(w->done);
    char *slash = strrchr(w->done, '/');

    if (!*name || strcmp(name, ".") == 0)
        return true;
    if (strcmp(name, "..") == 0) {
        if (slash)
            *slash = '\0';
        return true;
    }
    if (snprintf(w->done + len, sizeof w->done - len, "/%s", name) >= (int)(sizeof w->done - len) ||
        snprintf(full, sizeof full, "%s%s", w->root, w->done) >= (int)sizeof full || lstat(full, &st) != 0)
        return false;
    if (!S_ISLNK(st.st_mode))
        return true;
    const ssize_t n = readlink(full, target, sizeof target - 1);
    if (n < 0)
        return false;
    target[n] = '\0';
    w->done[len] = '\0';
    return follow(w, target);
}

bool path_below(const char *root, const char *path, char out[])
{
    struct walk w = {.root = root};
    char name[PATH_MAX];

    if (!*root)
        return realpath(path, out) != NULL;
    if (snprintf(w.rest, sizeof w.rest, "%s", path) >= (int)sizeof w.rest)
        return false;
    while (*w.rest) {
        const size_t len = strcspn(w.rest, "/"), over = len + (w.rest[len] == '/');
        snprintf(name, sizeof name, "%.*s", (int)len, w.rest);
        memmove(w.rest, w.rest + over, strlen(w.rest + over) + 1);
        if (!step(&w, name))
            return false;
    }
    return snprintf(out, PATH_MAX, "%s%s", root, w.done) < PATH_MAX;
}

bool path_to_make(const char *root, const char *path, char out[])
{
    char there[PATH_MAX], next[PATH_MAX];
    struct stat st;
    size_t len = strlen(path);

    while (len) {
        snprintf(there, sizeof there, "%.*s", (int)len, path);
        if (path_below(root, there, out))
            break;
        while (len && path[--len] != '/')
            ;
    }
    if (!len)
        snprintf(out, PATH_MAX, "%s", root);
    const char *rest = path + len;
    const size_t part = strcspn(rest + (*rest == '/'), "/") + (*rest == '/'), before = strlen(out);
    if (part && (snprintf(next, sizeof next, "%s%.*s", out, (int)part, rest) >= (int)sizeof next ||
                 lstat(next, &st) == 0 || errno != ENOENT))
        return false;
    return snprintf(out + before, PATH_MAX - before, "%s", rest) < (int)(PATH_MAX - before);
}
