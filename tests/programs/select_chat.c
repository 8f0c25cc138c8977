/* A chat of programs that use select() and blocking sockets. select_chat server N prints its port, waits for N clients,
 * then passes each line on to all of them until they are gone. select_chat client PORT LINES EXPECTED TEXT sends LINES
 * lines that begin with TEXT, and ends when it has seen EXPECTED lines. */
#include "common.h"

#include <sys/select.h>

enum { CLIENTS_MAX = 64, LINE = 100 };

static int clients[CLIENTS_MAX], count;

static void pass_on(const char line[LINE])
{
    for (int i = 0; i < count; i++)
        CHECK(SYS(send(clients[i], line, LINE, 0)) == LINE, "a short write on a blocking socket");
}

static void wait_for_clients(fd_set *readable)
{
    int highest = 0;
    FD_ZERO(readable);
    for (int i = 0; i < count; i++) {
        FD_SET(clients[i], readable);
        highest = clients[i] > highest ? clients[i] : highest;
    }
    SYS(select(highest + 1, readable, NULL, NULL, NULL));
}

static void serve(int expected)
{
    uint16_t port;
    int listener = tcp_listen(CLIENTS_MAX, &port);
    while (count < expected)
        clients[count++] = tcp_accept(listener);
    while (count > 0) {
        fd_set readable;
        wait_for_clients(&readable);
        for (int i = count - 1; i >= 0; i--) { /* what moves into a hole has been looked at */
            char line[LINE];
            if (!FD_ISSET(clients[i], &readable))
                continue;
            ssize_t got = SYS(recv(clients[i], line, LINE, MSG_WAITALL));
            if (got == LINE) {
                pass_on(line);
                continue;
            }
            CHECK(got == 0, "a line was cut off");
            SYS(close(clients[i]));
            clients[i] = clients[--count];
        }
    }
}

static void chat(uint16_t port, int lines, int expected, const char *text)
{
    int fd = tcp_connect(port);
    for (int sent = 0, seen = 0; seen < expected; progress()) {
        char line[LINE] = "";
        fd_set readable, writable;
        FD_ZERO(&readable);
        FD_ZERO(&writable);
        FD_SET(fd, &readable);
        if (sent < lines)
            FD_SET(fd, &writable);
        SYS(select(fd + 1, &readable, &writable, NULL, NULL));
        if (FD_ISSET(fd, &readable)) {
            CHECK(SYS(recv(fd, line, LINE, MSG_WAITALL)) == LINE, "cut off");
            printf("%.*s\n", LINE, line);
            seen++;
        }
        if (FD_ISSET(fd, &writable)) {
            snprintf(line, LINE, "%s %d", text, ++sent);
            CHECK(SYS(send(fd, line, LINE, 0)) == LINE, "a short write on a blocking socket");
        }
    }
    SYS(close(fd));
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc == 3 && strcmp(argv[1], "server") == 0)
        serve(atoi(argv[2]));
    else if (argc == 6 && strcmp(argv[1], "client") == 0)
        chat((uint16_t)atoi(argv[2]), atoi(argv[3]), atoi(argv[4]), argv[5]);
    else
        die("usage: select_chat server N | client PORT LINES EXPECTED TEXT");
    return 0;
}
