/* Urgent data (MSG_OOB). TLS has one stream, with no place for a byte beside it: sending it is refused, which the list
 * of differences says. A plain stream with an urgent byte in it is another one: the connection gives way to a new one.
 */
#include "differential.h"

enum { BY_SEND = 0, BY_SENDTO, BY_SENDMSG, BY_SENDMMSG, URGENT_VARIANTS };

static void run_urgent(struct call *c)
{
    struct iovec iov = {area, c->step->len};
    struct mmsghdr m = {.msg_hdr = {.msg_iov = &iov, .msg_iovlen = 1}};
    int flags = (int)c->step->flags | MSG_OOB;
    stream_fill((uint64_t)(1 - c->number), c->end->sent, area, c->step->len);
    if (c->step->len == 5) /* comes before all that is said of urgent data */
        iov.iov_base = bad_pointer();
    switch (c->step->variant) {
    case BY_SEND:
        RUN_BLOCKING(c, send(c->fd, iov.iov_base, iov.iov_len, flags));
        break;
    case BY_SENDTO:
        RUN_BLOCKING(c, sendto(c->fd, iov.iov_base, iov.iov_len, flags, NULL, 0));
        break;
    case BY_SENDMSG:
        RUN_BLOCKING(c, sendmsg(c->fd, &m.msg_hdr, flags));
        break;
    default:
        RUN_BLOCKING(c, sendmmsg(c->fd, &m, 1, flags));
    }
    side_close(c->side);
    side_open(c->side);
}

static const unsigned urgent_flags[] = {0, MSG_DONTWAIT, MSG_NOSIGNAL | MSG_DONTWAIT, MSG_MORE, LAST};
static const unsigned lengths[] = {0, 1, 5, 100, LAST};

const struct operation urgent_operations[] = {
    {"urgent", run_urgent, URGENT_VARIANTS, SLOW | CAN_END, urgent_flags, lengths, 1},
    {NULL},
};
