/* splice(2) between a protected connection and a pipe. Bytes leave the connection, or the pipe, under the lock of the
 * direction, so that none is lost, doubled or out of order whoever else reads and writes. tee and vmsplice know pipes
 * alone. */
#include "bare.h"
#include "io.h"
#include "memory.h"
#include "pipe_end.h"
#include "stream.h"

#include "sys.h"
#include "waits.h"

#include <poll.h>
#include <sys/stat.h>

static const unsigned known_flags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT;

/* The kernel's checks of a call whose one end is a connection, in its order. 0 or an errno; the pipe's status flags. */
static int check_other_end(int pipe, bool pipe_reads, const off64_t *pipe_offset, const off64_t *socket_offset,
                           unsigned flags, long *status)
{
    struct stat s;
    if (flags & ~known_flags)
        return EINVAL;
    *status = sys3(SYS_fcntl, (long)pipe, F_GETFL, 0L);
    int mode = (int)*status & O_ACCMODE;
    if (*status < 0 || (*status & O_PATH) || mode == (pipe_reads ? O_WRONLY : O_RDONLY))
        return EBADF;
    if (fstat(pipe, &s) != 0 || !S_ISFIFO(s.st_mode))
        return EINVAL; /* one end must be a pipe */
    if (pipe_offset)
        return ESPIPE;
    if (!socket_offset)
        return 0;
    return memory_readable(socket_offset, sizeof *socket_offset) ? EINVAL : EFAULT;
}

/* Is the pipe ready for it? 0; EAGAIN; EPIPE; EINTR. */
static int await_pipe(int pipe, short events, bool wait)
{
    struct pollfd p = {.fd = pipe, .events = events};
    unsigned before = thread.interruptions;
    for (;;) {
        long r = wait ? real()->poll(&p, 1, -1) : io_poll(&p, 1, 0); /* a cancellation point where it waits alone */
        int error = r >= 0 ? 0 : wait ? errno : (int)-r;
        if (error && (error != EINTR || thread.interruptions != before)) /* splice restarts after SA_RESTART */
            return error;
        if (r == 0)
            return EAGAIN;
        if (r > 0)
            return events == POLLOUT && (p.revents & POLLERR) ? EPIPE : 0;
    }
}

static enum result move_out(struct desc *d, int fd, struct pipe_end *p, size_t len, size_t *got, unsigned *wait,
                            int *error)
{
    *got = 0;
    if (!desc_enter(d, fd)) {
        *error = EBADF;
        return RESULT_IO;
    }
    enum result result = core->conn_read_to(d->conn, fd, len, pipe_put, p, got, error);
    if (result == RESULT_AGAIN && !p->error && core->conn_reading_shut(d->conn))
        result = RESULT_EOF;
    if (result == RESULT_IO)
        core->conn_take_untold(d->conn);
    if (result == RESULT_AGAIN)
        *wait = wait_begin(d);
    helper_kick(d);
    desc_leave(d);
    return result;
}

/* SPLICE_F_NONBLOCK is about the pipe; whether to wait for the connection says its own O_NONBLOCK (tcp_splice_read). */
static ssize_t connection_to_pipe(struct desc *d, int fd, int pipe, size_t len, bool wait_for_pipe)
{
    int64_t deadline_ms = INT64_MAX;
    struct stream_signals before = stream_signals_now();
    int saved = errno;
    for (;;) {
        size_t got = 0;
        unsigned wait = 0;
        int error = await_pipe(pipe, POLLOUT, wait_for_pipe);
        if (error)
            return stream_write_failed(pipe, 0, error, 0, saved);
        struct pipe_end p = {.fd = pipe};
        enum result result = move_out(d, fd, &p, len, &got, &wait, &error);
        if (result == RESULT_AGAIN && (got || p.error))
            wait_end(d, wait);
        if (got || result == RESULT_EOF) {
            errno = saved;
            return (ssize_t)got;
        }
        if (result != RESULT_AGAIN)
            return stream_special(error);
        if (p.error == EAGAIN)
            continue; /* somebody else has filled it meanwhile */
        if (p.error)
            return stream_special(p.error);
        if (deadline_ms == INT64_MAX)
            deadline_ms = stream_deadline_of(d, fd, SO_RCVTIMEO);
        error = stream_wait_readable(d, fd, 0, deadline_ms, &before);
        wait_end(d, wait);
        if (error == STREAM_ENDED) {
            errno = saved;
            return 0;
        }
        if (error)
            return stream_special(error);
    }
}

static enum result move_in(struct desc *d, int fd, struct pipe_end *p, size_t len, bool more, bool roomy, bool in_part,
                           size_t *put, unsigned *wait, int *error)
{
    enum result result = RESULT_IO;
    *put = 0;
    if (!desc_enter(d, fd)) {
        *error = EBADF;
        return RESULT_IO;
    }
    *error = stream_not_connected(d, fd);
    if (!*error)
        result = core->conn_write_from(d->conn, fd, len, pipe_take, p, more, roomy, put, error);
    if (result == RESULT_IO && in_part)
        core->conn_note_untold(d->conn, *error);
    if (result == RESULT_AGAIN)
        *wait = wait_begin(d);
    helper_kick(d);
    desc_leave(d);
    return result;
}

static ssize_t pipe_to_connection(struct desc *d, int pipe, int fd, size_t len, unsigned flags, bool wait_for_pipe)
{
    int64_t deadline_ms = INT64_MAX;
    struct iovec nothing = {NULL, 0};
    size_t done = 0;
    struct stream_signals before = stream_signals_now();
    bool roomy = false;
    int saved = errno;
    while (done < len) {
        size_t put = 0;
        unsigned wait = 0;
        struct pipe_end p = {.fd = pipe};
        int error = roomy ? 0 : await_pipe(pipe, POLLIN, wait_for_pipe && !done);
        if (error)
            return stream_write_failed(fd, done, error, 0, saved);
        if (!done && stream_send(d, fd, &nothing, 1, 0) < 0)
            return -1; /* before anything is taken from the pipe */
        enum result result = move_in(d, fd, &p, len - done, flags & SPLICE_F_MORE, roomy, done, &put, &wait, &error);
        done += put;
        roomy = false;
        if (result == RESULT_OK && !p.ended && !p.error)
            continue;
        if (result == RESULT_AGAIN && (p.ended || p.error))
            wait_end(d, wait);
        if (p.ended)
            break;
        if (p.error && p.error != EAGAIN)
            return stream_write_failed(fd, done, p.error, 0, saved);
        if (p.error)
            continue; /* somebody else has taken what was there */
        if (result != RESULT_AGAIN)
            return stream_write_failed(fd, done, error, 0, saved);
        if (deadline_ms == INT64_MAX)
            deadline_ms = stream_deadline_of(d, fd, SO_SNDTIMEO);
        error = stream_wait_writable(d, fd, 0, stream_deadline_in_part(deadline_ms, done), &before, &roomy);
        wait_end(d, wait);
        if (error)
            return stream_write_failed(fd, done, error, 0, saved);
    }
    errno = saved;
    return (ssize_t)done;
}

static ssize_t splice_protected(struct desc *from, int in, const off64_t *in_offset, struct desc *to, int out,
                                const off64_t *out_offset, size_t len, unsigned flags)
{
    long status;
    if (!len)
        return 0;
    int special = desc_special(from ? from : to);
    if (special)
        return stream_special(special);
    int error = from ? check_other_end(out, false, out_offset, in_offset, flags, &status)
                     : check_other_end(in, true, in_offset, out_offset, flags, &status);
    if (!error && to && stream_appends(out))
        error = EINVAL;
    if (error)
        return stream_special(error);
    bool wait_for_pipe = !(flags & SPLICE_F_NONBLOCK) && !(status & O_NONBLOCK);
    return from ? connection_to_pipe(from, in, out, len, wait_for_pipe)
                : pipe_to_connection(to, in, out, len, flags, wait_for_pipe);
}

/* Neither end has a connection. The kernel waits for the pipe before it looks at the socket, and bytes would go in
 * clear if another thread connected it meanwhile. So it is only asked for what it does at once. */
static ssize_t splice_bare(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t len, unsigned flags)
{
    bool takes = !table_is_plain(out); /* the socket, from the pipe */
    int fd = takes ? out : in, pipe = takes ? in : out;
    long status;
    bool waits = len && !(flags & SPLICE_F_NONBLOCK) &&
                 check_other_end(pipe, takes, takes ? in_offset : out_offset, takes ? out_offset : in_offset, flags,
                                 &status) == 0 &&
                 !(status & O_NONBLOCK);
    unsigned now = flags | (waits ? SPLICE_F_NONBLOCK : 0);
    ssize_t n = BARE(fd, real()->splice(in, in_offset, out, out_offset, len, now),
                     splice(in, in_offset, out, out_offset, len, flags));
    if (n >= 0 || errno != EAGAIN || !waits)
        return n;
    if (await_pipe(pipe, takes ? POLLIN : POLLOUT, false) != EAGAIN && (fcntl(fd, F_GETFL) & O_NONBLOCK))
        return stream_special(EAGAIN); /* the socket's own */
    int error = await_pipe(pipe, takes ? POLLIN : POLLOUT, true);
    if (error == EINTR)
        return stream_special(EINTR);
    return splice(in, in_offset, out, out_offset, len, flags);
}

HOOK ssize_t splice(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t len, unsigned flags)
{
    struct desc *from = table_find_data(in), *to = table_find_data(out);
    if (!from && !to && table_is_plain(in) && table_is_plain(out))
        return real()->splice(in, in_offset, out, out_offset, len, flags);
    if (!from && !to)
        return splice_bare(in, in_offset, out, out_offset, len, flags);
    return splice_protected(from, in, in_offset, to, out, out_offset, len, flags);
}

/* Both ends must be pipes: tee(2). */
HOOK ssize_t tee(int in, int out, size_t len, unsigned flags)
{
    if (!table_find_data(in) && !table_find_data(out))
        return real()->tee(in, out, len, flags);
    return len ? stream_special(EINVAL) : 0;
}

/* vmsplice(2): EBADF if the descriptor is no pipe. */
HOOK ssize_t vmsplice(int fd, const struct iovec *iov, size_t count, unsigned flags)
{
    if (!table_find_data(fd))
        return real()->vmsplice(fd, iov, count, flags);
    int error = flags & ~known_flags ? EINVAL : memory_vector_error(iov, (long)count);
    if (!error && !memory_vector_bytes(iov, (int)count))
        return 0;
    return stream_special(error ? error : EBADF);
}
