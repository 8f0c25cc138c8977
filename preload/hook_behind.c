/* Functions of libc that use a descriptor behind the hooks, and are small enough to be done again in front of them. */
#include "state.h"

#include <errno.h>
#include <pty.h>
#include <sys/eventfd.h>
#include <utmp.h>

HOOK int eventfd_read(int fd, eventfd_t *value)
{
    return read(fd, value, sizeof *value) == (ssize_t)sizeof *value ? 0 : -1;
}

HOOK int eventfd_write(int fd, eventfd_t value)
{
    return write(fd, &value, sizeof value) == (ssize_t)sizeof value ? 0 : -1;
}

/* These put a terminal on 0, 1 and 2 by dup2 inside libc: what was there is gone. */
static void forget_standard_numbers(void)
{
    for (int fd = 0; policy && fd <= 2; fd++)
        if (table_word(fd) != WORD_PLAIN)
            table_forget(fd);
}

HOOK int login_tty(int fd)
{
    int r = real()->login_tty(fd);
    if (r == 0)
        forget_standard_numbers();
    return r;
}

HOOK int forkpty(int *master, char *name, const struct termios *terminal, const struct winsize *size)
{
    int pid = real()->forkpty(master, name, terminal, size);
    if (pid == 0)
        forget_standard_numbers();
    return pid;
}
