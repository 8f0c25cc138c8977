/* Programs: would the library get into them, and is it in those that run? The launcher judges files, as `p2ptls run`
 * does; of running programs, /proc tells. */
#include "doctor.h"
#include "judge.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- files ---------------------------------------------------------------------------------------------------- */

static void judge_child(void *program, const char *path)
{
    char said[JUDGED_MAX];

    if (!judge(path, said, sizeof said))
        found(FINDING_NOTE, "program", "%s names a program that it may start without protection: %s", (char *)program,
              said);
}

void doctor_program(const char *name)
{
    char said[JUDGED_MAX], file[PATH_MAX];

    if (!judge(name, said, sizeof said)) {
        found(FINDING_FAULT, "program", "%s", said);
        return;
    }
    found(FINDING_OK, "program", "%s can be protected", name);
    if (find_program(name, file))
        children_of(file, judge_child, (void *)name);
}

/* ---- processes ------------------------------------------------------------------------------------------------ */

struct process {
    pid_t pid, parent;
    char name[64];
};

/* proc(5): the name stands in parentheses and may have any byte in it. */
static bool read_process(pid_t pid, struct process *p)
{
    char path[64], text[512] = "";

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    const size_t len = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[len] = '\0';
    char *begin = strchr(text, '('), *end = strrchr(text, ')');
    if (!begin || !end || strlen(end) < 5)
        return false;
    p->pid = pid;
    p->parent = (pid_t)strtol(end + 4, NULL, 10);
    snprintf(p->name, sizeof p->name, "%.*s", (int)(end - begin - 1), begin + 1);
    return true;
}

static struct process *list_processes(size_t *count)
{
    struct process *all = NULL, one;
    DIR *dir = opendir("/proc");

    *count = 0;
    for (const struct dirent *entry; dir && (entry = readdir(dir));) {
        if (!isdigit((unsigned char)entry->d_name[0]) || !read_process((pid_t)strtol(entry->d_name, NULL, 10), &one))
            continue;
        struct process *more = reallocarray(all, *count + 1, sizeof *more);
        if (!more)
            break;
        all = more;
        all[(*count)++] = one;
    }
    if (dir)
        closedir(dir);
    return all;
}

static bool descends(const struct process *all, size_t count, pid_t pid, pid_t ancestor)
{
    for (size_t depth = 0; depth < count; depth++) {
        if (pid == ancestor)
            return true;
        size_t i = 0;
        while (i < count && all[i].pid != pid)
            i++;
        if (i == count || all[i].parent <= 1)
            return false;
        pid = all[i].parent;
    }
    return false;
}

/* Where ld.so could not map its code, in a service with NoExecPaths= say, the library's head stays mapped, and the
 * program runs without it. */
static bool is_code_of_library(const char *line)
{
    char rights[5] = "";

    return strstr(line, "/libp2ptls.so") && sscanf(line, "%*s %4s", rights) == 1 && strchr(rights, 'x');
}

static void examine_maps(const struct process *p)
{
    char path[64], line[PATH_MAX + 200];
    bool has = false, old = false;
    size_t lines = 0;

    snprintf(path, sizeof path, "/proc/%d/maps", (int)p->pid);
    FILE *f = fopen(path, "re");
    if (!f) {
        found(FINDING_NOTE, "process", "%d (%s): it cannot be looked into: %s", (int)p->pid, p->name, strerror(errno));
        return;
    }
    for (; fgets(line, sizeof line, f); lines++)
        if (is_code_of_library(line)) {
            has = true;
            old = old || strstr(line, "(deleted)");
        }
    fclose(f);
    if (!lines) /* a kernel thread, or one that has just ended */
        return;
    if (!has)
        found(FINDING_FAULT, "process", "%d (%s) runs without the library: its sockets are in clear", (int)p->pid,
              p->name);
    else if (old)
        found(FINDING_NOTE, "process", "%d (%s) has a library that was replaced since: start it again", (int)p->pid,
              p->name);
    else
        found(FINDING_OK, "process", "%d (%s) has the library", (int)p->pid, p->name);
}

void doctor_process(pid_t pid)
{
    size_t count = 0;
    struct process *all = list_processes(&count);
    bool any = false;

    for (size_t i = 0; i < count; i++)
        if (all[i].pid != getpid() && descends(all, count, all[i].pid, pid)) {
            any = true;
            examine_maps(&all[i]);
        }
    if (!any)
        found(FINDING_FAULT, "process", "there is no process %d", (int)pid);
    free(all);
}
