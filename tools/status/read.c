/* Reads the table of one process. It may be written to meanwhile, and by somebody who means harm. */
#include "live.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

enum { BATCH = 256, TRIES = 5 };

struct live *live_add(struct live_list *list)
{
    if (list->count == list->room) {
        const size_t room = list->room ? list->room * 2 : 64;
        struct live *items = reallocarray(list->items, room, sizeof *items);
        if (!items) {
            fputs("p2ptls status: out of memory\n", stderr);
            exit(1);
        }
        list->items = items;
        list->room = room;
    }
    return memset(&list->items[list->count++], 0, sizeof *list->items);
}

void live_free(struct live_list *list)
{
    free(list->items);
    *list = (struct live_list){0};
}

/* A memfd, that is: not a file of that name on somebody's own file system, which could keep a reader waiting. */
static bool is_memfd(int fd)
{
    struct statfs fs;
    struct stat st;
    return fstatfs(fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
           fcntl(fd, F_GET_SEALS) > 0;
}

static bool read_header(int fd, uint32_t *used, uint32_t *missing)
{
    struct status_header h;
    if (!is_memfd(fd) || pread(fd, &h, sizeof h, 0) != (ssize_t)sizeof h)
        return false;
    *used = h.used;
    *missing = h.missing;
    return memcmp(h.magic, "p2pstat", sizeof h.magic) == 0 && h.layout == STATUS_LAYOUT &&
           h.record_size == sizeof(struct status_record) && h.used <= STATUS_RECORDS;
}

static void copy_text(char *to, const char *from, size_t size)
{
    memcpy(to, from, size);
    to[size - 1] = '\0';
}

static void add(const struct status_record *r, const struct live *about, int64_t now_ms, struct live_list *list)
{
    const uint8_t state = r->state;
    if (state < STATUS_HANDSHAKE || state > STATUS_FAILED)
        return;
    struct live *l = live_add(list);
    *l = *about;
    l->state = state;
    l->connected = r->connected_side;
    l->client = r->is_client;
    l->proven = r->proven;
    l->resumed = r->resumed;
    l->identity_cut = r->identity_cut;
    l->suite = r->suite;
    copy_text(l->identity, r->identity, sizeof l->identity);
    copy_text(l->alpn, r->alpn, sizeof l->alpn);
    copy_text(l->peer, r->peer, sizeof l->peer);
    l->cookie = r->cookie;
    l->age_ms = r->since_ms > 0 && r->since_ms < now_ms ? now_ms - r->since_ms : 0;
    l->received = r->bytes_in;
    l->sent = r->bytes_out;
    l->holders = 1;
    l->first = true;
}

static size_t read_batch(int fd, uint32_t from, size_t n, struct status_record *to)
{
    const off_t at = STATUS_HEADER + (off_t)from * (off_t)sizeof *to;
    const ssize_t k = pread(fd, to, n * sizeof *to, at);
    return k < 0 ? 0 : (size_t)k / sizeof *to;
}

/* A record is whole if its generation was the same even number before it was read, and after. Those that are not are
 * read again, and left out if they change all the time: then they are just being made, or taken away. */
static void read_records(int fd, uint32_t from, size_t n, const struct live *about, int64_t now_ms,
                         struct live_list *list)
{
    static struct status_record before[BATCH], records[BATCH], after[BATCH];
    bool done[BATCH] = {false};
    size_t left = n;
    for (int tries = 0; tries < TRIES && left; tries++) {
        if (read_batch(fd, from, n, before) != n || read_batch(fd, from, n, records) != n ||
            read_batch(fd, from, n, after) != n)
            return;
        for (size_t i = 0; i < n; i++) {
            if (done[i] || before[i].generation % 2 || before[i].generation != after[i].generation)
                continue;
            add(&records[i], about, now_ms, list);
            done[i] = true;
            left--;
        }
    }
}

/* The next record, from this one on, that is not in a hole. A table of half a gigabyte that is empty costs whoever made
 * it nothing: so it costs the reader nothing either. */
static uint32_t next_data(int fd, uint32_t from)
{
    const off_t size = sizeof(struct status_record), at = STATUS_HEADER + (off_t)from * size;
    const off_t data = lseek(fd, at, SEEK_DATA);
    if (data < 0)
        return errno == ENXIO ? STATUS_RECORDS : from;
    return data > at ? (uint32_t)((data - STATUS_HEADER) / size) : from;
}

bool live_read(int fd, const struct live *about, int64_t now_ms, struct live_list *list)
{
    uint32_t used, missing;
    if (!read_header(fd, &used, &missing))
        return false;
    list->missed += missing;
    for (uint32_t from = 0; from < used; from += BATCH) {
        from = next_data(fd, from);
        if (from >= used)
            break;
        read_records(fd, from, used - from < BATCH ? used - from : BATCH, about, now_ms, list);
    }
    return true;
}
