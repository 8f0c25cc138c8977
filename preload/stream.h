/* Reading and writing of protected connections with a program's flags, waiting as libc does. */
#ifndef P2PTLS_STREAM_H
#define P2PTLS_STREAM_H

#include "state.h"

#include <errno.h>

/* As recv(2) and send(2) on iovecs: bytes, or -1 with errno. */
ssize_t stream_receive(struct desc *d, int fd, const struct iovec *iov, int count, int flags);
ssize_t stream_send(struct desc *d, int fd, const struct iovec *iov, int count, int flags);

/* Ends a call on a number that must fail. */
static inline ssize_t stream_special(int error)
{
    errno = error;
    return -1;
}

/* Starts an unstarted handshake, as any readiness call does. */
void stream_touch(struct desc *d, int fd);

/* Is there something for the program to read, or an end or error to see? For blocking descriptors, whose readers trust
 * poll(2). */
bool stream_readable(struct desc *d, int fd);

/* Waits for the end of the handshake, at most timeout_ms (-1: as long as it takes). 0, or an errno; ETIMEDOUT when the
 * time is over. Blocks; the caller has a hold on d. */
int stream_wait_handshake(struct desc *d, int fd, int64_t timeout_ms);

bool stream_is_blocking(int fd);

/* SCM_RIGHTS, in hook_write.c and hook_read.c. */
bool passes_protected(const struct msghdr *m);
void mark_received(const struct msghdr *m);

#endif
