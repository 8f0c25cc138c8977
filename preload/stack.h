/* How much stack the calling thread has: handshakes need more than a small one has, and reading keys too. */
#ifndef P2PTLS_STACK_H
#define P2PTLS_STACK_H

#include <stdbool.h>
#include <stdint.h>

/* Is this address on the stack that sigaltstack(2) has named? */
bool stack_is_alternate(uintptr_t address);

/* Does the caller run on such a one that is small? Then a handler has interrupted something, and whatever takes time is
 * left to the helper, if there is one. */
bool stack_is_left_to_helper(void);

/* Calls fn, on a stack that is large enough for a handshake. Where this one is too small, or nobody knows how large it
 * is, that is a new one. Inside thread_enter. */
void stack_call(void (*fn)(void *arg), void *arg);

#endif
