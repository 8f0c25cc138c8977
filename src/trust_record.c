/* Records a first contact in the file of known peers. Of several processes that meet a peer at once, one records it and
 * the others compare: all of them hold a lock while they look and append. */
#define LOG_CATEGORY LOG_CATEGORY_IDENTITY

#include "trust_known.h"

#include "folders.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOCK_TRIES = 200, LOCK_PAUSE_NS = 10 * 1000 * 1000 };

static bool fail(char *reason, const char *what, const char *path)
{
    snprintf(reason, REASON_MAX, "is met for the first time and cannot be recorded: cannot %s %.160s: %s", what, path,
             strerror(errno));
    return false;
}

/* False: root would leave files there that the user whose folder it is could not read. What else is wrong shows when
 * the file is opened. */
static bool make_folder(const char *path, char *reason)
{
    char folder[sizeof((struct known_peers *)NULL)->path];

    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (!slash || slash == folder)
        return true;
    *slash = '\0';
    if (folders_make(folder) != FOLDERS_ANOTHERS && !folder_is_anothers(folder))
        return true;
    snprintf(reason, REASON_MAX,
             "is met for the first time and cannot be recorded: root writes no %.160s where another user is at home: "
             "set HOME or XDG_STATE_HOME to root's own, or known-peers= to a file of root's",
             path);
    return false;
}

/* flock and not fcntl: a record lock goes when this process closes any other descriptor of the file. The lock is a
 * file of its own, since p2ptls trust replaces the other one. */
static int take_lock(const char *path, char *reason)
{
    char lock[sizeof((struct known_peers *)NULL)->path + 8];
    const struct timespec pause = {0, LOCK_PAUSE_NS};

    snprintf(lock, sizeof lock, "%s.lock", path);
    const int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        fail(reason, "open", lock);
        return -1;
    }
    for (int i = 0; i < LOCK_TRIES; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return fd;
        if (errno != EWOULDBLOCK && errno != EINTR)
            break;
        nanosleep(&pause, NULL);
    }
    fail(reason, "lock", lock);
    close(fd);
    return -1;
}

/* A byte beyond RLIMIT_FSIZE would raise SIGXFSZ in a program that knows nothing of this file. */
static bool fits_file_limit(int fd, size_t len)
{
    struct rlimit limit;
    struct stat s;

    if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || fstat(fd, &s) != 0)
        return false;
    if (limit.rlim_cur == RLIM_INFINITY || (rlim_t)s.st_size + len <= limit.rlim_cur)
        return true;
    errno = EFBIG;
    return false;
}

static bool write_all(int fd, const char *text, size_t len)
{
    if (!fits_file_limit(fd, len))
        return false;
    for (size_t at = 0; at < len;) {
        const ssize_t n = write(fd, text + at, len - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += (size_t)n;
    }
    return fsync(fd) == 0;
}

static void sync_folder(const char *path)
{
    char folder[sizeof((struct known_peers *)NULL)->path];

    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (!slash || slash == folder)
        return;
    *slash = '\0';
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
}

/* The whole line or nothing of it: half a line, of a full disk, would keep everybody from the file. The lock is held.
 */
static bool write_line(int fd, off_t size, const char *line, size_t len)
{
    if (write_all(fd, line, len))
        return true;
    const int error = errno;
    if (ftruncate(fd, size) != 0)
        log_event(LOG_LEVEL_ERROR, "known peers: half a line could not be taken back: %s", strerror(errno));
    errno = error;
    return false;
}

/* Somebody may have written the last line without its end. */
static bool ends_in_a_line(int fd, off_t size)
{
    char last = '\n';

    return size <= 0 || (pread(fd, &last, 1, size - 1) == 1 && last == '\n');
}

static bool append(const char *path, const char *where, const uint8_t hash[KEY_HASH_BYTES], char *reason)
{
    char fingerprint[FINGERPRINT_TEXT], line[KNOWN_WHERE_MAX + FINGERPRINT_TEXT + 40], date[32] = "";
    const time_t now = time(NULL);
    struct tm tm;

    const int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail(reason, "open", path);
    const off_t size = lseek(fd, 0, SEEK_END);
    trust_print_fingerprint(hash, fingerprint);
    if (gmtime_r(&now, &tm))
        strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &tm);
    const int n =
        snprintf(line, sizeof line, "%s%s %s %s\n", ends_in_a_line(fd, size) ? "" : "\n", where, fingerprint, date);
    const bool good = size >= 0 && n > 0 && (size_t)n < sizeof line && write_line(fd, size, line, (size_t)n);
    if (!good)
        fail(reason, "write", path);
    close(fd);
    if (good)
        sync_folder(path);
    return good;
}

static enum known_answer record_locked(struct known_peers *known, const char *where, const uint8_t *hash,
                                       uint8_t *recorded, char *reason)
{
    if (known_peers_refresh(known, true) != RESULT_OK) {
        snprintf(reason, REASON_MAX, "is met for the first time and cannot be recorded: %.250s", known->why);
        return KNOWN_UNREADABLE;
    }
    const enum known_answer answer = known_peers_look_up(known, where, hash, recorded);
    if (answer != KNOWN_FIRST)
        return answer;
    if (!append(known->path, where, hash, reason))
        return KNOWN_UNREADABLE;
    char fingerprint[FINGERPRINT_TEXT];
    trust_print_fingerprint(hash, fingerprint);
    log_event(LOG_LEVEL_WARN, "%.100s is met for the first time; its key %s is recorded in %.200s", where, fingerprint,
              known->path);
    result_ignore(known_peers_refresh(known, true));
    return KNOWN_SAME;
}

enum known_answer known_peers_record(struct known_peers *known, const char *host, uint16_t port,
                                     const uint8_t hash[KEY_HASH_BYTES], uint8_t recorded[KEY_HASH_BYTES],
                                     char reason[REASON_MAX])
{
    char where[KNOWN_WHERE_MAX];
    enum known_answer answer = KNOWN_UNREADABLE;

    if (!known_peers_where(host, port, where)) {
        snprintf(reason, REASON_MAX, "cannot be recorded: the name that was dialled is no host name");
        return KNOWN_UNREADABLE;
    }
    pthread_mutex_lock(&known->lock);
    /* Looked at before the lock: a chroot must not get a file of its own. */
    if (known_peers_refresh(known, false) != RESULT_OK) {
        snprintf(reason, REASON_MAX, "is met for the first time and cannot be recorded: %.250s", known->why);
    } else if (make_folder(known->path, reason)) {
        const int lock = take_lock(known->path, reason);
        if (lock >= 0) {
            answer = record_locked(known, where, hash, recorded, reason);
            close(lock);
        }
    }
    pthread_mutex_unlock(&known->lock);
    return answer;
}
