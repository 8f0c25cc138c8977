#include "passing.h"

#include "handover.h"

#include "sys.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PASSED_MAX = 253 }; /* SCM_MAX_FD, unix(7) */

struct passing {
    struct msghdr message;
    unsigned count;
    int boxes[PASSED_MAX];
    struct desc *descs[PASSED_MAX]; /* held; NULL for a listener */
    char control[];
};

/* 0 for what reaches beyond the buffer, too: the kernel will say EINVAL. */
static unsigned fds_of(const struct msghdr *m, const struct cmsghdr *c)
{
    size_t room = m->msg_controllen - (size_t)((const char *)c - (const char *)m->msg_control);
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || c->cmsg_len < CMSG_LEN(0) || c->cmsg_len > room)
        return 0;
    return (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
}

static int fd_at(const struct cmsghdr *c, unsigned i)
{
    int fd;
    memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
    return fd;
}

static bool needs_box(int fd)
{
    table_not_fresh(fd);
    return table_find(fd) || word_is_listener(table_word(fd));
}

bool passing_needed(const struct msghdr *m)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR((struct msghdr *)m, c))
        for (unsigned i = 0; i < fds_of(m, c); i++)
            if (needs_box(fd_at(c, i)))
                return true;
    return false;
}

static int fail(int error)
{
    errno = error;
    return -1;
}

static int box_of_listener(int fd)
{
    struct box_label label = {.kind = BOX_LISTENER};
    int box = box_pack(&label, &fd, 1);
    return box < 0 ? fail(-box) : box;
}

/* The box that travels instead of fd. Takes a hold on its desc. */
static int box_of(int fd, struct desc **held)
{
    struct desc *d = table_find(fd);
    *held = NULL;
    if (!d)
        return box_of_listener(fd);
    if (desc_special(d))
        return fail(desc_special(d));
    if (!desc_enter(d, fd))
        return fail(EBADF);
    desc_hold(d);
    desc_leave(d);
    int items[2] = {fd, handover_box(d)};
    struct box_label label = {.kind = BOX_PASSED};
    int box = items[1] < 0 ? items[1] : box_pack(&label, items, 2);
    if (box < 0) {
        desc_release(d);
        return fail(-box);
    }
    *held = d;
    core->conn_depart(d->conn);
    return box;
}

static bool wrap(struct passing *p)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&p->message); c; c = CMSG_NXTHDR(&p->message, c)) {
        for (unsigned i = 0; i < fds_of(&p->message, c); i++) {
            int fd = fd_at(c, i);
            if (!needs_box(fd))
                continue;
            if (p->count == PASSED_MAX)
                return fail(EINVAL) == 0;
            int box = box_of(fd, &p->descs[p->count]);
            if (box < 0)
                return false;
            p->boxes[p->count++] = box;
            memcpy(CMSG_DATA(c) + i * sizeof box, &box, sizeof box);
        }
    }
    return true;
}

const struct msghdr *passing_begin(const struct msghdr *m, struct passing **passing)
{
    *passing = NULL;
    if (!passing_needed(m))
        return m;
    struct passing *p = malloc(sizeof *p + m->msg_controllen);
    if (!p) {
        errno = ENOMEM;
        return NULL;
    }
    p->message = *m;
    p->count = 0;
    p->message.msg_control = p->control;
    memcpy(p->control, m->msg_control, m->msg_controllen);
    if (!wrap(p)) {
        passing_end(p, false);
        return NULL;
    }
    *passing = p;
    return &p->message;
}

void passing_end(struct passing *p, bool sent)
{
    int saved = errno;
    for (unsigned i = 0; i < p->count; i++) {
        sys1(SYS_close, (long)p->boxes[i]);
        if (!p->descs[i])
            continue;
        if (!sent)
            core->conn_return(p->descs[i]->conn);
        desc_release(p->descs[i]);
    }
    free(p);
    errno = saved;
}

void passing_received(const struct msghdr *m, int flags)
{
    int saved = errno;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR((struct msghdr *)m, c))
        for (unsigned i = 0; i < fds_of(m, c); i++) {
            int fd = fd_at(c, i);
            if (handover_receive(fd, flags & MSG_CMSG_CLOEXEC, flags & MSG_PEEK))
                continue;
            if (table_word(fd) != WORD_PLAIN)
                table_forget(fd);
            table_set(fd, WORD_UNKNOWN);
            if (fd <= 2) /* one of these was closed, and its stream is still there */
                streams_adopt(fd);
        }
    errno = saved;
}
