#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

void die_at(int error, const char *format, ...)
{
    char text[600];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    fflush(stdout);
    dprintf(STDERR_FILENO, "%s: %s%s%s\n", program_invocation_short_name, text, error ? ": " : "",
            error ? strerror(error) : "");
    _exit(1);
}

long checked(long result, const char *call)
{
    if (result < 0)
        die_at(errno, "%s", call);
    return result;
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    SYS(clock_gettime(clock, &t));
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

uint64_t now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

uint64_t cpu_ns(void)
{
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

void *allocate(size_t len)
{
    void *memory = calloc(1, len ? len : 1);
    if (!memory)
        die("no memory");
    return memory;
}

static void no_delay(int fd)
{
    SYS(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)));
}

int listen_on_loopback(uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = (int)SYS(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    SYS(bind(fd, (struct sockaddr *)&address, len));
    SYS(listen(fd, 1024));
    SYS(getsockname(fd, (struct sockaddr *)&address, &len));
    *port = ntohs(address.sin_port);
    return fd;
}

int dial(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    int fd = (int)SYS(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    SYS(connect(fd, (struct sockaddr *)&address, sizeof(address)));
    no_delay(fd);
    return fd;
}

int accept_one(int listener)
{
    int fd = (int)SYS(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
    no_delay(fd);
    return fd;
}

uint64_t number(const char *text, uint64_t most)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || end == text || *end || *text == '-' || value > most)
        die("expected a number up to %llu, found '%s'", (unsigned long long)most, text);
    return value;
}

void say_and_wait(int gated, const char *format, ...)
{
    char line[64];
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
    if (gated && !fgets(line, sizeof(line), stdin))
        die("the harness has gone");
}

int compare_u64(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}
