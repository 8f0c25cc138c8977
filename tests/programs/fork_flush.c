/* A thread flushes all streams to a connection that is full, and has libc's lock of the list of streams meanwhile; fork
 * waits for that lock; and only then another thread of the same process begins to read from the other end. */
#include "common.h"

enum { TEXT = 8 * MIB };

static FILE *stream;
static atomic_int flusher, forker;

static void *flush_all(void *unused)
{
    (void)unused;
    atomic_store(&flusher, (int)gettid());
    CHECK(fflush(NULL) == 0, "fflush");
    CHECK(fclose(stream) == 0, "fclose");
    return NULL;
}

static void *fork_once(void *unused)
{
    int status;
    (void)unused;
    atomic_store(&forker, (int)gettid());
    pid_t pid = SYS(fork());
    if (pid == 0)
        _exit(0);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0, "a child");
    return NULL;
}

/* It has slept a hundred times in a row when it was looked at. */
static void wait_until_it_sleeps(atomic_int *thread)
{
    char path[64], text[512];
    for (int asleep = 0; asleep < 100; progress()) {
        snprintf(path, sizeof(path), "/proc/self/task/%d/stat", atomic_load(thread));
        int fd = atomic_load(thread) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;
        text[n > 0 ? n : 0] = '\0';
        const char *state = strrchr(text, ')');
        asleep = state && state[2] == 'S' ? asleep + 1 : 0;
        if (fd >= 0)
            SYS(close(fd));
        sched_yield();
    }
}

int main(void)
{
    int pair[2];
    static char text[TEXT], buffer[2 * TEXT], got[64 * KIB];
    size_t total = 0;
    watchdog_start();
    tcp_pair(pair);
    CHECK(write(pair[0], "x", 1) == 1 && read(pair[1], got, 1) == 1, "the first byte"); /* the handshake is over */
    CHECK((stream = fdopen(pair[0], "w")) != NULL, "fdopen");
    memset(text, 'y', sizeof(text));
    CHECK(setvbuf(stream, buffer, _IOFBF, sizeof(buffer)) == 0, "setvbuf");
    CHECK(fwrite(text, 1, sizeof(text), stream) == sizeof(text), "fwrite");
    pthread_t flushing = thread_start(flush_all, NULL);
    wait_until_it_sleeps(&flusher);
    pthread_t forking = thread_start(fork_once, NULL);
    wait_until_it_sleeps(&forker);
    for (ssize_t n; (n = read(pair[1], got, sizeof(got))) != 0; total += (size_t)n) {
        CHECK(n > 0 && got[0] == 'y' && got[n - 1] == 'y', "the text");
        progress();
    }
    CHECK(total == TEXT, "%zu bytes of %d have arrived", total, TEXT);
    pthread_join(flushing, NULL);
    pthread_join(forking, NULL);
    return 0;
}
