/* Readiness that the kernel knows nothing of (conn_leftover), added to what epoll_wait reports. */
#ifndef P2PTLS_EPOLL_LEFTOVER_H
#define P2PTLS_EPOLL_LEFTOVER_H

#include <stdbool.h>
#include <sys/epoll.h>

/* Only a process in a sandbox leaves such bytes, or one with which this process shares connections. */
bool leftover_in(int epfd);
/* Adds them to the count events that are there already. Returns how many there are then. */
int leftover_add(int epfd, struct epoll_event *events, int room, int count);

#endif
