/* One protected connection as one process sees it: the shared slot, the process's AEAD handles, and while it lasts
 * the handshake. All calls are non-blocking; waiting is the embedder's business (preload/), as is making sure that
 * the descriptor number still means this connection (it pins it) for the time of a call.
 *
 * Threads: any, at once. Reads exclude reads, writes exclude writes, by locks in the slot that other processes share.
 * Signals: the embedder defers handlers while a call runs. Cancellation points: none in here. */
#ifndef P2PTLS_CONN_H
#define P2PTLS_CONN_H

#include "identity.h"
#include "policy.h"
#include "reflection.h"
#include "result.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* The transport. All non-blocking, without signals; return what the system call returns or -errno. */
struct conn_io {
    ssize_t (*receive)(int fd, const struct iovec *iov, int count, bool peek);
    ssize_t (*send)(int fd, const struct iovec *iov, int count, bool more);
    bool (*writable)(int fd);     /* poll(POLLOUT, 0) */
    long (*unread)(int fd);       /* SIOCINQ: bytes that can be received now */
    int (*shut)(int fd, int how); /* shutdown(2) */
    long (*unacked)(int fd);      /* SIOCOUTQ: bytes sent or queued and not acknowledged, FIN included */
    /* Fresh EPOLLIN and EPOLLOUT edges for whoever waits on the socket. shared: other processes may, too. */
    void (*raise_edges)(int fd, bool shared);
    void (*acknowledge)(int fd); /* TCP_QUICKACK: acknowledge what was received now, not 40 ms later */
    int (*tcp_state)(int fd);    /* TCP_INFO's tcpi_state: 1 established, 2 SYN_SENT, ... or -errno */
    void (*ends)(int fd, struct reflection_ends *out); /* both addresses, or that they are not known */
    int64_t (*now_ms)(void);                           /* CLOCK_MONOTONIC */
    /* Takes libc's lock of the list of streams, or gives it back; or NULL. For identity_token_enter. */
    void (*hold_streams)(bool hold);
    bool (*shallow)(void); /* this stack is a small one of a signal handler: no handshake on it, and no closing, where
                              another thread can do them. NULL: never */
    /* Calls fn, on a stack that is large enough for a handshake, if this one may not be. NULL: all are. */
    void (*call_with_stack)(void (*fn)(void *arg), void *arg);
    bool (*unhelped)(void); /* no thread calls conn_tick now. NULL: one does, always */
    bool no_peek;           /* a sandbox forbids MSG_PEEK: receive is never called with peek */
    size_t send_max;        /* a larger send could block; 0: none does */
};
void conn_set_io(const struct conn_io *io);
/* For dane=on: the handshake begins at once, and nothing leaves before the records are known. NULL: nobody can look
 * them up, and such rules refuse. */
struct tlsa_resolver;
void conn_set_resolver(const struct tlsa_resolver *resolver);

struct conn;

enum { CONN_PEER_TEXT = 80, CONN_UNSTARTED_MS = 20, CONN_LINGER_MS = 10000, CONN_REST_MS = 5 };

struct conn_params {
    const struct policy_rule *rule;
    struct identity *identity; /* the connection takes a reference of its own */
    bool connected_side;       /* false: accepted */
    const char *dialled_name;  /* the name or address that the program dialled; NULL: accepted; copied */
    char peer[CONN_PEER_TEXT]; /* address and port, for logs and known peers */
    uint64_t cookie;           /* SO_COOKIE, for `p2ptls status`; 0: not known */
};

/* A connection in state unstarted. NULL without memory. */
struct conn *conn_new(const struct conn_params *params);

/* What another program needs to go on with a connection, beside the socket (conn_pass.c). */
struct conn_passport {
    int memory;          /* the slot's own memfd */
    int family_file;     /* of the holders; -1 in an import: the family is known */
    uint8_t family[16];  /* its name */
    bool connected_side; /* as conn_params */
    char peer[CONN_PEER_TEXT];
};

/* Moves the slot to a memfd, once. The caller gets passport->memory and closes it; family_file is only lent. False:
 * it has been exported before, or it cannot be: another process shares the memory already, or descriptors are out.
 * Nobody may be inside the module meanwhile (as around fork). */
MUST_USE bool conn_export(struct conn *c, struct conn_passport *passport);
void conn_export_failed(struct conn *c); /* nobody has got the memory: it may be tried again */
/* Does an import need the family's file? Else pass -1, since a copy of the file must never be closed. */
bool conn_import_needs_family(const struct conn_passport *passport);
/* A connection that was exported, in whatever state it is. Consumes family_file, not memory. An unstarted one needs
 * conn_equip before anything else. */
enum conn_arrival { CONN_BY_EXEC = 0, CONN_BY_MESSAGE, CONN_BY_PEEK /* a message that is still there */ };
struct conn *conn_import(const struct conn_params *params, const struct conn_passport *passport,
                         enum conn_arrival arrival);
MUST_USE bool conn_equip(struct conn *c, struct identity *identity, const char *dialled_name);
/* Does nobody else hold the socket? */
bool conn_alone(struct conn *c);
/* Has nobody else ever held it? Costs no call. */
bool conn_sole(const struct conn *c);
/* It was received by a process that holds it already. */
void conn_arrived(struct conn *c);

/* Around exec(2), for a connection that the new program will go on with. */
void conn_prepare_exec(struct conn *c);
void conn_exec_failed(struct conn *c);
/* Around sending it by SCM_RIGHTS; conn_return if that failed. */
void conn_depart(struct conn *c);
void conn_return(struct conn *c);

/* Forgets it in this process: no I/O. Call after conn_leave or when the socket was closed by force. */
void conn_free(struct conn *c);

/* Adds the peer and the role to a log line of the embedder. */
const char *conn_peer(const struct conn *c);

/* What an open connection is; false before it is open, and afterwards if it failed. */
enum { CONN_SUBJECT = 1024, CONN_NAME = 256 };
struct conn_about {
    bool is_client;              /* this side's TLS role */
    const char *suite;           /* record_suite_name */
    bool resumed;                /* by a session ticket, with the same proof */
    bool proven;                 /* the peer showed an identity, and it was accepted */
    char subject[CONN_SUBJECT];  /* that identity, or "(unauthenticated)"; empty: too long */
    char alpn[CONN_NAME];        /* the agreed application protocol, or empty */
    char server_name[CONN_NAME]; /* what the peer dialled, if it said so */
};
bool conn_about(struct conn *c, struct conn_about *about);
/* An exporter value of an open connection (record.h). RESULT_AGAIN: not open. */
MUST_USE enum result conn_export_value(struct conn *c, const char *label, const uint8_t *context, size_t context_len,
                                       uint8_t *out, size_t out_len);

/* Claims an unstarted connection (RESULT_OK also if it was claimed before) and sends what may be sent. The TCP
 * connection must be established. */
MUST_USE enum result conn_start(struct conn *c, int fd);

/* connect(2) has just come back with success. */
void conn_connected(struct conn *c);

/* Drives the handshake as far as it goes. RESULT_OK: open. RESULT_AGAIN: not yet. Else failed: conn_error. */
MUST_USE enum result conn_drive(struct conn *c, int fd);

/* How far it is, from the slot alone: RESULT_OK open, RESULT_AGAIN under way or unstarted, else failed. */
enum result conn_state(const struct conn *c);
bool conn_unstarted(const struct conn *c);
bool conn_is_connector(const struct conn *c);
bool conn_owns_handshake(const struct conn *c); /* this process claimed it */

/* Waits until the handshake's owner (perhaps another process) has moved on, at most timeout_ms (< 0: no limit).
 * Returns 0 or EINTR, ETIMEDOUT. Blocks: call it unpinned. */
int conn_wait_state(struct conn *c, int timeout_ms);

/* Around a blocking receive of nothing (MSG_PEEK) by which a reader waits for the handshake of this process to go on.
 * Meanwhile the background leaves it to him, mostly; if the handshake fails, the receive ends. begin: false if there is
 * none, or it is another process's: then there is nothing to end. */
bool conn_read_begin(struct conn *c);
void conn_read_end(struct conn *c);

/* The errno of a connection that failed. */
int conn_error(const struct conn *c);
/* The same once, for SO_ERROR; 0 afterwards and if it did not fail. */
int conn_take_error(struct conn *c);

/* The kernel tells of a reset once. Where a call that meets one has something else to say (bytes read, a number of
 * bytes, nothing at all in the background), the next one that could fail says it. conn_take_untold: 0 if there is none.
 */
void conn_note_untold(struct conn *c, int error);
/* Around asking the kernel for its error on the program's behalf: whoever drives the handshake meanwhile would meet
 * what it leaves behind, and take a reset for an end. begin: false if nobody can; then there is nothing to end. Pinned.
 */
bool conn_asking_begin(struct conn *c);
void conn_asking_end(struct conn *c);
void conn_error_told(struct conn *c); /* by the kernel itself, to the program */
int conn_take_untold(struct conn *c);
/* Is an EPIPE of the kernel's due to our close_notify, which the peer's kernel refused? (RFC 9293, 3.10.7.4: a reset in
 * CLOSE-WAIT, where a plain socket that has ended its stream is no more.) If the reset comes after our FIN, where both
 * streams have ended, the kernel says ECONNRESET. */
bool conn_end_refused(struct conn *c, int error);

/* Reads application data. Ends short of the buffers only when the kernel has no more.
 * RESULT_OK: *got > 0. RESULT_AGAIN, RESULT_EOF, or a failure with *error set. peek leaves the data in place. *error is
 * EAGAIN with RESULT_AGAIN if the kernel has just said so: nobody who does not wait need ask it again. */
MUST_USE enum result conn_read(struct conn *c, int fd, const struct iovec *iov, int count, bool peek, size_t *got,
                               int *error);

/* Opens at least one record if one is there, and counts the whole records behind it, for FIONREAD. RESULT_OK with
 * *available > 0, RESULT_AGAIN, RESULT_EOF, or a failure: a read will tell. What is in the kernel (queued bytes, as its
 * own FIONREAD says) must never be counted too low, since nginx then waits for an edge that does not come. Exact for
 * whole records of application data up to 256 KiB; a record that is not whole yet counts as one byte, a closing alert
 * behind data as two. */
MUST_USE enum result conn_count(struct conn *c, int fd, size_t queued, size_t *available);

/* Readiness alone, for a reader that must not be told wrong: RESULT_OK if a read would give bytes. A record that
 * can only be application data is not opened for it. */
MUST_USE enum result conn_ready(struct conn *c, int fd);
/* Is the kernel's socket likely to be readable with nothing for the program in it? During the handshake and until the
 * first bytes are read; always, if the peer is a conventional TLS stack, which may send tickets and KeyUpdates unasked;
 * and while records are so large, or come in such pieces, that one may not be whole. Costs no call. */
bool conn_unsettled(const struct conn *c);
/* The handshake is not over, and no more can be kept for it: a write says EAGAIN, though the kernel has room. */
bool conn_writing_blocked(struct conn *c);

/* Writes application data; RESULT_OK with *put > 0 (short only when the kernel is full), RESULT_AGAIN with nothing
 * taken, or a failure with *error set. During the handshake it keeps the bytes, up to the rule's limit. more: MSG_MORE.
 * roomy: the caller has just waited for room, do not poll first. */
MUST_USE enum result conn_write(struct conn *c, int fd, const struct iovec *iov, int count, bool more, bool roomy,
                                size_t *put, int *error);

/* The same with somebody else in the place of the program's buffers: a sink takes bytes, a source gives some, without
 * waiting; each returns how many, or 0 or less if none (and knows itself why: RESULT_AGAIN is then not the
 * connection's). Called under the direction's lock: what the sink took is exactly what left the stream, and what the
 * source gave is on its way, also where the kernel is full. */
typedef ssize_t (*conn_sink)(void *ctx, const uint8_t *bytes, size_t len);
typedef ssize_t (*conn_source)(void *ctx, uint8_t *bytes, size_t len);
MUST_USE enum result conn_read_to(struct conn *c, int fd, size_t len, conn_sink sink, void *ctx, size_t *got,
                                  int *error);
MUST_USE enum result conn_write_from(struct conn *c, int fd, size_t len, conn_source source, void *ctx, bool more,
                                     bool roomy, size_t *put, int *error);

/* Blocking writers wait by sending the one wire byte that must come next anyway (law 7: EINTR and SA_RESTART come out
 * as libc's). conn_turn_take gives it and excludes other writers until conn_turn_end; RESULT_AGAIN: somebody else has
 * the turn, or there is no byte that is known before sealing (wait by poll instead). sent: 1, the byte has left; 0, it
 * has not; -1: nobody knows, and the connection is lost, since all that follows might be one byte off. */
MUST_USE enum result conn_turn_take(struct conn *c, uint8_t *byte);
void conn_turn_end(struct conn *c, int sent);

/* The program shuts a half down (SHUT_RD, SHUT_WR, SHUT_RDWR). 0 or the errno. */
int conn_shutdown(struct conn *c, int fd, int how);

/* connect to AF_UNSPEC: the connection is over for all who hold it, without a word to the peer. The socket is the
 * kernel's alone afterwards. */
void conn_disconnect(struct conn *c);

/* This process has closed its last number of the socket; fd is a number that still works. Returns true if it must be
 * kept and ticked until conn_need.idle (closing, or an open handshake); false: it may be closed now.
 * abort: SO_LINGER 0, nothing is flushed. */
bool conn_leave(struct conn *c, int fd, bool abort);
/* After conn_leave: ends it at once, where nothing is lost but the peer's orderly end or our alert: the handshake is
 * not over or has failed, and the program has written nothing. False: it must be ticked. */
bool conn_abandon(struct conn *c, int fd);
bool conn_heard(const struct conn *c); /* the peer has said something in a handshake that this process does */
/* After conn_leave: nobody else holds the socket. */
bool conn_left_alone(const struct conn *c);

/* Background work: starts what is due, drives handshakes, flushes early writes and rests, drains refused and closed
 * connections, times out. Returns what it waits for. */
struct conn_need {
    short events;        /* poll(2) */
    int64_t deadline_ms; /* call again then at the latest; INT64_MAX: none */
    bool idle;           /* nothing left to do in the background */
};
void conn_tick(struct conn *c, int fd, struct conn_need *need);

/* Does conn_tick have work? Asked after each call that may have made some. */
bool conn_needs_tick(const struct conn *c);
/* Open, conn_tick has no work, and nothing is left over (conn_leftover): whoever polls it has the kernel's answer. */
bool conn_calm(const struct conn *c);

/* Around fork(2); the embedder keeps all other threads out of this module meanwhile. */
void conn_prepare_fork(struct conn *c);
void conn_fork_parent(struct conn *c, bool failed);
void conn_fork_child(struct conn *c); /* drops the parent's handshake and early writes */

bool conn_reading_shut(const struct conn *c);
/* Would a read ask the kernel before anything else? Open, nothing is left over, and no end or error is known. Looked at
 * without a lock: old in the moment it is told, as what a read has found is when its caller begins to wait. */
bool conn_reads_kernel(const struct conn *c);

/* Before a sandbox shuts: makes what reading and writing need later (AEAD handles). */
void conn_warm(struct conn *c);

/* Bytes wait for the program of which the kernel's socket knows nothing: a process in a sandbox has opened a record
 * without leaving its last byte there. Readiness must then be told by us. */
bool conn_leftover(const struct conn *c);

/* Bytes that writes have accepted and the kernel has not: kept for after the handshake, or the rest of a record. */
size_t conn_unsent(struct conn *c);

#endif
