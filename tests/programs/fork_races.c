/* Forks in odd moments: from several threads at once, while another thread closes connections, and the quiet after a
 * connect that was refused. fork_races together|closing|refused */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static struct sockaddr_in at;
static int listener;
static atomic_bool enough;

static void must(int ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static void listen_anywhere(void)
{
    socklen_t len = sizeof at;
    at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(bind(listener, (struct sockaddr *)&at, len) == 0 && listen(listener, 16) == 0, "listen");
    must(getsockname(listener, (struct sockaddr *)&at, &len) == 0, "getsockname");
}

static void make_pair(int *a, int *b)
{
    *a = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(connect(*a, (struct sockaddr *)&at, sizeof at) == 0, "connect");
    *b = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    must(*b >= 0, "accept");
}

/* The child closes all that it has; alarm ends one that hangs, and so fails the test. */
static void fork_once(void)
{
    int status = 0;
    pid_t pid = fork();
    must(pid >= 0, "fork");
    if (pid == 0) {
        alarm(60);
        for (int fd = 3; fd < 64; fd++)
            close(fd);
        _exit(0);
    }
    must(waitpid(pid, &status, 0) == pid, "waitpid");
    must(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a child hung");
}

static void *fork_often(void *arg)
{
    for (int i = 0; i < 50; i++)
        fork_once();
    return arg;
}

static void *abort_connections(void *arg)
{
    struct linger now = {1, 0};
    while (!enough) {
        int a, b;
        make_pair(&a, &b);
        setsockopt(a, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        setsockopt(b, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        close(a);
        close(b);
    }
    return arg;
}

/* A pair whose handshake is over. */
static void make_open_pair(int *a, int *b)
{
    char c;
    make_pair(a, b);
    must(write(*a, "x", 1) == 1 && read(*b, &c, 1) == 1, "first byte");
}

static void forks_together(void)
{
    pthread_t threads[4];
    int a, b;
    char c;
    make_open_pair(&a, &b);
    for (int i = 0; i < 4; i++)
        must(pthread_create(&threads[i], NULL, fork_often, NULL) == 0, "thread");
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    must(write(b, "y", 1) == 1 && read(a, &c, 1) == 1, "last byte");
}

static void forks_while_closing(void)
{
    pthread_t thread;
    int a, b;
    make_open_pair(&a, &b);
    must(pthread_create(&thread, NULL, abort_connections, NULL) == 0, "thread");
    fork_often(NULL);
    enough = 1;
    pthread_join(thread, NULL);
}

/* Nothing is left to do for it: a second of waiting must cost next to no processor time. */
static void refused_connect_is_quiet(void)
{
    struct rusage before, after;
    int a, b;
    make_open_pair(&a, &b);
    close(b);
    close(a);
    close(listener);
    int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    must(connect(s, (struct sockaddr *)&at, sizeof at) < 0, "a connect to nobody succeeded");
    poll(NULL, 0, 1000);
    getrusage(RUSAGE_SELF, &before);
    poll(NULL, 0, 1000);
    getrusage(RUSAGE_SELF, &after);
    long us =
        (after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec - before.ru_stime.tv_sec) * 1000000L +
        after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec - before.ru_stime.tv_usec;
    must(us < 200000, "the processor is busy after a refused connect");
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    alarm(120);
    listen_anywhere();
    if (strcmp(mode, "together") == 0)
        forks_together();
    else if (strcmp(mode, "closing") == 0)
        forks_while_closing();
    else if (strcmp(mode, "refused") == 0)
        refused_connect_is_quiet();
    else
        return 2;
    return 0;
}
