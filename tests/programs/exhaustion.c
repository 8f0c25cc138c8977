/* exhaustion: a process that runs out of descriptors: accept, dup and socket say EMFILE, what is open goes on working,
 * and after some closes everything works again.
 *
 * exhaustion self: one thread with no number left connects to itself, and turns the connection away as event loops do:
 * it gives up a number that it has kept for that, accepts, and closes. The connecting end sees the stream end in order.
 */
#include "common.h"

#include <sys/resource.h>

enum { LIMIT = 48, CLIENTS = 60, PIECE = 5000 };

static void client(uint16_t port, int go)
{
    int fds[CLIENTS];
    for (uint32_t i = 0; i < CLIENTS; i++) {
        fds[i] = tcp_connect(port);
        write_all(fds[i], &i, sizeof(i));
        stream_send(fds[i], i, 0, PIECE);
    }
    await_peer(go);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        stream_recv(fds[i], i, 0, PIECE);
        expect_eof(fds[i]);
        SYS(close(fds[i]));
    }
}

/* Answers one client wholly and closes. */
static void serve(int fd)
{
    uint32_t id;
    CHECK(read_full(fd, &id, sizeof(id)) == sizeof(id) && id < CLIENTS, "no client number");
    stream_recv(fd, id, 0, PIECE);
    stream_send(fd, id, 0, PIECE);
    SYS(close(fd));
}

static unsigned accept_until_full(int listener, int fds[CLIENTS])
{
    for (unsigned count = 0; count < CLIENTS; count++) {
        fds[count] = accept(listener, NULL, NULL);
        if (fds[count] < 0) {
            CHECK(errno == EMFILE, "accept: %s, not EMFILE", strerror(errno));
            return count;
        }
    }
    die("%d descriptors were accepted under a limit of %d", CLIENTS, LIMIT);
}

static void all_say_emfile(int listener, int connection)
{
    CHECK(dup(connection) < 0 && errno == EMFILE, "dup: %s, not EMFILE", strerror(errno));
    CHECK(fcntl(connection, F_DUPFD_CLOEXEC, 0) < 0 && errno == EMFILE, "F_DUPFD: %s, not EMFILE", strerror(errno));
    CHECK(socket(AF_INET, SOCK_STREAM, 0) < 0 && errno == EMFILE, "socket: %s, not EMFILE", strerror(errno));
    CHECK(accept4(listener, NULL, NULL, SOCK_CLOEXEC) < 0 && errno == EMFILE, "accept4: %s, not EMFILE",
          strerror(errno));
}

/* dup takes what is left: every one of them is the same connection. */
static void dup_until_full(int fd)
{
    int copies[LIMIT];
    unsigned count = 0;
    while ((copies[count] = dup(fd)) >= 0)
        count++;
    CHECK(errno == EMFILE, "dup: %s, not EMFILE", strerror(errno));
    CHECK(count > 0, "no room for a single dup");
    while (count > 0)
        SYS(close(copies[--count]));
}

static void connect_to_self(void)
{
    enum { FEW = 32 };
    uint16_t port;
    struct rlimit limit = {.rlim_cur = FEW, .rlim_max = FEW};
    int listener = tcp_listen(8, &port), kept = (int)SYS(dup(0)), last = kept;
    SYS(setrlimit(RLIMIT_NOFILE, &limit));
    for (int copy; (copy = dup(0)) >= 0;)
        last = copy;
    CHECK(errno == EMFILE, "dup: %s, not EMFILE", strerror(errno));
    SYS(close(last));
    int fd = tcp_connect(port);
    CHECK(accept(listener, NULL, NULL) < 0 && errno == EMFILE, "accept: %s, not EMFILE", strerror(errno));
    SYS(close(kept));
    SYS(close(tcp_accept(listener)));
    CHECK(dup(0) == kept, "the number was not free again");
    expect_eof(fd);
    SYS(close(fd));
}

int main(int argc, char **argv)
{
    uint16_t port;
    int go[2], fds[CLIENTS];
    watchdog_start();
    if (argc > 1 && strcmp(argv[1], "self") == 0) {
        connect_to_self();
        return 0;
    }
    SYS(pipe2(go, O_CLOEXEC));
    int listener = tcp_listen(CLIENTS, &port);
    pid_t pid = fork_child();
    if (pid == 0) {
        SYS(close(listener));
        client(port, go[0]);
        _exit(0);
    }
    struct rlimit limit = {.rlim_cur = LIMIT, .rlim_max = LIMIT};
    SYS(setrlimit(RLIMIT_NOFILE, &limit));
    unsigned open_now = accept_until_full(listener, fds), served = 0;
    CHECK(open_now > 8, "only %u connections under a limit of %d", open_now, LIMIT);
    all_say_emfile(listener, fds[0]);
    for (unsigned i = 0; i < 8; i++, served++)
        serve(fds[i]);
    dup_until_full(fds[8]);
    for (unsigned i = 8; i < open_now; i++, served++)
        serve(fds[i]);
    for (; served < CLIENTS; served++)
        serve(tcp_accept(listener));
    signal_peer(go[1]);
    reap(pid, "the client");
    return 0;
}
