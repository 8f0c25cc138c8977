/* Makes a socket a protected connection, and an ordinary one again: its desc, its options, its other numbers. */
#define LOG_CATEGORY LOG_CATEGORY_REFUSAL

#include "epoll_notes.h"
#include "names.h"
#include "state.h"

#include "sys.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

void text_of_address(const struct sockaddr *a, char text[CONN_PEER_TEXT])
{
    char ip[INET6_ADDRSTRLEN] = "?";
    if (a->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)a;
        inet_ntop(AF_INET, &v4->sin_addr, ip, sizeof ip);
        snprintf(text, CONN_PEER_TEXT, "%s:%u", ip, ntohs(v4->sin_port));
        return;
    }
    const struct sockaddr_in6 *v6 = (const void *)a;
    if (a->sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
        inet_ntop(AF_INET, v6->sin6_addr.s6_addr + 12, ip, sizeof ip);
    else if (a->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &v6->sin6_addr, ip, sizeof ip);
    snprintf(text, CONN_PEER_TEXT, strchr(ip, ':') ? "[%s]:%u" : "%s:%u", ip,
             a->sa_family == AF_INET6 ? ntohs(v6->sin6_port) : 0);
}

/* Is there anything that a name is compared with, or kept under? */
static bool needs_name(const struct policy_rule *rule)
{
    return !rule->peer_patterns && rule->auth != AUTH_INSECURE_NONE &&
           (rule->trust.ca || rule->trust.known_peers || rule->trust.dane);
}

static void copy_host(const char *peer, char *room, size_t size)
{
    const char *begin = peer[0] == '[' ? peer + 1 : peer;
    const char *end = strrchr(peer, peer[0] == '[' ? ']' : ':');
    snprintf(room, size, "%.*s", (int)(end ? end - begin : (long)strlen(begin)), begin);
}

static void tell_ambiguous(const struct policy_rule *rule, const char *peer)
{
    char room[RULE_TEXT];
    struct log_field fields[RULE_FIELDS];
    rule_fields(rule, POLICY_CONNECT, peer, room, fields);
    log_write(LOG_LEVEL_ERROR, LOG_CATEGORY_REFUSAL, fields, RULE_FIELDS,
              "connection to %s refused: threads of this program have looked up several names for that address, and it "
              "cannot be told which of them is meant: say peer= in %s:%u",
              peer, rule->source, rule->line);
}

/* What the program dialled: the name that it looked the address up by, or the address; room is for the latter. NULL: an
 * accepted connection. False: nobody can tell, and it matters. */
static bool find_dialled(const struct policy_rule *rule, const struct sockaddr *address, socklen_t len,
                         const char *peer, char *room, size_t size, const char **name)
{
    switch (names_dialled(address, len, name)) {
    case NAMES_KNOWN:
        return true;
    case NAMES_AMBIGUOUS:
        if (!needs_name(rule) && !rule_is_ambiguous(address, len))
            break;
        tell_ambiguous(rule, peer);
        return false;
    case NAMES_BARE:
        break;
    }
    copy_host(peer, room, size);
    *name = room;
    return true;
}

uint64_t socket_cookie(int fd)
{
    uint64_t cookie = 0;
    socklen_t len = sizeof cookie;
    return sys5(SYS_getsockopt, (long)fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) == 0 ? cookie : 0;
}

/* The number may have been closed, and be another socket's, since it was looked at. */
static void add_twin(int fd, uintptr_t word, struct desc *d)
{
    if (!table_try_move(fd, word))
        return;
    bool same = socket_cookie(fd) == d->cookie;
    if (same)
        atomic_fetch_add(&d->refs, 1);
    table_end_move(fd, same ? (uintptr_t)d : word);
    if (same)
        notes_adopt(d, fd);
}

void select_twins(int fd, struct desc *d)
{
    for (unsigned i = 0; d->cookie && i < table_high; i++) {
        uintptr_t word = atomic_load_explicit(table_at(i), memory_order_relaxed);
        bool candidate = word == WORD_UNKNOWN || (word != WORD_FRESH && word_is_unconnected(word));
        if (candidate && (int)i != fd && socket_cookie((int)i) == d->cookie)
            add_twin((int)i, word, d);
    }
}

void select_late_twins(int fd, struct desc *d)
{
    for (unsigned i = 0; d->cookie && i < table_high; i++) {
        uintptr_t word;
        while ((word = table_word((int)i)) == WORD_MOVING && (int)i != fd && socket_cookie((int)i) == d->cookie)
            sched_yield();
        if (word >= WORD_FIRST_POINTER)
            unselect_late((int)i, word);
    }
    if (desc_enter(d, fd)) {
        select_twins(fd, d);
        desc_leave(d);
    }
}

static void take_plain_twin(int fd, void *d)
{
    struct desc *mine = d;
    if ((unsigned)fd < table_size && table_word(fd) == WORD_PLAIN && socket_cookie(fd) == mine->cookie)
        add_twin(fd, WORD_PLAIN, mine);
}

struct desc *select_midstream(int fd, const struct policy_rule *rule, bool connected_side, const struct sockaddr *peer)
{
    struct desc *d = select_connection(fd, rule, connected_side, peer);
    if (!d)
        return NULL;
    if (!desc_enter(d, fd)) {
        desc_release(d);
        errno = EBADF;
        return NULL;
    }
    bool all = d->cookie && each_open_number(take_plain_twin, d);
    desc_leave(d);
    if (all)
        return d;
    log_event(LOG_LEVEL_ERROR,
              "%s: without /proc other numbers of this socket, which would stay in clear, cannot be "
              "found: refused",
              core->conn_peer(d->conn));
    unselect(fd, d);
    desc_release(d);
    errno = EOPNOTSUPP;
    return NULL;
}

/* Nagle's rule holds a small segment back while the one before it is not acknowledged: each flight of the handshake,
 * and the program's first request behind it, would wait for a delayed ACK. Off until the first write has left. */
static void force_nodelay(int fd, struct desc *d, bool is_off)
{
    int on = 1;
    if ((is_off || !socket_option(fd, IPPROTO_TCP, TCP_NODELAY, 1)) &&
        sys5(SYS_setsockopt, (long)fd, IPPROTO_TCP, TCP_NODELAY, &on, (long)sizeof on) == 0)
        atomic_store(&d->nodelay_forced, true);
}

/* A cork would hold each flight of the handshake back, for 200 ms or until it is pulled. */
static void take_cork(int fd, struct desc *d)
{
    int off = 0;
    if (socket_option(fd, IPPROTO_TCP, TCP_CORK, 0) > 0 &&
        sys5(SYS_setsockopt, (long)fd, IPPROTO_TCP, TCP_CORK, &off, (long)sizeof off) == 0)
        atomic_store(&d->cork_due, true);
}

void restore_cork(int fd, struct desc *d)
{
    int on = 1;
    if (!forbidden.options && atomic_exchange(&d->cork_due, false))
        sys5(SYS_setsockopt, (long)fd, IPPROTO_TCP, TCP_CORK, &on, (long)sizeof on);
}

void restore_nagle(int fd, struct desc *d)
{
    int off = 0;
    if (!forbidden.options && atomic_exchange(&d->nodelay_forced, false))
        sys5(SYS_setsockopt, (long)fd, IPPROTO_TCP, TCP_NODELAY, &off, (long)sizeof off);
}

static void take_options(int fd, struct desc *d, bool fresh)
{
    int one = 1, low = fresh ? 1 : socket_option(fd, SOL_SOCKET, SO_RCVLOWAT, 1);
    atomic_store(&d->rcvlowat, low);
    if (low > 1)
        sys5(SYS_setsockopt, (long)fd, SOL_SOCKET, SO_RCVLOWAT, &one, (long)sizeof one);
    force_nodelay(fd, d, fresh);
    if (!fresh)
        take_cork(fd, d);
}

/* Over the look whether a socket has its desc, and putting it there: two threads may connect it at the same time, by
 * two numbers too. One desc that is not the connection's would leave the numbers on it in clear. */
static pthread_mutex_t selecting = PTHREAD_MUTEX_INITIALIZER;

/* Is there one? Then fd stands for it, too. What has just been made has no other number, and need not be looked for. */
static bool joins_other(int fd, uintptr_t word, uint64_t cookie, bool connected_side)
{
    if (word >= WORD_FIRST_POINTER)
        return true;
    bool alone = word == WORD_FRESH || (word == WORD_PLAIN && !connected_side);
    struct desc *other = alone ? NULL : desc_of_cookie(cookie);
    if (!other)
        return false;
    if (word != WORD_MOVING && table_try_move(fd, word)) {
        table_end_move(fd, (uintptr_t)other);
        notes_adopt(other, fd);
    } else if (atomic_fetch_sub(&other->refs, 1) == 1) {
        desc_release(other);
    }
    return true;
}

/* d is new. False: another thread was first. */
static bool put_in_place(int fd, struct desc *d, bool connected_side, uint64_t cookie)
{
    pthread_mutex_lock(&selecting);
    uintptr_t word = table_word(fd);
    bool fresh = word == WORD_FRESH, first = !joins_other(fd, word, cookie, connected_side);
    desc_hold(d); /* the caller's: other threads may close the number as soon as it has its word */
    if (first) {
        atomic_store(&d->cookie, cookie);
        take_options(fd, d, fresh);
        desc_pin_new(d);
        d->native = d->fresh = fresh;
        atomic_store(&d->dialling, connected_side);
        atomic_store(&d->refs, 1);
        /* Whoever copies the number says first that it is fresh no more: either that is seen here, or the copy is of
         * the connection (copy_begin). */
        fresh &= table_set(fd, (uintptr_t)d) == WORD_FRESH;
        notes_adopt(d, fd);
        if (!fresh)
            d->native = d->fresh = false;
        if (connected_side && !fresh)
            select_twins(fd, d);
        desc_leave(d);
    }
    pthread_mutex_unlock(&selecting);
    return first;
}

struct desc *select_connection(int fd, const struct policy_rule *rule, bool connected_side, const struct sockaddr *peer)
{
    struct sockaddr_storage asked = {0};
    socklen_t len = sizeof asked;
    char name[CONN_PEER_TEXT];
    if ((unsigned)fd >= table_size) {
        log_event(LOG_LEVEL_ERROR, "descriptor %d is above the table of %u: refused", fd, table_size);
        errno = EMFILE;
        return NULL;
    }
    struct conn_params params = {.rule = rule, .connected_side = connected_side, .cookie = socket_cookie(fd)};
    params.identity = core_identity_of(rule);
    if (!params.identity) {
        errno = core ? EKEYREJECTED : core_load_error;
        return NULL;
    }
    if (!peer) {
        sys3(SYS_getpeername, (long)fd, &asked, &len);
        peer = (const struct sockaddr *)&asked;
    }
    text_of_address(peer, params.peer);
    if (connected_side && !find_dialled(rule, peer, len, params.peer, name, sizeof name, &params.dialled_name)) {
        core_identity_done(params.identity);
        errno = EKEYREJECTED;
        return NULL;
    }
    library_enter();
    struct conn *conn = core->conn_new(&params);
    core->identity_unref(params.identity);
    struct desc *d = conn ? desc_new(conn, rule) : NULL;
    bool placed = d && put_in_place(fd, d, connected_side, params.cookie);
    if (!d && conn)
        core->conn_free(conn);
    library_leave();
    if (placed)
        return d;
    if (d) {
        unselect_late(fd, table_word(fd)); /* the other's connection, if that has failed meanwhile */
        desc_release(d);                   /* the caller's hold, and the table's */
        desc_release(d);
    }
    errno = d ? ERESTART : ENOMEM;
    return NULL;
}

void set_fastopen_connect(int fd, int on)
{
    sys5(SYS_setsockopt, (long)fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, (long)sizeof on);
}

bool no_fast_open(int fd)
{
    bool asked = table_word(fd) != WORD_FRESH && socket_option(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 0) > 0;
    if (asked)
        set_fastopen_connect(fd, 0);
    return asked;
}

struct desc *select_imported(int fd, const struct conn_passport *passport, enum conn_arrival arrival)
{
    /* For an open connection without a rule here: what it was proven by is settled. */
    static const struct policy_rule handed = {
        .action = POLICY_PROTECT, .source = "a connection handed over", .handshake_timeout_ms = 10000};
    struct sockaddr_storage a;
    socklen_t len = sizeof a;
    bool connected = passport->connected_side;
    if (sys3(connected ? SYS_getpeername : SYS_getsockname, (long)fd, &a, &len) != 0)
        len = 0;
    const struct policy_rule *rule = rule_for(connected ? POLICY_CONNECT : POLICY_ACCEPT, (struct sockaddr *)&a, len);
    if (rule && rule->action == POLICY_DENY)
        return NULL;
    bool judged = rule && rule->action == POLICY_PROTECT;
    struct conn_params params = {
        .rule = judged ? rule : &handed, .connected_side = connected, .cookie = socket_cookie(fd)};
    memcpy(params.peer, passport->peer, sizeof params.peer);
    struct conn *conn = core->conn_import(&params, passport, arrival);
    if (!conn)
        return NULL;
    char name[CONN_PEER_TEXT];
    struct identity *identity = NULL;
    bool usable = !core->conn_unstarted(conn);
    const char *dialled = NULL;
    /* Where the handshake is still to come: names matter to it alone. */
    bool named = usable || !judged || !connected ||
                 find_dialled(rule, (struct sockaddr *)&a, len, params.peer, name, sizeof name, &dialled);
    if (!usable && judged && named && (identity = core_identity_of(rule)))
        usable = core->conn_equip(conn, identity, dialled);
    core_identity_done(identity);
    struct desc *d = usable ? desc_new(conn, params.rule) : NULL;
    if (!d)
        core->conn_free(conn);
    return d;
}

/* True if that was its last number. Calls that are inside may copy the number, or wait for d: until they have counted
 * that, it must not go. While the number stands still, d can be no other connection. */
static bool unselect_one(int fd, struct desc *d, uintptr_t word)
{
    uintptr_t was = table_begin_move(fd);
    bool mine = was == (uintptr_t)d && atomic_load(&d->unselected);
    table_end_move(fd, mine ? word : was);
    return mine && atomic_fetch_sub(&d->refs, 1) == 1;
}

static void give_options_back(int fd, struct desc *d)
{
    restore_nagle(fd, d);
    restore_cork(fd, d);
    int low = atomic_load(&d->rcvlowat);
    if (low > 1)
        sys5(SYS_setsockopt, (long)fd, SOL_SOCKET, SO_RCVLOWAT, &low, (long)sizeof low);
    if (d->fastopen_connect)
        set_fastopen_connect(fd, 1);
}

void unselect(int fd, struct desc *d)
{
    if (desc_enter(d, fd)) { /* else it is another socket's number by now */
        give_options_back(fd, d);
        desc_leave(d);
    }
    atomic_store(&d->unselected, true);
    for (unsigned i = 0; i < table_high; i++) {
        if (atomic_load_explicit(table_at(i), memory_order_relaxed) == (uintptr_t)d &&
            unselect_one((int)i, d, WORD_SOCKET)) {
            desc_release(d);
            return;
        }
    }
}

void unselect_late(int fd, uintptr_t word)
{
    struct desc *d = (struct desc *)word;
    if (word >= WORD_FIRST_POINTER && atomic_load(&d->unselected) && unselect_one(fd, d, WORD_UNKNOWN))
        desc_release(d);
}
