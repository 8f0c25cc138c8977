#include "slotlock.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct thread_robust {
    uint32_t tid; /* 0: not looked up yet */
    struct robust_list_head *head;
};

static __thread struct thread_robust self __attribute__((tls_model("initial-exec")));

/* A child of a raw fork has no list registered: this one then serves, as glibc's own would. */
static __thread struct robust_list_head spare_head __attribute__((tls_model("initial-exec")));

static void look_up_self(void)
{
    size_t len = 0;
    struct robust_list_head *head = NULL;
    self.tid = (uint32_t)syscall(SYS_gettid);
    if (syscall(SYS_get_robust_list, 0, &head, &len) != 0 || !head) {
        spare_head.list.next = &spare_head.list;
        spare_head.futex_offset = 0;
        spare_head.list_op_pending = NULL;
        syscall(SYS_set_robust_list, &spare_head, sizeof spare_head);
        head = &spare_head;
    }
    self.head = head;
}

void slotlock_forked(void)
{
    self.tid = 0;
}

int shared_wait(_Atomic uint32_t *word, uint32_t expected, int timeout_ms)
{
    struct timespec t = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};
    long r = syscall(SYS_futex, word, FUTEX_WAIT, expected, timeout_ms < 0 ? NULL : &t, NULL, 0);
    return r == 0 ? 0 : errno;
}

void shared_wake(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* The kernel looks at list_op_pending when the thread dies, so it must be set before the word can be ours and be
 * cleared only after it is not (Documentation/locking/robust-futex-ABI). */
static void announce(struct slotlock *lock)
{
    self.head->list_op_pending = (struct robust_list *)((char *)&lock->word - self.head->futex_offset);
    atomic_signal_fence(memory_order_seq_cst);
}

static void retract(void)
{
    atomic_signal_fence(memory_order_seq_cst);
    self.head->list_op_pending = NULL;
}

static enum slotlock_result take_slow(struct slotlock *lock)
{
    unsigned waits = 0;
    for (;;) {
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
        if (shared_wait(&lock->word, seen | FUTEX_WAITERS, SLOTLOCK_WAIT_MS) == ETIMEDOUT && ++waits == SLOTLOCK_WAITS)
            return SLOTLOCK_STUCK;
    }
}

enum slotlock_result slotlock_take(struct slotlock *lock)
{
    if (!self.tid)
        look_up_self();
    announce(lock);
    uint32_t free_word = 0;
    if (atomic_compare_exchange_strong(&lock->word, &free_word, self.tid))
        return SLOTLOCK_TAKEN;
    int saved = errno;
    enum slotlock_result r = take_slow(lock);
    errno = saved;
    if (r != SLOTLOCK_TAKEN)
        retract();
    return r;
}

void slotlock_release(struct slotlock *lock)
{
    uint32_t was = atomic_exchange(&lock->word, 0);
    retract();
    if (was & FUTEX_WAITERS) {
        int saved = errno;
        syscall(SYS_futex, &lock->word, FUTEX_WAKE, 1, NULL, NULL, 0);
        errno = saved;
    }
}
