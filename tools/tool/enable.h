/* The text of a drop-in that puts the library under a service. */
#ifndef P2PTLS_TOOL_ENABLE_H
#define P2PTLS_TOOL_ENABLE_H

#include <stdbool.h>

struct drop_in {
    const char *preload; /* NULL: not found */
    const char *rules;   /* NULL: the policy is in files alone */
    const char *config;  /* NULL: none */
    const char *tool;    /* this program, which looks in the unit whether the library is there */
    bool opens_folders;  /* the unit names all that may be executed in it */
};

/* To be freed; NULL: failed() was called. */
char *drop_in_text(const struct drop_in *what);

#endif
