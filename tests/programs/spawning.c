/* spawning MODE: a connection given to cat, or another program that copies its input to its output, by one of the ways
 * that C programs have to start programs. What comes back must be what was sent, and then the end of the stream. */
#include "common.h"

#include <sched.h>
#include <spawn.h>
#include <sys/syscall.h>

extern char **environ;

static int end[2];
static const char *program = "/bin/cat";

static void become_cat(const char *how)
{
    char *argv[] = {"cat", NULL};
    dup2(end[1], 0);
    dup2(end[1], 1);
    close(end[0]);
    close(end[1]);
    if (strcmp(how, "execvp") == 0)
        execvp("cat", argv);
    else if (strcmp(how, "execl") == 0)
        execl("/bin/cat", "cat", (char *)NULL);
    else if (strcmp(how, "execle") == 0)
        execle("/bin/cat", "cat", (char *)NULL, environ);
    else if (strcmp(how, "fexecve") == 0)
        fexecve(open("/bin/cat", O_RDONLY | O_CLOEXEC), argv, environ);
    else if (strcmp(how, "execveat") == 0)
        execveat(open("/bin", O_PATH | O_DIRECTORY | O_CLOEXEC), "cat", argv, environ, 0);
    else if (strcmp(how, "execveat-path") == 0)
        execveat(open("/bin/cat", O_PATH | O_CLOEXEC), "", argv, environ, AT_EMPTY_PATH);
    else
        execve(program, argv, environ);
    _exit(127);
}

static int clone_child(void *how)
{
    become_cat(how);
    return 1;
}

static pid_t by_clone(int flags)
{
    static char stack[64 * KIB] __attribute__((aligned(16)));
    return clone(clone_child, stack + sizeof stack, flags | SIGCHLD, "execve");
}

static pid_t by_spawn(void)
{
    pid_t pid = -1;
    char *argv[] = {"cat", NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none;
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, end[1], 0);
    posix_spawn_file_actions_adddup2(&actions, 0, 1);
    posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigmask(&attr, &none);
    errno = posix_spawnp(&pid, "cat", &actions, &attr, argv, environ);
    CHECK(errno == 0, "posix_spawnp: %s", strerror(errno));
    CHECK(getpgid(pid) == pid, "no process group of its own");
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    return pid;
}

static pid_t start(const char *mode)
{
    pid_t pid = -1;
    if (strcmp(mode, "vfork") == 0 && (pid = vfork()) == 0)
        become_cat("execve");
    else if (strcmp(mode, "clone-vfork") == 0)
        pid = by_clone(CLONE_VM | CLONE_VFORK);
    else if (strcmp(mode, "clone") == 0)
        pid = by_clone(0);
    else if (strcmp(mode, "spawn") == 0)
        pid = by_spawn();
    else if (pid < 0 && (pid = fork()) == 0)
        become_cat(mode);
    return (pid_t)SYS(pid);
}

static void talk(void)
{
    char text[6] = "";
    CHECK(write(end[0], "hello", 5) == 5 && read(end[1], text, 5) == 5 && strcmp(text, "hello") == 0, "there");
    CHECK(write(end[1], "world", 5) == 5 && read(end[0], text, 5) == 5 && strcmp(text, "world") == 0, "and back");
}

static void through_cat(const char *mode)
{
    enum { SIZE = 50000 };
    static char out[SIZE], in[SIZE];
    int status = 0;
    pid_t pid = start(mode);
    close(end[1]);
    memset(out, 'x', sizeof out);
    CHECK(write(end[0], out, sizeof out) == SIZE, "write");
    CHECK(recv(end[0], in, sizeof in, MSG_WAITALL) == SIZE && memcmp(in, out, SIZE) == 0, "what came back");
    SYS(shutdown(end[0], SHUT_WR));
    CHECK(read(end[0], in, 1) == 0, "no end of the stream: %s", strerror(errno));
    SYS(waitpid(pid, &status, 0));
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "cat ended with %x", (unsigned)status);
}

/* popen's shell has the connection by inheritance. */
static void through_popen(void)
{
    char command[60], text[8] = "";
    snprintf(command, sizeof command, "echo piped; echo more | cat >&%d", end[1]);
    FILE *stream = popen(command, "r");
    CHECK(stream && fgets(text, sizeof text, stream) && strcmp(text, "piped\n") == 0, "popen: %s", text);
    CHECK(pclose(stream) == 0, "pclose");
    CHECK(recv(end[0], text, 5, MSG_WAITALL) == 5 && memcmp(text, "more\n", 5) == 0, "from the shell");
    snprintf(command, sizeof command, "cat >&%d; exit 7", end[1]);
    stream = popen(command, "we");
    CHECK(stream && fputs("input", stream) > 0, "popen to write");
    int status = pclose(stream);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7, "pclose: %x", (unsigned)status);
    CHECK(recv(end[0], text, 5, MSG_WAITALL) == 5 && memcmp(text, "input", 5) == 0, "through the shell");
    CHECK(popen("true", "q") == NULL && errno == EINVAL, "popen with a wrong mode");
}

/* A vfork child that only changes its own descriptors, and one whose exec fails: the parent's are as they were. */
static void harmless_vforks(void)
{
    for (int i = 0; i < 2; i++) {
        pid_t pid = vfork();
        if (pid == 0) {
            dup2(end[1], 0);
            close(end[0]);
            if (i)
                execl("/nonexistent", "x", (char *)NULL);
            _exit(3);
        }
        int status = 0;
        SYS(waitpid(SYS(pid), &status, 0));
        CHECK(WEXITSTATUS(status) == 3, "vfork child ended with %x", (unsigned)status);
        talk();
    }
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "execve";
    if (argc > 2)
        program = argv[2];
    watchdog_start();
    tcp_pair(end);
    talk();
    if (strcmp(mode, "popen") == 0)
        through_popen();
    else if (strcmp(mode, "vfork-harmless") == 0)
        harmless_vforks();
    else
        through_cat(mode);
    return 0;
}
