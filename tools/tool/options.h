/* Options of the command line. A header of its own: getopt's struct option has the name of an enum of the policy's. */
#ifndef P2PTLS_TOOL_OPTIONS_H
#define P2PTLS_TOOL_OPTIONS_H

#include "tool.h"

#include <getopt.h>

enum { OPTION_END = -1, OPTION_STOP = -2 };
/* As getopt_long(3), with -h and --help; OPTION_STOP: *status is the exit status. letters as for getopt. An argument
 * that is empty is wrong: it comes from a shell's variable that is not set, and without a name a root is this system.
 */
int next_option(int argc, char **argv, const char *letters, const struct option *names, enum status *status);
/* Those behind the options: so many, and none of them empty. False: usage_error was called. */
bool check_arguments(int argc, char **argv, int least, int most);
bool no_argument_is_empty(int argc, char **argv);

#endif
