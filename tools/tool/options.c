/* Options of the command line, with messages that show how the command is used. */
#include "options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

extern const struct command *const commands[];

static void print_usage(const char *name)
{
    for (size_t i = 0; commands[i]; i++)
        if (strcmp(commands[i]->name, name) == 0)
            fputs(commands[i]->usage, stdout);
}

int next_option(int argc, char **argv, const char *letters, const struct option *names, enum status *status)
{
    opterr = 0;
    const int before = optind ? optind : 1;
    const int letter = getopt_long(argc, argv, letters, names, NULL);
    switch (letter) {
    case 'h':
        print_usage(argv[0]);
        *status = STATUS_OK;
        return OPTION_STOP;
    case ':':
        *status = usage_error("option %s needs an argument", argv[optind - 1]);
        return OPTION_STOP;
    case '?':
        /* A word of several letters is not done with when its bad one is met. */
        *status = usage_error("unknown or incomplete option %s", argv[optind > before ? optind - 1 : optind]);
        return OPTION_STOP;
    default:
        if (letter == OPTION_END || !optarg || *optarg)
            return letter;
        *status =
            usage_error("the argument of option %s is empty", argv[optind - (optarg == argv[optind - 1] ? 2 : 1)]);
        return OPTION_STOP;
    }
}

bool no_argument_is_empty(int argc, char **argv)
{
    for (int i = optind; i < argc; i++)
        if (!*argv[i]) {
            (void)usage_error("argument %d is empty", i - optind + 1);
            return false;
        }
    return true;
}

bool check_arguments(int argc, char **argv, int least, int most)
{
    const int given = argc - optind;

    if (given < least)
        (void)usage_error("an argument is missing");
    else if (given > most)
        (void)usage_error("there are too many arguments");
    return given >= least && given <= most && no_argument_is_empty(argc, argv);
}

bool parse_number(const char *option, const char *text, unsigned long least, unsigned long most, unsigned long *out)
{
    char *end = NULL;

    errno = 0;
    *out = strtoul(text, &end, 10);
    if (*text >= '0' && *text <= '9' && !*end && !errno && *out >= least && *out <= most)
        return true;
    (void)usage_error("%s takes a number from %lu to %lu, found '%s'", option, least, most, text);
    return false;
}
