/* Bad addresses. The kernel says EFAULT where it cannot reach a buffer; the library would be killed by SIGSEGV, with a
 * lock in its hand. What can be told without asking anybody is told: the null page, and all beyond the program's half
 * of the address space. */
#ifndef P2PTLS_ADDRESSES_H
#define P2PTLS_ADDRESSES_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

static inline bool address_is_null_page(const void *p, size_t len)
{
    return len && (uintptr_t)p < 4096;
}

static inline bool address_is_beyond(const void *p, size_t len)
{
    return (intptr_t)p < 0 || (intptr_t)((uintptr_t)p + len) < 0;
}

static inline bool address_is_bad(const void *p, size_t len)
{
    return address_is_null_page(p, len) || address_is_beyond(p, len);
}

/* EFAULT for the vector itself, or for buffers that no call may name; *on_use: for those that fail when used. */
static inline int addresses_check(const struct iovec *iov, int count, bool *on_use)
{
    *on_use = false;
    if (count > 0 && address_is_bad(iov, (size_t)count * sizeof *iov))
        return EFAULT;
    for (int i = 0; i < count; i++) {
        if (address_is_beyond(iov[i].iov_base, iov[i].iov_len))
            return EFAULT;
        *on_use |= address_is_null_page(iov[i].iov_base, iov[i].iov_len);
    }
    return 0;
}

#endif
