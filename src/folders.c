#include "folders.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_anothers(const struct stat *folder)
{
    return geteuid() == 0 && folder->st_uid != 0 && !(folder->st_mode & S_ISVTX);
}

bool folder_is_anothers(const char *dir)
{
    struct stat st;

    return stat(dir, &st) == 0 && is_anothers(&st);
}

/* parent: the folder above, once it was seen; it becomes this one. A component that another process makes meanwhile is
 * as good; one that is no directory shows up when the last one is opened. */
static enum folders_result make_one(const char *path, struct stat *parent)
{
    const struct stat above = *parent;

    if (stat(path, parent) == 0)
        return FOLDERS_THERE;
    if (errno != ENOENT)
        return FOLDERS_FAILED;
    if (is_anothers(&above))
        return FOLDERS_ANOTHERS;
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return FOLDERS_FAILED;
    return stat(path, parent) == 0 ? FOLDERS_THERE : FOLDERS_FAILED;
}

enum folders_result folders_make(const char *dir)
{
    char path[PATH_MAX];
    struct stat parent;
    const size_t len = strlen(dir);

    if (len == 0 || len >= sizeof path) {
        errno = ENAMETOOLONG;
        return FOLDERS_FAILED;
    }
    memcpy(path, dir, len + 1);
    if (stat(dir[0] == '/' ? "/" : ".", &parent) != 0)
        return FOLDERS_FAILED;
    enum folders_result r = FOLDERS_THERE;
    for (size_t i = 1; i <= len && r == FOLDERS_THERE; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        path[i] = '\0';
        r = make_one(path, &parent);
        path[i] = dir[i];
    }
    return r;
}
