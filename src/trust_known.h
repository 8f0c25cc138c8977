/* The inside of the known peers, shared by the file that answers and the one that records. */
#ifndef P2PTLS_TRUST_KNOWN_H
#define P2PTLS_TRUST_KNOWN_H

#include "trust_internal.h"

#include <pthread.h>
#include <sys/stat.h>
#include <time.h>

enum { KNOWN_WHERE_MAX = 272 }; /* a DNS name in brackets, a port */

/* In the place of HOST:PORT: this key may connect to this side. Only an administrator writes such a line: whose server
 * this side has met once must not become its client by that. */
#define KNOWN_ACCEPT "accept"

struct known_entry {
    char where[KNOWN_WHERE_MAX]; /* HOST:PORT, lower case, or KNOWN_ACCEPT */
    uint8_t hash[KEY_HASH_BYTES];
};

struct known_entries {
    struct known_entry *items;
    size_t count;
};

struct known_stamp {
    bool there;
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified, changed;
};

struct known_peers {
    pthread_mutex_t lock; /* over all below */
    char path[512];
    char option[128]; /* for p2ptls trust add: "-f PATH " where known-peers= names the file, else empty */
    dev_t root_device;
    ino_t root_inode;
    bool read_once;
    struct known_stamp stamp;
    struct known_entries entries;
    bool stale; /* the last look at the file failed, for this reason: */
    char why[IDENTITY_WHY_MAX];
};

/* Under the lock: reads the file again if it changed, or always. RESULT_CONFIG: stale. */
MUST_USE enum result known_peers_refresh(struct known_peers *known, bool always);
/* trust_known_line.c. The one spelling of a host and port; false: it cannot be one. */
bool known_peers_where(const char *host, uint16_t port, char out[KNOWN_WHERE_MAX]);
/* One line without its end; false: it cannot be understood. */
bool known_peers_parse_line(const char *line, size_t len, struct known_entry *entry);
enum known_answer known_peers_look_up(const struct known_peers *known, const char *where,
                                      const uint8_t hash[KEY_HASH_BYTES], uint8_t recorded[KEY_HASH_BYTES]);

#endif
