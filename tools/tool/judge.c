#include "judge.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Starts the launcher with its standard error in a pipe; -1: it cannot be started. */
static pid_t start_judge(const char *launcher, const char *name, int *from)
{
    int ends[2];

    if (pipe(ends) != 0)
        return -1;
    fflush(stdout);
    const pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execl(launcher, launcher, "judge", name, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    *from = ends[0];
    if (pid < 0)
        close(ends[0]);
    return pid;
}

static void read_all(int fd, char *out, size_t room)
{
    size_t len = 0;
    ssize_t n;

    while (len + 1 < room && (n = read(fd, out + len, room - 1 - len)) > 0)
        len += (size_t)n;
    while (len && out[len - 1] == '\n')
        len--;
    out[len] = '\0';
    close(fd);
}

bool judge(const char *name, char *said, size_t room)
{
    const char *launcher = getenv("P2PTLS_LAUNCHER");
    char text[JUDGED_MAX] = "";
    int from = -1, status = 0;

    if (!launcher) {
        snprintf(said, room, "%s: nobody can judge it without the launcher: run p2ptls doctor", name);
        return false;
    }
    const pid_t pid = start_judge(launcher, name, &from);
    if (pid < 0) {
        snprintf(said, room, "%s: the launcher cannot be started: %s", name, strerror(errno));
        return false;
    }
    read_all(from, text, sizeof text);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    snprintf(said, room, "%s", strncmp(text, "p2ptls: ", 8) == 0 ? text + 8 : text);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
