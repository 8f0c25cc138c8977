/* threads_echo [server|shared]: a blocking server with a thread for each connection and many client threads; or many
 * threads on one descriptor, where plain TCP promises that every byte arrives once and each writer's bytes in order. */
#include "common.h"

enum { CLIENTS = 24, AMOUNT = 150 * KIB, WRITERS = 4, READERS = 4, FRAME = 16, FRAMES = 4000 };

static void *echo(void *argument)
{
    int fd = (int)(intptr_t)argument;
    char buffer[4096];
    ssize_t n;
    while ((n = read(fd, buffer, sizeof(buffer))) != 0) {
        SYS(n);
        write_all(fd, buffer, (size_t)n);
    }
    SYS(close(fd));
    return NULL;
}

static uint16_t server_port;

static void *client(void *argument)
{
    uint64_t id = (uint64_t)(intptr_t)argument;
    int fd = tcp_connect(server_port);
    for (uint64_t at = 0; at < AMOUNT; at += AMOUNT / 10) {
        stream_send(fd, id, at, AMOUNT / 10);
        stream_recv(fd, id, at, AMOUNT / 10);
    }
    SYS(shutdown(fd, SHUT_WR));
    expect_eof(fd);
    SYS(close(fd));
    return NULL;
}

static void many_connections(void)
{
    pthread_t clients[CLIENTS], handlers[CLIENTS];
    int listener = tcp_listen(CLIENTS, &server_port);
    for (intptr_t i = 0; i < CLIENTS; i++)
        clients[i] = thread_start(client, (void *)i);
    for (int i = 0; i < CLIENTS; i++)
        handlers[i] = thread_start(echo, (void *)(intptr_t)tcp_accept(listener));
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(clients[i], NULL);
        pthread_join(handlers[i], NULL);
    }
    SYS(close(listener));
}

/* ---- one descriptor ---- */

static int shared[2];
static pthread_mutex_t frames_lock = PTHREAD_MUTEX_INITIALIZER;
static uint8_t seen[WRITERS][FRAMES];
static atomic_uint_fast64_t byte_sum_sent, byte_sum_received, bytes_received;

struct frame {
    uint32_t writer, number;
    uint8_t filling[FRAME - 8];
};

/* A blocking write of a whole frame is not interleaved with another thread's on the same TCP socket. */
static void *frame_writer(void *argument)
{
    uint32_t id = (uint32_t)(intptr_t)argument;
    for (uint32_t i = 0; i < FRAMES; i++) {
        struct frame f = {.writer = id, .number = i};
        stream_fill(id, i, f.filling, sizeof(f.filling));
        ssize_t n = send(shared[0], &f, sizeof(f), MSG_NOSIGNAL);
        CHECK(n == FRAME, "a blocking send of a frame gave %zd: %s", n, n < 0 ? strerror(errno) : "short");
        progress();
    }
    return NULL;
}

/* Each writer's frames come in its own order, and all of them: read by one thread with the frame's length. */
static void *frame_reader(void *unused)
{
    uint32_t next[WRITERS] = {0};
    (void)unused;
    for (unsigned i = 0; i < WRITERS * FRAMES; i++) {
        struct frame f;
        CHECK(read_full(shared[1], &f, sizeof(f)) == sizeof(f), "EOF in a frame");
        CHECK(f.writer < WRITERS && f.number == next[f.writer], "frame %u of writer %u out of order", f.number,
              f.writer);
        stream_check(f.writer, f.number, f.filling, sizeof(f.filling));
        next[f.writer]++;
    }
    return NULL;
}

/* Any thread may get any bytes: together they get each once. A full frame peeked at under a lock is read in full. */
static void *locked_reader(void *unused)
{
    (void)unused;
    for (;;) {
        struct frame f;
        pthread_mutex_lock(&frames_lock);
        size_t n = read_full(shared[1], &f, sizeof(f));
        pthread_mutex_unlock(&frames_lock);
        if (n == 0)
            return NULL;
        CHECK(n == sizeof(f) && f.writer < WRITERS && f.number < FRAMES, "not a frame");
        stream_check(f.writer, f.number, f.filling, sizeof(f.filling));
        CHECK(seen[f.writer][f.number]++ == 0, "frame %u of writer %u came twice", f.number, f.writer);
    }
}

static void *sum_writer(void *argument)
{
    struct rng rng = {.s = (uint64_t)(intptr_t)argument};
    uint8_t buffer[3000];
    uint64_t sum = 0;
    for (uint64_t at = 0; at < AMOUNT;) {
        size_t n = rng_range(&rng, 1, sizeof(buffer));
        n = n > AMOUNT - at ? (size_t)(AMOUNT - at) : n;
        stream_fill(77, at, buffer, n);
        for (size_t i = 0; i < n; i++)
            sum += buffer[i];
        write_all(shared[0], buffer, n);
        at += n;
    }
    atomic_fetch_add(&byte_sum_sent, sum);
    return NULL;
}

/* Unlocked readers that compete: no byte is lost and none delivered twice. */
static void *sum_reader(void *unused)
{
    uint8_t buffer[5000];
    ssize_t n;
    (void)unused;
    while ((n = SYS(read(shared[1], buffer, sizeof(buffer)))) > 0) {
        uint64_t sum = 0;
        for (ssize_t i = 0; i < n; i++)
            sum += buffer[i];
        atomic_fetch_add(&byte_sum_received, sum);
        atomic_fetch_add(&bytes_received, (uint64_t)n);
        progress();
    }
    return NULL;
}

static void run_shared(void *(*writer)(void *), unsigned writers, void *(*reader)(void *), unsigned readers)
{
    pthread_t w[WRITERS], r[READERS];
    tcp_pair(shared);
    for (unsigned i = 0; i < readers; i++)
        r[i] = thread_start(reader, NULL);
    for (unsigned i = 0; i < writers; i++)
        w[i] = thread_start(writer, (void *)(intptr_t)i);
    for (unsigned i = 0; i < writers; i++)
        pthread_join(w[i], NULL);
    SYS(shutdown(shared[0], SHUT_WR));
    for (unsigned i = 0; i < readers; i++)
        pthread_join(r[i], NULL);
    expect_eof(shared[1]);
    SYS(close(shared[0]));
    SYS(close(shared[1]));
}

static void one_descriptor(void)
{
    run_shared(frame_writer, WRITERS, frame_reader, 1);
    run_shared(frame_writer, WRITERS, locked_reader, READERS);
    for (unsigned w = 0; w < WRITERS; w++)
        for (unsigned i = 0; i < FRAMES; i++)
            CHECK(seen[w][i] == 1, "frame %u of writer %u is lost", i, w);
    run_shared(sum_writer, WRITERS, sum_reader, READERS);
    CHECK(bytes_received == (uint64_t)WRITERS * AMOUNT, "%llu bytes came", (unsigned long long)bytes_received);
    CHECK(byte_sum_received == byte_sum_sent, "other bytes came than were sent");
}

int main(int argc, char **argv)
{
    watchdog_start();
    if (argc > 1 && strcmp(argv[1], "shared") == 0)
        one_descriptor();
    else
        many_connections();
    return 0;
}
