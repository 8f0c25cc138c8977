/* Calls that move bytes on a number without a connection. The kernel answers ENOTCONN or EPIPE, unless another thread
 * connects the socket in that very moment: then what the hook has found out is not true any more, and bytes would go
 * behind the connection's back. So connect, which gives the number its connection first, waits until such calls are
 * out. None of them blocks, since nothing is connected. */
#ifndef P2PTLS_BARE_H
#define P2PTLS_BARE_H

#include "table.h"

enum bare { BARE_CHANGED = 0 /* the number has a connection by now */, BARE_PLAIN, BARE_COUNTED };
enum bare bare_enter(int fd);
void bare_leave(int fd);

/* Where table_find_data(fd) said NULL. again: what the hook does for a connection, from the beginning. */
#define BARE(fd, call, again)                                                                                          \
    ({                                                                                                                 \
        enum bare bare_ = table_is_plain(fd) ? BARE_PLAIN : bare_enter(fd);                                            \
        __typeof__(call) result_ = bare_ == BARE_CHANGED ? (again) : (call);                                           \
        if (bare_ == BARE_COUNTED)                                                                                     \
            bare_leave(fd);                                                                                            \
        result_;                                                                                                       \
    })

/* Before the socket of d, which has its numbers already, is connected. */
void bare_wait_out(const struct desc *d);

/* In the child of a fork. */
void bare_forked(void);

#endif
