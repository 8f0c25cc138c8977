/* The text of a drop-in that puts the library under a service. */
#ifndef P2PTLS_TOOL_ENABLE_H
#define P2PTLS_TOOL_ENABLE_H

struct drop_in {
    const char *preload; /* NULL: not found */
    const char *rules;   /* NULL: the policy is in files alone */
    const char *config;  /* NULL: none */
};

/* To be freed; NULL: failed() was called. */
char *drop_in_text(const struct drop_in *what);

#endif
