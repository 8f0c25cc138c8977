/* Forks in a loop while other threads make handshakes, and one flushes all streams over a connection: no fork may wait
 * for a handshake that waits for what the fork holds (a PKCS#11 module that opens files by stdio takes libc's lock of
 * the list of streams). fork_handshakes FORKS */
#include "common.h"

enum { HANDSHAKERS = 2 };

static struct sockaddr_in at;
static int listener;
static FILE *stream;
static atomic_bool stop;
static atomic_int handshakes;

static void *accept_all(void *unused)
{
    (void)unused;
    for (;;) {
        char c;
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            return NULL; /* it was shut down */
        if (read(fd, &c, 1) == 1)
            CHECK(write(fd, &c, 1) == 1, "an echo");
        SYS(close(fd));
    }
}

static void *shake_hands(void *unused)
{
    (void)unused;
    while (!atomic_load(&stop)) {
        char c = 'c';
        int fd = SYS(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        SYS(connect(fd, (struct sockaddr *)&at, sizeof(at)));
        CHECK(write(fd, &c, 1) == 1 && read(fd, &c, 1) == 1, "an echo");
        SYS(close(fd));
        atomic_fetch_add(&handshakes, 1);
        progress();
    }
    return NULL;
}

static void *flush_all(void *unused)
{
    (void)unused;
    while (!atomic_load(&stop)) {
        fputs("some text ", stream);
        fflush(NULL);
        sched_yield(); /* libc's lock is not fair */
    }
    return NULL;
}

static void *discard(void *fd)
{
    char buffer[4096];
    while (read(*(int *)fd, buffer, sizeof(buffer)) > 0)
        ;
    return NULL;
}

static void listen_anywhere(void)
{
    socklen_t len = sizeof(at);
    at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    listener = SYS(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    SYS(bind(listener, (struct sockaddr *)&at, len));
    SYS(listen(listener, 16));
    SYS(getsockname(listener, (struct sockaddr *)&at, &len));
}

int main(int argc, char **argv)
{
    int forks = argc > 1 ? atoi(argv[1]) : 100, pair[2], status;
    pthread_t threads[HANDSHAKERS];
    watchdog_start();
    listen_anywhere();
    tcp_pair(pair);
    CHECK((stream = fdopen(pair[0], "w")) != NULL, "fdopen");
    thread_start(accept_all, NULL);
    thread_start(discard, &pair[1]);
    for (int i = 0; i < HANDSHAKERS; i++)
        threads[i] = thread_start(shake_hands, NULL);
    pthread_t flusher = thread_start(flush_all, NULL);
    for (int i = 0; i < forks || atomic_load(&handshakes) < forks / 4; i++) {
        pid_t pid = SYS(fork());
        if (pid == 0)
            _exit(0);
        CHECK(waitpid(pid, &status, 0) == pid && status == 0, "a child");
        progress();
    }
    atomic_store(&stop, true);
    for (int i = 0; i < HANDSHAKERS; i++)
        pthread_join(threads[i], NULL);
    pthread_join(flusher, NULL);
    puts("done");
    fflush(stdout);
    _exit(0);
}
