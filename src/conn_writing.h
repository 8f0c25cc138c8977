/* What the files that send share: one call's work on the sending direction (conn_write.c, conn_quick.c, conn_turn.c).
 */
#ifndef P2PTLS_CONN_WRITING_H
#define P2PTLS_CONN_WRITING_H

#include "conn_internal.h"

struct writing {
    struct conn *c;
    int fd;
    struct slot_tx tx; /* private copy, checked */
    bool more;
    conn_source source; /* gives the bytes instead of the program's buffers */
    void *source_ctx;
    uint8_t *scratch;
    int error; /* of this call alone, such as ENOBUFS; tx.error is for good */
};

/* One sealed record in scratch. */
struct sealed {
    size_t len;     /* on the wire */
    size_t content; /* application bytes in it */
    uint64_t seq;
    bool changes_keys; /* a KeyUpdate: what follows is under the next keys */
};

/* The sending lock, and a checked copy of what it guards. tx_copy: of a lock that is held. */
enum result tx_lock(struct writing *w);
enum result tx_copy(struct writing *w);
void tx_end(struct writing *w); /* gives scratch back, too */
void tx_unlock(struct writing *w);
enum result tx_fail(struct writing *w, int error);
/* Nobody else has something to send first: RESULT_OK (also if they died, where tx_begin says so). */
bool tx_others_wait(const struct conn *c);
/* What the kernel took of sealed[0..n): k, as send(2) and -errno. RESULT_AGAIN: nothing, no nonce is spent. */
enum result tx_sent(struct writing *w, const struct sealed *sealed, size_t n, ssize_t k, size_t *content);
/* What the program is told of a call that has come to result, with put bytes on their way; no lock is held. */
enum result tx_told(struct writing *w, enum result result, size_t put, int *error);

/* conn_quick.c: the usual write: one buffer, one record, nothing else to do. False: nothing was done. */
bool tx_quick(struct conn *c, int fd, const struct iovec *iov, bool more, size_t *put, int *error, enum result *result);

#endif
