/* Reads files of a policy, and refuses those that somebody else could have written: whoever writes a policy decides
 * what is protected. */
#include "source_files.h"

#include "sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { TEXT_MAX = 1 << 20, OVERFLOW_UID = 65534 };

static enum result refuse(char *why, const char *format, ...) __attribute__((format(printf, 2, 3)));
static enum result refuse(char *why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why, POLICY_WHY_MAX, format, args);
    va_end(args);
    return RESULT_CONFIG;
}

static long read_some(long fd, char *at, size_t len)
{
    long n;
    do
        n = sys3(SYS_read, fd, at, (long)len);
    while (n == -EINTR);
    return n;
}

/* Is that user id one of this user namespace? Others' files show as the overflow id (user_namespaces(7)). */
static bool is_mapped(unsigned uid)
{
    char map[2048] = "";
    long fd = sys4(SYS_openat, (long)AT_FDCWD, "/proc/self/uid_map", (long)(O_RDONLY | O_CLOEXEC), 0L);
    long n = fd < 0 ? -1 : read_some(fd, map, sizeof map - 1);
    if (fd >= 0)
        sys1(SYS_close, fd);
    if (n <= 0)
        return true;
    for (char *at = map; *at;) {
        unsigned inside = (unsigned)strtoul(at, &at, 10);
        (void)strtoul(at, &at, 10);
        unsigned long count = strtoul(at, &at, 10);
        if (uid >= inside && uid - inside < count)
            return true;
        at += strspn(at, " \n");
        if (!count)
            return true;
    }
    return false;
}

/* In a user namespace without root, such as a sandbox makes, root's files show the overflow id. Who made that namespace
 * rules over what is in it anyway; set-uid programs are not meant by that. */
static bool is_roots(const struct stat *s)
{
    return s->st_uid == 0 || (s->st_uid == OVERFLOW_UID && !getauxval(AT_SECURE) && !is_mapped(OVERFLOW_UID));
}

static enum result check_owner(const struct stat *s, const char *path, bool trusted, char *why)
{
    unsigned mode = (unsigned)s->st_mode & 07777u;
    if (trusted && !is_roots(s))
        return refuse(why, "%s belongs to user id %u: chown root %s", path, (unsigned)s->st_uid, path);
    if (!trusted && !is_roots(s) && s->st_uid != geteuid())
        return refuse(why, "%s belongs to user id %u, who could change it: it must belong to root or to user id %u",
                      path, (unsigned)s->st_uid, (unsigned)geteuid());
    /* A sticky folder lets others add files, but not change these; what they add would be read all the same. */
    if (mode & S_IWOTH)
        return refuse(why, "%s can be changed by everyone (mode %04o): chmod o-w %s", path, mode, path);
    if (trusted && (mode & S_IWGRP) && s->st_gid != 0)
        return refuse(why, "%s can be changed by group id %u (mode %04o): chmod g-w %s", path, (unsigned)s->st_gid,
                      mode, path);
    return RESULT_OK;
}

static enum result check_file(long fd, const char *path, bool trusted, char *why)
{
    struct stat s;
    if (fstat((int)fd, &s) != 0)
        return refuse(why, "%s cannot be examined: %s", path, strerror(errno));
    if (S_ISDIR(s.st_mode))
        return refuse(why, "%s is a folder", path);
    if (trusted && !S_ISREG(s.st_mode))
        return refuse(why, "%s is not a regular file", path);
    if (S_ISCHR(s.st_mode) && s.st_rdev == makedev(1, 3)) /* /dev/null, which everyone may write to */
        return RESULT_OK;
    if (!S_ISREG(s.st_mode))
        return refuse(why,
                      "%s is not a regular file: what can be read once would be no policy for the programs that this "
                      "one starts",
                      path);
    return check_owner(&s, path, trusted, why);
}

static enum result read_whole(long fd, const char *path, char *text, size_t *len, char *why)
{
    for (;;) {
        long n = read_some(fd, text + *len, TEXT_MAX + 1 - *len);
        if (n < 0)
            return refuse(why, "%s cannot be read: %s", path, strerror((int)-n));
        if (n == 0)
            return RESULT_OK;
        *len += (size_t)n;
        if (*len > TEXT_MAX)
            return refuse(why, "%s is larger than 1 MiB", path);
    }
}

enum result source_file_read(void *ctx, const char *path, bool trusted, char **text, size_t *len,
                             char why[POLICY_WHY_MAX])
{
    (void)ctx;
    /* A FIFO without a writer must not hold the program up before it was looked at. */
    long fd = sys4(SYS_openat, (long)AT_FDCWD, path, (long)(O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), 0L);
    if (fd < 0)
        return refuse(why, "%s cannot be opened: %s", path, strerror((int)-fd));
    *len = 0;
    *text = malloc(TEXT_MAX + 1);
    enum result result = *text ? check_file(fd, path, trusted, why) : RESULT_NOMEM;
    sys3(SYS_fcntl, fd, (long)F_SETFL, 0L);
    if (result == RESULT_OK)
        result = read_whole(fd, path, *text, len, why);
    sys1(SYS_close, fd);
    if (result != RESULT_OK) {
        free(*text);
        *text = NULL;
    }
    return result;
}

/* Like the shell with LC_ALL=C, whatever the program's locale is. */
static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void source_files_free(char **paths, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(paths[i]);
    free(paths);
}

static enum result copy_paths(const glob_t *found, char ***paths, size_t *count)
{
    *paths = calloc(found->gl_pathc + 1, sizeof **paths);
    *count = 0;
    for (size_t i = 0; *paths && i < found->gl_pathc; i++)
        if (!((*paths)[(*count)++] = strdup(found->gl_pathv[i]))) {
            source_files_free(*paths, *count);
            return RESULT_NOMEM;
        }
    if (!*paths)
        return RESULT_NOMEM;
    qsort(*paths, *count, sizeof **paths, by_bytes);
    return RESULT_OK;
}

enum result source_files_match(void *ctx, const char *pattern, char ***paths, size_t *count, char why[POLICY_WHY_MAX])
{
    glob_t found = {0};
    (void)ctx;
    enum result result = RESULT_NOMEM;
    int failure = glob(pattern, GLOB_ERR | GLOB_NOSORT, NULL, &found);
    if (failure == GLOB_ABORTED)
        result = refuse(why, "a folder of %s cannot be read: %s", pattern, strerror(errno));
    else if (failure == 0 || failure == GLOB_NOMATCH)
        result = copy_paths(&found, paths, count);
    globfree(&found);
    return result;
}

static bool is_conf(const char *name)
{
    size_t len = strlen(name);
    return name[0] != '.' && len > 5 && !strcmp(name + len - 5, ".conf");
}

static bool add_path(char ***paths, size_t *count, const char *folder, const char *name)
{
    char **more = reallocarray(*paths, *count + 1, sizeof *more);
    if (!more)
        return false;
    *paths = more;
    if (asprintf(&more[*count], "%s/%s", folder, name) < 0)
        return false;
    (*count)++;
    return true;
}

static enum result list_folder(DIR *dir, const char *folder, char ***paths, size_t *count, char *why)
{
    struct dirent *entry;
    errno = 0;
    while ((entry = readdir(dir))) {
        if (is_conf(entry->d_name) && !add_path(paths, count, folder, entry->d_name))
            return RESULT_NOMEM;
        errno = 0;
    }
    if (errno)
        return refuse(why, "%s cannot be read: %s", folder, strerror(errno));
    if (*count)
        qsort(*paths, *count, sizeof **paths, by_bytes);
    return RESULT_OK;
}

/* Does the folder, or one that it is in, belong to this user? Then the files in it are his too. */
static __attribute__((noinline)) bool is_in_own_folder(const char *folder)
{
    char path[PATH_MAX];
    struct stat s;
    if (snprintf(path, sizeof path, "%s", folder) >= (int)sizeof path)
        return true;
    for (char *slash = path + strlen(path); slash && slash != path; slash = strrchr(path, '/')) {
        *slash = '\0';
        if (stat(path, &s) == 0 && s.st_uid == geteuid())
            return true;
    }
    return false;
}

enum result source_files_in(const char *folder, bool trusted, char ***paths, size_t *count, bool *exists,
                            char why[POLICY_WHY_MAX])
{
    struct stat s;
    *paths = NULL;
    *count = 0;
    *exists = false;
    /* Most programs find no such folder, at each start: without libc's functions for folders, which lie in a page that
     * they would not touch. */
    const long fd =
        sys4(SYS_openat, (long)AT_FDCWD, folder, (long)(O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC), 0L);
    if (fd == -ENOENT || fd == -ENOTDIR)
        return RESULT_OK;
    errno = fd < 0 ? (int)-fd : 0;
    DIR *dir = fd < 0 ? NULL : fdopendir((int)fd);
    /* A daemon's child that has another user and still root's HOME: that folder is not this user's. Where it is, its
     * rules would silently not count. */
    if (!dir) {
        const int error = errno;
        if (fd >= 0)
            sys1(SYS_close, fd);
        if (error == EACCES && !trusted && !is_in_own_folder(folder))
            return RESULT_OK;
        return refuse(why, "%s cannot be read: %s", folder, strerror(error));
    }
    *exists = true;
    enum result result = fstat(dirfd(dir), &s) == 0 ? check_owner(&s, folder, trusted, why)
                                                    : refuse(why, "%s cannot be examined", folder);
    if (result == RESULT_OK)
        result = list_folder(dir, folder, paths, count, why);
    closedir(dir);
    if (result != RESULT_OK) {
        source_files_free(*paths, *count);
        *paths = NULL;
        *count = 0;
    }
    return result;
}
