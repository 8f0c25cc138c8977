/* Calls by which programs lower their privileges and enter sandboxes. Before them, what needs files is loaded, and the
 * helper thread goes where it would be in the way: it makes unshare(CLONE_NEWUSER) fail, and a change that concerns one
 * thread alone would leave it with the old privileges. */
#define LOG_CATEGORY LOG_CATEGORY_PROGRAM

#include "sandbox.h"

#include "state.h"

#include "sys.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

static long answer(long r)
{
    if (r >= 0)
        return r;
    errno = (int)-r;
    return -1;
}

/* Only a change of the effective user decides which files can be read. libc makes all threads change, the helper too:
 * so it may stay. */
static bool user_changes(uid_t uid)
{
    return policy && uid != (uid_t)-1 && uid != geteuid();
}

HOOK int setuid(uid_t uid)
{
    sandbox_begin(user_changes(uid), false);
    return real()->setuid(uid);
}

HOOK int seteuid(uid_t uid)
{
    sandbox_begin(user_changes(uid), false);
    return real()->seteuid(uid);
}

HOOK int setreuid(uid_t ruid, uid_t euid)
{
    sandbox_begin(user_changes(euid), false);
    return real()->setreuid(ruid, euid);
}

HOOK int setresuid(uid_t ruid, uid_t euid, uid_t suid)
{
    sandbox_begin(user_changes(euid), false);
    return real()->setresuid(ruid, euid, suid);
}

/* Root reads with any group; others have groups to read their keys with. */
static bool group_matters(gid_t gid)
{
    return policy && gid != (gid_t)-1 && gid != getegid() && geteuid() != 0;
}

HOOK int setgid(gid_t gid)
{
    sandbox_begin(group_matters(gid), false);
    return real()->setgid(gid);
}

HOOK int setegid(gid_t gid)
{
    sandbox_begin(group_matters(gid), false);
    return real()->setegid(gid);
}

HOOK int setregid(gid_t rgid, gid_t egid)
{
    sandbox_begin(group_matters(egid), false);
    return real()->setregid(rgid, egid);
}

HOOK int setresgid(gid_t rgid, gid_t egid, gid_t sgid)
{
    sandbox_begin(group_matters(egid), false);
    return real()->setresgid(rgid, egid, sgid);
}

/* Behind a chroot neither the core nor key files are to be found. */
HOOK int chroot(const char *path)
{
    sandbox_begin(true, false);
    return real()->chroot(path);
}

HOOK int unshare(int flags)
{
    bool files = flags & (CLONE_NEWNS | CLONE_NEWUSER);
    sandbox_begin(files, true);
    bool refused = policy && !thread.in_vfork_child && (flags & CLONE_FILES) && threads_share_files();
    if (refused)
        log_event(LOG_LEVEL_ERROR,
                  "unshare(CLONE_FILES) refused: other threads would not share the descriptors of this one any more");
    int r = refused ? -1 : real()->unshare(flags), error = refused ? EINVAL : errno;
    sandbox_end(true);
    errno = error;
    return r;
}

HOOK int setns(int fd, int type)
{
    sandbox_begin(true, true);
    int r = real()->setns(fd, type);
    sandbox_end(true);
    return r;
}

HOOK int capset(cap_user_header_t header, cap_user_data_t data)
{
    sandbox_begin(true, true);
    int r = real()->capset(header, data);
    sandbox_end(true);
    return r;
}

static int prctl_seccomp(unsigned long mode, unsigned long filter)
{
    sandbox_filter_begin(mode == SECCOMP_MODE_FILTER ? (const struct sock_fprog *)filter : NULL);
    int r = real()->prctl(PR_SET_SECCOMP, mode, filter, 0UL, 0UL);
    sandbox_filter_end(r == 0);
    return r;
}

/* Each concerns the calling thread alone. */
static bool lowers(int option)
{
    return option == PR_SET_NO_NEW_PRIVS || option == PR_CAPBSET_DROP || option == PR_SET_SECUREBITS ||
           option == PR_CAP_AMBIENT;
}

HOOK int prctl(int option, ...)
{
    unsigned long a[4];
    va_list args;
    va_start(args, option);
    for (int i = 0; i < 4; i++)
        a[i] = va_arg(args, unsigned long);
    va_end(args);
    if (option == PR_SET_SECCOMP)
        return prctl_seccomp(a[0], a[1]);
    bool alone = lowers(option);
    if (alone)
        sandbox_begin(false, true);
    int r = real()->prctl(option, a[0], a[1], a[2], a[3]);
    if (alone)
        sandbox_end(true);
    return r;
}

/* Those that have no function in libc, or one that does something else (for all threads). */
static bool is_raw(long n)
{
    switch (n) {
    case SYS_setuid:
    case SYS_setreuid:
    case SYS_setresuid:
    case SYS_setfsuid:
    case SYS_setgid:
    case SYS_setregid:
    case SYS_setresgid:
    case SYS_setfsgid:
    case SYS_setgroups:
    case SYS_pivot_root:
    case SYS_landlock_restrict_self:
        return true;
    default:
        return false;
    }
}

static long seccomp_by_syscall(const long a[6])
{
    if (a[0] != SECCOMP_SET_MODE_FILTER && a[0] != SECCOMP_SET_MODE_STRICT)
        return sys3(SYS_seccomp, a[0], a[1], a[2]);
    sandbox_filter_begin(a[0] == SECCOMP_SET_MODE_FILTER ? (const struct sock_fprog *)a[2] : NULL);
    long r = sys3(SYS_seccomp, a[0], a[1], a[2]);
    /* With SECCOMP_FILTER_FLAG_TSYNC a positive answer is the id of a thread that could not follow. */
    sandbox_filter_end(r == 0 || (r > 0 && (a[1] & SECCOMP_FILTER_FLAG_NEW_LISTENER)));
    return r;
}

bool sandbox_syscall(long n, const long a[6], long *r)
{
    switch (n) {
    case SYS_seccomp:
        *r = answer(seccomp_by_syscall(a));
        return true;
    case SYS_prctl:
        *r = prctl((int)a[0], a[1], a[2], a[3], a[4]);
        return true;
    case SYS_chroot:
        *r = chroot((const char *)a[0]);
        return true;
    case SYS_unshare:
        *r = unshare((int)a[0]);
        return true;
    case SYS_setns:
        *r = setns((int)a[0], (int)a[1]);
        return true;
    case SYS_capset:
        *r = capset((void *)a[0], (void *)a[1]);
        return true;
    default:
        break;
    }
    if (!is_raw(n))
        return false;
    sandbox_begin(true, true);
    *r = answer(sys6(n, a[0], a[1], a[2], a[3], a[4], a[5]));
    sandbox_end(true);
    return true;
}
