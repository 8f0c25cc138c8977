/* Uses sockets that no policy selects, a socketpair, pipes and files, by every hooked call, in a fixed order: so that
 * the system calls of a run without the library and of one under it can be compared. They lie between two marks, which
 * are calls of access(2) that no libc makes. With an argument, reads twice from that inherited descriptor instead. */
#include "common.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

static void mark(const char *name)
{
    CHECK(access(name, F_OK) != 0, "%s is there", name);
}

static void connect_pair(int end[2])
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int listener = (int)SYS(socket(AF_INET, SOCK_STREAM, 0)), one = 1;
    SYS(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one));
    SYS(bind(listener, (struct sockaddr *)&a, len));
    SYS(listen(listener, 1));
    SYS(getsockname(listener, (struct sockaddr *)&a, &len));
    end[0] = (int)SYS(socket(AF_INET, SOCK_STREAM, 0));
    SYS(connect(end[0], (struct sockaddr *)&a, len));
    end[1] = (int)SYS(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
    SYS(close(listener));
}

/* Every kind of call that moves a byte from one end to the other; the same on sockets and, where libc allows, pipes. */
static void move_bytes(int to, int from, bool is_socket)
{
    char byte = 'x', back[16];
    struct iovec iov = {&byte, 1}, in = {back, sizeof back};
    struct msghdr out_message = {.msg_iov = &iov, .msg_iovlen = 1}, in_message = {.msg_iov = &in, .msg_iovlen = 1};
    SYS(write(to, &byte, 1));
    SYS(read(from, back, sizeof back));
    SYS(writev(to, &iov, 1));
    SYS(readv(from, &in, 1));
    if (!is_socket)
        return;
    SYS(send(to, &byte, 1, MSG_NOSIGNAL));
    SYS(recv(from, back, sizeof back, MSG_PEEK));
    SYS(recv(from, back, sizeof back, 0));
    SYS(sendto(to, &byte, 1, 0, NULL, 0));
    SYS(recvfrom(from, back, sizeof back, 0, NULL, NULL));
    SYS(sendmsg(to, &out_message, 0));
    SYS(recvmsg(from, &in_message, 0));
}

static void wait_ways(int fd)
{
    struct pollfd p = {fd, POLLIN | POLLOUT, 0};
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT};
    struct timeval none = {0, 0};
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    SYS(poll(&p, 1, 0));
    SYS(ppoll(&p, 1, &(struct timespec){0, 0}, NULL));
    SYS(select(fd + 1, &set, NULL, NULL, &none));
    int epoll = (int)SYS(epoll_create1(0));
    SYS(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
    SYS(epoll_wait(epoll, &event, 1, 0));
    SYS(close(epoll));
}

static void control(int fd)
{
    int n;
    socklen_t len = sizeof n;
    SYS(ioctl(fd, FIONREAD, &n));
    SYS(fcntl(fd, F_SETFL, (int)SYS(fcntl(fd, F_GETFL)) | O_NONBLOCK));
    SYS(getsockopt(fd, SOL_SOCKET, SO_ERROR, &n, &len));
    SYS(close((int)SYS(dup(fd))));
    SYS(close((int)SYS(dup2(fd, 40))));
    SYS(close((int)SYS(fcntl(fd, F_DUPFD_CLOEXEC, 20))));
}

static void files(int to, int from)
{
    char text[64];
    int file = (int)SYS(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    SYS(read(file, text, sizeof text));
    SYS(sendfile(to, file, NULL, sizeof text));
    SYS(read(from, text, sizeof text));
    SYS(close(file));
}

static void use(int end[2], bool is_socket)
{
    move_bytes(end[1], end[0], is_socket);
    wait_ways(end[0]);
    if (is_socket)
        control(end[0]);
    files(end[1], end[0]);
    if (is_socket)
        SYS(shutdown(end[0], SHUT_WR));
    SYS(close(end[0]));
    SYS(close(end[1]));
}

static void read_twice(int fd)
{
    char byte;
    mark("/main-begins");
    SYS(read(fd, &byte, 1));
    SYS(read(fd, &byte, 1));
    mark("/main-ends");
}

int main(int argc, char **argv)
{
    int end[2];
    if (argc > 1) {
        read_twice(atoi(argv[1]));
        return 0;
    }
    mark("/main-begins");
    connect_pair(end);
    use(end, true);
    SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, end));
    use(end, true);
    SYS(pipe(end));
    use(end, false);
    mark("/main-ends");
    return 0;
}
