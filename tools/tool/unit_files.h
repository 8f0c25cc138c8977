/* The files of a systemd service, as far as p2ptls enable has to know them (systemd.unit(5)). */
#ifndef P2PTLS_TOOL_UNIT_FILES_H
#define P2PTLS_TOOL_UNIT_FILES_H

#include <stdbool.h>

/* root: what stands in front of the folders of units; "" for this system. unit: NAME.service. An instance of a template
 * has the template's files, too. */
bool unit_is_there(const char *root, const char *unit);

/* Does one of its files or drop-ins set that, to something that is not empty? In doubt yes: a line that goes on another
 * one counts as one of its own. */
bool unit_sets(const char *root, const char *unit, const char *setting);

#endif
