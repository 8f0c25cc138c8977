/* Which columns fit into so many, and how wide each of them is. */
#ifndef P2PTLS_STATUS_LAYOUT_H
#define P2PTLS_STATUS_LAYOUT_H

#include "columns.h"

enum { LAYOUT_LINE = 4096 };

struct layout {
    enum column columns[COLUMNS_COUNT];
    size_t widths[COLUMNS_COUNT];
    size_t count;
};

/* width: of the terminal; 0: no limit, everything is shown as long as it is. */
void layout_make(struct layout *layout, const struct live_list *list, size_t width);
/* One line without a newline, NULL: the headings. Fit for a terminal. */
void layout_line(const struct layout *layout, const struct live *l, char line[LAYOUT_LINE]);

#endif
