/* altstack_storm: a handler on a small alternate stack makes the program's first connections, while other signals come
 * whose handler runs there, too. Each gets room below the one that it has interrupted: what that one keeps on the stack
 * stays as it is, and it returns to where it came from. */
#include "common.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>

enum { STACK = 32 * KIB, WORDS = 256, ROUNDS = 20 };

static uint16_t port;
static atomic_bool over;
static atomic_int storms, connected;
static pid_t main_thread;

static void on_storm(int signal_number)
{
    volatile char here[2 * KIB];
    for (size_t i = 0; i < sizeof(here); i++)
        here[i] = (char)signal_number;
    storms++;
}

static void on_connect(int signal_number)
{
    volatile uint64_t words[WORDS];
    char byte = 'b';
    int saved = errno;
    for (size_t i = 0; i < WORDS; i++)
        words[i] = mix64(i);
    int fd = tcp_connect(port);
    write_all(fd, &byte, 1);
    CHECK(read_full(fd, &byte, 1) == 1 && byte == 'b', "the answer");
    SYS(close(fd));
    for (size_t i = 0; i < WORDS; i++)
        CHECK(words[i] == mix64(i), "word %zu of signal %d's handler was overwritten", i, signal_number);
    connected++;
    errno = saved;
}

static void *storm(void *unused)
{
    while (!over) {
        syscall(SYS_tgkill, getpid(), main_thread, SIGUSR1);
        sched_yield();
    }
    return unused;
}

static void answer(int listener)
{
    for (int i = 0; i < ROUNDS; i++) {
        char byte;
        int fd = tcp_accept(listener);
        CHECK(read_full(fd, &byte, 1) == 1, "a byte");
        write_all(fd, &byte, 1);
        expect_eof(fd);
        SYS(close(fd));
    }
    _exit(0);
}

/* This process knows nothing of the library's keys before its first connection: another one listens. */
static pid_t start_answering(void)
{
    int pipe_end[2];
    SYS(pipe(pipe_end));
    pid_t other = fork_child();
    if (other == 0) {
        uint16_t own;
        int listener = tcp_listen(4, &own);
        SYS(write(pipe_end[1], &own, sizeof(own)));
        answer(listener);
    }
    CHECK(read(pipe_end[0], &port, sizeof(port)) == sizeof(port), "the port");
    return other;
}

static void handle(int signal_number, void (*handler)(int))
{
    struct sigaction act = {.sa_handler = handler, .sa_flags = SA_ONSTACK | SA_RESTART};
    SYS(sigaction(signal_number, &act, NULL));
}

int main(void)
{
    watchdog_start();
    main_thread = gettid();
    pid_t other = start_answering();
    stack_t alternate = {.ss_size = STACK};
    alternate.ss_sp = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(alternate.ss_sp != MAP_FAILED, "mmap");
    SYS(sigaltstack(&alternate, NULL));
    handle(SIGUSR1, on_storm);
    handle(SIGALRM, on_connect);
    pthread_t thread = thread_start(storm, NULL);
    while (connected < ROUNDS)
        raise(SIGALRM);
    over = true;
    pthread_join(thread, NULL);
    CHECK(storms > 0, "no signal has come");
    reap(other, "who answers");
    return 0;
}
