/* The shared part of a connection: what every process that holds the socket must agree on. Lives in a chunk
 * (chunk.h) mapped by all of them. Plain data, offsets, no pointers; a co-holder may be hostile, so readers copy the
 * control structs first and check them with slot_rx_valid and slot_tx_valid before they use a length.
 *
 * An idle connection needs the slot alone, which is small: four of them share a page. Its room is pages of its own,
 * which are there once something lies in them. */
#ifndef P2PTLS_SLOT_H
#define P2PTLS_SLOT_H

#include "record.h"
#include "slotlock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    /* Plaintext opened for a MSG_PEEK may span several records; the rest is one record being gathered. */
    SLOT_RX_ROOM = 5 * 16384 + 4096,
    /* The rest of one record that the kernel took a part of. */
    SLOT_TX_ROOM = 5 * 4096,
    SLOT_HOLDERS = 64,
    SLOT_PAGE = 4096,
    SLOT_LAYOUT = 0x7032000b, /* the last digits count changes of struct slot or of what they mean */
    SLOT_BYTES = 1024,
    SLOT_SUBJECT = 1024,
    SLOT_NAME = 256,
    SLOT_TEXTS = 248,
};

enum slot_state {
    SLOT_FREE = 0,
    SLOT_UNSTARTED, /* any process may claim it */
    SLOT_HANDSHAKE, /* the owner holds the GnuTLS sessions; others wait on the state word */
    SLOT_OPEN,
    SLOT_FAILED, /* error says why */
};

enum slot_rx_end { RX_LIVE = 0, RX_CLOSE_NOTIFY, RX_ERROR };

struct slot_rx {
    struct record_keys keys;
    uint32_t half_len;             /* bytes of a record not whole yet, at the room's rx[0] */
    uint32_t plain_off, plain_len; /* opened and not yet read by the program, in the room's rx */
    uint8_t tail_held;             /* the last byte of the newest opened record is still in the kernel (always while
                                    * plain_len, unless a process in a sandbox opened it) */
    uint8_t end;                   /* enum slot_rx_end */
    int32_t error;                 /* errno of RX_ERROR */
};

enum slot_tx_end {
    TX_LIVE = 0,
    TX_CLOSED, /* close_notify was sealed: nothing follows */
    TX_ENDING, /* nothing but that follows: it waits behind what the kernel has not taken yet */
};

struct slot_tx {
    struct record_keys keys;
    uint32_t rest_off, rest_len; /* of a record that is counted as written, in the room's tx */
    uint8_t lead;                /* bytes of the next record's header that a wait has sent already (0x17, 0x03, 0x03) */
    uint8_t closed;              /* enum slot_tx_end */
    int32_t error;
};

struct slot {
    uint32_t layout;              /* SLOT_LAYOUT: processes that share it were built for the same one */
    _Atomic uint32_t state;       /* enum slot_state; futex word */
    _Atomic uint32_t shared;      /* another process has held it, or may: for good (holders_sole) */
    _Atomic uint32_t owner;       /* holder id of the process that does the handshake */
    _Atomic uint32_t early_kept;  /* the owner still has early writes to send: nobody else may write. futex word */
    _Atomic int32_t error;        /* errno for SLOT_FAILED */
    _Atomic uint32_t update_owed; /* the peer asked for a KeyUpdate of ours */
    _Atomic uint32_t turn;        /* holder id of the process one of whose writers waits for room. futex word */
    _Atomic uint32_t waiters;  /* threads that wait on one of the futex words (conn_wait_state), or were killed there */
    _Atomic uint32_t rd_shut;  /* the program shut the reading half down */
    _Atomic uint32_t fin_sent; /* SHUT_WR was done */
    _Atomic uint32_t fail_shown; /* SO_ERROR has reported error */
    _Atomic int32_t untold; /* errno that the kernel has told us, and we not yet the program: the next call says it */
    _Atomic uint32_t untailed; /* plaintext is left over, and no byte in the kernel tells of it (conn_leftover) */
    _Atomic uint32_t holders_unknown;
    _Atomic uint32_t forks, joins;          /* children announced, and those that have taken an id of their own */
    _Atomic uint32_t departures, arrivals;  /* sockets sent by SCM_RIGHTS, and received */
    _Atomic int64_t fork_until_ms;          /* while the two differ: until then a child counts as a holder */
    _Atomic uint32_t holders[SLOT_HOLDERS]; /* ids (holders.h); all 0 while one process alone has ever held it */
    _Atomic uint64_t bytes_in, bytes_out;
    _Atomic int64_t opened_ms;           /* CLOCK_MONOTONIC: when its handshake was over */
    _Atomic uint8_t near_used, far_used; /* the first page of the room; more of it */
    uint8_t is_client;
    uint8_t resumed;                      /* the handshake resumed an earlier session */
    _Atomic uint8_t peer_is_conventional; /* it may send tickets and KeyUpdates unasked */
    _Atomic uint16_t record_max;          /* conn_record_max */
    uint16_t exporter_len;
    uint8_t exporter[RECORD_SECRET_MAX];
    uint64_t rekey_after;
    uint8_t proven;
    uint8_t texts_far; /* struct slot_texts is in the room, as it is long */

    _Alignas(64) struct slotlock rx_lock;
    struct slot_rx rx;
    _Alignas(64) struct slotlock tx_lock;
    struct slot_tx tx;
    char texts[SLOT_TEXTS]; /* or here: each of them with its end */
};
_Static_assert(sizeof(struct slot) == SLOT_BYTES, "four to a page");

/* Who the peer is, the application protocol and the name that it dialled. */
struct slot_texts {
    char subject[SLOT_SUBJECT];
    char alpn[SLOT_NAME], server_name[SLOT_NAME];
};

struct slot_room {
    _Alignas(SLOT_PAGE) uint8_t rx[SLOT_RX_ROOM];
    uint8_t tx[SLOT_TX_ROOM];
    struct slot_texts texts;
};

/* The buffers, for who is about to write to them: to the first upto bytes. */
static inline uint8_t *slot_rx_room(struct slot *s, struct slot_room *room, size_t upto)
{
    atomic_store_explicit(upto > SLOT_PAGE ? &s->far_used : &s->near_used, 1, memory_order_relaxed);
    return room->rx;
}

static inline uint8_t *slot_tx_room(struct slot *s, struct slot_room *room)
{
    atomic_store_explicit(&s->far_used, 1, memory_order_relaxed);
    return room->tx;
}

/* slot_texts.c. put: before the connection is open. get: afterwards; each text has an end, whoever wrote it. */
void slot_texts_put(struct slot *slot, struct slot_room *room, const char subject[SLOT_SUBJECT],
                    const char alpn[SLOT_NAME], const char server_name[SLOT_NAME]);
void slot_texts_get(const struct slot *slot, const struct slot_room *room, struct slot_texts *texts);

/* A waiter counts itself before the kernel looks at the word. Whoever forges the count lets others wait until they look
 * by themselves. */
static inline void slot_wake(struct slot *s, _Atomic uint32_t *word)
{
    if (atomic_load(&s->waiters))
        shared_wake(word);
}

static inline bool slot_rx_valid(const struct slot_rx *r)
{
    return record_keys_valid(&r->keys) && r->half_len <= RECORD_WIRE_MAX && r->plain_off <= SLOT_RX_ROOM &&
           r->plain_len <= SLOT_RX_ROOM - r->plain_off && !(r->half_len && r->plain_len) && r->end <= RX_ERROR;
}

static inline bool slot_tx_valid(const struct slot_tx *t)
{
    return record_keys_valid(&t->keys) && t->rest_off <= SLOT_TX_ROOM && t->rest_len <= SLOT_TX_ROOM - t->rest_off &&
           t->lead <= 3 && !(t->lead && t->rest_len);
}

#endif
