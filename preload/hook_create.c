/* Calls that make descriptors of other kinds. A number that was closed by a bare system call, which no hook saw, still
 * stands for its old connection in our table: what is put on it must not be taken for that. */
#include "state.h"

#include <errno.h>
#include <netinet/in.h>

int table_renew(int fd)
{
    if (__builtin_expect(fd < 0 || table_is_plain(fd), 1) || thread.in_vfork_child)
        return fd;
    int saved = errno;
    table_forget(fd);
    errno = saved;
    return fd;
}

static int renew_two(int r, const int fd[2])
{
    if (r == 0) {
        table_renew(fd[0]);
        table_renew(fd[1]);
    }
    return r;
}

HOOK int socket(int domain, int type, int protocol)
{
    int fd = real()->socket(domain, type, protocol);
    if (fd < 0 || !policy || thread.in_vfork_child)
        return fd;
    int saved = errno;
    if (table_word(fd) != WORD_PLAIN) /* it was closed behind the hooks */
        table_forget(fd);
    if ((domain == AF_INET || domain == AF_INET6) && (type & 0xf) == SOCK_STREAM)
        table_set(fd, protocol == 0 || protocol == IPPROTO_TCP ? WORD_FRESH : WORD_SOCKET);
    errno = saved;
    return fd;
}

HOOK int socketpair(int domain, int type, int protocol, int fd[2])
{
    return renew_two(real()->socketpair(domain, type, protocol, fd), fd);
}

HOOK int pipe(int fd[2])
{
    return renew_two(real()->pipe(fd), fd);
}
HOOK_ALIAS(pipe, __pipe);

HOOK int pipe2(int fd[2], int flags)
{
    return renew_two(real()->pipe2(fd, flags), fd);
}

HOOK int eventfd(unsigned value, int flags)
{
    return table_renew(real()->eventfd(value, flags));
}

HOOK int epoll_create(int size)
{
    return table_renew(real()->epoll_create(size));
}

HOOK int epoll_create1(int flags)
{
    return table_renew(real()->epoll_create1(flags));
}

HOOK int signalfd(int fd, const sigset_t *mask, int flags)
{
    return table_renew(real()->signalfd(fd, mask, flags));
}

HOOK int inotify_init(void)
{
    return table_renew(real()->inotify_init());
}

HOOK int inotify_init1(int flags)
{
    return table_renew(real()->inotify_init1(flags));
}

HOOK int timerfd_create(clockid_t clock, int flags)
{
    return table_renew(real()->timerfd_create(clock, flags));
}

HOOK int memfd_create(const char *name, unsigned flags)
{
    return table_renew(real()->memfd_create(name, flags));
}
