/* Where the library finds the files of a user: the same rules as in preload/init.c. */
#include "tool.h"

#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

const char *variable(void *ctx, const char *name)
{
    (void)ctx;
    return secure_getenv(name);
}

bool find_home(char out[])
{
    char space[2048];
    struct passwd entry, *found = NULL;

    if (getpwuid_r(geteuid(), &entry, space, sizeof space, &found) != 0 || !found || found->pw_dir[0] != '/')
        return false;
    return snprintf(out, PATH_MAX, "%s", found->pw_dir) < PATH_MAX;
}

bool find_state_folder(char *out, size_t room)
{
    const char *base = secure_getenv("XDG_STATE_HOME"), *home = secure_getenv("HOME");
    char found[PATH_MAX];
    int n = -1;

    if ((!home || home[0] != '/') && find_home(found))
        home = found;
    if (base && base[0] == '/')
        n = snprintf(out, room, "%s/p2ptls", base);
    else if (home && home[0] == '/')
        n = snprintf(out, room, "%s/.local/state/p2ptls", home);
    if (n > 0 && (size_t)n < room)
        return true;
    (void)failed("user id %u has no home: set HOME or XDG_STATE_HOME to an absolute path", (unsigned)geteuid());
    return false;
}

const char *library_path(void)
{
    return secure_getenv("P2PTLS_LIBRARY");
}
