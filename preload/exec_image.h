/* What the program that an exec starts will be: with the library in it or without. */
#ifndef P2PTLS_EXEC_IMAGE_H
#define P2PTLS_EXEC_IMAGE_H

#include <stdbool.h>

/* Keeps what brought the policy in at the start: programs change and clear their environment. user_folder: that of the
 * user's own policy files, or empty. */
void exec_image_remember(const char *user_folder);

/* Can the library be in that program, and will it see the program's calls? Not in static, set-uid, set-gid and
 * file-capability programs, nor in those of another architecture or libc, nor in Go's; what cannot be judged counts as
 * no. search: along PATH, as execvp(3) does. */
enum exec_image {
    EXEC_IMAGE_UNCOVERABLE = 0,
    EXEC_IMAGE_COVERABLE,
    EXEC_IMAGE_PAST_LIBC,  /* it makes its system calls itself */
    EXEC_IMAGE_IMPOSSIBLE, /* the exec will fail */
};
enum exec_image exec_image_of(const char *file, bool search);

/* Logs it where the environment names the library and ld.so will not load it: ld.so itself would only warn. what: the
 * call. */
void exec_image_tell_of_loss(const char *what, const char *file, bool search, char *const envp[]);

/* exec_check.c: would an exec fail before the kernel has given up this program, as far as that can be told? file is
 * readable memory. */
bool exec_image_fails(const char *file, bool search, char *const argv[], char *const envp[]);

/* exec_script.c: what a file names behind #!, of which the kernel reads so much (BINPRM_BUF_SIZE). False: it is no
 * script, or cannot be read, which an exec need not do. */
enum { EXEC_IMAGE_SCRIPT_HEAD = 256 };
bool exec_image_interpreter(const char *path, char name[static EXEC_IMAGE_SCRIPT_HEAD]);

/* Does this environment bring the library in, with a policy? */
bool exec_image_environment_keeps(char *const envp[]);

/* A copy of envp that does: LD_PRELOAD and the policy put back. Free it with exec_image_environment_free. NULL: no
 * memory. */
char **exec_image_environment(char *const envp[]);
void exec_image_environment_free(char **envp);

#endif
