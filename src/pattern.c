/* Name patterns of endpoints. Bytes are compared by value: the program's locale plays no part. */
#include "pattern.h"

#include <stddef.h>
#include <string.h>

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool same(const char *a, const char *b, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (lower(a[i]) != lower(b[i]))
            return false;
    return true;
}

bool pattern_dns_any_depth(const char *pattern, const char *name)
{
    size_t name_len = strlen(name), pattern_len = strlen(pattern);
    if (name_len && name[name_len - 1] == '.')
        name_len--;
    if (pattern[0] != '*')
        return name_len == pattern_len && same(pattern, name, name_len);
    size_t tail_len = pattern_len - 1; /* with its dot in front */
    return name_len > tail_len && name[0] != '.' && same(pattern + 1, name + name_len - tail_len, tail_len);
}
