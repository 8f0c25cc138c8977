/* The transfer programs: a server and its clients. A client's order says what is to pass over the connection; a
 * connection takes several, one after the other. Both ends run on one machine, so numbers are in its byte order. */
#ifndef TRANSFER_H
#define TRANSFER_H

#include "transport.h"

#include <stdint.h>

enum { BUFFER_BYTES = 128 * 1024, TINY_READ_MOST = 100, LARGE_WRITE = 16 * 1024 };

enum order_kind {
    ORDER_BULK = 1, /* the client writes total bytes, size at a time; the server answers one byte at the end */
    ORDER_ECHO,     /* total times: size bytes there, the same back */
    ORDER_SEND,     /* the server writes total bytes, size at a time */
};

struct order {
    uint32_t kind;
    uint32_t size;
    uint64_t total;
};

/* What a command line said. */
struct options {
    uint16_t port;
    unsigned threads;
    int gated;
    uint32_t size;
    uint64_t total, count, warm_up;
    const char *steps; /* N,N,... of crowd */
};

void serve(const struct options *options);       /* threads that block; does not return */
void serve_crowd(const struct options *options); /* one thread with epoll; echoes CROWD_BYTES; does not return */

void load_bulk(const struct options *options);
void load_request(const struct options *options);
void load_tiny(const struct options *options);
void load_handshakes(const struct options *options);
void load_first(const struct options *options);
void load_crowd(const struct options *options);

/* The text that every payload is made of, so that a recording of the wire shows whether it went in clear. */
#define MARKER "p2ptls benchmark payload, in clear on purpose; "
char *payload(size_t len); /* allocated */

#endif
