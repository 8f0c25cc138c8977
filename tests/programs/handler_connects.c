/* A handler that interrupts connect, in a program with many streams, leaves it by siglongjmp; another thread then
 * flushes all streams. Or it forks, while another thread forks, too. */
#include "common.h"

#include <setjmp.h>

enum { STREAMS = 10000, ROUNDS = 300, FORK_ROUNDS = 60, INTERVAL_US = 150 };

static sigjmp_buf out;
static volatile sig_atomic_t armed, left;
static bool forks;

static void on_alarm(int signo)
{
    (void)signo;
    if (!armed)
        return;
    left++;
    armed = 0;
    if (!forks)
        siglongjmp(out, 1);
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
}

static void every(long us)
{
    struct itimerval t = {{0, us}, {0, us}};
    SYS(setitimer(ITIMER_REAL, &t, NULL));
}

static void *flush_all(void *unused)
{
    fflush(NULL);
    return unused;
}

static atomic_bool over;

static void *fork_on(void *unused)
{
    while (!atomic_load(&over)) {
        pid_t pid = (pid_t)SYS(fork());
        if (pid == 0)
            _exit(0);
        SYS(waitpid(pid, NULL, 0));
    }
    return unused;
}

static pthread_t start(void *(*work)(void *))
{
    pthread_t thread;
    sigset_t alarm, before;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarm, &before); /* is the first thread's */
    CHECK(pthread_create(&thread, NULL, work, NULL) == 0, "no thread");
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return thread;
}

static void connects(uint16_t port)
{
    struct sockaddr_in to = loopback(port);
    for (volatile int i = 0; i < (forks ? FORK_ROUNDS : ROUNDS); i++) {
        volatile int fd = (int)SYS(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
        if (sigsetjmp(out, 1) == 0) {
            armed = 1;
            if (connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0)
                CHECK(errno == EINPROGRESS, "connect: %s", strerror(errno));
        }
        armed = 0;
        SYS(close(fd));
        if (i % 10 == 0)
            progress();
    }
}

int main(int argc, char **argv)
{
    static char bytes[STREAMS];
    uint16_t port;
    CHECK(argc == 2, "usage: handler_connects jump|fork");
    forks = strcmp(argv[1], "fork") == 0;
    watchdog_start();
    SYS(tcp_listen(ROUNDS, &port));
    for (int i = 0; i < STREAMS; i++)
        CHECK(fmemopen(&bytes[i], 1, "r"), "no stream");
    pthread_t forker = forks ? start(fork_on) : pthread_self();
    signal(SIGALRM, on_alarm);
    every(INTERVAL_US);
    connects(port);
    every(0);
    atomic_store(&over, true);
    pthread_join(forks ? forker : start(flush_all), NULL);
    printf("left %s\n", left > 0 ? "some" : "none");
    return 0;
}
