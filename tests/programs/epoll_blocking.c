/* epoll_blocking: a program that asks epoll about blocking descriptors trusts the answer, since its read would hang. No
 * event before the peer has written, though much may go on below; then one, and the read gives the bytes. */
#include "common.h"

#include <sys/epoll.h>

static int expect_events(int epfd, int timeout_ms, int wanted, const char *when)
{
    struct epoll_event event;
    int n = (int)SYS(epoll_wait(epfd, &event, 1, timeout_ms));
    CHECK(n == wanted, "%s: %d events, events %x", when, n, n ? event.events : 0);
    return n ? event.data.fd : -1;
}

static void try_kind(uint32_t kind)
{
    int end[2], epfd = (int)SYS(epoll_create1(EPOLL_CLOEXEC));
    char text[6] = "";
    tcp_pair(end);
    for (int i = 0; i < 2; i++) {
        struct epoll_event event = {.events = EPOLLIN | kind, .data.fd = end[i]};
        SYS(epoll_ctl(epfd, EPOLL_CTL_ADD, end[i], &event));
    }
    expect_events(epfd, 300, 0, "nothing was written");
    for (int i = 0; i < 2; i++) {
        CHECK(write(end[!i], "hello", 5) == 5, "write");
        CHECK(expect_events(epfd, 20000, 1, "written") == end[i], "the wrong descriptor");
        CHECK(read(end[i], text, sizeof text) == 5 && strcmp(text, "hello") == 0, "read %s", text);
    }
    if (!(kind & EPOLLONESHOT)) {
        SYS(close(end[1]));
        CHECK(expect_events(epfd, 20000, 1, "closed") == end[0] && read(end[0], text, 1) == 0, "the end");
    }
    close(end[0]);
    close(epfd);
}

int main(void)
{
    watchdog_start();
    try_kind(0);
    try_kind(EPOLLET);
    try_kind(EPOLLONESHOT);
    return 0;
}
