/* Reads key, certificate, CA and PSK files, and refuses those that somebody else could read or change. */
#include "identity_internal.h"

#include "bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void secret_wipe(struct secret_bytes *s)
{
    if (s->bytes)
        wipe(s->bytes, s->len);
    free(s->bytes);
    *s = (struct secret_bytes){0};
}

static enum result check_owner_and_mode(const struct stat *st, const char *shown, enum file_kind kind, char *why)
{
    const unsigned mode = (unsigned)st->st_mode & 07777u;

    if (st->st_uid != 0 && st->st_uid != geteuid())
        return identity_refuse(why,
                               "%s belongs to user id %u, who could change it: it must belong to root or to user id %u",
                               shown, (unsigned)st->st_uid, (unsigned)geteuid());
    /* An access control list shows in the group bits too (acl(5): they are its mask). */
    if (kind == FILE_SECRET && mode & (S_IRWXG | S_IRWXO))
        return identity_refuse(why, "%s holds a secret, but its mode %04o lets others use it: chmod 600 %s", shown,
                               mode, shown);
    if (mode & S_IWOTH)
        return identity_refuse(why, "%s can be changed by everyone (mode %04o): chmod o-w %s", shown, mode, shown);
    return RESULT_OK;
}

static enum result check_file(int fd, const char *shown, enum file_kind kind, size_t *size, char *why)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return identity_refuse(why, "cannot examine %s: %s", shown, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return identity_refuse(why, "%s is not a regular file", shown);
    if (st.st_size > IDENTITY_FILE_MAX)
        return identity_refuse(why, "%s is larger than %d bytes: not a key or certificate file", shown,
                               IDENTITY_FILE_MAX);
    *size = (size_t)st.st_size;
    return check_owner_and_mode(&st, shown, kind, why);
}

static enum result read_whole(int fd, const char *shown, size_t size, struct secret_bytes *out, char *why)
{
    size_t got = 0;

    out->bytes = calloc(1, size + 1);
    if (!out->bytes)
        return identity_nomem(why);
    out->len = size;
    while (got < size) {
        ssize_t n = read(fd, out->bytes + got, size - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return identity_refuse(why, "cannot read %s: %s", shown, strerror(errno));
        if (n == 0)
            break;
        got += (size_t)n;
    }
    out->len = got;
    if (got == 0)
        return identity_refuse(why, "%s is empty", shown);
    return RESULT_OK;
}

/* O_NONBLOCK: opening a FIFO would otherwise wait for a writer. Links are followed (certificate managers rotate
 * files with them); what counts is the file behind them, so the checks look at the open descriptor. */
static int open_for_reading(int dir_fd, const char *path)
{
    int fd;

    do
        fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    while (fd < 0 && errno == EINTR);
    return fd;
}

enum result identity_file_read(int dir_fd, const char *path, const char *shown, enum file_kind kind,
                               struct secret_bytes *out, char *why)
{
    size_t size = 0;
    const int fd = open_for_reading(dir_fd, path);

    *out = (struct secret_bytes){0};
    if (fd < 0) {
        const int open_errno = errno;
        identity_refuse(why, "cannot open %s: %s", shown, strerror(open_errno));
        errno = open_errno;
        return open_errno == EMFILE || open_errno == ENFILE || open_errno == ENOMEM ? RESULT_IO : RESULT_CONFIG;
    }
    enum result r = check_file(fd, shown, kind, &size, why);
    if (r == RESULT_OK)
        r = read_whole(fd, shown, size, out, why);
    if (r != RESULT_OK)
        secret_wipe(out);
    close(fd);
    errno = 0;
    return r;
}
