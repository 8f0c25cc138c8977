#include "box.h"

#include "slot.h"
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

static const char mark[BOX_TEXT] =
    "p2ptls: this was a protected connection. It can be used only by a program that runs under p2ptls with a policy of "
    "its own, and of the same version.\n";

union control {
    struct cmsghdr head;
    char room[CMSG_SPACE(BOX_ITEMS * sizeof(int))];
};

int box_pack(struct box_label *label, const int *items, int count)
{
    int ends[2];
    union control control;
    struct iovec iov = {label, sizeof *label};
    size_t bytes = (size_t)count * sizeof(int);
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_SPACE(bytes)};
    memcpy(label->text, mark, sizeof mark);
    label->layout = SLOT_LAYOUT;
    label->size = sizeof *label;
    memset(&control, 0, sizeof control);
    control.head = (struct cmsghdr){CMSG_LEN(bytes), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(&control.head), items, bytes);
    long made = sys4(SYS_socketpair, (long)AF_UNIX, (long)(SOCK_SEQPACKET | SOCK_CLOEXEC), 0L, ends);
    if (made != 0)
        return (int)made;
    long sent = sys3(SYS_sendmsg, (long)ends[1], &m, (long)(MSG_DONTWAIT | MSG_NOSIGNAL));
    sys1(SYS_close, (long)ends[1]);
    if (sent == (long)sizeof *label)
        return ends[0];
    sys1(SYS_close, (long)ends[0]);
    return sent < 0 ? (int)sent : -EMSGSIZE;
}

static bool is_seqpacket(int fd)
{
    int domain = 0, type = 0;
    socklen_t len = sizeof domain;
    if (sys5(SYS_getsockopt, (long)fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) != 0 || domain != AF_UNIX)
        return false;
    len = sizeof type;
    return sys5(SYS_getsockopt, (long)fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_SEQPACKET;
}

bool box_look(int fd, struct box_label *label)
{
    if (!is_seqpacket(fd))
        return false;
    long n = sys6(SYS_recvfrom, fd, SYS_ARG(label), (long)sizeof *label, MSG_PEEK | MSG_DONTWAIT, 0, 0);
    if (n < BOX_TEXT || memcmp(label->text, mark, sizeof mark) != 0)
        return false;
    if (n != (long)sizeof *label || label->layout != SLOT_LAYOUT || label->size != sizeof *label ||
        label->kind > BOX_LISTENER)
        label->kind = BOX_NONE;
    label->peer[sizeof label->peer - 1] = 0;
    return true;
}

bool box_open(int fd, int *items, int count)
{
    char text[BOX_TEXT];
    union control control;
    struct iovec iov = {text, sizeof text};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    memset(&control, 0, sizeof control);
    if (sys3(SYS_recvmsg, (long)fd, &m, (long)(MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC)) <= 0)
        return false;
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    int got = c && c->cmsg_type == SCM_RIGHTS ? (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int)) : 0;
    int found[BOX_ITEMS] = {-1, -1};
    if (got > 0)
        memcpy(found, CMSG_DATA(c), (size_t)(got < BOX_ITEMS ? got : BOX_ITEMS) * sizeof(int));
    if (got == count) {
        memcpy(items, found, (size_t)count * sizeof(int));
        return true;
    }
    for (int i = 0; i < BOX_ITEMS; i++)
        if (found[i] >= 0)
            sys1(SYS_close, (long)found[i]);
    return false;
}
