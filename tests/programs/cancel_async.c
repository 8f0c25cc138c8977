/* cancel_async [ROUNDS]: threads that may be cancelled at any instruction (PTHREAD_CANCEL_ASYNCHRONOUS), in the middle
 * of reading, writing and polling. What such a thread was about to move may be lost; the connection and the other
 * threads go on. */
#include "common.h"

enum { SMALL = 1000, MARK = 0xff };

static int end[2];
static atomic_bool busy;
static atomic_long turns;
static uint8_t zeros[40000], waste[40000];

static void begin(void)
{
    CHECK(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL) == 0, "pthread_setcanceltype");
    atomic_store(&busy, true);
}

/* An even number of calls is not asked for: none of these waits for anybody. */
static void *write_on(void *arg)
{
    begin();
    for (;;) {
        (void)!send(end[0], zeros, *(size_t *)arg, MSG_DONTWAIT | MSG_NOSIGNAL);
        atomic_fetch_add(&turns, 1);
    }
    return NULL;
}

static void *read_on(void *arg)
{
    begin();
    for (;;) {
        (void)!recv(end[0], waste, *(size_t *)arg, MSG_DONTWAIT);
        atomic_fetch_add(&turns, 1);
    }
    return NULL;
}

static void *poll_on(void *unused)
{
    (void)unused;
    begin();
    for (;;) {
        struct pollfd p = {.fd = end[0], .events = POLLIN};
        poll(&p, 1, 0);
        atomic_fetch_add(&turns, 1);
    }
    return NULL;
}

/* Takes what is there, from one end, until it is seen n times that nothing is. */
static void drain(int fd)
{
    while (recv(fd, waste, sizeof(waste), MSG_DONTWAIT) > 0)
        progress();
}

/* A mark each way arrives behind whatever was on its way. */
static void mark(int from, int to)
{
    static uint8_t all[40000];
    uint8_t one = MARK;
    ssize_t n;
    for (;;) {
        n = send(from, &one, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n == 1)
            break;
        CHECK(errno == EAGAIN, "the connection is lost: %s", strerror(errno));
        drain(to);
    }
    do {
        CHECK((n = read(to, all, sizeof(all))) > 0, "the connection is lost: %s", n ? strerror(errno) : "end");
        progress();
    } while (all[n - 1] != MARK);
}

static void cancel_at(void *(*body)(void *), size_t len, unsigned delay_us)
{
    void *result;
    struct timespec delay = {0, delay_us * 1000L};
    atomic_store(&busy, false);
    pthread_t victim = thread_start(body, &len);
    while (!atomic_load(&busy))
        sched_yield();
    long before = atomic_load(&turns);
    while (atomic_load(&turns) < before + 3) {
        if (body == write_on)
            drain(end[1]);
        if (body == read_on)
            (void)!send(end[1], zeros, sizeof(zeros), MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    ppoll(NULL, 0, &delay, NULL);
    CHECK(pthread_cancel(victim) == 0 && pthread_join(victim, &result) == 0, "pthread_cancel");
    CHECK(result == PTHREAD_CANCELED, "the thread was not cancelled");
    mark(end[0], end[1]);
    mark(end[1], end[0]);
}

/* The type is the program's own, and a thread that computes is cancelled all the same. */
static void *compute(void *unused)
{
    int type;
    (void)unused;
    begin();
    CHECK(pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type) == 0 && type == PTHREAD_CANCEL_ASYNCHRONOUS, "type %d",
          type);
    CHECK(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &type) == 0 && type == PTHREAD_CANCEL_DEFERRED, "type %d",
          type);
    (void)!send(end[0], zeros, 1, 0);
    for (;;)
        atomic_fetch_add(&turns, 1);
    return NULL;
}

int main(int argc, char **argv)
{
    unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 30;
    struct rng rng = {7};
    watchdog_start();
    tcp_pair(end);
    mark(end[0], end[1]);
    mark(end[1], end[0]);
    for (unsigned i = 0; i < rounds; i++) {
        cancel_at(write_on, rng_range(&rng, 1, 40000), (unsigned)rng_range(&rng, 0, 300));
        cancel_at(read_on, rng_range(&rng, 1, 40000), (unsigned)rng_range(&rng, 0, 300));
        cancel_at(poll_on, 0, (unsigned)rng_range(&rng, 0, 300));
    }
    cancel_at(compute, 0, 0);
    SYS(close(end[0]));
    expect_eof(end[1]);
    SYS(close(end[1]));
    return 0;
}
