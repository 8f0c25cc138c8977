/* close_race [--strict]: a client writes 1 MiB and closes while the server's bytes for it are under way and unread. On
 * plain TCP such a close sends RST, which destroys what is still in the client's send buffer: so by default the client
 * closes when the peer's kernel has acknowledged all. With --strict it closes at once, and all must arrive still. */
#include "common.h"

#include <linux/sockios.h>

enum { AMOUNT = MIB };
enum when { BEFORE_ACCEPTING_BYTES, AFTER_HALF, AFTER_ALL, TIMES };
static const size_t replies[] = {24, 1000, 16 * KIB, 64 * KIB};

static bool strict;

static void drain_send_queue(int fd)
{
    int unsent;
    do {
        SYS(ioctl(fd, SIOCOUTQ, &unsent));
        poll(NULL, 0, 1);
    } while (unsent > 0);
}

static void client(uint16_t port)
{
    int fd = tcp_connect(port);
    stream_send(fd, 7, 0, AMOUNT);
    if (!strict)
        drain_send_queue(fd);
    SYS(close(fd));
}

/* The peer may have gone: that is no failure of a reply that nobody waits for. */
static void reply(int fd, size_t len)
{
    char *data = calloc(1, len);
    ssize_t n = send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    CHECK(n > 0 || errno == EPIPE || errno == ECONNRESET || errno == EAGAIN, "reply: %s", strerror(errno));
    free(data);
}

static void server(int fd, enum when when, size_t len)
{
    if (when == BEFORE_ACCEPTING_BYTES)
        reply(fd, len);
    stream_recv(fd, 7, 0, AMOUNT / 2);
    if (when == AFTER_HALF)
        reply(fd, len);
    stream_recv(fd, 7, AMOUNT / 2, AMOUNT - AMOUNT / 2);
    if (when == AFTER_ALL)
        reply(fd, len);
    char c;
    ssize_t n = read(fd, &c, 1);
    if (strict)
        CHECK(n == 0, "end of the stream: %s", n > 0 ? "a byte" : strerror(errno));
    else
        CHECK(n == 0 || (n < 0 && errno == ECONNRESET), "end of the stream: %s", n > 0 ? "a byte" : strerror(errno));
    SYS(close(fd));
}

int main(int argc, char **argv)
{
    uint16_t port;
    strict = argc > 1 && strcmp(argv[1], "--strict") == 0;
    watchdog_start();
    int listener = tcp_listen(4, &port);
    for (enum when when = 0; when < TIMES; when++)
        for (unsigned i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
            pid_t pid = fork_child();
            if (pid == 0) {
                SYS(close(listener));
                client(port);
                _exit(0);
            }
            server(tcp_accept(listener), when, replies[i]);
            reap(pid, "the client");
        }
    return 0;
}
