/* read(2), recv(2) and their relatives. */
#include "bare.h"
#include "memory.h"
#include "passing.h"
#include "sandbox.h"
#include "stream.h"
#include "sys.h"

#include <string.h>

/* MSG_TRUNC on TCP throws the bytes away instead of storing them (tcp(7)): the buffer is not looked at. */
static ssize_t discard(struct desc *d, int fd, size_t len, int flags)
{
    char waste[4096];
    struct iovec iov = {waste, 0};
    size_t done = 0;
    int saved = errno;
    while (done < len) {
        iov.iov_len = len - done < sizeof waste ? len - done : sizeof waste;
        int again = !done ? 0 : STREAM_IN_PART | (flags & MSG_WAITALL ? 0 : MSG_DONTWAIT);
        ssize_t k = stream_receive(d, fd, &iov, 1, flags | again);
        if (k <= 0 && !done)
            return k;
        if (k <= 0)
            break;
        done += (size_t)k;
    }
    errno = saved;
    return (ssize_t)done;
}

enum { WINDOW = 16, PEEK_MAX = 6 * 16384 }; /* iovecs that stream_receive sees at once; more is never opened ahead */

static void scatter(const struct iovec *iov, const char *from, size_t len)
{
    for (; len; iov++) {
        size_t n = iov->iov_len < len ? iov->iov_len : len;
        memcpy(iov->iov_base, from, n);
        from += n;
        len -= n;
    }
}

/* A look that needs a buffer of ours: with MSG_TRUNC too, where it only counts, and at more parts than a window. */
static ssize_t peek_aside(struct desc *d, int fd, const struct iovec *iov, size_t len, int flags)
{
    struct iovec ours = {NULL, len < PEEK_MAX ? len : PEEK_MAX};
    if (!(ours.iov_base = malloc(ours.iov_len)))
        return stream_special(ENOMEM);
    ssize_t n = stream_receive(d, fd, &ours, 1, flags & ~MSG_TRUNC);
    int error = errno;
    if (n > 0 && !(flags & MSG_TRUNC))
        scatter(iov, ours.iov_base, (size_t)n);
    explicit_bzero(ours.iov_base, ours.iov_len);
    free(ours.iov_base);
    errno = error;
    return n;
}

/* Flags that the kernel would act on and we cannot: urgent data does not exist here, nor an error queue. */
static int refused_flags(int flags)
{
    if (flags & MSG_OOB)
        return EINVAL; /* as recv(2) says when no urgent data is there */
    return flags & MSG_ERRQUEUE ? EAGAIN : 0;
}

/* The kernel's notices of its error queue (SO_TIMESTAMPING) are about segments of ciphertext. Unread they would have
 * poll tell of an error for ever. */
static void drop_notices(struct desc *d, int fd)
{
    enum { ROUNDS = 1000 };
    struct msghdr nothing = {0};
    if (forbidden.receive || !desc_enter(d, fd))
        return;
    for (int i = 0; i < ROUNDS && sys3(SYS_recvmsg, (long)fd, &nothing, MSG_ERRQUEUE | MSG_DONTWAIT) >= 0; i++)
        nothing = (struct msghdr){0};
    desc_leave(d);
}

/* A receive of nothing waits for something all the same; a signal ends that without an error. */
static ssize_t receive_empty(struct desc *d, int fd, int flags)
{
    int saved = errno, error = stream_await(d, fd, flags);
    if (error && error != EINTR)
        return stream_special(error);
    errno = saved;
    return 0;
}

/* Whatever else there is to say comes first; only bytes that had to go there make a bad buffer an error. */
static ssize_t receive_nowhere(struct desc *d, int fd, int flags)
{
    char byte;
    struct iovec iov = {&byte, 1};
    ssize_t n = stream_receive(d, fd, &iov, 1, flags | MSG_PEEK);
    return n > 0 ? stream_special(EFAULT) : n;
}

/* Bytes that come go as far as there is memory for them, as the kernel stores them. */
static ssize_t receive_parts(struct desc *d, int fd, const struct iovec *iov, int count, int flags)
{
    struct iovec parts[WINDOW];
    int n = memory_parts_writable(iov, count, parts, WINDOW);
    return n ? stream_receive(d, fd, parts, n, flags) : receive_nowhere(d, fd, flags);
}

static ssize_t receive_vector(struct desc *d, int fd, const struct iovec *iov, int count, int flags)
{
    int error = desc_special(d) ? desc_special(d) : refused_flags(flags);
    if (!error && !memory_buffers_of_user(iov, count))
        error = EFAULT;
    if ((flags & MSG_ERRQUEUE) && !desc_special(d))
        drop_notices(d, fd);
    if (error)
        return stream_special(error);
    size_t len = memory_vector_bytes(iov, count);
    if (!len)
        return receive_empty(d, fd, flags);
    if ((flags & MSG_TRUNC) && !(flags & MSG_PEEK))
        return discard(d, fd, len, flags & ~MSG_TRUNC);
    if (!(flags & MSG_TRUNC) && !memory_buffers_writable(iov, count))
        return receive_parts(d, fd, iov, count, flags);
    if ((flags & MSG_PEEK) && ((flags & MSG_TRUNC) || count > WINDOW))
        return peek_aside(d, fd, iov, len, flags);
    return stream_receive(d, fd, iov, count, flags);
}

/* A single buffer that is longer than anything is cut, as the kernel does it before it looks at the address. */
static ssize_t receive_cut(struct desc *d, int fd, const struct iovec *iov, int count, int flags)
{
    struct iovec one;
    if (count != 1)
        return receive_vector(d, fd, iov, count, flags);
    one = (struct iovec){iov->iov_base, memory_cut(iov->iov_len)};
    return receive_vector(d, fd, &one, 1, flags);
}

static ssize_t receive_one(struct desc *d, int fd, void *buffer, size_t len, int flags)
{
    struct iovec iov = {buffer, len};
    bool usual = len && !(flags & ~(MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL)) && !desc_special(d) &&
                 memory_writable(buffer, len);
    if (__builtin_expect(usual, 1))
        return stream_receive(d, fd, &iov, 1, flags);
    return receive_vector(d, fd, &iov, 1, flags);
}

static SLOW ssize_t read_known(int fd, void *buffer, size_t len)
{
    struct desc *d = table_find_data(fd);
    if (!d)
        return BARE(fd, real()->read(fd, buffer, len), read(fd, buffer, len));
    return len || desc_special(d) ? receive_one(d, fd, buffer, len, 0) : 0; /* unlike recv, never waits for nothing */
}

HOOK ssize_t read(int fd, void *buffer, size_t len)
{
    return table_is_plain(fd) ? real()->read(fd, buffer, len) : read_known(fd, buffer, len);
}
HOOK_ALIAS(read, __read);

HOOK ssize_t readv(int fd, const struct iovec *iov, int count)
{
    struct desc *d = table_find_data(fd);
    if (!d)
        return BARE(fd, real()->readv(fd, iov, count), readv(fd, iov, count));
    int error = memory_vector_error(iov, count);
    if (error)
        return stream_special(error);
    return memory_vector_bytes(iov, count) || desc_special(d) ? receive_cut(d, fd, iov, count, 0) : 0;
}

static SLOW ssize_t recv_known(int fd, void *buffer, size_t len, int flags)
{
    struct desc *d = table_find_data(fd);
    return d ? receive_one(d, fd, buffer, memory_cut(len), flags)
             : BARE(fd, real()->recv(fd, buffer, len, flags), recv(fd, buffer, len, flags));
}

HOOK ssize_t recv(int fd, void *buffer, size_t len, int flags)
{
    return table_is_plain(fd) ? real()->recv(fd, buffer, len, flags) : recv_known(fd, buffer, len, flags);
}
HOOK_ALIAS(recv, __recv);

HOOK ssize_t recvfrom(int fd, void *buffer, size_t len, int flags, struct sockaddr *from, socklen_t *from_len)
{
    struct desc *d = table_find_data(fd);
    if (!d)
        return BARE(fd, real()->recvfrom(fd, buffer, len, flags, from, from_len),
                    recvfrom(fd, buffer, len, flags, from, from_len));
    ssize_t n = receive_one(d, fd, buffer, memory_cut(len), flags);
    if (n < 0 || !from)
        return n;
    if (!memory_writable(from_len, sizeof *from_len)) /* the kernel, too, finds out when it has the bytes */
        return stream_special(EFAULT);
    if ((int)*from_len < 0)
        return stream_special(EINVAL);
    *from_len = 0; /* a stream socket has no source address for each message */
    return n;
}

/* A descriptor taken from another process. */
HOOK int pidfd_getfd(int pidfd, int fd, unsigned flags)
{
    table_not_fresh(fd); /* it may be of this process */
    int got = real()->pidfd_getfd(pidfd, fd, flags);
    table_renew(got); /* another thread may still be closing what had the number before */
    if (got >= 0)
        table_set(got, WORD_UNKNOWN);
    return got;
}

HOOK ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
    struct desc *d = table_find_data(fd);
    if (!d) {
        ssize_t n = BARE(fd, real()->recvmsg(fd, m, flags), recvmsg(fd, m, flags));
        if (n >= 0 && table_size && m->msg_controllen)
            passing_received(m, flags);
        return n;
    }
    int error = memory_message_error(m);
    if (error)
        return stream_special(error);
    ssize_t n = receive_cut(d, fd, m->msg_iov, (int)m->msg_iovlen, flags);
    if (n >= 0) {
        if (m->msg_name)
            m->msg_namelen = 0;
        m->msg_controllen = 0;
        m->msg_flags = flags & MSG_CMSG_CLOEXEC;
    }
    return n;
}

/* The fortified forms know the buffer's size (object size checking, gcc manual) and end the program on an overflow. */
void __chk_fail(void) __attribute__((noreturn));
ssize_t __read_chk(int fd, void *buffer, size_t len, size_t room);
ssize_t __recv_chk(int fd, void *buffer, size_t len, size_t room, int flags);
ssize_t __recvfrom_chk(int fd, void *buffer, size_t len, size_t room, int flags, struct sockaddr *from,
                       socklen_t *from_len);

HOOK ssize_t __read_chk(int fd, void *buffer, size_t len, size_t room)
{
    if (len > room)
        __chk_fail();
    return read(fd, buffer, len);
}

HOOK ssize_t __recv_chk(int fd, void *buffer, size_t len, size_t room, int flags)
{
    if (len > room)
        __chk_fail();
    return recv(fd, buffer, len, flags);
}

HOOK ssize_t __recvfrom_chk(int fd, void *buffer, size_t len, size_t room, int flags, struct sockaddr *from,
                            socklen_t *from_len)
{
    if (len > room)
        __chk_fail();
    return recvfrom(fd, buffer, len, flags, from, from_len);
}
