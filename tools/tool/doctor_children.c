/* What a program may start: the absolute paths of programs in its file, be it a binary or a script. What it puts
 * together when it runs, or looks for along PATH, cannot be seen so. */
#include "doctor.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    FILE_MOST = 256 * 1024 * 1024,
    CHILDREN_MOST = 50, /* each is judged by a process of its own */
    PATH_LEAST = 5,     /* "/b/sh" */
};

struct search {
    struct stat self;
    char *seen[CHILDREN_MOST];
    size_t count;
    void (*each)(void *ctx, const char *path);
    void *ctx;
};

static bool in_path(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("/._+-@", c));
}

static bool is_other_program(const struct search *s, const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0 && !strstr(path, ".so") &&
           (st.st_dev != s->self.st_dev || st.st_ino != s->self.st_ino);
}

static void take(struct search *s, const char *at, size_t len)
{
    char path[PATH_MAX];

    if (len < PATH_LEAST || len >= sizeof path || s->count == CHILDREN_MOST)
        return;
    memcpy(path, at, len);
    path[len] = '\0';
    if (!is_other_program(s, path))
        return;
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->seen[i], path) == 0)
            return;
    s->seen[s->count] = strdup(path);
    if (s->seen[s->count])
        s->each(s->ctx, s->seen[s->count++]);
}

static void search(struct search *s, const char *bytes, size_t len)
{
    size_t begin = 0;

    for (size_t i = 0; i <= len; i++) {
        if (i < len && in_path(bytes[i]))
            continue;
        if (i > begin && bytes[begin] == '/')
            take(s, bytes + begin, i - begin);
        begin = i + 1;
    }
}

void children_of(const char *file, void (*each)(void *ctx, const char *path), void *ctx)
{
    struct search s = {.each = each, .ctx = ctx};
    const int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return;
    if (fstat(fd, &s.self) == 0 && S_ISREG(s.self.st_mode) && s.self.st_size > 0 && s.self.st_size <= FILE_MOST) {
        void *bytes = mmap(NULL, (size_t)s.self.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (bytes != MAP_FAILED) {
            search(&s, bytes, (size_t)s.self.st_size);
            munmap(bytes, (size_t)s.self.st_size);
        }
    }
    close(fd);
    while (s.count)
        free(s.seen[--s.count]);
}
