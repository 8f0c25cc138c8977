/* What the conn_*.c files share. */
#ifndef P2PTLS_CONN_INTERNAL_H
#define P2PTLS_CONN_INTERNAL_H

#define LOG_CATEGORY LOG_CATEGORY_CONNECTION

#include "bytes.h"
#include "chunk.h"
#include "conn.h"
#include "handshake.h"
#include "holders.h"
#include "log.h"
#include "record.h"
#include "slot.h"
#include "status.h"
#include "tickets.h"
#include "tlsa.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { TCP_STATE_ESTABLISHED = 1, TCP_STATE_CLOSE = 7, TCP_STATE_CLOSE_WAIT = 8 };

/* Where the background work of a connection stands; private to the process. */
enum conn_phase {
    PHASE_RUN = 0,
    PHASE_REFUSING, /* the alert is on its way; discards what comes until FIN or the deadline */
    PHASE_CLOSING,  /* the program has closed; the end of the stream is on its way */
    PHASE_DONE,
};

struct conn {
    struct chunk *chunk;
    struct slot *slot;
    struct slot_room *room;
    struct family *family;
    const struct policy_rule *rule;
    struct identity *identity;
    bool connected_side;
    char peer[CONN_PEER_TEXT];
    char *dialled_name; /* dialled_here, if it fits */
    char dialled_here[64];
    uint64_t cookie;

    /* This process's line for `p2ptls status`, NULL: none; due: it is to be made, or does not yet tell of the open
     * connection (conn_status.c). */
    struct status_record *_Atomic status;
    _Atomic uint32_t status_due;

    struct record_cipher *rx_cipher, *tx_cipher; /* guarded by the slot's locks */
    size_t tx_batch;                             /* what the kernel took lately: how much to seal at once */
    bool tx_roomy;                               /* it took the last batch whole */

    _Atomic uint64_t ticket_due; /* server: tickets_due_take; taken under the sending lock; 0: none */
    _Atomic uint64_t awaited;    /* client: tickets_arrived; 0: no ticket comes any more */

    /* Guarded by hs_lock, with the handshake itself. */
    pthread_mutex_t hs_lock;
    struct handshake *hs;
    struct tlsa_lookup *lookup; /* under way: nothing is sent before it has ended */
    struct tlsa_set *tlsa;      /* what it has found out */
    int64_t looked_ms;          /* when it was begun */
    int64_t speak_ms;           /* when the own hello may be made, if the peer's has not come; 0: at once */
    uint8_t *early;             /* writes of the program kept for after the handshake */
    size_t early_len, early_off, early_room;
    _Atomic bool shut_wr_wanted; /* once the early writes are out */

    _Atomic uint32_t phase;
    _Atomic uint32_t left;        /* the program has no number for it any more */
    _Atomic uint32_t rest_due;    /* the slot may hold the rest of a record */
    _Atomic uint32_t shut_rd_due; /* SHUT_RD waits for our FIN to be acknowledged */
    _Atomic uint32_t
        wary; /* reads to come of small whole records, until a record is expected to be whole (conn_unsettled) */
    int64_t born_ms;
    _Atomic int64_t watched_ms; /* when we first waited for another process to do the handshake */
    _Atomic uint32_t connected; /* connect(2) has said so */
    _Atomic int64_t deadline_ms, rest_ms;
    _Atomic long last_unacked;
    _Atomic uint32_t alert_due;  /* a bad record was read: this alert goes out, and nothing after it */
    _Atomic uint32_t lost;       /* a slot lock was broken or stuck: this process has given the connection up */
    _Atomic uint32_t alone;      /* the last close was ours */
    _Atomic uint32_t was_last;   /* the same, but not of the parent that a fork has left with its closing */
    _Atomic uint32_t heard;      /* the peer has said something in the handshake */
    _Atomic int64_t left_ms;     /* when it was closed */
    _Atomic int64_t unwanted_ms; /* when both directions were shut down in the handshake; 0: they were not */
    _Atomic uint32_t readers;    /* that wait in the kernel for the handshake to go on (conn_read_begin) */
    _Atomic uint32_t hopeless;   /* connecting or sending failed for good: nothing to do until the program acts */
};

extern const struct conn_io *conn_transport;
bool conn_shallow(void); /* conn_transport->shallow */
void conn_call_with_stack(void (*fn)(void *arg), void *arg);

/* Buffers of CONN_SCRATCH bytes, reused; NULL without memory. */
enum { SCRATCH_RECORDS = 16, CONN_SCRATCH = SCRATCH_RECORDS * (RECORD_PLAIN_MAX + RECORD_OVERHEAD) + 2 * 1024 };
uint8_t *scratch_take(void);
void scratch_give(uint8_t *buffer); /* holds nothing but ciphertext: plaintext in it is wiped where it is used */

static inline bool owns_handshake(const struct conn *c)
{
    return atomic_load(&c->slot->owner) == holder_self(c->family);
}

/* How much plaintext the peer takes in a record (RFC 8449; max_fragment_length). A co-holder may have written anything.
 */
static inline size_t conn_record_max(const struct conn *c)
{
    const size_t max = atomic_load_explicit(&c->slot->record_max, memory_order_relaxed);
    return max - 1 < RECORD_PLAIN_MAX ? max : RECORD_PLAIN_MAX;
}

/* A slot's companion as a conn that has nothing but its slot. */
struct conn *conn_beside(struct chunk *chunk, struct slot *slot);
bool conn_keep_name(struct conn *c, const char *dialled_name); /* false: no memory */
/* What params say, in a conn that has its slot. False: no memory. */
bool conn_init(struct conn *c, const struct conn_params *params);

bool slot_take(struct conn *c, struct slotlock *lock);
bool conn_given_up(const struct conn *c); /* its handshake, behind shutdown of both directions */
bool conn_peer_ended(struct conn *c);     /* its close_notify was read; no slot lock held */

size_t iov_total(const struct iovec *iov, int count);
/* Copies between flat memory and an iovec, starting at offset bytes into it. */
void iov_scatter(const struct iovec *iov, int count, size_t offset, const uint8_t *from, size_t len);
void iov_gather(const struct iovec *iov, int count, size_t offset, uint8_t *to, size_t len);

/* conn_write.c, for the others. tx_write: as conn_write, on an open connection. */
enum result tx_write(struct conn *c, int fd, const struct iovec *iov, int count, bool more, bool roomy, size_t *put,
                     int *error);
enum result tx_write_from(struct conn *c, int fd, size_t len, conn_source source, void *ctx, bool more, bool roomy,
                          size_t *put, int *error);
/* Seals one control record behind what is queued and tries to send; the rest is kept. */
enum result tx_control(struct conn *c, int fd, enum record_type type, const uint8_t *body, size_t len, bool closes);
enum result tx_flush(struct conn *c, int fd);

/* conn_early.c; hs_lock held. RESULT_OK when nothing is kept any more. */
enum result early_flush(struct conn *c, int fd, bool roomy); /* roomy: as conn_write */

/* conn_peek.c: what the program is told of a write that failed with error. closed: its side has ended. */
int rx_error_of_write(struct conn *c, int fd, int error, bool closed);

/* conn_handshake.c */
bool conn_established(int fd); /* TCP is up, at least in our direction */
void conn_fail(struct conn *c, enum result reason, int error);
uint16_t conn_port_of(const char *peer); /* of ADDRESS:PORT; 0 where the embedder could not tell */
void conn_time_out(struct conn *c, int fd);
/* Fresh edges, if anybody might wait for some. */
void conn_raise_edges(struct conn *c, int fd);
/* The handshake has failed: readers that wait in the kernel see that there is something for them. */
void conn_wake_readers(struct conn *c, int fd);
void conn_drop_private(struct conn *c); /* handshake and early writes; hs_lock held, or nobody else is there */

/* conn_flight.c; hs_lock held. What the kernel has of the peer's flight, to the end of the handshake and no further.
 * send_error: what sending has just met, or 0. drained: it had no more when it was asked last. */
enum result conn_take_flight(struct conn *c, int fd, int send_error, bool *drained, int *error);
/* When an own hello may be made that the other could make needless (speak_ms), in a handshake that begins now. */
int64_t conn_speaks_at_ms(const struct conn *c);
/* Nothing of the peer's is there: is it this side's turn? True: its hello is in the output. */
bool conn_speak(struct conn *c);

/* conn_ticket.c */
void conn_ticket_begin(struct conn *c);
struct ticket_message *conn_ticket_take(struct conn *c); /* NULL: none */
void conn_ticket_done(struct conn *c, struct ticket_message *m, enum result result);
void conn_ticket_drop(struct conn *c); /* none goes out, and none is awaited any more */
void conn_ticket_await_no_more(struct conn *c);
void conn_ticket_came(struct conn *c, const struct record_keys *keys, const uint8_t *message, size_t len);

/* conn_log.c */
void conn_log_open(const struct conn *c, const struct handshake_secrets *s);
void conn_log_refusal(const struct conn *c, enum result reason, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* conn_dane.c; hs_lock held. begin: RESULT_OK, also where there is nothing to look up. ask: RESULT_AGAIN while it is
 * under way. Both: a refusal with the reason in why. */
enum result dane_begin(struct conn *c, char *why);
enum result dane_ask(struct conn *c, char *why);
void dane_drop(struct conn *c);
int64_t dane_look_again_ms(const struct conn *c, int64_t now); /* INT64_MAX: nothing is looked up */

/* conn_status.c. begin: a new connection. late: whenever it is due, from any thread. told: what the connection has
 * become, if that is not STATUS_OPEN. */
void conn_status_begin(struct conn *c);
void conn_status_late(struct conn *c);
void conn_status_tell(struct conn *c, enum status_state state);
void conn_status_forked(struct conn *c);
void conn_status_end(struct conn *c);

/* Adds to the bytes that the program has read or written: a few instructions for each call of it, and no system call.
 * The lock of the direction is held; nobody else writes the sum. conn_status_if_due follows when it is free. */
static inline void conn_count_bytes(struct conn *c, bool in, size_t n)
{
    _Atomic uint64_t *all = in ? &c->slot->bytes_in : &c->slot->bytes_out;
    const uint64_t sum = atomic_load_explicit(all, memory_order_relaxed) + n;
    atomic_store_explicit(all, sum, memory_order_relaxed);
    struct status_record *r = atomic_load_explicit(&c->status, memory_order_acquire);
    if (r)
        atomic_store_explicit(in ? &r->bytes_in : &r->bytes_out, sum, memory_order_relaxed);
}

static inline void conn_status_if_due(struct conn *c)
{
    if (__builtin_expect(atomic_load_explicit(&c->status_due, memory_order_relaxed), 0))
        conn_status_late(c);
}

/* conn_close.c */
void conn_show_end(struct conn *c, int fd);
int conn_finish_writing(struct conn *c, int fd);

#endif
