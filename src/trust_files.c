/* Reads the files behind ca= and crl=: single ones and folders. */
#include "trust_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FOLDER_FILES_MAX = 4096 };

static bool ends_in(const char *name, const char *const *suffixes)
{
    const size_t len = strlen(name);

    for (; *suffixes; suffixes++) {
        const size_t n = strlen(*suffixes);
        if (len > n && strcmp(name + len - n, *suffixes) == 0)
            return name[0] != '.';
    }
    return false;
}

static enum result read_one(int dir_fd, const char *path, const char *shown, trust_file_fn each, void *ctx, char *why)
{
    struct secret_bytes bytes;
    enum result r = identity_file_read(dir_fd, path, shown, FILE_PUBLIC, &bytes, why);

    if (r == RESULT_OK)
        r = each(ctx, &bytes, shown, why);
    secret_wipe(&bytes);
    return r;
}

/* In a fixed order, so that of several broken files the same one is named each time. */
static enum result read_entries(int fd, const char *path, char *const *names, size_t count, trust_file_fn each,
                                void *ctx, char *why)
{
    enum result r = RESULT_OK;

    for (size_t i = 0; i < count && r == RESULT_OK; i++) {
        char shown[512];
        snprintf(shown, sizeof shown, "%.240s/%.240s", path, names[i]);
        r = read_one(fd, names[i], shown, each, ctx, why);
    }
    return r;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum result list_names(DIR *dir, const char *path, const char *const *suffixes, char ***names, size_t *count,
                              char *why)
{
    for (const struct dirent *entry; (entry = readdir(dir));) {
        if (!ends_in(entry->d_name, suffixes))
            continue;
        if (*count == FOLDER_FILES_MAX)
            return identity_refuse(why, "%.200s holds more than %d files: join them", path, FOLDER_FILES_MAX);
        char **more = realloc(*names, (*count + 1) * sizeof **names);
        if (more)
            *names = more;
        char *copy = more ? strdup(entry->d_name) : NULL;
        if (!copy)
            return identity_nomem(why);
        (*names)[(*count)++] = copy;
    }
    if (*count == 0)
        return identity_refuse(why, "the folder %.200s holds no file that ends in %s", path, suffixes[0]);
    qsort(*names, *count, sizeof **names, compare_names);
    return RESULT_OK;
}

/* Whoever may put files into the folder decides who is trusted. */
static enum result check_folder(int fd, const char *path, char *why)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return identity_refuse(why, "cannot examine %.200s: %s", path, strerror(errno));
    if (st.st_uid != 0 && st.st_uid != geteuid())
        return identity_refuse(why, "the folder %.200s belongs to user id %u: it must belong to root or to user id %u",
                               path, (unsigned)st.st_uid, (unsigned)geteuid());
    if (st.st_mode & S_IWOTH)
        return identity_refuse(why, "everyone can add files to the folder %.200s: chmod o-w it", path);
    return RESULT_OK;
}

static enum result read_folder(int fd, const char *path, const char *const *suffixes, trust_file_fn each, void *ctx,
                               char *why)
{
    char **names = NULL;
    size_t count = 0;
    enum result r = check_folder(fd, path, why);
    DIR *dir = r == RESULT_OK ? fdopendir(fd) : NULL;

    if (!dir) {
        close(fd);
        return r == RESULT_OK ? identity_refuse(why, "cannot read the folder %.200s: %s", path, strerror(errno)) : r;
    }
    r = list_names(dir, path, suffixes, &names, &count, why);
    if (r == RESULT_OK)
        r = read_entries(fd, path, names, count, each, ctx, why);
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
    closedir(dir);
    return r;
}

static enum result read_path(const char *path, const char *const *suffixes, trust_file_fn each, void *ctx, char *why)
{
    int fd;

    do
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    if (fd >= 0)
        return read_folder(fd, path, suffixes, each, ctx, why);
    return read_one(AT_FDCWD, path, path, each, ctx, why);
}

enum result trust_files_read(const char *list, const char *const *suffixes, trust_file_fn each, void *ctx, char *why)
{
    char *copy = strdup(list), *rest = copy;
    enum result r = copy ? RESULT_OK : identity_nomem(why);

    for (const char *path; r == RESULT_OK && (path = strsep(&rest, ","));)
        if (*path)
            r = read_path(path, suffixes, each, ctx, why);
    free(copy);
    return r;
}
