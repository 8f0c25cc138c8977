/* Messages of the tool, and what may reach a terminal. */
#include "log.h"
#include "tool.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct command *current;
static enum status last = STATUS_NO;

void message_begin(const struct command *command)
{
    current = command;
}

static void begin(void)
{
    fflush(stdout);
    if (current)
        fprintf(stderr, "p2ptls %s: ", current->name);
    else
        fputs("p2ptls: ", stderr);
}

static void say(const char *format, va_list args)
{
    char text[2048];

    begin();
    vsnprintf(text, sizeof text, format, args);
    print_clean(stderr, text);
    putc('\n', stderr);
}

enum status failed(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(format, args);
    va_end(args);
    return last = STATUS_NO;
}

enum status last_status(void)
{
    return last;
}

void note(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(format, args);
    va_end(args);
}

enum status usage_error(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(format, args);
    va_end(args);
    if (current)
        fprintf(stderr, "%s", current->usage);
    else
        fputs("Try 'p2ptls --help'.\n", stderr);
    return last = STATUS_USAGE;
}

void print_clean(FILE *out, const char *text)
{
    const char *end = text + strlen(text);

    for (const char *s = text; s < end;) {
        const size_t len = *s == '\n' ? 1 : log_printable_sequence(s, (size_t)(end - s));

        if (len)
            fwrite(s, 1, len, out);
        else
            fprintf(out, "\\%02x", (unsigned char)*s);
        s += len ? len : 1;
    }
}

static bool wants_colour(FILE *out)
{
    const char *no_color = getenv("NO_COLOR"), *terminal = getenv("TERM"); /* no-color.org: set and not empty */

    return !(no_color && *no_color) && terminal && strcmp(terminal, "dumb") != 0 && isatty(fileno(out));
}

void set_colour(FILE *out, enum colour colour)
{
    static const char *const codes[] = {[COLOUR_NONE] = "\033[0m",
                                        [COLOUR_GOOD] = "\033[32m",
                                        [COLOUR_WARN] = "\033[33m",
                                        [COLOUR_BAD] = "\033[31m",
                                        [COLOUR_DIM] = "\033[2m"}; /* ECMA-48, 8.3.117 */

    if (wants_colour(out))
        fputs(codes[colour], out);
}
