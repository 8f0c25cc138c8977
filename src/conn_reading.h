/* What the files that receive share: one call's work on the receiving direction (conn_read.c, conn_open.c,
 * conn_peek.c).
 *
 * Invariants, whenever the receiving lock is free:
 *  - while opened plaintext is left over, the last byte of the newest opened record is still in the kernel (tail_held);
 *  - a record that is not whole yet is in the slot, so that it does not make the socket readable;
 *  - never both. */
#ifndef P2PTLS_CONN_READING_H
#define P2PTLS_CONN_READING_H

#include "conn_internal.h"

/* What a quick read has received, or opened already, when it turned out to be none (conn_quick.c). */
struct quick_start {
    uint8_t *wire;
    size_t ask;
    ssize_t k; /* as recv(2), or -errno */
    bool opened;
    enum result result; /* of record_open, and what it gave */
    enum record_type type;
    uint8_t alert;
    size_t len;
};

/* One call's work. rx is a private copy of the slot's control struct, checked once: the slot may be written by a
 * hostile co-holder at any moment. */
struct reading {
    struct conn *c;
    int fd;
    struct slot_rx rx;
    const struct iovec *iov;
    int count;
    size_t want, got; /* of the program's buffers */
    conn_sink sink;   /* takes the bytes instead of iov */
    void *sink_ctx;
    bool takes;    /* what it gives is taken from the stream, and counted */
    size_t queued; /* for conn_count: bytes in the kernel */
    uint8_t *scratch;
    const struct quick_start *start; /* NULL: nothing was received yet */
    unsigned barren;                 /* records in a row without content */
    bool drained;                    /* the kernel gave less than it was asked for: it had no more */
    bool dry; /* and this it has said itself (EAGAIN): no end of the stream was behind it either */
};

/* conn_open.c */

/* recv(2) with the held tail byte, if any, taken first. RESULT_OK with *n > 0. */
enum result rx_receive(struct reading *r, uint8_t *to, size_t ask, size_t *n);
/* The rest of rx_receive, for k bytes of ask in front of which no tail was held. */
enum result rx_received(struct reading *r, ssize_t k, size_t ask, size_t *n);
/* Breaks the connection off: what is said in the log, and the alert for the peer. */
enum result rx_violation(struct reading *r, const char *what, int alert);
enum result rx_end(struct reading *r, enum slot_rx_end end, int error);
/* What a header, perhaps in memory that others write, promises. */
enum result rx_body_length(struct reading *r, const uint8_t *header, size_t *body);
/* Opens the whole record at wire into plain. RESULT_OK: application data, *len of it; 0 for control records too. */
enum result rx_open_record(struct reading *r, const uint8_t *wire, size_t wire_len, uint8_t *plain, size_t *len);
/* The rest of rx_open_record, behind record_open and its result. */
enum result rx_opened(struct reading *r, enum result opened, enum record_type type, uint8_t *plain, size_t *len,
                      uint8_t alert);
/* Runs loop under the receiving lock, on a checked copy of the slot's state. */
enum result rx_run(struct conn *c, int fd, struct reading *r, enum result (*loop)(struct reading *));
/* The same, when the lock is held already. */
enum result rx_run_held(struct reading *r, enum result (*loop)(struct reading *));
/* Bytes that the program does not see any more must not keep the socket readable: takes the tail of a record whose
 * content was all read, or that had none. */
void rx_take_tail(struct reading *r);

/* conn_ticket.c. Takes a ticket that is awaited, and whole in the kernel, past the slot. RESULT_OK also where there is
 * none; RESULT_AGAIN: the kernel has just said that it has nothing at all. */
enum result rx_take_ticket(struct reading *r);

/* conn_read.c */

/* Smaller records are opened in scratch and copied: control records are small, and what they hold, or padding, must not
 * pass through the program's buffer. */
enum { DIRECT_MIN = 4096 };
/* How much to ask for when have bytes of the stream are here already: what room bytes of the program's buffer can hold
 * as plaintext and the overhead of the full records in it. So whole records fit, and nothing is left over in the usual
 * case. */
size_t rx_ask_for(size_t room, size_t have);
/* Goes on where a quick read had to stop (r->start). */
enum result rx_start_loop(struct reading *r);
/* What the program is told of a call that has come to result; no lock is held. */
enum result rx_told(struct reading *r, enum result result, size_t *got, int *error);
/* A read of got bytes, and more of a record that has not come whole: what the next ones will be like. */
void rx_note_size(struct conn *c, size_t got, bool in_part);

/* conn_quick.c: the usual read: one record that is whole, into one buffer. False: nothing was done. */
bool rx_quick(struct conn *c, int fd, const struct iovec *iov, size_t *got, int *error, enum result *result);

/* Opens the next record into the slot, all but its last byte taken from the kernel. */
enum result rx_read_into_slot(struct reading *r);
void rx_deliver(struct reading *r, const uint8_t *from, size_t len);

/* conn_peek.c */
enum result rx_peek_loop(struct reading *r);

#endif
