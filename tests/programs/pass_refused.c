/* pass_refused SECONDS: a thread sends itself the number of a connection again and again (SCM_RIGHTS), and uses what
 * comes, while others take the connection back by connect to AF_UNSPEC, and connect it anew to somebody who closes it
 * at once. All that is asked for is that the program lives on. */
#include "common.h"

static int pair[2], number;
static uint16_t port;
static atomic_bool stop;

static void *refuses(void *at)
{
    while (!atomic_load(&stop)) {
        int fd = accept(*(int *)at, NULL, NULL);
        if (fd >= 0)
            close(fd);
        progress();
    }
    return NULL;
}

static void *connects(void *unused)
{
    struct sockaddr_in a = loopback(port);
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    (void)unused;
    while (!atomic_load(&stop)) {
        connect(number, (struct sockaddr *)&a, sizeof(a));
        sched_yield();
        connect(number, &none, sizeof(none));
    }
    return NULL;
}

static void *passes(void *unused)
{
    (void)unused;
    while (!atomic_load(&stop)) {
        char byte = 'x', room[CMSG_SPACE(sizeof(int))] = {0};
        struct iovec iov = {&byte, 1};
        struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room)};
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        *c = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
        memcpy(CMSG_DATA(c), &number, sizeof(number));
        if (sendmsg(pair[0], &m, MSG_DONTWAIT) < 0 || recvmsg(pair[1], &m, MSG_DONTWAIT) < 0 || !CMSG_FIRSTHDR(&m))
            continue;
        int fd;
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
        send(fd, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        close(fd);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    int listener = tcp_listen(100, &port);
    struct timespec t = {argc > 1 ? atoi(argv[1]) : 1, 0};
    watchdog_start();
    SYS(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
    number = tcp_socket();
    SYS(fcntl(number, F_SETFL, O_NONBLOCK));
    pthread_t threads[] = {thread_start(refuses, &listener), thread_start(connects, NULL), thread_start(connects, NULL),
                           thread_start(passes, NULL), thread_start(passes, NULL)};
    SYS(ppoll(NULL, 0, &t, NULL));
    atomic_store(&stop, true);
    SYS(shutdown(listener, SHUT_RDWR));
    for (size_t i = 0; i < sizeof(threads) / sizeof(threads[0]); i++)
        CHECK(pthread_join(threads[i], NULL) == 0, "pthread_join");
    return 0;
}
