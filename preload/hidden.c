/* Descriptors of the library itself: out of the program's way, and out of a number that the program wants. Whoever
 * keeps one says where it keeps the number (hidden_own), and is told the new one there when it moves. */
#include "state.h"

#include "sys.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/single_threaded.h>
#include <sys/stat.h>

enum { OWNERS = 8, OURS_BELOW = 1024, OURS_SPAN = 256 };

static _Atomic(_Atomic int *) owners[OWNERS];

void hidden_own(_Atomic int *where)
{
    for (int i = 0; i < OWNERS; i++) {
        _Atomic int *nobody = NULL;
        if (atomic_load(&owners[i]) == where || atomic_compare_exchange_strong(&owners[i], &nobody, where))
            return;
    }
}

/* A copy where programs rarely look, or at least not on 0 to 2. High numbers make fork dear and fail under a lowered
 * limit; numbers below 1024 fit an fd_set. */
static long copy_out_of_the_way(int fd)
{
    struct rlimit limit = {OURS_BELOW, OURS_BELOW};
    getrlimit(RLIMIT_NOFILE, &limit);
    long top = limit.rlim_cur < OURS_BELOW ? (long)limit.rlim_cur : OURS_BELOW;
    long from = top - (top < 4 * OURS_SPAN ? top / 4 : OURS_SPAN);
    long copy = sys3(SYS_fcntl, (long)fd, F_DUPFD_CLOEXEC, from);
    return copy < 0 ? sys3(SYS_fcntl, (long)fd, F_DUPFD_CLOEXEC, 3L) : copy;
}

int hide_descriptor_number(int fd)
{
    long moved = copy_out_of_the_way(fd);
    sys1(SYS_close, (long)fd);
    if (moved < 0)
        return -1;
    table_set((int)moved, WORD_OURS);
    return (int)moved;
}

int hidden_dup(int fd)
{
    long copy = copy_out_of_the_way(fd);
    if (copy < 0)
        return -1;
    table_set((int)copy, WORD_OURS);
    return (int)copy;
}

void hidden_close(int fd)
{
    table_begin_move(fd);
    sys1(SYS_close, (long)fd);
    table_end_move(fd, WORD_PLAIN);
}

struct move {
    int from, to;
    struct desc *orphan;
    bool done;
};

static void move_orphan(struct desc *d, void *arg)
{
    struct move *m = arg;
    int from = m->from;
    if (d->box == from) { /* boxes are used by forks and execs, which find it where it is then */
        d->box = m->to;
        m->done = true;
    }
    if (!atomic_load(&d->orphan) || !atomic_compare_exchange_strong(&d->number, &from, m->to))
        return;
    m->orphan = d;
    m->done = true;
}

static void tell_owner(struct move *m)
{
    for (int i = 0; i < OWNERS && !m->done; i++) {
        _Atomic int *where = atomic_load(&owners[i]);
        int from = m->from;
        m->done = where && atomic_compare_exchange_strong(where, &from, m->to);
    }
}

/* Nobody uses the old number any more when this returns: the helper is paused, and other uses are made inside the
 * library, so those that began before the number changed are out. The descriptor of the holders' locks cannot move: the
 * locks would go with the old one (fcntl(2)), and other processes would take this one for dead. */
static bool move_away(struct move *m)
{
    m->to = hidden_dup(m->from);
    if (m->to < 0)
        return false;
    tell_owner(m);
    if (!m->done)
        desc_each(move_orphan, m);
    if (m->done)
        table_wait_out(m->orphan);
    else
        hidden_close(m->to);
    return m->done;
}

bool hidden_vacate(int fd)
{
    struct move m = {.from = fd};
    int saved = errno;
    helper_pause();
    if (move_away(&m))
        table_set(fd, WORD_PLAIN);
    helper_resume();
    errno = saved;
    return m.done;
}

void hidden_make_room(long fd)
{
    if (fd < 0)
        fd = sys2(SYS_eventfd2, 0L, (long)EFD_CLOEXEC);
    long copy = fd < 0 ? -1 : copy_out_of_the_way((int)fd);
    if (copy >= 0)
        sys1(SYS_close, copy);
    if (fd >= 0)
        sys1(SYS_close, fd);
}

/* unshare(2) gives a thread a table of its own where another shares it. Called while no helper runs. */
bool threads_share_files(void)
{
    struct stat s;
    if (stat("/proc/self/task", &s) == 0)
        return s.st_nlink != 3; /* ., .. and one for each thread */
    return !__libc_single_threaded;
}
