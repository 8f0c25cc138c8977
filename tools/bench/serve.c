/* The server of all measures but crowd: each thread takes a connection and carries out its orders. */
#include "bench.h"
#include "transfer.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static int listener;

static void take_bulk(struct link *link, const struct order *order, char *buffer)
{
    for (uint64_t got = 0; got < order->total;) {
        ssize_t n = link_read(link, buffer, BUFFER_BYTES);
        if (n <= 0)
            die("the client ended in the middle of its bytes");
        got += (uint64_t)n;
    }
    link_write_all(link, buffer, 1);
}

static void echo(struct link *link, const struct order *order, char *buffer)
{
    for (uint64_t i = 0; i < order->total; i++) {
        if (!link_read_all(link, buffer, order->size))
            die("the client ended in the middle of its requests");
        link_write_all(link, buffer, order->size);
    }
}

static void send_bulk(struct link *link, const struct order *order, const char *text)
{
    for (uint64_t left = order->total; left > 0;) {
        size_t piece = left < order->size ? (size_t)left : order->size;
        link_write_all(link, text, piece);
        left -= piece;
    }
}

static void carry_out(struct link *link, char *buffer, const char *text)
{
    struct order order;
    while (link_read_all(link, &order, sizeof(order))) {
        if (order.size == 0 || order.size > BUFFER_BYTES)
            die("an order of %u bytes at a time", order.size);
        switch (order.kind) {
        case ORDER_BULK:
            take_bulk(link, &order, buffer);
            break;
        case ORDER_ECHO:
            echo(link, &order, buffer);
            break;
        case ORDER_SEND:
            send_bulk(link, &order, text);
            break;
        default:
            die("an order of kind %u", order.kind);
        }
    }
}

static void *serve_one_after_the_other(void *unused)
{
    char *buffer = allocate(BUFFER_BYTES), *text = payload(BUFFER_BYTES);
    (void)unused;
    for (;;) {
        struct link *link = link_open(accept_one(listener), false);
        carry_out(link, buffer, text);
        link_close(link);
    }
    return NULL;
}

void serve(const struct options *options)
{
    uint16_t port;
    listener = listen_on_loopback(&port);
    for (unsigned i = 1; i < options->threads; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, serve_one_after_the_other, NULL) != 0)
            die("no thread");
    }
    say_and_wait(0, "port %u", port);
    serve_one_after_the_other(NULL);
}
