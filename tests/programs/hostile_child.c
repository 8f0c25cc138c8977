/* hostile_child SEED [ROUNDS]: a forked child scribbles over every byte of shared memory that it can reach, while its
 * parent reads, writes, polls and closes the connections that both hold. The parent neither crashes nor hangs; its new
 * connections work; and the child finds none of their keys, since it does not map the pages that hold them. */
#include "common.h"

#include <sys/mman.h>

enum { CONNECTIONS = 4, CALLS = 60, HEAD = 1024, HEADS = 32, NOBODY = 65534 };

/* ---- the child ---- */

struct area {
    uint8_t *from;
    size_t len;
};

/* Shared and writable mappings, but for what this program shares itself. */
static int find_areas(struct area *areas, int room, const void *own)
{
    char line[400];
    int n = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    CHECK(maps, "/proc/self/maps: %s", strerror(errno));
    while (fgets(line, sizeof(line), maps) && n < room) {
        unsigned long from, to;
        char rights[8];
        if (sscanf(line, "%lx-%lx %7s", &from, &to, rights) == 3 && strcmp(rights, "rw-s") == 0 && (void *)from != own)
            areas[n++] = (struct area){(uint8_t *)from, to - from};
    }
    fclose(maps);
    return n;
}

static uint64_t nasty_value(struct rng *rng, pid_t parent)
{
    static const uint64_t values[] = {0, 1, 2, 3, 4, 5, 6, 16384, 16640, 0x7fffffff, 0x80000000, 0xffffffff};
    size_t i = rng_range(rng, 0, sizeof(values) / sizeof(values[0]) + 5);
    if (i < sizeof(values) / sizeof(values[0]))
        return values[i];
    switch (i % 5) { /* words of locks: of the parent, waited for, of a dead owner; anything */
    case 0:
        return (uint64_t)parent;
    case 1:
        return (uint64_t)parent | 0x80000000;
    case 2:
        return (uint64_t)parent | 0x40000000;
    case 3:
        return 0x40000000 | rng_range(rng, 1, 40000);
    default:
        return mix64(rng->s);
    }
}

static void scribble(struct rng *rng, const struct area *area, pid_t parent)
{
    size_t page = rng_range(rng, 0, area->len / 4096 - 1) * 4096;
    if (rng_range(rng, 0, 3) == 0) { /* a whole page */
        memset(area->from + page, (int)rng_range(rng, 0, 255), 4096);
        return;
    }
    size_t at = page + rng_range(rng, 0, 1023) * 4;
    uint64_t value = nasty_value(rng, parent);
    memcpy(area->from + at, &value, at + 8 <= area->len && rng_range(rng, 0, 1) ? 8 : 4);
}

/* A guess at records of equal size, at the beginning of a mapping. */
static void scribble_on_heads(struct rng *rng, const struct area *area, pid_t parent)
{
    size_t heads = area->len / HEAD < HEADS ? area->len / HEAD : HEADS;
    size_t at = rng_range(rng, 0, heads - 1) * HEAD + rng_range(rng, 0, HEAD / 4 - 1) * 4;
    uint64_t value = nasty_value(rng, parent);
    if (at + 8 <= area->len)
        memcpy(area->from + at, &value, 4);
}

/* gentle: a word now and then, so that connections live on with one lie in their state. */
static void be_hostile(struct rng rng, bool gentle, const void *own, atomic_bool *stop)
{
    struct area areas[64];
    pid_t parent = getppid();
    if (geteuid() == 0)
        SYS(setuid(NOBODY));
    int n = find_areas(areas, 64, own);
    printf("areas %d\n", n);
    fflush(stdout);
    struct timespec pause = {0, gentle ? 3000000 : 100000};
    while (!atomic_load(stop)) {
        for (int i = 0; i < n; i++) {
            if (!gentle)
                scribble(&rng, &areas[i], parent);
            scribble_on_heads(&rng, &areas[i], parent);
        }
        ppoll(NULL, 0, &pause, NULL);
    }
    _exit(0);
}

/* ---- the parent ---- */

static struct common {
    atomic_bool stop;
} * common;

static double slowest;

static void timed(double begin)
{
    double took = now_seconds() - begin;
    if (took > slowest)
        slowest = took;
    progress();
}

static void call_something(struct rng *rng, int fd)
{
    static uint8_t buffer[40000];
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT};
    size_t len = rng_range(rng, 1, sizeof(buffer));
    double begin = now_seconds();
    int value;
    socklen_t value_len = sizeof(value);
    switch (rng_range(rng, 0, 6)) {
    case 0:
        (void)!send(fd, buffer, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        break;
    case 1:
        (void)!recv(fd, buffer, len, MSG_DONTWAIT);
        break;
    case 2:
        (void)!recv(fd, buffer, len, MSG_DONTWAIT | MSG_PEEK);
        break;
    case 3:
        poll(&p, 1, 1);
        break;
    case 4:
        ioctl(fd, FIONREAD, &value);
        break;
    case 5:
        (void)!send(fd, buffer, len, MSG_NOSIGNAL); /* SO_SNDTIMEO and SO_RCVTIMEO bound the blocking ones */
        break;
    default:
        (void)!recv(fd, buffer, len, 0);
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &value_len);
    }
    timed(begin);
}

static void set_timeouts(int fd)
{
    struct timeval t = {.tv_usec = 20000};
    SYS(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)));
    SYS(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)));
}

/* Blocks for as long as nothing comes: until the other end is closed. */
static void *read_on(void *arg)
{
    int fd = *(int *)arg;
    uint8_t buffer[3000];
    while (read(fd, buffer, sizeof(buffer)) > 0)
        progress();
    return NULL;
}

static void exchange(int end[2], uint64_t seed)
{
    stream_send(end[0], seed, 0, 5000);
    stream_recv(end[1], seed, 0, 5000);
    stream_send(end[1], seed + 1, 0, 5000);
    stream_recv(end[0], seed + 1, 0, 5000);
}

static void round_of(uint64_t seed, int listener, uint16_t port)
{
    struct rng rng = {seed};
    int shared[CONNECTIONS][2];
    atomic_store(&common->stop, false);
    for (int i = 0; i < CONNECTIONS; i++) {
        shared[i][0] = tcp_connect(port);
        shared[i][1] = tcp_accept(listener);
        if (i != 0) /* the first one is forked in its handshake */
            exchange(shared[i], seed + (uint64_t)i);
        set_timeouts(shared[i][0]);
        if (i != 0)
            set_timeouts(shared[i][1]);
    }
    pid_t child = fork_child();
    if (child == 0)
        be_hostile(rng, seed / 1000 % 2, common, &common->stop);
    pthread_t reader = thread_start(read_on, &shared[0][1]);
    for (int i = 0; i < CALLS; i++) {
        size_t end = rng_range(&rng, 0, CONNECTIONS * 2 - 1);
        if (end != 1) /* the blocked reader's */
            call_something(&rng, shared[end / 2][end % 2]);
        if (i % 10 != 0)
            continue;
        int fresh[2] = {tcp_connect(port), tcp_accept(listener)}; /* the child has no part in this one */
        exchange(fresh, seed + 100 + (uint64_t)i);
        SYS(close(fresh[0]));
        expect_eof(fresh[1]);
        SYS(close(fresh[1]));
    }
    for (int i = 0; i < CONNECTIONS * 2; i++) {
        double begin = now_seconds();
        if (i != 1)
            close(shared[i / 2][i % 2]);
        timed(begin);
    }
    atomic_store(&common->stop, true);
    reap(child, "the hostile child");
    CHECK(pthread_join(reader, NULL) == 0, "pthread_join");
    close(shared[0][1]);
}

int main(int argc, char **argv)
{
    uint16_t port;
    uint64_t seed = argc > 1 ? (uint64_t)atoll(argv[1]) : 1;
    int rounds = argc > 2 ? atoi(argv[2]) : 5;
    watchdog_start();
    signal(SIGPIPE, SIG_IGN);
    common = mmap(NULL, sizeof(*common), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(common != MAP_FAILED, "mmap");
    int listener = tcp_listen(8, &port);
    for (int i = 0; i < rounds; i++)
        round_of(seed + (uint64_t)i * 1000, listener, port);
    printf("slowest call %.0f ms\n", slowest * 1000);
    return 0;
}
