/* Connections whose both ends are used from beginning to end on small stacks: of threads, or of coroutines
 * (makecontext(3)), in KiB. The other side is another process, which lives as small. */
#include "common.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>

enum { ROUNDS = 5, TEXT = 20000 };

static uint16_t port;
static int listener;
static char text[TEXT], got[2][TEXT];

static void exchange(int fd, bool first)
{
    for (int i = 0; i < 2; i++) {
        if (first == (i == 0))
            write_all(fd, text, TEXT);
        else
            CHECK(read_full(fd, got[first], TEXT) == TEXT && !memcmp(got[first], text, TEXT), "another text");
    }
}

static void *call_up(void *unused)
{
    for (int i = 0; i < ROUNDS; i++) {
        int fd = tcp_connect(port);
        exchange(fd, true);
        SYS(close(fd));
        progress();
    }
    return unused;
}

static void *answer(void *unused)
{
    for (int i = 0; i < ROUNDS; i++) {
        int fd = tcp_accept(listener);
        exchange(fd, false);
        SYS(close(fd));
    }
    return unused;
}

static void in_thread(void *(*work)(void *), size_t bytes)
{
    pthread_t thread;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    CHECK(pthread_attr_setstacksize(&attr, bytes) == 0, "a stack of %zu", bytes);
    CHECK(pthread_create(&thread, &attr, work, NULL) == 0, "no thread");
    pthread_join(thread, NULL);
}

static void *(*coroutine_work)(void *);

static void coroutine(void)
{
    coroutine_work(NULL);
}

/* Below its stack is a page that may not be touched. */
static void in_coroutine(void *(*work)(void *), size_t bytes)
{
    static ucontext_t back, there;
    char *stack = mmap(NULL, bytes + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(stack != MAP_FAILED && mprotect(stack, 4096, PROT_NONE) == 0, "no stack");
    coroutine_work = work;
    SYS(getcontext(&there));
    there.uc_stack = (stack_t){.ss_sp = stack + 4096, .ss_size = bytes};
    there.uc_link = &back;
    makecontext(&there, coroutine, 0);
    SYS(swapcontext(&back, &there));
}

int main(int argc, char **argv)
{
    CHECK(argc == 3, "usage: small_stacks threads|coroutines KIB");
    void (*in)(void *(*)(void *), size_t) = strcmp(argv[1], "threads") == 0 ? in_thread : in_coroutine;
    const size_t bytes = strtoul(argv[2], NULL, 10) * 1024;
    int status;
    watchdog_start();
    memset(text, 'w', sizeof text);
    listener = tcp_listen(8, &port);
    pid_t pid = (pid_t)SYS(fork());
    in(pid == 0 ? answer : call_up, bytes);
    if (pid == 0)
        return 0;
    SYS(waitpid(pid, &status, 0));
    CHECK(status == 0, "the other process: %d", status);
    return 0;
}
