/* For LD_PRELOAD, after the library: the program's calendar is wrong by CLOCK_SHIFT seconds. An attacker sets his clock
 * as he likes. */
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

#include <sys/syscall.h>
#include <unistd.h>

static long shift(void)
{
    const char *text = getenv("CLOCK_SHIFT");
    return text ? strtol(text, NULL, 10) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *t)
{
    const int r = (int)syscall(SYS_clock_gettime, clock, t);
    if (r == 0 && clock == CLOCK_REALTIME)
        t->tv_sec += shift();
    return r;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone)
{
    const int r = (int)syscall(SYS_gettimeofday, t, zone);
    if (r == 0)
        t->tv_sec += shift();
    return r;
}

time_t time(time_t *out)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_REALTIME, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}
