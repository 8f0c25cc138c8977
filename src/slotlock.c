#include "slotlock.h"

#include "sys.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stddef.h>
#include <time.h>

struct thread_robust {
    uint32_t tid; /* 0: not looked up yet */
    struct robust_list_head *head;
    struct robust_list *before; /* list_op_pending as it was: this may interrupt glibc inside a robust mutex */
};

static __thread struct thread_robust self __attribute__((tls_model("initial-exec")));

/* A child of a raw fork has no list registered: this one then serves, as glibc's own would. */
static __thread struct robust_list_head spare_head __attribute__((tls_model("initial-exec")));

static bool robust_forbidden; /* by a sandbox */

/* Any number does that is not 0: the kernel looks only at words that the thread's robust list names. */
static void do_without(void)
{
    self.tid = FUTEX_TID_MASK;
    self.head = &spare_head;
}

static void look_up_self(void)
{
    if (robust_forbidden) {
        do_without();
        return;
    }
    size_t len = 0;
    struct robust_list_head *head = NULL;
    self.tid = (uint32_t)sys0(SYS_gettid);
    if (sys3(SYS_get_robust_list, 0L, &head, &len) != 0 || !head) {
        spare_head.list.next = &spare_head.list;
        spare_head.futex_offset = 0;
        spare_head.list_op_pending = NULL;
        sys2(SYS_set_robust_list, &spare_head, (long)sizeof spare_head);
        head = &spare_head;
    }
    self.head = head;
}

void slotlock_sandbox(bool no_robust)
{
    if (!self.tid)
        look_up_self();
    robust_forbidden = no_robust;
}

void slotlock_forked(void)
{
    self.tid = 0;
}

int shared_wait(_Atomic uint32_t *word, uint32_t expected, int timeout_ms)
{
    struct timespec t = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};
    return (int)-sys4(SYS_futex, word, (long)FUTEX_WAIT, (long)expected, timeout_ms < 0 ? NULL : &t);
}

void shared_wake(_Atomic uint32_t *word)
{
    sys3(SYS_futex, word, (long)FUTEX_WAKE, (long)INT_MAX);
}

/* The kernel looks at list_op_pending when the thread dies, so it must be set before the word can be ours and be
 * cleared only after it is not (Documentation/locking/robust-futex-ABI). */
static void announce(struct slotlock *lock)
{
    self.before = self.head->list_op_pending;
    self.head->list_op_pending = (struct robust_list *)((char *)&lock->word - self.head->futex_offset);
    atomic_signal_fence(memory_order_seq_cst);
}

static void retract(void)
{
    atomic_signal_fence(memory_order_seq_cst);
    self.head->list_op_pending = self.before;
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* By the clock, not by the waits: a hostile holder can end each wait early. */
static enum slotlock_result take_slow(struct slotlock *lock)
{
    int64_t until = now_ms() + SLOTLOCK_WAIT_MS * SLOTLOCK_WAITS;
    while (now_ms() < until) {
        uint32_t seen = atomic_load(&lock->word);
        if (seen & FUTEX_OWNER_DIED)
            return SLOTLOCK_BROKEN;
        if (seen == 0) {
            /* Others may still wait: whoever had to wait keeps the flag. */
            if (atomic_compare_exchange_strong(&lock->word, &seen, self.tid | FUTEX_WAITERS))
                return SLOTLOCK_TAKEN;
            continue;
        }
        if (!(seen & FUTEX_WAITERS) && !atomic_compare_exchange_strong(&lock->word, &seen, seen | FUTEX_WAITERS))
            continue;
        shared_wait(&lock->word, seen | FUTEX_WAITERS, SLOTLOCK_WAIT_MS);
    }
    return SLOTLOCK_STUCK;
}

enum slotlock_result slotlock_take(struct slotlock *lock)
{
    if (!self.tid)
        look_up_self();
    announce(lock);
    uint32_t free_word = 0;
    if (atomic_compare_exchange_strong(&lock->word, &free_word, self.tid))
        return SLOTLOCK_TAKEN;
    enum slotlock_result r = take_slow(lock);
    if (r != SLOTLOCK_TAKEN)
        retract();
    return r;
}

void slotlock_release(struct slotlock *lock)
{
    uint32_t was = atomic_exchange(&lock->word, 0);
    retract();
    if (was & FUTEX_WAITERS)
        sys3(SYS_futex, &lock->word, (long)FUTEX_WAKE, 1L);
}
