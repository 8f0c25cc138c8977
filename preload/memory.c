/* Looks at a program's memory by system calls that fail on a bad address and otherwise do nothing. Pages once found
 * good are remembered by each thread, so that buffers in use over and over cost no call. */
#include "memory.h"

#include "real.h"
#include "sandbox.h"
#include "sys.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE_BITS = 12, PAGE_BYTES = 1 << PAGE_BITS, SETS = 128, VECTOR_MAX = 1024 };

/* Two pages for each set, the last one seen in front: with one, two buffers of a program that fell together cost a call
 * for each use (redis: one in three requests). */
struct seen {
    uintptr_t pages[SETS][2]; /* page number + 1 */
};
static __thread struct seen readable __attribute__((tls_model("initial-exec")));
static __thread struct seen writable __attribute__((tls_model("initial-exec")));

/* rt_sigprocmask reads the new set before it refuses an operation that does not exist; NULL would mean no set. */
static bool can_read(uintptr_t at)
{
    uintptr_t set = at & ~(uintptr_t)7;
    return sys4(SYS_rt_sigprocmask, 99L, set ? set : 8, NULL, 8L) != -EFAULT;
}

/* FUTEX_WAKE_OP writes: it ORs nothing in, atomically. Nobody waits on the first word. */
static bool can_write(uintptr_t at)
{
    uint32_t nobody = 0;
    long op = FUTEX_OP(FUTEX_OP_OR, 0, FUTEX_OP_CMP_EQ, 0x7ff);
    return sys6(SYS_futex, SYS_ARG(&nobody), FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG, 0, 0, (long)(at & ~(uintptr_t)3),
                op) != -EFAULT;
}

/* valgrind checks what system calls read, and would blame the program for bytes beside its buffer. It shows itself by
 * what it preloads. */
static bool under_valgrind;

void memory_init(void)
{
    const char *preload = secure_getenv("LD_PRELOAD");
    under_valgrind = preload && strstr(preload, "/vgpreload_");
}

/* Just above this frame are the locals of those who called: where most arguments lie. */
static bool is_on_stack(uintptr_t at)
{
    enum { CALLERS_BYTES = 65536 };
    return at - (uintptr_t)__builtin_frame_address(0) < CALLERS_BYTES;
}

static __attribute__((noinline)) bool find_out(uintptr_t at, uintptr_t *set, bool (*look)(uintptr_t))
{
    uintptr_t page = (at >> PAGE_BITS) + 1;
    if (set[1] != page) {
        if (at > INTPTR_MAX) /* the kernel's half of the addresses */
            return false;
        if (is_on_stack(at) || forbidden.receive || under_valgrind)
            return true;
        if (!look(at))
            return false;
    }
    set[1] = set[0];
    set[0] = page;
    return true;
}

static inline bool good(uintptr_t at, struct seen *seen, bool (*look)(uintptr_t))
{
    uintptr_t page = (at >> PAGE_BITS) + 1, *set = seen->pages[page % SETS];
    return __builtin_expect(set[0] == page, 1) || find_out(at, set, look);
}

static SLOW bool good_ends(uintptr_t first, uintptr_t last, struct seen *seen, bool (*look)(uintptr_t))
{
    return last >= first && good(first, seen, look) &&
           (first >> PAGE_BITS == last >> PAGE_BITS || good(last, seen, look));
}

static inline bool good_span(const void *at, size_t len, struct seen *seen, bool (*look)(uintptr_t))
{
    const uintptr_t first = (uintptr_t)at, last = first + len - 1, page = (first >> PAGE_BITS) + 1;
    const bool usual = (last >> PAGE_BITS) + 1 == page && seen->pages[page % SETS][0] == page;
    return !len || (__builtin_expect(usual, 1) && last >= first) || good_ends(first, last, seen, look);
}

bool memory_readable(const void *at, size_t len)
{
    return good_span(at, len, &readable, can_read);
}

bool memory_writable(void *at, size_t len)
{
    return good_span(at, len, &writable, can_write);
}

size_t memory_vector_bytes(const struct iovec *iov, int count)
{
    size_t total = 0;
    for (int i = 0; i < count; i++)
        total += iov[i].iov_len;
    return total;
}

int memory_vector_error(const struct iovec *iov, long count)
{
    size_t total = 0;
    bool beyond = false;
    if (count < 0 || count > VECTOR_MAX)
        return EINVAL;
    if (!memory_readable(iov, (size_t)count * sizeof *iov))
        return EFAULT;
    for (long i = 0; i < count; i++) {
        if (iov[i].iov_len > SSIZE_MAX)
            return EINVAL;
        beyond |= (total += iov[i].iov_len) > SSIZE_MAX; /* more than there are addresses */
    }
    return beyond ? EFAULT : 0;
}

int memory_message_error(const struct msghdr *m)
{
    if (!memory_readable(m, sizeof *m))
        return EFAULT;
    if (m->msg_iovlen > VECTOR_MAX)
        return EMSGSIZE;
    return memory_vector_error(m->msg_iov, (long)m->msg_iovlen);
}

bool memory_buffers_of_user(const struct iovec *iov, int count)
{
    for (int i = 0; i < count; i++)
        if ((uintptr_t)iov[i].iov_base > INTPTR_MAX || iov[i].iov_len > INTPTR_MAX - (uintptr_t)iov[i].iov_base)
            return false;
    return true;
}

bool memory_buffers_readable(const struct iovec *iov, int count)
{
    for (int i = 0; i < count; i++)
        if (!good_span(iov[i].iov_base, iov[i].iov_len, &readable, can_read))
            return false;
    return true;
}

bool memory_buffers_writable(const struct iovec *iov, int count)
{
    for (int i = 0; i < count; i++)
        if (!good_span(iov[i].iov_base, iov[i].iov_len, &writable, can_write))
            return false;
    return true;
}

/* Each page is looked at, those of the stack too, which has an end. Where nothing is looked at, nothing is known of
 * memory that is not good. */
static size_t good_part(uintptr_t at, size_t len, bool (*look)(uintptr_t))
{
    enum { PAGES = 256 };
    size_t part = 0;
    if (forbidden.receive || under_valgrind)
        return 0;
    for (int i = 0; i < PAGES && part < len && at + part <= INTPTR_MAX && look(at + part); i++)
        part += PAGE_BYTES - (at + part) % PAGE_BYTES;
    return part < len ? part : len;
}

static int good_parts(const struct iovec *iov, int count, struct iovec *parts, int room, struct seen *seen,
                      bool (*look)(uintptr_t))
{
    int n = 0;
    bool whole = true;
    for (int i = 0; i < count && n < room && whole; i++) {
        uintptr_t at = (uintptr_t)iov[i].iov_base;
        whole = good_span(iov[i].iov_base, iov[i].iov_len, seen, look);
        parts[n] = (struct iovec){iov[i].iov_base, whole ? iov[i].iov_len : good_part(at, iov[i].iov_len, look)};
        n += parts[n].iov_len != 0;
    }
    return n;
}

int memory_parts_readable(const struct iovec *iov, int count, struct iovec *parts, int room)
{
    return good_parts(iov, count, parts, room, &readable, can_read);
}

int memory_parts_writable(const struct iovec *iov, int count, struct iovec *parts, int room)
{
    return good_parts(iov, count, parts, room, &writable, can_write);
}
