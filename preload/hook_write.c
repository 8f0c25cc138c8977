/* write(2), send(2) and their relatives. */
#include "bare.h"
#include "memory.h"
#include "passing.h"
#include "stream.h"
#include "sys.h"

#include <pthread.h>
#include <string.h>

/* That nothing can be sent any more comes before the error of a bad buffer, or of what is not sent. */
static ssize_t send_nothing(struct desc *d, int fd, int flags, int error)
{
    struct iovec none = {NULL, 0};
    return stream_send(d, fd, &none, 1, flags) < 0 ? -1 : stream_special(error);
}

/* Has it been told to connect, and is it not connected (yet)? */
static bool is_connecting(struct desc *d, int fd)
{
    return core->conn_unstarted(d->conn) && core->conn_is_connector(d->conn) && stream_is_connecting(d, fd);
}

/* MSG_FASTOPEN without an address, or on a connection. The kernel knows how an attempt to connect goes, or went; one
 * that was begun without waiting has not been asked for its end yet, and then this flag asks (0). */
static int fast_open_error(struct desc *d, int fd)
{
    bool connecting = is_connecting(d, fd);
    if (forbidden.send)
        return EISCONN;
    long r = sys6(SYS_sendto, fd, SYS_ARG(""), 0, MSG_FASTOPEN | MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
    if (r == -EISCONN) /* with TCP_FASTOPEN_CONNECT, Linux keeps a request that was not needed */
        return d->fastopen_connect ? EALREADY : EISCONN;
    if (r < 0)
        return connect_failed(d, fd, (int)-r);
    return connecting ? EALREADY : 0;
}

/* What can be read is sent, as the kernel does it. */
static ssize_t send_parts(struct desc *d, int fd, const struct iovec *iov, int count, int flags)
{
    struct iovec parts[16];
    int n = flags & MSG_OOB ? 0 : memory_parts_readable(iov, count, parts, sizeof parts / sizeof *parts);
    return n ? stream_send(d, fd, parts, n, flags) : send_nothing(d, fd, flags, EFAULT);
}

static ssize_t send_vector(struct desc *d, int fd, const struct iovec *iov, int count, int flags)
{
    if (desc_special(d))
        return stream_special(desc_special(d));
    int error = flags & MSG_FASTOPEN ? fast_open_error(d, fd) : 0;
    if (error)
        return stream_write_failed(fd, 0, error, flags, errno);
    if (!memory_buffers_of_user(iov, count))
        return stream_special(EFAULT);
    if (!memory_buffers_readable(iov, count))
        return send_parts(d, fd, iov, count, flags);
    if ((flags & MSG_OOB) && memory_vector_bytes(iov, count))
        return send_nothing(d, fd, flags, EOPNOTSUPP); /* urgent data cannot be protected */
    return stream_send(d, fd, iov, count, flags);
}

/* A single buffer that is longer than anything is cut, as the kernel does it before it looks at the address. */
static ssize_t send_cut(struct desc *d, int fd, const struct iovec *iov, int count, int flags)
{
    struct iovec one;
    if (count != 1)
        return send_vector(d, fd, iov, count, flags);
    one = (struct iovec){iov->iov_base, memory_cut(iov->iov_len)};
    return send_vector(d, fd, &one, 1, flags);
}

static ssize_t send_one(struct desc *d, int fd, const void *buffer, size_t len, int flags)
{
    struct iovec iov = {(void *)buffer, len};
    bool usual = len && !(flags & (MSG_FASTOPEN | MSG_OOB)) && !desc_special(d) && memory_readable(buffer, len);
    if (__builtin_expect(usual, 1))
        return stream_send(d, fd, &iov, 1, flags);
    return send_vector(d, fd, &iov, 1, flags);
}

static SLOW ssize_t write_known(int fd, const void *buffer, size_t len)
{
    struct desc *d = table_find_data(fd);
    return d ? send_one(d, fd, buffer, len, 0) : BARE(fd, real()->write(fd, buffer, len), write(fd, buffer, len));
}

HOOK ssize_t write(int fd, const void *buffer, size_t len)
{
    return table_is_plain(fd) ? real()->write(fd, buffer, len) : write_known(fd, buffer, len);
}
HOOK_ALIAS(write, __write);

HOOK ssize_t writev(int fd, const struct iovec *iov, int count)
{
    struct desc *d = table_find_data(fd);
    if (!d)
        return BARE(fd, real()->writev(fd, iov, count), writev(fd, iov, count));
    int error = memory_vector_error(iov, count);
    if (error)
        return stream_special(error);
    return memory_vector_bytes(iov, count) || desc_special(d) ? send_cut(d, fd, iov, count, 0) : 0;
}

static SLOW ssize_t send_known(int fd, const void *buffer, size_t len, int flags)
{
    struct desc *d = table_find_data(fd);
    return d ? send_one(d, fd, buffer, memory_cut(len), flags)
             : BARE(fd, real()->send(fd, buffer, len, flags), send(fd, buffer, len, flags));
}

HOOK ssize_t send(int fd, const void *buffer, size_t len, int flags)
{
    return table_is_plain(fd) ? real()->send(fd, buffer, len, flags) : send_known(fd, buffer, len, flags);
}
HOOK_ALIAS(send, __send);

/* After a connect that failed, or while it goes on. */
static bool may_connect(struct desc *d, int fd, int flags)
{
    return (flags & MSG_FASTOPEN) && !desc_special(d) && is_connecting(d, fd);
}

/* MSG_FASTOPEN connects and sends in one call, with the bytes in the SYN; where the policy selects, they wait for the
 * connection, as they do where the kernel has no cookie of the server (tcp(7)). True: *r is how connecting ended. */
static bool fast_open(struct desc *d, int fd, int flags, const struct sockaddr *to, socklen_t len, int *r)
{
    if (!(flags & MSG_FASTOPEN) || !policy || !to)
        return false;
    struct sockaddr_storage room;
    const struct sockaddr *leads_to = to;
    socklen_t leads_len = len;
    bool told = rule_destination(fd, &leads_to, &leads_len, &room);
    const struct policy_rule *rule = rule_for(POLICY_CONNECT, leads_to, leads_len);
    if (d ? !may_connect(d, fd, flags) : told && (!rule || rule->action == POLICY_PLAIN))
        return false;
    pthread_testcancel(); /* not while the mode is another one */
    long status = fcntl(fd, F_GETFL);
    bool block_not = (flags & MSG_DONTWAIT) && status >= 0 && !(status & O_NONBLOCK);
    if (block_not)
        fcntl(fd, F_SETFL, status | O_NONBLOCK);
    *r = connect(fd, to, len);
    if (block_not)
        fcntl(fd, F_SETFL, status);
    return true;
}

/* The address is ignored on a connected stream socket, as in tcp(7). */
HOOK ssize_t sendto(int fd, const void *buffer, size_t len, int flags, const struct sockaddr *to, socklen_t to_len)
{
    struct desc *d = table_find_data(fd);
    int r;
    if (fast_open(d, fd, flags, to, to_len, &r))
        return r < 0 ? -1 : send(fd, buffer, len, flags & ~MSG_FASTOPEN);
    return d ? send_one(d, fd, buffer, memory_cut(len), flags)
             : BARE(fd, real()->sendto(fd, buffer, len, flags, to, to_len), sendto(fd, buffer, len, flags, to, to_len));
}

static ssize_t send_message(int fd, const struct msghdr *m, int flags)
{
    struct desc *d = table_find_data(fd);
    int r, error = d ? memory_message_error(m) : 0;
    if (d && !error && m->msg_controllen && !memory_readable(m->msg_control, m->msg_controllen))
        error = EFAULT;
    if (error)
        return stream_special(error);
    if (fast_open(d, fd, flags, m->msg_name, m->msg_namelen, &r))
        return r < 0 ? -1 : sendmsg(fd, m, flags & ~MSG_FASTOPEN);
    if (!d)
        return BARE(fd, real()->sendmsg(fd, m, flags), send_message(fd, m, flags));
    return send_cut(d, fd, m->msg_iov, (int)m->msg_iovlen, flags);
}

HOOK ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
    struct passing *passing;
    if (!table_size)
        return real()->sendmsg(fd, m, flags);
    if (!memory_readable(m, sizeof *m))
        return table_find_data(fd) ? stream_special(EFAULT) : real()->sendmsg(fd, m, flags);
    if (!m->msg_controllen || !memory_readable(m->msg_control, m->msg_controllen))
        return send_message(fd, m, flags);
    const struct msghdr *boxed = passing_begin(m, &passing);
    if (!boxed)
        return -1;
    ssize_t n = send_message(fd, boxed, flags);
    if (passing)
        passing_end(passing, n >= 0);
    return n;
}
