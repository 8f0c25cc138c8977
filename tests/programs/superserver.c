/* An inetd for one connection: accepts it, puts it on 0 and 1, and on 2 as well if asked, and starts a program on it;
 * ends as that one does.
 *
 *   superserver 2|3 COMMAND [ARGS]... */
#include "common.h"

int main(int argc, char **argv)
{
    uint16_t port;
    int status;
    CHECK(argc > 2, "usage: superserver 2|3 COMMAND [ARGS]...");
    watchdog_start();
    int listener = tcp_listen(1, &port), fd = tcp_accept(listener);
    pid_t pid = (pid_t)SYS(fork());
    if (pid == 0) {
        for (int number = 0; number < (argv[1][0] == '3' ? 3 : 2); number++)
            SYS(dup2(fd, number));
        SYS(close(fd));
        execvp(argv[2], argv + 2);
        die_at(errno, "exec of %s", argv[2]);
    }
    SYS(close(fd));
    SYS(waitpid(pid, &status, 0));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
