#include "doctor.h"

#include "options.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static unsigned faults;

/* Several rules have one key, and one key one fault. */
static bool is_said(const char *line)
{
    static char **lines;
    static size_t count;

    for (size_t i = 0; i < count; i++)
        if (strcmp(lines[i], line) == 0)
            return true;
    char **more = reallocarray(lines, count + 1, sizeof *more);
    if (more) {
        lines = more;
        lines[count] = strdup(line);
        count += lines[count] != NULL;
    }
    return false;
}

void found(enum finding kind, const char *subject, const char *format, ...)
{
    static const struct {
        const char *word;
        enum colour colour;
    } kinds[] = {{"ok", COLOUR_GOOD}, {"note", COLOUR_WARN}, {"FAULT", COLOUR_BAD}};
    char text[1500], line[1600];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    snprintf(line, sizeof line, "%s: %s", subject, text);
    if (is_said(line))
        return;
    set_colour(stdout, kinds[kind].colour);
    printf("%-6s", kinds[kind].word);
    set_colour(stdout, COLOUR_NONE);
    print_clean(stdout, line);
    putchar('\n');
    faults += kind == FINDING_FAULT;
}

unsigned faults_found(void)
{
    return faults;
}

static enum status examine(struct policy_request *request, char **programs, int count, pid_t pid)
{
    doctor_machine();
    doctor_library();
    if (count)
        request->program = programs[0];
    doctor_policy(request);
    for (int i = 0; i < count; i++)
        doctor_program(programs[i]);
    if (pid)
        doctor_process(pid);
    if (!faults)
        return STATUS_OK;
    return failed("%u fault%s found", faults, faults > 1 ? "s" : "");
}

static enum status run(int argc, char **argv)
{
    static const struct option names[] = {{"policy", required_argument, NULL, 'r'},
                                          {"config", required_argument, NULL, 'f'},
                                          {"pid", required_argument, NULL, 'p'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    struct policy_request request = {0};
    unsigned long pid = 0;
    enum status status = STATUS_OK;
    bool good = true;
    int letter;

    while (good && (letter = next_option(argc, argv, ":r:f:p:h", names, &status)) >= 0) {
        if (letter == 'p')
            good = parse_number("--pid", optarg, 1, 4194304, &pid); /* PID_MAX_LIMIT */
        else
            good = letter == 'r' ? policy_request_rule(&request, optarg) : policy_request_config(&request, optarg);
    }
    if (!good)
        status = last_status();
    else if (letter == OPTION_END && !no_argument_is_empty(argc, argv))
        status = last_status();
    else if (letter == OPTION_END)
        status = examine(&request, argv + optind, argc - optind, (pid_t)pid);
    policy_request_free(&request);
    return status;
}

const struct command command_doctor = {
    "doctor", run, "Usage: p2ptls doctor [-r|--policy RULE]... [-f|--config FILE] [--pid PID] [PROGRAM]...\n"};
