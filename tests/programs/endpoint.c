/* An ordinary blocking program that tells what each of its connections came to:
 *
 *   endpoint listen|connect:PORT [--count N] [--together] STEP...
 *
 * The steps run in order on each of N connections, one after the other, or each in a thread (--together), until one
 * fails. Prints `NUMBER WORD...` for each connection: what the steps report, and `STEP ERRNO` for one that failed. The
 * exit status is 0 however the connections end. Steps: send:TEXT    fill:N (N bytes of a stream)   fin            echo
 * (all that comes, up to the end) recv:N       check:N (of that stream)       all (up to the end) await:FILE   (until
 * it is there)            pingpong:FILE (with an echo, until it is there) try:TEXT     (what sending gives, and on with
 * the next step) Reports: got "TEXT", checked N, echoed N, eof, rounds N; eof in the place of what was to come ends the
 * steps. */
#include "common.h"

enum { LINE_MAX_BYTES = 900, TEXT_MAX = 400, ROUND_BYTES = 24, LOOK_MS = 5 };

struct connection {
    int fd;
    unsigned number;
    size_t used;
    char line[LINE_MAX_BYTES];
};

static char **steps;
static int step_count;

__attribute__((format(printf, 2, 3))) static void report(struct connection *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (c->used < sizeof(c->line))
        c->used += (size_t)vsnprintf(c->line + c->used, sizeof(c->line) - c->used, format, args);
    va_end(args);
}

static bool failed(struct connection *c, const char *step)
{
    report(c, " %s %s", step, strerrorname_np(errno));
    return false;
}

static void report_text(struct connection *c, const char *text, size_t len)
{
    report(c, " got \"");
    for (size_t i = 0; i < len; i++)
        report(c, "%c", text[i] >= ' ' && text[i] <= '~' ? text[i] : '.');
    report(c, "\"");
}

static bool send_bytes(struct connection *c, const void *data, size_t len)
{
    for (const char *p = data; len > 0;) {
        ssize_t n = send(c->fd, p, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return failed(c, "send");
        progress();
        p += n;
        len -= (size_t)n;
    }
    return true;
}

/* False at the end of the stream, which is reported, as is an error. */
static bool receive(struct connection *c, void *data, size_t room, size_t *got)
{
    ssize_t n;
    while ((n = recv(c->fd, data, room, 0)) < 0 && errno == EINTR)
        ;
    *got = n > 0 ? (size_t)n : 0;
    progress();
    if (n == 0)
        report(c, " eof");
    return n < 0 ? failed(c, "recv") : n > 0;
}

static bool receive_all(struct connection *c, void *data, size_t len, size_t *got)
{
    bool more = true;
    for (*got = 0; more && *got < len;) {
        size_t n;
        more = receive(c, (char *)data + *got, len - *got, &n);
        *got += n;
    }
    return more;
}

static bool step_recv(struct connection *c, size_t want)
{
    char text[TEXT_MAX];
    size_t got;
    struct connection end = {.fd = c->fd};
    bool whole = receive_all(&end, text, want < sizeof(text) ? want : sizeof(text), &got);
    if (got > 0)
        report_text(c, text, got);
    report(c, "%s", end.line);
    return whole;
}

static bool step_fill(struct connection *c, size_t len)
{
    uint8_t buffer[4000];
    bool good = true;
    for (size_t at = 0, n; good && at < len; at += n) {
        n = len - at < sizeof(buffer) ? len - at : sizeof(buffer);
        stream_fill(1, at, buffer, n);
        good = send_bytes(c, buffer, n);
    }
    return good;
}

static bool step_check(struct connection *c, size_t len)
{
    uint8_t buffer[5000];
    bool more = true;
    size_t at = 0;
    while (more && at < len) {
        size_t n;
        more = receive(c, buffer, len - at < sizeof(buffer) ? len - at : sizeof(buffer), &n);
        stream_check(1, at, buffer, n);
        at += n;
    }
    report(c, " checked %zu", at);
    return more;
}

static bool step_echo(struct connection *c)
{
    uint8_t buffer[4000];
    size_t n, total = 0;
    struct connection end = {.fd = c->fd};
    while (receive(&end, buffer, sizeof(buffer), &n) && send_bytes(&end, buffer, n))
        total += n;
    if (total > 0)
        report(c, " echoed %zu", total);
    report(c, "%s", end.line);
    return false;
}

static bool step_pingpong(struct connection *c, const char *file)
{
    uint64_t rounds = 0;
    bool good = true;
    do {
        uint8_t out[ROUND_BYTES], in[ROUND_BYTES];
        size_t got;
        stream_fill(2, rounds * ROUND_BYTES, out, sizeof(out));
        good = send_bytes(c, out, sizeof(out)) && receive_all(c, in, sizeof(in), &got);
        if (good)
            stream_check(2, rounds++ * ROUND_BYTES, in, sizeof(in));
        poll(NULL, 0, LOOK_MS);
    } while (good && access(file, F_OK) < 0);
    report(c, " rounds %llu", (unsigned long long)rounds);
    return good;
}

static bool run_step(struct connection *c, const char *step)
{
    const char *colon = strchr(step, ':'), *value = colon ? colon + 1 : "";
    size_t len = colon ? (size_t)(colon - step) : strlen(step);
    size_t number = strtoull(value, NULL, 10);
#define IS(name) (len == sizeof(name) - 1 && memcmp(step, name, len) == 0)
    if (IS("send"))
        return send_bytes(c, value, strlen(value));
    if (IS("recv"))
        return step_recv(c, number);
    if (IS("all"))
        return step_recv(c, SIZE_MAX), true;
    if (IS("fill"))
        return step_fill(c, number);
    if (IS("check"))
        return step_check(c, number);
    if (IS("echo"))
        return step_echo(c);
    if (IS("pingpong"))
        return step_pingpong(c, value);
    CHECK(IS("fin"), "unknown step: %s", step);
    return shutdown(c->fd, SHUT_WR) == 0 || failed(c, "fin");
#undef IS
}

static void *run(void *connection)
{
    struct connection *c = connection;
    for (int i = 0; c->fd >= 0 && i < step_count && run_step(c, steps[i]); i++)
        ;
    if (c->fd >= 0)
        SYS(close(c->fd));
    printf("%u%s\n", c->number, c->line);
    fflush(stdout);
    free(c);
    return NULL;
}

static struct connection *meet(int listener, uint16_t port, unsigned number)
{
    struct connection *c = calloc(1, sizeof(*c));
    CHECK(c, "no memory");
    c->number = number;
    if (listener >= 0) {
        while ((c->fd = accept(listener, NULL, NULL)) < 0 && errno == EINTR)
            ;
        if (c->fd < 0)
            failed(c, "accept");
        return c;
    }
    struct sockaddr_in a = loopback(port);
    c->fd = tcp_socket();
    if (connect(c->fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
        failed(c, "connect");
        SYS(close(c->fd));
        c->fd = -1;
    }
    return c;
}

int main(int argc, char **argv)
{
    unsigned count = 1;
    bool together = false;
    int at = 2, listener = -1;
    uint16_t port = 0;
    CHECK(argc > 2, "usage: endpoint listen|connect:PORT [--count N] [--together] STEP...");
    for (; at < argc && argv[at][0] == '-'; at++) {
        if (strcmp(argv[at], "--together") == 0)
            together = true;
        else if (strcmp(argv[at], "--count") == 0 && at + 1 < argc)
            count = (unsigned)atoi(argv[++at]);
        else
            die("unknown option: %s", argv[at]);
    }
    steps = argv + at;
    step_count = argc - at;
    watchdog_start();
    if (strncmp(argv[1], "connect:", 8) == 0)
        port = (uint16_t)atoi(argv[1] + 8);
    else
        listener = tcp_listen(SOMAXCONN, &port);
    pthread_t *threads = calloc(count, sizeof(*threads));
    CHECK(threads, "no memory");
    for (unsigned i = 0; i < count; i++) {
        struct connection *c = meet(listener, port, i);
        progress();
        if (together)
            threads[i] = thread_start(run, c);
        else
            run(c);
    }
    for (unsigned i = 0; together && i < count; i++)
        pthread_join(threads[i], NULL);
    free(threads);
    return 0;
}
