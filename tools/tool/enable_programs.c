/* Before a service is put under the library: would it get into the programs that the unit names? */
#include "enable.h"
#include "judge.h"
#include "root_path.h"
#include "tool.h"
#include "unit_commands.h"
#include "unit_files.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Where systemd looks for a name without a slash, whatever PATH is: systemd.exec(5), ExecSearchPath=. */
static const char *const search_path[] = {"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin",
                                          "/sbin",           "/bin",           NULL};

static bool find_file(const char *root, const char *program, char file[PATH_MAX])
{
    char path[PATH_MAX];

    if (*program == '/')
        return path_below(root, program, file);
    for (size_t i = 0; search_path[i]; i++)
        if (snprintf(path, sizeof path, "%s/%s", search_path[i], program) < (int)sizeof path &&
            path_below(root, path, file) && access(file, X_OK) == 0)
            return true;
    return false;
}

static bool is_repeated(const struct unit_commands *commands, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (strcmp(commands->all[i].program, commands->all[at].program) == 0)
            return true;
    return false;
}

/* False: it would run in clear. One that cannot be found does not run now; that it will be judged when it is there
 * cannot be promised, so somebody has to know. */
static bool may_be_enabled(const struct unit *unit, const struct unit_command *command, bool searches, bool force)
{
    char file[PATH_MAX], said[JUDGED_MAX];
    const char *untold = command->untold;

    if (!untold && searches && *command->program != '/')
        untold = "the unit has an ExecSearchPath=";
    if (!untold && !find_file(unit->root, command->program, file))
        untold = "it is not there";
    if (untold) {
        note("%s=%s of %s was not judged: %s", command->setting, command->program, unit->name, untold);
        return true;
    }
    if (judge(file, said, sizeof said))
        return true;
    if (force)
        note("warning: %s= of %s is not protected: %s", command->setting, unit->name, said);
    else
        (void)failed("%s= of %s cannot be protected: %s", command->setting, unit->name, said);
    return force;
}

bool programs_may_be_enabled(const struct unit *unit, bool force)
{
    struct unit_commands commands = {.without = unit->own_drop_in};
    const bool searches = unit_sets(unit->root, unit->name, "ExecSearchPath");
    bool may = true;

    if (unit_sets(unit->root, unit->name, "RootDirectory") || unit_sets(unit->root, unit->name, "RootImage")) {
        note("the programs of %s were not judged: it has another root (RootDirectory= or RootImage=)", unit->name);
        return true;
    }
    if (!unit_commands_read(&commands, unit->root, unit->name)) {
        (void)failed("out of memory");
        may = false;
    } else {
        for (size_t i = 0; i < commands.count; i++)
            if (!is_repeated(&commands, i) && !may_be_enabled(unit, &commands.all[i], searches, force))
                may = false;
        if (!may)
            (void)failed("nothing was written: --force writes the drop-in all the same");
    }
    unit_commands_free(&commands);
    return may;
}
