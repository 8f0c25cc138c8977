/* io_uring, which moves bytes in the kernel, past every hook: not there while a policy is active. */
#include "state.h"

#include <errno.h>

/* io_uring works on descriptors in the kernel, past every hook. liburing makes its system calls inline, so its own
 * functions are met here too; they return -errno. */
int io_uring_refused(void)
{
    static _Atomic bool said;
    if (!atomic_exchange(&said, true))
        log_event(LOG_LEVEL_WARN,
                  "io_uring is answered with ENOSYS while a policy is active: it would go past the library");
    return -ENOSYS;
}

struct io_uring;
struct io_uring_params;
int io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags);
int io_uring_queue_init_params(unsigned entries, struct io_uring *ring, struct io_uring_params *params);
int io_uring_setup(unsigned entries, struct io_uring_params *params);

HOOK int io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags)
{
    static int (*next)(unsigned, struct io_uring *, unsigned);
    if (policy)
        return io_uring_refused();
    if (!next)
        next = (__typeof__(next))dlsym(RTLD_NEXT, "io_uring_queue_init");
    return next ? next(entries, ring, flags) : -ENOSYS;
}

HOOK int io_uring_queue_init_params(unsigned entries, struct io_uring *ring, struct io_uring_params *params)
{
    static int (*next)(unsigned, struct io_uring *, struct io_uring_params *);
    if (policy)
        return io_uring_refused();
    if (!next)
        next = (__typeof__(next))dlsym(RTLD_NEXT, "io_uring_queue_init_params");
    return next ? next(entries, ring, params) : -ENOSYS;
}

HOOK int io_uring_setup(unsigned entries, struct io_uring_params *params)
{
    static int (*next)(unsigned, struct io_uring_params *);
    if (policy)
        return io_uring_refused();
    if (!next)
        next = (__typeof__(next))dlsym(RTLD_NEXT, "io_uring_setup");
    return next ? next(entries, params) : -ENOSYS;
}
