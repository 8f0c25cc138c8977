/* The process that asks the resolver. It runs in the program's memory (CLONE_VM), with a descriptor table of its own
 * and the thread pointer of the thread that made it: so nothing here may call libc, touch errno or other thread-local
 * data, or write to anything but its own stack and the question. Sanitizers keep thread-local books: they stay out. */
#include "dane.h"

#include "bytes.h"
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

#define ALONE __attribute__((no_sanitize("address", "thread", "undefined")))

enum { PORT = 53, RCODE_MASK = 15, TRUNCATED = 2 };

union address {
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

ALONE static int64_t now_ms(void)
{
    struct timespec t;
    sys2(SYS_clock_gettime, (long)CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* 0, or -errno; -ETIMEDOUT. */
ALONE static long await(long fd, short events, int64_t until_ms)
{
    struct pollfd p = {(int)fd, events, 0};
    const int64_t left = until_ms - now_ms();
    struct timespec t = {left / 1000, left % 1000 * 1000000};
    if (left <= 0)
        return -ETIMEDOUT;
    const long r = sys5(SYS_ppoll, &p, 1L, &t, 0L, 8L);
    return r > 0 ? 0 : r == 0 ? -ETIMEDOUT : r;
}

ALONE static long open_to(const struct dns_server *s, int type)
{
    union address to;
    long fd = sys3(SYS_socket, (long)s->family, (long)(type | SOCK_NONBLOCK | SOCK_CLOEXEC), 0L), r;
    if (fd < 0)
        return fd;
    for (unsigned i = 0; i < sizeof to; i++)
        ((volatile char *)&to)[i] = 0; /* volatile: or it becomes a call of memset */
    to.v4.sin_family = s->family;
    to.v4.sin_port = (uint16_t)(PORT << 8 | PORT >> 8);
    if (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)
        to.v4.sin_port = PORT;
    volatile uint8_t *at = s->family == AF_INET ? (uint8_t *)&to.v4.sin_addr : (uint8_t *)&to.v6.sin6_addr;
    for (unsigned i = 0; i < (s->family == AF_INET ? 4u : 16u); i++)
        at[i] = s->address[i];
    if (s->family == AF_INET6)
        to.v6.sin6_scope_id = s->scope;
    r = sys3(SYS_connect, fd, &to, (long)(s->family == AF_INET ? sizeof to.v4 : sizeof to.v6));
    if (r == 0 || r == -EINPROGRESS)
        return fd;
    sys1(SYS_close, fd);
    return r;
}

ALONE static bool fits(const struct dane_question *q, long len)
{
    return len >= DNS_HEADER && q->answer[0] == q->query[0] && q->answer[1] == q->query[1] && q->answer[2] & 0x80;
}

/* The length of an answer, or -errno. A connected socket takes datagrams of that server alone. */
ALONE static long ask_by_udp(struct dane_question *q, const struct dns_server *s, int64_t until_ms)
{
    const long fd = open_to(s, SOCK_DGRAM);
    if (fd < 0)
        return fd;
    long r = sys6(SYS_sendto, fd, SYS_ARG(q->query), (long)q->query_len, MSG_NOSIGNAL, 0, 0);
    while (r >= 0 && (r = await(fd, POLLIN, until_ms)) == 0) {
        r = sys6(SYS_recvfrom, fd, SYS_ARG(q->answer), DNS_ANSWER_MAX, 0, 0, 0);
        if (r == -EAGAIN || (r >= 0 && !fits(q, r))) {
            r = 0;
            continue;
        }
        break;
    }
    sys1(SYS_close, fd);
    return r;
}

ALONE static long move_all(long fd, bool out, uint8_t *bytes, long len, int64_t until_ms)
{
    for (long done = 0; done < len;) {
        long r = await(fd, out ? POLLOUT : POLLIN, until_ms);
        if (r == 0 && out)
            r = sys6(SYS_sendto, fd, SYS_ARG(bytes + done), len - done, MSG_NOSIGNAL, 0, 0);
        else if (r == 0)
            r = sys6(SYS_recvfrom, fd, SYS_ARG(bytes + done), len - done, 0, 0, 0);
        if (r == -EAGAIN)
            continue;
        if (r <= 0)
            return r ? r : -ECONNRESET;
        done += r;
    }
    return len;
}

ALONE static long ask_by_tcp(struct dane_question *q, const struct dns_server *s, int64_t until_ms)
{
    uint8_t length[2] = {(uint8_t)(q->query_len >> 8), (uint8_t)q->query_len};
    const long fd = open_to(s, SOCK_STREAM);
    if (fd < 0)
        return fd;
    long r = move_all(fd, true, length, 2, until_ms);
    if (r > 0)
        r = move_all(fd, true, q->query, (long)q->query_len, until_ms);
    if (r > 0)
        r = move_all(fd, false, length, 2, until_ms);
    if (r > 0) {
        const long len = length[0] << 8 | length[1];
        r = len > DNS_ANSWER_MAX ? -EMSGSIZE : move_all(fd, false, q->answer, len, until_ms);
    }
    sys1(SYS_close, fd);
    return r > 0 && !fits(q, r) ? -EPROTO : r;
}

/* True if that is the answer: a name that is there, or is not. What a server could not find out the next one may. */
ALONE static bool ask(struct dane_question *q, const struct dns_server *s)
{
    int64_t until_ms = now_ms() + (int64_t)q->servers.timeout_s * 1000;
    if (until_ms > q->until_ms)
        until_ms = q->until_ms;
    long r = ask_by_udp(q, s, until_ms);
    if (r > 0 && q->answer[2] & TRUNCATED)
        r = ask_by_tcp(q, s, until_ms);
    q->error = r < 0 ? r : 0;
    q->answer_len = r > 0 ? r : 0;
    const int rcode = r > 0 ? q->answer[3] & RCODE_MASK : 2;
    return rcode == 0 || rcode == 3;
}

ALONE static void ask_all(struct dane_question *q)
{
    for (unsigned i = 0; i < q->servers.attempts; i++)
        for (unsigned s = 0; s < q->servers.count && now_ms() < q->until_ms; s++)
            if (ask(q, &q->servers.servers[s]))
                return;
}

/* The table is shared until close_range(2) has made an empty one: a copy would keep the program's sockets open that it
 * closes meanwhile. */
ALONE int dane_process(void *question)
{
    struct dane_question *q = question;
    q->answer_len = 0;
    q->error = sys3(SYS_close_range, 0L, (long)~0U, (long)CLOSE_RANGE_UNSHARE);
    if (q->error == 0) {
        sys5(SYS_prctl, (long)PR_SET_NAME, "p2ptls-dns", 0L, 0L, 0L);
        q->error = -ETIMEDOUT;
        ask_all(q);
    }
    atomic_store_explicit(&q->state, DANE_DONE, memory_order_release);
    return 0;
}
