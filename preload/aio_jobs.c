#include "aio_jobs.h"

#include "io.h"
#include "state.h"
#include "sys.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <string.h>

enum { STACK_BYTES = 256 * 1024 }; /* a handshake may run in it */

struct aio_batch {
    _Atomic int left; /* requests, and one for whoever made it */
    _Atomic bool failed;
    bool waited_for;
    struct sigevent event;
};

struct job {
    struct job *next;
    struct aiocb *cb;
    int fd, opcode;
    struct aio_batch *batch;
};

/* What is to be done on one descriptor, one after the other, by one thread. */
struct lane {
    struct lane *next;
    int fd;
    struct job *running, *first;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* taken inside library_enter: a fork finds it free */
static struct lane *lanes;
static _Atomic uint32_t completions;

static void enter(void)
{
    library_enter();
    pthread_mutex_lock(&lock);
}

static void leave(void)
{
    pthread_mutex_unlock(&lock);
    library_leave();
}

int64_t aio_jobs_now_ms(void)
{
    return io_now_ms();
}

uint32_t aio_jobs_completions(void)
{
    return atomic_load(&completions);
}

int aio_jobs_wait(uint32_t seen, int timeout_ms)
{
    struct timespec t = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};
    return sys4(SYS_futex, &completions, FUTEX_WAIT_PRIVATE, (long)seen, &t) == -EINTR ? EINTR : 0;
}

/* ---- telling ---- */

static void *call_function(void *arg)
{
    struct sigevent event = *(struct sigevent *)arg;
    sigset_t none;
    free(arg);
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    event.sigev_notify_function(event.sigev_value);
    return NULL;
}

static void start_function(const struct sigevent *event)
{
    struct sigevent *copy = malloc(sizeof *copy);
    pthread_t thread_id;
    pthread_attr_t standard, *attr = event->sigev_notify_attributes;
    pthread_attr_init(&standard);
    pthread_attr_setdetachstate(&standard, PTHREAD_CREATE_DETACHED);
    if (copy)
        *copy = *event;
    if (copy && pthread_create(&thread_id, attr ? attr : &standard, call_function, copy) != 0)
        free(copy);
    pthread_attr_destroy(&standard);
}

static void notify(const struct sigevent *event)
{
    if (event->sigev_notify == SIGEV_THREAD)
        start_function(event);
    if (event->sigev_notify != SIGEV_SIGNAL)
        return;
    siginfo_t info;
    memset(&info, 0, sizeof info);
    info.si_signo = event->sigev_signo;
    info.si_code = SI_ASYNCIO;
    info.si_pid = getpid();
    info.si_uid = getuid();
    info.si_value = event->sigev_value;
    sys3(SYS_rt_sigqueueinfo, (long)info.si_pid, (long)info.si_signo, &info);
}

/* ---- batches ---- */

struct aio_batch *aio_batch_new(bool waited_for, const struct sigevent *event)
{
    struct aio_batch *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    atomic_store(&b->left, 1);
    b->waited_for = waited_for;
    if (event)
        b->event = *event;
    else
        b->event.sigev_notify = SIGEV_NONE;
    return b;
}

void aio_batch_leave(struct aio_batch *b)
{
    if (atomic_fetch_sub(&b->left, 1) != 1)
        return;
    notify(&b->event);
    free(b);
}

bool aio_batch_done(struct aio_batch *b, bool *failed)
{
    if (atomic_load(&b->left) > 1)
        return false;
    *failed = atomic_load(&b->failed);
    aio_batch_leave(b);
    return true;
}

/* ---- the work ---- */

/* l: whose thread has done it; NULL: cancelled. */
static void complete(struct job *j, struct lane *l, ssize_t result, int error)
{
    struct sigevent event = j->cb->aio_sigevent;
    struct aio_batch *batch = j->batch;
    enter();
    j->cb->__return_value = result;
    __atomic_store_n(&j->cb->__error_code, error, __ATOMIC_RELEASE); /* from here on it is the program's again */
    if (l)
        l->running = NULL;
    free(j);
    leave();
    if (batch && error)
        atomic_store(&batch->failed, true);
    notify(&event);
    if (batch)
        aio_batch_leave(batch);
    atomic_fetch_add(&completions, 1);
    sys3(SYS_futex, &completions, FUTEX_WAKE_PRIVATE, 1L << 30);
}

/* Descriptors of another kind, which are in a list with a protected one, have places. */
static ssize_t perform(const struct job *j)
{
    void *buffer = (void *)j->cb->aio_buf;
    size_t len = j->cb->aio_nbytes;
    bool reads = j->opcode == LIO_READ;
    if (!table_find_data(j->fd)) {
        ssize_t n =
            reads ? pread64(j->fd, buffer, len, j->cb->aio_offset) : pwrite64(j->fd, buffer, len, j->cb->aio_offset);
        if (n >= 0 || errno != ESPIPE)
            return n;
    }
    return reads ? read(j->fd, buffer, len) : write(j->fd, buffer, len);
}

static void take_out(struct lane *l)
{
    struct lane **at = &lanes;
    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    free(l);
}

static struct job *next_job(struct lane *l)
{
    enter();
    struct job *j = l->running = l->first;
    if (j)
        l->first = j->next;
    else
        take_out(l);
    leave();
    return j;
}

static void *lane_main(void *arg)
{
    for (struct job *j; (j = next_job(arg));) {
        ssize_t n = perform(j);
        complete(j, arg, n, n < 0 ? errno : 0);
    }
    return NULL;
}

static bool start_lane(struct lane *l)
{
    pthread_t thread_id;
    sigset_t all, before;
    pthread_attr_t attr;
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int error = pthread_create(&thread_id, &attr, lane_main, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return error == 0;
}

static struct lane *lane_of(int fd)
{
    struct lane *l = lanes;
    while (l && l->fd != fd)
        l = l->next;
    return l;
}

/* lock held. */
static bool append(struct job *j)
{
    struct lane *l = lane_of(j->fd);
    if (l) {
        struct job **end = &l->first;
        while (*end)
            end = &(*end)->next;
        *end = j;
        return true;
    }
    if (!(l = calloc(1, sizeof *l)))
        return false;
    *l = (struct lane){.next = lanes, .fd = j->fd, .first = j};
    lanes = l;
    if (start_lane(l))
        return true;
    take_out(l);
    return false;
}

bool aio_jobs_add(struct aiocb *cb, int opcode, struct aio_batch *batch)
{
    if (opcode != LIO_READ && opcode != LIO_WRITE) {
        cb->__return_value = -1;
        cb->__error_code = EINVAL;
        if (batch)
            atomic_store(&batch->failed, true);
        return false;
    }
    enter();
    struct job *j = malloc(sizeof *j);
    if (j) {
        *j = (struct job){.cb = cb, .fd = cb->aio_fildes, .opcode = opcode, .batch = batch};
        cb->__error_code = EINPROGRESS;
        if (batch)
            atomic_fetch_add(&batch->left, 1);
    }
    bool ok = j && append(j);
    if (!ok) {
        cb->__return_value = -1;
        cb->__error_code = EAGAIN;
        if (j && batch)
            atomic_fetch_sub(&batch->left, 1);
        if (batch)
            atomic_store(&batch->failed, true);
        free(j);
    }
    leave();
    return ok;
}

static bool lane_has(const struct lane *l, const struct aiocb *cb)
{
    if (l->running && l->running->cb == cb)
        return true;
    for (const struct job *j = l->first; j; j = j->next)
        if (j->cb == cb)
            return true;
    return false;
}

bool aio_jobs_has(const struct aiocb *cb)
{
    bool found = false;
    enter();
    for (const struct lane *l = lanes; l && !found; l = l->next)
        found = lane_has(l, cb);
    leave();
    return found;
}

bool aio_jobs_on(int fd)
{
    enter();
    const struct lane *l = lane_of(fd);
    leave();
    return l != NULL;
}

/* lock held. Takes what is queued and not begun, cb or all; a list of it. */
static struct job *take_queued(struct lane *l, const struct aiocb *cb)
{
    struct job *gone = NULL, **at = &l->first;
    while (*at) {
        struct job *j = *at;
        if (cb && j->cb != cb) {
            at = &j->next;
            continue;
        }
        *at = j->next;
        j->next = gone;
        gone = j;
    }
    return gone;
}

int aio_jobs_cancel(int fd, struct aiocb *cb)
{
    enter();
    struct lane *l = lane_of(fd);
    bool busy = l && l->running && (!cb || l->running->cb == cb);
    struct job *gone = l ? take_queued(l, cb) : NULL;
    leave();
    int result = busy ? AIO_NOTCANCELED : gone ? AIO_CANCELED : AIO_ALLDONE;
    while (gone) {
        struct job *j = gone;
        gone = j->next;
        complete(j, NULL, -1, ECANCELED);
    }
    return result;
}

void aio_forked(void)
{
    pthread_mutex_init(&lock, NULL);
    lanes = NULL; /* what the parent asked for is the parent's; glibc's aio leaves it behind as well */
}
