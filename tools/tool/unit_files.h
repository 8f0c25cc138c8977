/* The files of a systemd service, as far as p2ptls enable has to know them (systemd.unit(5)). */
#ifndef P2PTLS_TOOL_UNIT_FILES_H
#define P2PTLS_TOOL_UNIT_FILES_H

#include <stdbool.h>
#include <stddef.h>

extern const char *const unit_folders[]; /* the first ones go before; NULL at the end */

/* root: what stands in front of the folders of units; "" for this system. unit: NAME.service. An instance of a template
 * has the template's files, too. */
bool unit_is_there(const char *root, const char *unit);

/* Of NAME@INSTANCE.service NAME@.service; false: it is no instance. */
bool unit_template(const char *unit, char *out, size_t room);

/* Do its files and drop-ins, read in systemd's order, set that in the end, to something that is not empty? Without
 * memory yes. */
bool unit_sets(const char *root, const char *unit, const char *setting);

/* Calls each for every assignment in a [Service] of its files, in the order in which systemd reads them: of the first
 * folder that has the unit, then of drop-ins. without: the path of a drop-in that is passed over; NULL: none. False:
 * out of memory. */
typedef void unit_assignment(void *ctx, const char *name, const char *value);
bool unit_each_assignment(const char *root, const char *unit, const char *without, unit_assignment *each, void *ctx);

#endif
