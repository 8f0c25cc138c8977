/* A program has the name of its file, and that of the link by which it was started: redis-server is a link in Debian,
 * and so is python3. The second is what execve was given (AT_EXECFN, getauxval(3)), or stands in the #! line of a
 * script that it was given; unlike argv[0] it must lead to the file that runs. Whoever starts a program can still make
 * a link of any name: a rule with for= has a scope by it, and no protection from its user. */
#include "program.h"

#include "exec_image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SCRIPT_DEPTH = 5 };

static bool find_inode(struct program *p, const char *path)
{
    struct stat s;
    if (stat(path, &s) != 0)
        return false;
    p->device = s.st_dev;
    p->inode = s.st_ino;
    return true;
}

static bool leads_here(const struct program *p, const char *path)
{
    struct stat s;
    return p->inode && stat(path, &s) == 0 && s.st_dev == p->device && s.st_ino == p->inode;
}

static void find_file(struct program *p)
{
    static const char deleted[] = " (deleted)"; /* proc(5) */
    ssize_t n = readlink("/proc/self/exe", p->file, sizeof p->file - 1);
    if (n <= 0) { /* without /proc: what execve was given */
        const char *given = (const char *)getauxval(AT_EXECFN);
        snprintf(p->file, sizeof p->file, "%s", given ? given : "");
        (void)find_inode(p, p->file);
        return;
    }
    size_t len = (size_t)n, tail = sizeof deleted - 1;
    if (len > tail && !memcmp(p->file + len - tail, deleted, tail))
        len -= tail;
    p->file[len] = '\0';
    (void)find_inode(p, "/proc/self/exe");
}

/* The kernel follows #! lines to the program, and gives it the path of the first script. */
static void find_name(struct program *p, const char *given)
{
    char path[PATH_MAX], interpreter[EXEC_IMAGE_SCRIPT_HEAD];
    snprintf(path, sizeof path, "%s", given);
    for (int depth = 0; depth <= SCRIPT_DEPTH; depth++) {
        if (leads_here(p, path)) {
            memcpy(p->name, path, sizeof p->name);
            return;
        }
        if (!exec_image_interpreter(path, interpreter))
            return;
        snprintf(path, sizeof path, "%s", interpreter);
    }
}

static void learn(struct program *p)
{
    const char *given = p->asked ? p->asked : (const char *)getauxval(AT_EXECFN);
    p->known = true;
    p->file[0] = p->name[0] = '\0';
    p->inode = 0;
    if (!p->asked)
        find_file(p);
    else if (!find_inode(p, p->asked) || !realpath(p->asked, p->file))
        p->file[0] = '\0';
    if (given && !p->secure)
        find_name(p, given);
}

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

bool program_is(void *ctx, const char *item)
{
    struct program *p = ctx;
    const char *base = base_of(item);
    if (!p->known)
        learn(p);
    bool named = *base && (!strcmp(base, base_of(p->file)) || !strcmp(base, base_of(p->name)));
    /* A program of many names is one file: the path must lead to it, and its name be one of these two. */
    return base == item ? named : !strcmp(item, p->file) || (named && leads_here(p, item));
}
