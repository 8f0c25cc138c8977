/* dup_race ROUNDS [refused]: one thread connects, sends, receives and closes; another one copies its number, however
 * far it has come, and looks at the copy. The copy is the connection, or it is none: it never fails in a way of its
 * own, and the connection is none the worse for it. refused: nobody listens, so that the copy is made of a connection
 * which is on its way back to an ordinary socket. */
#include "common.h"

/* Making, copying and closing a number while another thread uses it is the very thing here (see threads_churn.c). */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race_top:close\nrace_top:socket\nrace_top:connect\nrace_top:accept\nrace_top:dup\n";
}

static atomic_int number = -1; /* of the newest socket */
static atomic_uint looks;
static atomic_bool stop;

static void look_at(int copy)
{
    char byte;
    ssize_t n = recv(copy, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    CHECK(n >= 0 || errno == EAGAIN || errno == ENOTCONN || errno == ECONNRESET || errno == ENOTSOCK ||
              errno == ECONNREFUSED,
          "recv of a copy: %s", strerror(errno));
    CHECK(n < 1 || byte == 'x', "a byte 0x%02x that nobody wrote", (unsigned char)byte);
}

static void *copy_all_the_time(void *unused)
{
    (void)unused;
    for (; !atomic_load(&stop); atomic_fetch_add(&looks, 1)) {
        int fd = atomic_load(&number), copy = fd < 0 ? -1 : dup(fd);
        if (copy < 0) {
            sched_yield();
            continue;
        }
        look_at(copy);
        SYS(close(copy));
    }
    return NULL;
}

/* Nobody copies the number any more: what is closed while a copy of it is being made has no keys any more, and a number
 * may be another one's before the call that makes it has returned. Neither is what is tried here. */
static void retire(void)
{
    atomic_store(&number, -1);
    for (unsigned before = atomic_load(&looks); atomic_load(&looks) - before < 2;)
        sched_yield();
}

static void connect_where_nobody_listens(int rounds)
{
    struct sockaddr_in nobody = loopback(0);
    int bound = tcp_socket();
    SYS(bind(bound, (struct sockaddr *)&nobody, sizeof(nobody)));
    nobody = loopback(local_port(bound));
    for (int i = 0; i < rounds; i++) {
        int fd = tcp_socket();
        atomic_store(&number, fd);
        /* ECONNABORTED: the copy has been told of the refusal. */
        CHECK(connect(fd, (struct sockaddr *)&nobody, sizeof(nobody)) < 0 &&
                  (errno == ECONNREFUSED || errno == ECONNABORTED),
              "round %d: connect: %s, not ECONNREFUSED", i, strerror(errno));
        SYS(close(fd));
        progress();
    }
}

static void connect_and_talk(int rounds)
{
    uint16_t port;
    int listener = tcp_listen(8, &port);
    for (int i = 0; i < rounds; i++) {
        char byte = 0;
        struct sockaddr_in there = loopback(port);
        int fd = tcp_socket();
        atomic_store(&number, fd);
        SYS(connect(fd, (struct sockaddr *)&there, sizeof(there)));
        int server = tcp_accept(listener);
        CHECK(send(server, "x", 1, 0) == 1, "send: %s", strerror(errno));
        ssize_t n = recv(fd, &byte, 1, 0);
        CHECK(n == 1 && byte == 'x', "round %d: recv gives %zd, %s", i, n, strerror(errno));
        retire();
        SYS(close(fd));
        SYS(close(server));
        progress();
    }
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 1000;
    watchdog_start();
    pthread_t other = thread_start(copy_all_the_time, NULL);
    (argc > 2 ? connect_where_nobody_listens : connect_and_talk)(rounds);
    atomic_store(&stop, true);
    CHECK(pthread_join(other, NULL) == 0, "pthread_join");
    return 0;
}
