/* Messages of the tool, and what may reach a terminal. */
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

/* How many bytes of well-formed UTF-8 there are that print something (no C1 controls); 0: none. */
static size_t utf8_length(const unsigned char *s)
{
    size_t len = s[0] >= 0xc2 && s[0] < 0xe0   ? 2
                 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
                 : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
                                               : 0;

    for (size_t i = 1; i < len; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if (len == 2 && s[0] == 0xc2 && s[1] < 0xa0)
        return 0;
    /* U+200E to U+202E and U+2066 to U+2069 turn the direction of text. */
    if (len == 3 && s[0] == 0xe2 && ((s[1] == 0x80 && s[2] >= 0x8b) || (s[1] == 0x81 && s[2] >= 0xa0)))
        return 0;
    return len;
}

void print_clean(FILE *out, const char *text)
{
    for (const unsigned char *s = (const unsigned char *)text; *s;) {
        const size_t len = *s >= 0x80 ? utf8_length(s) : 0;

        if (len)
            fwrite(s, 1, len, out);
        else if ((*s >= ' ' && *s < 0x7f) || *s == '\n')
            putc(*s, out);
        else
            fprintf(out, "\\%02x", *s);
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
