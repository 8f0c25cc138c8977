/* The programs that the settings of a systemd service name (systemd.service(5), "Command lines"). */
#ifndef P2PTLS_TOOL_UNIT_COMMANDS_H
#define P2PTLS_TOOL_UNIT_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>

struct unit_command {
    const char *setting; /* "ExecStart" and its relatives */
    char *program;       /* as it stands there, without prefixes and quotes */
    const char *untold;  /* why it cannot be told which program that is; else NULL */
};

struct unit_commands {
    struct unit_command *all;
    size_t count;
    const char *without; /* path of a drop-in that does not count; NULL: none */
    bool failed;         /* out of memory */
};

/* What holds once all files of the unit are read in systemd's order: an empty assignment forgets those before it.
 * False: out of memory. To be freed in either case. */
bool unit_commands_read(struct unit_commands *commands, const char *root, const char *unit);
void unit_commands_free(struct unit_commands *commands);

#endif
