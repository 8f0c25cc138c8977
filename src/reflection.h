/* Notices a node that is made to talk to itself under a pre-shared key (the "Selfie" attack on TLS 1.3): a registry of
 * the hellos that this user's processes have open, in a file that they share. Who is about to answer a hello as server
 * looks its random up. A hit is a reflection, unless the addresses of both ends mirror each other (a program that
 * connects to itself). docs/PROTOCOL.md, "Reflection".
 *
 * The file is read and written by pread and pwrite, never mapped, since whoever may write it may shorten it. Its
 * content is believed in one thing: that a random is there. Threads: any. Another process is waited for 0.3 s at most.
 */
#ifndef P2PTLS_REFLECTION_H
#define P2PTLS_REFLECTION_H

#include "holders.h"
#include "result.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { REFLECTION_RANDOM = 32, REFLECTION_WHY_MAX = 448 };

/* Of a connection. IPv4 as v4-mapped IPv6. */
struct reflection_end {
    uint8_t address[16];
    uint8_t port[2];
};

struct reflection_ends {
    uint8_t known; /* 0: they mirror nothing */
    struct reflection_end local, remote;
};

struct reflection; /* opaque */

/* Opens STATE_DIR/hellos, or FALLBACK where that cannot be (both paths absolute, either NULL), and makes it if it is
 * not there. RESULT_CONFIG with a sentence in why: neither can be used. The descriptor goes through hide (may be NULL),
 * and stays good after a chroot and without privileges. */
MUST_USE enum result reflection_open(const char *state_dir, const char *fallback, hide_descriptor hide,
                                     struct reflection **out, char why[REFLECTION_WHY_MAX]);
void reflection_close(struct reflection *r);

/* The one of this process; opened at the first call that succeeds, never closed. reflection_shared: NULL before. */
MUST_USE enum result reflection_share(const char *state_dir, hide_descriptor hide, char why[REFLECTION_WHY_MAX]);
struct reflection *reflection_shared(void);
void reflection_forked(void);      /* in the child; nobody was inside */
void reflection_sandbox(bool off); /* the system calls that it needs are forbidden: every question is RESULT_IO */

/* What is kept of a hello; zeroed: nothing. */
struct reflection_note {
    uint32_t place; /* 1-based */
    pid_t process;  /* a child does not forget its parent's */
    int64_t until_ms;
};

/* Each side has its own part of the file, and a process a share of each. */
enum reflection_side { REFLECTION_CONNECTED = 0, REFLECTION_ACCEPTED = 1 };

/* Before the hello leaves. Kept until reflection_forget, or for lifetime_ms. RESULT_AGAIN: too many are open, of this
 * process or of all. RESULT_IO: it could not be kept (a full disk, a sandbox, a busy file). Either: the hello must not
 * leave. */
MUST_USE enum result reflection_keep(struct reflection *r, enum reflection_side side,
                                     const uint8_t random[REFLECTION_RANDOM], const struct reflection_ends *ends,
                                     uint32_t lifetime_ms, struct reflection_note *note);
/* Has this process so many open that the next one would be refused? */
bool reflection_is_crowded(const struct reflection *r, enum reflection_side side);
void reflection_forget(struct reflection *r, const uint8_t random[REFLECTION_RANDOM], struct reflection_note *note);
/* Has its time passed? Then it may not be in the registry any more, and what answers it may be a reflection. */
bool reflection_expired(const struct reflection_note *note);

/* RESULT_OK: the random belongs to no open hello of this user, or the two ends mirror each other. RESULT_PROTOCOL: a
 * reflection. RESULT_IO: it could not be looked up. */
MUST_USE enum result reflection_look(struct reflection *r, const uint8_t random[REFLECTION_RANDOM],
                                     const struct reflection_ends *ends);

/* reflection.c, for reflection_file.c: around a file that is open. reflection_release gives it back. */
struct reflection *reflection_new(int file);
_Atomic int *reflection_number(struct reflection *r); /* of the descriptor, for whoever moves it */
int reflection_release(struct reflection *r);
void reflection_relock(struct reflection *r); /* in a child: whoever held the lock is not there */

#endif
