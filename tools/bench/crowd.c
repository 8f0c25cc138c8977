/* Many connections in one process on each side, driven by epoll without blocking; a hundred of them at work. */
#include "bench.h"
#include "transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

enum { CROWD_BYTES = 64, EVENTS = 64, ACTIVE = 100, MOST = 20000 };

static void watch(int set, struct link *link)
{
    int fd = link_fd(link);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = link};
    SYS(fcntl(fd, F_SETFL, SYS(fcntl(fd, F_GETFL)) | O_NONBLOCK));
    SYS(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
}

static int wait_for_events(int set, struct epoll_event *events)
{
    int n;
    do
        n = epoll_wait(set, events, EVENTS, -1);
    while (n < 0 && errno == EINTR);
    return (int)checked(n, "epoll_wait");
}

/* A request or an answer is one small record, so it is there whole or not at all: anything else is an error. */
static bool read_message(struct link *link, char message[CROWD_BYTES])
{
    ssize_t n = link_read(link, message, CROWD_BYTES);
    if (n == -1)
        return false;
    if (n != CROWD_BYTES)
        die("expected %d bytes, got %zd", CROWD_BYTES, n);
    return true;
}

static void answer(struct link *link)
{
    char message[CROWD_BYTES];
    ssize_t n = link_read(link, message, sizeof(message));
    if (n == 0)
        link_close(link);
    else if (n == CROWD_BYTES)
        link_write_all(link, message, CROWD_BYTES);
    else if (n > 0)
        die("a request of %zd bytes", n);
}

void serve_crowd(const struct options *options)
{
    uint16_t port;
    int listener = listen_on_loopback(&port);
    int set = (int)SYS(epoll_create1(EPOLL_CLOEXEC));
    struct epoll_event events[EVENTS], on_listener = {.events = EPOLLIN, .data.ptr = NULL};
    (void)options;
    SYS(epoll_ctl(set, EPOLL_CTL_ADD, listener, &on_listener));
    say_and_wait(0, "port %u", port);
    for (;;) {
        int n = wait_for_events(set, events);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr)
                answer(events[i].data.ptr);
            else
                watch(set, link_open(accept_one(listener), false));
        }
    }
}

/* A connection that has proven to work: its handshake is over on both sides. */
static struct link *open_one(const struct options *options, const char *text)
{
    char message[CROWD_BYTES];
    struct link *link = link_open(dial(options->port), true);
    link_write_all(link, text, CROWD_BYTES);
    if (!link_read_all(link, message, CROWD_BYTES))
        die("the server ended the connection");
    return link;
}

static void make_requests(int set, struct link **links, unsigned open, uint64_t count, const char *text)
{
    unsigned active = open < ACTIVE ? open : ACTIVE;
    struct epoll_event events[EVENTS];
    uint64_t sent = 0, answered = 0;
    for (; sent < active && sent < count; sent++)
        link_write_all(links[sent * open / active], text, CROWD_BYTES);
    while (answered < count) {
        int n = wait_for_events(set, events);
        for (int i = 0; i < n; i++) {
            char message[CROWD_BYTES];
            if (!read_message(events[i].data.ptr, message))
                continue;
            answered++;
            if (sent < count) {
                link_write_all(events[i].data.ptr, text, CROWD_BYTES);
                sent++;
            }
        }
    }
}

void load_crowd(const struct options *options)
{
    struct link **links = allocate(MOST * sizeof(struct link *));
    char *text = payload(CROWD_BYTES);
    int set = (int)SYS(epoll_create1(EPOLL_CLOEXEC));
    unsigned open = 0;
    for (const char *step = options->steps; step; step = strchr(step, ',') ? strchr(step, ',') + 1 : NULL) {
        char digits[8] = "";
        memcpy(digits, step, strnlen(step, sizeof(digits) - 1));
        digits[strcspn(digits, ",")] = 0;
        for (unsigned wanted = (unsigned)number(digits, MOST); open < wanted; open++) {
            links[open] = open_one(options, text);
            watch(set, links[open]);
        }
        say_and_wait(options->gated, "idle %u", open);
        uint64_t begin = now_ns();
        make_requests(set, links, open, options->count, text);
        say_and_wait(options->gated, "{\"open\": %u, \"wall_ns\": %lu, \"requests\": %lu}", open, now_ns() - begin,
                     options->count);
    }
    /* The connections end with the process: closing 10,000 of them is not measured. */
}
