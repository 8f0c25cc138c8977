/* Handshakes, and reading keys, take some 30 KB of stack. Threads may have 16, coroutines (makecontext(3) and the like)
 * are often made with 24, and handlers on a stack of their own with 8. */
#include "stack.h"

#include "state.h"
#include "sys.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <ucontext.h>

enum { ENOUGH = 64 * 1024, MAIN_MAX = 1 << 30, CALL_BYTES = 256 * 1024 };

struct span {
    uintptr_t base, size;
};

static __thread struct span alternate __attribute__((tls_model("initial-exec")));
static __thread struct span own __attribute__((tls_model("initial-exec"))); /* size 0: not asked for yet */

extern void *__libc_stack_end; /* where the first thread's begins, by ld.so */

static bool is_in(const struct span *s, uintptr_t address)
{
    return address - s->base < s->size;
}

bool stack_is_alternate(uintptr_t address)
{
    return is_in(&alternate, address);
}

HOOK int sigaltstack(const stack_t *restrict new, stack_t *restrict old)
{
    int r = real()->sigaltstack(new, old);
    if (r == 0 && new) {
        alternate.base = (uintptr_t) new->ss_sp;
        alternate.size = new->ss_flags &SS_DISABLE ? 0 : new->ss_size;
    }
    return r;
}

/* It grows down to its limit. */
static struct span of_first_thread(void)
{
    const uintptr_t end = (uintptr_t)__libc_stack_end;
    struct rlimit limit;
    uintptr_t size = MAIN_MAX;
    if (getrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur < size)
        size = limit.rlim_cur;
    return (struct span){end - size, size};
}

/* Not for the first thread, whose stack glibc looks up in /proc. */
static struct span of_other_thread(void)
{
    pthread_attr_t attr;
    void *base = NULL;
    size_t size = 0;
    if (pthread_getattr_np(pthread_self(), &attr) != 0)
        return (struct span){0, 0};
    pthread_attr_getstack(&attr, &base, &size);
    pthread_attr_destroy(&attr);
    return (struct span){(uintptr_t)base, size};
}

/* In a process that another thread than the first has forked, that one's stack is what is left. */
static void find_own(uintptr_t address)
{
    const struct span first = of_first_thread();
    own = is_in(&first, address) || getpid() == gettid() ? first : of_other_thread();
}

static bool is_small_alternate(uintptr_t here)
{
    return stack_is_alternate(here) && alternate.size < ENOUGH;
}

bool stack_is_left_to_helper(void)
{
    return is_small_alternate((uintptr_t)__builtin_frame_address(0)) && !helper_absent();
}

/* A coroutine's stack is one that nobody knows. */
static bool is_small(void)
{
    const uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    if (forbidden.stack || stack_is_alternate(here))
        return !forbidden.stack && is_small_alternate(here);
    if (!own.size)
        find_own(here);
    return own.size && (!is_in(&own, here) || here - own.base < ENOUGH);
}

struct call {
    void (*fn)(void *arg);
    void *arg;
    ucontext_t back, there;
};

enum { STACK_BYTES = CALL_BYTES + sizeof(struct call) };

static void call_there(unsigned high, unsigned low)
{
    struct call *c = (struct call *)(((uintptr_t)high << 32) | low);
    c->fn(c->arg);
}

static void call_on(void *stack, struct call *c)
{
    const uintptr_t at = (uintptr_t)c;
    if (getcontext(&c->there) != 0)
        return c->fn(c->arg);
    c->there.uc_stack = (stack_t){.ss_sp = stack, .ss_size = CALL_BYTES};
    c->there.uc_link = &c->back;
    /* makecontext(3) hands on ints */
    makecontext(&c->there, (void (*)(void))call_there, 2, (unsigned)(at >> 32), (unsigned)at);
    swapcontext(&c->back, &c->there);
}

/* The kernel would give a handler the alternate stack from its top, as none is in use that it knows of: over the frames
 * of one that has called us from there. So whatever comes is pending until the caller's stack is back: setcontext(3)
 * brings back the mask before the stack. Faults cannot wait: blocked, they end the program unhandled. */
static void call_undisturbed(void *stack, struct call *c)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
    sigset_t held, mask;
    sigfillset(&held);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        sigdelset(&held, faults[i]);
    sys4(SYS_rt_sigprocmask, (long)SIG_BLOCK, &held, &mask, (long)(_NSIG / 8));
    call_on(stack, c);
    sys4(SYS_rt_sigprocmask, (long)SIG_SETMASK, &mask, NULL, (long)(_NSIG / 8));
}

/* One is kept for the next call: its pages are there already, and to give memory back interrupts all processors that
 * run the process. */
static _Atomic(void *) spare;

static void *take_stack(void)
{
    void *stack = atomic_exchange(&spare, NULL);
    if (stack)
        return stack;
    stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return stack == MAP_FAILED ? NULL : stack;
}

static void give_stack(void *stack)
{
    void *other = atomic_exchange(&spare, stack);
    if (other)
        munmap(other, STACK_BYTES);
}

static void call_with_room(void (*fn)(void *arg), void *arg)
{
    void *stack = is_small() ? take_stack() : NULL;
    if (!stack)
        return fn(arg);
    struct call *c = (void *)((char *)stack + CALL_BYTES); /* a ucontext takes a kilobyte of its own */
    c->fn = fn;
    c->arg = arg;
    call_undisturbed(stack, c);
    give_stack(stack);
}

/* Files are read in there, and random numbers drawn, which are cancellation points: a thread that went there would take
 * the library's locks with it. */
void stack_call(void (*fn)(void *arg), void *arg)
{
    int state;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    call_with_room(fn, arg);
    pthread_setcancelstate(state, NULL);
}
