/* The transport that the hooks lend to src/conn.h. */
#ifndef P2PTLS_IO_H
#define P2PTLS_IO_H

#include "conn.h"

extern const struct conn_io io_transport;
int64_t io_now_ms(void);

#endif
