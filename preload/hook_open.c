/* open(2) in its forms: as hook_create.c, a file on a number that was closed unseen is not the old connection. */
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
