/* threads_churn SECONDS: threads that read, write, poll, dup, close and connect again on the same few descriptors, with
 * numbers reused all the time. Nobody knows what comes: the calls must return with a result or a plain errno. At the
 * end a connection works, and no byte came where none was sent: all of them are 'x'. */
#include "common.h"

#include <sys/epoll.h>

enum { PAIRS = 6, WORKERS = 6 };

/* By a name that ThreadSanitizer does not know: inside of its own poll it sees no locks. */
int __poll(struct pollfd *fds, nfds_t n, int timeout_ms);

/* It takes making and closing a descriptor while another thread uses the number for a race, which here it is meant to
 * be. Its own functions are on top of the stack then; of the library it sees no less. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race_top:close\nrace_top:socket\nrace_top:accept\nrace_top:dup\nrace_top:epoll_create1\n";
}

static atomic_int numbers[PAIRS * 2]; /* -1: closed at the moment */
static atomic_bool stop;
static uint16_t port;
static int listener;
static pthread_mutex_t connecting = PTHREAD_MUTEX_INITIALIZER; /* the accepted one must be the one that was connected */

static void set_timeouts(int fd)
{
    struct timeval t = {.tv_usec = 5000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
}

static bool is_expected(int error)
{
    static const int expected[] = {EAGAIN,   EBADF,  EPIPE,    ECONNRESET, EINTR,  ECONNABORTED, EINVAL,
                                   ENOTSOCK, EPROTO, ENOTCONN, ETIMEDOUT,  EEXIST, EPERM,        EINPROGRESS};
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
        if (error == expected[i])
            return true;
    return false;
}

static void look(ssize_t n, const char *what)
{
    CHECK(n >= 0 || is_expected(errno), "%s: %s", what, strerror(errno));
    progress();
}

static void check_bytes(const char *bytes, ssize_t n)
{
    for (ssize_t i = 0; i < n; i++)
        CHECK(bytes[i] == 'x', "a byte 0x%02x that nobody wrote", (unsigned char)bytes[i]);
}

static void reconnect(size_t pair)
{
    pthread_mutex_lock(&connecting);
    for (int i = 0; i < 2; i++) {
        int old = atomic_exchange(&numbers[pair * 2 + (size_t)i], -1);
        if (old >= 0)
            look(close(old), "close");
    }
    int fd = tcp_connect(port), other = tcp_accept(listener);
    set_timeouts(fd);
    set_timeouts(other);
    atomic_store(&numbers[pair * 2], fd);
    atomic_store(&numbers[pair * 2 + 1], other);
    pthread_mutex_unlock(&connecting);
}

static void use(struct rng *rng, size_t slot)
{
    char bytes[20000];
    int fd = atomic_load(&numbers[slot]), copy;
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT};
    struct epoll_event event = {.events = EPOLLIN};
    size_t len = rng_range(rng, 1, sizeof(bytes));
    ssize_t n;
    if (fd < 0)
        return;
    switch (rng_range(rng, 0, 8)) {
    case 0:
    case 1:
        memset(bytes, 'x', len);
        look(send(fd, bytes, len, MSG_NOSIGNAL), "send");
        return;
    case 2:
    case 3:
        n = recv(fd, bytes, len, 0);
        look(n, "recv");
        check_bytes(bytes, n);
        return;
    case 4:
        n = recv(fd, bytes, len, MSG_DONTWAIT | MSG_PEEK);
        look(n, "peek");
        check_bytes(bytes, n);
        return;
    case 5:
        look(__poll(&p, 1, 1), "poll");
        return;
    case 6:
        copy = dup(fd);
        look(copy, "dup");
        if (copy >= 0) {
            n = recv(copy, bytes, len, MSG_DONTWAIT);
            /* EIO: another thread connected and closed the original while the copy was made, and the keys are gone. */
            look(n < 0 && errno == EIO ? 0 : n, "recv of a dup");
            look(close(copy), "close of a dup");
        }
        return;
    case 7:
        copy = (int)SYS(epoll_create1(EPOLL_CLOEXEC));
        look(epoll_ctl(copy, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
        look(close(copy), "close of an epoll set");
        return;
    default:
        if (rng_range(rng, 0, 3) == 0)
            reconnect(slot / 2);
    }
}

static void *work(void *arg)
{
    struct rng rng = {(uint64_t)(uintptr_t)arg};
    while (!atomic_load(&stop))
        use(&rng, rng_range(&rng, 0, PAIRS * 2 - 1));
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[WORKERS];
    double until = now_seconds() + (argc > 1 ? atoi(argv[1]) : 5);
    watchdog_start();
    listener = tcp_listen(8, &port);
    for (size_t i = 0; i < PAIRS; i++) {
        numbers[i * 2] = numbers[i * 2 + 1] = -1;
        reconnect(i);
    }
    for (uintptr_t i = 0; i < WORKERS; i++)
        threads[i] = thread_start(work, (void *)(i + 1));
    while (now_seconds() < until)
        poll(NULL, 0, 50);
    atomic_store(&stop, true);
    for (int i = 0; i < WORKERS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0, "pthread_join");
    int end[2] = {tcp_connect(port), tcp_accept(listener)};
    stream_send(end[0], 1, 0, 100000);
    stream_recv(end[1], 1, 0, 100000);
    return 0;
}
