/* fcntl, ioctl and socket options, where they would tell the program the truth about the ciphertext, or let it change
 * what the library relies on. */
#include "known.h"
#include "p2ptls.h"
#include "stream.h"

#include "memory.h"
#include "sys.h"
#include "waits.h"

#include <errno.h>
#include <limits.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

static int fail(int error)
{
    errno = error;
    return -1;
}

/* Around F_SETFL and FIONBIO. NULL: no connection. */
static struct desc *modes_begin(int fd)
{
    struct desc *d = table_find(fd);
    if (thread.in_vfork_child)
        stream_modes_lost(); /* of a connection of its parent's */
    if (!d || desc_special(d) || !desc_enter(d, fd))
        return NULL;
    stream_modes_change(d);
    return d;
}

/* A sandbox may forbid to ask for it later. async: O_ASYNC may have been set, for good. */
static void modes_end(struct desc *d, int fd, bool done, bool nonblocking, bool async)
{
    if (done && async)
        table_not_fresh(fd);
    if (!d)
        return;
    if (done)
        d->nonblocking = nonblocking;
    if (done && async)
        atomic_store(&d->edges, true);
    stream_modes_changed(d);
    desc_leave(d);
}

static void note_async(struct desc *d, int fd)
{
    table_not_fresh(fd);
    if (d && desc_enter(d, fd)) {
        atomic_store(&d->edges, true);
        desc_leave(d);
    }
}

static int control(int fd, int command, void *arg)
{
    uintptr_t word = table_word(fd);
    if (word == WORD_OURS && !thread.in_vfork_child)
        return fail(EBADF);
    if (command == F_DUPFD || command == F_DUPFD_CLOEXEC) {
        word = copy_begin(fd);
        return copy_made(fd, word, real()->fcntl64(fd, command, arg));
    }
    if (command != F_SETFL)
        return real()->fcntl64(fd, command, arg);
    struct desc *d = modes_begin(fd);
    int r = real()->fcntl64(fd, command, arg);
    modes_end(d, fd, r == 0, (long)arg & O_NONBLOCK, (long)arg & O_ASYNC);
    return r;
}

HOOK int fcntl64(int fd, int command, ...)
{
    va_list args;
    va_start(args, command);
    void *arg = va_arg(args, void *);
    va_end(args);
    return control(fd, command, arg);
}

HOOK int fcntl(int fd, int command, ...)
{
    va_list args;
    va_start(args, command);
    void *arg = va_arg(args, void *);
    va_end(args);
    return control(fd, command, arg);
}
HOOK_ALIAS(fcntl, __fcntl);

/* FIONREAD: bytes that a read gives without waiting. At least one record is opened to say it. */
static int count_readable(struct desc *d, int fd, int *count)
{
    size_t available = 0;
    int queued = 0;
    if (!desc_enter(d, fd))
        return fail(EBADF);
    sys3(SYS_ioctl, (long)fd, FIONREAD, &queued);
    enum result result = core->conn_count(d->conn, fd, (size_t)queued, &available);
    helper_kick(d);
    desc_leave(d);
    *count = result == RESULT_OK && available < INT_MAX ? (int)available : 0;
    return 0;
}

/* SIOCOUTQ: programs wait until it is 0. */
static int count_unsent(struct desc *d, int fd, unsigned long request, int *count)
{
    if (!desc_enter(d, fd))
        return fail(EBADF);
    long r = sys3(SYS_ioctl, (long)fd, (long)request, count);
    size_t kept = core->conn_unsent(d->conn);
    desc_leave(d);
    if (r < 0)
        return fail((int)-r);
    *count = kept < (size_t)(INT_MAX - *count) ? *count + (int)kept : INT_MAX;
    return 0;
}

HOOK int ioctl(int fd, unsigned long request, ...)
{
    va_list args;
    va_start(args, request);
    void *arg = va_arg(args, void *);
    va_end(args);
    struct desc *d = table_find(fd);
    if (d && desc_special(d))
        return fail(desc_special(d));
    if (d && request == FIONREAD && memory_writable(arg, sizeof(int)))
        return count_readable(d, fd, arg);
    if (d && (request == SIOCOUTQ || request == SIOCOUTQNSD) && arg)
        return count_unsent(d, fd, request, arg);
    struct desc *changing = request == FIONBIO ? modes_begin(fd) : NULL;
    int r = real()->ioctl(fd, request, arg);
    if (request == FIONBIO)
        modes_end(changing, fd, r == 0, r == 0 && *(int *)arg != 0, false);
    if (r == 0 && (request == FIOASYNC || request == FIOSETOWN || request == SIOCSPGRP))
        note_async(d, fd);
    return r;
}

/* Options that would move bytes past the library, or make it see other bytes than it expects. */
static const struct {
    int level, name, error;
} refused[] = {
    {SOL_SOCKET, SO_ZEROCOPY, EOPNOTSUPP},
    {SOL_SOCKET, SO_PEEK_OFF, EOPNOTSUPP},
    {IPPROTO_TCP, TCP_ULP, ENOENT}, /* what the kernel says where it has no such protocol */
    {IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, ENOPROTOOPT},
    {IPPROTO_TCP, TCP_INQ, ENOPROTOOPT},
    {IPPROTO_TCP, TCP_REPAIR, EPERM},
    {IPPROTO_TCP, TCP_MD5SIG, EOPNOTSUPP},
};

static int refusal(int level, int name)
{
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        if (refused[i].level == level && refused[i].name == name)
            return refused[i].error;
    return 0;
}

static void note_linger(struct desc *d, const struct linger *l)
{
    d->linger_abort = l->l_onoff && l->l_linger == 0;
    d->lingers = l->l_onoff && l->l_linger != 0;
}

/* Linux raises an edge when SO_RCVLOWAT is set and as many bytes are there, or the end (tcp_set_rcvlowat). Pinned. */
static void tell_again(struct desc *d, int fd)
{
    static const int one = 1;
    size_t there = 0;
    int queued = 0;
    enum result result = RESULT_OK;
    if (d->rcvlowat > 1 && !forbidden.queues) {
        sys3(SYS_ioctl, (long)fd, FIONREAD, &queued);
        result = core->conn_count(d->conn, fd, (size_t)queued, &there);
    }
    if (d->rcvlowat <= 1 || result == RESULT_EOF || result == RESULT_IO || there >= (size_t)d->rcvlowat)
        sys5(SYS_setsockopt, (long)fd, SOL_SOCKET, SO_RCVLOWAT, &one, (long)sizeof one);
}

static int set_option(struct desc *d, int fd, int level, int name, const void *value, socklen_t len)
{
    int error = refusal(level, name);
    if (error && len && !memory_readable(value, len < sizeof(int) ? len : sizeof(int)))
        return fail(EFAULT);
    if (error && !len)
        return fail(EINVAL);
    if (error) {
        log_event(LOG_LEVEL_DEBUG, "%s: socket option %d of level %d refused", core->conn_peer(d->conn), name, level);
        return fail(error);
    }
    bool is_number = len >= sizeof(int) && memory_readable(value, sizeof(int));
    if (level == SOL_SOCKET && name == SO_RCVLOWAT && is_number) {
        int low;
        memcpy(&low, value, sizeof low);
        d->rcvlowat = low < 0 ? INT_MAX : low ? low : 1; /* socket(7): kept here, the kernel's stays 1 */
        tell_again(d, fd);
        return 0;
    }
    if (level == IPPROTO_TCP && name == TCP_NODELAY && is_number && atomic_load(&d->nodelay_forced)) {
        int on;
        memcpy(&on, value, sizeof on);
        atomic_store(&d->nodelay_forced, !on); /* it is on already; off again after the first write unless wanted */
        return 0;
    }
    if (level == IPPROTO_TCP && name == TCP_CORK && is_number && core->conn_state(d->conn) != RESULT_OK) {
        int on;
        memcpy(&on, value, sizeof on);
        atomic_store(&d->cork_due, on != 0); /* the flights of the handshake must leave */
        return 0;
    }
    int r = real()->setsockopt(fd, level, name, value, len);
    if (r == 0 && level == SOL_SOCKET && (name == SO_RCVTIMEO || name == SO_SNDTIMEO))
        stream_note_modes(d, fd);
    if (r == 0 && level == IPPROTO_TCP && name == TCP_CORK)
        atomic_store(&d->cork_due, false);
    if (r == 0 && level == SOL_SOCKET && name == SO_LINGER && len >= sizeof(struct linger))
        note_linger(d, value);
    return r;
}

HOOK int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
    struct desc *d = table_find(fd);
    if (level == SOL_P2PTLS && policy)
        return known_set(fd, name, value, len);
    if (!d) {
        table_not_fresh(fd);
        return real()->setsockopt(fd, level, name, value, len);
    }
    if (desc_special(d))
        return fail(desc_special(d));
    if (!desc_enter(d, fd))
        return fail(EBADF);
    int r = set_option(d, fd, level, name, value, len);
    desc_leave(d);
    return r;
}

/* What the kernel says of a connection that was refused is only how the other side left it: a reset. *failed: before it
 * was asked. */
static int kernel_error(struct desc *d, int fd, int *error, socklen_t *len, bool *failed)
{
    if (!desc_enter(d, fd))
        return fail(EBADF);
    /* A refusal that has arrived, and then a reset: the kernel tells of that first. */
    result_ignore(core->conn_drive(d->conn, fd));
    bool asking = core->conn_asking_begin(d->conn);
    *failed = core->conn_state(d->conn) == RESULT_IO;
    int r = real()->getsockopt(fd, SOL_SOCKET, SO_ERROR, error, len);
    bool whole = r == 0 && *len >= sizeof *error;
    if (whole && core->conn_end_refused(d->conn, *error))
        *error = 0;
    if (whole && *error && !*failed)
        core->conn_error_told(d->conn); /* and the handshake will meet what it leaves behind */
    if (asking)
        core->conn_asking_end(d->conn);
    desc_leave(d);
    return r;
}

/* SO_ERROR: once the reason why the connection was refused, else the kernel's, else what it has told and the program
 * does not know. With
 * connect=wait the question waits for the verdict, as connect itself does on a blocking socket. */
static void add_own_error(struct desc *d, int fd, bool failed, int *error)
{
    struct stream_signals before;
    int untold = core->conn_take_untold(d->conn);
    if (!*error)
        *error = untold;
    if (!*error && d->rule->connect_waits && core->conn_is_connector(d->conn) &&
        core->conn_state(d->conn) == RESULT_AGAIN)
        do /* no signal ends getsockopt, and no error would say that all is well */
            before = stream_signals_now();
        while (stream_wait_handshake(d, fd, INT64_MAX, &before, false) == EINTR);
    if (!failed && *error)
        return;
    int own = core->conn_take_error(d->conn), late = core->conn_take_untold(d->conn);
    *error = untold ? untold : own ? own : late;
}

/* TCP options that the kernel does not have as the program set them. */
static void show_held_back(struct desc *d, int name, void *value)
{
    const int on = 1, off = 0;
    if (name == TCP_NODELAY && atomic_load(&d->nodelay_forced))
        memcpy(value, &off, sizeof off);
    if ((name == TCP_CORK && atomic_load(&d->cork_due)) || (name == TCP_FASTOPEN_CONNECT && d->fastopen_connect))
        memcpy(value, &on, sizeof on);
}

static int get_option(struct desc *d, int fd, int level, int name, void *value, socklen_t *len)
{
    bool failed = false, error = level == SOL_SOCKET && name == SO_ERROR;
    int r = error ? kernel_error(d, fd, value, len, &failed) : real()->getsockopt(fd, level, name, value, len);
    if (r == 0 && level == IPPROTO_TCP && *len >= sizeof(int))
        show_held_back(d, name, value);
    if (r != 0 || level != SOL_SOCKET || *len < sizeof(int))
        return r;
    int low = atomic_load(&d->rcvlowat);
    if (name == SO_RCVLOWAT)
        memcpy(value, &low, sizeof low);
    if (error)
        add_own_error(d, fd, failed, value);
    return r;
}

HOOK int getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
    struct desc *d = table_find(fd);
    if (level == SOL_P2PTLS && policy)
        return known_get(fd, name, value, len);
    if (!d)
        return real()->getsockopt(fd, level, name, value, len);
    if (desc_special(d))
        return fail(desc_special(d));
    if (level == IPPROTO_TCP && name == TCP_ZEROCOPY_RECEIVE)
        return fail(ENOPROTOOPT); /* it is the reading itself */
    if (!desc_enter(d, fd))
        return fail(EBADF);
    unsigned wait = wait_begin(d);
    desc_leave(d);
    int r = get_option(d, fd, level, name, value, len);
    wait_end(d, wait);
    return r;
}
