/* Where log lines go: P2PTLS_LOG=LEVEL[:TARGET], target stderr (the default), syslog, or an absolute file name. Lines
 * never go to a descriptor 2 that the program has since made into something else: its identity (device and inode) is
 * noted at the start and compared before each line. */
#include "state.h"

#include "sys.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>

enum target { TARGET_STDERR = 0, TARGET_SYSLOG, TARGET_FILE };

enum log_level logsink_level = LOG_LEVEL_WARN;
static enum target target;
static struct stat stderr_at_start;
static bool have_stderr;
static _Atomic int file_fd = -1;
static pid_t known_pid; /* in a sandbox that forbids to ask */
static bool mute;

static const struct {
    const char *word;
    enum log_level level;
    int priority; /* syslog(3): LOG_USER | severity */
} levels[] = {
    {"silent", LOG_LEVEL_SILENT, 0}, {"error", LOG_LEVEL_ERROR, 8 | 3}, {"warn", LOG_LEVEL_WARN, 8 | 4},
    {"info", LOG_LEVEL_INFO, 8 | 6}, {"debug", LOG_LEVEL_DEBUG, 8 | 7},
};

static void complain(const char *text, const char *what)
{
    struct iovec iov[] = {
        {(char *)"p2ptls: ", 8}, {(char *)text, strlen(text)}, {(char *)what, strlen(what)}, {(char *)"\n", 1}};
    sys3(SYS_writev, 2L, iov, 4L);
}

static bool parse_level(const char *word, size_t len)
{
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        if (strlen(levels[i].word) == len && memcmp(levels[i].word, word, len) == 0) {
            logsink_level = levels[i].level;
            return true;
        }
    }
    return false;
}

void logsink_open(const char *setting)
{
    hidden_own(&file_fd);
    have_stderr = fstat(2, &stderr_at_start) == 0;
    if (!setting || !*setting)
        return;
    const char *colon = strchr(setting, ':');
    size_t len = colon ? (size_t)(colon - setting) : strlen(setting);
    if (!parse_level(setting, len))
        complain(
            "P2PTLS_LOG: expected silent, error, warn, info or debug, then perhaps :stderr, :syslog or :/FILE; found ",
            setting);
    if (!colon || strcmp(colon, ":stderr") == 0)
        return;
    if (strcmp(colon, ":syslog") == 0) {
        target = TARGET_SYSLOG;
    } else if (colon[1] == '/') {
        long fd = sys4(SYS_openat, (long)AT_FDCWD, colon + 1,
                       (long)(O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY), 0600L);
        if (fd >= 0)
            file_fd = hide_descriptor_number((int)fd);
        if (file_fd >= 0)
            target = TARGET_FILE;
        else
            complain("P2PTLS_LOG: cannot open (lines go to stderr): ", colon + 1);
    } else {
        complain("P2PTLS_LOG: unknown target (lines go to stderr): ", colon + 1);
    }
}

/* RLIMIT_FSIZE: a write behind it ends the program. */
static bool too_large(int fd, int more)
{
    struct rlimit size;
    struct stat s;
    if (known_pid || getrlimit(RLIMIT_FSIZE, &size) != 0 || size.rlim_cur == RLIM_INFINITY)
        return false;
    return fstat(fd, &s) == 0 && S_ISREG(s.st_mode) && (rlim_t)s.st_size + (rlim_t)more > size.rlim_cur;
}

static pid_t own_pid(void)
{
    return forbidden.self ? known_pid : getpid();
}

static void to_syslog(size_t i, const char *line)
{
    static const struct sockaddr_un daemon_at = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
    char text[LOG_LINE_MAX + 64];
    int n = snprintf(text, sizeof text, "<%d>p2ptls[%d]: %s", levels[i].priority, (int)own_pid(), line);
    long fd = sys3(SYS_socket, (long)AF_UNIX, (long)(SOCK_DGRAM | SOCK_CLOEXEC), 0L);
    if (fd < 0)
        return;
    sys6(SYS_sendto, fd, SYS_ARG(text), n, MSG_DONTWAIT | MSG_NOSIGNAL, SYS_ARG(&daemon_at), sizeof daemon_at);
    sys1(SYS_close, fd);
}

static bool stderr_is_still_ours(void)
{
    struct stat now;
    return have_stderr && fstat(2, &now) == 0 && now.st_dev == stderr_at_start.st_dev &&
           now.st_ino == stderr_at_start.st_ino;
}

/* A sandbox: stderr can no longer be compared, a socket to syslog perhaps not be made, and with RLIMIT_FSIZE a write to
 * a file may end the program (SIGXFSZ). */
void logsink_before_filter(bool blind)
{
    struct rlimit size;
    bool limited = getrlimit(RLIMIT_FSIZE, &size) == 0 && size.rlim_cur != RLIM_INFINITY;
    known_pid = getpid();
    if (!blind && !limited)
        return;
    int keep =
        target == TARGET_STDERR && stderr_is_still_ours() && !S_ISREG(stderr_at_start.st_mode) ? hidden_dup(2) : -1;
    if (keep >= 0) {
        target = TARGET_FILE;
        file_fd = keep;
    }
    mute = target != TARGET_FILE || (limited && keep < 0);
}

void logsink_no_filter(void)
{
    mute = false;
    known_pid = 0;
}

void logsink_write(enum log_level level, const char *line)
{
    if (mute)
        return;
    size_t i = 0;
    while (i + 1 < sizeof levels / sizeof levels[0] && levels[i].level != level)
        i++;
    if (target == TARGET_SYSLOG) {
        to_syslog(i, line);
        return;
    }
    if (target == TARGET_STDERR && !stderr_is_still_ours())
        return;
    char text[LOG_LINE_MAX + 64];
    int n = snprintf(text, sizeof text, "p2ptls[%d]: %s: %s\n", (int)own_pid(), levels[i].word, line);
    if (n > (int)sizeof text - 1)
        n = (int)sizeof text - 1;
    library_enter(); /* our number stays ours until it is used */
    int fd = target == TARGET_FILE ? file_fd : 2;
    if (!too_large(fd, n))
        sys3(SYS_write, (long)fd, text, (long)n);
    library_leave();
}
