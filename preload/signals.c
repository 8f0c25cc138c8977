/* Signal handlers of the program never run while the library holds a lock, so that they may read, write and close the
 * very socket (law 7): one that arrives inside is sent again to this thread, blocked until the call is out. Blocking
 * signals around each call instead would cost two system calls. */
#include "large.h"
#include "state.h"

#include "signals_late.h"

#include "sys.h"
#include "waits.h"

#include <errno.h>
#include <string.h>
#include <ucontext.h>

enum { SIGNALS = 65 };

/* What the program asked for; the kernel has our wrapper instead. */
static struct wrapped {
    _Atomic(void *) handler; /* sa_handler or sa_sigaction; NULL: not wrapped */
    _Atomic int flags;
} wrapped[SIGNALS] LARGE;

static bool is_fault(int signo, const siginfo_t *info)
{
    /* Raised by the instruction itself: it cannot wait. */
    return (signo == SIGSEGV || signo == SIGBUS || signo == SIGFPE || signo == SIGILL || signo == SIGTRAP) &&
           info->si_code > 0;
}

/* Where the mask that a handler leaves in its context is not obeyed (valgrind keeps its own), what is sent again comes
 * at once, for ever. So behind MANY in one call, which handlers in handlers alone do not make, a signal stays here
 * until the call is out: one of each number, as the kernel has it, but for real-time ones. */
enum { MANY = 16, KEPT = 4 };
static __thread struct {
    siginfo_t kept[KEPT];
    volatile unsigned count, deferred;
} obstinate __attribute__((tls_model("initial-exec")));

static bool keep(int signo, const siginfo_t *info)
{
    const unsigned n = obstinate.count;
    if (obstinate.deferred < MANY) {
        obstinate.deferred++;
        return false;
    }
    for (unsigned i = 0; i < n && signo < SIGRTMIN; i++)
        if (obstinate.kept[i].si_signo == signo)
            return true;
    if (n == KEPT)
        return false;
    obstinate.kept[n] = *info;
    obstinate.kept[n].si_signo = signo;
    obstinate.count = n + 1;
    return true;
}

static void send_again(int signo, siginfo_t *info)
{
    sys4(SYS_rt_tgsigqueueinfo, (long)getpid(), sys0(SYS_gettid), (long)signo, info);
}

/* All signals are blocked first: SA_NODEFER would let the one that is sent again come at once, for ever. Whoever finds
 * signals held already was interrupted by another handler before it got here, and knows the older mask. */
static void defer(int signo, siginfo_t *info, ucontext_t *context)
{
    sigset_t all;
    sigfillset(&all);
    sys4(SYS_rt_sigprocmask, (long)SIG_BLOCK, &all, NULL, (long)(_NSIG / 8));
    thread.mask_to_restore = context->uc_sigmask;
    thread.signals_held = true;
    sigfillset(&context->uc_sigmask); /* in force when this handler returns, until signals_release */
    if (keep(signo, info)) {
        late_drop(signo, info);
        return;
    }
    late_keep(signo, info);
    send_again(signo, info);
}

/* As the kernel does it: flags and mask stay what they were. */
static void reset_to_default(int signo)
{
    struct sigaction standard;
    if (real()->sigaction(signo, NULL, &standard) != 0)
        return;
    standard.sa_handler = SIG_DFL;
    standard.sa_flags = atomic_load(&wrapped[signo].flags);
    atomic_store(&wrapped[signo].handler, NULL);
    real()->sigaction(signo, &standard, NULL);
}

static void on_signal(int signo, siginfo_t *info, void *context)
{
    if (thread.depth > 0 && !is_fault(signo, info)) {
        int saved = errno;
        defer(signo, info, context);
        errno = saved;
        return;
    }
    void *handler = atomic_load(&wrapped[signo].handler);
    int flags = atomic_load(&wrapped[signo].flags);
    if (!handler)
        return;
    late_turn(signo, info);
    thread.handlers++;
    if (!(flags & SA_RESTART))
        thread.interruptions++;
    if (flags & (int)SA_RESETHAND)
        reset_to_default(signo);
    unsigned cover = thread.waits ? waits_cover(__builtin_frame_address(0)) : 0;
    if (flags & SA_SIGINFO)
        ((void (*)(int, siginfo_t *, void *))handler)(signo, info, context);
    else
        ((void (*)(int))handler)(signo);
    if (cover)
        waits_uncover(cover);
}

/* In a sandbox that forbids to send a signal again: none arrives inside. */
void signals_hold(void)
{
    sigset_t all;
    sigfillset(&all);
    if (sys4(SYS_rt_sigprocmask, (long)SIG_SETMASK, &all, &thread.mask_to_restore, (long)(_NSIG / 8)) == 0)
        thread.signals_held = true;
}

/* They are delivered when the mask is restored, as what was sent again at once. */
static SLOW void send_kept(void)
{
    sigset_t all;
    sigfillset(&all);
    sys4(SYS_rt_sigprocmask, (long)SIG_SETMASK, &all, NULL, (long)(_NSIG / 8));
    for (unsigned i = 0; i < obstinate.count; i++)
        send_again(obstinate.kept[i].si_signo, &obstinate.kept[i]);
    obstinate.count = 0;
}

void signals_forked(void)
{
    obstinate.count = obstinate.deferred = 0;
    late_forked();
}

/* Lets the held signals come: restoring the mask delivers them at once, with a true context. */
void signals_release(void)
{
    thread.signals_held = false;
    sigset_t mask = thread.mask_to_restore;
    obstinate.deferred = 0;
    if (__builtin_expect(obstinate.count, 0))
        send_kept();
    sys4(SYS_rt_sigprocmask, (long)SIG_SETMASK, &mask, NULL, (long)(_NSIG / 8));
}

static bool is_function(const struct sigaction *a)
{
    return (void *)a->sa_handler != (void *)SIG_DFL && (void *)a->sa_handler != (void *)SIG_IGN;
}

static struct sigaction wrap(int signo, const struct sigaction *wanted)
{
    struct sigaction ours = *wanted;
    if (!is_function(wanted))
        return ours;
    atomic_store(&wrapped[signo].flags, wanted->sa_flags);
    atomic_store(&wrapped[signo].handler, (void *)wanted->sa_handler);
    ours.sa_sigaction = on_signal;
    ours.sa_flags |= SA_SIGINFO;
    /* The first delivery may be one that is deferred: the handler is taken off when it really runs. */
    ours.sa_flags &= ~(int)SA_RESETHAND;
    if (wanted->sa_flags & (int)SA_RESETHAND)
        ours.sa_flags |= wanted->sa_flags & SA_NODEFER;
    return ours;
}

/* Shows the program what it asked for. */
static void unwrap(struct sigaction *shown, void *handler, int flags)
{
    if (shown->sa_sigaction != on_signal || !(shown->sa_flags & SA_SIGINFO))
        return;
    shown->sa_handler = (void (*)(int))handler;
    shown->sa_flags = flags | (shown->sa_flags & 0x04000000); /* SA_RESTORER is libc's */
}

HOOK int sigaction(int signo, const struct sigaction *act, struct sigaction *old)
{
    if (!policy || signo < 1 || signo >= SIGNALS || signo == 32 || signo == 33)
        return real()->sigaction(signo, act, old);
    void *handler = atomic_load(&wrapped[signo].handler);
    int flags = atomic_load(&wrapped[signo].flags);
    struct sigaction ours;
    if (act)
        ours = wrap(signo, act);
    int r = real()->sigaction(signo, act ? &ours : NULL, old);
    if (act && !is_function(act))
        late_changed(signo);
    if (r == 0 && old)
        unwrap(old, handler, flags);
    return r;
}
HOOK_ALIAS(sigaction, __sigaction);

static sighandler_t set_handler(int signo, sighandler_t handler, int flags)
{
    struct sigaction act = {.sa_handler = handler, .sa_flags = flags}, old;
    sigemptyset(&act.sa_mask);
    if (!(flags & SA_NODEFER))
        sigaddset(&act.sa_mask, signo);
    return sigaction(signo, &act, &old) == 0 ? old.sa_handler : SIG_ERR;
}

/* siginterrupt(3) changes what signal(3) will do later: kept per signal, as libc does. */
static _Atomic bool interrupts[SIGNALS];

HOOK sighandler_t signal(int signo, sighandler_t handler)
{
    if (handler == SIG_ERR || signo < 1 || signo >= SIGNALS) {
        errno = EINVAL;
        return SIG_ERR;
    }
    return set_handler(signo, handler, atomic_load(&interrupts[signo]) ? 0 : SA_RESTART);
}
HOOK_ALIAS(signal, bsd_signal);
HOOK_ALIAS(signal, ssignal);

HOOK int siginterrupt(int signo, int interrupt)
{
    struct sigaction act;
    if (sigaction(signo, NULL, &act) != 0)
        return -1;
    atomic_store(&interrupts[signo], interrupt != 0);
    act.sa_flags = interrupt ? act.sa_flags & ~SA_RESTART : act.sa_flags | SA_RESTART;
    return sigaction(signo, &act, NULL);
}

HOOK sighandler_t sysv_signal(int signo, sighandler_t handler)
{
    if (handler == SIG_ERR || signo < 1 || signo >= SIGNALS) {
        errno = EINVAL;
        return SIG_ERR;
    }
    return set_handler(signo, handler, (int)(SA_RESETHAND | SA_NODEFER));
}
HOOK_ALIAS(sysv_signal, __sysv_signal);

/* sigset(3) of System V: SIG_HOLD blocks the signal, any other disposition unblocks it; the old one, or SIG_HOLD if it
 * was blocked, is returned. */
HOOK sighandler_t sigset(int signo, sighandler_t handler)
{
    sigset_t one, before;
    struct sigaction act = {.sa_handler = handler}, old;
    if (handler == SIG_ERR || signo < 1 || signo >= SIGNALS) {
        errno = EINVAL;
        return SIG_ERR;
    }
    sigemptyset(&one);
    sigaddset(&one, signo);
    sigemptyset(&act.sa_mask);
    if (sigaction(signo, handler == SIG_HOLD ? NULL : &act, &old) != 0 ||
        sigprocmask(handler == SIG_HOLD ? SIG_BLOCK : SIG_UNBLOCK, &one, &before) != 0)
        return SIG_ERR;
    return sigismember(&before, signo) ? SIG_HOLD : old.sa_handler;
}
