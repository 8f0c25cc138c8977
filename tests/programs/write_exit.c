/* Clients that write once and end at once, by every orderly way that a process has; the server must get all bytes and
 * a clean end of the stream. Each client is a fresh process image: `write_exit client PORT HOW SIZE`. */
#include "common.h"

static const char *const ways[] = {"return",     "exit",        "_exit", "_Exit",
                                   "quick_exit", "thread_exit", "close", "fork_exit"};
static const char readers[] = "readers"; /* many rounds of it alone: threads go on reading while the process ends */
static const size_t sizes[] = {1, 5, 1000, 16384, 16385, 64 * KIB};
enum { WAYS = sizeof(ways) / sizeof(ways[0]), SIZES = sizeof(sizes) / sizeof(sizes[0]), READERS = 4, ROUNDS = 300 };

static void *exit_from_thread(void *unused)
{
    (void)unused;
    exit(0);
}

static int read_number;

static void *read_for_ever(void *unused)
{
    (void)unused;
    char byte;
    while (read(read_number, &byte, 1) > 0)
        continue;
    return NULL;
}

static int leave(const char *how, int fd)
{
    read_number = fd;
    for (int i = 0; strcmp(how, readers) == 0 && i < READERS; i++)
        thread_start(read_for_ever, NULL);
    if (strcmp(how, "exit") == 0 || strcmp(how, readers) == 0)
        exit(0);
    if (strcmp(how, "_exit") == 0 || strcmp(how, "fork_exit") == 0)
        _exit(0);
    if (strcmp(how, "_Exit") == 0)
        _Exit(0);
    if (strcmp(how, "quick_exit") == 0)
        quick_exit(0);
    if (strcmp(how, "thread_exit") == 0)
        pthread_join(thread_start(exit_from_thread, NULL), NULL);
    if (strcmp(how, "close") == 0)
        SYS(close(fd));
    return 0;
}

static int client(uint16_t port, const char *how, size_t size)
{
    uint8_t *data = malloc(size);
    stream_fill(size, 0, data, size);
    int fd = tcp_connect(port);
    ssize_t n = write(fd, data, size);
    CHECK(n == (ssize_t)size, "write of %zu bytes gave %zd", size, n);
    free(data);
    return leave(how, fd);
}

static pid_t start_client(uint16_t port, const char *how, size_t size)
{
    char port_text[8], size_text[24];
    snprintf(port_text, sizeof(port_text), "%u", port);
    snprintf(size_text, sizeof(size_text), "%zu", size);
    pid_t pid = fork_child();
    if (pid > 0)
        return pid;
    if (strcmp(how, "fork_exit") == 0) /* the one that stays in the image of its parent */
        exit(client(port, how, size));
    execl("/proc/self/exe", "write_exit", "client", port_text, how, size_text, (char *)NULL);
    die_at(errno, "exec");
}

/* late: the client has ended, and has been waited for, before the server looks. */
static void serve(int listener, uint16_t port, const char *how, size_t size, bool late)
{
    pid_t pid = start_client(port, how, size);
    int fd;
    if (late) {
        struct pollfd p = {.fd = listener, .events = POLLIN};
        while (poll(&p, 1, -1) < 0) /* the watchdog looks in, where the machine is slow */
            CHECK(errno == EINTR, "poll");
    }
    fd = tcp_accept(listener);
    stream_recv(fd, size, 0, size);
    if (late)
        reap(pid, how);
    expect_eof(fd);
    expect_eof(fd);
    SYS(close(fd));
    if (!late)
        reap(pid, how);
}

int main(int argc, char **argv)
{
    uint16_t port;
    if (argc == 5 && strcmp(argv[1], "client") == 0)
        return client((uint16_t)atoi(argv[2]), argv[3], strtoull(argv[4], NULL, 10));
    watchdog_start();
    int listener = tcp_listen(8, &port);
    for (unsigned i = 0; argc == 2 && i < ROUNDS; i++)
        serve(listener, port, readers, 1000, false);
    for (unsigned way = 0; argc == 1 && way < WAYS; way++)
        for (unsigned i = 0; i < SIZES; i++)
            serve(listener, port, ways[way], sizes[i], i % 2);
    return 0;
}
