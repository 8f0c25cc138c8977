/* kills ROUNDS [SEED]: two processes share a connection, both read and write, and one is killed at a random moment. The
 * other one goes on, or gets an error; it never hangs. The peer never gets a torn message, and an orderly end from a
 * survivor that went on. Prints how many of the survivors did. */
#include "messages.h"

#include <sys/mman.h>
#include <sys/prctl.h>

enum { MORE = 40, REPLY = 300, FAILED = 7 };

/* Told by the processes of a round. */
static struct shared {
    atomic_uint written[WRITERS];
    atomic_bool killed;
} * shared;

static _Noreturn void leave_on_error(ssize_t n, size_t want, const char *what)
{
    CHECK(atomic_load(&shared->killed), "%s gave %zd of %zu before any kill: %s", what, n, want, strerror(errno));
    _exit(FAILED);
}

static atomic_bool finished; /* this process has written all, and shut its half down */

static void *read_replies(void *arg)
{
    int fd = *(int *)arg;
    uint8_t buffer[500];
    ssize_t n;
    while ((n = read(fd, buffer, sizeof(buffer))) > 0)
        for (ssize_t i = 0; i < n; i++)
            CHECK(buffer[i] == 'r', "a byte 0x%02x in the replies", buffer[i]);
    if (n == 0 && finished)
        exit(0);
    leave_on_error(n, sizeof(buffer), "read");
}

/* Writes until it has written enough after the other's death. */
static void be_writer(int fd, uint32_t writer, const struct credits *credits)
{
    static struct message m;
    static int reader_fd;
    reader_fd = fd;
    signal(SIGPIPE, SIG_IGN);
    pthread_t reader = thread_start(read_replies, &reader_fd);
    for (uint32_t i = 0, after = 0; after < MORE; i++) {
        message_make(&m, writer, i);
        credits_take(credits);
        after += atomic_load(&shared->killed);
        ssize_t n = write(fd, &m, m.len);
        if (n != (ssize_t)m.len)
            leave_on_error(n, m.len, "write");
        atomic_store(&shared->written[writer], i + 1);
        progress();
    }
    finished = true;
    if (shutdown(fd, SHUT_WR) != 0)
        leave_on_error(-1, 0, "shutdown");
    pthread_join(reader, NULL);
}

/* Reads everything; answers each read by one reply, if there is room. Its exit status tells how the stream ended. */
static void be_peer(int fd, const struct credits credits[WRITERS])
{
    static struct inbox in;
    static uint8_t reply[REPLY];
    ssize_t n;
    memset(reply, 'r', sizeof(reply));
    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < WRITERS; i++)
        set_nonblocking(credits[i].give);
    while ((n = read(fd, in.bytes + in.len, sizeof(in.bytes) - in.len)) > 0) {
        in.len += (size_t)n;
        inbox_digest(&in, credits);
        (void)!send(fd, reply, sizeof(reply), MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    if (n < 0)
        _exit(FAILED);
    CHECK(in.len == 0, "the stream ended in an orderly way inside of a message");
    for (int i = 0; i < WRITERS; i++)
        CHECK(in.next[i] >= atomic_load(&shared->written[i]), "%u of the %u messages of writer %d came", in.next[i],
              atomic_load(&shared->written[i]), i);
    exit(0);
}

static int status_of(pid_t pid, const char *who)
{
    int status;
    SYS(waitpid(pid, &status, 0));
    CHECK(WIFEXITED(status), "%s was killed by signal %d", who, WTERMSIG(status));
    CHECK(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == FAILED, "%s exited with %d", who, WEXITSTATUS(status));
    return WEXITSTATUS(status);
}

static void pause_us(size_t us)
{
    struct timespec t = {0, (long)us * 1000};
    ppoll(NULL, 0, &t, NULL);
}

/* True if the survivor went on. */
static bool round_of(struct rng *rng, int listener, uint16_t port)
{
    struct credits credits[WRITERS];
    int all[WRITERS][2], ready[2];
    memset(shared, 0, sizeof(*shared));
    for (int i = 0; i < WRITERS; i++) {
        credits_open(&credits[i]);
        all[i][0] = credits[i].give;
        all[i][1] = credits[i].take;
    }
    SYS(pipe2(ready, O_CLOEXEC));
    pid_t peer = fork_child();
    if (peer == 0)
        be_peer(tcp_accept(listener), credits);
    pid_t writers[WRITERS];
    writers[0] = fork_child();
    if (writers[0] == 0) {
        int fd = tcp_connect(port);
        pid_t other = fork_child();
        if (other == 0)
            be_writer(fd, 1, &credits[1]);
        SYS(write(ready[1], &other, sizeof(other)));
        be_writer(fd, 0, &credits[0]);
    }
    CHECK(read(ready[0], &writers[1], sizeof(pid_t)) == sizeof(pid_t), "the first writer tells nothing");
    pause_us(rng_range(rng, 0, 6000));
    size_t victim = rng_range(rng, 0, 1);
    atomic_store(&shared->killed, true);
    SYS(kill(writers[victim], SIGKILL));
    bool went_on = false;
    for (size_t i = 0; i < WRITERS; i++) { /* in this order: the second is inherited from the first */
        int status;
        if (i != victim)
            went_on = status_of(writers[i], "the survivor") == 0;
        else
            SYS(waitpid(writers[i], &status, 0));
    }
    bool ended = status_of(peer, "the peer") == 0;
    CHECK(ended || !went_on, "the survivor went on, and the peer got an error");
    for (int i = 0; i < WRITERS; i++) {
        SYS(close(all[i][0]));
        SYS(close(all[i][1]));
    }
    SYS(close(ready[0]));
    SYS(close(ready[1]));
    progress();
    return went_on;
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 50, went_on = 0;
    struct rng rng = {argc > 2 ? (uint64_t)atoll(argv[2]) : 1};
    uint16_t port;
    watchdog_start();
    SYS(prctl(PR_SET_CHILD_SUBREAPER, 1)); /* the second writer, once the first has died */
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED, "mmap");
    int listener = tcp_listen(8, &port);
    for (int i = 0; i < rounds; i++)
        went_on += round_of(&rng, listener, port);
    printf("went on %d of %d\n", went_on, rounds);
    return 0;
}
