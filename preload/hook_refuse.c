/* Calls that move bytes on a descriptor and are not covered yet: on a protected one they fail, and say so. They never
 * pass. */
#include "stream.h"

#include <errno.h>

static bool refused(int fd, const char *call)
{
    struct desc *d = table_find_data(fd);
    if (!d)
        return false;
    if (desc_special(d)) {
        errno = desc_special(d);
        return true;
    }
    log_event(LOG_LEVEL_ERROR, "%s on protected descriptor %d refused: not covered yet", call, fd);
    errno = EOPNOTSUPP;
    return true;
}

/* glibc's aio falls back to read and write behind the hooks when pread says ESPIPE. */
HOOK int aio_read(struct aiocb *cb)
{
    return refused(cb->aio_fildes, "aio_read") ? -1 : real()->aio_read(cb);
}

HOOK int aio_write(struct aiocb *cb)
{
    return refused(cb->aio_fildes, "aio_write") ? -1 : real()->aio_write(cb);
}

HOOK int aio_read64(struct aiocb64 *cb)
{
    return refused(cb->aio_fildes, "aio_read") ? -1 : real()->aio_read64(cb);
}

HOOK int aio_write64(struct aiocb64 *cb)
{
    return refused(cb->aio_fildes, "aio_write") ? -1 : real()->aio_write64(cb);
}

HOOK int lio_listio(int mode, struct aiocb *const list[], int count, struct sigevent *event)
{
    for (int i = 0; i < count; i++)
        if (list[i] && list[i]->aio_lio_opcode != LIO_NOP && refused(list[i]->aio_fildes, "lio_listio"))
            return -1;
    return real()->lio_listio(mode, list, count, event);
}

HOOK int lio_listio64(int mode, struct aiocb64 *const list[], int count, struct sigevent *event)
{
    for (int i = 0; i < count; i++)
        if (list[i] && list[i]->aio_lio_opcode != LIO_NOP && refused(list[i]->aio_fildes, "lio_listio"))
            return -1;
    return real()->lio_listio64(mode, list, count, event);
}
