/* Live connections, as p2ptls status collects them from the tables of the processes (src/status.h), and what it shows
 * of them. All texts of struct live are what other processes wrote: not trusted, not always printable (text.h). */
#ifndef P2PTLS_LIVE_H
#define P2PTLS_LIVE_H

#include "../../src/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { LIVE_PROGRAM = 32 };

struct live {
    pid_t pid;
    uid_t uid;
    char program[LIVE_PROGRAM]; /* its name, as proc(5) has it in comm */
    enum status_state state;
    bool connected; /* by this side; false: accepted */
    bool client;    /* in TLS; of an open connection, as are the next five */
    bool proven;
    bool resumed;
    bool identity_cut;
    unsigned suite;
    char identity[STATUS_IDENTITY];
    char alpn[STATUS_ALPN];
    char peer[STATUS_PEER];
    uint64_t cookie;
    int64_t age_ms;
    uint64_t received, sent; /* bytes of application data */
    unsigned holders;        /* processes that share it, this one too */
    bool first;              /* of those: whoever counts connections counts this one */
};

struct live_list {
    struct live *items;
    size_t count, room;
    unsigned processes;   /* that have a table */
    unsigned unknown;     /* whose table is of another version, or none at all */
    unsigned long missed; /* connections for which a table had no room */
};

/* read.c: adds the connections of one table. now_ms: CLOCK_MONOTONIC. about: pid, uid and program of its process.
 * False: fd is no such table. Exits without memory. */
bool live_read(int fd, const struct live *about, int64_t now_ms, struct live_list *list);
struct live *live_add(struct live_list *list);
void live_free(struct live_list *list);

/* processes.c: those of all processes that this user may look into, in proc (usually /proc). False: it cannot be read,
 * errno is set. */
bool live_collect(const char *proc, struct live_list *list);
/* What processes that share a connection know of it together. For live_collect, and tests. */
void live_merge(struct live_list *list);

/* "TLS_AES_128_GCM_SHA256"; "?" for none. short_name: "aes-128-gcm", as docs/POLICY.md has it. */
const char *live_suite(unsigned suite, bool short_name);
const char *live_state(enum status_state state);

#endif
