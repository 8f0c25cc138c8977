/* io_submit(2), by its number and by libaio's function, on sockets: protected ones, ones that nobody has connected, and
 * one that another process has connected. Then on a file, argv[1]. */
#include "calls.h"

#include <dlfcn.h>
#include <linux/aio_abi.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static aio_context_t context;
static int (*by_name)(aio_context_t, long, struct iocb **);

/* 1 or -errno, in both ways. */
static int submit(int fd, int opcode, const char *text)
{
    struct iocb cb = {.aio_fildes = (unsigned)fd, .aio_lio_opcode = (unsigned short)opcode}, *batch[] = {&cb};
    if (opcode == IOCB_CMD_POLL) {
        cb.aio_buf = POLLIN;
    } else {
        cb.aio_buf = (uintptr_t)text;
        cb.aio_nbytes = strlen(text);
    }
    long r = syscall(SYS_io_submit, context, 1, batch);
    int raw = r < 0 ? -errno : (int)r;
    GIVES(by_name(context, 1, batch), raw);
    return raw;
}

static void by_another_process(void)
{
    uint16_t port;
    int listener = tcp_listen(1, &port), shared = (int)SYS(socket(AF_INET, SOCK_STREAM, 0)), told[2], status;
    struct sockaddr_in a = loopback(port);
    SYS(pipe(told));
    pid_t pid = (pid_t)SYS(fork());
    if (pid == 0) {
        char byte;
        close(told[1]);
        SYS(connect(shared, (struct sockaddr *)&a, sizeof a));
        (void)!read(told[0], &byte, 1);
        _exit(0);
    }
    close(told[0]);
    int accepted = tcp_accept(listener);
    GIVES(submit(shared, IOCB_CMD_PWRITE, "in clear"), -EOPNOTSUPP);
    close(told[1]);
    SYS(waitpid(pid, &status, 0));
    close(accepted);
    close(shared);
    close(listener);
}

int main(int argc, char **argv)
{
    int end[2];
    uint16_t port;
    CHECK(argc == 2, "a file is missing");
    by_name = (__typeof__(by_name))dlsym(RTLD_DEFAULT, "io_submit");
    CHECK(by_name, "io_submit is not in front");
    watchdog_start();
    SYS(syscall(SYS_io_setup, 16, &context));
    tcp_pair(end);
    write_all(end[0], "a", 1);
    expect_text(end[1], "a");
    GIVES(submit(end[0], IOCB_CMD_PWRITE, "in clear"), -EOPNOTSUPP);
    int single = (int)SYS(socket(AF_INET, SOCK_STREAM, 0)), listener = tcp_listen(1, &port);
    GIVES(submit(single, IOCB_CMD_PWRITE, "in clear"), -EOPNOTSUPP);
    GIVES(submit(single, IOCB_CMD_POLL, NULL), 1);
    GIVES(submit(listener, IOCB_CMD_POLL, NULL), 1);
    by_another_process();
    GIVES(submit((int)SYS(open(argv[1], O_CREAT | O_WRONLY, 0600)), IOCB_CMD_PWRITE, "words"), 1);
    return 0;
}
