/* For callgrind: what one call costs on a connection whose two ends are in this process, hundreds of times for each
 * kind. Only what is in measure_* is to be counted; each part ends with a call of part_*, after which the counts are
 * its own
 * (--toggle-collect, --dump-after). First all is done for a while: what is made at the first use is not what a call
 * costs. */
#include "common.h"

#include <sys/epoll.h>

enum { CALLS = 200, WARM = 3, LARGE = 16 * KIB, SMALL = KIB, PIECE = 100, REQUEST = 64 };

static int end[2], set;
static uint8_t out[4 * LARGE], in[4 * LARGE];

#define MEASURED __attribute__((noinline, noclone)) static void

static void put(size_t len)
{
    CHECK(SYS(write(end[0], out, len)) == (long)len, "a write of %zu bytes was cut short", len);
}

static void take(size_t len)
{
    CHECK(SYS(read(end[1], in, len)) == (long)len, "a read of %zu bytes was cut short", len);
}

/* What was written to end 0 is there to be read: loopback delivers before the write returns, unless the machine has put
 * that off. */
static void await(void)
{
    struct pollfd p = {.fd = end[1], .events = POLLIN};
    SYS(poll(&p, 1, -1));
}

MEASURED measure_put(size_t len)
{
    put(len);
}

MEASURED measure_take(size_t len)
{
    take(len);
}

MEASURED measure_pieces(size_t len)
{
    for (size_t got = 0; got < len; got += PIECE)
        take(len - got < PIECE ? len - got : PIECE);
}

MEASURED measure_gather(size_t len)
{
    struct iovec iov[2] = {{out, PIECE}, {out + PIECE, len - PIECE}};
    CHECK(SYS(writev(end[0], iov, 2)) == (long)len, "writev was cut short");
}

MEASURED measure_scatter(size_t len)
{
    struct iovec iov[2] = {{in, PIECE}, {in + PIECE, len - PIECE}};
    CHECK(SYS(readv(end[1], iov, 2)) == (long)len, "readv was cut short");
}

/* What an event loop does for each request: there, and the answer back. */
MEASURED measure_request(void)
{
    struct epoll_event event;
    char none;
    put(REQUEST);
    CHECK(SYS(epoll_wait(set, &event, 1, -1)) == 1, "no event");
    take(REQUEST);
    CHECK(recv(end[1], &none, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN, "more than was written");
    CHECK(SYS(send(end[1], in, REQUEST, MSG_NOSIGNAL)) == REQUEST, "an answer was cut short");
    CHECK(SYS(recv(end[0], in, REQUEST, 0)) == REQUEST, "an answer was cut short");
}

static void each(int calls, void (*write_half)(size_t), void (*read_half)(size_t), size_t len)
{
    for (int i = 0; i < calls; i++) {
        write_half(len);
        await();
        read_half(len);
    }
}

static void warm(void)
{
    char byte;
    put(1);
    CHECK(SYS(read(end[1], &byte, 1)) == 1, "the first byte");
    CHECK(SYS(write(end[1], &byte, 1)) == 1, "the first answer");
    CHECK(SYS(read(end[0], &byte, 1)) == 1, "the first answer");
    for (int i = 0; i < 100; i++) { /* past the time in which a connection counts as unsettled */
        put(REQUEST);
        await();
        take(REQUEST);
        CHECK(SYS(write(end[1], in, REQUEST)) == REQUEST, "an answer");
        CHECK(SYS(read(end[0], in, REQUEST)) == REQUEST, "an answer");
    }
    for (int i = 0; i < WARM; i++) {
        put(sizeof out);
        await();
        take(sizeof out);
    }
}

static void requests(void)
{
    struct epoll_event event = {.events = EPOLLIN};
    set = (int)SYS(epoll_create1(EPOLL_CLOEXEC));
    SYS(epoll_ctl(set, EPOLL_CTL_ADD, end[1], &event));
    for (int i = 0; i < CALLS; i++)
        measure_request();
}

/* The nth name printed belongs to the nth part. */
__attribute__((noinline, noclone)) static void part_ends(const char *name)
{
    printf("part %s\n", name);
    fflush(stdout);
}

/* Without the watchdog: valgrind does not take the mask that a handler leaves, by which signals are put off inside the
 * library, and would deliver its signal over and over. */
int main(void)
{
    tcp_pair(end);
    set_option(end[0], IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(end[1], IPPROTO_TCP, TCP_NODELAY, 1);
    warm();
    part_ends("warm");
    requests();
    part_ends("requests");
    each(CALLS, measure_put, take, SMALL);
    part_ends("seal_1k");
    each(CALLS, put, measure_take, SMALL);
    part_ends("open_1k");
    each(CALLS, measure_put, take, LARGE);
    part_ends("seal_16k");
    each(CALLS, put, measure_take, LARGE);
    part_ends("open_16k");
    each(CALLS, measure_put, take, sizeof out);
    part_ends("seal_64k");
    each(CALLS, put, measure_take, sizeof out);
    part_ends("open_64k");
    each(CALLS, measure_gather, take, LARGE);
    part_ends("gather_16k");
    each(CALLS, put, measure_scatter, LARGE);
    part_ends("scatter_16k");
    each(CALLS / 10, put, measure_pieces, LARGE);
    part_ends("pieces");
    return 0;
}
