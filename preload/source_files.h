/* Reading files of a policy: looked at before they are believed. */
#ifndef P2PTLS_SOURCE_FILES_H
#define P2PTLS_SOURCE_FILES_H

#include "policy.h"

/* As struct policy_host has them. */
enum result source_file_read(void *ctx, const char *path, bool trusted, char **text, size_t *len,
                             char why[POLICY_WHY_MAX]);
enum result source_files_match(void *ctx, const char *pattern, char ***paths, size_t *count, char why[POLICY_WHY_MAX]);

/* The files FOLDER/NAME.conf in the order of their bytes. A folder that is not there has none: *exists is false. So has
 * one that is not trusted, that this user may not enter, and that is in nothing of his. */
enum result source_files_in(const char *folder, bool trusted, char ***paths, size_t *count, bool *exists,
                            char why[POLICY_WHY_MAX]);
void source_files_free(char **paths, size_t count);

#endif
