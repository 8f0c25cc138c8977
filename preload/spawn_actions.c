#include "spawn_actions.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* As in glibc since 2.35 (sysdeps/unix/sysv/linux/spawni.c works through it). */
enum action_kind {
    ACTION_CLOSE = 0,
    ACTION_DUP2,
    ACTION_OPEN,
    ACTION_CHDIR,
    ACTION_FCHDIR,
    ACTION_CLOSEFROM,
    ACTION_TCSETPGRP,
};

struct action {
    int kind;
    union {
        int fd; /* close, fchdir, closefrom, tcsetpgrp */
        struct {
            int from, to;
        } dup2;
        struct {
            int fd;
            char *path;
            int flags;
            mode_t mode;
        } open;
        char *path; /* chdir */
    };
};

static const struct action *action_at(const posix_spawn_file_actions_t *actions, int i)
{
    return (const struct action *)(const void *)actions->__actions + i;
}

/* Actions made by the public functions must read as what they are. */
static bool probe(posix_spawn_file_actions_t *a)
{
    if (posix_spawn_file_actions_addclose(a, 101) != 0 || posix_spawn_file_actions_adddup2(a, 102, 103) != 0 ||
        posix_spawn_file_actions_addopen(a, 104, "/p", O_RDONLY | O_NOCTTY, 0604) != 0 ||
        posix_spawn_file_actions_addchdir_np(a, "/d") != 0 || posix_spawn_file_actions_addfchdir_np(a, 105) != 0 ||
        posix_spawn_file_actions_addclosefrom_np(a, 106) != 0 ||
        posix_spawn_file_actions_addtcsetpgrp_np(a, 107) != 0 || a->__used != 7)
        return false;
    const struct action *at = action_at(a, 0);
    return at[0].kind == ACTION_CLOSE && at[0].fd == 101 && at[1].kind == ACTION_DUP2 && at[1].dup2.from == 102 &&
           at[1].dup2.to == 103 && at[2].kind == ACTION_OPEN && at[2].open.fd == 104 &&
           strcmp(at[2].open.path, "/p") == 0 && at[2].open.flags == (O_RDONLY | O_NOCTTY) && at[2].open.mode == 0604 &&
           at[3].kind == ACTION_CHDIR && strcmp(at[3].path, "/d") == 0 && at[4].kind == ACTION_FCHDIR &&
           at[4].fd == 105 && at[5].kind == ACTION_CLOSEFROM && at[5].fd == 106 && at[6].kind == ACTION_TCSETPGRP &&
           at[6].fd == 107;
}

bool spawn_actions_known(void)
{
    static _Atomic int answer; /* 0: not asked yet */
    if (!answer) {
        posix_spawn_file_actions_t a;
        bool known = posix_spawn_file_actions_init(&a) == 0;
        if (known) {
            known = probe(&a);
            posix_spawn_file_actions_destroy(&a);
        }
        answer = known ? 1 : -1;
    }
    return answer > 0;
}

bool spawn_actions_copy(const posix_spawn_file_actions_t *actions)
{
    for (int i = 0; actions && i < actions->__used; i++)
        if (action_at(actions, i)->kind == ACTION_DUP2)
            return true;
    return false;
}

static int open_at(const struct action *a)
{
    int fd = open(a->open.path, a->open.flags, a->open.mode);
    if (fd < 0)
        return errno;
    if (fd == a->open.fd)
        return 0;
    int r = dup2(fd, a->open.fd) < 0 ? errno : 0;
    close(fd);
    return r;
}

static int run(const struct action *a)
{
    switch ((enum action_kind)a->kind) {
    case ACTION_CLOSE: /* closing what is not open is no error; a number that cannot be is */
        return close(a->fd) != 0 && a->fd < 0 ? EBADF : 0;
    case ACTION_DUP2:
        if (a->dup2.from == a->dup2.to) { /* takes close-on-exec away (posix_spawn(3)) */
            int flags = fcntl(a->dup2.from, F_GETFD);
            return flags < 0 || fcntl(a->dup2.from, F_SETFD, flags & ~FD_CLOEXEC) < 0 ? errno : 0;
        }
        return dup2(a->dup2.from, a->dup2.to) < 0 ? errno : 0;
    case ACTION_OPEN:
        close(a->open.fd);
        return open_at(a);
    case ACTION_CHDIR:
        return chdir(a->path) != 0 ? errno : 0;
    case ACTION_FCHDIR:
        return fchdir(a->fd) != 0 ? errno : 0;
    case ACTION_CLOSEFROM:
        closefrom(a->fd);
        return 0;
    case ACTION_TCSETPGRP:
        return tcsetpgrp(a->fd, getpgrp()) != 0 ? errno : 0;
    }
    return EINVAL;
}

int spawn_actions_run(const posix_spawn_file_actions_t *actions)
{
    int error = 0;
    for (int i = 0; actions && !error && i < actions->__used; i++)
        error = run(action_at(actions, i));
    return error;
}
