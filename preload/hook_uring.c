/* io_uring works on descriptors in the kernel, past every hook: it is not there while a policy is active. liburing
 * makes its system calls inline, so its own set-up functions are met here too. They return -errno. */
#include "state.h"

#include <errno.h>

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

/* The next library's function of that name, if there is one. */
#define SET_UP(name, arguments, values)                                                                                \
    int name arguments;                                                                                                \
    HOOK int name arguments                                                                                            \
    {                                                                                                                  \
        static __typeof__(name) *next;                                                                                 \
        if (policy)                                                                                                    \
            return io_uring_refused();                                                                                 \
        if (!next)                                                                                                     \
            next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name);                                                        \
        return next ? next values : -ENOSYS;                                                                           \
    }

SET_UP(io_uring_setup, (unsigned entries, struct io_uring_params *params), (entries, params))
SET_UP(io_uring_queue_init, (unsigned entries, struct io_uring *ring, unsigned flags), (entries, ring, flags))
SET_UP(io_uring_queue_init_params, (unsigned entries, struct io_uring *ring, struct io_uring_params *params),
       (entries, ring, params))
/* liburing 2.5 and 2.6 */
SET_UP(io_uring_queue_init_mem,
       (unsigned entries, struct io_uring *ring, struct io_uring_params *params, void *memory, size_t size),
       (entries, ring, params, memory, size))
SET_UP(io_uring_queue_init_try_nosqarr, (unsigned entries, struct io_uring *ring, struct io_uring_params *params),
       (entries, ring, params))
