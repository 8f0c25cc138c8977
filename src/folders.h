/* Folders that the library makes for its own files, with mode 0700: the state folder, that of the known peers. */
#ifndef P2PTLS_FOLDERS_H
#define P2PTLS_FOLDERS_H

#include <stdbool.h>

/* Is this process root's and the folder somebody else's? What root would make in there, that user could neither read
 * nor replace: HOME is often still his (su, sudo, a daemon's environment). A folder that all share (/tmp) is nobody's.
 * False also for what is not there. */
bool folder_is_anothers(const char *dir);

enum folders_result {
    FOLDERS_FAILED = 0, /* errno says why */
    FOLDERS_THERE,
    FOLDERS_ANOTHERS, /* one would have to be made in a folder that is another's */
};
/* mkdir -p */
enum folders_result folders_make(const char *dir);

#endif
