/* Options of the command line. A header of its own: getopt's struct option has the name of an enum of the policy's. */
#ifndef P2PTLS_TOOL_OPTIONS_H
#define P2PTLS_TOOL_OPTIONS_H

#include "tool.h"

#include <getopt.h>

enum { OPTION_END = -1, OPTION_STOP = -2 };
/* As getopt_long(3), with -h and --help; OPTION_STOP: *status is the exit status. letters as for getopt. */
int next_option(int argc, char **argv, const char *letters, const struct option *names, enum status *status);
/* The number of arguments behind the options; false: usage_error was called. */
bool check_arguments(int argc, int least, int most);

#endif
