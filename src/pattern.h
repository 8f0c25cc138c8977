/* Name patterns of endpoints: db.example, or *.db.example for one or more labels in front of it. */
#ifndef P2PTLS_PATTERN_H
#define P2PTLS_PATTERN_H

#include <stdbool.h>

/* Without regard to ASCII case; a dot at the name's end (the root) does not count. No allocation. */
bool pattern_dns_any_depth(const char *pattern, const char *name);

#endif
