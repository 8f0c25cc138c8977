/* epoll: handshakes are started when a connection is registered. Readiness is the kernel's own, but for what a process
 * in a sandbox has left over (conn_leftover), which is added here. */
#include "stream.h"

#include "memory.h"
#include "sys.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

static int fail(int error)
{
    errno = error;
    return -1;
}

/* Registrations are noted, so that closing can take them back while a dup of ours stays (hook_close.c). */
static pthread_mutex_t notes_lock = PTHREAD_MUTEX_INITIALIZER; /* held while d is pinned: a fork finds it free */

static struct epoll_note *note_of(struct desc *d, int epfd, int fd)
{
    for (struct epoll_note *n = d->epolls; n; n = n->next)
        if (n->epfd == epfd && n->fd == fd)
            return n;
    struct epoll_note *n = malloc(sizeof *n);
    if (n) {
        *n = (struct epoll_note){d->epolls, epfd, fd, {0}};
        d->epolls = n;
    }
    return n;
}

static void note_registration(struct desc *d, int epfd, int fd, const struct epoll_event *event)
{
    pthread_mutex_lock(&notes_lock);
    struct epoll_note *n = note_of(d, epfd, fd);
    if (n)
        n->event = *event;
    pthread_mutex_unlock(&notes_lock);
}

HOOK int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
    struct desc *d = table_find(fd);
    if (d && desc_special(d))
        return fail(desc_special(d));
    if (d && op != EPOLL_CTL_DEL && memory_readable(event, sizeof *event)) {
        stream_touch(d, fd);
        if (desc_enter(d, fd)) {
            note_registration(d, epfd, fd, event);
            desc_leave(d);
        }
    }
    return real()->epoll_ctl(epfd, op, fd, event);
}

/* Descs of one epoll set with something left over. */
struct leftovers {
    int epfd;
    struct epoll_event *events;
    int room, count;
};

/* The kernel may have reported the registration for another reason, such as room to write. */
static void report(struct leftovers *l, const struct epoll_event *event)
{
    for (int i = 0; i < l->count; i++) {
        if (l->events[i].data.u64 != event->data.u64)
            continue;
        l->events[i].events |= event->events & (EPOLLIN | EPOLLRDNORM);
        return;
    }
    if (l->count == l->room)
        return;
    l->events[l->count++] =
        (struct epoll_event){.events = event->events & (EPOLLIN | EPOLLRDNORM), .data = event->data};
}

static void look(struct desc *d, void *arg)
{
    struct leftovers *l = arg;
    if (!core->conn_leftover(d->conn))
        return;
    pthread_mutex_lock(&notes_lock);
    for (struct epoll_note *n = d->epolls; n; n = n->next) {
        if (n->epfd != l->epfd || !(n->event.events & (EPOLLIN | EPOLLRDNORM)))
            continue;
        report(l, &n->event);
        if (n->event.events & EPOLLONESHOT) {
            struct epoll_event off = {.events = EPOLLONESHOT, .data = n->event.data};
            sys4(SYS_epoll_ctl, (long)n->epfd, (long)EPOLL_CTL_MOD, (long)n->fd, &off);
            n->event.events &= ~(uint32_t)(EPOLLIN | EPOLLRDNORM);
        }
    }
    pthread_mutex_unlock(&notes_lock);
}

/* Adds what the kernel does not know to its count events. */
static int add_leftovers(int epfd, struct epoll_event *events, int room, int count)
{
    struct leftovers l = {epfd, events, room, count};
    if (count < 0)
        return count;
    library_enter();
    desc_each(look, &l);
    library_leave();
    return l.count;
}

struct search {
    int epfd;
    bool found;
};

static void search(struct desc *d, void *arg)
{
    struct search *s = arg;
    if (!core->conn_leftover(d->conn))
        return;
    pthread_mutex_lock(&notes_lock);
    for (struct epoll_note *n = d->epolls; n; n = n->next)
        s->found |= n->epfd == s->epfd && (n->event.events & (EPOLLIN | EPOLLRDNORM));
    pthread_mutex_unlock(&notes_lock);
}

/* Only a process in a sandbox leaves such bytes, or one with which this process shares connections. */
static bool any_leftover(int epfd)
{
    struct search s = {epfd, false};
    if (!core || !(forbidden.receive || fork_shared))
        return false;
    library_enter();
    desc_each(search, &s);
    library_leave();
    return s.found;
}

HOOK int epoll_wait(int epfd, struct epoll_event *events, int room, int timeout)
{
    bool leftover = any_leftover(epfd);
    int n = real()->epoll_wait(epfd, events, room, leftover ? 0 : timeout);
    return leftover ? add_leftovers(epfd, events, room, n) : n;
}

HOOK int epoll_pwait(int epfd, struct epoll_event *events, int room, int timeout, const sigset_t *mask)
{
    bool leftover = any_leftover(epfd);
    int n = real()->epoll_pwait(epfd, events, room, leftover ? 0 : timeout, mask);
    return leftover ? add_leftovers(epfd, events, room, n) : n;
}

HOOK int epoll_pwait2(int epfd, struct epoll_event *events, int room, const struct timespec *timeout,
                      const sigset_t *mask)
{
    static const struct timespec now;
    bool leftover = any_leftover(epfd);
    int n = real()->epoll_pwait2(epfd, events, room, leftover ? &now : timeout, mask);
    return leftover ? add_leftovers(epfd, events, room, n) : n;
}
