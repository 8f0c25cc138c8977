/* Calls that move bytes on a number without a connection. The kernel answers ENOTCONN or EPIPE, unless another thread
 * connects the socket in that very moment: then what the hook has found out is not true any more, and bytes would go
 * behind the connection's back. So connect, which gives the number its connection first, waits until such calls are
 * out. None of them blocks, since nothing is connected; those that would wait for something else first (splice for its
 * pipe) do that before they come here. A call that is left for good (waits.h) is out. */
#ifndef P2PTLS_BARE_H
#define P2PTLS_BARE_H

#include "table.h"

enum bare { BARE_CHANGED = 0 /* the number has a connection by now */, BARE_PLAIN, BARE_COUNTED };
enum bare bare_enter(int fd, unsigned *token);
void bare_leave(int fd, unsigned token);
void bare_count(int fd, int by); /* for waits.c: of calls that were left, and of those that a forked child is in */

/* Where table_find_data(fd) said NULL. again: what the hook does for a connection, from the beginning. */
#define BARE(fd, call, again)                                                                                          \
    ({                                                                                                                 \
        unsigned token_ = 0;                                                                                           \
        enum bare bare_ = table_is_plain(fd) ? BARE_PLAIN : bare_enter(fd, &token_);                                   \
        __typeof__(call) result_ = bare_ == BARE_CHANGED ? (again) : (call);                                           \
        if (bare_ == BARE_COUNTED)                                                                                     \
            bare_leave(fd, token_);                                                                                    \
        result_;                                                                                                       \
    })

/* Before the socket of d, which has its numbers already (fd is one), is connected. False: one does not come out, so it
 * must not be: a sendfile whose file is slow, a thread that was stopped. */
bool bare_wait_out(const struct desc *d, int fd);

/* In the child of a fork. */
void bare_forked(void);

#endif
