/* posix_spawn, system, popen: libc's own exec inside them goes past the hooks. Where something protected could get into
 * the new program, the same is done by fork and the exec that is hooked; otherwise libc does it. */
#define LOG_CATEGORY LOG_CATEGORY_PROGRAM

#include "exec_image.h"
#include "exec_plan.h"
#include "handover.h"
#include "spawn_actions.h"
#include "state.h"

#include "sys.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

static bool by_ourselves(const posix_spawn_file_actions_t *actions)
{
    if (!policy || thread.in_vfork_child || !handover_matters())
        return false;
    return exec_plan_needed() || (actions && (!spawn_actions_known() || spawn_actions_copy(actions)));
}

static int set_scheduling(const posix_spawnattr_t *attr, short flags)
{
    struct sched_param param;
    int how;
    posix_spawnattr_getschedparam(attr, &param);
    posix_spawnattr_getschedpolicy(attr, &how);
    if (flags & POSIX_SPAWN_SETSCHEDULER)
        return sched_setscheduler(0, how, &param) < 0 ? errno : 0;
    if (flags & POSIX_SPAWN_SETSCHEDPARAM)
        return sched_setparam(0, &param) < 0 ? errno : 0;
    return 0;
}

static void set_default_signals(const posix_spawnattr_t *attr)
{
    sigset_t set;
    posix_spawnattr_getsigdefault(attr, &set);
    for (int signo = 1; signo < NSIG; signo++)
        if (sigismember(&set, signo) == 1)
            signal(signo, SIG_DFL);
}

/* In the order of posix_spawn(3): attributes, then file actions. */
static int set_attributes(const posix_spawnattr_t *attr, short flags)
{
    pid_t group;
    if (flags & POSIX_SPAWN_SETSIGDEF)
        set_default_signals(attr);
    int error = set_scheduling(attr, flags);
    if (error)
        return error;
    if ((flags & POSIX_SPAWN_SETSID) && setsid() < 0)
        return errno;
    if (flags & POSIX_SPAWN_SETPGROUP) {
        posix_spawnattr_getpgroup(attr, &group);
        if (setpgid(0, group) != 0)
            return errno;
    }
    if ((flags & POSIX_SPAWN_RESETIDS) && (setegid(getgid()) != 0 || seteuid(getuid()) != 0))
        return errno;
    return 0;
}

struct spawning {
    const char *file;
    bool search;
    const posix_spawn_file_actions_t *actions;
    const posix_spawnattr_t *attr;
    char *const *argv;
    char *const *envp;
    sigset_t mask; /* of the caller */
    int report;    /* the child tells here why there is no new program; close-on-exec says that there is one */
};

static void spawn_child(const struct spawning *s) __attribute__((noreturn));
static void spawn_child(const struct spawning *s)
{
    short flags = 0;
    sigset_t mask = s->mask;
    if (s->attr)
        posix_spawnattr_getflags(s->attr, &flags);
    int error = s->attr ? set_attributes(s->attr, flags) : 0;
    if (!error)
        error = spawn_actions_run(s->actions);
    if (flags & POSIX_SPAWN_SETSIGMASK)
        posix_spawnattr_getsigmask(s->attr, &mask);
    if (!error) {
        sigprocmask(SIG_SETMASK, &mask, NULL);
        error = (s->search ? execvpe(s->file, s->argv, s->envp) : execve(s->file, s->argv, s->envp)) < 0 ? errno : 0;
    }
    sys3(SYS_write, (long)s->report, &error, (long)sizeof error);
    _exit(127);
}

static int wait_for_report(int fd)
{
    int error = 0;
    long n;
    while ((n = sys3(SYS_read, (long)fd, &error, (long)sizeof error)) == -EINTR)
        ;
    return n == (long)sizeof error ? error : 0;
}

static int spawn(pid_t *pid, struct spawning *s)
{
    int ends[2], report = -1;
    sigset_t all;
    if (s->actions && !spawn_actions_known()) {
        log_event(LOG_LEVEL_ERROR, "posix_spawn of %s refused: this libc's file actions are not known", s->file);
        return EOPNOTSUPP;
    }
    if (sys2(SYS_pipe2, ends, (long)O_CLOEXEC) != 0)
        return EMFILE;
    report = hide_descriptor_number(ends[1]); /* where no file action puts anything */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &s->mask);
    pid_t child = report < 0 ? -1 : fork();
    int error = child < 0 ? errno : 0;
    if (child == 0) {
        s->report = report;
        spawn_child(s);
    }
    if (report >= 0)
        hidden_close(report);
    if (child > 0 && (error = wait_for_report(ends[0])) != 0)
        waitpid(child, NULL, 0);
    sys1(SYS_close, (long)ends[0]);
    pthread_sigmask(SIG_SETMASK, &s->mask, NULL);
    if (!error && pid)
        *pid = child;
    return error;
}

typedef int (*libc_spawn)(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                          const posix_spawnattr_t *attr, char *const argv[], char *const envp[]);

/* No cancellation point, as posix_spawn(3) is none: not here, and not in the child, which inherits what is pending. */
static int spawn_by(pid_t *pid, struct spawning *s, const char *what, libc_spawn libc)
{
    int saved = errno, state, error;
    if (!policy || thread.in_vfork_child)
        return libc(pid, s->file, s->actions, s->attr, s->argv, s->envp);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    if (by_ourselves(s->actions)) {
        error = spawn(pid, s);
        errno = saved;
    } else {
        exec_image_tell_of_loss(what, s->file, s->search, s->envp);
        error = libc(pid, s->file, s->actions, s->attr, s->argv, s->envp);
    }
    pthread_setcancelstate(state, NULL);
    return error;
}

HOOK int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                     const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
    struct spawning s = {.file = path, .actions = actions, .attr = attr, .argv = argv, .envp = envp};
    return spawn_by(pid, &s, "posix_spawn", real()->posix_spawn);
}

HOOK int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                      const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
    struct spawning s = {.file = file, .search = true, .actions = actions, .attr = attr, .argv = argv, .envp = envp};
    return spawn_by(pid, &s, "posix_spawnp", real()->posix_spawnp);
}

static int wait_for(pid_t pid)
{
    int status = -1;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return status;
}

/* What system(3) changes in the caller while the shell runs. */
struct shell {
    pid_t pid;
    int status, cancel_state;
    struct sigaction interrupt, quit;
    sigset_t mask;
};

static void shell_over(const struct shell *s)
{
    sigaction(SIGINT, &s->interrupt, NULL);
    sigaction(SIGQUIT, &s->quit, NULL);
    pthread_sigmask(SIG_SETMASK, &s->mask, NULL);
}

/* As in glibc, nothing of a cancelled call stays. */
static void shell_cancelled(void *arg)
{
    struct shell *s = arg;
    kill(s->pid, SIGKILL);
    (void)wait_for(s->pid);
    shell_over(s);
}

static void await_shell(struct shell *s)
{
    pthread_cleanup_push(shell_cancelled, s);
    pthread_setcancelstate(s->cancel_state, NULL);
    s->status = wait_for(s->pid);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    pthread_cleanup_pop(0);
}

/* The caller ignores SIGINT and SIGQUIT and blocks SIGCHLD meanwhile. It waits in a cancellation point, and has none
 * before. */
static int shell(const char *command)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct shell s = {.status = -1};
    sigset_t child_signal;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &s.cancel_state);
    sigemptyset(&child_signal);
    sigaddset(&child_signal, SIGCHLD);
    sigaction(SIGINT, &ignore, &s.interrupt);
    sigaction(SIGQUIT, &ignore, &s.quit);
    pthread_sigmask(SIG_BLOCK, &child_signal, &s.mask);
    s.pid = fork();
    if (s.pid == 0) {
        shell_over(&s);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    if (s.pid > 0)
        await_shell(&s);
    shell_over(&s);
    pthread_setcancelstate(s.cancel_state, NULL);
    return s.status;
}

HOOK int system(const char *command)
{
    return command && by_ourselves(NULL) ? shell(command) : real()->system(command);
}

/* popen's streams, so that pclose finds their processes, and later children do not get them (popen(3)). A program that
 * ends one by fclose leaves its entry behind: so the stream is not used, and its descriptor only if it is that pipe. */
struct pipe_stream {
    struct pipe_stream *next;
    FILE *stream;
    pid_t pid; /* 0: libc made it */
    int fd;
    ino_t pipe;
};
static struct pipe_stream *pipe_streams;
static pthread_mutex_t pipe_streams_lock = PTHREAD_MUTEX_INITIALIZER;

static ino_t pipe_of(int fd)
{
    struct stat s;
    return fstat(fd, &s) == 0 && S_ISFIFO(s.st_mode) ? s.st_ino : 0;
}

static void run_piped(const char *command, int end, int onto) __attribute__((noreturn));
static void run_piped(const char *command, int end, int onto)
{
    for (struct pipe_stream *p = pipe_streams; p; p = p->next)
        if (pipe_of(p->fd) == p->pipe)
            close(p->fd);
    if (end != onto) {
        dup2(end, onto);
        close(end);
    } else {
        fcntl(end, F_SETFD, 0);
    }
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

static FILE *start_piped(struct pipe_stream *p, const char *command, bool reads, bool close_on_exec)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return NULL;
    int ours = ends[!reads], theirs = ends[reads];
    p->stream = fdopen(ours, reads ? "r" : "w");
    p->pid = p->stream ? fork() : -1;
    if (p->pid == 0)
        run_piped(command, theirs, reads ? STDOUT_FILENO : STDIN_FILENO);
    int saved = errno;
    close(theirs);
    if (p->pid > 0) {
        if (!close_on_exec)
            fcntl(ours, F_SETFD, 0);
        return p->stream;
    }
    if (p->stream)
        fclose(p->stream);
    else
        close(ours);
    errno = saved;
    return NULL;
}

/* A child of libc's closes libc's streams alone. */
static bool libc_closes_all(void)
{
    const struct pipe_stream *p = pipe_streams;
    while (p && !p->pid)
        p = p->next;
    return !p;
}

static FILE *start_listed(const char *command, const char *mode, bool reads, bool close_on_exec, bool with_libc)
{
    struct pipe_stream *p = malloc(sizeof *p);
    FILE *stream = NULL;
    pthread_mutex_lock(&pipe_streams_lock);
    with_libc = with_libc && libc_closes_all();
    if (p)
        stream = with_libc ? real()->popen(command, mode) : start_piped(p, command, reads, close_on_exec);
    if (stream) {
        if (with_libc)
            *p = (struct pipe_stream){.stream = stream};
        p->fd = fileno(stream);
        p->pipe = pipe_of(p->fd);
        p->next = pipe_streams;
        pipe_streams = p;
    }
    pthread_mutex_unlock(&pipe_streams_lock);
    if (!stream)
        free(p);
    return stream;
}

/* A thread that is cancelled in here would take the lock with it. */
static FILE *piped_shell(const char *command, const char *mode, bool with_libc)
{
    bool reads = false, writes = false, close_on_exec = false;
    for (const char *m = mode; *m; m++) {
        reads |= *m == 'r';
        writes |= *m == 'w';
        close_on_exec |= *m == 'e';
        if (*m != 'r' && *m != 'w' && *m != 'e')
            return errno = EINVAL, NULL;
    }
    if (reads == writes)
        return errno = EINVAL, NULL;
    int state;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    FILE *stream = start_listed(command, mode, reads, close_on_exec, with_libc);
    pthread_setcancelstate(state, NULL);
    return stream;
}

HOOK FILE *popen(const char *command, const char *mode)
{
    return policy ? piped_shell(command, mode, !by_ourselves(NULL)) : real()->popen(command, mode);
}

HOOK int pclose(FILE *stream)
{
    struct pipe_stream **at = &pipe_streams, *p;
    int state, status;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state); /* as in libc */
    pthread_mutex_lock(&pipe_streams_lock);
    while (*at && (*at)->stream != stream)
        at = &(*at)->next;
    if ((p = *at))
        *at = p->next;
    pthread_mutex_unlock(&pipe_streams_lock);
    pid_t pid = p ? p->pid : 0;
    free(p);
    if (pid) {
        fclose(stream);
        status = wait_for(pid);
    } else {
        status = real()->pclose(stream);
    }
    pthread_setcancelstate(state, NULL);
    return status;
}
