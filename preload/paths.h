/* A path put together at the start of every program, without printf: its code and its stack are pages that a short
 * program would not touch. */
#ifndef P2PTLS_PATHS_H
#define P2PTLS_PATHS_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* base, then rest. False, and out is empty, if room bytes do not do. */
static inline bool path_join(char *out, size_t room, const char *base, const char *rest)
{
    size_t base_len = strlen(base), rest_len = strlen(rest);
    bool fits = base_len < room && rest_len < room - base_len;
    if (fits) {
        memmove(out, base, base_len); /* base may be out itself */
        memcpy(out + base_len, rest, rest_len);
    }
    out[fits ? base_len + rest_len : 0] = '\0';
    return fits;
}

#endif
