#include "both_ends.h"

#include "sys.h"

#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71 /* Linux 5.14 */
#endif

/* Compared as bytes: there is no padding in it. IPv4 as in ::ffff:0:0/96, since one end may be a socket of AF_INET and
 * the other one of AF_INET6. */
struct end {
    uint8_t address[16];
    uint32_t scope, port;
};

struct socket_ends {
    uint64_t network; /* the same addresses mean other sockets in another network namespace */
    struct end local, remote;
};

static bool end_of(const struct sockaddr_storage *a, struct end *out)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    *out = (struct end){0};
    if (a->ss_family == AF_INET) {
        memcpy(&v4, a, sizeof v4);
        memcpy(out->address, mapped, sizeof mapped);
        memcpy(out->address + sizeof mapped, &v4.sin_addr, sizeof v4.sin_addr);
        out->port = v4.sin_port;
    } else if (a->ss_family == AF_INET6) {
        memcpy(&v6, a, sizeof v6);
        memcpy(out->address, &v6.sin6_addr, sizeof v6.sin6_addr);
        out->scope = v6.sin6_scope_id;
        out->port = v6.sin6_port;
    }
    return out->port != 0;
}

static bool ends_of(int fd, struct socket_ends *out)
{
    struct sockaddr_storage local, remote;
    socklen_t local_len = sizeof local, remote_len = sizeof remote, len = sizeof out->network;
    if (sys3(SYS_getsockname, (long)fd, &local, &local_len) != 0 ||
        sys3(SYS_getpeername, (long)fd, &remote, &remote_len) != 0)
        return false;
    if (sys5(SYS_getsockopt, (long)fd, (long)SOL_SOCKET, (long)SO_NETNS_COOKIE, &out->network, &len) != 0)
        out->network = 0; /* an older kernel */
    return end_of(&local, &out->local) && end_of(&remote, &out->remote);
}

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct socket_ends));
}

void both_ends_add(struct both_ends *b, int fd)
{
    if (b->n == b->room) {
        struct socket_ends *grown = realloc(b->list, (b->room * 2 + 16) * sizeof *grown);
        if (!grown)
            return;
        b->list = grown;
        b->room = b->room * 2 + 16;
    }
    b->n += ends_of(fd, &b->list[b->n]);
}

void both_ends_sort(struct both_ends *b)
{
    if (b->n)
        qsort(b->list, b->n, sizeof *b->list, compare);
}

bool both_ends_have(const struct both_ends *b, int fd)
{
    struct socket_ends own, other;
    if (!b->n || !ends_of(fd, &own))
        return false;
    other = (struct socket_ends){.network = own.network, .local = own.remote, .remote = own.local};
    return bsearch(&other, b->list, b->n, sizeof other, compare) != NULL;
}

void both_ends_free(struct both_ends *b)
{
    free(b->list);
    *b = (struct both_ends){0};
}
