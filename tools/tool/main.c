/* The sub-commands of p2ptls that need GnuTLS or the policy's parser. The launcher, p2ptls, starts this program. */
#include "tool.h"

#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

const struct command *const commands[] = {&command_check,
                                          &command_doctor,
                                          &command_enable,
                                          &command_genca,
                                          &command_gencert,
                                          &command_genkey,
                                          &command_genpsk,
                                          &command_id,
                                          &command_show,
                                          &command_sign,
                                          &command_trust,
                                          &command_version,
                                          NULL};

/* By this the library knows the program (preload/init.c). */
extern const char p2ptls_own_program;
__attribute__((visibility("default"))) const char p2ptls_own_program = 1;

/* What could not be written must not look as if it had been. */
static enum status flush_output(enum status status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    return failed("cannot write to standard output: %s", strerror(errno));
}

int main(int argc, char **argv)
{
    setlocale(LC_CTYPE, "");
    signal(SIGXFSZ, SIG_IGN); /* a write past the limit is an error like any other: EFBIG */
    signal(SIGPIPE, SIG_IGN);
    unsetenv("SSLKEYLOGFILE");
    for (size_t i = 0; argc > 1 && commands[i]; i++)
        if (strcmp(argv[1], commands[i]->name) == 0) {
            message_begin(commands[i]);
            return (int)flush_output(commands[i]->run(argc - 1, argv + 1));
        }
    return (int)usage_error("unknown sub-command '%s'", argc > 1 ? argv[1] : "");
}
