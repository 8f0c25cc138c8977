/* Plain sockets: read and write. */
#include "bench.h"
#include "transport.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct link {
    int fd;
};

void transport_start(const struct identity_files *files)
{
    (void)files;
}

struct link *link_open(int fd, bool dialled)
{
    struct link *link = allocate(sizeof(*link));
    (void)dialled;
    link->fd = fd;
    return link;
}

ssize_t link_read(struct link *link, void *buffer, size_t len)
{
    ssize_t n = read(link->fd, buffer, len);
    return n < 0 && errno != EAGAIN ? 0 : n;
}

ssize_t link_write(struct link *link, const void *data, size_t len)
{
    ssize_t n = write(link->fd, data, len);
    if (n < 0 && errno != EAGAIN)
        die_at(errno, "write");
    return n;
}

int link_fd(const struct link *link)
{
    return link->fd;
}

void link_close(struct link *link)
{
    SYS(close(link->fd));
    free(link);
}
