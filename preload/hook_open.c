/* open(2) in its forms, and what opens files inside libc: as hook_create.c, a file on a number that was closed unseen
 * is not the old connection. */
#include "state.h"

#include <errno.h>

/* A mode comes only with these: open(2). */
#define MODE_OF(flags, last)                                                                                           \
    __extension__({                                                                                                    \
        mode_t mode = 0;                                                                                               \
        if (((flags)&O_CREAT) || ((flags)&O_TMPFILE) == O_TMPFILE) {                                                   \
            va_list args;                                                                                              \
            va_start(args, last);                                                                                      \
            mode = va_arg(args, mode_t);                                                                               \
            va_end(args);                                                                                              \
        }                                                                                                              \
        mode;                                                                                                          \
    })

HOOK int open(const char *path, int flags, ...)
{
    return table_renew(real()->open(path, flags, MODE_OF(flags, flags)));
}
HOOK_ALIAS(open, __open);

HOOK int open64(const char *path, int flags, ...)
{
    return table_renew(real()->open64(path, flags, MODE_OF(flags, flags)));
}
HOOK_ALIAS(open64, __open64);

HOOK int openat(int dir, const char *path, int flags, ...)
{
    return table_renew(real()->openat(dir, path, flags, MODE_OF(flags, flags)));
}

HOOK int openat64(int dir, const char *path, int flags, ...)
{
    return table_renew(real()->openat64(dir, path, flags, MODE_OF(flags, flags)));
}

HOOK int creat(const char *path, mode_t mode)
{
    return table_renew(real()->creat(path, mode));
}

HOOK int creat64(const char *path, mode_t mode)
{
    return table_renew(real()->creat64(path, mode));
}

/* What the fortified headers call where no mode is given; libc ends the program where one had to be. */
HOOK int __open_2(const char *path, int flags)
{
    return table_renew(real()->__open_2(path, flags));
}

HOOK int __open64_2(const char *path, int flags)
{
    return table_renew(real()->__open64_2(path, flags));
}

HOOK int __openat_2(int dir, const char *path, int flags)
{
    return table_renew(real()->__openat_2(dir, path, flags));
}

HOOK int __openat64_2(int dir, const char *path, int flags)
{
    return table_renew(real()->__openat64_2(dir, path, flags));
}

HOOK int shm_open(const char *name, int flags, mode_t mode)
{
    return table_renew(real()->shm_open(name, flags, mode));
}

/* ---- streams and folders ----------------------------------------------------------------------------------------- */

static FILE *renew_stream(FILE *f)
{
    if (f)
        table_renew(f->_fileno);
    return f;
}

HOOK FILE *fopen(const char *path, const char *mode)
{
    return renew_stream(real()->fopen(path, mode));
}
HOOK_ALIAS(fopen, _IO_fopen);

HOOK FILE *fopen64(const char *path, const char *mode)
{
    return renew_stream(real()->fopen64(path, mode));
}

HOOK FILE *tmpfile(void)
{
    return renew_stream(real()->tmpfile());
}

HOOK FILE *tmpfile64(void)
{
    return renew_stream(real()->tmpfile64());
}

HOOK DIR *opendir(const char *path)
{
    DIR *dir = real()->opendir(path);
    if (dir)
        table_renew(dirfd(dir));
    return dir;
}

/* ---- files with new names ---------------------------------------------------------------------------------------- */

HOOK int mkstemp(char *path)
{
    return table_renew(real()->mkstemp(path));
}

HOOK int mkstemp64(char *path)
{
    return table_renew(real()->mkstemp64(path));
}

HOOK int mkostemp(char *path, int flags)
{
    return table_renew(real()->mkostemp(path, flags));
}

HOOK int mkostemp64(char *path, int flags)
{
    return table_renew(real()->mkostemp64(path, flags));
}

HOOK int mkstemps(char *path, int suffix_len)
{
    return table_renew(real()->mkstemps(path, suffix_len));
}

HOOK int mkstemps64(char *path, int suffix_len)
{
    return table_renew(real()->mkstemps64(path, suffix_len));
}

HOOK int mkostemps(char *path, int suffix_len, int flags)
{
    return table_renew(real()->mkostemps(path, suffix_len, flags));
}

HOOK int mkostemps64(char *path, int suffix_len, int flags)
{
    return table_renew(real()->mkostemps64(path, suffix_len, flags));
}

/* ---- terminals --------------------------------------------------------------------------------------------------- */

HOOK int posix_openpt(int flags)
{
    return table_renew(real()->posix_openpt(flags));
}

HOOK int getpt(void)
{
    return table_renew(real()->getpt());
}

HOOK int openpty(int *leader, int *follower, char *name, const struct termios *terminal, const struct winsize *size)
{
    int r = real()->openpty(leader, follower, name, terminal, size);
    if (r == 0) {
        table_renew(*leader);
        table_renew(*follower);
    }
    return r;
}
