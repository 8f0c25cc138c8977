/* A relay on loopback that delays what it passes on, in both directions, and can record it. Prints "port N".
 *
 *   relay --to PORT [--delay MILLISECONDS] [--record FILE]
 *
 * The kernel accepts connections before the relay does, so a TCP handshake is not delayed: from connect to an answer
 * there are as many delays as flights passed through here. The end of a stream passes with its bytes. */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { PIECE = 64 * KIB, EVENTS = 16 };

struct direction;

/* What came at a time, to leave at another; len 0: the end of the stream. */
struct piece {
    struct piece *next;
    struct direction *direction;
    uint64_t due;
    size_t len;
    char bytes[];
};

struct direction {
    int from, to;
    struct pair *pair;
};

struct pair {
    struct direction there, back;
    int ends; /* of two streams, those that have ended; 2: both sockets may go */
};

static struct piece *first, **last = &first;
static uint64_t delay_ns;
static int timer, record = -1;

static void append(struct direction *direction, const char *bytes, size_t len)
{
    struct piece *piece = allocate(sizeof(*piece) + len);
    *piece = (struct piece){.direction = direction, .due = now_ns() + delay_ns, .len = len};
    if (len)
        memcpy(piece->bytes, bytes, len);
    *last = piece;
    last = &piece->next;
}

static void set_timer(void)
{
    struct itimerspec at = {0};
    if (first) {
        at.it_value.tv_sec = (time_t)(first->due / 1000000000);
        at.it_value.tv_nsec = (long)(first->due % 1000000000);
    }
    SYS(timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL));
}

static void end_stream(struct direction *direction)
{
    (void)shutdown(direction->to, SHUT_WR);
    if (++direction->pair->ends == 2) {
        close(direction->from);
        close(direction->to);
        free(direction->pair);
    }
}

/* Sockets block, so a reader that does not read stops the relay: the programs that use it read. */
static void pass_on(const struct piece *piece)
{
    for (size_t sent = 0; sent < piece->len;) {
        ssize_t n = send(piece->direction->to, piece->bytes + sent, piece->len - sent, MSG_NOSIGNAL);
        if (n < 0)
            return; /* the reader has gone; its end comes from the other side */
        sent += (size_t)n;
    }
}

static void pass_on_what_is_due(void)
{
    while (first && first->due <= now_ns()) {
        struct piece *piece = first;
        first = piece->next;
        if (!first)
            last = &first;
        if (piece->len)
            pass_on(piece);
        else
            end_stream(piece->direction);
        free(piece);
    }
    set_timer();
}

static void take(int set, struct direction *direction)
{
    static char buffer[PIECE];
    ssize_t n = recv(direction->from, buffer, sizeof(buffer), 0);
    if (n <= 0)
        SYS(epoll_ctl(set, EPOLL_CTL_DEL, direction->from, NULL));
    else if (record >= 0)
        SYS(write(record, buffer, (size_t)n));
    append(direction, buffer, n > 0 ? (size_t)n : 0);
}

static void watch(int set, struct direction *direction)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = direction};
    SYS(epoll_ctl(set, EPOLL_CTL_ADD, direction->from, &event));
}

static void take_connection(int set, int listener, uint16_t to)
{
    struct pair *pair = allocate(sizeof(*pair));
    int near = accept_one(listener), far = dial(to);
    pair->there = (struct direction){.from = near, .to = far, .pair = pair};
    pair->back = (struct direction){.from = far, .to = near, .pair = pair};
    watch(set, &pair->there);
    watch(set, &pair->back);
}

static uint16_t read_options(int argc, char **argv)
{
    static const struct option known[] = {{"to", required_argument, NULL, 't'},
                                          {"delay", required_argument, NULL, 'd'},
                                          {"record", required_argument, NULL, 'r'},
                                          {NULL, 0, NULL, 0}};
    uint16_t to = 0;
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (option) {
        case 't':
            to = (uint16_t)number(optarg, UINT16_MAX);
            break;
        case 'd':
            delay_ns = number(optarg, 10000) * 1000000;
            break;
        case 'r':
            record = (int)SYS(open(optarg, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
            break;
        default:
            die("see the head of relay.c for the options");
        }
    }
    return to;
}

int main(int argc, char **argv)
{
    uint16_t port, to = read_options(argc, argv);
    int listener = listen_on_loopback(&port), set = (int)SYS(epoll_create1(EPOLL_CLOEXEC));
    struct epoll_event events[EVENTS], on_listener = {.events = EPOLLIN, .data.ptr = &listener},
                                       on_timer = {.events = EPOLLIN, .data.ptr = &timer};
    timer = (int)SYS(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    SYS(epoll_ctl(set, EPOLL_CTL_ADD, listener, &on_listener));
    SYS(epoll_ctl(set, EPOLL_CTL_ADD, timer, &on_timer));
    say_and_wait(0, "port %u", port);
    for (;;) {
        int n = (int)SYS(epoll_wait(set, events, EVENTS, -1));
        for (int i = 0; i < n; i++) {
            uint64_t expired;
            if (events[i].data.ptr == &listener)
                take_connection(set, listener, to);
            else if (events[i].data.ptr == &timer)
                (void)!read(timer, &expired, sizeof(expired));
            else
                take(set, events[i].data.ptr);
        }
        pass_on_what_is_due();
    }
}
