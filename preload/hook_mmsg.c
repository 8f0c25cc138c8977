/* sendmmsg(2) and recvmmsg(2): several messages by one call. On a stream each is a sendmsg or recvmsg of its own. */
#include "bare.h"
#include "memory.h"
#include "passing.h"
#include "sandbox.h"
#include "stream.h"
#include "sys.h"

#include <time.h>

static bool any_passes(const struct mmsghdr *messages, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (memory_readable(&messages[i], sizeof messages[i]) && messages[i].msg_hdr.msg_controllen &&
            passing_needed(&messages[i].msg_hdr))
            return true;
    return false;
}

static size_t message_bytes(const struct msghdr *m)
{
    size_t total = 0;
    for (size_t i = 0; i < m->msg_iovlen; i++)
        total += m->msg_iov[i].iov_len;
    return total;
}

/* A signal in the second message is told by the first one's success. */
static int in_part(int fd, unsigned done)
{
    return done && table_find(fd) ? STREAM_IN_PART : 0;
}

/* As the kernel does it: a message that was taken in part is the last, and an error is told only by the first. */
static int send_each(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    int saved = errno;
    unsigned sent = 0;
    while (sent < count) {
        if (!memory_writable(&messages[sent], sizeof messages[sent])) {
            errno = EFAULT;
            break;
        }
        ssize_t n = sendmsg(fd, &messages[sent].msg_hdr, flags | in_part(fd, sent));
        if (n < 0)
            break;
        messages[sent].msg_len = (unsigned)n;
        if ((size_t)n < message_bytes(&messages[sent++].msg_hdr))
            break;
    }
    if (!sent && count)
        return -1;
    errno = saved;
    return (int)sent;
}

HOOK int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    enum { COUNT_MAX = 1024 }; /* sendmmsg(2): capped to UIO_MAXIOV */
    if (table_find_data(fd) || (policy && (flags & MSG_FASTOPEN)) || (table_size && any_passes(messages, count)))
        return send_each(fd, messages, count < COUNT_MAX ? count : COUNT_MAX, flags);
    return BARE(fd, real()->sendmmsg(fd, messages, count, flags), sendmmsg(fd, messages, count, flags));
}

static bool is_valid(const struct timespec *t)
{
    return t->tv_sec >= 0 && t->tv_nsec >= 0 && t->tv_nsec < 1000000000;
}

/* Sets what is left. True when the time is over; asked only after each message, as recvmmsg(2) says under BUGS. */
static bool time_is_over(struct timespec *left, const struct timespec *start, const struct timespec *given)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    left->tv_sec = given->tv_sec - (now.tv_sec - start->tv_sec);
    left->tv_nsec = given->tv_nsec - (now.tv_nsec - start->tv_nsec);
    for (; left->tv_nsec < 0; left->tv_sec--)
        left->tv_nsec += 1000000000;
    for (; left->tv_nsec >= 1000000000; left->tv_sec++)
        left->tv_nsec -= 1000000000;
    if (left->tv_sec < 0)
        *left = (struct timespec){0, 0};
    return !left->tv_sec && !left->tv_nsec;
}

/* The socket's own error, which the kernel tells before any bytes that are there, also to whoever asks for no message.
 */
static int socket_error(int fd)
{
    struct desc *d = table_find_data(fd);
    if (!d || desc_special(d) || !desc_enter(d, fd))
        return 0;
    bool asking = core->conn_asking_begin(d->conn);
    long r = forbidden.receive ? 0 : sys5(SYS_recvmmsg, (long)fd, NULL, 0L, 0L, NULL);
    int error = r < 0 ? (int)-r : 0, untold = core->conn_take_untold(d->conn);
    const bool failed = core->conn_state(d->conn) == RESULT_IO;
    if (core->conn_end_refused(d->conn, error))
        error = 0;
    if (error && !failed)
        core->conn_error_told(d->conn);
    if (asking)
        core->conn_asking_end(d->conn);
    int reason = error && failed ? core->conn_take_error(d->conn) : 0; /* a reset is what follows a refusal */
    desc_leave(d);
    if (reason)
        return reason;
    return error ? error : untold;
}

/* The end of the stream is an empty message, again and again. An error after the first message is told by the next
 * call, since the connection keeps it. */
static int receive_each(int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout)
{
    int saved = errno, error;
    unsigned got = 0;
    if (timeout && !memory_writable(timeout, sizeof *timeout))
        return (int)stream_special(EFAULT);
    struct timespec start, given = timeout ? *timeout : (struct timespec){0, 0};
    if (timeout && !is_valid(timeout))
        return (int)stream_special(EINVAL);
    if (!(flags & MSG_ERRQUEUE) && (error = socket_error(fd)))
        return (int)stream_special(error);
    clock_gettime(CLOCK_MONOTONIC, &start);
    while (got < count) {
        if (!memory_writable(&messages[got], sizeof messages[got])) {
            errno = EFAULT;
            break;
        }
        ssize_t n = recvmsg(fd, &messages[got].msg_hdr, (flags & ~MSG_WAITFORONE) | in_part(fd, got));
        if (n < 0)
            break;
        messages[got++].msg_len = (unsigned)n;
        if (flags & MSG_WAITFORONE)
            flags |= MSG_DONTWAIT;
        if (timeout && time_is_over(timeout, &start, &given))
            break;
    }
    if (!got && count)
        return -1;
    errno = saved;
    return (int)got;
}

HOOK int recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout)
{
    struct desc *d = table_find_data(fd);
    if (d && (count || !desc_special(d)))
        return receive_each(fd, messages, count, flags, timeout);
    if (!count) /* moves nothing, and says the socket's own error */
        return real()->recvmmsg(fd, messages, count, flags, timeout);
    int n =
        BARE(fd, real()->recvmmsg(fd, messages, count, flags, timeout), recvmmsg(fd, messages, count, flags, timeout));
    for (int i = 0; table_size && i < n; i++)
        if (messages[i].msg_hdr.msg_controllen)
            passing_received(&messages[i].msg_hdr, flags);
    return n;
}
