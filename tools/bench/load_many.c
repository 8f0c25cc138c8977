/* The clients that make many connections, one byte there and back over each. */
#include "bench.h"
#include "transfer.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static const struct options *settings;

/* Order and byte leave in one write: the first flight of the application. */
static uint64_t time_connection(uint16_t port)
{
    struct {
        struct order order;
        char byte;
    } __attribute__((packed)) first = {.order = {.kind = ORDER_ECHO, .size = 1, .total = 1}, .byte = 'x'};
    char answer;
    uint64_t begin = now_ns();
    struct link *link = link_open(dial(port), true);
    link_write_all(link, &first, sizeof(first));
    if (!link_read_all(link, &answer, 1))
        die("the server ended the connection");
    uint64_t time = now_ns() - begin;
    link_close(link);
    return time;
}

static void *connect_share(void *unused)
{
    (void)unused;
    for (uint64_t i = 0; i < settings->count / settings->threads; i++)
        (void)time_connection(settings->port);
    return NULL;
}

void load_handshakes(const struct options *options)
{
    pthread_t threads[64];
    settings = options;
    for (uint64_t i = 0; i < options->warm_up; i++)
        (void)time_connection(options->port);
    say_and_wait(options->gated, "begin");
    uint64_t begin = now_ns();
    for (unsigned i = 0; i < options->threads; i++)
        if (pthread_create(&threads[i], NULL, connect_share, NULL) != 0)
            die("no thread");
    for (unsigned i = 0; i < options->threads; i++)
        pthread_join(threads[i], NULL);
    say_and_wait(options->gated, "{\"wall_ns\": %lu, \"connections\": %lu}", now_ns() - begin,
                 options->count / options->threads * options->threads);
}

void load_first(const struct options *options)
{
    uint64_t *times = allocate(options->count * sizeof(times[0]));
    for (uint64_t i = 0; i < options->warm_up; i++)
        (void)time_connection(options->port);
    say_and_wait(options->gated, "begin");
    for (uint64_t i = 0; i < options->count; i++)
        times[i] = time_connection(options->port);
    qsort(times, options->count, sizeof(times[0]), compare_u64);
    say_and_wait(options->gated, "{\"least_ns\": %lu, \"median_ns\": %lu, \"most_ns\": %lu}", times[0],
                 times[options->count / 2], times[options->count - 1]);
    free(times);
}
