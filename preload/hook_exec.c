/* exec with a protected connection still open: the new image would have the socket and not its keys. A connection whose
 * handshake nobody has started is given back to the kernel, and the new image takes it over as a fresh one; for any
 * other the exec is refused, until connections can be handed over. Close-on-exec ones are no matter. */
#include "exec_image.h"
#include "state.h"

#include "sys.h"

#include <errno.h>
#include <string.h>

struct cookie_search {
    uint64_t cookie;
    bool found;
};

static void compare_cookie(struct desc *d, void *arg)
{
    struct cookie_search *s = arg;
    if (d->cookie == s->cookie)
        s->found = true;
}

/* In a vfork child the table is its parent's, and the numbers may have been moved: sockets are known by SO_COOKIE. */
static int survivor_after_vfork(void)
{
    for (unsigned fd = 0; fd < table_high; fd++) {
        struct cookie_search s = {0, false};
        socklen_t len = sizeof s.cookie;
        long flags = sys3(SYS_fcntl, (long)fd, F_GETFD, 0L);
        if (flags < 0 || (flags & FD_CLOEXEC))
            continue;
        if (sys5(SYS_getsockopt, (long)fd, SOL_SOCKET, SO_COOKIE, &s.cookie, &len) != 0)
            continue;
        desc_each(compare_cookie, &s);
        if (s.found)
            return (int)fd;
    }
    return -1;
}

/* The first protected number that would survive and must not; -1 if none. keeps: the library will be in the new image,
 * which then takes over unstarted connections, and judges what listeners accept. */
static int survivor(bool keeps)
{
    if (thread.in_vfork_child)
        return survivor_after_vfork();
    for (unsigned fd = 0; core && fd < table_high; fd++) {
        uintptr_t word = atomic_load_explicit(&table[fd], memory_order_relaxed);
        if (word < WORD_FIRST_POINTER && word != WORD_LISTENER)
            continue;
        long flags = sys3(SYS_fcntl, (long)fd, F_GETFD, 0L);
        if (flags < 0 || (flags & FD_CLOEXEC))
            continue;
        if (keeps && (word == WORD_LISTENER || core->conn_give_back(((struct desc *)word)->conn)))
            continue;
        return (int)fd;
    }
    return -1;
}

/* True, and errno, if the exec must not be. */
static bool refused(const char *what, const char *program, bool search, char *const envp[])
{
    if (!policy || !core)
        return false;
    if (!thread.in_vfork_child)
        helper_finish_handshakes(); /* an exec ends the helper, and with it what only the helper would still send */
    bool keeps = exec_image_keeps(program, search, envp);
    int fd = survivor(keeps);
    if (fd < 0)
        return false;
    log_event(
        LOG_LEVEL_ERROR,
        "%s of %s refused: protected descriptor %d would stay open in it without %s; close it or set close-on-exec",
        what, program ? program : "?", fd,
        keeps ? "its keys (handing over is not covered yet)"
              : "the library (static or privileged program, or an environment without LD_PRELOAD or the policy)");
    errno = EOPNOTSUPP;
    return true;
}

static void take_back(struct desc *d, void *arg)
{
    (void)arg;
    core->conn_take_back(d->conn);
}

/* The program is still there: the exec failed. */
static int failed(int result)
{
    int saved = errno;
    if (core && !thread.in_vfork_child)
        desc_each(take_back, NULL);
    errno = saved;
    return result;
}

HOOK int execve(const char *path, char *const argv[], char *const envp[])
{
    return refused("exec", path, false, envp) ? -1 : failed(real()->execve(path, argv, envp));
}

HOOK int execv(const char *path, char *const argv[])
{
    return refused("exec", path, false, environ) ? -1 : failed(real()->execv(path, argv));
}

HOOK int execvp(const char *file, char *const argv[])
{
    return refused("exec", file, true, environ) ? -1 : failed(real()->execvp(file, argv));
}

HOOK int execvpe(const char *file, char *const argv[], char *const envp[])
{
    return refused("exec", file, true, envp) ? -1 : failed(real()->execvpe(file, argv, envp));
}

HOOK int fexecve(int fd, char *const argv[], char *const envp[])
{
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return refused("exec", path, false, envp) ? -1 : failed(real()->fexecve(fd, argv, envp));
}

HOOK int execveat(int dir, const char *path, char *const argv[], char *const envp[], int flags)
{
    return refused("exec", dir == AT_FDCWD || path[0] == '/' ? path : NULL, false, envp)
               ? -1
               : failed(real()->execveat(dir, path, argv, envp, flags));
}

/* The forms with a list: their arguments are copied into a vector on the stack, where the caller has them too. */
static size_t count_list(const char *first, va_list args)
{
    size_t n = 0;
    for (const char *a = first; a; a = va_arg(args, const char *))
        n++;
    return n;
}

#define COLLECT(argv, first, args)                                                                                     \
    va_list count_args;                                                                                                \
    va_start(args, first);                                                                                             \
    va_copy(count_args, args);                                                                                         \
    size_t list_len = count_list(first, count_args);                                                                   \
    va_end(count_args);                                                                                                \
    char **argv = __builtin_alloca((list_len + 1) * sizeof *argv);                                                     \
    argv[0] = (char *)first;                                                                                           \
    for (size_t i = 1; i <= list_len; i++)                                                                             \
    argv[i] = va_arg(args, char *)

HOOK int execl(const char *path, const char *first, ...)
{
    va_list args;
    COLLECT(argv, first, args);
    va_end(args);
    return execv(path, argv);
}

HOOK int execlp(const char *file, const char *first, ...)
{
    va_list args;
    COLLECT(argv, first, args);
    va_end(args);
    return execvp(file, argv);
}

HOOK int execle(const char *path, const char *first, ...)
{
    va_list args;
    COLLECT(argv, first, args);
    char *const *envp = va_arg(args, char *const *);
    va_end(args);
    return execve(path, argv, envp);
}

HOOK int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                     const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
    return refused("posix_spawn", path, false, envp) ? errno
                                                     : real()->posix_spawn(pid, path, actions, attr, argv, envp);
}

HOOK int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                      const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
    return refused("posix_spawn", file, true, envp) ? errno
                                                    : real()->posix_spawnp(pid, file, actions, attr, argv, envp);
}

/* A protected connection as the new program's standard output or the like. */
HOOK int posix_spawn_file_actions_adddup2(posix_spawn_file_actions_t *actions, int fd, int to)
{
    struct desc *d = table_find(fd);
    if (!d)
        return real()->posix_spawn_file_actions_adddup2(actions, fd, to);
    if (desc_special(d))
        return EBADF;
    log_event(LOG_LEVEL_ERROR, "giving protected connection %d to a spawned program refused: not covered yet", fd);
    return EOPNOTSUPP;
}

HOOK int system(const char *command)
{
    return command && refused("system", "/bin/sh", false, environ) ? -1 : real()->system(command);
}

HOOK FILE *popen(const char *command, const char *mode)
{
    return refused("popen", "/bin/sh", false, environ) ? NULL : real()->popen(command, mode);
}
