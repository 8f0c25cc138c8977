/* What streams on a connection have buffered, and what functions write that run at the end of a process, by every way
 * to end. Each client is a fresh process image: `stdio_exit client PORT HOW`. */
#include "common.h"

#include <wchar.h>

static const struct way {
    const char *name, *arrives;
} ways[] = {
    {"return", "direct, out by stdout, by fdopen, in atexit, in a destructor, wide"},
    {"exit", "direct, out by stdout, by fdopen, in atexit, in a destructor, wide"},
    {"thread", "direct, out by stdout, by fdopen, in atexit, in a destructor, wide"},
    {"nested", "direct, out by stdout, by fdopen, in atexit, in a destructor, wide"},
    {"last_thread", "direct, out by stdout, by fdopen, in atexit, in a destructor, wide"},
    {"reading", "direct, out by stdout, by fdopen, in atexit, in a destructor, wide"},
    {"fcloseall", "direct, out by stdout, by fdopen, wide, in atexit, in a destructor"},
    {"quick_exit", "direct, "},
    {"_exit", "direct, "},
};
enum { WAYS = sizeof(ways) / sizeof(ways[0]) };

static FILE *stream, *wide_stream;
static const char *how;

__attribute__((destructor)) static void in_destructor(void)
{
    if (stream)
        fprintf(stream, ", in a destructor");
}

static void in_atexit(void)
{
    fprintf(stream, ", in atexit");
    if (strcmp(how, "nested") == 0)
        exit(0);
}

static void *exit_from_thread(void *unused)
{
    (void)unused;
    exit(0);
}

/* Waits in a stream for ever, with its lock. */
static void *read_for_ever(void *f)
{
    fgetc(f);
    return NULL;
}

static int leave(int fd)
{
    if (strcmp(how, "exit") == 0)
        exit(0);
    if (strcmp(how, "thread") == 0)
        pthread_join(thread_start(exit_from_thread, NULL), NULL);
    if (strcmp(how, "last_thread") == 0)
        pthread_exit(NULL);
    if (strcmp(how, "reading") == 0)
        thread_start(read_for_ever, fdopen((int)SYS(dup(fd)), "r"));
    if (strcmp(how, "fcloseall") == 0)
        fcloseall();
    if (strcmp(how, "quick_exit") == 0)
        quick_exit(0);
    if (strcmp(how, "_exit") == 0)
        _exit(0);
    return 0;
}

static int client(uint16_t port)
{
    int fd = tcp_connect(port);
    SYS(dup2(fd, 1));
    wide_stream = fdopen((int)SYS(dup(fd)), "w");
    stream = fdopen(fd, "w");
    CHECK(stream && wide_stream, "fdopen");
    SYS(dprintf(fd, "direct, "));
    printf("out by stdout");
    fprintf(stream, ", by fdopen");
    fputws(L", wide", wide_stream);
    atexit(in_atexit);
    return leave(fd);
}

/* Streams are flushed in the order of their making, the last one first; here each waits for its part. */
static void expect(int fd, const struct way *way)
{
    char got[200] = "";
    size_t n = read_full(fd, got, sizeof(got) - 1), len = strlen(way->arrives), found = 0;
    static const char *const parts[] = {"direct, ",    "out by stdout",     ", by fdopen",
                                        ", in atexit", ", in a destructor", ", wide"};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        CHECK(!strstr(got, parts[i]) == !strstr(way->arrives, parts[i]), "%s: got '%s'", way->name, got);
        found += strstr(got, parts[i]) ? strlen(parts[i]) : 0;
    }
    CHECK(n == len && found == len, "%s: got '%s'", way->name, got);
    progress();
}

static void serve(int listener, uint16_t port, const struct way *way, bool late)
{
    char port_text[8];
    snprintf(port_text, sizeof(port_text), "%u", port);
    pid_t pid = fork_child();
    if (pid == 0) {
        execl("/proc/self/exe", "stdio_exit", "client", port_text, way->name, (char *)NULL);
        die_at(errno, "exec");
    }
    while (late && poll(&(struct pollfd){.fd = listener, .events = POLLIN}, 1, -1) < 0)
        CHECK(errno == EINTR, "poll: %s", strerror(errno)); /* by the watchdog */
    int fd = tcp_accept(listener), status;
    expect(fd, way);
    SYS(close(fd));
    SYS(waitpid(pid, &status, 0));
    CHECK(status == 0, "%s: status %x", way->name, (unsigned)status);
}

int main(int argc, char **argv)
{
    uint16_t port;
    if (argc == 4) {
        how = argv[3];
        return client((uint16_t)atoi(argv[2]));
    }
    watchdog_start();
    int listener = tcp_listen(8, &port);
    for (unsigned i = 0; i < WAYS; i++)
        for (int late = 0; late < 2; late++)
            serve(listener, port, &ways[i], late);
    return 0;
}
