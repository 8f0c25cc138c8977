/* A hostile or plain peer on bare TCP, for one connection:
 *
 *   rawpeer listen|connect:PORT [--send WHAT]... [--end fin|rst|hold] [--after N] [--save FILE]
 *
 * WHAT: text:STRING, hex:DIGITS, random:BYTES:SEED, file:PATH[:BYTES] (its first BYTES bytes). hold waits until the
 * other side ends; fin half-closes and waits; rst resets at once. --after N first reads N bytes. Everything that comes
 * is read and saved; at the end it prints `received N` and `end eof|reset`. Exits 0 unless it fails itself. */
#include "common.h"

#include <sys/stat.h>

enum ending { HOLD, FIN, RST, ENDINGS };
static const char *const ending_names[ENDINGS] = {"hold", "fin", "rst"};

static struct {
    uint8_t *bytes;
    size_t len;
} payload;

static void payload_add(const void *data, size_t len)
{
    payload.bytes = realloc(payload.bytes, payload.len + len + 1);
    CHECK(payload.bytes, "no memory");
    memcpy(payload.bytes + payload.len, data, len);
    payload.len += len;
}

static void add_hex(const char *hex)
{
    unsigned byte;
    CHECK(strlen(hex) % 2 == 0, "an odd number of hex digits");
    for (; *hex; hex += 2) {
        CHECK(sscanf(hex, "%2x", &byte) == 1, "not hex: %s", hex);
        payload_add(&(uint8_t){(uint8_t)byte}, 1);
    }
}

static void add_random(char *text)
{
    size_t len = strtoull(strsep(&text, ":"), NULL, 10);
    uint8_t *bytes = malloc(len + 1);
    CHECK(bytes, "no memory");
    stream_fill(text ? strtoull(text, NULL, 10) : 1, 0, bytes, len);
    payload_add(bytes, len);
    free(bytes);
}

static void add_file(char *text)
{
    const char *path = strsep(&text, ":");
    int fd = (int)SYS(open(path, O_RDONLY | O_CLOEXEC));
    struct stat st;
    SYS(fstat(fd, &st));
    size_t len = text ? strtoull(text, NULL, 10) : (size_t)st.st_size;
    uint8_t *bytes = malloc(len + 1);
    CHECK(bytes && read_full(fd, bytes, len) == len, "%s has no %zu bytes", path, len);
    payload_add(bytes, len);
    free(bytes);
    SYS(close(fd));
}

static void add_payload(char *what)
{
    char *value = strchr(what, ':');
    CHECK(value, "--send needs KIND:VALUE, not %s", what);
    *value++ = '\0';
    if (strcmp(what, "text") == 0)
        payload_add(value, strlen(value));
    else if (strcmp(what, "hex") == 0)
        add_hex(value);
    else if (strcmp(what, "random") == 0)
        add_random(value);
    else if (strcmp(what, "file") == 0)
        add_file(value);
    else
        die("unknown kind of payload: %s", what);
}

static int meet(const char *where)
{
    uint16_t port;
    if (strncmp(where, "connect:", 8) == 0)
        return tcp_connect((uint16_t)atoi(where + 8));
    CHECK(strcmp(where, "listen") == 0, "listen or connect:PORT, not %s", where);
    int listener = tcp_listen(1, &port);
    int fd = tcp_accept(listener);
    SYS(close(listener));
    return fd;
}

/* The other side may end the connection in the middle of what it does not like. */
static void send_payload(int fd)
{
    for (size_t at = 0; at < payload.len;) {
        ssize_t n = send(fd, payload.bytes + at, payload.len - at, MSG_NOSIGNAL);
        if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
            return;
        at += (size_t)SYS(n);
        progress();
    }
}

static void reset(int fd)
{
    struct linger hard = {.l_onoff = 1};
    SYS(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)));
    SYS(close(fd));
}

/* Up to limit bytes, or all. False at the end of the stream, with how it ended. */
static bool drain(int fd, int save, size_t limit, size_t *received, const char **how)
{
    uint8_t buffer[16 * KIB];
    while (*received < limit) {
        ssize_t n = recv(fd, buffer, limit - *received < sizeof(buffer) ? limit - *received : sizeof(buffer), 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            CHECK(n == 0 || errno == ECONNRESET || errno == EPIPE, "recv: %s", strerror(errno));
            *how = n == 0 ? "eof" : "reset";
            return false;
        }
        progress();
        if (save >= 0)
            write_all(save, buffer, (size_t)n);
        *received += (size_t)n;
    }
    return true;
}

int main(int argc, char **argv)
{
    enum ending ending = HOLD;
    size_t after = 0, received = 0;
    int save = -1;
    const char *how = "own reset";
    CHECK(argc >= 2, "usage: rawpeer listen|connect:PORT [OPTION VALUE]...");
    for (int i = 2; i < argc; i += 2) {
        CHECK(i + 1 < argc, "%s needs a value", argv[i]);
        if (strcmp(argv[i], "--send") == 0)
            add_payload(argv[i + 1]);
        else if (strcmp(argv[i], "--after") == 0)
            after = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--save") == 0)
            save = (int)SYS(open(argv[i + 1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
        else if (strcmp(argv[i], "--end") == 0) {
            for (ending = 0; ending < ENDINGS && strcmp(argv[i + 1], ending_names[ending]) != 0; ending++)
                ;
            CHECK(ending < ENDINGS, "unknown ending: %s", argv[i + 1]);
        } else
            die("unknown option: %s", argv[i]);
    }
    int fd = meet(argv[1]);
    watchdog_start();
    bool open = drain(fd, save, after, &received, &how);
    if (open)
        send_payload(fd);
    if (open && ending == RST)
        reset(fd);
    else if (open) {
        if (ending == FIN)
            shutdown(fd, SHUT_WR);
        drain(fd, save, SIZE_MAX, &received, &how);
    }
    printf("received %zu\nend %s\n", received, how);
    free(payload.bytes);
    return 0;
}
