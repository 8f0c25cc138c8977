/* close_connecting [ROUNDS]: a number is closed while another thread is still in
 * the connect on it, which fails later. A connection that was made in between is none of its business. */
#include "common.h"

static uint16_t nobody_accepts;

/* One that nobody accepts from, and that is full: connect waits. */
static int full_listener(int fillers[4])
{
    int listener = tcp_listen(0, &nobody_accepts);
    struct sockaddr_in a = loopback(nobody_accepts);
    for (int i = 0; i < 4; i++) {
        fillers[i] = tcp_socket();
        SYS(fcntl(fillers[i], F_SETFL, O_NONBLOCK));
        CHECK(connect(fillers[i], (struct sockaddr *)&a, sizeof(a)) == 0 || errno == EINPROGRESS, "connect: %s",
              strerror(errno));
    }
    return listener;
}

static void *connect_in_vain(void *number)
{
    struct sockaddr_in a = loopback(nobody_accepts);
    CHECK(connect(*(int *)number, (struct sockaddr *)&a, sizeof(a)) < 0, "a connection to a full listener");
    return NULL;
}

/* SYN_SENT, as the kernel shows it. */
static bool is_connecting(int fd)
{
    struct tcp_info info;
    socklen_t len = sizeof(info);
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 && info.tcpi_state == TCP_SYN_SENT;
}

static void talk(int a, int b)
{
    stream_send(a, 1, 0, 1000);
    stream_recv(b, 1, 0, 1000);
    stream_send(b, 2, 0, 1000);
    stream_recv(a, 2, 0, 1000);
}

static void once(void)
{
    uint16_t port;
    int fillers[4], full = full_listener(fillers), listener = tcp_listen(1, &port), connecting = tcp_socket();
    pthread_t thread = thread_start(connect_in_vain, &connecting);
    while (!is_connecting(connecting))
        sched_yield();
    SYS(close(connecting));
    int a = tcp_connect(port), b = tcp_accept(listener);
    talk(a, b);
    SYS(close(full)); /* from now on connects are refused, those that wait at their next SYN */
    for (int i = 0; i < 4; i++)
        SYS(close(fillers[i]));
    CHECK(pthread_join(thread, NULL) == 0, "pthread_join");
    talk(a, b);
    SYS(close(a));
    expect_eof(b);
    SYS(close(b));
    SYS(close(listener));
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 1;
    watchdog_start();
    for (int i = 0; i < rounds; i++, progress())
        once();
    return 0;
}
