/* Which program this is, for for= (docs/POLICY.md). */
#ifndef P2PTLS_PROGRAM_H
#define P2PTLS_PROGRAM_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

struct program {
    const char *asked;   /* in: a path, for another program than this one; or NULL */
    bool secure;         /* in: AT_SECURE: whoever started it has no say in its name */
    bool known;          /* what follows is filled in at the first question */
    char file[PATH_MAX]; /* the file that runs, links resolved; empty: cannot be told */
    char name[PATH_MAX]; /* the path by which it was started, which leads to that file; empty: none */
    dev_t device;
    ino_t inode;
};

/* As struct policy_host has it; ctx: struct program. item: the name of a file, or an absolute path. */
bool program_is(void *ctx, const char *item);

#endif
