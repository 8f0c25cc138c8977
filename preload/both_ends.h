/* At the end of a program: connections whose other end is its own as well. What such a one has still to send waits for
 * a reader who is gone. */
#ifndef P2PTLS_BOTH_ENDS_H
#define P2PTLS_BOTH_ENDS_H

#include <stdbool.h>
#include <stddef.h>

struct socket_ends;

struct both_ends {
    struct socket_ends *list;
    size_t n, room;
};

/* Puts a connection that nobody but this process has into the list. */
void both_ends_add(struct both_ends *b, int fd);
/* After the last of them; then both_ends_have answers: is the other end of this one in the list? */
void both_ends_sort(struct both_ends *b);
bool both_ends_have(const struct both_ends *b, int fd);
void both_ends_free(struct both_ends *b);

#endif
