/* fcntl and ioctl. */
#include "differential.h"

#include <linux/sockios.h>
#include <sys/file.h>

/* Descriptor and status flags, seen through each number of the end. */
static void note_flags(struct call *c)
{
    for (int k = 0; k < NUMBERS; k++) {
        if (c->end->fd[k] < 0)
            continue;
        note(c, "F_GETFD", fcntl(c->end->fd[k], F_GETFD));
        note(c, "F_GETFL", fcntl(c->end->fd[k], F_GETFL));
    }
}

static void run_getfl(struct call *c)
{
    RUN(c, fcntl(c->fd, F_GETFL));
    RUN(c, fcntl(c->fd, F_GETFD));
}

static void run_nonblock(struct call *c)
{
    RUN(c, fcntl(c->fd, F_SETFL, c->step->variant ? O_NONBLOCK : 0));
    note_flags(c);
}

static void run_setfl(struct call *c)
{
    int old = fcntl(c->fd, F_GETFL);
    RUN(c, fcntl(c->fd, F_SETFL, c->step->flags | (unsigned)(old < 0 ? 0 : old & O_NONBLOCK)));
    note_flags(c);
    fcntl(c->fd, F_SETFL, old);
}

static void run_setfd(struct call *c)
{
    RUN(c, fcntl(c->fd, F_SETFD, c->step->variant));
    note_flags(c);
}

static void run_fionbio(struct call *c)
{
    int on = c->step->variant == 1;
    RUN(c, ioctl(c->fd, FIONBIO, c->step->variant == 2 ? bad_pointer() : &on));
    note_flags(c);
}

static void run_fioclex(struct call *c)
{
    RUN(c, ioctl(c->fd, c->step->variant ? FIOCLEX : FIONCLEX));
    note_flags(c);
}

static void run_fionread(struct call *c)
{
    int n = -77;
    RUN(c, ioctl(c->fd, FIONREAD, c->step->variant == 1 ? bad_pointer() : c->step->variant == 2 ? NULL : &n));
    note(c, "FIONREAD", n);
}

/* Acknowledgements may take 40 ms, or longer on a loaded machine. */
static void run_outq(struct call *c)
{
    /* After a reset, what was not acknowledged stays in the count. */
    bool taken = end_is_open(c->peer) && !c->peer->shut_rd && !c->peer->dissolved;
    int n = -77;
    RUN(c, ioctl(c->fd, c->step->variant ? SIOCOUTQNSD : SIOCOUTQ, &n));
    for (int i = 0; i < 2000 && n > 0 && taken; i++) {
        side_acknowledge(c->side);
        poll(NULL, 0, 1);
        ioctl(c->fd, c->step->variant ? SIOCOUTQNSD : SIOCOUTQ, &n);
    }
    if (taken)
        note(c, "bytes are queued to send", n > 0); /* how many, differs: they are those of records */
}

static void run_atmark(struct call *c)
{
    int n = -77;
    RUN(c, ioctl(c->fd, SIOCATMARK, &n));
    note(c, "SIOCATMARK", n);
}

/* An owner is told by a signal when something comes; the kernel sends it. */
static void run_async(struct call *c)
{
    int on = 1, off = 0;
    sigios_taken();
    if (c->step->variant & 2)
        RUN(c, fcntl(c->fd, F_SETSIG, SIGRTMIN));
    RUN(c, fcntl(c->fd, F_SETOWN, getpid()));
    note(c, "F_GETOWN is this process", fcntl(c->fd, F_GETOWN) == getpid());
    RUN(c, fcntl(c->fd, F_GETSIG));
    if (c->step->variant & 1)
        RUN(c, ioctl(c->fd, FIOASYNC, &on));
    else
        RUN(c, fcntl(c->fd, F_SETFL, fcntl(c->fd, F_GETFL) | O_ASYNC));
    note_flags(c);
    sigios_taken();
    stream_fill((uint64_t)c->number, c->peer->sent, area, 10);
    ssize_t n = c->peer->fd[0] < 0 ? -1 : send(c->peer->fd[0], area, 10, MSG_NOSIGNAL);
    if (n > 0)
        c->peer->sent += (uint64_t)n;
    note(c, "sent", n);
    side_settle(c->side);
    note(c, "signals", sigios_taken() > 0);
    RUN(c, ioctl(c->fd, FIOASYNC, &off));
    RUN(c, fcntl(c->fd, F_SETSIG, 0));
    RUN(c, fcntl(c->fd, F_SETOWN, 0));
    note_flags(c);
}

static void run_owner(struct call *c)
{
    int owner = -getpid(), got = -77;
    struct f_owner_ex ex = {F_OWNER_PID, getpid()};
    RUN(c, ioctl(c->fd, SIOCSPGRP, &owner));
    RUN(c, ioctl(c->fd, SIOCGPGRP, &got));
    note(c, "SIOCGPGRP is what was set", got == owner);
    RUN(c, fcntl(c->fd, F_SETOWN_EX, &ex));
    RUN(c, fcntl(c->fd, F_GETOWN_EX, &ex));
    note(c, "type of owner", ex.type);
    note(c, "owner is this process", ex.pid == getpid());
    RUN(c, fcntl(c->fd, F_SETOWN, 0));
    RUN(c, fcntl(c->fd, F_SETOWN, 0x7ffffffe));
    RUN(c, fcntl(c->fd, F_SETSIG, 1000));
}

/* Not for sockets, or for none at all. */
static void run_odd_fcntl(struct call *c)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    uint64_t hint = 0;
    RUN(c, fcntl(c->fd, 9999, 0));
    RUN(c, fcntl(c->fd, F_GETPIPE_SZ));
    RUN(c, fcntl(c->fd, F_SETPIPE_SZ, 4096));
    RUN(c, fcntl(c->fd, F_ADD_SEALS, F_SEAL_GROW));
    RUN(c, fcntl(c->fd, F_GET_SEALS));
    RUN(c, fcntl(c->fd, F_SETLEASE, F_RDLCK));
    RUN(c, fcntl(c->fd, F_GETLEASE));
    RUN(c, fcntl(c->fd, F_NOTIFY, DN_ACCESS));
    RUN(c, fcntl(c->fd, F_GET_RW_HINT, &hint));
    RUN(c, fcntl(c->fd, F_SETLK, &lock));
    RUN(c, fcntl(c->fd, F_GETLK, &lock));
    note(c, "l_type", lock.l_type);
    lock.l_type = F_UNLCK;
    RUN(c, fcntl(c->fd, F_SETLK, &lock));
    RUN(c, fcntl(c->fd, F_GETLK, bad_pointer()));
    RUN(c, fcntl(c->fd, F_DUPFD, -1));
    RUN(c, fcntl(c->fd, F_DUPFD, 1 << 30));
    RUN(c, flock(c->fd, LOCK_EX | LOCK_NB));
    RUN(c, flock(c->fd, LOCK_UN));
    note_flags(c);
}

static void run_odd_ioctl(struct call *c)
{
    char room[512];
    int n = -77;
    memset(room, 0, sizeof(room));
    RUN(c, ioctl(c->fd, TCGETS, room));
    RUN(c, ioctl(c->fd, TIOCGWINSZ, room));
    RUN(c, ioctl(c->fd, FIOQSIZE, room));
    RUN(c, ioctl(c->fd, 0x12345678, room));
    RUN(c, ioctl(c->fd, 0x12345678, NULL));
    RUN(c, ioctl(c->fd, SIOCGIFCONF, bad_pointer()));
    RUN(c, ioctl(c->fd, SIOCATMARK, bad_pointer()));
    RUN(c, ioctl(c->fd, SIOCOUTQ, bad_pointer()));
    RUN(c, ioctl(c->fd, FIOASYNC, bad_pointer()));
    RUN(c, ioctl(c->fd, SIOCGPGRP, &n));
    note(c, "SIOCGPGRP", n);
    note_flags(c);
}

static const unsigned no_flags[] = {0, LAST};
static const unsigned status_flags[] = {O_APPEND, O_DIRECT, O_NOATIME, O_CREAT | O_EXCL, O_RDWR, O_SYNC, LAST};
static const unsigned no_lengths[] = {0, LAST};

const struct operation control_operations[] = {
    {"getfl", run_getfl, 1, CHILD, no_flags, no_lengths, 1},
    {"nonblock", run_nonblock, 2, CHILD, no_flags, no_lengths, 4},
    {"setfl", run_setfl, 1, CHILD, status_flags, no_lengths, 1},
    {"setfd", run_setfd, 2, 0, no_flags, no_lengths, 1},
    {"fionbio", run_fionbio, 3, CHILD, no_flags, no_lengths, 3},
    {"fioclex", run_fioclex, 2, 0, no_flags, no_lengths, 1},
    {"fionread", run_fionread, 3, CHILD, no_flags, no_lengths, 8},
    {"siocoutq", run_outq, 2, CHILD | SLOW, no_flags, no_lengths, 1},
    {"siocatmark", run_atmark, 1, CHILD, no_flags, no_lengths, 1},
    {"async", run_async, 4, NEEDS_PEER, no_flags, no_lengths, 1},
    {"owner", run_owner, 1, 0, no_flags, no_lengths, 1},
    {"odd_fcntl", run_odd_fcntl, 1, 0, no_flags, no_lengths, 1},
    {"odd_ioctl", run_odd_ioctl, 1, CHILD, no_flags, no_lengths, 1},
    {NULL},
};
