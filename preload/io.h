/* The transport that the hooks lend to src/conn.h. */
#ifndef P2PTLS_IO_H
#define P2PTLS_IO_H

#include "conn.h"
#include "sandbox.h"

#include <poll.h>

extern const struct conn_io io_transport;
/* The transport that does with what a sandbox leaves. */
const struct conn_io *io_transport_under(const struct sandbox *sandbox);
/* ppoll(2), or poll(2) where a sandbox has only that, without a cancellation point: -errno. ms < 0: no limit. */
long io_poll(struct pollfd *fds, size_t n, int64_t ms);
int64_t io_now_ms(void);
/* The bytes of a stream that the kernel has taken so far, less a constant; -1 if it does not tell. */
int64_t io_sent_total(int fd);

#endif
