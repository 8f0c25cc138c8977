/* For programs that go through a family of calls and compare each with what Linux says on plain TCP. */
#ifndef PROGRAMS_CALLS_H
#define PROGRAMS_CALLS_H

#include "common.h"

#define FAILS(call, expected) fails_at((call), (expected), #call, __LINE__)
#define GIVES(call, expected) gives_at((call), (expected), #call, __LINE__)

static inline void fails_at(long result, int expected, const char *call, int line)
{
    int error = errno;
    CHECK(result == -1, "line %d: %s gives %ld, expected %s", line, call, result, strerrorname_np(expected));
    CHECK(error == expected, "line %d: %s fails with %s, expected %s", line, call, strerrorname_np(error),
          strerrorname_np(expected));
    progress();
}

static inline void gives_at(long result, long expected, const char *call, int line)
{
    CHECK(result != -1 || expected == -1, "line %d: %s fails with %s, expected %ld", line, call, strerrorname_np(errno),
          expected);
    CHECK(result == expected, "line %d: %s gives %ld, expected %ld", line, call, result, expected);
    progress();
}

/* Until something can be read: bytes, or the end. */
static inline void await_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    SYS(poll(&p, 1, -1));
}

/* Until this many bytes can be read. */
static inline void await_bytes(int fd, int n)
{
    for (int have = 0; have < n;) {
        await_readable(fd);
        SYS(ioctl(fd, FIONREAD, &have));
    }
}

static inline void receive_timeout(int fd, int ms)
{
    struct timeval t = {ms / 1000, ms % 1000 * 1000};
    SYS(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)));
}

static inline void expect_text(int fd, const char *text)
{
    char got[200] = "";
    size_t n = read_full(fd, got, strlen(text));
    CHECK(n == strlen(text) && memcmp(got, text, n) == 0, "read \"%.*s\", expected \"%s\"", (int)n, got, text);
}

#endif
