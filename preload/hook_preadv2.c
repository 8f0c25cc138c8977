/* preadv2(2) and pwritev2(2): with offset -1 they are readv and writev with flags. A socket has no other offset. */
#include "bare.h"
#include "stream.h"

#include "memory.h"

#ifndef RWF_NOAPPEND
#define RWF_NOAPPEND 0x20
#endif
#ifndef RWF_NOSIGNAL
#define RWF_NOSIGNAL 0x100
#endif

/* Most flags are about files, and mean nothing to a socket. What no socket knows is EOPNOTSUPP. */
static int check(off64_t offset, const struct iovec *iov, int count, int flags)
{
    const int known =
        RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | RWF_APPEND | RWF_NOAPPEND | RWF_NOSIGNAL; /* Linux 6.18 */
    if (offset != -1)
        return offset < 0 ? EINVAL : ESPIPE;
    int error = memory_vector_error(iov, count);
    return error ? error : memory_vector_bytes(iov, count) && (flags & ~known) ? EOPNOTSUPP : 0;
}

static int message_flags(int flags)
{
    return (flags & RWF_NOWAIT ? MSG_DONTWAIT : 0) | (flags & RWF_NOSIGNAL ? MSG_NOSIGNAL : 0);
}

static ssize_t read_vector(int fd, const struct iovec *iov, int count, off64_t offset, int flags)
{
    int error = check(offset, iov, count, flags);
    struct msghdr m = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)count};
    if (error)
        return stream_special(error);
    return !memory_vector_bytes(iov, count) ? 0 : recvmsg(fd, &m, message_flags(flags));
}

static ssize_t write_vector(int fd, const struct iovec *iov, int count, off64_t offset, int flags)
{
    int error = check(offset, iov, count, flags);
    struct msghdr m = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)count};
    if (error)
        return stream_special(error);
    return !memory_vector_bytes(iov, count) ? 0 : sendmsg(fd, &m, message_flags(flags));
}

HOOK ssize_t preadv2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    if (table_find_data(fd))
        return read_vector(fd, iov, count, offset, flags);
    return BARE(fd, real()->preadv2(fd, iov, count, offset, flags), preadv2(fd, iov, count, offset, flags));
}

HOOK ssize_t preadv64v2(int fd, const struct iovec *iov, int count, off64_t offset, int flags)
{
    if (table_find_data(fd))
        return read_vector(fd, iov, count, offset, flags);
    return BARE(fd, real()->preadv64v2(fd, iov, count, offset, flags), preadv64v2(fd, iov, count, offset, flags));
}

HOOK ssize_t pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    if (table_find_data(fd))
        return write_vector(fd, iov, count, offset, flags);
    return BARE(fd, real()->pwritev2(fd, iov, count, offset, flags), pwritev2(fd, iov, count, offset, flags));
}

HOOK ssize_t pwritev64v2(int fd, const struct iovec *iov, int count, off64_t offset, int flags)
{
    if (table_find_data(fd))
        return write_vector(fd, iov, count, offset, flags);
    return BARE(fd, real()->pwritev64v2(fd, iov, count, offset, flags), pwritev64v2(fd, iov, count, offset, flags));
}
