/* For builds with HELGRIND=1, included in front of each source file: tells valgrind's helgrind what C's atomic
 * operations are, which to it are races. Each becomes an acquire and a release of a lock of its own address, as far as
 * helgrind is concerned; so whatever is ordered by atomics alone (table words, pins, slot locks) is ordered in its
 * eyes, and what is ordered by nothing is found. Needs the names of <stdatomic.h>: an operator on an _Atomic object
 * goes unseen. Nothing of this is in an ordinary build. */
#ifndef P2PTLS_HELGRIND_ATOMICS_H
#define P2PTLS_HELGRIND_ATOMICS_H

#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <valgrind/helgrind.h>

enum { HELGRIND_LOCKS = 4096 };

/* Without these, a release between another thread's acquire and release of the same address would be forgotten. One
 * table in each program and shared object: what they share they rarely use at the same time. */
__attribute__((weak, visibility("hidden"))) unsigned char helgrind_locks[HELGRIND_LOCKS];

__attribute__((unused)) static void helgrind_begin(const volatile void *address)
{
    unsigned char *lock = &helgrind_locks[(uintptr_t)address / 4 % HELGRIND_LOCKS];
    VALGRIND_HG_DISABLE_CHECKING(lock, 1);
    while (__atomic_exchange_n(lock, 1, __ATOMIC_SEQ_CST))
        sched_yield();
    ANNOTATE_HAPPENS_AFTER(address);
}

__attribute__((unused)) static void helgrind_end(const volatile void *address)
{
    ANNOTATE_HAPPENS_BEFORE(address);
    __atomic_store_n(&helgrind_locks[(uintptr_t)address / 4 % HELGRIND_LOCKS], 0, __ATOMIC_SEQ_CST);
}

#define HELGRIND_FETCH(operation, pointer, value)                                                                      \
    ({                                                                                                                 \
        __auto_type pointer_ = (pointer);                                                                              \
        __typeof__((void)0, *pointer_) value_ = (value), before_;                                                      \
        helgrind_begin(pointer_);                                                                                      \
        before_ = operation(pointer_, value_, __ATOMIC_SEQ_CST);                                                       \
        helgrind_end(pointer_);                                                                                        \
        before_;                                                                                                       \
    })

#undef atomic_load_explicit
#define atomic_load_explicit(pointer, order)                                                                           \
    ({                                                                                                                 \
        __auto_type pointer_ = (pointer);                                                                              \
        __typeof__((void)0, *pointer_) value_;                                                                         \
        helgrind_begin(pointer_);                                                                                      \
        __atomic_load(pointer_, &value_, __ATOMIC_SEQ_CST);                                                            \
        helgrind_end(pointer_);                                                                                        \
        value_;                                                                                                        \
    })

#undef atomic_store_explicit
#define atomic_store_explicit(pointer, value, order)                                                                   \
    ({                                                                                                                 \
        __auto_type pointer_ = (pointer);                                                                              \
        __typeof__((void)0, *pointer_) value_ = (value);                                                               \
        helgrind_begin(pointer_);                                                                                      \
        __atomic_store(pointer_, &value_, __ATOMIC_SEQ_CST);                                                           \
        helgrind_end(pointer_);                                                                                        \
    })

#undef atomic_exchange_explicit
#define atomic_exchange_explicit(pointer, value, order)                                                                \
    ({                                                                                                                 \
        __auto_type pointer_ = (pointer);                                                                              \
        __typeof__((void)0, *pointer_) value_ = (value), before_;                                                      \
        helgrind_begin(pointer_);                                                                                      \
        __atomic_exchange(pointer_, &value_, &before_, __ATOMIC_SEQ_CST);                                              \
        helgrind_end(pointer_);                                                                                        \
        before_;                                                                                                       \
    })

#undef atomic_compare_exchange_strong_explicit
#define atomic_compare_exchange_strong_explicit(pointer, expected, value, success, failure)                            \
    ({                                                                                                                 \
        __auto_type pointer_ = (pointer);                                                                              \
        __typeof__((void)0, *pointer_) value_ = (value);                                                               \
        helgrind_begin(pointer_);                                                                                      \
        _Bool done_ = __atomic_compare_exchange(pointer_, (expected), &value_, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
        helgrind_end(pointer_);                                                                                        \
        done_;                                                                                                         \
    })

#undef atomic_compare_exchange_weak_explicit
#define atomic_compare_exchange_weak_explicit atomic_compare_exchange_strong_explicit

#undef atomic_fetch_add
#define atomic_fetch_add(pointer, value) HELGRIND_FETCH(__atomic_fetch_add, pointer, value)
#undef atomic_fetch_add_explicit
#define atomic_fetch_add_explicit(pointer, value, order) HELGRIND_FETCH(__atomic_fetch_add, pointer, value)
#undef atomic_fetch_sub
#define atomic_fetch_sub(pointer, value) HELGRIND_FETCH(__atomic_fetch_sub, pointer, value)
#undef atomic_fetch_sub_explicit
#define atomic_fetch_sub_explicit(pointer, value, order) HELGRIND_FETCH(__atomic_fetch_sub, pointer, value)

#endif
