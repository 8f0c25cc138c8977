/* read(2), recv(2) and their relatives. */
#include "addresses.h"
#include "passing.h"
#include "stream.h"

#include <string.h>

static ssize_t receive_one(struct desc *d, int fd, void *buffer, size_t len, int flags);

/* MSG_TRUNC on TCP throws the bytes away instead of storing them (tcp(7)). */
static ssize_t discard(struct desc *d, int fd, size_t len, int flags)
{
    char waste[4096];
    size_t done = 0;
    while (done < len) {
        size_t n = len - done < sizeof waste ? len - done : sizeof waste;
        ssize_t k = receive_one(d, fd, waste, n, flags | (done ? MSG_DONTWAIT : 0));
        if (k <= 0)
            return done ? (ssize_t)done : k;
        done += (size_t)k;
    }
    return (ssize_t)done;
}

/* Flags that the kernel would act on and we cannot: urgent data does not exist here, nor an error queue. */
static int refused_flags(int flags)
{
    if (flags & MSG_OOB)
        return EINVAL; /* as recv(2) says when no urgent data is there */
    return flags & MSG_ERRQUEUE ? EAGAIN : 0;
}

/* Waits for bytes as recv does, and leaves them. 0: the end of the stream. */
static ssize_t await_bytes(struct desc *d, int fd, int flags)
{
    char byte;
    struct iovec one = {&byte, 1};
    return stream_receive(d, fd, &one, 1, flags | MSG_PEEK);
}

static ssize_t receive_vector(struct desc *d, int fd, const struct iovec *iov, int count, int flags)
{
    int error = desc_special(d) ? desc_special(d) : refused_flags(flags);
    bool on_use = false;
    if (!error)
        error = addresses_check(iov, count, &on_use);
    if (error)
        return stream_special(error);
    if (!on_use)
        return stream_receive(d, fd, iov, count, flags);
    ssize_t n = await_bytes(d, fd, flags);
    return n > 0 ? stream_special(EFAULT) : n;
}

static ssize_t receive_one(struct desc *d, int fd, void *buffer, size_t len, int flags)
{
    struct iovec iov = {buffer, len};
    if ((flags & MSG_TRUNC) && !(flags & MSG_PEEK) && !desc_special(d))
        return discard(d, fd, len, flags & ~MSG_TRUNC);
    if (!len && !(flags & MSG_ERRQUEUE) && !desc_special(d)) { /* recv(2) of nothing waits, unlike read */
        ssize_t n = await_bytes(d, fd, flags & ~MSG_OOB);
        return n > 0 ? 0 : n;
    }
    return receive_vector(d, fd, &iov, 1, flags);
}

static SLOW ssize_t read_known(int fd, void *buffer, size_t len)
{
    struct desc *d = table_find_data(fd);
    struct iovec iov = {buffer, len};
    return d ? receive_vector(d, fd, &iov, 1, 0) : real()->read(fd, buffer, len);
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
        return real()->readv(fd, iov, count);
    if (count < 0 || count > 1024)
        return stream_special(EINVAL);
    return receive_vector(d, fd, iov, count, 0);
}

static SLOW ssize_t recv_known(int fd, void *buffer, size_t len, int flags)
{
    struct desc *d = table_find_data(fd);
    return d ? receive_one(d, fd, buffer, len, flags) : real()->recv(fd, buffer, len, flags);
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
        return real()->recvfrom(fd, buffer, len, flags, from, from_len);
    ssize_t n = receive_one(d, fd, buffer, len, flags);
    if (n >= 0 && from && from_len)
        *from_len = 0; /* a stream socket has no source address for each message */
    return n;
}

/* A descriptor taken from another process. */
HOOK int pidfd_getfd(int pidfd, int fd, unsigned flags)
{
    int got = real()->pidfd_getfd(pidfd, fd, flags);
    if (got >= 0)
        table_set(got, WORD_UNKNOWN);
    return got;
}

HOOK ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
    struct desc *d = table_find_data(fd);
    if (!d) {
        ssize_t n = real()->recvmsg(fd, m, flags);
        if (n >= 0 && table_size && m->msg_controllen)
            passing_received(m, flags);
        return n;
    }
    if (address_is_bad(m, sizeof *m))
        return stream_special(EFAULT);
    if (m->msg_iovlen > 1024)
        return stream_special(EMSGSIZE);
    ssize_t n;
    if (m->msg_iovlen == 1 && !address_is_bad(m->msg_iov, sizeof *m->msg_iov))
        n = receive_one(d, fd, m->msg_iov[0].iov_base, m->msg_iov[0].iov_len, flags);
    else
        n = receive_vector(d, fd, m->msg_iov, (int)m->msg_iovlen, flags);
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
