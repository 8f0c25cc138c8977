#include "files.h"

#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static size_t folder_length(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? (size_t)(slash - path) + 1 : 0;
}

/* In a folder that everybody may write to, somebody else's file or link is no place for this user's keys: it could lead
 * anywhere, and a file that is replaced goes on belonging to its owner. */
static bool is_strangers(const char *path, const struct stat *s)
{
    char folder[PATH_MAX];
    struct stat at;
    const size_t len = folder_length(path);

    if (s->st_uid == 0 || s->st_uid == geteuid())
        return false;
    snprintf(folder, sizeof folder, "%.*s", (int)len, path);
    return stat(len ? folder : ".", &at) != 0 || at.st_mode & S_IWOTH;
}

/* What the path leads to, if it is a link: a link that a tool has set stays. One that a stranger puts there after
 * file_may_be_made has found nothing is not followed. NULL: no memory. */
static char *resolved(const char *path)
{
    struct stat s;
    char *real = NULL;

    if (lstat(path, &s) == 0 && S_ISLNK(s.st_mode) && !is_strangers(path, &s))
        real = realpath(path, NULL);
    return real ? real : strdup(path);
}

bool file_may_be_made(const char *path, bool replace)
{
    struct stat s;

    if (!*path || path[strlen(path) - 1] == '/')
        (void)usage_error("'%s' is no name of a file", path);
    else if (lstat(path, &s) != 0 && errno == ENOENT)
        return true;
    else if (lstat(path, &s) != 0)
        (void)failed("cannot look at %s: %s", path, strerror(errno));
    else if (!replace)
        (void)failed("%s is there already; --force replaces it", path);
    else if (is_strangers(path, &s))
        (void)failed("%s is another user's, in a folder that everybody may write to", path);
    else if (stat(path, &s) == 0 && !S_ISREG(s.st_mode))
        (void)failed("%s is there already, and is no regular file", path);
    else
        return true;
    return false;
}

static bool write_all(int fd, const char *bytes, size_t len)
{
    while (len) {
        const ssize_t n = write(fd, bytes, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        bytes += n;
        len -= (size_t)n;
    }
    return true;
}

/* Who has the old file goes on having it: root renews what is another user's. Not who has put one there meanwhile, to
 * be given the key. */
static bool take_owner(int fd, const char *target)
{
    struct stat old, made;

    if (lstat(target, &old) != 0)
        return errno == ENOENT;
    if (is_strangers(target, &old)) {
        errno = EEXIST;
        return false;
    }
    if (fstat(fd, &made) != 0)
        return false;
    return (old.st_uid == made.st_uid && old.st_gid == made.st_gid) || fchown(fd, old.st_uid, old.st_gid) == 0;
}

/* Some file systems cannot sync (EINVAL). */
static bool finish(int fd, mode_t mode, const char *target)
{
    return take_owner(fd, target) && fchmod(fd, mode) == 0 && (fsync(fd) == 0 || errno == EINVAL);
}

static mode_t final_mode(mode_t mode, const char *target)
{
    const mode_t mask = umask(077);
    struct stat old;

    umask(mask);
    if (mode == MODE_KEPT)
        return lstat(target, &old) == 0 ? old.st_mode & 0664 : MODE_SECRET;
    return mode == MODE_SECRET ? mode : mode & ~mask;
}

static bool fill(int fd, const void *bytes, size_t len, mode_t mode, const char *target)
{
    const bool good = write_all(fd, bytes, len) && finish(fd, final_mode(mode, target), target);
    const int error = errno;

    if (close(fd) == 0 || !good) {
        errno = error;
        return good;
    }
    return false;
}

/* While there is a temporary file, nobody's Ctrl-C leaves it behind. */
static void hold_signals(bool hold)
{
    static sigset_t before;
    static unsigned files;
    sigset_t ending;

    sigemptyset(&ending);
    sigaddset(&ending, SIGINT);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGHUP);
    if (hold && files++ == 0)
        sigprocmask(SIG_BLOCK, &ending, &before);
    if (!hold && --files == 0)
        sigprocmask(SIG_SETMASK, &before, NULL);
}

bool file_prepare(struct new_file *file, const char *path, const void *bytes, size_t len, mode_t mode, bool replace)
{
    *file = (struct new_file){.path = path, .replace = replace};
    if (!file_may_be_made(path, replace))
        return false;
    file->target = resolved(path);
    if (!file->target ||
        asprintf(&file->temporary, "%.*s.p2ptls-XXXXXX", (int)folder_length(file->target), file->target) < 0) {
        file->temporary = NULL;
        file_discard(file);
        (void)failed("out of memory");
        return false;
    }
    hold_signals(true);
    const int fd = mkostemp(file->temporary, O_CLOEXEC);
    if (fd >= 0 && fill(fd, bytes, len, mode, file->target))
        return true;
    const int error = errno;
    if (fd < 0)
        file->published = true; /* there is nothing to take away */
    file_discard(file);
    (void)failed("cannot write %s: %s", path, strerror(error));
    return false;
}

void file_discard(struct new_file *file)
{
    if (file->temporary && !file->published)
        unlink(file->temporary);
    if (file->temporary)
        hold_signals(false);
    free(file->temporary);
    free(file->target);
    file->temporary = file->target = NULL;
}

static void sync_folder(const char *path)
{
    char folder[PATH_MAX];
    const size_t len = folder_length(path);

    snprintf(folder, sizeof folder, "%.*s", (int)len, path);
    const int fd = open(len ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
}

/* Without --force a file that somebody else has made meanwhile stays: link(2) where the file system does not know of
 * RENAME_NOREPLACE. */
static bool give_name(const struct new_file *file)
{
    if (file->replace)
        return rename(file->temporary, file->target) == 0;
    if (renameat2(AT_FDCWD, file->temporary, AT_FDCWD, file->target, RENAME_NOREPLACE) == 0)
        return true;
    if (errno != EINVAL && errno != ENOSYS)
        return false;
    if (link(file->temporary, file->target) != 0)
        return false;
    unlink(file->temporary);
    return true;
}

bool file_publish(struct new_file *file)
{
    file->published = give_name(file);
    if (!file->published)
        (void)failed("cannot write %s: %s", file->path, strerror(errno));
    else
        sync_folder(file->target);
    return file->published;
}

bool file_publish_both(struct new_file *first, struct new_file *second)
{
    bool done = file_publish(first);

    if (done && !file_publish(second)) {
        done = false;
        if (!first->replace)
            unlink(first->target);
    }
    file_discard(first);
    file_discard(second);
    return done;
}

bool file_write(const char *path, const void *bytes, size_t len, mode_t mode, bool replace)
{
    struct new_file file;

    if (!file_prepare(&file, path, bytes, len, mode, replace))
        return false;
    const bool done = file_publish(&file);
    file_discard(&file);
    return done;
}
