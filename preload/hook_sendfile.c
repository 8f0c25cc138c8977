/* sendfile(2): from a file to a protected connection, or from one to a pipe. */
#include "bare.h"
#include "stream.h"
#include "waits.h"

#include "memory.h"
#include "sys.h"

#include <string.h>
#include <sys/stat.h>

enum { SENDFILE_BUFFER = 256 * 1024, COUNT_MAX = 0x7ffff000 /* MAX_RW_COUNT, sendfile(2) under NOTES */ };

/* What sendfile says where reading at a place says something else: a pipe or socket has no place, a directory and
 * whatever cannot be mapped is EINVAL. */
static int error_of_reading(int error, bool has_offset)
{
    if (error == ESPIPE && has_offset)
        return ESPIPE;
    return error == EBADF || error == EIO || error == ENOMEM || error == EINTR ? error : EINVAL;
}

/* sendfile(2) reads from the page cache; here the file is read at its place, so that what the socket did not take is
 * read again by the next call. */
static ssize_t send_file(int out, int in, off64_t *offset, size_t len)
{
    size_t done = 0;
    int saved = errno;
    if (offset && !memory_writable(offset, sizeof *offset))
        return stream_special(EFAULT);
    off64_t at = offset ? *offset : lseek64(in, 0, SEEK_CUR);
    if (at < 0)
        return stream_special(offset ? EINVAL : error_of_reading(errno, false));
    if (stream_appends(out))
        return stream_special(EINVAL);
    unsigned memory;
    char *buffer = wait_malloc(SENDFILE_BUFFER, __builtin_frame_address(0), &memory);
    if (!buffer)
        return stream_special(ENOMEM);
    int error = 0;
    do {
        size_t want = len - done < SENDFILE_BUFFER ? len - done : SENDFILE_BUFFER;
        ssize_t n = sys4(SYS_pread64, (long)in, buffer, (long)want, (long)at); /* sendfile is no cancellation point */
        if (n < 0)
            error = error_of_reading((int)-n, offset != NULL);
        if (n <= 0)
            break;
        int more = (size_t)n == want && done + want < len ? MSG_MORE : 0;
        ssize_t k = send(out, buffer, (size_t)n, more | (done ? STREAM_IN_PART : 0));
        if (k < 0)
            error = errno;
        if (k <= 0)
            break;
        done += (size_t)k;
        at += k;
        if (k < n)
            break;
    } while (done < len);
    wait_free(buffer, memory);
    if (!done && error)
        return stream_special(error);
    if (offset)
        *offset = at;
    else
        lseek64(in, at, SEEK_SET);
    errno = saved;
    return (ssize_t)done;
}

/* Linux splices from a socket if the other end is a pipe, and from nothing else that has no place. */
static ssize_t from_socket(int out, int in, off64_t *offset, size_t len)
{
    if (offset)
        return stream_special(ESPIPE);
    struct stat s;
    if (fstat(out, &s) == 0 && !S_ISFIFO(s.st_mode))
        return stream_special(EINVAL);
    long flags = fcntl(in, F_GETFL), out_flags = fcntl(out, F_GETFL);
    if (flags < 0 || out_flags < 0)
        return -1;
    return splice(in, NULL, out, NULL, len, (flags | out_flags) & O_NONBLOCK ? SPLICE_F_NONBLOCK : 0);
}

HOOK ssize_t sendfile64(int out, int in, off64_t *offset, size_t len)
{
    struct desc *d = table_find_data(out), *from = table_find_data(in);
    if (!d && !from && !table_is_plain(in)) /* the kernel would wait for room in a pipe first */
        return (ssize_t)len < 0 ? stream_special(EINVAL) : from_socket(out, in, offset, len);
    if (!d && !from)
        return BARE(out, real()->sendfile64(out, in, offset, len), sendfile64(out, in, offset, len));
    if ((d && desc_special(d)) || (from && desc_special(from)))
        return stream_special(desc_special(d && desc_special(d) ? d : from));
    if ((ssize_t)len < 0)
        return stream_special(EINVAL);
    if (from)
        return from_socket(out, in, offset, len);
    return send_file(out, in, offset, len < COUNT_MAX ? len : COUNT_MAX);
}

_Static_assert(sizeof(off_t) == sizeof(off64_t), "one sendfile for both");
HOOK ssize_t sendfile(int out, int in, off_t *offset, size_t len)
{
    return sendfile64(out, in, (off64_t *)offset, len);
}
