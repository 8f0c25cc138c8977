/* The options of SOL_P2PTLS, by which a program that knows of the library talks to it (p2ptls.h). */
#ifndef P2PTLS_KNOWN_H
#define P2PTLS_KNOWN_H

#include <sys/socket.h>

/* As setsockopt(2) and getsockopt(2) of level SOL_P2PTLS. */
int known_set(int fd, int name, const void *value, socklen_t len);
int known_get(int fd, int name, void *value, socklen_t *len);

#endif
