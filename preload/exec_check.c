/* Would the kernel refuse an exec? What an exec ends, or changes, is better left alone then. Linux 6.14 and later tell
 * (execveat(2), AT_EXECVE_CHECK); of older ones, and under a filter, which might kill for a call that the program never
 * made, what can be foreseen is looked at here: files that are not there, and too many arguments. */
#include "exec_image.h"

#include "memory.h"
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EXECVE_CHECK = 0x10000, STRING_MAX = 32 * 4096, LIMIT_MIN = 128 * 1024, LIMIT_MAX = 6 * 1024 * 1024 };
enum { SCRIPT_DEPTH = 4 };

struct vectors {
    char *const *argv, *const *envp;
    bool ask; /* the kernel can be asked */
};

/* "Seccomp:" of /proc/self/status: 0 where there is no filter. */
static bool is_filtered(void)
{
    char text[4096] = "";
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    const char *found = n > 0 ? strstr(text, "\nSeccomp:\t") : NULL;
    return !found || found[strlen("\nSeccomp:\t")] != '0';
}

/* Counts the strings of a vector and their bytes. False: a string is too long, or the vector is no memory: the kernel
 * will say so. */
static bool measure(char *const *vector, size_t *strings, size_t *bytes)
{
    for (; memory_readable(vector, sizeof *vector) && *vector; vector++) {
        size_t len = memory_readable(*vector, 1) ? strlen(*vector) + 1 : SIZE_MAX;
        if (len > STRING_MAX)
            return false;
        *strings += 1;
        *bytes += len;
    }
    return true;
}

/* As bprm_stack_limits of fs/exec.c counts. */
static bool too_big(const char *path, const struct vectors *v)
{
    struct rlimit stack = {RLIM_INFINITY, RLIM_INFINITY};
    size_t arguments = 0, variables = 0, bytes = strlen(path) + 1;
    getrlimit(RLIMIT_STACK, &stack);
    if (!measure(v->argv, &arguments, &bytes) || !measure(v->envp, &variables, &bytes))
        return true;
    size_t limit = stack.rlim_cur / 4 < LIMIT_MAX ? (size_t)(stack.rlim_cur / 4) : LIMIT_MAX;
    size_t pointers = ((arguments ? arguments : 1) + variables) * sizeof(char *);
    if (limit < LIMIT_MIN)
        limit = LIMIT_MIN;
    return limit <= pointers || bytes > limit - pointers;
}

static int foresee(const char *path, const struct vectors *v)
{
    struct stat s;
    if (stat(path, &s) != 0 || faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) != 0)
        return errno;
    if (!S_ISREG(s.st_mode))
        return EACCES;
    return too_big(path, v) ? E2BIG : 0;
}

/* EINVAL, or whatever a security module makes of it: the flag is not known. */
static int error_of_file(const char *path, const struct vectors *v)
{
    long r = v->ask ? sys5(SYS_execveat, (long)AT_FDCWD, path, v->argv, v->envp, (long)EXECVE_CHECK) : -EINVAL;
    return r == -EINVAL || r == -ENOSYS || r == -EPERM ? foresee(path, v) : (int)-r;
}

static int error_of(const char *path, const struct vectors *v)
{
    char name[EXEC_IMAGE_SCRIPT_HEAD];
    int error = error_of_file(path, v);
    for (int depth = 0; !error && depth < SCRIPT_DEPTH && exec_image_interpreter(path, name); depth++) {
        error = error_of_file(name, v);
        path = name;
    }
    return error;
}

/* As execvp(3) goes on after an error. */
static bool is_next_tried(int error)
{
    return error == EACCES || error == ENOENT || error == ESTALE || error == ENOTDIR || error == ENODEV ||
           error == ETIMEDOUT;
}

static int error_along_path(const char *file, const struct vectors *v)
{
    const char *path = getenv("PATH");
    char full[PATH_MAX + NAME_MAX];
    int error = ENOENT;
    for (const char *at = path ? path : "/bin:/usr/bin", *end; *file; at = end + 1) {
        end = strchrnul(at, ':');
        int n = snprintf(full, sizeof full, "%.*s%s%s", (int)(end - at), at, end > at ? "/" : "", file);
        if (n > 0 && n < (int)sizeof full)
            error = error_of(full, v);
        if (!*end || !is_next_tried(error))
            break;
    }
    return error;
}

bool exec_image_fails(const char *file, bool search, char *const argv[], char *const envp[])
{
    int saved = errno;
    struct vectors v = {argv, envp, !is_filtered()};
    bool along = search && !strchr(file, '/');
    int error = along ? error_along_path(file, &v) : error_of(file, &v);
    errno = saved;
    return error != 0;
}
