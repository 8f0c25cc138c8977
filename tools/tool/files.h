/* Files that the tool writes: whole, durable and with the right mode, or not at all. */
#ifndef P2PTLS_TOOL_FILES_H
#define P2PTLS_TOOL_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* A file that is written and not there yet: file_prepare makes a temporary one beside its place, with all bytes on the
 * disk; file_publish gives it its name, file_discard takes it away. */
struct new_file {
    const char *path; /* as the user named it */
    char *target;     /* links resolved */
    char *temporary;
    bool replace; /* --force */
    bool published;
};

enum {
    MODE_SECRET = 0600,
    MODE_PUBLIC = 0644 /* less the umask */,
    MODE_KEPT = 0 /* that of the old file, else secret */
};

/* Is there anything under that name, or no folder to put it in? Looked at before keys are made. False: failed() was
 * called, or usage_error() where no file can have that name. */
bool file_may_be_made(const char *path, bool replace);
/* False: failed() was called, and nothing is left behind. */
bool file_prepare(struct new_file *file, const char *path, const void *bytes, size_t len, mode_t mode, bool replace);
bool file_publish(struct new_file *file);
void file_discard(struct new_file *file);

/* All three for one file. */
bool file_write(const char *path, const void *bytes, size_t len, mode_t mode, bool replace);
/* Two that belong together: if the second cannot be had, the first is not there either (unless it replaced one). */
bool file_publish_both(struct new_file *first, struct new_file *second);

#endif
