/* connect, bind, listen, accept: where sockets become selected. */
#include "bare.h"
#include "stream.h"

#include "epoll_notes.h"
#include "io.h"
#include "memory.h"
#include "sys.h"
#include "waits.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <string.h>

static int fail(int error)
{
    errno = error;
    return -1;
}

static int deny(const char *what, const struct sockaddr *address, const struct policy_rule *rule)
{
    rule_tell_denied(what, address, rule);
    return fail(EACCES);
}

/* Takes the hold of d from the caller. Meanwhile other threads may close the number, and put it or d to work anew; a
 * handler may leave the call for good (waits.h). 0, or the errno. */
static int connect_held(struct desc *d, int fd, const struct sockaddr *to, socklen_t len)
{
    unsigned wait = wait_begin(d);
    desc_release(d);
    int error = real()->connect(fd, to, len) < 0 ? errno : 0;
    desc_hold(d);
    wait_end(d, wait);
    atomic_store(&d->dialling, false);
    if (error && error != EINPROGRESS && error != EINTR) /* EALREADY: another thread has begun one in clear */
        unselect(fd, d);
    desc_release(d);
    return error;
}

/* leads_to: where to, a wildcard perhaps, leads. */
static int connect_protected(int fd, const struct sockaddr *to, socklen_t len, const struct sockaddr *leads_to,
                             const struct policy_rule *rule)
{
    pthread_testcancel(); /* later it waits for what the kernel does */
    struct stream_signals before = stream_signals_now();
    bool fast_open = no_fast_open(fd);
    /* Selected before the first packet leaves, so that no other thread's write slips through in between. */
    streams_adopt(fd);
    /* After an attempt in clear, copies of the number may be taken for plain. */
    struct desc *d = table_word(fd) == WORD_PLAIN ? select_midstream(fd, rule, true, leads_to)
                                                  : select_connection(fd, rule, true, leads_to);
    if (!d) {
        int error = errno;
        set_fastopen_connect(fd, fast_open);
        return error == ERESTART ? connect(fd, to, len) : fail(error);
    }
    d->fastopen_connect = fast_open;
    if (!d->fresh)
        select_late_twins(fd, d);
    if (!bare_wait_out(d, fd)) {
        log_event(LOG_LEVEL_ERROR,
                  "%s: not connected: a call of another thread on this socket does not come back, and what it moves "
                  "later would go in clear",
                  core->conn_peer(d->conn));
        unselect(fd, d);
        desc_release(d);
        return fail(ETIMEDOUT);
    }
    int error = connect_held(d, fd, to, len);
    if (error && error != EINPROGRESS && error != EINTR)
        return fail(error);
    if (!error) {
        if (desc_enter(d, fd)) {
            core->conn_connected(d->conn);
            desc_leave(d);
        }
        stream_touch(d, fd);
        return rule->connect_waits ? stream_verdict(d, fd, &before) : 0;
    }
    if (desc_enter(d, fd)) {
        helper_add(d);
        desc_leave(d);
    }
    return fail(error);
}

static bool is_unspec(const struct sockaddr *to, socklen_t len)
{
    return to && len >= sizeof to->sa_family && memory_readable(to, len) && to->sa_family == AF_UNSPEC;
}

/* How an attempt goes that is under way, or went: then the kernel looks at no address. Where nothing is under way, one
 * that is cut off begins nothing (EINVAL): it would go where the rule of the attempt before has not been judged for. */
static int connect_asks(int fd, const struct sockaddr *to, socklen_t len)
{
    if (!to || len < sizeof to->sa_family || len > sizeof(struct sockaddr_storage) || !memory_readable(to, len))
        return real()->connect(fd, to, len); /* EFAULT, EINVAL */
    struct sockaddr cut_off = {.sa_family = to->sa_family};
    return real()->connect(fd, &cut_off, sizeof cut_off.sa_family);
}

/* Is fd, which d stands for, a socket that has no connection and makes none? Nothing came that could be read from it in
 * clear. It is an ordinary one from then on. */
static bool gives_up_attempt(struct desc *d, int fd)
{
    if (!desc_enter(d, fd))
        return true; /* it is by now */
    bool none =
        core->conn_unstarted(d->conn) && io_transport.tcp_state(fd) == TCP_CLOSE && io_transport.unread(fd) <= 0;
    desc_hold(d);
    if (none)
        core->conn_disconnect(d->conn);
    desc_leave(d);
    if (none)
        unselect(fd, d);
    desc_release(d);
    return none;
}

/* connect to AF_UNSPEC resets the connection (connect(2)); the socket may be connected again, and is judged anew. But
 * a thread that is about to connect it, or is in the kernel's connect, does so under d: it unselects d if it fails. */
static int disconnect(struct desc *d, int fd, const struct sockaddr *to, socklen_t len)
{
    if (!desc_enter(d, fd))
        return fail(EBADF);
    desc_hold(d);
    const bool dialling = atomic_load(&d->dialling);
    if (!dialling)
        core->conn_disconnect(d->conn);
    long r = sys3(SYS_connect, (long)fd, to, (long)len);
    desc_leave(d);
    if (r == 0 && !dialling)
        unselect(fd, d);
    desc_release(d);
    return r < 0 ? fail((int)-r) : 0;
}

/* A connect that has not been told of its verdict, on a descriptor that has become non-blocking. */
static int connect_looks(struct desc *d)
{
    if (core->conn_state(d->conn) == RESULT_AGAIN)
        return fail(EALREADY);
    d->verdict_due = false;
    int error = core->conn_take_error(d->conn);
    return error ? fail(error) : 0;
}

/* An attempt that was begun without waiting has failed, or the connection broke before anybody asked how it went: the
 * kernel tells so once, and throws away what had come. Where the handshake has met it before the question, the kernel
 * says ECONNABORTED, or behind our own shutdown EINVAL, for good. */
int connect_failed(struct desc *d, int fd, int error)
{
    enum { CLOSED = 7 }; /* TCP_CLOSE (tcp(7), TCP_INFO) */
    static const int others[] = {EISCONN, EALREADY, EINPROGRESS, EINTR, EAGAIN, EFAULT, EAFNOSUPPORT, EBADF};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (error == others[i])
            return error;
    if (!desc_enter(d, fd))
        return error;
    if (core->conn_asking_begin(d->conn)) /* whoever has just met it is about to say so */
        core->conn_asking_end(d->conn);
    bool broke = (error == EINVAL || error == ECONNABORTED) && core->conn_state(d->conn) == RESULT_IO;
    bool over = (error != EINVAL || broke) && io_transport.tcp_state(fd) == CLOSED;
    desc_hold(d);
    if (over && broke) {
        int untold = core->conn_take_untold(d->conn);
        error = untold ? untold : ECONNABORTED;
    }
    if (over) { /* the kernel has made it fresh, and our own shutdown may have come after that */
        struct sockaddr none = {.sa_family = AF_UNSPEC};
        core->conn_disconnect(d->conn);
        sys3(SYS_connect, (long)fd, &none, (long)sizeof none);
    }
    desc_leave(d);
    if (over)
        unselect(fd, d);
    desc_release(d);
    return error;
}

/* A second connect on a selected number: how it went, by the kernel. */
static int connect_again(struct desc *d, int fd, const struct sockaddr *to, socklen_t len)
{
    if (desc_special(d))
        return fail(desc_special(d));
    if (is_unspec(to, len))
        return disconnect(d, fd, to, len);
    struct stream_signals before = stream_signals_now();
    if (d->verdict_due)
        return stream_is_blocking(d, fd) ? stream_verdict(d, fd, &before) : connect_looks(d);
    if (no_fast_open(fd))
        d->fastopen_connect = true;
    int r = connect_asks(fd, to, len), error = errno;
    if (r < 0 && error == EINVAL && atomic_load(&d->dialling))
        return fail(EALREADY);
    if (r < 0 && error == EINVAL && to && len >= sizeof to->sa_family && gives_up_attempt(d, fd))
        return connect(fd, to, len);
    if (r == 0) {
        stream_touch(d, fd);
    } else if (error == EINPROGRESS && desc_enter(d, fd)) { /* a new attempt after one that failed */
        helper_add(d);
        desc_leave(d);
    } else if (to && len >= sizeof(struct sockaddr_in) && len <= sizeof(struct sockaddr_storage)) {
        error = connect_failed(d, fd, error);
    }
    errno = error;
    return r;
}

static void unconnect_one(int fd, void *cookie)
{
    uintptr_t plain = WORD_PLAIN;
    if ((unsigned)fd < table_size && table_word(fd) == plain && socket_cookie(fd) == *(uint64_t *)cookie)
        atomic_compare_exchange_strong(table_at(fd), &plain, WORD_SOCKET);
}

/* The next connect decides, for all numbers of the socket. (Without /proc they stay plain, and it will be refused.) */
static void unconnect(int fd)
{
    uint64_t cookie = socket_cookie(fd);
    if (cookie)
        each_open_number(unconnect_one, &cookie);
}

/* Unselected for good: from now on the number is looked at no more. */
static int connect_plain(int fd, const struct sockaddr *to, socklen_t len)
{
    table_not_fresh(fd);
    int r = real()->connect(fd, to, len);
    uintptr_t word = table_word(fd);
    if (r == 0 && is_unspec(to, len) && table_word(fd) == WORD_PLAIN && !thread.in_vfork_child && is_tcp_stream(fd))
        unconnect(fd);
    if (r == 0 && is_unspec(to, len))
        return r;
    if ((r == 0 || errno == EINPROGRESS || errno == EINTR) && (unsigned)fd < table_size && !thread.in_vfork_child &&
        word_is_unconnected(word) && atomic_compare_exchange_strong(table_at(fd), &word, WORD_PLAIN))
        notes_stay_plain(fd);
    return r;
}

static int refuse_wildcard(void)
{
    log_event(LOG_LEVEL_ERROR,
              "a connection to the wildcard address from a socket that is bound to a device is refused: "
              "nobody can tell which rule concerns it; dial the address that is meant");
    return fail(EACCES);
}

/* Has it a connection in clear, or one that is being made? The kernel goes on with that, whatever the address. */
static bool is_taken(int fd)
{
    uint8_t state = TCP_CLOSE; /* the first byte of struct tcp_info */
    socklen_t len = sizeof state;
    return sys5(SYS_getsockopt, (long)fd, IPPROTO_TCP, TCP_INFO, &state, &len) == 0 && state != TCP_CLOSE;
}

HOOK int connect(int fd, const struct sockaddr *to, socklen_t len)
{
    if (!policy)
        return real()->connect(fd, to, len);
    struct desc *d = table_find(fd);
    if (d)
        return connect_again(d, fd, to, len);
    if (!to || !memory_readable(to, len))
        return connect_plain(fd, to, len);
    struct sockaddr_storage room;
    const struct sockaddr *leads_to = to;
    socklen_t leads_len = len;
    if (!rule_destination(fd, &leads_to, &leads_len, &room) && policy_has(policy, POLICY_CONNECT) && is_tcp_stream(fd))
        return refuse_wildcard();
    const struct policy_rule *rule = rule_deciding(POLICY_CONNECT, leads_to, leads_len, leads_to);
    bool selects = rule && rule->action != POLICY_PLAIN, fresh = table_word(fd) == WORD_FRESH && !forbidden.options;
    enum socket_kind kind = !selects ? SOCKET_KIND_OTHER : fresh ? SOCKET_KIND_TCP : socket_kind(fd);
    if (kind == SOCKET_KIND_UNKNOWN)
        return fail(sandbox_refuses("connect"));
    if (kind == SOCKET_KIND_OTHER)
        return connect_plain(fd, to, len);
    if (!fresh && is_taken(fd))
        return connect_asks(fd, to, len);
    if (rule->action == POLICY_DENY)
        return deny("connection to", leads_to, rule);
    if (thread.in_vfork_child)
        return fail(EIO); /* this is its parent's memory: no connection can be kept here */
    return connect_protected(fd, to, len, leads_to, rule);
}
HOOK_ALIAS(connect, __connect);

HOOK int bind(int fd, const struct sockaddr *at, socklen_t len)
{
    int r = real()->bind(fd, at, len);
    uintptr_t word = table_word(fd);
    if (!policy || r < 0 || thread.in_vfork_child || word >= WORD_FIRST_POINTER || word == WORD_OURS ||
        word == WORD_REFUSED || word == WORD_MOVING)
        return r;
    int saved = errno;
    struct sockaddr_storage bound;
    socklen_t bound_len = sizeof bound;
    if (at->sa_family == AF_UNSPEC &&
        sys3(SYS_getsockname, (long)fd, &bound, &bound_len) == 0) { /* Linux takes 0.0.0.0 */
        at = (const struct sockaddr *)&bound;
        len = bound_len;
    }
    bool match = policy_could_match(policy, POLICY_ACCEPT, at, len) && is_tcp_stream(fd);
    if (match || (word != WORD_PLAIN && (word != WORD_UNKNOWN || is_tcp_stream(fd))))
        table_set(fd, match ? WORD_BOUND : WORD_BOUND_PLAIN);
    errno = saved;
    return r;
}

HOOK int listen(int fd, int backlog)
{
    struct desc *d = table_find(fd);
    if (d && desc_special(d))
        return fail(desc_special(d));
    if (policy && (unsigned)fd >= table_size && policy_has(policy, POLICY_ACCEPT) && is_tcp_stream(fd))
        return fail(EMFILE); /* nobody would know what is accepted from it */
    if (policy && !thread.in_vfork_child && table_word(fd) != WORD_BOUND_PLAIN)
        admission_defer(fd);
    int r = real()->listen(fd, backlog);
    if (!policy || r < 0 || thread.in_vfork_child)
        return r;
    int saved = errno;
    uintptr_t word = table_word(fd);
    if (word == WORD_BOUND ||
        ((word == WORD_PLAIN || word == WORD_SOCKET || word == WORD_FRESH) && policy_has(policy, POLICY_ACCEPT)))
        classify_listener(fd);
    errno = saved;
    return r;
}

/* What becomes of an accepted socket. 0: give it to the program; else the errno, and it is closed. */
static int judge_accepted(int fd, int listener, const struct sockaddr *peer, socklen_t peer_len)
{
    struct sockaddr_storage local;
    socklen_t len = sizeof local;
    if (forbidden.options)
        return sandbox_refuses("accept");
    if (sys3(SYS_getsockname, (long)fd, &local, &len) != 0)
        return ECONNABORTED;
    const struct policy_rule *rule = rule_deciding(POLICY_ACCEPT, (struct sockaddr *)&local, len, peer);
    if (!rule || rule->action == POLICY_PLAIN)
        return 0;
    if (rule->action == POLICY_DENY) {
        (void)deny("connection from", peer, rule);
        return EACCES;
    }
    enum admission admission = admission_of(fd, listener, rule, peer, peer_len);
    if (admission != ADMISSION_PROTECTED)
        return admission == ADMISSION_PLAIN ? 0 : EACCES;
    streams_adopt(fd);
    struct desc *d = select_connection(fd, rule, false, peer);
    if (!d)
        return errno;
    d->native = true; /* nobody knows the number yet */
    if (desc_enter(d, fd)) {
        helper_add_soon(d);
        desc_leave(d);
    }
    desc_release(d);
    return 0;
}

/* As the kernel does it, which looks at the length first. 0, or the errno. */
static int copy_address(const struct sockaddr_storage *from, socklen_t from_len, struct sockaddr *to, socklen_t *to_len)
{
    if (!to)
        return 0;
    if (!memory_writable(to_len, sizeof *to_len))
        return EFAULT;
    if ((int)*to_len < 0)
        return EINVAL;
    socklen_t len = from_len < *to_len ? from_len : *to_len;
    if (!memory_writable(to, len))
        return EFAULT;
    memcpy(to, from, len);
    *to_len = from_len;
    return 0;
}

/* A program that was told of a connection by poll does not expect to wait for the next one (accept(2), "Error
 * handling": one that was aborted meanwhile). On a non-blocking listener the kernel's EAGAIN says so. */
static bool would_block(int listener)
{
    struct pollfd p = {.fd = listener, .events = POLLIN};
    return table_word(listener) == WORD_POLLED && io_poll(&p, 1, 0) == 0 &&
           !(sys3(SYS_fcntl, (long)listener, F_GETFL, 0L) & O_NONBLOCK);
}

static int accept_matched(int fd, struct sockaddr *from, socklen_t *from_len, int flags)
{
    for (;;) {
        struct sockaddr_storage peer;
        socklen_t peer_len = sizeof peer;
        int got = real()->accept4(fd, (struct sockaddr *)&peer, &peer_len, flags);
        if (table_renew(got) < 0)
            return got;
        int saved = errno, bad_address = copy_address(&peer, peer_len, from, from_len);
        if (bad_address) { /* the connection is lost, as in the kernel */
            sys1(SYS_close, (long)got);
            return fail(bad_address);
        }
        int error = thread.in_vfork_child ? EIO : judge_accepted(got, fd, (struct sockaddr *)&peer, peer_len);
        if (!error) {
            errno = saved;
            return got;
        }
        sys1(SYS_close, (long)got);
        if (error == EACCES && would_block(fd))
            return fail(ECONNABORTED);
        /* A denied peer is as if it had never come; what we cannot protect the program must hear of. */
        if (error != EACCES)
            return fail(error == EMFILE ? EMFILE : ECONNABORTED);
    }
}

/* A listener whose listen(2) was called by another number of it, or another process. */
static bool is_listener(int fd)
{
    uintptr_t word = table_word(fd);
    if (word == WORD_BOUND || (word == WORD_SOCKET && socket_option(fd, SOL_SOCKET, SO_ACCEPTCONN, 0)))
        classify_listener(fd);
    return word_is_listener(table_word(fd));
}

HOOK int accept4(int fd, struct sockaddr *from, socklen_t *from_len, int flags)
{
    struct desc *d = table_find(fd);
    if (d && desc_special(d))
        return fail(desc_special(d));
    if (is_listener(fd))
        return accept_matched(fd, from, from_len, flags);
    return table_renew(real()->accept4(fd, from, from_len, flags));
}

HOOK int accept(int fd, struct sockaddr *from, socklen_t *from_len)
{
    struct desc *d = table_find(fd);
    if (d && desc_special(d))
        return fail(desc_special(d));
    if (is_listener(fd))
        return accept_matched(fd, from, from_len, 0);
    return table_renew(real()->accept(fd, from, from_len));
}
