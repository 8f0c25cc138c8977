/* A lock in shared memory whose holder may be killed, or may lie: one futex word, made robust by the thread's own
 * robust-list head (get_robust_list(2)), because a pthread robust mutex would keep list pointers where a co-holder can
 * overwrite them. At most one is held by a thread at a time, never over a blocking call. */
#ifndef P2PTLS_SLOTLOCK_H
#define P2PTLS_SLOTLOCK_H

#include "result.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct slotlock {
    _Atomic uint32_t word; /* 0, or the holder's thread id with FUTEX_WAITERS; FUTEX_OWNER_DIED sticks */
};

enum { SLOTLOCK_WAIT_MS = 100, SLOTLOCK_WAITS = 20 };

enum slotlock_result {
    SLOTLOCK_BROKEN = 0, /* the holder died inside: what it guards cannot be trusted any more (a nonce may be spent) */
    SLOTLOCK_TAKEN,
    SLOTLOCK_STUCK, /* a stopped or hostile holder kept it for SLOTLOCK_WAITS times SLOTLOCK_WAIT_MS */
};

MUST_USE enum slotlock_result slotlock_take(struct slotlock *lock);
void slotlock_release(struct slotlock *lock);

/* A sandbox forbids gettid and get_robust_list: this thread looks now, others do without. What those hold when they die
 * is noticed by the time that it takes (SLOTLOCK_STUCK). */
void slotlock_sandbox(bool no_robust);

/* In the child after fork: the cached thread id and robust head are the parent's. */
void slotlock_forked(void);

/* futex(2) on a word that other processes map. expected: wait only while the word has this value. timeout_ms < 0: none.
 * Returns 0 or the errno (EAGAIN, EINTR, ETIMEDOUT). */
int shared_wait(_Atomic uint32_t *word, uint32_t expected, int timeout_ms);
void shared_wake(_Atomic uint32_t *word);

#endif
