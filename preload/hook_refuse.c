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

HOOK ssize_t splice(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t len, unsigned flags)
{
    if (refused(in, "splice") || refused(out, "splice"))
        return -1;
    return real()->splice(in, in_offset, out, out_offset, len, flags);
}

HOOK ssize_t tee(int in, int out, size_t len, unsigned flags)
{
    if (refused(in, "tee") || refused(out, "tee"))
        return -1;
    return real()->tee(in, out, len, flags);
}

HOOK ssize_t vmsplice(int fd, const struct iovec *iov, size_t count, unsigned flags)
{
    return refused(fd, "vmsplice") ? -1 : real()->vmsplice(fd, iov, count, flags);
}

HOOK int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    if (refused(fd, "sendmmsg"))
        return -1;
    for (unsigned i = 0; table_size && i < count; i++) {
        if (messages[i].msg_hdr.msg_controllen && passes_protected(&messages[i].msg_hdr)) {
            errno = EOPNOTSUPP;
            return -1;
        }
    }
    return real()->sendmmsg(fd, messages, count, flags);
}

HOOK int recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout)
{
    if (refused(fd, "recvmmsg"))
        return -1;
    int n = real()->recvmmsg(fd, messages, count, flags, timeout);
    for (int i = 0; table_size && i < n; i++)
        if (messages[i].msg_hdr.msg_controllen)
            mark_received(&messages[i].msg_hdr);
    return n;
}

/* With offset -1 these are readv and writev (preadv2(2)). */
HOOK ssize_t preadv2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    return refused(fd, "preadv2") ? -1 : real()->preadv2(fd, iov, count, offset, flags);
}

HOOK ssize_t pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    return refused(fd, "pwritev2") ? -1 : real()->pwritev2(fd, iov, count, offset, flags);
}

HOOK ssize_t preadv64v2(int fd, const struct iovec *iov, int count, off64_t offset, int flags)
{
    return refused(fd, "preadv2") ? -1 : real()->preadv64v2(fd, iov, count, offset, flags);
}

HOOK ssize_t pwritev64v2(int fd, const struct iovec *iov, int count, off64_t offset, int flags)
{
    return refused(fd, "pwritev2") ? -1 : real()->pwritev64v2(fd, iov, count, offset, flags);
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

/* io_uring works on descriptors in the kernel, past every hook. liburing makes its system calls inline, so its own
 * functions are met here too; they return -errno. */
int io_uring_refused(void)
{
    static _Atomic bool said;
    if (!atomic_exchange(&said, true))
        log_event(LOG_LEVEL_WARN,
                  "io_uring is answered with ENOSYS while a policy is active: it would go past the library");
    return -ENOSYS;
}

struct io_uring;
struct io_uring_params;
int io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags);
int io_uring_queue_init_params(unsigned entries, struct io_uring *ring, struct io_uring_params *params);
int io_uring_setup(unsigned entries, struct io_uring_params *params);

HOOK int io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags)
{
    static int (*next)(unsigned, struct io_uring *, unsigned);
    if (policy)
        return io_uring_refused();
    if (!next)
        next = (__typeof__(next))dlsym(RTLD_NEXT, "io_uring_queue_init");
    return next ? next(entries, ring, flags) : -ENOSYS;
}

HOOK int io_uring_queue_init_params(unsigned entries, struct io_uring *ring, struct io_uring_params *params)
{
    static int (*next)(unsigned, struct io_uring *, struct io_uring_params *);
    if (policy)
        return io_uring_refused();
    if (!next)
        next = (__typeof__(next))dlsym(RTLD_NEXT, "io_uring_queue_init_params");
    return next ? next(entries, ring, params) : -ENOSYS;
}

HOOK int io_uring_setup(unsigned entries, struct io_uring_params *params)
{
    static int (*next)(unsigned, struct io_uring_params *);
    if (policy)
        return io_uring_refused();
    if (!next)
        next = (__typeof__(next))dlsym(RTLD_NEXT, "io_uring_setup");
    return next ? next(entries, params) : -ENOSYS;
}
