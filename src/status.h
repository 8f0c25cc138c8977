/* The live connections of a process, for `p2ptls status`: a table of records in a memfd of the process's own. Another
 * process of the same user finds it as a link "/memfd:p2ptls-status (deleted)" in /proc/PID/fd and reads it; who may,
 * the kernel decides (proc(5): PTRACE_MODE_READ, ptrace(2)). It goes with the process, SIGKILL included.
 *
 * Nothing secret is in it, and the process never reads it back: whoever writes to it deceives the reader alone. It
 * cannot shrink (F_SEAL_SHRINK), so nobody can make a write to it a SIGBUS; the kernel can, where it commits no more
 * memory than there is (vm.overcommit_memory=2) and all of it is gone. A forked child has none of it: it makes its own.
 *
 * The memfd is as large as all records that there could be (STATUS_RECORDS), and sparse: pages come as they are
 * written. Without it (descriptors out, RLIMIT_FSIZE, a filter that forbids it) connections work all the same. */
#ifndef P2PTLS_STATUS_H
#define P2PTLS_STATUS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define STATUS_NAME "p2ptls-status"

enum {
    STATUS_LAYOUT = 1,       /* of what follows; a reader of another one leaves the table alone */
    STATUS_HEADER = 4096,    /* bytes before the first record */
    STATUS_RECORDS = 1 << 20 /* as many as descriptors can be protected */
};

/* At the beginning of the file. */
struct status_header {
    char magic[8]; /* "p2pstat", NUL */
    uint32_t layout;
    uint32_t record_size;
    _Atomic uint32_t used;    /* no record from here on has ever been in use */
    _Atomic uint32_t missing; /* connections without a record */
    char version[16];         /* of the library */
};

enum status_state {
    STATUS_HANDSHAKE = 1, /* not open yet, or not known to be: its handshake is another process's */
    STATUS_OPEN,
    STATUS_CLOSING, /* the program has closed it; what was written is on its way */
    STATUS_FAILED,  /* refused or broken, and not closed yet */
};

enum { STATUS_PEER = 80, STATUS_IDENTITY = 272, STATUS_ALPN = 64 };

/* One connection as this process holds it; processes that share one have a record each, with the same cookie. The texts
 * end in NUL. Read generation, then the rest, then generation again: the rest is whole if both are the same even
 * number. The numbers of bytes change at any time. */
struct status_record {
    _Atomic uint32_t generation; /* odd: being written */
    _Atomic uint8_t state;       /* enum status_state; 0: free */
    uint8_t connected_side;
    uint8_t is_client; /* in TLS */
    uint8_t proven;
    uint8_t resumed;
    uint8_t identity_cut;                 /* it is longer than there is room */
    uint16_t suite;                       /* of TLS 1.3, as registered; 0 until it is open */
    uint64_t cookie;                      /* SO_COOKIE; 0: not known */
    int64_t since_ms;                     /* CLOCK_MONOTONIC: when it was opened, before that when it was begun */
    _Atomic uint64_t bytes_in, bytes_out; /* of application data by all who share it, as this process knew last */
    uint64_t spare[2];
    char peer[STATUS_PEER]; /* ADDRESS:PORT */
    char identity[STATUS_IDENTITY];
    char alpn[STATUS_ALPN];
    char spare_text[32];
};
_Static_assert(sizeof(struct status_record) == 512, "as the layout says");

/* For status_init. */
struct status_host {
    bool wanted;                      /* false: no table is ever made */
    int (*hide)(int fd);              /* moves a descriptor out of the program's way; its new number, or -1 (closed) */
    void (*forget)(int fd);           /* what hide has given was closed */
    void (*own)(_Atomic int *number); /* where it is kept, should it have to change */
};
void status_init(const struct status_host *host);

/* A record, in state STATUS_HANDSHAKE and otherwise empty, as status_begin leaves it; NULL: there is none. */
struct status_record *status_take(void);
void status_give(struct status_record *r); /* NULL is fine */

/* Around a change of what is no _Atomic. One thread at a time. */
void status_begin(struct status_record *r);
void status_end(struct status_record *r);

/* Makes the file, and room for some records: before a sandbox in which that may not be possible. */
void status_prepare(void);
void status_sandbox(bool inside); /* make nothing new from here on */

/* In a forked child, while nobody else runs: what the parent's records are is no longer known. */
void status_forked(void);

#endif
