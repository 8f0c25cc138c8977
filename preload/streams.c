/* libc's stdio reads and writes behind the hooks. A stream over a selected number is cut off from it: its calls then
 * fail with EBADF, and no plaintext passes. fdopen and dprintf on a selected number are refused. */
#include "state.h"

#include <errno.h>
#include <execinfo.h>
#include <signal.h>
#include <stdio.h>

/* glibc's list of all open streams; chained through the _chain field of the public struct _IO_FILE. */
extern FILE *_IO_list_all;
extern void _IO_list_lock(void);
extern void _IO_list_unlock(void);

void streams_detach(int fd)
{
    _IO_list_lock();
    for (FILE *f = _IO_list_all; f; f = f->_chain) {
        if (f->_fileno != fd)
            continue;
        f->_fileno = -1;
        log_event(LOG_LEVEL_ERROR,
                  "descriptor %d is a protected connection now, and a stdio stream uses it: not covered yet, the "
                  "stream fails",
                  fd);
    }
    _IO_list_unlock();
}

/* libc writes these straight to the descriptor. */
HOOK void backtrace_symbols_fd(void *const *buffer, int size, int fd)
{
    if (!table_find(fd))
        real()->backtrace_symbols_fd(buffer, size, fd);
}

HOOK void psiginfo(const siginfo_t *info, const char *text)
{
    if (!table_find(STDERR_FILENO))
        real()->psiginfo(info, text);
}

static bool refused(int fd, const char *call)
{
    if (!table_find(fd))
        return false;
    log_event(LOG_LEVEL_ERROR, "%s on protected descriptor %d refused: not covered yet", call, fd);
    errno = EOPNOTSUPP;
    return true;
}

HOOK FILE *fdopen(int fd, const char *mode)
{
    return refused(fd, "fdopen") ? NULL : real()->fdopen(fd, mode);
}
HOOK_ALIAS(fdopen, _IO_fdopen);

HOOK int vdprintf(int fd, const char *format, va_list args)
{
    return refused(fd, "dprintf") ? -1 : real()->vdprintf(fd, format, args);
}

HOOK int dprintf(int fd, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vdprintf(fd, format, args);
    va_end(args);
    return n;
}

int __vdprintf_chk(int fd, int flag, const char *format, va_list args);
HOOK int __vdprintf_chk(int fd, int flag, const char *format, va_list args)
{
    (void)flag;
    return vdprintf(fd, format, args);
}

int __dprintf_chk(int fd, int flag, const char *format, ...);
HOOK int __dprintf_chk(int fd, int flag, const char *format, ...)
{
    (void)flag;
    va_list args;
    va_start(args, format);
    int n = vdprintf(fd, format, args);
    va_end(args);
    return n;
}
