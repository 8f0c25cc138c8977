/* Requests of aio_read, aio_write and lio_listio for protected connections, and the threads that do them. Any thread
 * may call these; a fork finds the lists whole, and its child has none. */
#ifndef P2PTLS_AIO_JOBS_H
#define P2PTLS_AIO_JOBS_H

#include <aio.h>
#include <stdbool.h>
#include <stdint.h>

/* A list of requests that are waited for, or told of, together. Lives until its last request is done and whoever made
 * it has left it. */
struct aio_batch;
struct aio_batch *aio_batch_new(bool waited_for, const struct sigevent *event); /* NULL without memory */
void aio_batch_leave(struct aio_batch *batch);
/* True: all are done, *failed tells whether one did, and the batch is left. */
bool aio_batch_done(struct aio_batch *batch, bool *failed);

/* The request's state is EINPROGRESS, or what is wrong with it. False: it cannot be done (no memory, no thread). */
bool aio_jobs_add(struct aiocb *cb, int opcode, struct aio_batch *batch);
bool aio_jobs_has(const struct aiocb *cb);     /* queued, or being done */
bool aio_jobs_on(int fd);                      /* some are */
int aio_jobs_cancel(int fd, struct aiocb *cb); /* as aio_cancel(3); cb NULL: all of fd */

uint32_t aio_jobs_completions(void); /* how many were ever done */
/* Until there are more, or the time is over. 0 or EINTR. */
int aio_jobs_wait(uint32_t seen, int timeout_ms);
int64_t aio_jobs_now_ms(void);

#endif
