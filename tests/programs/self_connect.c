/* A single-threaded program that connects to itself and writes before it accepts: nothing of the other end has run when
 * connect and the writes have to return. */
#include "common.h"

enum { AMOUNT = 64 * KIB };

/* Bytes go one way while one end alone has been touched, then the other way. */
static void round_trip(int first, int second, uint64_t seed)
{
    stream_send(first, seed, 0, AMOUNT);
    stream_recv(second, seed, 0, AMOUNT);
    stream_send(second, seed + 1, 0, AMOUNT);
    stream_recv(first, seed + 1, 0, AMOUNT);
}

static void finish(int first, int second)
{
    SYS(shutdown(first, SHUT_WR));
    expect_eof(second);
    SYS(shutdown(second, SHUT_WR));
    expect_eof(first);
    SYS(close(first));
    SYS(close(second));
}

static void write_before_accept(int listener, uint16_t port)
{
    int out = tcp_connect(port);
    stream_send(out, 10, 0, AMOUNT);
    int in = tcp_accept(listener);
    stream_recv(in, 10, 0, AMOUNT);
    stream_send(in, 11, 0, AMOUNT);
    stream_recv(out, 11, 0, AMOUNT);
    round_trip(out, in, 12);
    finish(out, in);
}

/* The accepted end writes first; the connecting one has done nothing but connect. */
static void accepted_end_writes_first(int listener, uint16_t port)
{
    int out = tcp_connect(port);
    int in = tcp_accept(listener);
    round_trip(in, out, 20);
    finish(out, in);
}

/* The connecting end has written, half-closed and is gone before anybody accepts. */
static void close_before_accept(int listener, uint16_t port)
{
    int out = tcp_connect(port);
    stream_send(out, 30, 0, AMOUNT);
    SYS(shutdown(out, SHUT_WR));
    int in = tcp_accept(listener);
    stream_recv(in, 30, 0, AMOUNT);
    expect_eof(in);
    stream_send(in, 31, 0, AMOUNT);
    stream_recv(out, 31, 0, AMOUNT);
    SYS(close(in));
    expect_eof(out);
    SYS(close(out));
}

int main(void)
{
    uint16_t port;
    watchdog_start();
    int listener = tcp_listen(8, &port);
    for (int i = 0; i < 3; i++) {
        write_before_accept(listener, port);
        accepted_end_writes_first(listener, port);
        close_before_accept(listener, port);
    }
    SYS(close(listener));
    return 0;
}
