#include "known.h"

#include "files.h"
#include "folders.h"
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { LOCK_TRIES = 1000, LOCK_PAUSE_NS = 10 * 1000 * 1000 };

bool known_file_find(struct known_file *known, const char *file)
{
    char folder[PATH_MAX - 20], here[PATH_MAX];

    *known = (struct known_file){.lock = -1};
    if (!file) {
        if (!find_state_folder(folder, sizeof folder))
            return false;
        snprintf(known->path, sizeof known->path, "%s/known_peers", folder);
        return true;
    }
    const bool absolute = file[0] == '/';
    if (!absolute && !getcwd(here, sizeof here))
        (void)failed("cannot tell the current folder: %s", strerror(errno));
    else if (snprintf(known->path, sizeof known->path, "%s%s%s", absolute ? "" : here, absolute ? "" : "/", file) >=
             (int)sizeof known->path)
        (void)failed("the path of the file is too long");
    else
        return true;
    return false;
}

/* What root makes in a folder of another user's, that user could neither read nor replace. */
static bool make_folder(const char *path)
{
    char folder[PATH_MAX];

    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    slash[slash == folder] = '\0';
    switch (folders_make(folder)) {
    case FOLDERS_ANOTHERS:
        break;
    case FOLDERS_FAILED:
        (void)failed("cannot make the folder %s: %s", folder, strerror(errno));
        return false;
    case FOLDERS_THERE:
        if (!folder_is_anothers(folder))
            return true;
    }
    (void)failed("the folder of %s is another user's: run this as that user", path);
    return false;
}

/* The lock that the library takes, too. */
static bool take_lock(struct known_file *known)
{
    char path[PATH_MAX + 8];
    const struct timespec pause = {0, LOCK_PAUSE_NS};

    snprintf(path, sizeof path, "%s.lock", known->path);
    known->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    for (int i = 0; known->lock >= 0 && i < LOCK_TRIES; i++) {
        if (flock(known->lock, LOCK_EX | LOCK_NB) == 0)
            return true;
        if (errno != EWOULDBLOCK && errno != EINTR)
            break;
        nanosleep(&pause, NULL);
    }
    if (known->lock >= 0 && errno == EWOULDBLOCK)
        (void)failed("somebody else keeps %s", path);
    else
        (void)failed("cannot lock %s: %s", path, strerror(errno));
    return false;
}

bool known_file_open(struct known_file *known, bool for_change)
{
    struct secret_bytes text;
    char why[IDENTITY_WHY_MAX] = "";

    if (for_change && (!make_folder(known->path) || !take_lock(known)))
        return false;
    const int fd = open(known->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat s;
    const bool is_empty = fd >= 0 && fstat(fd, &s) == 0 && S_ISREG(s.st_mode) && s.st_size == 0;
    const bool is_absent = fd < 0 && errno == ENOENT;
    if (fd >= 0)
        close(fd);
    if (is_empty || is_absent)
        return true;
    if (identity_file_read(AT_FDCWD, known->path, known->path, FILE_PUBLIC, &text, why) != RESULT_OK) {
        (void)failed("%s", why);
        return false;
    }
    known->text = (char *)text.bytes;
    known->len = text.len;
    return true;
}

void known_file_close(struct known_file *known)
{
    free(known->text);
    known->text = NULL;
    if (known->lock >= 0)
        close(known->lock);
    known->lock = -1;
}

bool known_file_next(const struct known_file *known, struct known_line *line)
{
    if (!known->text || line->next >= known->len)
        return false;
    const char *end = memchr(known->text + line->next, '\n', known->len - line->next);
    line->at = known->text + line->next;
    line->len = end ? (size_t)(end - line->at) : known->len - line->next;
    line->next += line->len + 1;
    line->number++;
    line->understood = known_peers_parse_line(line->at, line->len, &line->entry);
    return true;
}

bool known_file_replace(struct known_file *known, const char *text, size_t len)
{
    return file_write(known->path, text, len, MODE_KEPT, true);
}
