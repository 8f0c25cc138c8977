/* The columns of a list of connections: what p2ptls status shows, sorts by and filters by. */
#ifndef P2PTLS_STATUS_COLUMNS_H
#define P2PTLS_STATUS_COLUMNS_H

#include "live.h"

enum column {
    COLUMN_PROGRAM = 0,
    COLUMN_PID,
    COLUMN_USER,
    COLUMN_DIRECTION,
    COLUMN_PEER,
    COLUMN_IDENTITY,
    COLUMN_ROLE,
    COLUMN_CIPHER,
    COLUMN_PROTOCOL,
    COLUMN_STATE,
    COLUMN_AGE,
    COLUMN_RECEIVED,
    COLUMN_SENT,
    COLUMN_RESUMED,
    COLUMNS_COUNT,
};

enum { COLUMN_TEXT = 512 };

/* The name that options have, and the heading. */
const char *column_name(enum column c);
const char *column_heading(enum column c);
/* COLUMNS_COUNT: there is no such column. */
enum column column_find(const char *name, size_t len);

/* What stands in a table, as others wrote it: not yet fit for a terminal. */
void column_text(enum column c, const struct live *l, char text[COLUMN_TEXT]);
/* The same for filters: whole words, and the whole cipher suite. */
void column_match_text(enum column c, const struct live *l, char text[COLUMN_TEXT]);
bool column_is_number(enum column c); /* to the right */
int column_compare(enum column c, const struct live *a, const struct live *b);

/* COLUMN=PATTERN or COLUMN!=PATTERN, the pattern as of a shell (fnmatch(3)). */
struct filter {
    enum column column;
    bool negated;
    const char *pattern;
};
/* False: no such column, or no '='. */
bool filter_parse(const char *text, struct filter *out);
bool filter_holds(const struct filter *f, const struct live *l);
/* Leaves those for which all filters hold. */
void filter_list(const struct filter *filters, size_t count, struct live_list *list);

struct sort_key {
    enum column column;
    bool descending;
};
enum { SORT_KEYS = 4 };
struct sort_order {
    struct sort_key keys[SORT_KEYS];
    size_t count;
};
/* COLUMN[,COLUMN]...; '-' in front: the largest first. False: no such column, or too many. */
bool sort_parse(const char *text, struct sort_order *out);
void sort_list(const struct sort_order *order, struct live_list *list);

#endif
