#include "unit_files.h"

#include "root_path.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

/* systemd.unit(5), "Unit File Load Path": what stands further up goes before. */
const char *const unit_folders[] = {"/etc/systemd/system.control", "/run/systemd/system.control",
                                    "/run/systemd/transient",      "/run/systemd/generator.early",
                                    "/etc/systemd/system",         "/etc/systemd/system.attached",
                                    "/run/systemd/system",         "/run/systemd/system.attached",
                                    "/run/systemd/generator",      "/usr/local/lib/systemd/system",
                                    "/usr/lib/systemd/system",     "/lib/systemd/system",
                                    "/run/systemd/generator.late", NULL};

bool unit_template(const char *unit, char *out, size_t room)
{
    const char *at = strchr(unit, '@');

    return at && snprintf(out, room, "%.*s@.service", (int)(at - unit), unit) < (int)room && strcmp(out, unit) != 0;
}

static bool is_there(const char *root, const char *name)
{
    char path[PATH_MAX], file[PATH_MAX];

    for (size_t i = 0; unit_folders[i]; i++)
        if (snprintf(path, sizeof path, "%s/%s", unit_folders[i], name) < (int)sizeof path &&
            path_below(root, path, file))
            return true;
    return false;
}

bool unit_is_there(const char *root, const char *unit)
{
    char name[256];

    return is_there(root, unit) || (unit_template(unit, name, sizeof name) && is_there(root, name));
}

struct search {
    const char *setting;
    bool is_set;
};

/* An empty one takes back those before it. */
static void take_assignment(void *ctx, const char *name, const char *value)
{
    struct search *s = ctx;

    if (strcmp(name, s->setting) == 0)
        s->is_set = *value != '\0';
}

bool unit_sets(const char *root, const char *unit, const char *setting)
{
    struct search s = {.setting = setting};

    return !unit_each_assignment(root, unit, NULL, take_assignment, &s) || s.is_set;
}
