/* Runs scripts on both pairs and compares. */
#include "differential.h"

#include <sys/mman.h>
#include <sys/syscall.h>

struct side *sides;
static bool talkative, always_spoiled;
static uint64_t steps_run, spoiled = UINT64_MAX;
static char difference[400], key[100];
static const struct script *running;

/* What hangs is a difference as well. */
static void tell_hang(char *text, size_t room)
{
    if (!running)
        return;
    snprintf(text, room, "in its last step, %s", sides[PROTECTED].busy ? "protected" : "on plain TCP");
    fprintf(stderr, "hangs: --script '");
    script_print(stderr, running);
    fprintf(stderr, "'\n");
}

void run_init(bool verbose)
{
    talkative = verbose;
    watchdog_start();
    watchdog_state = tell_hang;
    guard_init();
    sides = mmap(NULL, sizeof(struct side) * SIDES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(sides != MAP_FAILED, "mmap: %s", strerror(errno));
    for (int i = 0; i < SIDES; i++)
        side_init(&sides[i], i);
}

void run_spoil(uint64_t step, bool always)
{
    spoiled = step;
    always_spoiled = always;
}

bool run_spoils(void)
{
    return always_spoiled;
}

uint64_t run_steps(void)
{
    return steps_run;
}

const char *run_difference(void)
{
    return difference;
}

/* The outcome is in shared memory. Timers are not inherited: the guard is the child's own. */
static void run_in_child(struct call *c, const struct operation *o)
{
    side_finish_handshake(c->side);
    call_answered(c);
    pid_t pid = c->step->by == BY_FORK       ? fork()
                : c->step->by == BY_RAW_FORK ? _Fork()
                                             : (pid_t)syscall(SYS_clone, (long)SIGCHLD, 0L, NULL, NULL, 0L);
    SYS(pid);
    if (pid == 0) {
        o->run(c);
        unsigned pipes = sigpipes_taken();
        if (pipes)
            note(c, "SIGPIPE of the child", pipes);
        _exit(0);
    }
    reap(pid, o->name);
}

static void run_step(struct side *s, const struct step *step)
{
    const struct operation *o = operation_at(step->op);
    struct call c = {.side = s,
                     .end = &s->ends[step->end],
                     .peer = &s->ends[1 - step->end],
                     .step = step,
                     .number = (int)step->end,
                     .fd = s->ends[step->end].fd[step->via]};
    s->out.count = 0;
    s->was_unread = s->closed_unread;
    s->busy = true;
    unsigned looks = watchdog_looks;
    sigpipes_taken();
    sigalrms_taken();
    if (step->by == BY_SELF)
        o->run(&c);
    else
        run_in_child(&c, o);
    unsigned pipes = sigpipes_taken();
    if (pipes)
        note(&c, "SIGPIPE", pipes);
    s->guarded = sigalrms_taken() > 0;
    s->looked_at = watchdog_looks != looks;
    s->restless = !side_settle(s);
    s->busy = false;
}

static const char *told(const struct outcome *out, char *text, size_t room)
{
    size_t at = 0;
    text[0] = 0;
    for (unsigned i = 0; i < out->count && at < room - 60; i++)
        at += (size_t)snprintf(text + at, room - at, "%s%s=%lld", i ? ", " : "", out->values[i].name,
                               out->values[i].number);
    return text;
}

/* Of an exploring run: differences that were told once. */
static char told_before[200][sizeof(key)];
static unsigned told_count;

void run_ignore(void)
{
    CHECK(told_count < 200, "more than 200 kinds of differences");
    memcpy(told_before[told_count++], key, sizeof(key));
}

static bool is_news(void)
{
    for (unsigned i = 0; i < told_count; i++)
        if (strcmp(told_before[i], key) == 0)
            return false;
    return true;
}

static bool differs(const struct script *s, unsigned at)
{
    const struct outcome *a = &sides[PLAIN].out, *b = &sides[PROTECTED].out;
    struct scene scene = {sides, s->steps, at + 1};
    const char *name = operation_at(s->steps[at].op)->name;
    if (sides[PROTECTED].restless) {
        snprintf(difference, sizeof(difference), "step %u, %s: does not come to rest", at + 1, name);
        snprintf(key, sizeof(key), "%s at rest", name);
        return is_news();
    }
    bool same = a->count == b->count && memcmp(a->values, b->values, sizeof(a->values[0]) * a->count) == 0;
    if (same || known_parting(&scene))
        return false;
    for (unsigned i = 0; i < a->count || i < b->count; i++) {
        const struct value *v = &a->values[i], *w = &b->values[i];
        if (i >= a->count || i >= b->count || strcmp(v->name, w->name) != 0) {
            snprintf(difference, sizeof(difference), "step %u, %s: plain has %s, protected has %s", at + 1, name,
                     i < a->count ? v->name : "nothing more", i < b->count ? w->name : "nothing more");
            snprintf(key, sizeof(key), "%s", name);
            return is_news();
        }
        if (v->number == w->number || known_difference(&scene, v->name, v->number, w->number))
            continue;
        snprintf(difference, sizeof(difference), "step %u, %s: %s is %lld on plain TCP, %lld protected", at + 1, name,
                 v->name, v->number, w->number);
        snprintf(key, sizeof(key), "%s %s", name, v->name);
        if (is_news())
            return true;
    }
    return false;
}

void run_tell_outcomes(void)
{
    char text[4000];
    printf("    plain     %s\n", told(&sides[PLAIN].out, text, sizeof(text)));
    printf("    protected %s\n", told(&sides[PROTECTED].out, text, sizeof(text)));
}

static void tell(const struct script *s, unsigned at)
{
    struct script one = {1, {s->steps[at]}};
    printf("%3u ", at + 1);
    script_print(stdout, &one);
    printf("\n");
    run_tell_outcomes();
}

static const char *run_once(struct script *s, bool (*next)(struct script *s, void *arg), void *arg)
{
    bool found = false;
    static struct script now;
    running = &now;
    for (int i = 0; i < SIDES; i++)
        side_open(&sides[i]);
    for (unsigned at = 0; !found && (at < s->count || (next && s->count < STEPS && next(s, arg))); at++) {
        now.steps[at] = s->steps[at];
        now.count = at + 1;
        run_step(&sides[PLAIN], &s->steps[at]);
        if (sides[PLAIN].restless) /* many small segments have filled the receiver's memory */
            break;
        run_step(&sides[PROTECTED], &s->steps[at]);
        struct outcome *out = &sides[PROTECTED].out;
        if (steps_run++ >= spoiled && out->count) { /* the first from there on that has a value */
            out->values[out->count - 1].number += 1000;
            spoiled = UINT64_MAX;
        }
        progress();
        if (talkative)
            tell(s, at);
        found = differs(s, at);
        if (found)
            s->count = at + 1;
    }
    for (int i = 0; i < SIDES; i++)
        side_close(&sides[i]);
    return found ? difference : NULL;
}

static bool tells_eintr(const struct side *s)
{
    for (unsigned i = 0; i < s->out.count; i++)
        if (strcmp(s->out.values[i].name, "errno") == 0 && s->out.values[i].number == EINTR)
            return true;
    return false;
}

/* A signal that comes before a call waits ends it with EINTR; one that comes while a receive of nothing waits ends that
 * with 0. */
static bool interrupted_apart(void)
{
    const struct side *a = &sides[PLAIN], *b = &sides[PROTECTED];
    return a->guarded != b->guarded || a->looked_at || b->looked_at || (a->guarded && tells_eintr(a) != tells_eintr(b));
}

/* On a loaded machine the guard may end a call that would not have waited, or has not begun to, at one of the two, and
 * so may the watchdog on any machine. That does not come again; a call that waits at one of the two does. */
const char *run_script(struct script *s, bool (*next)(struct script *s, void *arg), void *arg)
{
    unsigned count = s->count;
    const char *text = run_once(s, next, arg);
    for (int i = 0; i < 10 && text && !run_spoils() && interrupted_apart(); i++) {
        if (!next)
            s->count = count;
        text = run_once(s, NULL, NULL);
    }
    return text;
}

bool run_again(struct script *s)
{
    char wanted[sizeof(key)];
    bool again = false;
    memcpy(wanted, key, sizeof(wanted));
    for (int i = 0; i < 4 && !again; i++) {
        unsigned count = s->count;
        again = run_script(s, NULL, NULL) && strcmp(wanted, key) == 0;
        s->count = count;
    }
    return again;
}

void run_shrink(struct script *s)
{
    char wanted[sizeof(key)];
    bool said = talkative;
    struct script *less = malloc(sizeof(*less));
    CHECK(less, "no memory");
    talkative = false;
    memcpy(wanted, key, sizeof(wanted));
    for (unsigned i = s->count - 1; i-- > 0;) {
        *less = *s;
        memmove(&less->steps[i], &less->steps[i + 1], sizeof(less->steps[0]) * (less->count - i - 1));
        less->count--;
        if (run_script(less, NULL, NULL) && strcmp(wanted, key) == 0)
            *s = *less;
    }
    talkative = said;
    free(less);
}
