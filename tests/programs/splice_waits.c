/* splice_waits MODE plain|protected: a thread moves bytes between a pipe and a socket that is not connected, and waits
 * for the pipe, while another one connects the socket to 127.0.0.2, where a stranger without TLS listens.
 *
 *   into       splice from an empty pipe into the socket
 *   from       splice from the socket into a full pipe
 *   sendfile   the same by sendfile
 *   alone      nobody connects it: the errors of a socket that is not connected
 *
 * On plain TCP the bytes pass, which shows that the test tries what it says. Protected, none does. */
#include "common.h"

#include <pthread.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>

#define MARK "MARK-IN-CLEAR"

static int sock, ends[2];
static bool into, by_sendfile;
static _Atomic int mover_tid;
static ssize_t moved;
static int moved_errno;

static void *mover(void *unused)
{
    (void)unused;
    mover_tid = (int)syscall(SYS_gettid);
    if (into)
        moved = splice(ends[0], NULL, sock, NULL, 1000, 0);
    else if (by_sendfile)
        moved = sendfile(ends[1], sock, NULL, 1000);
    else
        moved = splice(sock, NULL, ends[1], NULL, 1000, 0);
    moved_errno = errno;
    return NULL;
}

static bool mover_sleeps(void)
{
    char name[64], text[200] = "";
    snprintf(name, sizeof name, "/proc/self/task/%d/stat", mover_tid);
    FILE *f = fopen(name, "r");
    CHECK(f && fgets(text, sizeof text, f), "%s", name);
    fclose(f);
    char *state = strrchr(text, ')');
    return state && state[2] == 'S';
}

/* Asleep in several looks in a row: it waits for the pipe. */
static pthread_t begin_waiting(void)
{
    pthread_t t;
    CHECK(pthread_create(&t, NULL, mover, NULL) == 0, "pthread_create");
    for (int asleep = 0; asleep < 20; poll(NULL, 0, 1))
        asleep = mover_tid && mover_sleeps() ? asleep + 1 : 0;
    return t;
}

static void nonblocking(int fd, bool on)
{
    SYS(fcntl(fd, F_SETFL, on ? O_NONBLOCK : 0));
}

static void fill_pipe(void)
{
    static const char zeros[4096];
    nonblocking(ends[1], true);
    while (write(ends[1], zeros, sizeof zeros) > 0)
        ;
    nonblocking(ends[1], false);
}

/* Takes what is in the pipe; is MARK there? */
static bool drain_pipe(void)
{
    static char buffer[1 << 20];
    ssize_t n;
    nonblocking(ends[0], true);
    bool found = false;
    while ((n = read(ends[0], buffer, sizeof buffer)) > 0)
        found |= memmem(buffer, (size_t)n, MARK, strlen(MARK)) != NULL;
    return found;
}

static bool stranger_has_mark(int stranger)
{
    char buffer[4096];
    ssize_t n = recv(stranger, buffer, sizeof buffer, MSG_DONTWAIT);
    return n > 0 && memmem(buffer, (size_t)n, MARK, strlen(MARK)) != NULL;
}

static void alone(void)
{
    into = true;
    pthread_t t = begin_waiting();
    SYS((int)write(ends[1], MARK, strlen(MARK)));
    pthread_join(t, NULL);
    CHECK(moved == -1 && (moved_errno == EPIPE || moved_errno == ENOTCONN), "splice into: %zd %d", moved, moved_errno);
    drain_pipe();
    CHECK(splice(sock, NULL, ends[1], NULL, 9, 0) == -1 && errno == ENOTCONN, "splice from: %d", errno);
    CHECK(sendfile(ends[1], sock, NULL, 9) == -1 && errno == ENOTCONN, "sendfile: %d", errno);
    fill_pipe();
    CHECK(splice(sock, NULL, ends[1], NULL, 9, SPLICE_F_NONBLOCK) == -1 && errno == EAGAIN, "full pipe: %d", errno);
}

int main(int argc, char **argv)
{
    CHECK(argc == 3, "usage: splice_waits into|from|sendfile|alone plain|protected");
    bool protected = !strcmp(argv[2], "protected"), leaked;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002)};
    socklen_t len = sizeof a;
    into = !strcmp(argv[1], "into");
    by_sendfile = !strcmp(argv[1], "sendfile");
    signal(SIGPIPE, SIG_IGN);
    int listener = SYS(socket(AF_INET, SOCK_STREAM, 0));
    SYS(bind(listener, (struct sockaddr *)&a, len));
    SYS(listen(listener, 1));
    SYS(getsockname(listener, (struct sockaddr *)&a, &len));
    sock = SYS(socket(AF_INET, SOCK_STREAM, 0));
    SYS(pipe(ends));
    if (!strcmp(argv[1], "alone")) {
        alone();
        return 0;
    }
    if (!into)
        fill_pipe();
    pthread_t t = begin_waiting();
    SYS(connect(sock, (struct sockaddr *)&a, len));
    int stranger = SYS(accept(listener, NULL, NULL));
    if (into)
        SYS((int)write(ends[1], MARK, strlen(MARK)));
    else
        SYS((int)write(stranger, MARK, strlen(MARK)));
    leaked = !into && drain_pipe();
    pthread_join(t, NULL);
    leaked |= into ? stranger_has_mark(stranger) : drain_pipe();
    close(stranger);
    CHECK(leaked == !protected, "%s: %s", argv[1], leaked ? "bytes passed in clear" : "nothing passed");
    return 0;
}
