/* Paths below another root: links in it are followed as they would be there. */
#ifndef P2PTLS_TOOL_ROOT_PATH_H
#define P2PTLS_TOOL_ROOT_PATH_H

#include <stdbool.h>

/* Where the absolute path leads, with root in front; root "" is this system. out has PATH_MAX bytes. False: nothing is
 * there, or it cannot be told. */
bool path_below(const char *root, const char *path, char out[]);

/* The same for a path whose last parts are still to be made. False: a link leads to what is not there, or it cannot be
 * told. */
bool path_to_make(const char *root, const char *path, char out[]);

#endif
