/* A differential test: the same calls on a plain and on a protected connection, in one process, must have the same
 * results, errnos and side effects. A step is one row of the table of operations with its arguments; a script is a
 * sequence of steps; an outcome is the list of named numbers that a step left behind, which are compared. */
#ifndef DIFFERENTIAL_H
#define DIFFERENTIAL_H

#include "../common.h"

#include <limits.h>
#include <sys/epoll.h>

enum {
    PLAIN = 0,
    PROTECTED,
    SIDES,
    ENDS = 2,
    NUMBERS = 3, /* descriptor numbers of one end: the first and its dups */
    VALUES = 80,
    STEPS = 512,
    AREA = 1 << 20, /* largest transfer of one call */
    TAIL = 64,      /* looked at behind a buffer */
    FILL = 0xa5,
    NO_ERRNO = 133, /* EHWPOISON: stands in errno before each call, and no call says it */
};

struct step {
    unsigned op, end, via, variant, len, flags, by; /* by: enum maker */
};

enum maker { BY_SELF = 0, BY_FORK, BY_RAW_FORK, BY_SYSCALL /* clone, as fork makes it */, MAKERS };

struct value {
    char name[28];
    long long number;
};

struct outcome {
    unsigned count;
    struct value values[VALUES];
};

/* In shared memory, for steps that a child makes. */
struct end {
    int fd[NUMBERS]; /* -1: closed */
    uint64_t sent, received;
    bool shut_wr, shut_rd, dissolved;
};

struct side {
    struct end ends[ENDS];
    int which; /* PLAIN or PROTECTED */
    int listener, level, edge;
    struct sockaddr_in address[ENDS];
    struct outcome out;
    bool fresh;         /* the handshake may still be going on */
    bool began_fresh;   /* and the test has looked at it, to see when it is over */
    bool unanswered;    /* end 1 is still to be accepted */
    bool busy;          /* in a step */
    bool restless;      /* the present step did not come to rest */
    bool guarded;       /* the guard ended a call of the present step */
    bool looked_at;     /* the watchdog interrupted the present step */
    bool closed_unread; /* an end was closed with bytes in it that nobody had read */
    bool was_unread;    /* and that was so when the present step began, which may have made a new connection */
    bool early_lost;    /* an end with bytes under way was aborted while the handshake may have been going on */
};

struct call {
    struct side *side;
    struct end *end, *peer;
    const struct step *step;
    int number; /* which end */
    int fd;
};

enum {
    CAN_END = 1,   /* may end the connection: rare in random sequences */
    SLOW = 2,      /* takes milliseconds: rare in random sequences */
    CHILD = 4,     /* may be made by a forked child: changes no numbers */
    NEEDS_PEER = 8 /* works on the other end as well */
};

struct operation {
    const char *name;
    void (*run)(struct call *c);
    unsigned variants; /* step.variant is below this */
    unsigned traits;
    const unsigned *flags; /* the values of step.flags worth trying, ended by LAST */
    const unsigned *lengths;
    unsigned weight;
};

enum { LAST = 0x7fffffff };

/* The table, in several files: each ends with an operation without a name. */
extern const struct operation read_operations[], write_operations[], file_operations[], ready_operations[],
    control_operations[], option_operations[], life_operations[], odd_operations[], stream_operations[],
    start_operations[], full_operations[], aio_operations[], syscall_operations[], process_operations[],
    urgent_operations[];
const struct operation *operation_at(unsigned index); /* NULL behind the last */
unsigned operation_count(void);

/* ---- outcome.c ---- */

void note(struct call *c, const char *name, long long number);
/* The result of a call: its errno if it failed; if not, that errno was left alone. */
void note_result(struct call *c, const char *name, long long result);
void note_address(struct call *c, const struct sockaddr_in *a, socklen_t len);
/* The first byte of data that is not the stream's, -1 if there is none. */
long long stream_differs(uint64_t seed, uint64_t at, const void *data, size_t len);
long long fill_differs(const uint8_t *data, size_t len);

#define RUN(c, call)                                                                                                   \
    __extension__({                                                                                                    \
        errno = NO_ERRNO;                                                                                              \
        __typeof__(call) run_result = (call);                                                                          \
        note_result(c, "result", (long long)run_result);                                                               \
        run_result;                                                                                                    \
    })

/* A call that may block: a signal ends it after some milliseconds. */
#define RUN_BLOCKING(c, call)                                                                                          \
    __extension__({                                                                                                    \
        guard_arm();                                                                                                   \
        errno = NO_ERRNO;                                                                                              \
        __typeof__(call) run_result = (call);                                                                          \
        int run_errno = errno;                                                                                         \
        guard_disarm();                                                                                                \
        errno = run_errno;                                                                                             \
        note_result(c, "result", (long long)run_result);                                                               \
        run_result;                                                                                                    \
    })

/* ---- pair.c ---- */

void guard_init(void);
void guard_arm(void);
void guard_disarm(void);
unsigned sigpipes_taken(void); /* since it was last asked */
unsigned sigios_taken(void);
unsigned sigalrms_taken(void);
void side_init(struct side *s, int which);
void side_open(struct side *s);
/* How the connecting end of a connection is made whose handshake is not waited for. */
enum opening { BY_CONNECT = 0, BY_CONNECT_LATER /* non-blocking */, BY_FASTOPEN, BY_FASTOPEN_CONNECT, OPENINGS };
void side_open_fresh(struct side *s, enum opening how);
void side_answer(struct side *s);
/* The same for a step that cannot do without: its number may be there only then. */
void call_answered(struct call *c);
void side_close(struct side *s);
/* Answers, and waits for the end of a handshake that may be going on: it is its process's own, and another one that
 * shares the connection can write only when it is over. */
void side_finish_handshake(struct side *s);
/* Waits until what was sent, ends included, has arrived in the other end's kernel. False: it does not, since that has
 * no room. */
bool side_settle(struct side *s);
/* Acknowledgements that the kernel puts off leave now. */
void side_acknowledge(struct side *s);
/* Waits until a closed end has no owner any more: what comes then is answered by a reset. */
void side_await_close(struct side *s, int end);
bool end_is_open(const struct end *e);
bool end_is_reset(const struct end *e); /* or at the end of both streams, or never connected */
extern uint8_t area[AREA + TAIL];
void *bad_pointer(void); /* a page that nobody may touch */

/* Of a step with getsockopt or setsockopt. */
bool option_is(const struct step *s, const char *name);

/* ---- known.c ---- */

/* A difference between the two that has a name, and a reason in docs/COMPATIBILITY.md. */
struct scene {
    const struct side *sides;
    const struct step *steps; /* of the script, up to and with the present one */
    unsigned count;
};
/* Of the step as a whole: the two went different ways earlier. */
bool known_parting(const struct scene *s);
bool known_difference(const struct scene *s, const char *field, long long plain, long long protected);
/* Takes one from the list: to see that a test fails without it. */
void known_forget(const char *name);
void known_list(FILE *out);

/* ---- process_operations.c ---- */

/* What this program does where it is the other one: its exit status. */
int process_exchange(char **argv);

/* ---- script.c ---- */

struct script {
    unsigned count;
    struct step steps[STEPS];
};
void script_print(FILE *out, const struct script *s);
bool script_parse(struct script *s, const char *text);
bool step_parse(struct step *s, const char *text);
void step_random(struct step *s, struct rng *r, const struct side *plain);

/* ---- run.c ---- */

extern struct side *sides;
void run_init(bool verbose);
/* Runs a script on two new pairs until a step differs. next, if given, adds a step; false: it is enough. The text of
 * the difference, or NULL. */
const char *run_script(struct script *s, bool (*next)(struct script *s, void *arg), void *arg);
/* Does a script that has just differed do so once more, in one of four runs? */
bool run_again(struct script *s);
/* Leaves out of a script that differs what the same difference does not need. */
void run_shrink(struct script *s);
/* From now on the kind of difference (operation and field) that was found last is none: an exploring run goes on. */
void run_ignore(void);
/* Spoils the last value of one protected step: to see that a difference is found. always: what follows takes it for one
 * that comes again. */
void run_spoil(uint64_t step, bool always);
bool run_spoils(void);
uint64_t run_steps(void); /* so far */
/* Of the step that was run last: the difference that was found in it, and both outcomes in full. */
const char *run_difference(void);
void run_tell_outcomes(void);

/* ---- directed.c ---- */

/* Each operation (or one) in each situation, but for those that take long unless it is to be complete. Calls report for
 * a script that differs, and ends if that says false. */
bool directed_run(const char *only, bool complete, bool (*report)(const char *text, struct script *s));

#endif
