#include "epoll_leftover.h"

#include "epoll_notes.h"
#include "state.h"
#include "sys.h"

struct leftovers {
    int epfd;
    struct epoll_event *events; /* NULL: only whether there is one */
    int room, count;
    bool found;
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

static void look_at(struct epoll_note *n, void *arg)
{
    struct leftovers *l = arg;
    if (n->epfd != l->epfd || !(n->event.events & (EPOLLIN | EPOLLRDNORM)))
        return;
    l->found = true;
    if (!l->events)
        return;
    report(l, &n->event);
    if (n->event.events & EPOLLONESHOT) {
        struct epoll_event off = {.events = EPOLLONESHOT, .data = n->event.data};
        sys4(SYS_epoll_ctl, (long)n->epfd, (long)EPOLL_CTL_MOD, (long)n->fd, &off);
        n->event.events &= ~(uint32_t)(EPOLLIN | EPOLLRDNORM);
    }
}

static void look(struct desc *d, void *arg)
{
    if (core->conn_leftover(d->conn))
        notes_each(d, look_at, arg);
}

static void look_at_all(struct leftovers *l)
{
    library_enter();
    desc_each(look, l);
    library_leave();
}

int leftover_add(int epfd, struct epoll_event *events, int room, int count)
{
    struct leftovers l = {.epfd = epfd, .events = events, .room = room, .count = count};
    if (count < 0)
        return count;
    look_at_all(&l);
    return l.count;
}

bool leftover_in(int epfd)
{
    struct leftovers l = {.epfd = epfd};
    if (!core || !(forbidden.receive || fork_relative_sandboxed()))
        return false;
    look_at_all(&l);
    return l.found;
}
