/* Numbers that a library in front of libc could lose sight of, each then connected or listened on where a policy may
 * select: copies that were made while the socket was something else, numbers above a limit that is raised later, a bind
 * by Linux's oldest form of address.
 *
 *     again copies PORT OTHER-PORT   nobody listens on OTHER-PORT: an attempt there fails, then PORT is dialled
 *     again raised PORT              starts under a hard limit of descriptors that it then raises (needs the right to)
 *     again listen                   binds by AF_UNSPEC, prints "port N", and echoes one connection */
#include "common.h"

#include <sys/resource.h>

static void say(int fd, const char *text)
{
    ssize_t n = write(fd, text, strlen(text));
    if (n < 0)
        printf("%s\n", strerror(errno));
    else
        printf("wrote %zd\n", n);
    fflush(stdout);
}

static void dial(int fd, uint16_t port)
{
    struct sockaddr_in to = loopback(port);
    int r = connect(fd, (struct sockaddr *)&to, sizeof(to));
    if (r != 0 && errno == ECONNABORTED) /* of the attempt before, which Linux tells here */
        r = connect(fd, (struct sockaddr *)&to, sizeof(to));
    if (r != 0)
        printf("connect: %s\n", strerror(errno));
}

static void answer(int fd)
{
    char got[100] = "";
    ssize_t n = read(fd, got, sizeof(got) - 1);
    printf("%s\n", n < 0 ? strerror(errno) : n == 0 ? "end" : got);
    fflush(stdout);
}

static void try_copy(uint16_t port, uint16_t other, bool disconnect)
{
    int fd = tcp_socket();
    struct sockaddr_in nobody = loopback(other);
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    set_nonblocking(fd);
    int r = connect(fd, (struct sockaddr *)&nobody, sizeof(nobody));
    CHECK(r < 0 && (errno == EINPROGRESS || errno == ECONNREFUSED), "an attempt at a closed port: %s", strerror(errno));
    int copy = (int)SYS(dup(fd));
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    SYS(poll(&p, 1, -1));
    int error = 0;
    socklen_t len = sizeof(error);
    SYS(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len));
    if (disconnect)
        SYS(connect(fd, &none, sizeof(none)));
    SYS(fcntl(fd, F_SETFL, 0));
    dial(fd, port);
    say(copy, "SECRET\n");
    answer(fd);
    SYS(close(copy));
    SYS(close(fd));
}

static void try_raised(uint16_t port)
{
    enum { LOW = 64, HIGH = 4096, NUMBER = 1000 };
    struct rlimit limit = {HIGH, HIGH};
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max == LOW, "not started under a limit of %d", LOW);
    limit.rlim_cur = limit.rlim_max = HIGH;
    SYS(setrlimit(RLIMIT_NOFILE, &limit));
    int fd = tcp_socket();
    dial(fd, port);
    SYS(dup2(fd, NUMBER));
    say(NUMBER, "SECRET\n");
    answer(NUMBER);
    SYS(close(NUMBER));
    SYS(close(fd));
}

static void serve(void)
{
    struct sockaddr_in at = {.sin_family = AF_UNSPEC}, is;
    socklen_t len = sizeof(is);
    int fd = tcp_socket();
    SYS(bind(fd, (struct sockaddr *)&at, sizeof(at))); /* ip(7) does not tell; inet_bind takes it for INADDR_ANY */
    SYS(listen(fd, 1));
    SYS(getsockname(fd, (struct sockaddr *)&is, &len));
    printf("port %d\n", ntohs(is.sin_port));
    fflush(stdout);
    int got = (int)SYS(accept(fd, NULL, NULL));
    answer(got);
    SYS(close(got));
}

int main(int argc, char **argv)
{
    watchdog_start();
    if (argc == 4 && !strcmp(argv[1], "copies")) {
        try_copy((uint16_t)atoi(argv[2]), (uint16_t)atoi(argv[3]), false);
        try_copy((uint16_t)atoi(argv[2]), (uint16_t)atoi(argv[3]), true);
    } else if (argc == 3 && !strcmp(argv[1], "raised")) {
        try_raised((uint16_t)atoi(argv[2]));
    } else {
        CHECK(argc == 2 && !strcmp(argv[1], "listen"), "usage");
        serve();
    }
    return 0;
}
