/* reconnect_race SECONDS: threads connect one socket by two numbers, take it back by connect to AF_UNSPEC, copy it and
 * write to it, all at once, and nobody gets further than the handshake, since what they meet is a plain listener. What
 * was written never gets there (policy: connect only; without one it does, of course). Prints `in clear N`. */
#include "common.h"

enum { WORD_BYTES = 8, NUMBERS = 2 };
static const char word[] = "CLEARLY!";
static int number[NUMBERS];
static uint16_t port;
static atomic_bool stop;
static atomic_uint in_clear, arrived;

static void *listens(void *at)
{
    int listener = *(int *)at;
    while (!atomic_load(&stop)) {
        char got[4096];
        int fd = accept(listener, NULL, NULL);
        if (fd < 0)
            continue;
        struct timeval t = {0, 2000};
        SYS(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)));
        for (ssize_t n; (n = recv(fd, got, sizeof(got), 0)) > 0;) {
            atomic_fetch_add(&arrived, 1);
            if (memmem(got, (size_t)n, word, WORD_BYTES))
                atomic_fetch_add(&in_clear, 1);
        }
        close(fd);
        progress();
    }
    return NULL;
}

static void *connects(void *at)
{
    struct sockaddr_in a = loopback(port);
    while (!atomic_load(&stop)) {
        connect(*(int *)at, (struct sockaddr *)&a, sizeof(a));
        sched_yield();
    }
    return NULL;
}

static void *takes_back(void *at)
{
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    while (!atomic_load(&stop)) {
        connect(*(int *)at, &none, sizeof(none));
        sched_yield();
    }
    return NULL;
}

static void *writes(void *at)
{
    while (!atomic_load(&stop))
        send(*(int *)at, word, WORD_BYTES, MSG_NOSIGNAL | MSG_DONTWAIT);
    return NULL;
}

static void *copies(void *at)
{
    while (!atomic_load(&stop)) {
        int copy = dup(*(int *)at);
        for (int i = 0; i < 20; i++)
            send(copy, word, WORD_BYTES, MSG_NOSIGNAL | MSG_DONTWAIT);
        close(copy);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    int listener = tcp_listen(100, &port);
    struct timespec t = {argc > 1 ? atoi(argv[1]) : 1, 0};
    watchdog_start();
    number[0] = tcp_socket();
    number[1] = (int)SYS(dup(number[0]));
    pthread_t threads[] = {
        thread_start(connects, &number[0]), thread_start(connects, &number[1]),   thread_start(listens, &listener),
        thread_start(connects, &number[0]), thread_start(takes_back, &number[1]), thread_start(writes, &number[1]),
        thread_start(writes, &number[0]),   thread_start(copies, &number[0]),     thread_start(takes_back, &number[0]),
    };
    SYS(ppoll(NULL, 0, &t, NULL));
    atomic_store(&stop, true);
    SYS(shutdown(listener, SHUT_RDWR));
    for (size_t i = 0; i < sizeof(threads) / sizeof(threads[0]); i++)
        CHECK(pthread_join(threads[i], NULL) == 0, "pthread_join");
    printf("arrived %u in clear %u\n", atomic_load(&arrived), atomic_load(&in_clear));
    return 0;
}
