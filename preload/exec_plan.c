#define LOG_CATEGORY LOG_CATEGORY_PROGRAM

#include "exec_plan.h"

#include "exec_image.h"
#include "handover.h"
#include "large.h"

#include "sys.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* One exec at a time: held until it has failed. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic bool in_progress;

/* Sockets that were replaced, in case the exec fails. */
enum { REPLACED_MAX = 1024 };
static struct {
    int fd, kept;
} replaced[REPLACED_MAX] LARGE;
static unsigned replaced_count;

static bool survives(int fd)
{
    long flags = sys3(SYS_fcntl, (long)fd, F_GETFD, 0L);
    return flags >= 0 && !(flags & FD_CLOEXEC);
}

static bool is_concerned(uintptr_t word)
{
    return word >= WORD_FIRST_POINTER || word_is_listener(word) || word == WORD_REFUSED || word == WORD_MOVING;
}

/* What nobody has looked at yet may be a listener, or a connection. */
static void look_at_survivors(void)
{
    for (unsigned fd = 0; fd < table_high; fd++)
        if (atomic_load_explicit(table_at(fd), memory_order_relaxed) == WORD_UNKNOWN && survives((int)fd))
            (void)table_find((int)fd);
}

bool exec_plan_needed(void)
{
    look_at_survivors();
    for (unsigned fd = 0; fd < table_high; fd++)
        if (is_concerned(atomic_load_explicit(table_at(fd), memory_order_relaxed)) && survives((int)fd))
            return true;
    return false;
}

/* What the program would find there is a socket that was never connected: reading and writing say ENOTCONN. */
static void replace(int fd, const char *what, const char *file, const char *why)
{
    long dead = sys3(SYS_socket, (long)AF_INET, (long)(SOCK_STREAM | SOCK_CLOEXEC), 0L);
    int kept = replaced_count < REPLACED_MAX ? hidden_dup(fd) : -1;
    if (why) /* shells try each directory of PATH: what is not there gets nothing, and needs no word */
        log_event(LOG_LEVEL_ERROR,
                  "%s of %s: protected descriptor %d does not go on in it (%s); the program gets an unconnected socket "
                  "there",
                  what, file ? file : "?", fd, why);
    if (dead >= 0 && kept >= 0) {
        sys3(SYS_dup3, dead, (long)fd, 0L);
        replaced[replaced_count].fd = fd;
        replaced[replaced_count++].kept = kept;
    } else { /* no descriptor is left: it must not survive, whatever becomes of the exec */
        sys3(SYS_fcntl, (long)fd, F_SETFD, (long)FD_CLOEXEC);
    }
    if (dead >= 0)
        sys1(SYS_close, dead);
}

static void set_close_on_exec(int fd, bool on)
{
    sys3(SYS_fcntl, (long)fd, F_SETFD, on ? (long)FD_CLOEXEC : 0L);
}

/* All numbers of one connection share its box. True if d has been prepared before by another of its numbers. */
static bool is_prepared(const struct desc *d)
{
    return d->box >= 0 && survives(d->box);
}

static void carry(int fd, struct desc *d, const char *what, const char *file)
{
    if (is_prepared(d))
        return;
    int box = handover_box(d);
    if (box < 0) {
        replace(fd, what, file, "it cannot be handed over");
        return;
    }
    core->conn_prepare_exec(d->conn);
    set_close_on_exec(box, false);
}

/* Exec closes what has close-on-exec, without a word to the peer: what nobody else holds is ended before. */
static bool carries; /* under lock: what has no close-on-exec goes on */
static bool ends_with_exec(struct desc *d)
{
    for (unsigned fd = 0; carries && fd < table_high; fd++)
        if (atomic_load_explicit(table_at(fd), memory_order_relaxed) == (uintptr_t)d && survives((int)fd))
            return false;
    return core->conn_alone(d->conn);
}

static void prepare(const char *what, const char *file, bool keeps, const char *why)
{
    for (unsigned fd = 0; fd < table_high; fd++) {
        uintptr_t word = atomic_load_explicit(table_at(fd), memory_order_relaxed);
        if (!is_concerned(word) || !survives((int)fd))
            continue;
        if (!keeps || word == WORD_MOVING)
            replace((int)fd, what, file, why);
        else if (word >= WORD_FIRST_POINTER)
            carry((int)fd, (struct desc *)word, what, file);
    }
}

static const char *reason_of(enum exec_image image)
{
    switch (image) {
    case EXEC_IMAGE_PAST_LIBC:
        return "a program built by Go, which makes its system calls past libc";
    case EXEC_IMAGE_IMPOSSIBLE:
        return NULL;
    case EXEC_IMAGE_COVERABLE:
    case EXEC_IMAGE_UNCOVERABLE:
        break;
    }
    return "a static or privileged program, or one that cannot be judged";
}

void exec_plan_begin(struct exec_plan *plan, const char *what, const char *file, bool search, char *const argv[],
                     char *const envp[])
{
    int saved = errno;
    *plan = (struct exec_plan){.undisturbed = policy && !thread.in_vfork_child};
    if (!plan->undisturbed)
        return;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &plan->cancel_state);
    exec_image_tell_of_loss(what, file, search, envp);
    if (!handover_matters() && !helper_has_orphans() && !atomic_load(&table_moves))
        return;
    pthread_mutex_lock(&lock);
    plan->active = in_progress = true;
    replaced_count = 0;
    look_at_survivors();
    enum exec_image image = exec_image_of(file, search);
    bool keeps = image == EXEC_IMAGE_COVERABLE;
    if (keeps && exec_plan_needed() && !exec_image_environment_keeps(envp)) {
        plan->environment = exec_image_environment(envp);
        keeps = plan->environment != NULL;
    }
    carries = keeps;
    if (file && exec_image_fails(file, search, argv, plan->environment ? plan->environment : envp))
        image = EXEC_IMAGE_IMPOSSIBLE;
    if (image != EXEC_IMAGE_IMPOSSIBLE) {
        helper_finish_handshakes(); /* an exec ends the helper, and with it what only the helper would still send */
        helper_finish(ends_with_exec);
    }
    prepare(what, file, keeps, reason_of(image));
    errno = saved;
}

static void undo_one(struct desc *d, void *arg)
{
    (void)arg;
    if (!is_prepared(d))
        return;
    set_close_on_exec(d->box, true);
    core->conn_exec_failed(d->conn);
}

static void undo_all(struct exec_plan *plan)
{
    for (unsigned i = 0; i < replaced_count; i++) {
        sys3(SYS_dup3, (long)replaced[i].kept, (long)replaced[i].fd, 0L);
        hidden_close(replaced[i].kept);
    }
    replaced_count = 0;
    if (core)
        desc_each(undo_one, NULL);
    helper_finish_undone();
    exec_image_environment_free(plan->environment);
    in_progress = false;
    pthread_mutex_unlock(&lock);
}

void exec_plan_undo(struct exec_plan *plan)
{
    int saved = errno;
    if (plan->active)
        undo_all(plan);
    if (plan->undisturbed)
        pthread_setcancelstate(plan->cancel_state, NULL);
    errno = saved;
}

bool exec_plan_withhold(int **numbers)
{
    unsigned end = table_high;
    int *list = malloc((end + 1) * sizeof *list), count = 0;
    if (!list)
        return false;
    pthread_mutex_lock(&lock);
    look_at_survivors();
    for (unsigned fd = 0; fd < end; fd++) {
        if (!is_concerned(atomic_load_explicit(table_at(fd), memory_order_relaxed)) || !survives((int)fd))
            continue;
        set_close_on_exec((int)fd, true);
        list[count++] = (int)fd;
    }
    list[count] = -1;
    *numbers = list;
    return true;
}

void exec_plan_give_back(int *numbers)
{
    for (int *fd = numbers; *fd >= 0; fd++)
        set_close_on_exec(*fd, false);
    pthread_mutex_unlock(&lock);
    free(numbers);
}

static void take_back(struct desc *d, void *arg)
{
    (void)arg;
    if (d->box >= 0)
        set_close_on_exec(d->box, true);
}

void exec_plan_forked(void)
{
    if (in_progress)
        desc_each_forking(take_back, NULL);
    in_progress = false;
    pthread_mutex_init(&lock, NULL);
    replaced_count = 0;
}
