#define LOG_CATEGORY LOG_CATEGORY_PROGRAM

#include "handover.h"

#include "io.h"
#include "sys.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A process that forks with more connections than this keeps the rest to itself: each box is a descriptor. */
enum { BOXES_AT_FORK = 32 };

bool handover_matters(void)
{
    for (unsigned fd = 0; fd < table_high; fd++) {
        uintptr_t word = atomic_load_explicit(table_at(fd), memory_order_relaxed);
        if (word >= WORD_MOVING || word_is_listener(word) || word == WORD_REFUSED)
            return true;
        /* Only asked, not settled: that could load the core, and most are files and pipes that nobody here uses. */
        if (word == WORD_UNKNOWN && is_tcp_stream((int)fd))
            return true;
    }
    return false;
}

static int pack_hidden(struct box_label *label, const int *items, int count)
{
    int box = box_pack(label, items, count);
    int hidden = box < 0 ? box : hide_descriptor_number(box);
    return hidden == -1 ? -EMFILE : hidden;
}

/* One box for each family that this process belongs to: nearly always one. */
static struct family_box {
    struct family_box *next;
    uint8_t family[FAMILY_NAME];
    int box;
} * family_boxes;

static int family_box(const uint8_t family[FAMILY_NAME], int file)
{
    for (struct family_box *f = family_boxes; f; f = f->next)
        if (memcmp(f->family, family, FAMILY_NAME) == 0)
            return f->box;
    struct box_label label = {.kind = BOX_FAMILY};
    struct family_box *f = malloc(sizeof *f);
    int box = f ? pack_hidden(&label, &file, 1) : -ENOMEM;
    if (box < 0) {
        free(f);
        return box;
    }
    memcpy(f->family, family, FAMILY_NAME);
    f->box = box;
    f->next = family_boxes;
    family_boxes = f;
    return box;
}

/* Everybody is out of the library. 0, or the errno; what failed for want of something may go well later. */
static int make_box(struct desc *d)
{
    struct conn_passport p;
    struct box_label label = {
        .kind = BOX_CONNECTION,
        .cookie = d->cookie,
        .rcvlowat = d->rcvlowat,
        .nodelay_forced = atomic_load(&d->nodelay_forced),
    };
    if (!core->conn_export(d->conn, &p))
        return EOPNOTSUPP;
    memcpy(label.family, p.family, sizeof label.family);
    memcpy(label.peer, p.peer, sizeof label.peer);
    label.connected_side = p.connected_side;
    int items[2] = {p.memory, family_box(p.family, p.family_file)};
    int box = items[1] < 0 ? items[1] : pack_hidden(&label, items, 2);
    sys1(SYS_close, (long)p.memory);
    if (box < 0)
        core->conn_export_failed(d->conn);
    else
        d->box = box;
    return box < 0 ? -box : 0;
}

static unsigned boxes, seen;

/* The newest connections come first, and they are what a child is most likely forked for: however many older ones have
 * boxes, these get theirs. */
enum { NEWEST = 4 };

static void count_box(struct desc *d, void *arg)
{
    (void)arg;
    boxes += d->box >= 0;
}

static void box_at_fork(struct desc *d, void *arg)
{
    (void)arg;
    if (atomic_load(&d->orphan) || !atomic_load(&d->refs))
        return;
    bool newest = seen++ < NEWEST;
    if (d->box >= 0 || (boxes >= BOXES_AT_FORK && !newest))
        return;
    (void)make_box(d);
    boxes++;
}

void handover_prepare_fork(void)
{
    if (forbidden.threads || forbidden.no_sockets)
        return; /* by a sandbox, in which there is nothing to hand over to */
    boxes = seen = 0;
    desc_each_forking(count_box, NULL);
    desc_each_forking(box_at_fork, NULL);
}

int handover_box(struct desc *d)
{
    int error = 0;
    if (d->box < 0) {
        fork_close_gate();
        if (d->box < 0)
            error = make_box(d);
        fork_open_gate();
    }
    if (error == EOPNOTSUPP)
        log_event(LOG_LEVEL_ERROR,
                  "%s: the connection cannot be handed to another program: its state is shared with a process that "
                  "was forked before (with more than %d connections, or when no descriptor was left), or memory is out",
                  core->conn_peer(d->conn), BOXES_AT_FORK);
    else if (error)
        log_event(LOG_LEVEL_ERROR, "%s: the connection cannot be handed to another program now: %s",
                  core->conn_peer(d->conn),
                  error == ETOOMANYREFS ? "its user has too many descriptors in flight (unix(7), ETOOMANYREFS): raise "
                                          "RLIMIT_NOFILE"
                                        : "no descriptor is left");
    return error ? -error : d->box;
}

/* The connection in a box, with the rule of this program's policy. fd: the socket. */
static struct desc *import(int fd, int box, const struct box_label *label, enum conn_arrival arrival)
{
    int items[2] = {-1, -1}, file = -1;
    struct desc *d = NULL;
    if (!core_load() || !box_open(box, items, 2))
        return NULL;
    struct conn_passport p = {.memory = items[0], .family_file = -1, .connected_side = label->connected_side};
    memcpy(p.family, label->family, sizeof p.family);
    memcpy(p.peer, label->peer, sizeof p.peer);
    library_enter();
    if (!core->conn_import_needs_family(&p) || box_open(items[1], &file, 1)) {
        p.family_file = file;
        d = select_imported(fd, &p, arrival);
    }
    if (d) {
        atomic_store(&d->cookie, label->cookie);
        d->rcvlowat = label->rcvlowat > 0 ? label->rcvlowat : 1;
        atomic_store(&d->nodelay_forced, label->nodelay_forced != 0);
        d->box = hidden_dup(box);
    }
    library_leave();
    sys1(SYS_close, (long)items[0]);
    sys1(SYS_close, (long)items[1]);
    return d;
}

/* Whoever made the box may have put any socket beside it, or another thread of his may have put one on the number. */
static bool belongs(int fd, const struct box_label *label)
{
    return label->cookie && socket_cookie(fd) == label->cookie && is_tcp_stream(fd);
}

/* The word for a connection that cannot be taken over. Where an attempt to connect has failed, no byte moves any more:
 * it is a socket like any other, and the kernel knows what to say of it. */
static uintptr_t word_without_connection(int fd)
{
    enum { CLOSED = 7 }; /* TCP_CLOSE (tcp(7), TCP_INFO) */
    return io_transport.tcp_state(fd) == CLOSED ? WORD_UNKNOWN : WORD_REFUSED;
}

/* All numbers of the socket that came with the box. */
static void adopt(int box, const struct box_label *label)
{
    struct desc *d = NULL;
    bool tried = false;
    for (unsigned fd = 0; fd < table_high; fd++) {
        if (table_word((int)fd) != WORD_UNKNOWN || !belongs((int)fd, label))
            continue;
        if (!tried)
            d = import((int)fd, box, label, CONN_BY_EXEC);
        tried = true;
        uintptr_t word = d ? (uintptr_t)d : word_without_connection((int)fd);
        if (d)
            atomic_fetch_add(&d->refs, 1);
        else if (word == WORD_REFUSED)
            log_event(LOG_LEVEL_ERROR, "inherited connection %u with %s cannot be taken over: every use of it fails",
                      fd, label->peer);
        table_set((int)fd, word);
        streams_adopt((int)fd);
    }
}

void handover_adopt(void)
{
    struct box_label label;
    for (unsigned fd = 0; fd < table_high; fd++) {
        if (table_word((int)fd) != WORD_UNKNOWN || !box_look((int)fd, &label))
            continue;
        if (label.kind == BOX_CONNECTION)
            adopt((int)fd, &label);
        else
            continue; /* one that stands in for a socket is the program's */
        sys1(SYS_close, (long)fd);
        table_set((int)fd, WORD_PLAIN);
    }
}

/* The word for a socket that came in a box. A connection that this process has already stays one. */
static uintptr_t unwrapped(int socket, int box, bool peeked)
{
    struct box_label label;
    if (!box_look(box, &label) || label.kind != BOX_CONNECTION || !belongs(socket, &label))
        return WORD_REFUSED;
    library_enter();
    struct desc *d = desc_of_cookie(label.cookie);
    library_leave();
    if (d) {
        if (!peeked)
            core->conn_arrived(d->conn);
        return (uintptr_t)d;
    }
    d = import(socket, box, &label, peeked ? CONN_BY_PEEK : CONN_BY_MESSAGE);
    if (d)
        atomic_store(&d->refs, 1);
    return d ? (uintptr_t)d : word_without_connection(socket);
}

/* Other threads may unselect a connection that they have by another number. */
static void put_received(int fd, uintptr_t word)
{
    struct desc *d = word >= WORD_FIRST_POINTER ? (struct desc *)word : NULL;
    if (d)
        desc_hold(d); /* it is counted, and so it is there */
    table_set(fd, word);
    unselect_late(fd, word);
    if (word != WORD_UNKNOWN)
        streams_adopt(fd);
    if (!d)
        return;
    if (desc_enter(d, fd)) {
        helper_add(d);
        desc_leave(d);
    }
    desc_release(d);
}

bool handover_receive(int fd, bool close_on_exec, bool peeked)
{
    struct box_label label;
    int items[2] = {-1, -1};
    if (!box_look(fd, &label))
        return false;
    if ((unsigned)fd >= table_size) { /* where nothing is watched, the program gets the box */
        log_event(LOG_LEVEL_ERROR, "descriptor %d, received, is above the table of %u: refused", fd, table_size);
        return true;
    }
    uintptr_t word = WORD_REFUSED;
    if (label.kind == BOX_PASSED && box_open(fd, items, 2))
        word = unwrapped(items[0], items[1], peeked);
    else if (label.kind == BOX_LISTENER && box_open(fd, items, 1))
        word = WORD_UNKNOWN;
    if (word != WORD_REFUSED)
        sys3(SYS_dup3, (long)items[0], (long)fd, (long)(close_on_exec ? O_CLOEXEC : 0));
    else
        log_event(LOG_LEVEL_ERROR, "a protected connection was received as descriptor %d and cannot be used here: %s",
                  fd,
                  label.kind == BOX_NONE ? "it was sent by another version of the library"
                                         : "no rule for it, no memory, or the core cannot be loaded");
    for (int i = 0; i < 2; i++)
        if (items[i] >= 0)
            sys1(SYS_close, (long)items[i]);
    if (table_word(fd) != WORD_PLAIN)
        table_forget(fd);
    put_received(fd, word);
    return true;
}
