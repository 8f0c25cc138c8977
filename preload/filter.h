/* What a seccomp filter says to the system calls of the library: its program is run here, before it is in force. */
#ifndef P2PTLS_FILTER_H
#define P2PTLS_FILTER_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>

/* True if the filter lets the call pass, for good: SECCOMP_RET_ALLOW or SECCOMP_RET_LOG. A program that is not valid
 * allows nothing. */
bool filter_allows(const struct sock_fprog *filter, long number, const uint64_t args[6]);

#endif
