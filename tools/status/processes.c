/* Finds the tables of all processes: each is a descriptor of its process, and so in /proc/PID/fd. Whose that directory
 * may be read, the kernel decides (proc(5), ptrace(2): same user, and the process dumpable; or root). */
#include "live.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINK_TEXT "/memfd:" STATUS_NAME " (deleted)"

/* Of what file system, too: numbers on one of somebody's own are as he likes. */
struct table_id {
    dev_t device;
    ino_t inode;
};

struct walk {
    struct live_list *list;
    int64_t now_ms;
    struct table_id *seen; /* tables that were read: a child may have inherited its parent's descriptor */
    size_t seen_count;
};

static bool is_new(struct walk *w, struct table_id id)
{
    for (size_t i = 0; i < w->seen_count; i++)
        if (w->seen[i].device == id.device && w->seen[i].inode == id.inode)
            return false;
    struct table_id *grown = reallocarray(w->seen, w->seen_count + 1, sizeof *grown);
    if (grown) {
        w->seen = grown;
        w->seen[w->seen_count++] = id;
    }
    return true;
}

/* O_PATH does not wait, whatever it is; what it names is then looked at before it is opened to be read. */
static int open_table(int fds, const char *name, struct table_id *id)
{
    struct stat st;
    char path[64];
    int fd = -1;
    const int what = openat(fds, name, O_PATH | O_CLOEXEC);
    if (what >= 0 && fstat(what, &st) == 0 && S_ISREG(st.st_mode)) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", what);
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        *id = (struct table_id){st.st_dev, st.st_ino};
    }
    if (what >= 0)
        close(what);
    return fd;
}

static bool names_table(int fds, const char *name)
{
    char text[sizeof LINK_TEXT + 1];
    const ssize_t n = readlinkat(fds, name, text, sizeof text);
    return n == (ssize_t)sizeof LINK_TEXT - 1 && memcmp(text, LINK_TEXT, (size_t)n) == 0;
}

static void read_program(int process, char program[LIVE_PROGRAM])
{
    const int fd = openat(process, "comm", O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd < 0 ? -1 : read(fd, program, LIVE_PROGRAM - 1);
    program[n > 0 ? n : 0] = '\0';
    if (n > 0 && program[n - 1] == '\n')
        program[n - 1] = '\0';
    if (fd >= 0)
        close(fd);
}

/* True: go on looking. A process has one table; one that it is about to leave behind (it has just forked) does not
 * count. */
static void look_at(struct walk *w, int process, int fds, const char *name, struct live *about)
{
    struct table_id id = {0};
    struct stat st;
    const int fd = open_table(fds, name, &id);
    if (fd < 0)
        return;
    if (fstat(process, &st) == 0 && is_new(w, id)) {
        about->uid = st.st_uid;
        read_program(process, about->program);
        if (live_read(fd, about, w->now_ms, w->list))
            w->list->processes++;
        else
            w->list->unknown++;
    }
    close(fd);
}

static void walk_process(struct walk *w, int proc, const char *name)
{
    struct live about = {.pid = (pid_t)strtol(name, NULL, 10)};
    const int process = openat(proc, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const int fds = process < 0 ? -1 : openat(process, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fds < 0 ? NULL : fdopendir(fds);
    if (!dir && fds >= 0)
        close(fds);
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (isdigit((unsigned char)e->d_name[0]) && names_table(fds, e->d_name))
            look_at(w, process, fds, e->d_name, &about);
    if (dir)
        closedir(dir);
    if (process >= 0)
        close(process);
}

static int by_pid(const struct dirent **a, const struct dirent **b)
{
    const long x = strtol((*a)->d_name, NULL, 10), y = strtol((*b)->d_name, NULL, 10);
    return x < y ? -1 : x > y;
}

static int is_process(const struct dirent *e)
{
    return isdigit((unsigned char)e->d_name[0]) != 0;
}

bool live_collect(const char *path, struct live_list *list)
{
    struct timespec now;
    struct dirent **names;
    clock_gettime(CLOCK_MONOTONIC, &now);
    struct walk w = {.list = list, .now_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000};
    const int proc = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const int n = proc < 0 ? -1 : scandirat(proc, ".", &names, is_process, by_pid);
    const int error = errno;
    for (int i = 0; i < n; i++) {
        walk_process(&w, proc, names[i]->d_name);
        free(names[i]);
    }
    if (n >= 0)
        free(names);
    if (proc >= 0)
        close(proc);
    free(w.seen);
    live_merge(list);
    errno = error;
    return n >= 0;
}

/* By user too: what one user's process claims says nothing of another's. */
static int by_socket(const void *a, const void *b)
{
    const struct live *x = a, *y = b;
    if (x->uid != y->uid)
        return x->uid < y->uid ? -1 : 1;
    if (x->cookie != y->cookie)
        return x->cookie < y->cookie ? -1 : 1;
    return x->pid < y->pid ? -1 : x->pid > y->pid;
}

/* A process that does not use a connection has not learnt that another one has opened it. */
static void learn(struct live *to, const struct live *from)
{
    to->state = from->state;
    to->client = from->client;
    to->proven = from->proven;
    to->resumed = from->resumed;
    to->suite = from->suite;
    to->age_ms = from->age_ms;
    to->identity_cut = from->identity_cut;
    memcpy(to->identity, from->identity, sizeof to->identity);
    memcpy(to->alpn, from->alpn, sizeof to->alpn);
}

static void merge_group(struct live *group, size_t n)
{
    const struct live *open = NULL;
    uint64_t received = 0, sent = 0;
    for (size_t i = 0; i < n; i++) {
        if (group[i].state == STATUS_OPEN)
            open = &group[i];
        received = group[i].received > received ? group[i].received : received;
        sent = group[i].sent > sent ? group[i].sent : sent;
    }
    for (size_t i = 0; i < n; i++) {
        group[i].holders = (unsigned)n;
        group[i].first = i == 0;
        group[i].received = received;
        group[i].sent = sent;
        if (open && group[i].state == STATUS_HANDSHAKE)
            learn(&group[i], open);
    }
}

void live_merge(struct live_list *list)
{
    if (list->count)
        qsort(list->items, list->count, sizeof *list->items, by_socket);
    for (size_t i = 0, n; i < list->count; i += n) {
        const struct live *l = &list->items[i];
        n = 1;
        while (l->cookie && i + n < list->count && l[n].cookie == l->cookie && l[n].uid == l->uid)
            n++;
        merge_group(&list->items[i], n);
    }
}
