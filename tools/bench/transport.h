/* What a connection is made of: plain sockets, GnuTLS or OpenSSL. One program is built for each (transfer-plain,
 * transfer-gnutls, transfer-openssl) from the same code above this interface. p2ptls is transfer-plain under the
 * library.
 *
 * Both libraries are used as their manuals say, with blocking or non-blocking sockets: TLS 1.3, AES-128-GCM, X25519,
 * certificates of both sides checked against one CA, the server's also against its address, no tickets. */
#ifndef TRANSPORT_H
#define TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct identity_files {
    const char *certificate, *key, *authority; /* PEM; NULL for plain sockets */
};

struct link; /* one connection */

/* Once in a process, before threads. */
void transport_start(const struct identity_files *files);

/* Takes the socket over, and makes the handshake if there is one (the socket is blocking then). Dies if that fails. */
struct link *link_open(int fd, bool dialled);

/* Moves up to len bytes. 0 from a read: the end, also one that was cut off (who still expects bytes dies of it). -1:
 * nothing now (EAGAIN of a non-blocking socket). Dies when it cannot write. */
ssize_t link_read(struct link *link, void *buffer, size_t len);
ssize_t link_write(struct link *link, const void *data, size_t len);

int link_fd(const struct link *link);
void link_close(struct link *link); /* in an orderly way, without waiting for the other side's end */

/* Made of the above, for blocking sockets. False: the end came before the first byte. */
bool link_read_all(struct link *link, void *buffer, size_t len);
void link_write_all(struct link *link, const void *data, size_t len);

#endif
