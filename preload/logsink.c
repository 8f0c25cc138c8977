/* Where log lines go: P2PTLS_LOG (log_setting.c), target stderr (the default), syslog, journal, or an absolute file
 * name. Lines never go to a descriptor 2 that the program has since made into something else: its identity (device and
 * inode) is noted at the start and compared before each line. Where descriptor 2 is journald's, lines go there with
 * their fields. */
#include "logsink.h"

#include "state.h"

#include "sys.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

enum log_level logsink_levels[LOG_CATEGORIES];
static enum log_form form;
static enum log_target target;
static struct stat stderr_at_start;
static bool have_stderr;
static _Atomic int file_fd = -1;
static pid_t known_pid; /* in a sandbox that forbids to ask */
static bool mute;

static void complain(const char *text, const char *what)
{
    struct iovec iov[] = {
        {(char *)"p2ptls: ", 8}, {(char *)text, strlen(text)}, {(char *)what, strlen(what)}, {(char *)"\n", 1}};
    sys3(SYS_writev, 2L, iov, 4L);
}

/* A FIFO, which another user may have put there, must not stop the program: neither before main, as long as nobody
 * reads from it, nor later, when nobody does any more. */
static void open_file(const char *path)
{
    const long how = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    long fd = sys4(SYS_openat, (long)AT_FDCWD, path, how, 0600L);
    if (fd >= 0)
        file_fd = hide_descriptor_number((int)fd);
    if (file_fd >= 0)
        target = TARGET_FILE;
    else
        complain("P2PTLS_LOG: cannot open (lines go to stderr): ", path);
}

static void choose_target(const char *name)
{
    if (strcmp(name, "syslog") == 0)
        target = TARGET_SYSLOG;
    else if (strcmp(name, "journal") == 0)
        target = TARGET_JOURNAL;
    else if (name[0] == '/')
        open_file(name);
    else if (strcmp(name, "stderr") != 0)
        complain("P2PTLS_LOG: unknown target (lines go to stderr): ", name);
}

void logsink_open(const char *text)
{
    struct log_setting setting;
    hidden_own(&file_fd);
    have_stderr = sys2(SYS_fstat, 2L, &stderr_at_start) == 0;
    log_setting_parse(text, &setting);
    memcpy(logsink_levels, setting.levels, sizeof logsink_levels);
    form = setting.form;
    if (setting.wrong)
        complain("P2PTLS_LOG: expected silent, error, warn, info or debug, then perhaps ,logfmt or ,json, "
                 ",CATEGORY=LEVEL, then perhaps :stderr, :syslog, :journal or :/FILE; found ",
                 setting.wrong);
    if (setting.target)
        choose_target(setting.target);
    else if (form == LOG_FORM_TEXT && log_journal_is_stderr())
        target = TARGET_JOURNAL;
    log_set_sink(logsink_write, LOG_LEVEL_SILENT);
    for (int i = 0; i < LOG_CATEGORIES; i++)
        log_set_threshold((enum log_category)i, logsink_levels[i]);
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

/* The daemon writes the time, and who it was. */
static void to_syslog(const struct log_entry *e, const char *line, size_t len)
{
    static const struct sockaddr_un daemon_at = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
    static const unsigned char priorities[] = {7, 3, 4, 6, 7}; /* syslog(3) */
    char text[LOG_FORMATTED_MAX + 64];
    const char *body = line;
    if (form == LOG_FORM_TEXT && (body = strstr(line, "]: ")) && (body = strstr(body + 3, ": ")))
        body += 2;
    else
        body = line;
    int n = snprintf(text, sizeof text, "<%d>p2ptls[%d]: %.*s", 8 | priorities[e->level], (int)own_pid(),
                     (int)(len - 1 - (size_t)(body - line)), body);
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
    int keep = (target == TARGET_STDERR || target == TARGET_JOURNAL) && stderr_is_still_ours() &&
                       !S_ISREG(stderr_at_start.st_mode)
                   ? hidden_dup(2)
                   : -1;
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

static void to_file(const char *line, size_t len)
{
    library_enter(); /* our number stays ours until it is used */
    const int fd = target == TARGET_FILE ? file_fd : 2;
    if (!too_large(fd, (int)len))
        sys3(SYS_write, (long)fd, line, (long)len);
    library_leave();
}

void logsink_write(const struct log_entry *e)
{
    char line[LOG_FORMATTED_MAX];
    if (mute)
        return;
    if (target == TARGET_JOURNAL && log_journal_send(e, program_invocation_short_name))
        return;
    if ((target == TARGET_STDERR || target == TARGET_JOURNAL) && !stderr_is_still_ours())
        return;
    struct timespec now = {0};
    if (form != LOG_FORM_TEXT)
        clock_gettime(CLOCK_REALTIME, &now);
    const struct log_origin origin = {.pid = own_pid(),
                                      .program = program_invocation_short_name,
                                      .time_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000};
    const size_t len = log_format(e, form, &origin, line);
    if (target == TARGET_SYSLOG)
        to_syslog(e, line, len);
    else
        to_file(line, len);
}
