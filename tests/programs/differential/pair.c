/* The two connections: made, brought to rest between steps, and taken down. And the signals that steps see. */
#include "differential.h"

#include <sys/mman.h>

enum { GUARD_US = 1500, SETTLE_SECONDS = 5, TCP_STATE_CLOSE = 7 };

uint8_t area[AREA + TAIL];
static volatile sig_atomic_t sigpipes, sigios, sigalrms;

static void on_signal(int number)
{
    if (number == SIGPIPE)
        sigpipes++;
    if (number == SIGALRM)
        sigalrms++;
    if (number == SIGIO || number == SIGRTMIN)
        sigios++;
}

/* Without SA_RESTART: a call that waits for what never comes ends with EINTR, on both sides alike. */
void guard_init(void)
{
    struct sigaction act = {.sa_handler = on_signal};
    SYS(sigaction(SIGALRM, &act, NULL));
    act.sa_flags = SA_RESTART;
    SYS(sigaction(SIGPIPE, &act, NULL));
    SYS(sigaction(SIGIO, &act, NULL));
    SYS(sigaction(SIGRTMIN, &act, NULL));
}

static void guard_set(long us)
{
    struct itimerval when = {{0, us}, {0, us}};
    SYS(setitimer(ITIMER_REAL, &when, NULL));
}

void guard_arm(void)
{
    guard_set(GUARD_US);
}

void guard_disarm(void)
{
    guard_set(0);
}

unsigned sigpipes_taken(void)
{
    unsigned n = (unsigned)sigpipes;
    sigpipes = 0;
    return n;
}

unsigned sigalrms_taken(void)
{
    unsigned n = (unsigned)sigalrms;
    sigalrms = 0;
    return n;
}

unsigned sigios_taken(void)
{
    unsigned n = (unsigned)sigios;
    sigios = 0;
    return n;
}

void *bad_pointer(void)
{
    static void *page;
    if (!page)
        page = mmap(NULL, 1 << 16, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED, "mmap");
    return page;
}

/* 127.0.0.2 is what the policy selects, 127.0.0.1 is not. */
void side_init(struct side *s, int which)
{
    struct sockaddr_in a = loopback(0);
    socklen_t len = sizeof(a);
    memset(s, 0, sizeof(*s));
    s->which = which;
    a.sin_addr.s_addr = htonl(which == PROTECTED ? INADDR_LOOPBACK + 1 : INADDR_LOOPBACK);
    s->listener = tcp_socket();
    SYS(bind(s->listener, (struct sockaddr *)&a, sizeof(a)));
    SYS(listen(s->listener, 4));
    SYS(getsockname(s->listener, (struct sockaddr *)&a, &len));
    s->address[1] = a;
}

static void number_end(struct end *e, int fd)
{
    memset(e, 0, sizeof(*e));
    e->fd[0] = fd;
    for (int i = 1; i < NUMBERS; i++)
        e->fd[i] = -1;
}

/* A byte in each direction: from here on the handshake is over at both ends. Nagle's rule would hold steps up by
 * delayed acknowledgements, on plain TCP too. */
static void say_hello(int from, int to)
{
    char c = 'h';
    write_all(from, &c, 1);
    CHECK(read_full(to, &c, 1) == 1 && c == 'h', "the first byte");
}

void side_acknowledge(struct side *s)
{
    int on = 1;
    for (int i = 0; i < ENDS; i++)
        for (int k = 0; k < NUMBERS; k++)
            if (s->ends[i].fd[k] >= 0)
                SYS(setsockopt(s->ends[i].fd[k], IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on)));
}

static int connected(struct side *s, enum opening how)
{
    struct sockaddr_in a = s->address[1], *to = &s->address[1];
    socklen_t len = sizeof(a);
    int fd = tcp_socket();
    a.sin_port = 0;
    SYS(bind(fd, (struct sockaddr *)&a, sizeof(a)));
    if (how == BY_CONNECT_LATER)
        set_nonblocking(fd);
    if (how == BY_FASTOPEN_CONNECT)
        set_option(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1);
    number_end(&s->ends[0], fd);
    if (how == BY_FASTOPEN) {
        stream_fill(1, 0, area, 5);
        CHECK(sendto(fd, area, 5, MSG_FASTOPEN, (struct sockaddr *)to, sizeof(*to)) == 5, "MSG_FASTOPEN");
        s->ends[0].sent = 5;
    } else {
        int r = connect(fd, (struct sockaddr *)to, sizeof(*to));
        CHECK(r == 0 || errno == EINPROGRESS, "connect: %s", strerror(errno));
    }
    SYS(getsockname(fd, (struct sockaddr *)&s->address[0], &len));
    return fd;
}

static void side_begin(struct side *s)
{
    s->closed_unread = s->early_lost = false;
    s->fresh = s->began_fresh = s->unanswered = false;
    s->level = (int)SYS(epoll_create1(EPOLL_CLOEXEC));
    s->edge = (int)SYS(epoll_create1(EPOLL_CLOEXEC));
}

void side_open(struct side *s)
{
    connected(s, BY_CONNECT);
    number_end(&s->ends[1], tcp_accept(s->listener));
    say_hello(s->ends[0].fd[0], s->ends[1].fd[0]);
    say_hello(s->ends[1].fd[0], s->ends[0].fd[0]);
    for (int i = 0; i < ENDS; i++)
        set_option(s->ends[i].fd[0], IPPROTO_TCP, TCP_NODELAY, 1);
    side_acknowledge(s);
    side_begin(s);
}

void side_open_fresh(struct side *s, enum opening how)
{
    connected(s, how);
    number_end(&s->ends[1], -1);
    set_option(s->ends[0].fd[0], IPPROTO_TCP, TCP_NODELAY, 1);
    side_begin(s);
    s->fresh = s->began_fresh = s->unanswered = true;
}

void side_answer(struct side *s)
{
    if (!s->unanswered)
        return;
    s->ends[1].fd[0] = tcp_accept(s->listener);
    s->unanswered = false;
    set_option(s->ends[1].fd[0], IPPROTO_TCP, TCP_NODELAY, 1);
}

void call_answered(struct call *c)
{
    side_answer(c->side);
    c->fd = c->end->fd[c->step->via];
}

void side_close(struct side *s)
{
    side_answer(s);
    struct linger l = {1, 0}; /* thousands in TIME_WAIT would slow everybody down */
    for (int i = 0; i < ENDS; i++)
        for (int k = 0; k < NUMBERS; k++)
            if (s->ends[i].fd[k] >= 0) {
                setsockopt(s->ends[i].fd[k], SOL_SOCKET, SO_LINGER, &l, sizeof(l));
                SYS(close(s->ends[i].fd[k]));
            }
    SYS(close(s->level));
    SYS(close(s->edge));
}

bool end_is_open(const struct end *e)
{
    for (int k = 0; k < NUMBERS; k++)
        if (e->fd[k] >= 0)
            return true;
    return false;
}

/* glibc's struct tcp_info ends before these (linux/tcp.h). */
struct long_info {
    struct tcp_info head;
    uint64_t pacing, max_pacing, bytes_acked, bytes_received;
    uint32_t segs_out, segs_in, notsent, min_rtt, data_segs_in, data_segs_out;
    uint64_t delivery, busy, rwnd_limited, sndbuf_limited;
    uint32_t delivered, delivered_ce;
    uint64_t bytes_sent, bytes_retrans;
};

static bool long_info_of(const struct end *e, struct long_info *info)
{
    socklen_t len = sizeof(*info);
    for (int k = 0; k < NUMBERS; k++) {
        if (e->fd[k] < 0)
            continue;
        memset(info, 0, sizeof(*info));
        SYS(getsockopt(e->fd[k], IPPROTO_TCP, TCP_INFO, info, &len));
        return true;
    }
    return false;
}

bool end_is_reset(const struct end *e)
{
    struct long_info info;
    return long_info_of(e, &info) && info.head.tcpi_state == TCP_STATE_CLOSE;
}

/* Has all that `from` sent arrived at `to`? Its end too: a FIN takes the receiver to CLOSE_WAIT or beyond. */
static bool arrived(const struct end *from, const struct end *to)
{
    struct long_info sender, receiver;
    if (to->dissolved || !long_info_of(to, &receiver) || receiver.head.tcpi_state == TCP_STATE_CLOSE)
        return true;
    bool ended = receiver.head.tcpi_state >= TCP_STATE_CLOSE; /* CLOSE_WAIT, LAST_ACK, CLOSING */
    if (from->dissolved || !long_info_of(from, &sender))      /* dissolved, it may listen by now */
        return ended;
    if (sender.head.tcpi_state == TCP_STATE_CLOSE) /* by a reset, that has to arrive, or at the end of both streams */
        return ended;
    if (from->shut_wr && !ended)
        return false;
    return !sender.notsent && sender.bytes_sent - sender.bytes_retrans == receiver.bytes_received - ended;
}

/* Lines of /proc/net/tcp: local and remote address and port in hex, ..., inode (0: no process has it) (proc(5)). */
static bool has_owner(const struct sockaddr_in *local, const struct sockaddr_in *remote)
{
    char line[300], wanted[64];
    unsigned long inode = 0;
    FILE *f = fopen("/proc/net/tcp", "re");
    CHECK(f, "/proc/net/tcp: %s", strerror(errno));
    snprintf(wanted, sizeof(wanted), " %08X:%04X %08X:%04X ", local->sin_addr.s_addr, ntohs(local->sin_port),
             remote->sin_addr.s_addr, ntohs(remote->sin_port));
    while (!inode && fgets(line, sizeof(line), f))
        if (strstr(line, wanted) && sscanf(line, "%*s %*s %*s %*s %*s %*s %*s %*s %*s %lu", &inode) != 1)
            inode = 0;
    fclose(f);
    return inode != 0;
}

void side_await_close(struct side *s, int end)
{
    for (int i = 0; s->which == PROTECTED && i < 200 && has_owner(&s->address[end], &s->address[1 - end]); i++) {
        side_acknowledge(s);
        poll(NULL, 0, 5);
    }
}

/* While a handshake may be going on, the kernel's counts tell nothing of the program's bytes. */
static bool bytes_came(const struct side *s, int end)
{
    const struct end *from = &s->ends[1 - end], *to = &s->ends[end];
    int available = 0;
    struct long_info info;
    if (from->sent <= to->received || to->shut_rd || to->dissolved || from->dissolved)
        return true;
    if (s->closed_unread || s->early_lost || !long_info_of(to, &info) || info.head.tcpi_state == TCP_STATE_CLOSE)
        return true;
    for (int k = 0; k < NUMBERS; k++)
        if (to->fd[k] >= 0)
            return ioctl(to->fd[k], FIONREAD, &available) != 0 || (uint64_t)available >= from->sent - to->received;
    return true;
}

static void settle_fresh(struct side *s)
{
    enum { LOOKS = 2000 };
    for (int end = 0; end < ENDS; end++)
        for (int i = 0; i < LOOKS && !bytes_came(s, end); i++) {
            side_acknowledge(s);
            poll(NULL, 0, 1);
        }
    if (s->ends[0].sent && s->ends[1].sent && bytes_came(s, 0) && bytes_came(s, 1))
        s->fresh = false;
}

/* A byte in each direction that is open: whatever becomes of them, the handshake is over then. */
void side_finish_handshake(struct side *s)
{
    if (!s->fresh)
        return;
    side_answer(s);
    for (int end = 0; end < ENDS; end++) {
        struct end *e = &s->ends[end];
        uint8_t byte;
        stream_fill((uint64_t)(1 - end), e->sent, &byte, 1);
        for (int k = 0; k < NUMBERS; k++)
            if (e->fd[k] >= 0 && !e->dissolved && send(e->fd[k], &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1) {
                e->sent++;
                break;
            }
    }
    settle_fresh(s);
    s->fresh = false;
}

bool side_settle(struct side *s)
{
    double end = 0;
    if (s->unanswered)
        return true;
    if (s->fresh)
        settle_fresh(s);
    for (unsigned looks = 0;; looks++) {
        if (arrived(&s->ends[0], &s->ends[1]) && arrived(&s->ends[1], &s->ends[0]))
            return true;
        if (looks < 20)
            continue;
        poll(NULL, 0, 1);
        if (!end)
            end = now_seconds() + SETTLE_SECONDS;
        if (now_seconds() >= end)
            return false;
    }
}
