/* Will the library be in the program that an exec starts? */
#ifndef P2PTLS_EXEC_IMAGE_H
#define P2PTLS_EXEC_IMAGE_H

#include <stdbool.h>

/* Notes the policy's variables as they were at the start of this program. */
void exec_image_init(void);

/* True if the program file (looked for in PATH if search, as execvp(3) does) is dynamically linked against glibc for
 * this architecture, neither set-uid nor with file capabilities (scripts: their interpreter), and envp names this
 * library and the same policy. NULL: cannot be told, false. */
bool exec_image_keeps(const char *file, bool search, char *const envp[]);

#endif
