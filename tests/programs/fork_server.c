/* fork_server [fork|prefork]: a server whose parent closes each connection right after the fork, or that only makes the
 * listener and lets workers accept from it. The parent never touches data. */
#include "common.h"

enum { CLIENTS = 12, WORKERS = 3, AMOUNT = 100 * KIB };

static void echo(int fd)
{
    char buffer[8192];
    ssize_t n;
    while ((n = read(fd, buffer, sizeof(buffer))) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        SYS(n);
        write_all(fd, buffer, (size_t)n);
    }
    SYS(close(fd));
}

/* Half of the clients wait for the server's echo piece by piece, half send all and then read. */
static void client(uint16_t port, unsigned id)
{
    int fd = tcp_connect(port);
    size_t piece = id % 2 ? AMOUNT / 20 : 40 * KIB;
    for (uint64_t at = 0; at < AMOUNT; at += piece) {
        size_t n = AMOUNT - at < piece ? AMOUNT - at : piece;
        stream_send(fd, id, at, n);
        stream_recv(fd, id, at, n);
    }
    SYS(shutdown(fd, SHUT_WR));
    expect_eof(fd);
    SYS(close(fd));
}

static void fork_per_connection(int listener)
{
    pid_t children[CLIENTS];
    for (unsigned i = 0; i < CLIENTS; i++) {
        int fd = tcp_accept(listener);
        children[i] = fork_child();
        if (children[i] == 0) {
            SYS(close(listener));
            echo(fd);
            _exit(0);
        }
        SYS(close(fd));
    }
    for (unsigned i = 0; i < CLIENTS; i++)
        reap(children[i], "a connection's child");
}

static void prefork(int listener, int share)
{
    pid_t workers[WORKERS];
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i] = fork_child();
        if (workers[i] == 0) {
            /* Non-blocking: the workers are woken together, and one of them finds nothing. */
            set_nonblocking(listener);
            char token;
            while (SYS(read(share, &token, 1)) == 1) {
                int fd;
                struct pollfd p = {.fd = listener, .events = POLLIN};
                while ((fd = accept(listener, NULL, NULL)) < 0) {
                    CHECK(errno == EAGAIN || errno == EINTR, "accept: %s", strerror(errno));
                    poll(&p, 1, -1);
                }
                echo(fd);
            }
            _exit(0);
        }
    }
    SYS(close(listener));
    for (unsigned i = 0; i < WORKERS; i++)
        reap(workers[i], "a worker");
}

int main(int argc, char **argv)
{
    bool workers = argc > 1 && strcmp(argv[1], "prefork") == 0;
    uint16_t port;
    int share[2];
    pid_t clients[CLIENTS];
    watchdog_start();
    SYS(pipe2(share, O_CLOEXEC));
    int listener = tcp_listen(CLIENTS, &port);
    for (unsigned i = 0; i < CLIENTS; i++) {
        SYS(write(share[1], "c", 1)); /* one connection for a worker to take */
        clients[i] = fork_child();
        if (clients[i] == 0) {
            SYS(close(listener));
            SYS(close(share[1]));
            client(port, i);
            _exit(0);
        }
    }
    SYS(close(share[1]));
    if (workers)
        prefork(listener, share[0]);
    else
        fork_per_connection(listener);
    for (unsigned i = 0; i < CLIENTS; i++)
        reap(clients[i], "a client");
    return 0;
}
