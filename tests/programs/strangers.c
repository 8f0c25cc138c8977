/* strangers CASE: what a server owes to peers who never say a word of TLS, with nothing written.
 *
 *   descriptors   a server that has no descriptor left closes connections: no call waits for the peers
 *   many          a server closes 200 connections at once: they hold few of its descriptors

 *
 * The strangers are a child without the library. Prints the milliseconds that the slowest close has taken. */
#include "common.h"

#include <sys/prctl.h>
#include <sys/resource.h>

enum { FEW = 4, MANY = 200, SPARE = 100 };

static double slowest;

static void timed_close(int fd)
{
    double began = now_seconds();
    SYS(close(fd));
    double took = now_seconds() - began;
    slowest = took > slowest ? took : slowest;
}

static pid_t strangers(uint16_t port, int count)
{
    char code[300];
    snprintf(code, sizeof code,
             "import socket,signal\ns = [socket.create_connection(('127.0.0.1', %u)) for _ in range(%d)]\n"
             "signal.pause()",
             port, count);
    pid_t pid = fork_child();
    if (pid)
        return pid;
    SYS(prctl(PR_SET_PDEATHSIG, SIGKILL));
    unsetenv("LD_PRELOAD");
    execl("/usr/bin/python3", "python3", "-c", code, NULL);
    _exit(127);
}

static void limit_descriptors(rlim_t limit)
{
    struct rlimit r;
    SYS(getrlimit(RLIMIT_NOFILE, &r));
    r.rlim_cur = limit;
    SYS(setrlimit(RLIMIT_NOFILE, &r));
}

static void server(int count, bool exhausted)
{
    uint16_t port;
    int listener = tcp_listen(MANY, &port), accepted[MANY];
    pid_t pid = strangers(port, count);
    for (int i = 0; i < count; i++)
        accepted[i] = SYS(accept(listener, NULL, NULL));
    if (exhausted)
        limit_descriptors((rlim_t)accepted[count - 1] + 1);
    else
        limit_descriptors((rlim_t)accepted[count - 1] + SPARE);
    for (int i = 0; i < count; i++)
        timed_close(accepted[i]);
    if (!exhausted) { /* as many as before can be had again */
        int again[MANY];
        for (int i = 0; i < count; i++)
            again[i] = SYS(dup(0));
        for (int i = 0; i < count; i++)
            close(again[i]);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2, "usage: strangers descriptors|many");
    if (!strcmp(argv[1], "descriptors"))
        server(FEW, true);
    else
        server(MANY, false);
    printf("%d\n", (int)(slowest * 1000));
    return 0;
}
