/* What a thread owes while it is blocked in the kernel: a hold of the connection, the writer turn, memory. It is
 * written down, because the call may never come back: a signal handler leaves it by siglongjmp(3), the thread is
 * cancelled or ends. What is left over is given back then (waits.c). */
#ifndef P2PTLS_WAITS_H
#define P2PTLS_WAITS_H

#include "table.h"

/* Takes a hold of d for a call that is about to block; d is pinned. The token is for wait_end, in any case. */
unsigned wait_begin(struct desc *d);
void wait_end(struct desc *d, unsigned token);

/* In a wait for d, the newest of this thread: the call is about to send the byte of its turn, which it has just taken
 * (signals are deferred); it is back. */
unsigned wait_turn_begin(const struct desc *d, int fd);
void wait_turn_end(struct desc *d, unsigned token, bool sent);

/* The same for a call that is about to wait in the kernel for the handshake to go on (conn_read_begin). 0: it must
 * wait otherwise. */
unsigned wait_read_begin(const struct desc *d);
void wait_read_end(struct desc *d, unsigned token);

/* The call that bare.h has counted on fd is about to be made, and is back. */
unsigned wait_bare_begin(int fd);
void wait_bare_end(int fd, unsigned token);

/* Memory that a call needs while others that it makes block (frame: its own). NULL: none is left. */
void *wait_malloc(size_t len, const void *frame, unsigned *token);
void wait_free(void *memory, unsigned token);

/* A handler of the program is about to run in the middle of a wait (frame: of its caller), and has come back. */
unsigned waits_cover(const void *frame);
void waits_uncover(unsigned token);

/* longjmp(3) is about to put the stack pointer there. */
void waits_jump(uintptr_t stack_pointer);

/* Gives back what waits of this thread that were left for good still owe. */
void waits_settle(void);
static inline void waits_look(void)
{
    if (__builtin_expect(thread.waits != 0, 0))
        waits_settle();
}

void waits_init(void);
void waits_forked(void); /* in the child, for the waits that the forking handler interrupted */

#endif
