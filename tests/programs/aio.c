/* POSIX aio on connections: reads and writes, lists (also with files in them), waiting, cancelling, and each way to be
 * told. */
#include "calls.h"

#include <aio.h>
#include <semaphore.h>
#include <sys/mman.h>

static sem_t told;
static volatile int told_value;

static struct aiocb request(int fd, void *buffer, size_t len)
{
    struct aiocb cb = {.aio_fildes = fd, .aio_buf = buffer, .aio_nbytes = len};
    cb.aio_sigevent.sigev_notify = SIGEV_NONE;
    return cb;
}

static void wait_done(const struct aiocb *cb)
{
    while (aio_error(cb) == EINPROGRESS)
        GIVES(aio_suspend(&cb, 1, NULL), 0);
}

static void one_of_each(int end[2])
{
    char got[20] = "";
    struct aiocb reading = request(end[1], got, sizeof(got)), writing = request(end[0], "words", 5);
    struct timespec brief = {0, 30000000};
    const struct aiocb *list[2] = {&reading, NULL};
    GIVES(aio_read(&reading), 0);
    FAILS(aio_suspend(list, 2, &brief), EAGAIN);
    GIVES(aio_error(&reading), EINPROGRESS);
    GIVES(aio_write(&writing), 0);
    wait_done(&writing);
    wait_done(&reading);
    GIVES(aio_error(&writing), 0);
    GIVES(aio_return(&writing), 5);
    GIVES(aio_return(&reading), 5);
    CHECK(strcmp(got, "words") == 0, "read \"%s\"", got);
    reading.aio_reqprio = -1;
    FAILS(aio_read(&reading), EINVAL);
    GIVES(aio_error(&reading), EINVAL);
}

/* Requests for one descriptor are done one after the other. */
static void in_order(int end[2])
{
    enum { N = 10, SIZE = 30000 };
    static char out[N][SIZE], in[N][SIZE];
    struct aiocb writes[N], reads[N];
    for (int i = 0; i < N; i++) {
        stream_fill(3, (uint64_t)i * SIZE, out[i], SIZE);
        writes[i] = request(end[0], out[i], SIZE);
        GIVES(aio_write(&writes[i]), 0);
    }
    uint64_t at = 0;
    while (at < N * SIZE) {
        for (int i = 0; i < N; i++) {
            reads[i] = request(end[1], in[i], at + (uint64_t)i < N * SIZE ? 1000 : 0);
            GIVES(aio_read(&reads[i]), 0);
            wait_done(&reads[i]);
            GIVES(aio_error(&reads[i]), 0);
            ssize_t n = aio_return(&reads[i]);
            stream_check(3, at, in[i], (size_t)n);
            at += (uint64_t)n;
            if (at == N * SIZE)
                break;
        }
    }
    for (int i = 0; i < N; i++) {
        wait_done(&writes[i]);
        GIVES(aio_return(&writes[i]), SIZE);
    }
}

static void cancelling(int end[2])
{
    char got[3] = "", other[3] = "";
    struct aiocb first = request(end[1], got, 2), second = request(end[1], other, 2);
    GIVES(aio_cancel(end[1], NULL), AIO_ALLDONE);
    GIVES(aio_read(&first), 0);
    poll(NULL, 0, 50); /* it is under way */
    GIVES(aio_read(&second), 0);
    GIVES(aio_cancel(end[1], &second), AIO_CANCELED);
    GIVES(aio_error(&second), ECANCELED);
    GIVES(aio_return(&second), -1);
    GIVES(aio_cancel(end[1], &first), AIO_NOTCANCELED);
    GIVES(aio_error(&first), EINPROGRESS);
    FAILS(aio_cancel(end[0], &first), EINVAL);
    FAILS(aio_cancel(999, NULL), EBADF);
    SYS(write(end[0], "ab", 2));
    wait_done(&first);
    GIVES(aio_return(&first), 2);
    GIVES(aio_cancel(end[1], &first), AIO_ALLDONE);
}

static void on_signal(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    if (info->si_code == SI_ASYNCIO)
        told_value = info->si_value.sival_int;
    sem_post(&told);
}

static void on_thread(union sigval value)
{
    told_value = value.sival_int;
    sem_post(&told);
}

static void await_told(int value)
{
    while (sem_wait(&told) < 0)
        CHECK(errno == EINTR, "sem_wait: %s", strerror(errno));
    GIVES(told_value, value);
}

static void telling(int end[2])
{
    char got[5];
    struct sigaction act = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    SYS(sigaction(SIGRTMIN, &act, NULL));
    struct aiocb writing = request(end[0], "12345", 5), reading = request(end[1], got, 5);
    writing.aio_sigevent =
        (struct sigevent){.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN, .sigev_value.sival_int = 41};
    reading.aio_sigevent = (struct sigevent){
        .sigev_notify = SIGEV_THREAD, .sigev_notify_function = on_thread, .sigev_value.sival_int = 42};
    GIVES(aio_write(&writing), 0);
    await_told(41);
    GIVES(aio_error(&writing), 0);
    GIVES(aio_read(&reading), 0);
    await_told(42);
    GIVES(aio_return(&reading), 5);
}

/* A connection, a pipe and a file in one list. */
static void lists(int end[2])
{
    char in[4][8] = {"", "", "", ""};
    int file = (int)SYS(memfd_create("f", 0)), p[2];
    SYS(pipe(p));
    SYS(pwrite(file, "..file", 6, 0));
    SYS(write(p[1], "pipe", 4));
    struct aiocb cb[5] = {request(end[0], "tcp!", 4), request(end[1], in[0], 4), request(p[0], in[1], 4),
                          request(file, in[2], 4), request(file, "put", 3)};
    static const int opcodes[5] = {LIO_WRITE, LIO_READ, LIO_READ, LIO_READ, LIO_WRITE};
    struct aiocb *list[7] = {NULL, NULL};
    for (int i = 0; i < 5; i++) {
        cb[i].aio_lio_opcode = opcodes[i];
        list[i + 1] = &cb[i];
    }
    cb[3].aio_offset = 2;
    cb[4].aio_offset = 10;
    struct aiocb nothing = request(999, NULL, 0);
    nothing.aio_lio_opcode = LIO_NOP;
    list[6] = &nothing;
    GIVES(lio_listio(LIO_WAIT, list, 7, NULL), 0);
    for (int i = 0; i < 5; i++)
        GIVES(aio_return(&cb[i]), i == 4 ? 3 : 4);
    CHECK(!strcmp(in[0], "tcp!") && !strcmp(in[1], "pipe") && !strcmp(in[2], "file"), "%s %s %s", in[0], in[1], in[2]);
    FAILS(lio_listio(77, list, 7, NULL), EINVAL);

    struct sigevent event = {
        .sigev_notify = SIGEV_THREAD, .sigev_notify_function = on_thread, .sigev_value.sival_int = 43};
    SYS(write(p[1], "more", 4));
    GIVES(lio_listio(LIO_NOWAIT, list, 6, &event), 0);
    await_told(43);
    for (int i = 0; i < 5; i++)
        GIVES(aio_return(&cb[i]), i == 4 ? 3 : 4);

    cb[3].aio_fildes = p[1]; /* cannot be read */
    SYS(write(p[1], "last", 4));
    FAILS(lio_listio(LIO_WAIT, list, 6, NULL), EIO);
    GIVES(aio_error(&cb[3]), EBADF);
    GIVES(aio_error(&cb[1]), 0);
    SYS(close(file));
    SYS(close(p[0]));
    SYS(close(p[1]));
}

static void ends(int end[2])
{
    char got[4];
    struct aiocb reading = request(end[1], got, 4), writing = request(end[1], "x", 1);
    struct aiocb sync = request(end[1], NULL, 0);
    GIVES(aio_fsync(O_SYNC, &sync), 0);
    wait_done(&sync);
    GIVES(aio_error(&sync), EINVAL);
    SYS(shutdown(end[0], SHUT_WR));
    GIVES(aio_read(&reading), 0);
    wait_done(&reading);
    GIVES(aio_return(&reading), 0);
    SYS(shutdown(end[1], SHUT_WR));
    GIVES(aio_write(&writing), 0);
    wait_done(&writing);
    GIVES(aio_error(&writing), EPIPE);
    GIVES(aio_return(&writing), -1);
}

int main(void)
{
    static void (*const with_pair[])(int end[2]) = {one_of_each, in_order, cancelling, telling, lists, ends};
    watchdog_start();
    SYS(sem_init(&told, 0, 0));
    for (unsigned i = 0; i < sizeof(with_pair) / sizeof(with_pair[0]); i++) {
        int end[2];
        tcp_pair(end);
        with_pair[i](end);
        SYS(close(end[0]));
        SYS(close(end[1]));
        progress();
    }
    return 0;
}
