#include "unit_commands.h"

#include "unit_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char blank[] = " \t\r\n";

static const char *const settings[] = {"ExecCondition", "ExecStartPre", "ExecStart",    "ExecStartPost",
                                       "ExecReload",    "ExecStop",     "ExecStopPost", NULL};

/* ---- words (systemd.syntax(7), "Quoting") ---------------------------------------------------------------------- */

static int digits(const char *at, size_t count, int base)
{
    char text[4] = "", *end;

    snprintf(text, sizeof text, "%.*s", (int)count, at);
    const long value = strtol(text, &end, base);
    return strspn(text, "0123456789abcdefABCDEF") == count && !*end && value > 0 && value < 256 ? (int)value : -1;
}

/* at: behind the backslash. How many bytes the escape has there; 0: it is none, and the backslash stays. */
static size_t unescape(const char *at, char *out)
{
    static const char letters[] = "abfnrtvs\\\"'", meant[] = "\a\b\f\n\r\t\v \\\"'";
    const char *letter = *at ? strchr(letters, *at) : NULL;
    const bool hex = *at == 'x';
    const int value = digits(at + hex, hex ? 2 : 3, hex ? 16 : 8);

    if (letter)
        *out = meant[letter - letters];
    else if (value > 0)
        *out = (char)value;
    return letter ? 1 : value > 0 ? 3 : 0;
}

/* Takes the word at *at, into out of at least as much room. False: quotes that do not end. */
static bool take_word(const char **at, char *out)
{
    char quote = '\0';
    const char *s = *at;

    for (; *s && (quote || !strchr(blank, *s)); s++) {
        if (*s == '\\') {
            const size_t len = unescape(s + 1, out);
            s += len;
            if (!len)
                *out = '\\';
            out++;
        } else if (quote ? *s == quote : *s == '"' || *s == '\'')
            quote = quote ? '\0' : *s;
        else
            *out++ = *s;
    }
    *out = '\0';
    *at = s;
    return !quote;
}

static bool ends_command(const char *at)
{
    return *at == ';' && (!at[1] || strchr(blank, at[1]));
}

/* ---- commands -------------------------------------------------------------------------------------------------- */

/* "%%" is a percent sign. False: there is another specifier, whose meaning systemd alone knows. */
static bool resolve_percents(char *text)
{
    char *to = text;

    for (const char *s = text; *s; s++) {
        if (*s == '%' && *++s != '%')
            return false;
        *to++ = *s;
    }
    *to = '\0';
    return true;
}

static void add_command(struct unit_commands *commands, const char *setting, const char *word, bool well_formed)
{
    struct unit_command *more = reallocarray(commands->all, commands->count + 1, sizeof *more);
    char *program = strdup(word + strspn(word, "-@:+!|"));

    if (more)
        commands->all = more;
    if (!more || !program) {
        free(program);
        commands->failed = true;
        return;
    }
    const char *untold = NULL;
    if (!well_formed)
        untold = "its quotes do not end";
    else if (!resolve_percents(program))
        untold = "it has a specifier (%), which systemd alone can resolve";
    else if (*program != '/' && strchr(program, '/'))
        untold = "it is neither an absolute path nor a name";
    more[commands->count++] = (struct unit_command){setting, program, untold};
}

/* One line may have several commands, with semicolons between them. */
static void add_commands(struct unit_commands *commands, const char *setting, const char *at)
{
    char *word = malloc(strlen(at) + 1);
    bool first = true;

    commands->failed = commands->failed || !word;
    while (word && *(at += strspn(at, blank))) {
        if (ends_command(at)) {
            at++;
            first = true;
            continue;
        }
        const bool well_formed = take_word(&at, word);
        if (first && *word)
            add_command(commands, setting, word, well_formed);
        first = false;
    }
    free(word);
}

static void forget_commands(struct unit_commands *commands, const char *setting)
{
    size_t kept = 0;

    for (size_t i = 0; i < commands->count; i++)
        if (commands->all[i].setting == setting)
            free(commands->all[i].program);
        else
            commands->all[kept++] = commands->all[i];
    commands->count = kept;
}

/* ---- files ----------------------------------------------------------------------------------------------------- */

static void take_assignment(void *ctx, const char *name, const char *value)
{
    struct unit_commands *commands = ctx;

    for (size_t i = 0; settings[i]; i++)
        if (strcmp(name, settings[i]) == 0) {
            if (!*value)
                forget_commands(commands, settings[i]);
            else
                add_commands(commands, settings[i], value);
        }
}

bool unit_commands_read(struct unit_commands *commands, const char *root, const char *unit)
{
    return unit_each_assignment(root, unit, commands->without, take_assignment, commands) && !commands->failed;
}

void unit_commands_free(struct unit_commands *commands)
{
    while (commands->count)
        free(commands->all[--commands->count].program);
    free(commands->all);
    commands->all = NULL;
}
