/* Readiness, asked in every way. */
#include "differential.h"

#include <sys/select.h>

enum { AT_ONCE = 0, SHORTLY, FOREVER, TIMES };

static const int poll_times[TIMES] = {0, 1, -1};

static void numbers_of(const struct call *c, struct pollfd fds[ENDS])
{
    for (int i = 0; i < ENDS; i++)
        fds[i] = (struct pollfd){c->side->ends[i].fd[i == c->number ? c->step->via : 0], (short)c->step->flags, 0x7fff};
}

static void note_revents(struct call *c, const struct pollfd fds[ENDS])
{
    note(c, "revents of end 0", fds[0].revents);
    note(c, "revents of end 1", fds[1].revents);
    note(c, "events changed", fds[0].events != (short)c->step->flags);
}

static void run_poll(struct call *c)
{
    struct pollfd fds[ENDS];
    numbers_of(c, fds);
    if (c->step->variant == FOREVER)
        RUN_BLOCKING(c, poll(fds, ENDS, -1));
    else
        RUN(c, poll(fds, ENDS, poll_times[c->step->variant]));
    note_revents(c, fds);
}

static void run_ppoll(struct call *c)
{
    static const struct timespec times[TIMES] = {{0, 0}, {0, 1000000}, {0, -1}};
    struct pollfd fds[ENDS];
    struct timespec time = times[c->step->variant];
    sigset_t none;
    sigemptyset(&none);
    numbers_of(c, fds);
    RUN(c, ppoll(fds, ENDS, &time, c->step->via ? &none : NULL));
    note(c, "timeout changed", memcmp(&time, &times[c->step->variant], sizeof(time)) != 0);
    note_revents(c, fds);
}

struct sets {
    fd_set set[3];
    int highest;
};

static void sets_of(const struct call *c, struct sets *s)
{
    struct pollfd fds[ENDS];
    numbers_of(c, fds);
    s->highest = 0;
    for (int k = 0; k < 3; k++)
        FD_ZERO(&s->set[k]);
    for (int i = 0; i < ENDS; i++) {
        if (fds[i].fd < 0)
            continue;
        for (unsigned k = 0; k < 3; k++)
            if (c->step->flags >> k & 1)
                FD_SET(fds[i].fd, &s->set[k]);
        if (fds[i].fd >= s->highest)
            s->highest = fds[i].fd + 1;
    }
}

static void note_sets(struct call *c, const struct sets *s)
{
    struct pollfd fds[ENDS];
    numbers_of(c, fds);
    for (int i = 0; i < ENDS; i++)
        for (int k = 0; k < 3; k++)
            if (fds[i].fd >= 0)
                note(c, k == 0 ? "to read" : k == 1 ? "to write" : "exceptional", FD_ISSET(fds[i].fd, &s->set[k]));
    int others = 0;
    for (int fd = 0; fd < FD_SETSIZE; fd++)
        for (int k = 0; k < 3; k++)
            others += fd != fds[0].fd && fd != fds[1].fd && FD_ISSET(fd, &s->set[k]);
    note(c, "others set", others);
    for (int i = 0; i < ENDS; i++)
        fds[i].events = 0;
    SYS(poll(fds, ENDS, 0)); /* an error that is to be told waits in the kernel, and a look takes it not away */
    for (int i = 0; i < ENDS; i++)
        note(c, "revents afterwards", fds[i].revents);
}

static fd_set *asked(const struct call *c, struct sets *s, int k)
{
    return c->step->flags >> k & 1 ? &s->set[k] : NULL;
}

static void run_select(struct call *c)
{
    struct timeval times[TIMES] = {{0, 0}, {0, 1000}, {0, 0}}, *time = &times[c->step->variant];
    struct sets s;
    sets_of(c, &s);
    if (c->step->variant == FOREVER)
        RUN_BLOCKING(c, select(s.highest, asked(c, &s, 0), asked(c, &s, 1), asked(c, &s, 2), NULL));
    else
        RUN(c, select(s.highest, asked(c, &s, 0), asked(c, &s, 1), asked(c, &s, 2), time));
    note(c, "time left", time->tv_sec * 1000 + time->tv_usec / 1000 > 0);
    note_sets(c, &s);
}

static void run_pselect(struct call *c)
{
    static const struct timespec times[TIMES] = {{0, 0}, {0, 1000000}, {0, -1}};
    struct timespec time = times[c->step->variant];
    struct sets s;
    sets_of(c, &s);
    RUN(c, pselect(s.highest, asked(c, &s, 0), asked(c, &s, 1), asked(c, &s, 2), &time, NULL));
    note(c, "timeout changed", memcmp(&time, &times[c->step->variant], sizeof(time)) != 0);
    note_sets(c, &s);
}

/* ---- epoll ---- */

enum { LEVEL = 0, EDGE };

static int set_of(const struct call *c)
{
    return c->step->variant == EDGE ? c->side->edge : c->side->level;
}

static struct epoll_event event_of(const struct call *c)
{
    return (struct epoll_event){.events = c->step->flags | (c->step->variant == EDGE ? (unsigned)EPOLLET : 0),
                                .data.u32 = (uint32_t)c->number * NUMBERS + c->step->via};
}

static void run_epoll_add(struct call *c)
{
    struct epoll_event e = event_of(c);
    RUN(c, epoll_ctl(set_of(c), EPOLL_CTL_ADD, c->fd, &e));
}

static void run_epoll_mod(struct call *c)
{
    struct epoll_event e = event_of(c);
    RUN(c, epoll_ctl(set_of(c), EPOLL_CTL_MOD, c->fd, &e));
}

static void run_epoll_del(struct call *c)
{
    RUN(c, epoll_ctl(set_of(c), EPOLL_CTL_DEL, c->fd, NULL));
}

static void run_epoll_bad(struct call *c)
{
    struct epoll_event e = event_of(c);
    RUN(c, epoll_ctl(c->fd, EPOLL_CTL_ADD, c->side->listener, &e));
    RUN(c, epoll_ctl(set_of(c), 17, c->fd, &e));
    RUN(c, epoll_ctl(set_of(c), EPOLL_CTL_MOD, c->fd, bad_pointer()));
    RUN(c, epoll_wait(c->fd, &e, 1, 0));
}

/* Their order is not told by epoll. */
static void note_events(struct call *c, const struct epoll_event *e, int n)
{
    for (unsigned number = 0; number < ENDS * NUMBERS; number++)
        for (int i = 0; i < n; i++)
            if (e[i].data.u32 == number) {
                note(c, "event of", number);
                note(c, "events", e[i].events);
            }
}

static void run_epoll_wait(struct call *c)
{
    struct epoll_event e[8];
    note_events(c, e, RUN(c, epoll_wait(set_of(c), e, 8, 0)));
}

static void run_epoll_pwait(struct call *c)
{
    struct epoll_event e[8];
    sigset_t none;
    sigemptyset(&none);
    note_events(c, e, RUN(c, epoll_pwait(set_of(c), e, 8, 0, &none)));
}

static void run_epoll_pwait2(struct call *c)
{
    struct epoll_event e[8];
    struct timespec time = {0, 0};
    note_events(c, e, RUN(c, epoll_pwait2(set_of(c), e, 8, &time, NULL)));
}

static const unsigned masks[] = {POLLIN,
                                 POLLOUT,
                                 POLLIN | POLLOUT,
                                 POLLIN | POLLOUT | POLLRDHUP | POLLPRI,
                                 POLLRDNORM | POLLWRNORM | POLLRDBAND | POLLWRBAND,
                                 0,
                                 POLLRDHUP,
                                 LAST};
static const unsigned which_sets[] = {1, 2, 4, 7, 0, LAST};
static const unsigned events[] = {EPOLLIN,
                                  EPOLLOUT,
                                  EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI,
                                  EPOLLIN | EPOLLRDHUP | EPOLLONESHOT,
                                  EPOLLIN | EPOLLOUT | EPOLLONESHOT,
                                  0,
                                  LAST};
static const unsigned no_flags[] = {0, LAST};
static const unsigned no_lengths[] = {0, LAST};

const struct operation ready_operations[] = {
    {"poll", run_poll, SHORTLY, CHILD, masks, no_lengths, 14},
    {"poll_wait", run_poll, TIMES, SLOW, masks, no_lengths, 1},
    {"ppoll", run_ppoll, SHORTLY, CHILD, masks, no_lengths, 5},
    {"ppoll_wait", run_ppoll, TIMES, SLOW, masks, no_lengths, 1},
    {"select", run_select, SHORTLY, CHILD, which_sets, no_lengths, 5},
    {"select_wait", run_select, TIMES, SLOW, which_sets, no_lengths, 1},
    {"pselect", run_pselect, SHORTLY, CHILD, which_sets, no_lengths, 5},
    {"pselect_wait", run_pselect, TIMES, SLOW, which_sets, no_lengths, 1},
    {"epoll_add", run_epoll_add, EDGE + 1, 0, events, no_lengths, 4},
    {"epoll_mod", run_epoll_mod, EDGE + 1, 0, events, no_lengths, 4},
    {"epoll_del", run_epoll_del, EDGE + 1, 0, no_flags, no_lengths, 1},
    {"epoll_bad", run_epoll_bad, EDGE + 1, 0, no_flags, no_lengths, 1},
    {"epoll_wait", run_epoll_wait, EDGE + 1, 0, no_flags, no_lengths, 10},
    {"epoll_pwait", run_epoll_pwait, EDGE + 1, 0, no_flags, no_lengths, 3},
    {"epoll_pwait2", run_epoll_pwait2, EDGE + 1, 0, no_flags, no_lengths, 3},
    {NULL},
};
