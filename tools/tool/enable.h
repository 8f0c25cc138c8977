/* A drop-in that puts the library under a service: its text, and whether the service may have it. */
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

struct unit {
    const char *root;        /* in front of its files' folders and its programs; "" is this system */
    const char *name;        /* NAME.service */
    const char *own_drop_in; /* the one that is about to be replaced, without root; its programs do not count */
};

/* Judges every program that the unit starts. False: failed() was called; with force notes take its place. */
bool programs_may_be_enabled(const struct unit *unit, bool force);

#endif
