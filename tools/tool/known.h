/* The file of known peers as people change it. The library reads it, and appends to it (src/trust_record.c). */
#ifndef P2PTLS_TOOL_KNOWN_H
#define P2PTLS_TOOL_KNOWN_H

#include "trust_known.h"

#include <limits.h>

struct known_file {
    char path[PATH_MAX];
    char *text; /* of the whole file; NULL: there is none */
    size_t len;
    int lock; /* -1: none */
};

/* Lines of the file, one by one. entry.where is empty for a comment, an empty line, and what cannot be understood. */
struct known_line {
    const char *at;
    size_t len; /* without its end */
    unsigned number;
    bool understood;
    struct known_entry entry;
    size_t next;
};

/* file NULL: that of the state folder. False: failed(). */
bool known_file_find(struct known_file *known, const char *file);
/* for_change: makes the folder, and keeps others from changing the file meanwhile. False: failed(). */
bool known_file_open(struct known_file *known, bool for_change);
void known_file_close(struct known_file *known);
/* Start with a zeroed line; false behind the last. */
bool known_file_next(const struct known_file *known, struct known_line *line);
/* Puts this text in the place of the file's, whole or not at all. */
bool known_file_replace(struct known_file *known, const char *text, size_t len);

#endif
