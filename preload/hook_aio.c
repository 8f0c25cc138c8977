/* aio(7): glibc's own threads read and write behind the hooks. Requests for a protected connection are worked through
 * here, in a thread for each descriptor that has some: in order, as in glibc. A list with such a request in it is ours
 * whole. Results are where glibc's aio_error and aio_return look for them. */
#include "aio_jobs.h"
#include "stream.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <time.h>

#include "sys.h"

_Static_assert(sizeof(struct aiocb) == sizeof(struct aiocb64), "one aio for both");

static int fail(int error)
{
    errno = error;
    return -1;
}

static int enqueue_one(struct aiocb *cb, int opcode)
{
    if (cb->aio_reqprio < 0 || cb->aio_reqprio > 20) { /* AIO_PRIO_DELTA_MAX */
        cb->__error_code = EINVAL;
        cb->__return_value = -1;
        return fail(EINVAL);
    }
    return aio_jobs_add(cb, opcode, NULL) ? 0 : fail(EAGAIN);
}

HOOK int aio_read(struct aiocb *cb)
{
    return table_find_data(cb->aio_fildes) ? enqueue_one(cb, LIO_READ) : real()->aio_read(cb);
}

HOOK int aio_write(struct aiocb *cb)
{
    return table_find_data(cb->aio_fildes) ? enqueue_one(cb, LIO_WRITE) : real()->aio_write(cb);
}

HOOK int aio_read64(struct aiocb64 *cb)
{
    return aio_read((struct aiocb *)cb);
}

HOOK int aio_write64(struct aiocb64 *cb)
{
    return aio_write((struct aiocb *)cb);
}

static bool counts(const struct aiocb *cb)
{
    return cb && cb->aio_lio_opcode != LIO_NOP;
}

static bool any_protected(struct aiocb *const list[], int count)
{
    for (int i = 0; table_size && i < count; i++)
        if (counts(list[i]) && table_find_data(list[i]->aio_fildes))
            return true;
    return false;
}

/* Waits in pieces: a wait for a futex is no cancellation point, and this call is one. */
static int wait_for_completions(uint32_t seen, int64_t left_ms)
{
    enum { PIECE_MS = 50 };
    pthread_testcancel();
    return aio_jobs_wait(seen, left_ms < PIECE_MS ? (int)left_ms : PIECE_MS);
}

static int wait_for_batch(struct aio_batch *batch)
{
    bool failed = false;
    for (;;) {
        uint32_t seen = aio_jobs_completions();
        if (aio_batch_done(batch, &failed))
            return failed ? fail(EIO) : 0;
        if (wait_for_completions(seen, INT_MAX) == EINTR) {
            aio_batch_leave(batch);
            return fail(EINTR);
        }
    }
}

HOOK int lio_listio(int mode, struct aiocb *const list[], int count, struct sigevent *event)
{
    if ((mode != LIO_WAIT && mode != LIO_NOWAIT) || !any_protected(list, count))
        return real()->lio_listio(mode, list, count, event);
    struct aio_batch *batch = aio_batch_new(mode == LIO_WAIT, mode == LIO_NOWAIT ? event : NULL);
    if (!batch)
        return fail(EAGAIN);
    bool refused = false;
    for (int i = 0; i < count; i++) {
        if (!counts(list[i]))
            continue;
        if (!aio_jobs_add(list[i], list[i]->aio_lio_opcode, batch))
            refused = true;
    }
    if (mode == LIO_WAIT)
        return wait_for_batch(batch);
    aio_batch_leave(batch);
    return refused ? fail(EIO) : 0;
}

HOOK int lio_listio64(int mode, struct aiocb64 *const list[], int count, struct sigevent *event)
{
    return lio_listio(mode, (struct aiocb *const *)list, count, event);
}

static bool any_ours(const struct aiocb *const list[], int count)
{
    for (int i = 0; i < count; i++)
        if (list[i] && aio_jobs_has(list[i]))
            return true;
    return false;
}

static bool any_done(const struct aiocb *const list[], int count)
{
    for (int i = 0; i < count; i++)
        if (list[i] && __atomic_load_n(&list[i]->__error_code, __ATOMIC_ACQUIRE) != EINPROGRESS)
            return true;
    return false;
}

/* Those of glibc in the same list end without telling us: the waits are short pieces anyway. */
HOOK int aio_suspend(const struct aiocb *const list[], int count, const struct timespec *timeout)
{
    if (!policy || !any_ours(list, count))
        return real()->aio_suspend(list, count, timeout);
    int64_t left_ms = INT_MAX, deadline_ms = INT64_MAX;
    if (timeout && timeout->tv_sec < INT_MAX / 1000)
        deadline_ms = aio_jobs_now_ms() + (int64_t)timeout->tv_sec * 1000 + (timeout->tv_nsec + 999999) / 1000000;
    for (;;) {
        uint32_t seen = aio_jobs_completions();
        if (any_done(list, count))
            return 0;
        if (deadline_ms != INT64_MAX && (left_ms = deadline_ms - aio_jobs_now_ms()) <= 0)
            return fail(EAGAIN);
        if (wait_for_completions(seen, left_ms) == EINTR)
            return fail(EINTR);
    }
}

HOOK int aio_suspend64(const struct aiocb64 *const list[], int count, const struct timespec *timeout)
{
    return aio_suspend((const struct aiocb *const *)list, count, timeout);
}

HOOK int aio_cancel(int fd, struct aiocb *cb)
{
    if (!policy || !(cb ? aio_jobs_has(cb) : aio_jobs_on(fd)))
        return real()->aio_cancel(fd, cb);
    if (fcntl(fd, F_GETFL) < 0)
        return fail(EBADF);
    if (cb && cb->aio_fildes != fd)
        return fail(EINVAL);
    return aio_jobs_cancel(fd, cb);
}

HOOK int aio_cancel64(int fd, struct aiocb64 *cb)
{
    return aio_cancel(fd, (struct aiocb *)cb);
}
