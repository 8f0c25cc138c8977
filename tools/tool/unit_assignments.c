/* The assignments of a unit, in the order in which systemd reads its files. */
#include "root_path.h"
#include "unit_files.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES_MOST = 4 };

struct reading {
    const char *root, *without;
    unit_assignment *each;
    void *ctx;
    char names[NAMES_MOST][256]; /* the unit's, its template's, and those of the unit that it is an alias of */
    size_t name_count;
    char **drop_ins; /* paths, each file name once */
    size_t drop_in_count;
    bool failed; /* out of memory */
};

/* ---- one file (systemd.syntax(7)) ------------------------------------------------------------------------------ */

static char *strip(char *text)
{
    text += strspn(text, " \t\r\n");
    for (size_t len = strlen(text); len && strchr(" \t\r\n", text[len - 1]); len--)
        text[len - 1] = '\0';
    return text;
}

/* Does a line go on in the next one? Its last backslash becomes a blank then. */
static bool goes_on(char *line)
{
    bool escaped = false;
    char *s = line;

    line[strcspn(line, "\r\n")] = '\0';
    for (; *s; s++)
        escaped = !escaped && *s == '\\';
    if (escaped)
        s[-1] = ' ';
    return escaped;
}

static void take_line(const struct reading *r, char *line, bool *in_service)
{
    char *text = strip(line), *equals = strchr(text, '=');

    if (*text == '[')
        *in_service = strcmp(text, "[Service]") == 0;
    else if (*in_service && equals) {
        *equals = '\0';
        r->each(r->ctx, strip(text), strip(equals + 1));
    }
}

/* A file that cannot be read says nothing: systemd, which runs as root, reads those that root's enable reads. */
static void read_file(struct reading *r, const char *path)
{
    char *line = NULL, *whole = NULL;
    size_t room = 0, len = 0;
    bool in_service = false;
    FILE *f = fopen(path, "re");

    while (f && getline(&line, &room, f) >= 0) {
        if (strchr("#;", line[strspn(line, " \t")]) && line[strspn(line, " \t")])
            continue; /* a comment, between lines that go on too */
        const bool more = goes_on(line);
        const size_t size = strlen(line) + 1;
        char *longer = realloc(whole, len + size);
        if (!longer) {
            r->failed = true;
            break;
        }
        whole = longer;
        memcpy(whole + len, line, size);
        len = more ? len + size - 1 : 0;
        if (!more)
            take_line(r, whole, &in_service);
    }
    if (len)
        take_line(r, whole, &in_service);
    free(whole);
    free(line);
    if (f)
        fclose(f);
}

/* ---- the unit's own file --------------------------------------------------------------------------------------- */

static void add_name(struct reading *r, const char *name)
{
    for (size_t i = 0; i < r->name_count; i++)
        if (strcmp(r->names[i], name) == 0)
            return;
    if (r->name_count < NAMES_MOST && strlen(name) < sizeof r->names[0])
        snprintf(r->names[r->name_count++], sizeof r->names[0], "%s", name);
}

/* A masked unit is a link to /dev/null, in which nothing is found. */
static void read_unit(struct reading *r)
{
    char path[PATH_MAX], file[PATH_MAX], name[256];
    const size_t count = r->name_count;

    for (size_t n = 0; n < count; n++)
        for (size_t i = 0; unit_folders[i]; i++) {
            if (snprintf(path, sizeof path, "%s/%s", unit_folders[i], r->names[n]) >= (int)sizeof path ||
                !path_below(r->root, path, file))
                continue;
            const char *target = strrchr(file, '/') ? strrchr(file, '/') + 1 : file, *dot = strrchr(target, '.');
            if (dot && strcmp(dot, ".service") == 0)
                add_name(r, target);
            if (unit_template(target, name, sizeof name))
                add_name(r, name);
            read_file(r, file);
            return;
        }
}

/* ---- drop-ins -------------------------------------------------------------------------------------------------- */

static const char *name_in(const char *path)
{
    return strrchr(path, '/') + 1;
}

/* One of the same name in a folder further up goes before it, even if that is empty or a link to /dev/null. */
static void add_drop_in(struct reading *r, const char *folder, const char *name)
{
    char *path = NULL;

    for (size_t i = 0; i < r->drop_in_count; i++)
        if (strcmp(name_in(r->drop_ins[i]), name) == 0)
            return;
    char **more = reallocarray(r->drop_ins, r->drop_in_count + 1, sizeof *more);
    if (more)
        r->drop_ins = more;
    if (!more || asprintf(&path, "%s/%s", folder, name) < 0)
        r->failed = true;
    else
        more[r->drop_in_count++] = path;
}

static void add_folder(struct reading *r, const char *above, const char *name)
{
    char folder[PATH_MAX], real[PATH_MAX];

    if (snprintf(folder, sizeof folder, "%s/%s.d", above, name) >= (int)sizeof folder ||
        !path_below(r->root, folder, real))
        return;
    DIR *dir = opendir(real);
    for (const struct dirent *entry; dir && (entry = readdir(dir));) {
        const char *dot = strrchr(entry->d_name, '.');
        if (dot && strcmp(dot, ".conf") == 0)
            add_drop_in(r, folder, entry->d_name);
    }
    if (dir)
        closedir(dir);
}

/* foo-bar-baz.service has those of foo-bar-.service and foo-.service, too. */
static void add_prefixes(struct reading *r, const char *above, const char *name)
{
    char text[300], prefix[300];

    snprintf(text, sizeof text, "%s", name);
    for (char *dash; (dash = strrchr(text, '-'));) {
        if (dash[1] != '\0' && dash[1] != '.') {
            dash[1] = '\0';
            snprintf(prefix, sizeof prefix, "%.280s.service", text);
            add_folder(r, above, prefix);
        }
        *dash = '\0';
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(name_in(*(char *const *)a), name_in(*(char *const *)b));
}

static void read_drop_ins(struct reading *r)
{
    char file[PATH_MAX];

    for (size_t i = 0; unit_folders[i]; i++)
        for (size_t n = 0; n < r->name_count; n++) {
            add_folder(r, unit_folders[i], r->names[n]);
            add_prefixes(r, unit_folders[i], r->names[n]);
        }
    for (size_t i = 0; unit_folders[i]; i++)
        add_folder(r, unit_folders[i], "service");
    if (r->drop_in_count)
        qsort(r->drop_ins, r->drop_in_count, sizeof *r->drop_ins, by_name);
    for (size_t i = 0; i < r->drop_in_count; i++) {
        const bool passed_over = r->without && strcmp(r->drop_ins[i], r->without) == 0;
        if (!passed_over && path_below(r->root, r->drop_ins[i], file))
            read_file(r, file);
        free(r->drop_ins[i]);
    }
    free(r->drop_ins);
}

bool unit_each_assignment(const char *root, const char *unit, const char *without, unit_assignment *each, void *ctx)
{
    struct reading r = {.root = root, .without = without, .each = each, .ctx = ctx};
    char name[256];

    add_name(&r, unit);
    if (unit_template(unit, name, sizeof name))
        add_name(&r, name);
    read_unit(&r);
    read_drop_ins(&r);
    return !r.failed;
}
