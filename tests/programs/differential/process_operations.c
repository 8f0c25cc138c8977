/* The connection in another program (fork and exec, posix_spawn, system, popen) and passed from hand to hand
 * (SCM_RIGHTS). */
#include "differential.h"

#include <spawn.h>

extern char **environ;

/* What a holder does with the number, and how it went. */
struct exchange {
    long long received, receive_error, differs, sent, send_error;
};

enum { TAKES = 50, GIVES = 10 };

static struct exchange exchange_on(int fd, const uint64_t stream[4])
{
    uint8_t bytes[TAKES];
    struct exchange x = {.differs = -1};
    errno = NO_ERRNO;
    x.received = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    x.receive_error = errno;
    if (x.received > 0)
        x.differs = stream_differs(stream[0], stream[1], bytes, (size_t)x.received);
    stream_fill(stream[2], stream[3], bytes, GIVES);
    errno = NO_ERRNO;
    x.sent = send(fd, bytes, GIVES, MSG_DONTWAIT | MSG_NOSIGNAL);
    x.send_error = errno;
    return x;
}

static void stream_of(const struct call *c, uint64_t stream[4])
{
    stream[0] = (uint64_t)c->number;
    stream[1] = c->end->received;
    stream[2] = (uint64_t)(1 - c->number);
    stream[3] = c->end->sent;
}

static void note_exchange(struct call *c, const struct exchange *x)
{
    errno = x->receive_error;
    note_result(c, "result", x->received);
    note(c, "differs at", x->differs);
    errno = x->send_error;
    note_result(c, "sent", x->sent);
    c->end->received += x->received > 0 ? (uint64_t)x->received : 0;
    c->end->sent += x->sent > 0 ? (uint64_t)x->sent : 0;
}

/* The other program is this one: differential --exchange NUMBER REPORT STREAM... */
int process_exchange(char **argv)
{
    uint64_t stream[4];
    for (int i = 0; i < 4; i++)
        stream[i] = strtoull(argv[i + 2], NULL, 0);
    struct exchange x = exchange_on(atoi(argv[0]), stream);
    return write(atoi(argv[1]), &x, sizeof(x)) == sizeof(x) ? 0 : 1;
}

enum { BY_SYSTEM = 0, BY_POPEN, BY_SPAWN, BY_FORK_AND_EXEC, BY_VFORK_AND_EXEC, SPAWN_VARIANTS };

struct command {
    char path[PATH_MAX], words[6][24], line[PATH_MAX + 300], *argv[9];
};

static void command_make(struct command *k, int fd, int report, const uint64_t stream[4])
{
    memset(k, 0, sizeof(*k));
    SYS(readlink("/proc/self/exe", k->path, sizeof(k->path) - 1));
    snprintf(k->words[0], sizeof(k->words[0]), "%d", fd);
    snprintf(k->words[1], sizeof(k->words[1]), "%d", report);
    for (int i = 0; i < 4; i++)
        snprintf(k->words[i + 2], sizeof(k->words[0]), "%llu", (unsigned long long)stream[i]);
    snprintf(k->line, sizeof(k->line), "exec '%s' --exchange %s %s %s %s %s %s", k->path, k->words[0], k->words[1],
             k->words[2], k->words[3], k->words[4], k->words[5]);
    k->argv[0] = k->path;
    k->argv[1] = "--exchange";
    for (int i = 0; i < 6; i++)
        k->argv[i + 2] = k->words[i];
}

static int exec_or_exit(struct command *k)
{
    execv(k->path, k->argv);
    _exit(127);
}

/* The status that wait(2) tells of it. */
static int command_run(struct command *k, unsigned how)
{
    int status = -1;
    pid_t pid = -1;
    FILE *f;
    switch (how) {
    case BY_SYSTEM:
        return system(k->line);
    case BY_POPEN:
        f = popen(k->line, "r");
        return f ? pclose(f) : -1;
    case BY_SPAWN:
        CHECK(posix_spawn(&pid, k->path, NULL, NULL, k->argv, environ) == 0, "posix_spawn");
        break;
    case BY_FORK_AND_EXEC:
        pid = fork();
        if (pid == 0)
            exec_or_exit(k);
        break;
    default:
        pid = vfork();
        if (pid == 0)
            exec_or_exit(k);
    }
    SYS(pid);
    while (waitpid(pid, &status, 0) < 0)
        CHECK(errno == EINTR, "waitpid: %s", strerror(errno));
    return status;
}

static void run_spawn(struct call *c)
{
    static struct command command;
    struct exchange x;
    uint64_t stream[4];
    int report[2], copy;
    side_finish_handshake(c->side);
    call_answered(c);
    if (c->fd < 0)
        return;
    copy = (int)SYS(fcntl(c->fd, F_DUPFD, 20)); /* without close-on-exec */
    SYS(pipe(report));
    stream_of(c, stream);
    command_make(&command, copy, report[1], stream);
    note(c, "status", command_run(&command, c->step->variant));
    SYS(close(report[1]));
    SYS(close(copy));
    note(c, "told", read_full(report[0], &x, sizeof(x)) == sizeof(x));
    SYS(close(report[0]));
    note_exchange(c, &x);
}

/* ---- SCM_RIGHTS ---- */

static ssize_t pass(int socket, int fd)
{
    char control[CMSG_SPACE(sizeof(int))] = {0}, byte = 'p';
    struct iovec iov = {&byte, 1};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    struct cmsghdr *head = CMSG_FIRSTHDR(&m);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(head), &fd, sizeof(fd));
    return sendmsg(socket, &m, 0);
}

static int take(int socket, int flags)
{
    char control[CMSG_SPACE(sizeof(int))], byte;
    struct iovec iov = {&byte, 1};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    int fd = -1;
    SYS(recvmsg(socket, &m, flags));
    struct cmsghdr *head = CMSG_FIRSTHDR(&m);
    if (head && head->cmsg_type == SCM_RIGHTS)
        memcpy(&fd, CMSG_DATA(head), sizeof(fd));
    return fd;
}

static void use_taken(struct call *c, int socket)
{
    uint64_t stream[4];
    int fd = take(socket, c->step->variant & 2 ? MSG_CMSG_CLOEXEC : 0);
    note(c, "taken", fd >= 0);
    if (fd < 0)
        return;
    note(c, "F_GETFD", fcntl(fd, F_GETFD));
    stream_of(c, stream);
    struct exchange x = exchange_on(fd, stream);
    note_exchange(c, &x);
    RUN(c, close(fd));
}

/* To itself, or to a child that has it already. */
static void run_pass(struct call *c)
{
    int pair[2];
    side_finish_handshake(c->side);
    call_answered(c);
    SYS(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
    if (RUN(c, pass(pair[0], c->fd)) == 1) {
        pid_t pid = c->step->variant & 1 ? (pid_t)SYS(fork()) : 0;
        if (pid == 0)
            use_taken(c, pair[1]);
        if (pid == 0 && (c->step->variant & 1))
            _exit(0);
        if (pid)
            reap(pid, "receiver");
    }
    SYS(close(pair[0]));
    SYS(close(pair[1]));
}

static const unsigned no_flags[] = {0, LAST};
static const unsigned no_lengths[] = {0, LAST};

const struct operation process_operations[] = {
    {"spawn", run_spawn, SPAWN_VARIANTS, SLOW, no_flags, no_lengths, 1},
    {"pass", run_pass, 4, SLOW, no_flags, no_lengths, 1},
    {NULL},
};
