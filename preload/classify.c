/* Which sockets are selected: by what they are, where they are bound or connected, and what the policy says. */
#define LOG_CATEGORY LOG_CATEGORY_REFUSAL

#include "handover.h"
#include "state.h"

#include "sys.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/stat.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

enum { TCP_STATE_LISTEN = 10, TCP_STATE_CLOSE = 7 };

int socket_option(int fd, int level, int name, int fallback)
{
    int value = 0;
    socklen_t len = sizeof value;
    return sys5(SYS_getsockopt, (long)fd, (long)level, (long)name, &value, &len) == 0 ? value : fallback;
}

/* Errors that say what a descriptor is not, or is not yet. Any other is of a filter around this process: it says
 * nothing, and what cannot be asked must not pass for unselected. */
static bool is_verdict(long error)
{
    return error == -ENOTSOCK || error == -EBADF || error == -ENOTCONN || error == -EINVAL || error == -EOPNOTSUPP ||
           error == -ENOPROTOOPT;
}

enum socket_kind socket_kind(int fd)
{
    int protocol = 0;
    socklen_t len = sizeof protocol;
    long r = forbidden.options ? -EPERM : sys5(SYS_getsockopt, (long)fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len);
    if (r == 0)
        return protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP ? SOCKET_KIND_TCP : SOCKET_KIND_OTHER;
    return is_verdict(r) ? SOCKET_KIND_OTHER : SOCKET_KIND_UNKNOWN;
}

bool is_tcp_stream(int fd)
{
    return socket_kind(fd) != SOCKET_KIND_OTHER;
}

void classify_listener(int fd)
{
    struct sockaddr_storage a;
    socklen_t len = sizeof a;
    long named = sys3(SYS_getsockname, (long)fd, &a, &len);
    bool match =
        is_tcp_stream(fd) &&
        (named == 0 ? policy_could_match(policy, POLICY_ACCEPT, (struct sockaddr *)&a, len) : !is_verdict(named));
    table_set(fd, match ? WORD_LISTENER : WORD_BOUND_PLAIN);
    if (match)
        admission_defer(fd);
    if (match) /* now, while files can be read and libraries loaded: daemons lower their privileges after listen */
        for (size_t i = 0; i < policy_count(policy); i++) {
            const struct policy_rule *rule = policy_rule_at(policy, i);
            if (rule->action == POLICY_PROTECT && !rule->observe && (rule->directions & POLICY_ACCEPT))
                core_identity_done(core_identity_of(rule));
        }
}

/* Nothing was sent, and all that came is still unread (a FIN adds 1 to bytes_received). */
static bool is_fresh(int fd, const struct tcp_info *info, socklen_t info_len)
{
    int unread = 0;
    if (info_len < offsetof(struct tcp_info, tcpi_bytes_sent) + sizeof info->tcpi_bytes_sent)
        return false;
    if (sys3(SYS_ioctl, (long)fd, FIONREAD, &unread) != 0)
        return false;
    uint64_t taken = info->tcpi_bytes_received - (uint64_t)unread;
    return info->tcpi_bytes_sent == 0 && taken <= 1;
}

static bool selects(const struct policy_rule *rule)
{
    return rule && rule->action != POLICY_PLAIN;
}

static bool either_selects(const struct sockaddr_storage *local, socklen_t local_len,
                           const struct sockaddr_storage *remote, socklen_t remote_len)
{
    return selects(rule_for(POLICY_CONNECT, (const struct sockaddr *)remote, remote_len)) ||
           selects(rule_for(POLICY_ACCEPT, (const struct sockaddr *)local, local_len));
}

static uintptr_t refuse_inherited(int fd, const char *why)
{
    log_event(LOG_LEVEL_ERROR,
              "inherited descriptor %d is a connection that the policy selects, and %s: every use of it fails", fd,
              why);
    return WORD_REFUSED;
}

/* What this process has already, if the number was copied while another thread put the connection on the original. */
static struct desc *known_connection(int fd)
{
    library_enter();
    struct desc *d = desc_of_cookie(socket_cookie(fd));
    library_leave();
    return d;
}

/* WORD_MOVING: the number has its word. */
static uintptr_t take_over(int fd, const struct sockaddr_storage *local, socklen_t local_len,
                           const struct sockaddr_storage *remote, socklen_t remote_len, const struct tcp_info *info,
                           socklen_t info_len)
{
    /* The SYN of the side that connected counts as one acknowledged byte. */
    bool connected_side = info->tcpi_bytes_acked == 1;
    const struct policy_rule *rule = connected_side
                                         ? rule_for(POLICY_CONNECT, (const struct sockaddr *)remote, remote_len)
                                         : rule_for(POLICY_ACCEPT, (const struct sockaddr *)local, local_len);
    bool fresh = is_fresh(fd, info, info_len);
    /* In mid-stream nothing tells which side connected: what either direction selects is refused. */
    if (!fresh && either_selects(local, local_len, remote, remote_len))
        return refuse_inherited(fd, "it is in mid-stream without its state (was it passed on by a program of ours?)");
    if (!rule || rule->action == POLICY_PLAIN || !fresh)
        return WORD_PLAIN;
    if (rule->action == POLICY_DENY)
        return refuse_inherited(fd, "the policy says deny");
    enum admission admission =
        connected_side ? ADMISSION_PROTECTED : admission_of(fd, -1, rule, (const struct sockaddr *)remote, remote_len);
    if (admission != ADMISSION_PROTECTED)
        return admission == ADMISSION_PLAIN ? WORD_PLAIN : refuse_inherited(fd, "from= does not name its peer");
    struct desc *d = select_connection(fd, rule, connected_side, (const struct sockaddr *)remote);
    struct desc *others = !d && errno == ERESTART ? known_connection(fd) : NULL;
    if (others)
        return (uintptr_t)others;
    if (!d)
        return refuse_inherited(fd, "its protection could not be set up");
    if (desc_enter(d, fd)) {
        if (!connected_side)
            select_twins(fd, d);
        helper_add(d);
        desc_leave(d);
    }
    desc_release(d);
    return WORD_MOVING;
}

/* In a sandbox: at most whether it is a socket at all, and of which family. */
static uintptr_t cannot_look(int fd)
{
    struct stat s;
    struct sockaddr_storage a = {0};
    socklen_t len = sizeof a;
    if (!forbidden.look && fstat(fd, &s) == 0 && !S_ISSOCK(s.st_mode))
        return WORD_PLAIN;
    if (!forbidden.options && sys3(SYS_getsockname, (long)fd, &a, &len) == 0 && a.ss_family != AF_INET &&
        a.ss_family != AF_INET6)
        return WORD_PLAIN;
    log_event(LOG_LEVEL_ERROR,
              "descriptor %d came into a sandbox that forbids to look at it: every use of it fails, since the policy "
              "might select it",
              fd);
    return WORD_REFUSED;
}

/* A connection that was reset leaves unread what had come in clear, and the kernel does not tell any more from whom. */
static bool has_rest(int fd)
{
    int unread = 0;
    return !forbidden.queues && sys3(SYS_ioctl, (long)fd, FIONREAD, &unread) == 0 && unread > 0;
}

/* Is it the copy of a number of this process that was found to be unselected while the kernel knew its peer? */
static bool is_plain_copy(int fd)
{
    const uint64_t cookie = socket_cookie(fd);
    for (unsigned i = 0; cookie && i < table_high; i++)
        if (table_word((int)i) == WORD_PLAIN && socket_cookie((int)i) == cookie)
            return true;
    return false;
}

/* The word for a number whose word is WORD_MOVING now; WORD_MOVING: it has been set, and whoever saw it may have
 * changed it again. */
static uintptr_t classify(int fd)
{
    struct sockaddr_storage local, remote;
    socklen_t local_len = sizeof local, remote_len = sizeof remote;
    struct tcp_info info;
    socklen_t info_len = sizeof info;
    memset(&info, 0, sizeof info);
    enum socket_kind kind = socket_kind(fd);
    if (kind == SOCKET_KIND_OTHER)
        return WORD_PLAIN;
    if (kind == SOCKET_KIND_UNKNOWN || sys5(SYS_getsockopt, (long)fd, IPPROTO_TCP, TCP_INFO, &info, &info_len) != 0 ||
        sys3(SYS_getsockname, (long)fd, &local, &local_len) != 0)
        return cannot_look(fd);
    if (info.tcpi_state == TCP_STATE_LISTEN) {
        classify_listener(fd);
        return WORD_MOVING;
    }
    struct desc *known = known_connection(fd);
    if (known)
        return (uintptr_t)known;
    if (sys3(SYS_getpeername, (long)fd, &remote, &remote_len) != 0) {
        bool could = policy_could_match(policy, POLICY_ACCEPT, (struct sockaddr *)&local, local_len);
        if (has_rest(fd))
            return could && !is_plain_copy(fd) ? refuse_inherited(fd, "it was reset before it was read") : WORD_PLAIN;
        return could ? WORD_BOUND : WORD_SOCKET;
    }
    return take_over(fd, &local, local_len, &remote, remote_len, &info, info_len);
}

void classify_unknown(int fd)
{
    int saved = errno;
    if (table_try_move(fd, WORD_UNKNOWN)) {
        const uintptr_t word = classify(fd);
        if (word == WORD_MOVING) {
            table_moved();
        } else {
            table_end_move(fd, word);
            unselect_late(fd, word);
        }
    }
    if (table_word(fd) != WORD_PLAIN) /* one that was closed below its stream, and came again */
        streams_adopt(fd);
    errno = saved;
}

/* A number that was copied just before another thread selected the original. */
static bool joins_known(int fd, uintptr_t expected)
{
    uintptr_t word = table_begin_move(fd);
    struct desc *d = word == expected ? known_connection(fd) : NULL;
    table_end_move(fd, d ? (uintptr_t)d : word);
    unselect_late(fd, (uintptr_t)d);
    return d || word != expected;
}

/* Bytes are to move on a socket that this process has not connected: normally the kernel says ENOTCONN. If another
 * process has connected it, its keys, if it has any, are there and not here. */
void table_look(int fd, uintptr_t word)
{
    struct sockaddr_storage local, remote;
    socklen_t local_len = sizeof local, remote_len = sizeof remote;
    if (thread.in_vfork_child)
        return;
    long connected = forbidden.options ? -EPERM : sys3(SYS_getpeername, (long)fd, &remote, &remote_len);
    bool rest = connected == -ENOTCONN && has_rest(fd);
    if (is_verdict(connected) && !rest)
        return;
    if (!rest && (connected != 0 || sys3(SYS_getsockname, (long)fd, &local, &local_len) != 0)) {
        atomic_compare_exchange_strong(table_at(fd), &word, cannot_look(fd));
        return;
    }
    bool refuse = rest || either_selects(&local, local_len, &remote, remote_len);
    if (refuse)
        streams_adopt(fd);
    if (refuse && joins_known(fd, word))
        return;
    if (refuse)
        refuse_inherited(fd, rest ? "another process has connected it, and it was reset before it was read"
                                  : "another process has connected it: it cannot be shared from before connect");
    atomic_compare_exchange_strong(table_at(fd), &word, refuse ? WORD_REFUSED : WORD_PLAIN);
}

/* -1: none. Without strtol, whose code and tables would be pages that few programs touch at their start. */
static int number_of(const char *name)
{
    int n = 0;
    if (!*name)
        return -1;
    for (; *name; name++) {
        if (*name < '0' || *name > '9' || n > INT_MAX / 10 - 1)
            return -1;
        n = 10 * n + (*name - '0');
    }
    return n;
}

static long open_numbers(void)
{
    return sys4(SYS_openat, (long)AT_FDCWD, "/proc/self/fd", (long)(O_RDONLY | O_DIRECTORY | O_CLOEXEC), 0L);
}

static bool each_number_in(long dir, void (*fn)(int fd, void *arg), void *arg)
{
    char buffer[2048] __attribute__((aligned(8)));
    long n = 0;
    while (dir >= 0 && (n = sys3(SYS_getdents64, dir, buffer, (long)sizeof buffer)) > 0) {
        for (long at = 0; at < n;) {
            const struct dirent64 *entry = (const void *)(buffer + at);
            at += entry->d_reclen;
            int fd = number_of(entry->d_name);
            if (fd >= 0 && fd != dir)
                fn(fd, arg);
        }
    }
    return dir >= 0 && n == 0;
}

bool each_open_number(void (*fn)(int fd, void *arg), void *arg)
{
    const long dir = open_numbers();
    const bool all = each_number_in(dir, fn, arg);
    if (dir >= 0)
        sys1(SYS_close, dir);
    return all;
}

static void is_inherited(int fd, void *arg)
{
    int protocol;
    socklen_t len = sizeof protocol;
    (void)arg;
    if (sys5(SYS_getsockopt, (long)fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) != -ENOTSOCK &&
        table_word(fd) == WORD_PLAIN)
        table_set(fd, WORD_UNKNOWN);
}

void classify_inherited(void)
{
    const long dir = open_numbers();
    const bool all = each_number_in(dir, is_inherited, NULL);
    hidden_make_room(dir);
    if (!all) /* no /proc: look at whatever is used */
        for (unsigned fd = 0; fd < table_size && fd < 1024; fd++)
            if (sys3(SYS_fcntl, (long)fd, F_GETFD, 0L) >= 0)
                is_inherited((int)fd, NULL);
    handover_adopt();
    for (int fd = 0; fd <= 2; fd++) { /* stdio uses these behind the hooks: look now */
        if (table_word(fd) == WORD_UNKNOWN)
            classify_unknown(fd);
        if (table_word(fd) != WORD_PLAIN)
            streams_adopt(fd);
    }
}
