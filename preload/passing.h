/* Descriptors in messages (unix(7), SCM_RIGHTS): protected ones travel in boxes (box.h). */
#ifndef P2PTLS_PASSING_H
#define P2PTLS_PASSING_H

#include <stdbool.h>
#include <sys/socket.h>

struct passing;

bool passing_needed(const struct msghdr *m);

/* The message to send instead of m: m itself if it passes nothing of ours (*passing is NULL then), else a copy with
 * boxes in place of protected descriptors, to be freed by passing_end. NULL: refused, errno set. */
const struct msghdr *passing_begin(const struct msghdr *m, struct passing **passing);
/* errno stays as it is. */
void passing_end(struct passing *passing, bool sent);

/* Takes what was received out of its boxes, and has everything looked at, at its first use. */
void passing_received(const struct msghdr *m, int flags);

#endif
