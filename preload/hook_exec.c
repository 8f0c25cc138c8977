/* exec in its forms. The new program would have the sockets and not their keys: exec_plan.c sees to that. */
#include "exec_plan.h"
#include "state.h"

#include <errno.h>

enum { EXECVE_CHECK = 0x10000 }; /* AT_EXECVE_CHECK: nothing is executed */

HOOK int execve(const char *path, char *const argv[], char *const envp[])
{
    struct exec_plan plan;
    exec_plan_begin(&plan, "exec", path, false, argv, envp);
    int r = real()->execve(path, argv, plan.environment ? plan.environment : envp);
    exec_plan_undo(&plan);
    return r;
}

HOOK int execv(const char *path, char *const argv[])
{
    return execve(path, argv, environ);
}

HOOK int execvpe(const char *file, char *const argv[], char *const envp[])
{
    struct exec_plan plan;
    exec_plan_begin(&plan, "exec", file, true, argv, envp);
    int r = real()->execvpe(file, argv, plan.environment ? plan.environment : envp);
    exec_plan_undo(&plan);
    return r;
}

HOOK int execvp(const char *file, char *const argv[])
{
    return execvpe(file, argv, environ);
}

HOOK int fexecve(int fd, char *const argv[], char *const envp[])
{
    char path[40];
    struct exec_plan plan;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    exec_plan_begin(&plan, "exec", path, false, argv, envp);
    int r = real()->fexecve(fd, argv, plan.environment ? plan.environment : envp);
    exec_plan_undo(&plan);
    return r;
}

/* A path relative to dir is judged by way of the directory. */
HOOK int execveat(int dir, const char *path, char *const argv[], char *const envp[], int flags)
{
    char full[4200];
    struct exec_plan plan;
    if (flags & EXECVE_CHECK)
        return real()->execveat(dir, path, argv, envp, flags);
    bool direct = dir == AT_FDCWD || path[0] == '/';
    int n = direct ? 0 : snprintf(full, sizeof full, "/proc/self/fd/%d%s%s", dir, path[0] ? "/" : "", path);
    exec_plan_begin(&plan, "exec", direct ? path : n < (int)sizeof full ? full : NULL, false, argv, envp);
    int r = real()->execveat(dir, path, argv, plan.environment ? plan.environment : envp, flags);
    exec_plan_undo(&plan);
    return r;
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
