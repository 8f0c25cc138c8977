/* aio(7): single requests, and lists of several. */
#include "differential.h"

#include <aio.h>

static struct aiocb block_of(const struct call *c)
{
    return (struct aiocb){
        .aio_fildes = c->fd, .aio_buf = area, .aio_nbytes = c->step->len, .aio_sigevent.sigev_notify = SIGEV_NONE};
}

static void await_block(struct call *c, struct aiocb *cb)
{
    const struct aiocb *list[1] = {cb};
    while (aio_error(cb) == EINPROGRESS)
        aio_suspend(list, 1, NULL);
    note(c, "aio_error", aio_error(cb));
    errno = NO_ERRNO;
    ssize_t n = aio_return(cb);
    note(c, "aio_return", n);
}

static void run_aio_write(struct call *c)
{
    struct aiocb cb = block_of(c), *list[1] = {&cb};
    stream_fill((uint64_t)(1 - c->number), c->end->sent, area, c->step->len);
    cb.aio_lio_opcode = LIO_WRITE;
    if (RUN(c, c->step->variant ? lio_listio(LIO_WAIT, list, 1, NULL) : aio_write(&cb)) < 0 && !c->step->variant)
        return;
    await_block(c, &cb);
    if (aio_error(&cb) == 0)
        c->end->sent += c->step->len;
}

static void run_aio_read(struct call *c)
{
    struct aiocb cb = block_of(c), *list[1] = {&cb};
    int available = 0;
    ioctl(c->fd, FIONREAD, &available);
    if (available <= 0) /* it would wait for ever */
        return;
    memset(area, FILL, c->step->len + TAIL);
    cb.aio_lio_opcode = LIO_READ;
    if (RUN(c, c->step->variant ? lio_listio(LIO_WAIT, list, 1, NULL) : aio_read(&cb)) < 0 && !c->step->variant)
        return;
    await_block(c, &cb);
    size_t n = aio_error(&cb) == 0 ? ((unsigned)available < c->step->len ? (unsigned)available : c->step->len) : 0;
    note(c, "differs at", stream_differs((uint64_t)c->number, c->end->received, area, n));
    c->end->received += n;
}

/* Writes around entries that are none, one that cannot be read, and one for a number that is not open. Requests for one
 * descriptor are worked through in their order. */
enum { FIRST = 0, NOTHING, NO_OPERATION, SECOND, READS, NOT_OPEN, ENTRIES };

struct list {
    struct aiocb blocks[ENTRIES], *entries[ENTRIES];
    uint8_t read[100];
};

static void fill_list(struct call *c, struct list *l)
{
    size_t part = c->step->len / 2;
    int available = 0;
    memset(l, 0, sizeof(*l));
    ioctl(c->fd, FIONREAD, &available);
    stream_fill((uint64_t)(1 - c->number), c->end->sent, area, c->step->len);
    for (int i = 0; i < ENTRIES; i++) {
        l->blocks[i] = block_of(c);
        l->blocks[i].aio_lio_opcode = i == NO_OPERATION ? LIO_NOP : i == READS ? LIO_READ : LIO_WRITE;
        l->entries[i] = i == NOTHING ? NULL : &l->blocks[i];
    }
    l->blocks[FIRST].aio_nbytes = part;
    l->blocks[SECOND].aio_buf = area + part;
    l->blocks[SECOND].aio_nbytes = c->step->len - part;
    l->blocks[READS].aio_buf = l->read;
    l->blocks[READS].aio_nbytes = sizeof(l->read);
    if (available <= 0) /* it would wait for ever */
        l->blocks[READS].aio_lio_opcode = LIO_NOP;
    l->blocks[NOT_OPEN].aio_fildes = -1;
}

static void run_lio_several(struct call *c)
{
    static struct list l;
    fill_list(c, &l);
    int count = c->step->variant & 2 ? ENTRIES : NOT_OPEN;
    RUN(c, lio_listio(c->step->variant & 1 ? LIO_NOWAIT : LIO_WAIT, l.entries, count, NULL));
    for (int i = 0; i < count; i++) {
        if (!l.entries[i] || l.blocks[i].aio_lio_opcode == LIO_NOP)
            continue;
        await_block(c, &l.blocks[i]);
        ssize_t n = aio_error(&l.blocks[i]) == 0 ? aio_return(&l.blocks[i]) : 0;
        if (i != READS)
            c->end->sent += (uint64_t)n;
        if (i != READS || n <= 0)
            continue;
        note(c, "differs at", stream_differs((uint64_t)c->number, c->end->received, l.read, (size_t)n));
        c->end->received += (uint64_t)n;
    }
}

/* What is no reading and no writing, and what cannot be asked for. */
static void run_aio_other(struct call *c)
{
    struct aiocb cb = block_of(c), *list[1] = {&cb};
    cb.aio_nbytes = 1;
    if (RUN(c, aio_fsync(O_SYNC, &cb)) == 0)
        await_block(c, &cb);
    RUN(c, aio_fsync(77, &cb));
    RUN(c, aio_cancel(c->fd, NULL));
    RUN(c, aio_cancel(c->fd, &cb));
    cb.aio_reqprio = -1;
    RUN(c, aio_write(&cb));
    RUN(c, aio_read(&cb));
    cb.aio_reqprio = 0;
    cb.aio_lio_opcode = 99;
    RUN(c, lio_listio(LIO_WAIT, list, 1, NULL));
    RUN(c, lio_listio(77, list, 1, NULL));
    RUN(c, lio_listio(LIO_WAIT, list, 0, NULL));
    RUN(c, lio_listio(LIO_WAIT, list, -1, NULL));
}

static const unsigned no_flags[] = {0, LAST};
static const unsigned no_lengths[] = {0, LAST};
static const unsigned lengths[] = {0, 1, 100, 20000, LAST};

const struct operation aio_operations[] = {
    {"aio_write", run_aio_write, 2, SLOW, no_flags, lengths, 1},
    {"aio_read", run_aio_read, 2, SLOW, no_flags, lengths, 1},
    {"lio_several", run_lio_several, 4, SLOW, no_flags, lengths, 1},
    {"aio_other", run_aio_other, 1, SLOW, no_flags, no_lengths, 1},
    {NULL},
};
