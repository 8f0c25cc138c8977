#include "signals_late.h"

#include "table.h"

#include "sys.h"

#include <string.h>

/* As many as a thread can have on their way: one for each handler that runs in another. More are not kept in order. */
enum { LATE = 4, SIGNALS = 65 };

/* sent: what was sent again, and has not come yet; waiting: what the handler has not had yet, the oldest first. There
 * are as many of one as of the other. Two that are alike need not be told apart. */
struct late {
    siginfo_t sent, waiting;
    unsigned generation; /* of the signal's disposition */
};
static __thread struct late late[LATE] __attribute__((tls_model("initial-exec")));
static __thread volatile unsigned kept __attribute__((tls_model("initial-exec")));
static _Atomic unsigned generations[SIGNALS];

static bool is_real_time(int signo)
{
    return signo >= SIGRTMIN && signo < SIGNALS;
}

void late_keep(int signo, const siginfo_t *info)
{
    if (!is_real_time(signo) || kept == LATE)
        return;
    struct late *l = &late[kept];
    l->sent = l->waiting = *info;
    l->sent.si_signo = l->waiting.si_signo = signo;
    l->generation = atomic_load(&generations[signo]);
    kept = kept + 1;
}

void late_drop(int signo, const siginfo_t *info)
{
    unsigned left = 0;
    for (unsigned i = 0; i < kept; i++)
        if (late[i].sent.si_signo != signo || memcmp(&late[i].sent, info, sizeof *info) != 0)
            late[left++] = late[i];
    kept = left;
}

static void drop_void_ones(void)
{
    unsigned left = 0;
    for (unsigned i = 0; i < kept; i++)
        if (late[i].generation == atomic_load(&generations[late[i].sent.si_signo]))
            late[left++] = late[i];
    kept = left;
}

/* Of the entries with that number; LATE: there is none. */
static unsigned last_of(int signo)
{
    unsigned last = LATE;
    for (unsigned i = 0; i < kept; i++)
        if (late[i].sent.si_signo == signo)
            last = i;
    return last;
}

static void take_turn(int signo, siginfo_t *info)
{
    unsigned last = last_of(signo);
    if (last == LATE)
        return;
    siginfo_t newest = *info, carried;
    unsigned own = LATE; /* where that one was sent again */
    for (unsigned i = 0; i <= last && own == LATE; i++)
        if (late[i].sent.si_signo == signo && memcmp(&late[i].sent, info, sizeof *info) == 0)
            own = i;
    /* From the newest to the oldest: each takes the place of the one behind it. */
    carried = newest;
    for (unsigned i = last + 1; i-- > 0;) {
        if (late[i].sent.si_signo != signo)
            continue;
        siginfo_t waiting = late[i].waiting;
        late[i].waiting = carried;
        carried = waiting;
    }
    *info = carried;
    if (own == LATE)
        return;
    /* It was the one that had been sent again: nothing new has come, and the place of the newest is empty. */
    for (unsigned i = own, next = own + 1; next <= last; next++) {
        if (late[next].sent.si_signo != signo)
            continue;
        late[i].sent = late[next].sent;
        i = next;
    }
    memmove(&late[last], &late[last + 1], (kept - last - 1) * sizeof late[0]);
    kept = kept - 1;
}

void late_turn(int signo, siginfo_t *info)
{
    sigset_t all, before;
    if (!kept || !is_real_time(signo))
        return;
    sigfillset(&all);
    sys4(SYS_rt_sigprocmask, (long)SIG_SETMASK, &all, &before, (long)(_NSIG / 8));
    drop_void_ones();
    take_turn(signo, info);
    sys4(SYS_rt_sigprocmask, (long)SIG_SETMASK, &before, NULL, (long)(_NSIG / 8));
}

void late_changed(int signo)
{
    if (signo > 0 && signo < SIGNALS)
        atomic_fetch_add(&generations[signo], 1);
}

void late_forked(void)
{
    kept = 0;
}
