#include "enable.h"

#include "log.h"
#include "tool.h"

#include <stdlib.h>
#include <string.h>

/* systemd.exec(5), Environment=, and systemd.syntax(7): in double quotes a backslash escapes; '%' is a specifier. A
 * policy has newlines between statements, which semicolons can stand for. */
static void print_escaped(FILE *out, const char *value)
{
    for (; *value; value++)
        switch (*value) {
        case '"':
        case '\\':
            fprintf(out, "\\%c", *value);
            break;
        case '%':
            fputs("%%", out);
            break;
        case '\n':
            fputs("; ", out);
            break;
        case '\r':
            break;
        default:
            putc(*value, out);
        }
}

static void print_assignment(FILE *out, const char *name, const char *value)
{
    fprintf(out, "Environment=\"%s=", name);
    print_escaped(out, value);
    fputs("\"\n", out);
}

/* Where a unit says what may be executed, ld.so cannot map anything else either. The setting alone, without
 * NoExecPaths=, would give a service a mount namespace that it has not asked for. */
static void print_folders(FILE *out, const struct drop_in *what)
{
    const char *const paths[] = {what->preload, what->tool};

    for (size_t i = 0; i < 2; i++) {
        char *folder = strdup(paths[i]);
        char *slash = folder ? strrchr(folder, '/') : NULL;
        if (slash) {
            *slash = '\0';
            fputs(i == 0 ? "ExecPaths=\"" : " \"", out);
            print_escaped(out, folder);
            fputs("\"", out);
        }
        free(folder);
    }
    fputs("\n", out);
}

/* A service that the library does not get into does not start. */
static void print_question(FILE *out, const struct drop_in *what)
{
    fputs("ExecStartPre=\"", out);
    print_escaped(out, what->tool);
    fputs("\" enable --loaded\n", out);
}

/* systemd leaves out an assignment that is not UTF-8 or has a control character in it, warns at most, and starts the
 * service: without its policy, in clear. also: what is translated, or may be there. */
static bool may_be_assigned(const char *value, const char *also)
{
    for (const char *s = value, *end = value + strlen(value); s < end;) {
        const size_t len = strchr(also, *s) ? 1 : log_printable_sequence(s, (size_t)(end - s));
        if (!len)
            return false;
        s += len;
    }
    return true;
}

/* A comment in it would swallow what follows once its newline is gone. */
static bool can_be_one_line(const char *rules)
{
    return !strchr(rules, '#') || !strchr(rules, '\n');
}

char *drop_in_text(const struct drop_in *what)
{
    char *text = NULL;
    size_t len = 0;

    if (!what->preload) {
        (void)failed("libp2ptls.so is not found: run 'make install', or set P2PTLS_LIBRARY");
        return NULL;
    }
    if (strpbrk(what->preload, " \t\n:$")) {
        (void)failed("%s: LD_PRELOAD cannot name a path with a blank, a colon or a dollar sign", what->preload);
        return NULL;
    }
    const char *const paths[] = {what->preload, what->tool, what->config};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        if (paths[i] && !may_be_assigned(paths[i], "")) {
            (void)failed("%s: a unit cannot name a path that is not printable UTF-8: rename it", paths[i]);
            return NULL;
        }
    if (what->rules && !may_be_assigned(what->rules, "\n\r\t")) {
        (void)failed("a unit's policy is printable UTF-8: put other statements into a file, and give it by -f");
        return NULL;
    }
    if (what->rules && !can_be_one_line(what->rules)) {
        (void)failed("a unit's policy is one line: put statements with comments into a file, and give it by -f");
        return NULL;
    }
    FILE *out = open_memstream(&text, &len);
    if (!out) {
        (void)failed("out of memory");
        return NULL;
    }
    fputs("# Made by p2ptls enable: peer-to-peer TLS 1.3 under this service's TCP sockets. See p2ptls(1).\n[Service]\n",
          out);
    print_assignment(out, "LD_PRELOAD", what->preload);
    if (what->rules)
        print_assignment(out, "P2PTLS_POLICY", what->rules);
    if (what->config)
        print_assignment(out, "P2PTLS_CONFIG", what->config);
    if (what->opens_folders)
        print_folders(out, what);
    print_question(out, what);
    if (fclose(out) == 0)
        return text;
    free(text);
    (void)failed("out of memory");
    return NULL;
}
