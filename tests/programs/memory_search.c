/* memory_search: a child that has dropped its privileges looks through everything that it can read for the state of its
 * parent's connections: its own memory, its descriptors, /proc of its parent. What belongs to a connection from before
 * the fork is there, so the search finds what it looks for; of one that the parent has made since, nothing is.
 *
 * Where the keys are the program does not know. It takes every 16 random-looking bytes out of memory that can be
 * shared, which only this parent has filled since, for a secret, and the child gets sums of them, not the bytes. */
#include "common.h"

#include <sys/prctl.h>

enum { SECRET = 16, SECRETS_MAX = 4000, DIFFERENT_BYTES = 13, PIECE = MIB, NOBODY = 65534 };

struct sums {
    size_t count;
    uint64_t sums[SECRETS_MAX];
};

struct area {
    unsigned long from, to;
    char rights[8];
};

static int read_areas(const char *path, struct area *areas, int room)
{
    char line[400];
    int n = 0;
    FILE *maps = fopen(path, "re");
    if (!maps)
        return -1;
    while (n < room && fgets(line, sizeof(line), maps))
        if (sscanf(line, "%lx-%lx %7s", &areas[n].from, &areas[n].to, areas[n].rights) == 3 && !strstr(line, "[v"))
            n++;
    fclose(maps);
    return n;
}

static uint64_t sum_of(const uint8_t *at)
{
    uint64_t words[2];
    memcpy(words, at, SECRET);
    return mix64(words[0] ^ mix64(words[1]));
}

/* Neither numbers nor text, nor the end of a text: the fingerprint of the peer is beside the keys, and is no secret. */
static bool looks_random(const uint8_t *at)
{
    uint64_t seen[4] = {0};
    int different = 0, text[2] = {0};
    for (int i = 0; i < SECRET; i++) {
        text[i / (SECRET / 2)] += at[i] >= ' ' && at[i] <= '~';
        uint64_t bit = 1ull << at[i] % 64;
        different += !(seen[at[i] / 64] & bit);
        seen[at[i] / 64] |= bit;
    }
    return different >= DIFFERENT_BYTES && text[0] < SECRET / 2 && text[1] < SECRET / 2;
}

static void add_secrets(struct sums *s, const struct area *a)
{
    for (unsigned long at = a->from; at + SECRET <= a->to && s->count < SECRETS_MAX; at += 8)
        if (looks_random((const uint8_t *)at))
            s->sums[s->count++] = sum_of((const uint8_t *)at);
}

/* What shared mappings hold that were not there before. */
static void collect(struct sums *s, const struct area *old, int old_count)
{
    static struct area now[2000];
    int n = read_areas("/proc/self/maps", now, 2000);
    s->count = 0;
    for (int i = 0; i < n; i++) {
        bool known = strcmp(now[i].rights, "rw-s") != 0;
        for (int k = 0; k < old_count; k++)
            known |= now[i].from == old[k].from && now[i].to == old[k].to;
        if (!known)
            add_secrets(s, &now[i]);
    }
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static size_t search_piece(const uint8_t *piece, size_t len, const struct sums *s)
{
    size_t found = 0;
    for (size_t at = 0; at + SECRET <= len; at += 8) {
        uint64_t sum = looks_random(piece + at) ? sum_of(piece + at) : 0;
        found += sum && bsearch(&sum, s->sums, s->count, sizeof(sum), compare);
    }
    return found;
}

/* By a descriptor, as a debugger would: from, to are offsets in it. */
static size_t search_file(int fd, unsigned long from, unsigned long to, const struct sums *s)
{
    static uint8_t piece[PIECE];
    size_t found = 0;
    for (unsigned long at = from; at < to; at += PIECE) {
        ssize_t n = pread(fd, piece, to - at < PIECE ? to - at : PIECE, (off_t)at);
        if (n <= 0)
            break;
        found += search_piece(piece, (size_t)n, s);
    }
    return found;
}

static size_t search_memory(const struct sums *s)
{
    static struct area areas[2000];
    int n = read_areas("/proc/self/maps", areas, 2000), mem = (int)SYS(open("/proc/self/mem", O_RDONLY | O_CLOEXEC));
    size_t found = 0;
    for (int i = 0; i < n; i++)
        if (areas[i].rights[0] == 'r')
            found += search_file(mem, areas[i].from, areas[i].to, s);
    SYS(close(mem));
    return found;
}

/* Whatever number it has, also those that the program was never told of. */
static size_t search_descriptors(const struct sums *s)
{
    size_t found = 0;
    char path[64];
    for (int fd = 0; fd < 2048; fd++) {
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        int again = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (again < 0)
            continue;
        found += search_file(again, 0, 64 * MIB, s);
        SYS(close(again));
    }
    return found;
}

static void expect_denied(pid_t parent)
{
    static const char *const files[] = {"mem", "maps", "fd", "environ"};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char path[64];
        snprintf(path, sizeof(path), "/proc/%d/%s", (int)parent, files[i]);
        CHECK(open(path, O_RDONLY | O_CLOEXEC) < 0 && (errno == EACCES || errno == EPERM), "%s can be opened", path);
    }
}

static void be_curious(int sums_pipe)
{
    static struct sums before, later;
    pid_t parent = getppid();
    SYS(setgid(NOBODY));
    SYS(setuid(NOBODY));
    SYS(prctl(PR_SET_DUMPABLE, 1)); /* /proc/self would be root's otherwise: proc(5) */
    CHECK(read_full(sums_pipe, &before, sizeof(before)) == sizeof(before), "the parent has gone");
    CHECK(read_full(sums_pipe, &later, sizeof(later)) == sizeof(later), "the parent has gone");
    qsort(before.sums, before.count, sizeof(before.sums[0]), compare);
    qsort(later.sums, later.count, sizeof(later.sums[0]), compare);
    printf("secrets %zu before the fork, %zu since\n", before.count, later.count);
    printf("found %zu and %zu\n", search_memory(&before), search_memory(&later) + search_descriptors(&later));
    expect_denied(parent);
    fflush(stdout);
    _exit(0);
}

static void exchange(int fd[2], uint64_t seed)
{
    tcp_pair(fd);
    stream_send(fd[0], seed, 0, 100);
    stream_recv(fd[1], seed, 0, 100);
    stream_send(fd[1], seed, 0, 100);
    stream_recv(fd[0], seed, 0, 100);
}

int main(void)
{
    static struct area old[2000];
    static struct sums sums;
    int before[2], later[2], sums_pipe[2];
    watchdog_start();
    SYS(pipe2(sums_pipe, O_CLOEXEC));
    int n = read_areas("/proc/self/maps", old, 2000);
    exchange(before, 1);
    pid_t child = fork_child();
    if (child == 0)
        be_curious(sums_pipe[0]);
    collect(&sums, old, n);
    write_all(sums_pipe[1], &sums, sizeof(sums));
    n = read_areas("/proc/self/maps", old, 2000);
    exchange(later, 2);
    collect(&sums, old, n);
    write_all(sums_pipe[1], &sums, sizeof(sums));
    reap(child, "the child");
    for (int i = 0; i < 2; i++) {
        SYS(close(before[i]));
        SYS(close(later[i]));
    }
    return 0;
}
