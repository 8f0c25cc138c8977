#include "dane.h"

#include "io.h"
#include "state.h"
#include "sys.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { STACK_BYTES = 32 * 1024, GUARD_BYTES = 4096 * 16 /* a page, also where pages are of 64 KiB */, NAME_ROOM = 256 };

struct tlsa_lookup {
    struct tlsa_lookup *next;
    pid_t pid;           /* 0: none */
    unsigned generation; /* of processes: another one's pid is not ours to wait for */
    uint16_t port;
    char name[NAME_ROOM];
    struct dane_question q;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* over making and ending processes, which takes no time */
static struct tlsa_lookup *lookups;
static unsigned generation;

/* 0 or the errno. A child that sends no signal (its exit signal is 0), so that no wait of the program's sees it
 * (wait(2), __WCLONE). Nothing of it becomes known to the program: it shares memory, not descriptors. All signals are
 * blocked in it. */
static int start(struct tlsa_lookup *l)
{
    const uint64_t all = ~0ULL;
    uint64_t before;
    int saved = errno;

    atomic_store(&l->q.state, DANE_ASKING);
    sys4(SYS_rt_sigprocmask, (long)SIG_SETMASK, &all, &before, 8L);
    const int pid = real()->clone(dane_process, (char *)l, CLONE_VM | CLONE_FILES, &l->q);
    const int error = pid < 0 ? errno : 0;
    sys4(SYS_rt_sigprocmask, (long)SIG_SETMASK, &before, 0L, 8L);
    errno = saved;
    l->pid = pid < 0 ? 0 : pid;
    l->generation = generation;
    return error;
}

/* Returns when it is gone: its stack is ours. */
static void stop(struct tlsa_lookup *l)
{
    if (l->pid && l->generation == generation) {
        if (atomic_load(&l->q.state) != DANE_DONE)
            sys2(SYS_kill, (long)l->pid, (long)SIGKILL);
        while (sys4(SYS_wait4, (long)l->pid, 0L, (long)__WCLONE, 0L) == -EINTR)
            ;
    }
    l->pid = 0;
}

/* Has it ended without an answer: killed by somebody, or by a filter that it came with? */
static bool has_died(struct tlsa_lookup *l)
{
    const long r = sys4(SYS_wait4, (long)l->pid, 0L, (long)(__WCLONE | WNOHANG), 0L);

    if (r == 0)
        return false;
    l->pid = 0;
    return atomic_load(&l->q.state) != DANE_DONE;
}

/* The stack lies in front of the struct, and an unusable page in front of the stack. */
static struct tlsa_lookup *allocate(void)
{
    const size_t len = GUARD_BYTES + STACK_BYTES + sizeof(struct tlsa_lookup);
    char *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (at == MAP_FAILED)
        return NULL;
    mprotect(at, GUARD_BYTES, PROT_NONE);
    return (struct tlsa_lookup *)(at + GUARD_BYTES + STACK_BYTES);
}

static void release(struct tlsa_lookup *l)
{
    munmap((char *)l - STACK_BYTES - GUARD_BYTES, GUARD_BYTES + STACK_BYTES + sizeof *l);
}

static bool read_servers(struct dane_question *q, char *why)
{
    const long flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    const long fd = forbidden.files ? -EPERM : sys4(SYS_openat, (long)AT_FDCWD, "/etc/resolv.conf", flags, 0L);
    long n = 0, r = 1;

    while (fd >= 0 && r > 0 && n < DNS_ANSWER_MAX)
        if ((r = sys3(SYS_read, fd, q->answer + n, DNS_ANSWER_MAX - n)) > 0)
            n += r;
    if (fd >= 0)
        sys1(SYS_close, fd);
    dns_servers_read((const char *)q->answer, (size_t)n, &q->servers);
    if (q->servers.count)
        return true;
    snprintf(
        why, TLSA_WHY_MAX,
        "dane=on: /etc/resolv.conf names no resolver whose word on DNSSEC could be trusted: run one that validates "
        "on loopback, or say 'options trust-ad' there if the way to it is safe");
    return false;
}

static bool write_query(struct tlsa_lookup *l, char *why)
{
    uint16_t id;

    if (sys3(SYS_getrandom, &id, sizeof id, 0L) != sizeof id) {
        snprintf(why, TLSA_WHY_MAX, "dane=on: the system gives no random numbers");
        return false;
    }
    l->q.query_len = dns_tlsa_query(l->name, l->port, id, l->q.query);
    if (!l->q.query_len)
        snprintf(why, TLSA_WHY_MAX,
                 "dane=on: %.100s is no name that DNS could be asked for: it must be in its ASCII form (xn--...)",
                 l->name);
    return l->q.query_len != 0;
}

/* After unshare(CLONE_NEWPID) the next child is process 1 of a new namespace, which ends with it: that must be one of
 * the program's. */
static bool would_be_process_one(void)
{
    struct stat here, below;

    if (forbidden.files)
        return false;
    const long r = sys4(SYS_newfstatat, (long)AT_FDCWD, "/proc/self/ns/pid", &here, 0L);
    const long s = sys4(SYS_newfstatat, (long)AT_FDCWD, "/proc/self/ns/pid_for_children", &below, 0L);
    return s == -ENOENT || (r == 0 && s == 0 && here.st_ino != below.st_ino);
}

static bool ask_anew(struct tlsa_lookup *l, char *why)
{
    if (would_be_process_one()) {
        snprintf(why, TLSA_WHY_MAX,
                 "dane=on: TLSA records cannot be looked up, as the next child of this process is the first of another "
                 "pid namespace: connect before unshare(2), or in that child");
        return false;
    }
    if (forbidden.lookup) {
        snprintf(why, TLSA_WHY_MAX,
                 "dane=on: this program's sandbox forbids the look-up of TLSA records: connect before it is entered");
        return false;
    }
    if (!read_servers(&l->q, why) || !write_query(l, why))
        return false;
    const int error = start(l);
    if (error)
        snprintf(why, TLSA_WHY_MAX,
                 "dane=on: the process that asks the resolver cannot be made: %s: raise the limit on processes",
                 strerror(error));
    return !error;
}

static struct tlsa_lookup *begin(const char *name, uint16_t port, int64_t until_ms, char why[TLSA_WHY_MAX])
{
    struct tlsa_lookup *l = allocate();

    if (!l) {
        snprintf(why, TLSA_WHY_MAX, "dane=on: out of memory");
        return NULL;
    }
    snprintf(l->name, sizeof l->name, "%s", name);
    l->port = port;
    l->q.until_ms = until_ms;
    pthread_mutex_lock(&lock);
    const bool begun = ask_anew(l, why);
    if (begun) {
        l->next = lookups;
        lookups = l;
    }
    pthread_mutex_unlock(&lock);
    if (begun)
        return l;
    release(l);
    return NULL;
}

static enum result explain_silence(const struct tlsa_lookup *l, char *why)
{
    const long e = l->q.error;

    if (e == -ENOSYS || e == -EINVAL || e == -EPERM)
        snprintf(why, TLSA_WHY_MAX, "dane=on: looking TLSA records up takes close_range(2) of Linux 5.9: %s",
                 strerror((int)-e));
    else
        snprintf(why, TLSA_WHY_MAX,
                 "dane=on: no answer from the resolver of /etc/resolv.conf for the TLSA records _%u._tcp.%.100s (%s): "
                 "is it running?",
                 l->port, l->name, e ? strerror((int)-e) : "an empty one came");
    return RESULT_IDENTITY;
}

static enum result explain(const struct tlsa_lookup *l, enum dns_verdict verdict, unsigned rcode, char *why)
{
    static const char *const rcodes[] = {[1] = "FORMERR", [2] = "SERVFAIL", [4] = "NOTIMP", [5] = "REFUSED"};
    const char *name = rcode < 6 && rcodes[rcode] ? rcodes[rcode] : "an error";

    switch (verdict) {
    case DNS_FOUND:
    case DNS_ABSENT:
        return RESULT_OK;
    case DNS_INSECURE:
        snprintf(
            why, TLSA_WHY_MAX,
            "dane=on: what the resolver says of the TLSA records _%u._tcp.%.100s is not proven by DNSSEC: sign the "
            "zone, and let the resolver validate",
            l->port, l->name);
        break;
    case DNS_FAILED:
        snprintf(why, TLSA_WHY_MAX,
                 "dane=on: the resolver answers %s for the TLSA records _%u._tcp.%.100s: somebody forges answers, the "
                 "zone's signatures are broken, or it cannot be reached",
                 name, l->port, l->name);
        break;
    case DNS_MALFORMED:
        snprintf(why, TLSA_WHY_MAX, "dane=on: the resolver's answer for the TLSA records _%u._tcp.%.100s is malformed",
                 l->port, l->name);
        break;
    }
    return RESULT_IDENTITY;
}

static enum result judge(const struct tlsa_lookup *l, struct tlsa_set *set, char *why)
{
    unsigned rcode = 0;

    if (!l->q.answer_len)
        return explain_silence(l, why);
    const enum dns_verdict verdict =
        dns_tlsa_answer(l->q.query, l->q.query_len, l->q.answer, (size_t)l->q.answer_len, set, &rcode);
    return explain(l, verdict, rcode, why);
}

static enum result ask(struct tlsa_lookup *l, struct tlsa_set *set, char why[TLSA_WHY_MAX])
{
    enum result result = RESULT_AGAIN;

    pthread_mutex_lock(&lock);
    const uint32_t state = atomic_load_explicit(&l->q.state, memory_order_acquire);
    if (state == DANE_IDLE && !ask_anew(l, why)) {
        result = RESULT_IDENTITY;
    } else if (state == DANE_DONE) {
        result = judge(l, set, why);
    } else if (state == DANE_ASKING && has_died(l)) {
        snprintf(why, TLSA_WHY_MAX, "dane=on: the process that asked the resolver was killed");
        result = RESULT_IDENTITY;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

static void end(struct tlsa_lookup *l)
{
    if (!l)
        return;
    pthread_mutex_lock(&lock);
    for (struct tlsa_lookup **at = &lookups; *at; at = &(*at)->next)
        if (*at == l) {
            *at = l->next;
            break;
        }
    stop(l);
    pthread_mutex_unlock(&lock);
    release(l);
}

const struct tlsa_resolver dane_resolver = {begin, ask, end};

void dane_interrupt(void)
{
    library_enter();
    pthread_mutex_lock(&lock);
    for (struct tlsa_lookup *l = lookups; l; l = l->next) {
        if (atomic_load(&l->q.state) == DANE_DONE)
            continue;
        stop(l);
        atomic_store(&l->q.state, DANE_IDLE);
    }
    pthread_mutex_unlock(&lock);
    library_leave();
}

void dane_forked(void)
{
    pthread_mutex_init(&lock, NULL);
    lookups = NULL; /* they go with the handshakes of the parent, without a look at this list */
    generation++;
}
