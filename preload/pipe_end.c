#include "pipe_end.h"

#include "state.h"
#include "sys.h"

#include <errno.h>

/* RWF_NOWAIT does not wait whatever the pipe's own flags say, but Linux before 6.4 has it not for pipes, and none has
 * it for those with a name. Then a pipe of our own stands between: splice's own flag works on both. */
static bool own_pipe(int ends[2])
{
    if (sys2(SYS_pipe2, ends, (long)(O_CLOEXEC | O_NONBLOCK)) < 0)
        return false;
    table_set(ends[0], WORD_OURS);
    table_set(ends[1], WORD_OURS);
    return true;
}

static void drop_own_pipe(const int ends[2])
{
    hidden_close(ends[0]);
    hidden_close(ends[1]);
}

static ssize_t splice_now(int from, int to, size_t len)
{
    return sys6(SYS_splice, from, 0, to, 0, (long)len, SPLICE_F_NONBLOCK);
}

static ssize_t put_around(int fd, const uint8_t *bytes, size_t len)
{
    int ends[2];
    size_t moved = 0;
    if (!own_pipe(ends))
        return -ENOMEM;
    ssize_t have = sys3(SYS_write, (long)ends[1], bytes, (long)len), k = have;
    while (have > 0 && moved < (size_t)have && (k = splice_now(ends[0], fd, (size_t)have - moved)) > 0)
        moved += (size_t)k;
    drop_own_pipe(ends); /* with what did not fit: it has not left the connection */
    return moved ? (ssize_t)moved : k;
}

static ssize_t take_around(int fd, uint8_t *bytes, size_t len)
{
    int ends[2];
    if (!own_pipe(ends))
        return -ENOMEM;
    ssize_t have = splice_now(fd, ends[1], len), got = 0, k = have;
    while (got < have && (k = sys3(SYS_read, (long)ends[0], bytes + got, (long)(have - got))) > 0)
        got += k;
    drop_own_pipe(ends);
    return got ? got : k;
}

static ssize_t note(struct pipe_end *p, ssize_t moved)
{
    p->ended = moved == 0;
    p->error = moved < 0 ? (int)-moved : 0;
    return moved;
}

ssize_t pipe_put(void *ctx, const uint8_t *bytes, size_t len)
{
    struct pipe_end *p = ctx;
    struct iovec iov = {(void *)bytes, len};
    ssize_t k = sys6(SYS_pwritev2, p->fd, SYS_ARG(&iov), 1, -1, -1, RWF_NOWAIT);
    return note(p, k == -EOPNOTSUPP ? put_around(p->fd, bytes, len) : k);
}

ssize_t pipe_take(void *ctx, uint8_t *bytes, size_t len)
{
    struct pipe_end *p = ctx;
    struct iovec iov = {bytes, len};
    ssize_t k = sys6(SYS_preadv2, p->fd, SYS_ARG(&iov), 1, -1, -1, RWF_NOWAIT);
    return note(p, k == -EOPNOTSUPP ? take_around(p->fd, bytes, len) : k);
}
