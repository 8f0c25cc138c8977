/* What is registered in which epoll set, with which data: so that an event finds its connection (hook_epoll.c), and
 * closing finds the sets (hook_close.c). The kernel alone knows what holds: sets may be shared with other processes,
 * and numbers be used anew. A note only says where to look. */
#ifndef P2PTLS_EPOLL_NOTES_H
#define P2PTLS_EPOLL_NOTES_H

#include "table.h"

#include <sys/epoll.h>

struct epoll_note {
    struct epoll_note *next;                /* of the same desc, or of those without one */
    struct epoll_note *next_alike, **alike; /* with the same hash of the data; what points to this one */
    struct desc *desc;                      /* NULL: a socket that is not connected yet */
    int epfd, fd;
    struct epoll_event event; /* as the program registered it */
    bool blocking;            /* whoever polls it trusts the answer */
    bool told;                /* EPOLLONESHOT: the program has had its event, and has not armed it again */
};

/* epoll_ctl(2), and the note. d: of fd, pinned; or NULL for a socket that may be connected later. A thread in
 * notes_find sees both or none. */
int notes_control(struct desc *d, int epfd, int op, int fd, struct epoll_event *event);
/* The same for a descriptor that will never be protected, whose event is the kernel's to tell: no lock, no call. */
void notes_other(int epfd, int fd, const struct epoll_event *event);

/* fd, perhaps registered before it was connected, is d's from now on; d is pinned, or nobody else's yet. */
void notes_adopt(struct desc *d, int fd);
/* d goes. */
void notes_drop(struct desc *d);
/* Takes fd, a number of d that is about to be closed while a dup of ours stays, out of all sets. */
void notes_leave(struct desc *d, int fd);
/* fd is no number of d's any more. (The kernel goes on reporting it while d has others, and the event is not looked
 * at.) */
void notes_forget(struct desc *d, int fd);
/* fd, registered before it was connected, is closed, or was connected in clear: nothing of it is kept. */
void notes_stay_plain(int fd);
/* Calls fn for each of d's, under the lock. */
void notes_each(struct desc *d, void (*fn)(struct epoll_note *n, void *arg), void *arg);

/* Copies of the notes with these data, of any set: how many there are (perhaps more than room). */
int notes_find(uint64_t data, struct epoll_note *found, int room);
/* Of an event of the note's set that says nothing, or that the program gets. An EPOLLONESHOT registration that has
 * fired for nothing is armed again. */
void notes_swallowed(int epfd, const struct epoll_note *n);
void notes_told(const struct epoll_note *n);

/* Is fd, as the kernel has it, in the set? */
bool notes_registered(int epfd, int fd);
/* The descriptor told to notes_other of these data, if it is remembered; -1. */
int notes_other_with(int epfd, uint64_t data);
/* Copies of the notes of this set whose descs are watched: how many (perhaps more than room). */
int notes_watched_in(int epfd, struct epoll_note *found, int room);

/* Descs whose readiness is to be looked at: registered, and unsettled (conn_unsettled) or blocking. While there is
 * none, events cost nothing. d is pinned. */
#pragma GCC visibility push(hidden)
extern _Atomic unsigned notes_watched;
#pragma GCC visibility pop
void notes_watch(struct desc *d);
void notes_unwatch(struct desc *d);

#endif
