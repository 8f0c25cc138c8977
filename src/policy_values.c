/* Values of options of which there are several kinds: words out of a list, switches, paths, times, sizes, counts. */
#include "policy_internal.h"

#include <string.h>

enum {
    NAMED_MAX = 8,
    MAX_TIME_MS = 24 * 3600 * 1000,
    MAX_SIZE = 64 * 1024 * 1024,
};

bool policy_named(struct lexer *lx, struct word w, const struct named_value *named, const char *expected, int *out)
{
    const char *names[NAMED_MAX] = {0};
    for (size_t i = 0; i < NAMED_MAX - 1 && named[i].name; i++) {
        if (policy_word_is(w, named[i].name)) {
            *out = named[i].value;
            return true;
        }
        names[i] = named[i].name;
    }
    return policy_expected(lx, expected, w, names, NULL);
}

bool policy_on_off(struct lexer *lx, struct word w, bool *out)
{
    static const struct named_value switches[] = {{"on", true}, {"off", false}, {0}};
    int value = 0;
    bool ok = policy_named(lx, w, switches, "on or off", &value);
    *out = value;
    return ok;
}

/* Absolute, since a daemon changes its directory and the files may be read later than this. */
bool policy_path(struct lexer *lx, struct word w, const char **out)
{
    if (!w.len || w.at[0] != '/')
        return policy_expected(lx, "an absolute path", w, NULL, "begin it with '/'");
    *out = policy_keep(lx, w.at, w.len);
    return *out;
}

bool policy_path_or_token(struct lexer *lx, struct word w, const char **out)
{
    if (w.len > 7 && !memcmp(w.at, "pkcs11:", 7)) {
        *out = policy_keep(lx, w.at, w.len);
        return *out;
    }
    if (!w.len || w.at[0] != '/')
        return policy_expected(lx, "an absolute path or a pkcs11: URI", w, NULL, "begin a path with '/'");
    return policy_path(lx, w, out);
}

static bool unit_is(const char *s, size_t len, const char *unit)
{
    return strlen(unit) == len && !memcmp(s, unit, len);
}

/* The digits after the point, in milliseconds. */
static bool take_fraction(const char **s, size_t *left, uint64_t *ms)
{
    uint64_t value = 0;
    size_t used = 0;
    if (!policy_digits(*s, *left, &value, &used) || used > 3)
        return false;
    for (size_t i = used; i < 3; i++)
        value *= 10;
    *ms += value;
    *s += used;
    *left -= used;
    return true;
}

/* SECONDS or SECONDS.FRACTION, with or without the unit s, or whole milliseconds with ms. */
static bool duration_ms(struct word w, uint64_t *ms)
{
    size_t used = 0;
    if (!policy_digits(w.at, w.len, ms, &used) || *ms > MAX_TIME_MS)
        return false;
    const char *s = w.at + used;
    size_t left = w.len - used;
    if (unit_is(s, left, "ms"))
        return true;
    *ms *= 1000;
    if (left && *s == '.') {
        s++, left--;
        if (!take_fraction(&s, &left, ms))
            return false;
    }
    return !left || unit_is(s, left, "s");
}

bool policy_time(struct lexer *lx, struct word w, uint32_t *out)
{
    uint64_t ms = 0;
    if (!duration_ms(w, &ms) || !ms || ms > MAX_TIME_MS)
        return policy_expected(lx, "a time above 0 and up to 86400 s, as 10, 2.5, 2.5s or 250ms", w, NULL, NULL);
    *out = (uint32_t)ms;
    return true;
}

bool policy_size(struct lexer *lx, struct word w, uint32_t *out)
{
    static const char expected[] = "a size from 1 byte to 64M, as 100000, 256K or 1M";
    uint64_t value = 0, unit = 1;
    size_t used = 0;
    bool ok = policy_digits(w.at, w.len, &value, &used) && value <= MAX_SIZE;
    if (ok && used < w.len) {
        unit = w.at[used] == 'K' ? 1024 : w.at[used] == 'M' ? 1024 * 1024 : 0;
        ok = unit && used + 1 == w.len;
    }
    if (!ok || !value || value * unit > MAX_SIZE)
        return policy_expected(lx, expected, w, NULL, NULL);
    *out = (uint32_t)(value * unit);
    return true;
}

bool policy_count_value(struct lexer *lx, struct word w, uint64_t *out)
{
    size_t used = 0;
    if (!policy_digits(w.at, w.len, out, &used) || used != w.len)
        return policy_expected(lx, "a number of records (0: the cipher's own limit)", w, NULL, NULL);
    return true;
}
