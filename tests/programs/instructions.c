/* For callgrind: hundreds of calls of each kind on unselected descriptors, each kind within a function of its own,
 * whose inclusive count of instructions tells what one call costs. */
#include "common.h"

enum { CALLS = 500 };

static int pair[2], copies[CALLS];
static char byte;

#define MEASURED __attribute__((noinline, noclone)) static void

MEASURED measure_write(void)
{
    for (volatile int i = 0; i < CALLS; i++)
        SYS(write(pair[0], "x", 1));
}

MEASURED measure_read(void)
{
    for (volatile int i = 0; i < CALLS; i++)
        SYS(read(pair[1], &byte, 1));
}

MEASURED measure_send(void)
{
    for (volatile int i = 0; i < CALLS; i++)
        SYS(send(pair[0], "x", 1, 0));
}

MEASURED measure_recv(void)
{
    for (volatile int i = 0; i < CALLS; i++)
        SYS(recv(pair[1], &byte, 1, 0));
}

MEASURED measure_close(void)
{
    for (volatile int i = 0; i < CALLS; i++)
        SYS(close(copies[i]));
}

/* Unselected sockets of the kind that a policy could select. Each call is made once before it is measured, for the
 * dynamic linker. */
int main(void)
{
    tcp_pair(pair);
    SYS(write(pair[0], "x", 1));
    SYS(read(pair[1], &byte, 1));
    SYS(send(pair[0], "x", 1, 0));
    SYS(recv(pair[1], &byte, 1, 0));
    SYS(close(dup(pair[0])));
    for (int i = 0; i < CALLS; i++)
        copies[i] = (int)SYS(dup(pair[0]));
    measure_write();
    measure_read();
    measure_send();
    measure_recv();
    measure_close();
    return 0;
}
