#include "unit_files.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* systemd.unit(5), "Unit File Load Path": what stands further up goes before. */
const char *const unit_folders[] = {"/etc/systemd/system.control", "/run/systemd/system.control",
                                    "/run/systemd/transient",      "/run/systemd/generator.early",
                                    "/etc/systemd/system",         "/etc/systemd/system.attached",
                                    "/run/systemd/system",         "/run/systemd/system.attached",
                                    "/run/systemd/generator",      "/usr/local/lib/systemd/system",
                                    "/usr/lib/systemd/system",     "/lib/systemd/system",
                                    "/run/systemd/generator.late", NULL};

typedef bool look(const char *path, const char *setting);

bool unit_template(const char *unit, char *out, size_t room)
{
    const char *at = strchr(unit, '@');

    return at && snprintf(out, room, "%.*s@.service", (int)(at - unit), unit) < (int)room && strcmp(out, unit) != 0;
}

static bool any_folder(const char *root, const char *name, look *is_so, const char *setting)
{
    char path[2 * PATH_MAX];

    for (size_t i = 0; unit_folders[i]; i++)
        if (snprintf(path, sizeof path, "%s%s/%s", root, unit_folders[i], name) < (int)sizeof path &&
            is_so(path, setting))
            return true;
    return false;
}

static bool is_there(const char *path, const char *setting)
{
    (void)setting;
    return access(path, F_OK) == 0;
}

static bool file_sets(const char *path, const char *setting)
{
    const size_t len = strlen(setting);
    char *line = NULL;
    size_t room = 0;
    bool does = false;
    FILE *f = fopen(path, "re");

    while (f && !does && getline(&line, &room, f) >= 0) {
        const char *at = line + strspn(line, " \t");
        if (strncmp(at, setting, len) != 0)
            continue;
        at += len;
        at += strspn(at, " \t");
        does = *at == '=' && at[1 + strspn(at + 1, " \t\r\n")];
    }
    free(line);
    if (f)
        fclose(f);
    return does;
}

static bool drop_ins_set(const char *folder, const char *setting)
{
    char path[3 * PATH_MAX];
    bool do_they = false;
    DIR *dir = opendir(folder);

    for (const struct dirent *entry; dir && !do_they && (entry = readdir(dir));) {
        const char *dot = strrchr(entry->d_name, '.');
        do_they = dot && strcmp(dot, ".conf") == 0 &&
                  snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) < (int)sizeof path &&
                  file_sets(path, setting);
    }
    if (dir)
        closedir(dir);
    return do_they;
}

static bool name_sets(const char *root, const char *name, const char *setting)
{
    char folder[300];

    return any_folder(root, name, file_sets, setting) ||
           (snprintf(folder, sizeof folder, "%s.d", name) < (int)sizeof folder &&
            any_folder(root, folder, drop_ins_set, setting));
}

bool unit_is_there(const char *root, const char *unit)
{
    char name[256];

    return any_folder(root, unit, is_there, NULL) ||
           (unit_template(unit, name, sizeof name) && any_folder(root, name, is_there, NULL));
}

bool unit_sets(const char *root, const char *unit, const char *setting)
{
    char name[256];

    return name_sets(root, unit, setting) || name_sets(root, "service", setting) ||
           (unit_template(unit, name, sizeof name) && name_sets(root, name, setting));
}
