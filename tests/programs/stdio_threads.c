/* Streams, forks and new connections in several threads: libc's lock on its list of streams is held over writes by
 * fflush(NULL) and taken by fork. No deadlock, and each child can use stdio. */
#include "common.h"

enum { FORKS = 100, CONNECTIONS = 200 };

static int end[2];
static FILE *stream;
static atomic_bool stop;

static void *flush_all(void *unused)
{
    (void)unused;
    while (!atomic_load(&stop)) {
        fputs("some text ", stream);
        fflush(NULL);
    }
    return NULL;
}

static void *discard(void *unused)
{
    char buffer[4096];
    (void)unused;
    while (read(end[1], buffer, sizeof(buffer)) > 0)
        progress();
    return NULL;
}

static void *connections(void *unused)
{
    (void)unused;
    for (int i = 0; i < CONNECTIONS && !atomic_load(&stop); i++) {
        int pair[2];
        char c;
        tcp_pair(pair);
        FILE *f = fdopen(pair[0], "w");
        CHECK(f && fputc('c', f) == 'c' && fclose(f) == 0, "a stream");
        CHECK(read(pair[1], &c, 1) == 1 && c == 'c', "its byte");
        SYS(close(pair[1]));
        progress();
    }
    return NULL;
}

static void child(void)
{
    FILE *null = fopen("/dev/null", "w");
    CHECK(null && fputs("x", null) >= 0 && fflush(NULL) == 0 && fclose(null) == 0, "stdio in a child");
    _exit(0);
}

int main(void)
{
    watchdog_start();
    tcp_pair(end);
    CHECK((stream = fdopen(end[0], "w")) != NULL, "fdopen");
    pthread_t writer = thread_start(flush_all, NULL), reader = thread_start(discard, NULL);
    pthread_t connector = thread_start(connections, NULL);
    for (int i = 0; i < FORKS; i++) {
        pid_t pid = (pid_t)SYS(fork());
        if (pid == 0)
            child();
        reap(pid, "child");
        progress();
    }
    pthread_join(connector, NULL);
    atomic_store(&stop, true);
    pthread_join(writer, NULL);
    CHECK(fclose(stream) == 0, "fclose");
    pthread_join(reader, NULL);
    return 0;
}
