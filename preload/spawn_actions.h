/* glibc's posix_spawn_file_actions_t from the inside: what a spawn will do to descriptors has to be known, and there is
 * no function that tells. The layout is checked at run time before it is trusted. */
#ifndef P2PTLS_SPAWN_ACTIONS_H
#define P2PTLS_SPAWN_ACTIONS_H

#include <spawn.h>
#include <stdbool.h>

/* Is the layout what we know? */
bool spawn_actions_known(void);

/* Does any action put a descriptor onto a number (dup2), where it loses its close-on-exec flag? */
bool spawn_actions_copy(const posix_spawn_file_actions_t *actions);

/* Does them all, in the child, by the hooks. 0 or an errno. */
int spawn_actions_run(const posix_spawn_file_actions_t *actions);

#endif
