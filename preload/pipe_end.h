/* A pipe as the other end of a protected connection (splice): bytes move to and from it without waiting. */
#ifndef P2PTLS_PIPE_END_H
#define P2PTLS_PIPE_END_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct pipe_end {
    int fd;
    int error;  /* why nothing moved: EAGAIN if the pipe was full or empty */
    bool ended; /* it is empty, and nobody is left to write to it */
};

/* For conn_read_to and conn_write_from, ctx is a struct pipe_end: the bytes that have moved, 0 or less if none. */
ssize_t pipe_put(void *ctx, const uint8_t *bytes, size_t len);
ssize_t pipe_take(void *ctx, uint8_t *bytes, size_t len);

#endif
