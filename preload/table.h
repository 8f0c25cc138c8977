/* What each descriptor number means to us: one word for each number, read without a lock.
 *
 * Small words are states without a connection; larger ones point to a struct desc, the process's view of one open file
 * description (all its dups share it). Descs are recycled, never unmapped, so that reading one through a stale word is
 * harmless: whoever wants to use it pins it and looks at the word again (desc_enter). */
#ifndef P2PTLS_TABLE_H
#define P2PTLS_TABLE_H

#include "core.h"
#include "real.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum table_word {
    WORD_PLAIN = 0,   /* nothing of ours: the call goes to libc */
    WORD_UNKNOWN,     /* inherited or received: looked at when first used */
    WORD_OURS,        /* a descriptor of the library itself: EBADF to the program */
    WORD_BOUND,       /* bound where a rule could match; becomes WORD_LISTENER at listen */
    WORD_BOUND_PLAIN, /* bound where none can */
    WORD_LISTENER,    /* accepted connections are matched */
    WORD_POLLED,      /* the same, and the program has asked by poll, select or epoll whether there is one */
    WORD_FRESH,       /* the same, made by this process, alone, and nothing was set on it: nothing need be asked */
    WORD_SOCKET,      /* a TCP socket that this process has not connected: connect decides, for its dups too */
    WORD_REFUSED,     /* a selected socket that cannot be protected: EIO, never plain */
    WORD_MOVING,      /* being closed or replaced in this very moment: wait */
    WORD_FIRST_POINTER,
};

static inline bool word_is_listener(uintptr_t word)
{
    return word == WORD_LISTENER || word == WORD_POLLED;
}

static inline bool word_is_unconnected(uintptr_t word)
{
    return word == WORD_FRESH || word == WORD_SOCKET || word == WORD_BOUND || word == WORD_BOUND_PLAIN;
}

/* Of a connection in an epoll set (epoll_notes.h). */
enum watch { WATCH_NONE = 0 /* in none */, WATCH_SETTLED /* what the kernel reports is true */, WATCH_EVENTS };

/* Of the program's exporter values (p2ptls.h). */
struct desc_label {
    const uint8_t *context; /* behind the text */
    size_t context_len;
    char text[];
};

/* One selected connection as this process holds it. */
struct desc {
    _Atomic uint32_t pins;   /* calls inside; closing waits until they are out */
    _Atomic uint32_t waited; /* somebody waits for pins to become 0 */
    _Atomic uint32_t holds;  /* who needs conn to stay, unpinned: the table, waiting calls, the helper */
    _Atomic uint32_t refs;   /* numbers of the program */
    _Atomic int number;      /* one of them, or the number that we kept for the closing (orphan) */
    struct conn *conn;
    _Atomic uint64_t cookie; /* SO_COOKIE: finds the socket under other numbers */
    const struct policy_rule *rule;
    _Atomic bool orphan;         /* number is ours */
    _Atomic bool unselected;     /* its numbers are on their way back to ordinary sockets */
    bool linger_abort;           /* the program asked for SO_LINGER 0 */
    bool lingers;                /* ... or with a time */
    _Atomic uint8_t hungry;      /* reads in a row that had to wait (stream.c) */
    _Atomic int rcvlowat;        /* SO_RCVLOWAT as the program set it; the kernel's stays 1. Read unpinned. */
    _Atomic bool cork_due;       /* TCP_CORK was asked for, and is set once the handshake is over */
    _Atomic bool dialling;       /* the first connect has not come back from the kernel */
    bool verdict_due;            /* a signal or a timeout has ended connect before the verdict of connect=wait */
    bool fastopen_connect;       /* TCP_FASTOPEN_CONNECT as the program set it; the kernel's is off */
    _Atomic bool nodelay_forced; /* TCP_NODELAY is on for the handshake, and the program did not ask for it */
    struct epoll_note *epolls;
    struct desc_label *label;
    _Atomic uint32_t watch;              /* enum watch */
    bool nonblocking;                    /* O_NONBLOCK, and the timeouts: for a sandbox in which they cannot be asked */
    _Atomic uint32_t modes;              /* twice the F_SETFLs that have begun; odd: O_NONBLOCK is known to be set */
    _Atomic uint32_t modes_set;          /* F_SETFLs that have ended */
    _Atomic int64_t receive_ms, send_ms; /* 0: none */
    _Atomic bool helped;                 /* in the helper's list */
    _Atomic bool again;                  /* the helper shall look at it now */
    _Atomic int64_t look_ms;             /* when it will by itself */
    _Atomic bool edges;                  /* it was in an epoll set, or O_ASYNC was set: edges may be waited for */
    _Atomic bool native;                 /* accepted or made by this process: the same is known for the time before */
    _Atomic bool fresh;                  /* it was WORD_FRESH: its timeouts are what receive_ms and send_ms say */
    _Atomic bool told_started;           /* the helper knows that the handshake has begun */
    struct conn_need need;               /* the helper's own */
    _Atomic bool finished;               /* finish.c: nothing is left to do for it; the helper may be at it as well */
    int box;                             /* ours: with it another program can go on (handover.c); -1 */
    struct desc *next_free;
    struct desc *next_live, *prev_live;
};

extern const struct core_api *core;
#pragma GCC visibility push(hidden)
extern _Atomic(uintptr_t) *table;   /* the last word of the table, which is that of number 0 */
extern unsigned table_size;         /* 0: inert, no policy */
extern _Atomic unsigned table_high; /* no number from here on has ever had a word: scans end here */

/* Per thread: depth counts the library's calls on the stack, in which signal handlers are deferred. */
struct thread_state {
    volatile int depth;
    volatile bool signals_held;
    bool in_vfork_child;
    unsigned in_stream; /* a stream's own write, read or close: libc's lock of its list may be held */
    bool ends;          /* the program, or its image: GATE_ENDING is for all others */
    bool owes;          /* the turn of a writer, which the end waits for */
    bool async_cancel;  /* the program's PTHREAD_CANCEL_ASYNCHRONOUS: deferred while a call is inside */
    bool pipe_wanted;   /* in a sandbox: this write may raise SIGPIPE; and it has */
    bool pipe_raised;
    volatile unsigned handlers;      /* of the program that have run in this thread */
    volatile unsigned interruptions; /* those without SA_RESTART */
    volatile unsigned waits;         /* notes of waits.c */
    sigset_t mask_to_restore;
};
/* What table_find gives for numbers that must fail. */
enum { SPECIAL_OURS, SPECIAL_REFUSED, SPECIAL_IN_VFORK, SPECIAL_DESCS };
extern struct desc special_descs[SPECIAL_DESCS];
extern struct desc library_desc; /* whose pins are those of library_enter */
extern __thread struct thread_state thread __attribute__((tls_model("initial-exec")));
#pragma GCC visibility pop

/* fd: below table_size. */
static inline _Atomic(uintptr_t) *table_at(int fd)
{
    return table - fd;
}

bool table_init(void);
uintptr_t table_word(int fd);
struct desc *table_find_slow(int fd, uintptr_t word);
struct desc *table_find_data_slow(int fd);
void table_look(int fd, uintptr_t word); /* classify.c: unconnected, as far as we know, and bytes are to move */

/* Nothing of ours for certain. The rest of a hook belongs into a function of its own, or its registers and its stack
 * frame are made ready first. */
static inline bool table_is_plain(int fd)
{
    return __builtin_expect((unsigned)fd >= table_size, 0) ||
           __builtin_expect(atomic_load_explicit(table_at(fd), memory_order_relaxed) == WORD_PLAIN, 1);
}

static inline bool word_is_usual_desc(uintptr_t word)
{
    return __builtin_expect(word >= WORD_FIRST_POINTER && !thread.waits && !thread.in_vfork_child, 1);
}

/* The desc of a selected number, or a special one (desc_special) for those that must fail; NULL: go to libc. */
static inline struct desc *table_find(int fd)
{
    if (table_is_plain(fd))
        return NULL;
    const uintptr_t word = atomic_load(table_at(fd));
    return word_is_usual_desc(word) ? (struct desc *)word : table_find_slow(fd, word);
}

/* The same for calls that move bytes: a socket that another process has connected meanwhile is noticed. */
static inline struct desc *table_find_data(int fd)
{
    if (table_is_plain(fd))
        return NULL;
    const uintptr_t word = atomic_load(table_at(fd));
    return word_is_usual_desc(word) ? (struct desc *)word : table_find_data_slow(fd);
}

/* The errno of a number that must fail (ours: EBADF, refused: EIO, in a vfork child: EIO); 0 for a real connection. */
static inline int desc_special(const struct desc *d)
{
    const uintptr_t at = (uintptr_t)d - (uintptr_t)special_descs;
    if (__builtin_expect(at >= sizeof special_descs, 1))
        return 0;
    return d == &special_descs[SPECIAL_OURS] ? EBADF : EIO;
}

/* Pins d for non-blocking work on fd and defers signals. False: the number is no longer d's. */
bool desc_enter(struct desc *d, int fd);
void desc_leave(struct desc *d);
/* Pins a new one that no number stands for yet; inside library_enter. */
void desc_pin_new(struct desc *d);
/* Calls inside never block, so they are out soon. */
void desc_wait_unpinned(struct desc *d);

/* The same without a desc, for work on the library's own structures: no fork happens inside. */
void library_enter(void);
void library_leave(void);

/* Only defers signals. */
void thread_enter(void);
void thread_leave(void);

/* A new desc has one hold, the table's. conn goes with the last one. Take more only while pinned. */
struct desc *desc_new(struct conn *conn, const struct policy_rule *rule);
void desc_hold(struct desc *d);
void desc_release(struct desc *d);

/* What was fresh is so no more: an option is set, or somebody else gets the socket. */
static inline void table_not_fresh(int fd)
{
    uintptr_t fresh = WORD_FRESH;
    if (__builtin_expect((unsigned)fd < table_size && atomic_load_explicit(table_at(fd), memory_order_relaxed) == fresh,
                         0))
        atomic_compare_exchange_strong(table_at(fd), &fresh, WORD_SOCKET);
}

/* Puts a word on a number; a desc's reference is counted by the caller. The word that was there. */
uintptr_t table_set(int fd, uintptr_t word);

/* The program waits for fd to become readable. */
static inline void table_note_polled(int fd)
{
    uintptr_t word = table_word(fd);
    if (__builtin_expect(word == WORD_LISTENER, 0))
        atomic_compare_exchange_strong(table_at(fd), &word, WORD_POLLED);
}

/* Begins a close or replacement: the old word, with WORD_MOVING in its place (and all pinned calls gone). Signals are
 * deferred until table_end_move: a handler that used the number would wait for its own thread. */
uintptr_t table_begin_move(int fd);
/* Ends it, unless somebody has put the reused number to work meanwhile. */
void table_end_move(int fd, uintptr_t word);
/* The same of a number whose word is that one. False: it is not. table_moved: ends it where its word has been set. */
bool table_try_move(int fd, uintptr_t word);
void table_moved(void);
/* Another number of d, -1 if none. */
int desc_any_number(struct desc *d);

/* The connection of a socket, with one number more; NULL: there is none, or its last number is going. The caller puts
 * it on a number. Inside library_enter. */
struct desc *desc_of_cookie(uint64_t cookie);

/* Calls fn for each live desc; the list is locked meanwhile. desc_each_forking: between the gate calls. */
void desc_each(void (*fn)(struct desc *d, void *arg), void *arg);
void desc_each_forking(void (*fn)(struct desc *d, void *arg), void *arg);

/* fork(2): nobody is inside between these, and no desc comes or goes. Child: other threads' pins are gone. */
enum gate_state {
    GATE_OPEN = 0,
    GATE_DRAINING, /* threads that write for a stream pass */
    GATE_CLOSED,
    GATE_ENDING /* connections are being ended: they pass, and who ends them */
};
extern _Atomic uint32_t table_gate;
extern _Atomic int64_t table_gate_until_ms; /* from then on a gate that drains lets all pass */
/* Is nobody inside? With keep, and if so, the list of descs stays locked until table_end_quiet. For gate.c. */
bool table_is_quiet(bool keep);
void table_end_quiet(bool in_child);
/* gate.c. From gate_close to gate_open nobody is inside. streams: libc's lock of its list of streams is held from then
 * on, too. */
void gate_close(bool streams);
void gate_open(bool in_child);
/* From now on, to gate_open or for good, other threads stay where they are if they come. Those inside are waited for,
 * bounded. This thread passes until it clears thread.ends. */
void gate_end(void);
void gate_reopen(void); /* this thread has ended nothing, after all */
/* Numbers that are being closed or replaced right now. */
extern _Atomic unsigned table_moves;

/* Moves a descriptor of ours to a number where programs rarely look and marks it. Returns it, or -1 (closed). */
int hide_descriptor_number(int fd);
/* hook_close.c: the number was closed behind our back; forgets what it was. */
void table_forget(int fd);
/* hook_create.c: the kernel has just made fd (or says -1): whatever we know about it is out of date. Returns it. */
int table_renew(int fd);
/* hook_close.c, around a call that copies a number: copy_made(from, copy_begin(from), the copy or -1) gives the copy
 * its word, and returns it. A connection is pinned in between. */
uintptr_t copy_begin(int from);
int copy_made(int from, uintptr_t word, int to);
/* A hidden dup of a program's descriptor, -1 on failure. */
int hidden_dup(int fd);
/* The first high number makes the kernel enlarge its table of descriptors, and where threads share that, wait for them
 * all (synchronize_rcu, measured: 6 ms). So it is done while the program has one thread. Closes fd, which nobody else
 * has open (a close ends POSIX locks on its file), or is negative. */
void hidden_make_room(long fd);
void hidden_close(int fd);
/* hidden.c: where a number of ours is kept; it is changed there when the program needs the number itself. Use it inside
 * library_enter only. */
void hidden_own(_Atomic int *where);
/* Moves ours away from fd, which is then nobody's and still open. False: it cannot be. */
bool hidden_vacate(int fd);
/* Waits until every call that is inside the library now, or pins d (unless NULL), is out. */
void table_wait_out(struct desc *d);
/* Other threads use this process's descriptor table too. The helper is paused. */
bool threads_share_files(void);

#endif
