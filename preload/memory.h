/* May a program's pointer be used? The kernel answers a bad one with EFAULT where our own access would end the program.
 * Only the first and the last byte are looked at: a hole in the middle of a buffer is no mistake that programs make. */
#ifndef P2PTLS_MEMORY_H
#define P2PTLS_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* At start. */
void memory_init(void);

/* No call is made for this: nobody has NULL's page, nor the kernel's half of the addresses. For calls on descriptors
 * that may not be selected, which shall cost nothing more. */
static inline bool memory_plausible(const void *at, size_t len)
{
    return !len || ((uintptr_t)at >= 4096 && (uintptr_t)at <= INTPTR_MAX && len <= INTPTR_MAX - (uintptr_t)at);
}
bool memory_readable(const void *at, size_t len);
bool memory_writable(void *at, size_t len);

/* The length of one buffer, as calls of sockets take it (MAX_RW_COUNT, read(2) under NOTES). */
static inline size_t memory_cut(size_t len)
{
    return len < 0x7ffff000 ? len : 0x7ffff000;
}

/* The errno of a vector as the kernel would find it before it moves a byte, except for what lies in its buffers; 0. */
int memory_vector_error(const struct iovec *iov, long count);
size_t memory_vector_bytes(const struct iovec *iov, int count);
/* The same for a message; one with too many parts is EMSGSIZE. */
int memory_message_error(const struct msghdr *m);

/* False: the kernel does not even try (access_ok): EFAULT before anything else. */
bool memory_buffers_of_user(const struct iovec *iov, int count);
bool memory_buffers_readable(const struct iovec *iov, int count);
bool memory_buffers_writable(const struct iovec *iov, int count);
/* Where these are false: what lies in front of the first byte that may not be used, in at most room parts, none of them
 * empty. Of a buffer that is not good 1 MiB at most is looked at, since its length may be anything. How many parts. */
int memory_parts_readable(const struct iovec *iov, int count, struct iovec *parts, int room);
int memory_parts_writable(const struct iovec *iov, int count, struct iovec *parts, int room);

#endif
