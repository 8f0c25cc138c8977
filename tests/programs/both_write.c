/* both_write --fork|--_Fork|--exec|--pass [MESSAGES]: two processes that share a connection write to it at the same
 * time; the peer receives every message of both, each whole and in its writer's order. The second one is a forked
 * child, or what it executes, or a process that was there before and gets the descriptor by SCM_RIGHTS. */
#include "messages.h"

enum { DEFAULT_MESSAGES = 10000 };

static unsigned messages = DEFAULT_MESSAGES;

static void write_messages(int fd, uint32_t writer, const struct credits *credits)
{
    static struct message m;
    for (uint32_t i = 0; i < messages; i++) {
        message_make(&m, writer, i);
        credits_take(credits);
        ssize_t n = write(fd, &m, m.len);
        CHECK(n == (ssize_t)m.len, "write of message %u gave %zd: %s", i, n, strerror(errno));
        progress();
    }
}

static void receive_all(int fd, const struct credits credits[WRITERS])
{
    static struct inbox in;
    ssize_t n;
    while ((n = SYS(read(fd, in.bytes + in.len, sizeof(in.bytes) - in.len))) > 0) {
        in.len += (size_t)n;
        inbox_digest(&in, credits);
    }
    CHECK(in.len == 0, "%zu bytes of a message came before the end", in.len);
    CHECK(in.next[0] == messages && in.next[1] == messages, "%u and %u of %u messages came", in.next[0], in.next[1],
          messages);
}

/* ---- descriptors by SCM_RIGHTS ---- */

union control {
    char room[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
};

static void pass(int through, int fd)
{
    union control control = {0};
    struct iovec iov = {"!", 1};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control.room)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    *c = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(c), &fd, sizeof(fd));
    SYS(sendmsg(through, &m, 0));
}

static int get_passed(int through)
{
    char byte;
    union control control;
    struct iovec iov = {&byte, 1};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control.room)};
    int fd;
    SYS(recvmsg(through, &m, 0));
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    CHECK(c && c->cmsg_type == SCM_RIGHTS, "no descriptor came");
    memcpy(&fd, CMSG_DATA(c), sizeof(fd));
    return fd;
}

/* ---- the second writer ---- */

static int channel[2]; /* of --pass */

static void execute_writer(const char *self, int fd, const struct credits *credits)
{
    char fd_text[20], credits_text[20], messages_text[20];
    snprintf(fd_text, sizeof(fd_text), "%d", fd);
    snprintf(credits_text, sizeof(credits_text), "%d", credits->take);
    snprintf(messages_text, sizeof(messages_text), "%u", messages);
    SYS(fcntl(fd, F_SETFD, 0));
    execl(self, self, "--writer", messages_text, fd_text, credits_text, NULL);
    die("exec: %s", strerror(errno));
}

static pid_t start_early(const char *mode, const struct credits *credits)
{
    if (strcmp(mode, "--pass") != 0)
        return 0;
    SYS(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel));
    pid_t pid = fork_child();
    if (pid == 0) {
        write_messages(get_passed(channel[1]), 1, credits);
        exit(0);
    }
    return pid;
}

static pid_t start_late(const char *mode, const char *self, int fd, const struct credits *credits)
{
    pid_t pid = strcmp(mode, "--_Fork") == 0 ? _Fork() : fork_child();
    SYS(pid);
    if (pid > 0)
        return pid;
    if (strcmp(mode, "--exec") == 0)
        execute_writer(self, fd, credits);
    write_messages(fd, 1, credits);
    exit(0);
}

static void be_connected(const char *mode, const char *self, uint16_t port, const struct credits credits[WRITERS],
                         pid_t second)
{
    int fd = tcp_connect(port);
    SYS(write(fd, "", 0));
    if (second)
        pass(channel[0], fd);
    else
        second = start_late(mode, self, fd, &credits[1]);
    write_messages(fd, 0, &credits[0]);
    SYS(close(fd));
    reap(second, "the second writer");
}

int main(int argc, char **argv)
{
    watchdog_start();
    CHECK(argc > 1, "usage: both_write --fork|--_Fork|--exec|--pass [MESSAGES]");
    if (argc > 2)
        messages = (unsigned)atoi(argv[2]);
    if (strcmp(argv[1], "--writer") == 0) {
        struct credits credits = {-1, atoi(argv[4])};
        write_messages(atoi(argv[3]), 1, &credits);
        return 0;
    }
    struct credits credits[WRITERS];
    uint16_t port;
    int listener = tcp_listen(1, &port);
    credits_open(&credits[0]);
    credits_open(&credits[1]);
    pid_t receiver = fork_child();
    if (receiver == 0) {
        receive_all(tcp_accept(listener), credits);
        exit(0);
    }
    SYS(close(listener));
    pid_t second = start_early(argv[1], &credits[1]);
    be_connected(argv[1], argv[0], port, credits, second);
    reap(receiver, "the receiver");
    return 0;
}
