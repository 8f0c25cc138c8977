/* The clients that use one connection for all that is measured. */
#include "bench.h"
#include "transfer.h"

#include <stdio.h>
#include <stdlib.h>

static void give_order(struct link *link, enum order_kind kind, uint32_t size, uint64_t total)
{
    struct order order = {.kind = kind, .size = size, .total = total};
    link_write_all(link, &order, sizeof(order));
}

static void need_answer(struct link *link, void *buffer, size_t len)
{
    if (!link_read_all(link, buffer, len))
        die("the server ended the connection");
}

static void write_bulk(struct link *link, const char *text, uint32_t size, uint64_t total)
{
    char answer;
    give_order(link, ORDER_BULK, size, total);
    for (uint64_t left = total; left > 0;) {
        size_t piece = left < size ? (size_t)left : size;
        link_write_all(link, text, piece);
        left -= piece;
    }
    need_answer(link, &answer, 1);
}

void load_bulk(const struct options *options)
{
    struct link *link = link_open(dial(options->port), true);
    char *text = payload(options->size);
    write_bulk(link, text, options->size, options->warm_up ? options->warm_up : options->size);
    say_and_wait(options->gated, "begin");
    uint64_t begin = now_ns();
    write_bulk(link, text, options->size, options->total);
    say_and_wait(options->gated, "{\"wall_ns\": %lu}", now_ns() - begin);
    link_close(link);
    free(text);
}

/* Times of n requests, sorted. */
static void time_requests(struct link *link, uint32_t size, uint64_t n, uint64_t *times)
{
    char *text = payload(size), *answer = allocate(size);
    give_order(link, ORDER_ECHO, size, n);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t begin = now_ns();
        link_write_all(link, text, size);
        need_answer(link, answer, size);
        times[i] = now_ns() - begin;
    }
    qsort(times, n, sizeof(times[0]), compare_u64);
    free(text);
    free(answer);
}

void load_request(const struct options *options)
{
    struct link *link = link_open(dial(options->port), true);
    uint64_t n = options->count, warm_up = options->warm_up ? options->warm_up : 1;
    uint64_t *times = allocate((n > warm_up ? n : warm_up) * sizeof(times[0]));
    time_requests(link, options->size, warm_up, times);
    say_and_wait(options->gated, "begin");
    uint64_t begin = now_ns();
    time_requests(link, options->size, n, times);
    say_and_wait(options->gated, "{\"wall_ns\": %lu, \"median_ns\": %lu, \"p99_ns\": %lu}", now_ns() - begin,
                 times[n / 2], times[n - 1 - n / 100]);
    link_close(link);
    free(times);
}

void load_tiny(const struct options *options)
{
    struct link *link = link_open(dial(options->port), true);
    char buffer[TINY_READ_MOST];
    uint64_t reads = 0;
    give_order(link, ORDER_ECHO, 1, 1);
    link_write_all(link, "", 1);
    need_answer(link, buffer, 1);
    say_and_wait(options->gated, "begin");
    uint64_t begin = now_ns();
    give_order(link, ORDER_SEND, LARGE_WRITE, options->total);
    for (uint64_t got = 0; got < options->total; reads++) {
        ssize_t n = link_read(link, buffer, 1 + reads % TINY_READ_MOST);
        if (n <= 0)
            die("the server ended in the middle of its bytes");
        got += (uint64_t)n;
    }
    say_and_wait(options->gated, "{\"wall_ns\": %lu, \"reads\": %lu}", now_ns() - begin, reads);
    link_close(link);
}
