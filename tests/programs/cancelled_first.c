/* cancelled_first: a thread that is to be cancelled makes the program's first connection. It ends in connect, which is
 * a cancellation point; what connect sets up on the way is there for the others afterwards. */
#include "common.h"

static struct sockaddr_in to;

static void *connect_cancelled(void *fd)
{
    pthread_cancel(pthread_self());
    connect(*(int *)fd, (struct sockaddr *)&to, sizeof(to));
    pthread_testcancel();
    return NULL;
}

static void *answer(void *listener)
{
    char byte;
    int fd = tcp_accept(*(int *)listener);
    CHECK(read_full(fd, &byte, 1) == 1, "a byte");
    write_all(fd, &byte, 1);
    SYS(close(fd));
    return NULL;
}

int main(void)
{
    uint16_t port;
    char byte = 'b';
    void *end;
    watchdog_start();
    int listener = tcp_listen(2, &port), first = tcp_socket(), second = tcp_socket();
    to = loopback(port);
    pthread_attr_t small; /* so small that the library takes another stack for what needs more */
    pthread_t thread;
    CHECK(pthread_attr_init(&small) == 0 && pthread_attr_setstacksize(&small, 24 * KIB) == 0, "a small stack");
    CHECK(pthread_create(&thread, &small, connect_cancelled, &first) == 0, "pthread_create");
    pthread_join(thread, &end);
    CHECK(end == PTHREAD_CANCELED, "the thread was not cancelled");
    SYS(close(listener)); /* with what the first one may have left in it */
    listener = tcp_listen(1, &port);
    to = loopback(port);
    thread = thread_start(answer, &listener);
    SYS(connect(second, (struct sockaddr *)&to, sizeof(to)));
    write_all(second, &byte, 1);
    CHECK(read_full(second, &byte, 1) == 1 && byte == 'b', "the answer");
    pthread_join(thread, NULL);
    return 0;
}
