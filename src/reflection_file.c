/* Where the registry of open hellos lies: STATE_DIR/hellos, or where no such file can be, /dev/shm/p2ptls-UID. Somebody
 * else's file, a link, or one that others can read or write is not used. */
#include "reflection.h"

#include "identity_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* NULL, or what is wrong with it. */
static const char *find_fault(int fd)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return "it cannot be examined";
    if (!S_ISREG(st.st_mode))
        return "it is no regular file";
    if (st.st_uid != geteuid())
        return "it belongs to another user";
    if (st.st_mode & 077)
        return "others may read or write it (chmod 600)";
    return NULL;
}

/* No link is followed, and nothing is waited for (a FIFO that somebody put there). */
static int open_file(int dir, const char *path, const char **fault)
{
    const int flags = O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    int fd = openat(dir, path, flags);

    if (fd < 0 && errno == ENOENT)
        fd = openat(dir, path, flags | O_CREAT, 0600);
    if (fd < 0) {
        *fault = strerror(errno);
        return -1;
    }
    if (!(*fault = find_fault(fd)))
        return fd;
    close(fd);
    return -1;
}

static int open_in_state(const char *state_dir, char fault[REFLECTION_WHY_MAX])
{
    const char *why = "";
    int dir, fd;

    if (!state_dir) {
        snprintf(fault, REFLECTION_WHY_MAX, "there is no HOME");
        return -1;
    }
    if (identity_auto_directory(state_dir, &dir, fault) != RESULT_OK)
        return -1;
    fd = open_file(dir, "hellos", &why);
    close(dir);
    if (fd < 0)
        snprintf(fault, REFLECTION_WHY_MAX, "%s", why);
    return fd;
}

_Static_assert((int)REFLECTION_WHY_MAX >= (int)IDENTITY_WHY_MAX, "a sentence of identity_auto_directory has room");

enum result reflection_open(const char *state_dir, const char *fallback, hide_descriptor hide, struct reflection **out,
                            char why[REFLECTION_WHY_MAX])
{
    char fault[REFLECTION_WHY_MAX] = "";
    const char *second = "there is none";
    int fd = open_in_state(state_dir, fault);

    *out = NULL;
    if (fd < 0 && fallback)
        fd = open_file(AT_FDCWD, fallback, &second);
    if (fd >= 0 && hide)
        fd = hide(fd);
    if (fd >= 0 && !(*out = reflection_new(fd)))
        close(fd);
    if (*out)
        return RESULT_OK;
    snprintf(why, REFLECTION_WHY_MAX,
             "a pre-shared key needs a file that tells reflected connections: %.70s/hellos (%.90s) and %.30s (%.40s) "
             "cannot be used; make one of them usable, or use certificates",
             state_dir ? state_dir : "~/.local/state/p2ptls", fault, fallback ? fallback : "/dev/shm", second);
    return RESULT_CONFIG;
}

void reflection_close(struct reflection *r)
{
    if (r)
        close(reflection_release(r));
}

static pthread_mutex_t share_lock = PTHREAD_MUTEX_INITIALIZER;
static struct reflection *_Atomic shared;

enum result reflection_share(const char *state_dir, hide_descriptor hide, char why[REFLECTION_WHY_MAX])
{
    char fallback[64];
    struct reflection *fresh;
    enum result result = RESULT_OK;

    if (shared)
        return RESULT_OK;
    snprintf(fallback, sizeof fallback, "/dev/shm/p2ptls-%u", (unsigned)geteuid());
    pthread_mutex_lock(&share_lock);
    if (!shared && (result = reflection_open(state_dir, fallback, hide, &fresh, why)) == RESULT_OK)
        shared = fresh;
    pthread_mutex_unlock(&share_lock);
    return result;
}

struct reflection *reflection_shared(void)
{
    return shared;
}

void reflection_forked(void)
{
    pthread_mutex_init(&share_lock, NULL);
    if (shared)
        reflection_relock(shared);
}
