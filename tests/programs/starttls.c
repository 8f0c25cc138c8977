/* A small symmetric protocol that begins in clear and goes on in TLS, by p2ptls.h alone: nothing is linked.
 *
 * usage: starttls listen|dial PORT [OPTIONS]
 *
 * Both sides say "HELLO" in clear, read the other's, start TLS, say one line more and read the other's. What the
 * library knows of the connection is printed, and an exporter value, which must be the same on both sides. listen: port
 * 0 lets the kernel choose; the port is printed. Exit status 3: TLS was not there, or was refused. */
#include "common.h"

#include "../../preload/p2ptls.h"

enum { VALUE = 32, LINE = 200 };

static int open_listener(uint16_t port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int listener = (int)SYS(socket(AF_INET, SOCK_STREAM, 0));
    SYS(bind(listener, (struct sockaddr *)&at, sizeof at));
    SYS(listen(listener, 1));
    SYS(getsockname(listener, (struct sockaddr *)&at, &len));
    printf("port %u\n", ntohs(at.sin_port));
    fflush(stdout);
    return (int)SYS(accept(listener, NULL, NULL));
}

static int dial(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = (int)SYS(socket(AF_INET, SOCK_STREAM, 0));
    SYS(connect(fd, (struct sockaddr *)&to, sizeof to));
    return fd;
}

static void refused(const char *what)
{
    printf("%s: %s\n", what, strerror(errno));
    fflush(stdout);
    _exit(3);
}

static void say(int fd, const char *line)
{
    if (send(fd, line, strlen(line), MSG_NOSIGNAL) != (ssize_t)strlen(line))
        refused("send");
}

/* Byte by byte: not one of those behind the line, which belong to TLS. */
static void hear(int fd, char line[LINE])
{
    size_t n = 0;
    while (n == 0 || line[n - 1] != '\n') {
        ssize_t got = recv(fd, line + n, 1, 0);
        if (got != 1)
            refused("recv");
        n++;
        CHECK(n < LINE, "a line without an end");
    }
    line[n - 1] = 0;
}

static void show_text(int fd, const char *what, int name)
{
    char text[256];
    socklen_t len = sizeof text;
    SYS(getsockopt(fd, SOL_P2PTLS, name, text, &len));
    printf("%s %.*s\n", what, (int)len, text);
}

static void show_exporter(int fd)
{
    static const char label[] = "EXPORTER-starttls-example\0with a context";
    uint8_t value[VALUE];
    socklen_t len = sizeof value;
    SYS(setsockopt(fd, SOL_P2PTLS, P2PTLS_EXPORTER_LABEL, label, sizeof label - 1));
    SYS(getsockopt(fd, SOL_P2PTLS, P2PTLS_EXPORTER, value, &len));
    printf("exporter ");
    for (size_t i = 0; i < len; i++)
        printf("%02x", value[i]);
    printf("\n");
}

static int state_of(int fd)
{
    int state = -1;
    socklen_t len = sizeof state;
    if (getsockopt(fd, SOL_P2PTLS, P2PTLS_STATE, &state, &len) != 0)
        return -1; /* no library */
    return state;
}

int main(int argc, char **argv)
{
    char line[LINE], how[4096];
    CHECK(argc >= 3, "usage: starttls listen|dial PORT [OPTIONS]");
    bool dials = strcmp(argv[1], "dial") == 0;
    int fd = dials ? dial((uint16_t)atoi(argv[2])) : open_listener((uint16_t)atoi(argv[2]));
    say(fd, "HELLO in clear\n");
    hear(fd, line);
    printf("heard %s\n", line);
    CHECK(state_of(fd) <= 0, "protected before STARTTLS");
    int len = snprintf(how, sizeof how, "%s %s", dials ? "connect" : "accept", argc > 3 ? argv[3] : "");
    if (setsockopt(fd, SOL_P2PTLS, P2PTLS_STARTTLS, how, (socklen_t)len) != 0)
        refused("P2PTLS_STARTTLS");
    CHECK(setsockopt(fd, SOL_P2PTLS, P2PTLS_STARTTLS, how, (socklen_t)len) == -1 && errno == EALREADY,
          "a second STARTTLS was not refused");
    say(fd, dials ? "SECRET of the dialling side\n" : "SECRET of the listening side\n");
    hear(fd, line);
    printf("heard %s\n", line);
    CHECK(state_of(fd) == 2, "not protected");
    show_text(fd, "role", P2PTLS_ROLE);
    show_text(fd, "cipher", P2PTLS_CIPHER);
    show_text(fd, "peer", P2PTLS_PEER);
    show_exporter(fd);
    SYS(shutdown(fd, SHUT_WR));
    CHECK(recv(fd, line, 1, 0) == 0, "the stream did not end in order");
    return 0;
}
