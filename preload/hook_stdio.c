/* The functions of stdio that open and close descriptors, or write to them without a stream, inside libc. */
#include "state.h"

#include "sys.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <wchar.h>

/* Adopted also on a socket that is not connected yet, by whomever it will be. */
HOOK FILE *fdopen(int fd, const char *mode)
{
    struct desc *d = table_find(fd);
    if (d && desc_special(d) == EBADF) {
        errno = EBADF;
        return NULL;
    }
    FILE *f = real()->fdopen(fd, mode);
    if (f && table_word(fd) != WORD_PLAIN)
        streams_adopt(fd);
    return f;
}
HOOK_ALIAS(fdopen, _IO_fdopen);

/* libc's freopen opens the file and puts it on the old number by itself. So the connection leaves the number before.
 * What stands in its place meanwhile is a socket too: freopen without a name, which opens the number again by /proc,
 * then says ENXIO as on every socket. */
static void leave_number(FILE *f, int fd)
{
    fflush(f);
    int stand_in = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (stand_in >= 0 && dup2(stand_in, fd) >= 0) {
        close(stand_in);
        return;
    }
    close(fd); /* no descriptor to be had: freopen will say so */
    if (stand_in >= 0)
        close(stand_in);
    f->_fileno = -1;
}

HOOK FILE *freopen(const char *name, const char *mode, FILE *f)
{
    if (table_word(f->_fileno) != WORD_PLAIN)
        leave_number(f, f->_fileno);
    return real()->freopen(name, mode, f);
}

HOOK FILE *freopen64(const char *name, const char *mode, FILE *f)
{
    if (table_word(f->_fileno) != WORD_PLAIN)
        leave_number(f, f->_fileno);
    return real()->freopen64(name, mode, f);
}

/* All of it, as libc's vdprintf does. */
static int write_text(int fd, const char *text, int len)
{
    for (int done = 0; done < len;) {
        ssize_t n = write(fd, text + done, (size_t)(len - done));
        if (n < 0)
            return -1;
        done += (int)n;
    }
    return len;
}

HOOK int __vdprintf_chk(int fd, int flag, const char *format, va_list args)
{
    char *text;
    if (table_word(fd) == WORD_PLAIN)
        return real()->__vdprintf_chk(fd, flag, format, args);
    int len = __vasprintf_chk(&text, flag, format, args);
    if (len < 0)
        return -1;
    len = write_text(fd, text, len);
    free(text);
    return len;
}

HOOK int vdprintf(int fd, const char *format, va_list args)
{
    return table_word(fd) == WORD_PLAIN ? real()->vdprintf(fd, format, args) : __vdprintf_chk(fd, 0, format, args);
}

HOOK int dprintf(int fd, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vdprintf(fd, format, args);
    va_end(args);
    return n;
}

int __dprintf_chk(int fd, int flag, const char *format, ...);
HOOK int __dprintf_chk(int fd, int flag, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = __vdprintf_chk(fd, flag, format, args);
    va_end(args);
    return n;
}

/* libc's perror leaves a stream that has not been used yet without orientation: it writes by a descriptor of its own.
 */
HOOK void perror(const char *text)
{
    int fd = stderr->_fileno, error = errno;
    if (table_word(fd) == WORD_PLAIN || fwide(stderr, 0) != 0) {
        real()->perror(text);
        return;
    }
    char space[1024];
    bool named = text && *text;
    dprintf(fd, "%s%s%s\n", named ? text : "", named ? ": " : "", strerror_r(error, space, sizeof space));
}

HOOK void herror(const char *text)
{
    bool named = text && *text;
    if (table_word(STDERR_FILENO) == WORD_PLAIN)
        real()->herror(text);
    else
        dprintf(STDERR_FILENO, "%s%s%s\n", named ? text : "", named ? ": " : "", hstrerror(h_errno));
}

/* libc writes this one straight to the descriptor, and nothing else says what it says. */
HOOK void psiginfo(const siginfo_t *info, const char *text)
{
    if (table_word(STDERR_FILENO) == WORD_PLAIN)
        real()->psiginfo(info, text);
}

/* Written to memory first. Without malloc, as programs call it when the heap is broken. */
HOOK void backtrace_symbols_fd(void *const *buffer, int size, int fd)
{
    if (table_word(fd) == WORD_PLAIN) {
        real()->backtrace_symbols_fd(buffer, size, fd);
        return;
    }
    char part[512];
    off_t at = 0;
    int memory = memfd_create("backtrace", MFD_CLOEXEC);
    if (memory < 0)
        return;
    real()->backtrace_symbols_fd(buffer, size, memory);
    for (ssize_t n; (n = pread(memory, part, sizeof part, at)) > 0; at += n)
        if (write_text(fd, part, (int)n) < 0)
            break;
    close(memory);
}
HOOK_ALIAS(backtrace_symbols_fd, __backtrace_symbols_fd);
