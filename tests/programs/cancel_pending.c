/* cancel_pending: a cancellation that is pending when a call begins. Calls that are cancellation points (pthreads(7))
 * act on it before they do anything; those that are none do their work first. Nothing that others need goes with the
 * thread: locks, connections, how signals are handled. */
#include "common.h"

#include <spawn.h>
#include <sys/epoll.h>

extern char **environ;

static int end[2];
static struct sockaddr_in to;
static atomic_bool passed; /* the call came back */

/* The thread is cancelled: in its call if that is a point, else behind it. */
static void cancelled_in(void *(*body)(void *), bool is_point, const char *what)
{
    void *result;
    passed = false;
    pthread_t thread = thread_start(body, NULL);
    CHECK(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED, "%s: not cancelled", what);
    CHECK(passed == !is_point, "%s: %s", what, passed ? "was no cancellation point" : "was cancelled inside");
    progress();
}

static void *came_back(void)
{
    passed = true;
    pthread_testcancel();
    return NULL;
}

/* ---- the first of the process that keys are read for, and its first connection ---- */

static int first, listener;

/* Where the library listens for connections that it protects, it reads the keys for them now. */
static void *listens(void *unused)
{
    (void)unused;
    pthread_cancel(pthread_self());
    SYS(listen(listener, 1));
    return came_back();
}

static void *connects(void *unused)
{
    pthread_cancel(pthread_self());
    connect(first, (struct sockaddr *)&to, sizeof(to));
    return unused;
}

/* Until one of those who connect has sent a byte. */
static void answer_one(int port_pipe)
{
    uint16_t port;
    char byte;
    int fd, of_others = tcp_listen(4, &port);
    SYS(write(port_pipe, &port, sizeof(port)));
    for (;;) {
        fd = tcp_accept(of_others);
        if (read(fd, &byte, 1) == 1)
            break;
        SYS(close(fd));
    }
    write_all(fd, &byte, 1);
    expect_eof(fd);
    _exit(0);
}

static void first_connection(void)
{
    int pipe_end[2];
    uint16_t port;
    char byte = 'b';
    SYS(pipe(pipe_end));
    pid_t other = fork_child();
    if (other == 0)
        answer_one(pipe_end[1]);
    CHECK(read(pipe_end[0], &port, sizeof(port)) == sizeof(port), "the port");
    to = loopback(0);
    listener = tcp_socket();
    SYS(bind(listener, (struct sockaddr *)&to, sizeof(to)));
    cancelled_in(listens, false, "listen");
    SYS(close(listener));
    to = loopback(port);
    first = tcp_socket();
    cancelled_in(connects, true, "connect");
    SYS(close(first));
    int fd = tcp_connect(port);
    write_all(fd, &byte, 1);
    CHECK(read_full(fd, &byte, 1) == 1 && byte == 'b', "the answer");
    SYS(close(fd));
    reap(other, "who answers");
}

/* ---- bytes ---- */

static char other_byte; /* not on a stack that is unwound */

static void *writes(void *unused)
{
    (void)unused;
    pthread_cancel(pthread_self());
    (void)!write(end[0], "x", 1);
    return came_back();
}

static void *sends_a_message(void *unused)
{
    static struct iovec iov = {"x", 1};
    static struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    (void)unused;
    pthread_cancel(pthread_self());
    sendmsg(end[0], &message, MSG_DONTWAIT);
    return came_back();
}

static void *reads(void *unused)
{
    (void)unused;
    pthread_cancel(pthread_self());
    (void)!read(end[1], &other_byte, 1);
    return came_back();
}

static void *receives(void *unused)
{
    (void)unused;
    pthread_cancel(pthread_self());
    recv(end[1], &other_byte, 1, MSG_DONTWAIT);
    return came_back();
}

/* No cancellation point, whatever is begun for the connection by it. */
static void *registers(void *unused)
{
    struct epoll_event event = {.events = EPOLLIN};
    (void)unused;
    pthread_cancel(pthread_self());
    int set = epoll_create1(EPOLL_CLOEXEC);
    CHECK(set >= 0 && epoll_ctl(set, EPOLL_CTL_ADD, end[0], &event) == 0, "epoll_ctl");
    return came_back();
}

static void *polls(void *unused)
{
    static struct pollfd p;
    (void)unused;
    p = (struct pollfd){.fd = end[1], .events = POLLIN};
    pthread_cancel(pthread_self());
    poll(&p, 1, -1);
    return came_back();
}

static int set_of_reader;

static void *waits_for_events(void *unused)
{
    static struct epoll_event event;
    (void)unused;
    pthread_cancel(pthread_self());
    wait_set(set_of_reader, &event, 1, -1);
    return came_back();
}

static void register_reader(void)
{
    struct epoll_event event = {.events = EPOLLIN};
    set_of_reader = (int)SYS(epoll_create1(EPOLL_CLOEXEC));
    SYS(epoll_ctl(set_of_reader, EPOLL_CTL_ADD, end[1], &event));
}

static void bytes(void)
{
    char byte = 'b';
    tcp_pair(end);
    cancelled_in(registers, false, "epoll_ctl of a connection that has said nothing");
    cancelled_in(writes, true, "the first write");
    write_all(end[0], &byte, 1);
    CHECK(read_full(end[1], &byte, 1) == 1 && byte == 'b', "what was not written has come, too: %c", byte);
    cancelled_in(writes, true, "write");
    cancelled_in(sends_a_message, true, "sendmsg");
    byte = 'c';
    write_all(end[0], &byte, 1);
    struct pollfd p = {.fd = end[1], .events = POLLIN};
    CHECK(poll(&p, 1, -1) == 1, "poll");
    cancelled_in(polls, true, "poll");
    register_reader();
    cancelled_in(waits_for_events, true, "epoll_wait");
    cancelled_in(reads, true, "read");
    cancelled_in(receives, true, "recv");
    CHECK(read_full(end[1], &byte, 1) == 1 && byte == 'c', "the byte behind cancelled calls: %c", byte);
}

/* ---- programs: end[] goes on into them ---- */

static pid_t spawned;

static void *spawns(void *unused)
{
    static char *const argv[] = {"true", NULL};
    (void)unused;
    pthread_cancel(pthread_self());
    CHECK(posix_spawn(&spawned, "/bin/true", NULL, NULL, argv, environ) == 0, "posix_spawn");
    return came_back();
}

static void *execs_nothing(void *unused)
{
    static char *const argv[] = {"nothing", NULL};
    (void)unused;
    pthread_cancel(pthread_self());
    CHECK(execve("/nonexistent/nothing", argv, environ) < 0 && errno == ENOENT, "execve");
    return came_back();
}

static atomic_int shell_pipe[2];

static void *runs_a_shell(void *unused)
{
    char command[60];
    snprintf(command, sizeof(command), "echo $$ >/proc/self/fd/%d; exec sleep 1000", shell_pipe[1]);
    (void)!system(command);
    return unused;
}

static bool is_default(int signal_number)
{
    struct sigaction act;
    SYS(sigaction(signal_number, NULL, &act));
    return act.sa_handler == SIG_DFL;
}

/* As glibc does it: the shell is killed, and signals are handled as before. */
static void shell(void)
{
    int pipe_end[2];
    char text[20] = "";
    void *result;
    signal(SIGINT, SIG_DFL); /* who runs in the background of a shell may have inherited that they are ignored */
    signal(SIGQUIT, SIG_DFL);
    SYS(pipe(pipe_end));
    shell_pipe[0] = pipe_end[0];
    shell_pipe[1] = pipe_end[1];
    pthread_t thread = thread_start(runs_a_shell, NULL);
    CHECK(read(pipe_end[0], text, sizeof(text) - 1) > 0, "the shell's number");
    CHECK(!is_default(SIGINT), "system leaves SIGINT alone");
    pthread_cancel(thread);
    CHECK(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED, "system: not cancelled");
    CHECK(is_default(SIGINT) && is_default(SIGQUIT), "SIGINT or SIGQUIT stays ignored behind a cancelled system");
    CHECK(kill(atoi(text), 0) < 0 && errno == ESRCH, "the shell of a cancelled system lives on");
}

static FILE *stream;

static void *opens_a_pipe(void *unused)
{
    (void)unused;
    pthread_cancel(pthread_self());
    stream = popen("echo word", "r");
    return came_back();
}

static void *closes_a_pipe(void *unused)
{
    (void)unused;
    pthread_cancel(pthread_self());
    CHECK(pclose(stream) == 0, "pclose");
    return came_back();
}

static void programs(void)
{
    char line[10] = "";
    SYS(fcntl(end[0], F_SETFD, 0));
    cancelled_in(spawns, false, "posix_spawn");
    reap(spawned, "what was spawned");
    cancelled_in(execs_nothing, false, "execve");
    shell();
    cancelled_in(opens_a_pipe, false, "popen");
    CHECK(stream && fgets(line, sizeof(line), stream) && strcmp(line, "word\n") == 0, "what popen gave: %s", line);
    cancelled_in(closes_a_pipe, false, "pclose");
    CHECK((stream = popen("exit 3", "r")) && WEXITSTATUS(pclose(stream)) == 3, "popen behind all that");
}

int main(void)
{
    watchdog_start();
    first_connection();
    bytes();
    programs();
    pid_t child = fork_child(); /* waits until nobody is inside the library */
    if (child == 0)
        _exit(0);
    reap(child, "the child");
    char byte = 'd';
    write_all(end[1], &byte, 1);
    CHECK(read_full(end[0], &byte, 1) == 1 && byte == 'd', "the last byte");
    return 0;
}
