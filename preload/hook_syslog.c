/* syslog(3) with LOG_PERROR writes to descriptor 2 inside libc. While a connection is there, this does it instead. */
#include "state.h"

#include <errno.h>
#include <stdlib.h>
#include <syslog.h>

static const char *_Atomic ident; /* as libc, which keeps the pointer too */
static _Atomic int options, facility = LOG_USER;
static _Atomic bool ours;

HOOK void openlog(const char *name, int option, int which)
{
    if (name)
        atomic_store(&ident, name);
    atomic_store(&options, option);
    if (which && !(which & ~LOG_FACMASK))
        atomic_store(&facility, which);
    atomic_store(&ours, false);
    real()->openlog(name, option, which);
}

/* From the first message on that finds a connection on 2, libc is told to leave it alone. */
static bool prints_here(void)
{
    int option = atomic_load(&options), saved = errno;
    if (!atomic_load(&ours) && (option & LOG_PERROR) && table_word(STDERR_FILENO) != WORD_PLAIN) {
        real()->openlog(NULL, option & ~LOG_PERROR, atomic_load(&facility));
        atomic_store(&ours, true);
    }
    errno = saved; /* the message may hold %m */
    return atomic_load(&ours);
}

static void print(const char *format, va_list args)
{
    char *text;
    const char *name = atomic_load(&ident);
    int len = vasprintf(&text, format, args);
    if (len < 0)
        return;
    const char *end = len && text[len - 1] == '\n' ? "" : "\n";
    if (!name)
        name = program_invocation_short_name;
    if (atomic_load(&options) & LOG_PID)
        dprintf(STDERR_FILENO, "%s[%d]: %s%s", name, (int)getpid(), text, end);
    else
        dprintf(STDERR_FILENO, "%s: %s%s", name, text, end);
    free(text);
}

static void log_text(int priority, int flag, const char *format, va_list args)
{
    va_list copy;
    int saved = errno;
    if (prints_here() && (LOG_MASK(LOG_PRI(priority)) & setlogmask(0))) {
        va_copy(copy, args);
        print(format, copy);
        va_end(copy);
    }
    errno = saved;
    real()->__vsyslog_chk(priority, flag, format, args);
}

HOOK void vsyslog(int priority, const char *format, va_list args)
{
    log_text(priority, -1, format, args);
}

HOOK void syslog(int priority, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_text(priority, -1, format, args);
    va_end(args);
}

HOOK void __vsyslog_chk(int priority, int flag, const char *format, va_list args)
{
    log_text(priority, flag, format, args);
}

void __syslog_chk(int priority, int flag, const char *format, ...);
HOOK void __syslog_chk(int priority, int flag, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_text(priority, flag, format, args);
    va_end(args);
}
