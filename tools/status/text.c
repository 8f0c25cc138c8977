#include "text.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

/* Length of the well-formed UTF-8 sequence at s, 0 if there is none. */
static size_t sequence(const unsigned char *s)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (s[0] < 0x80)
        return 1;
    const size_t n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return 0;
    uint32_t code = s[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) /* the NUL too */
            return 0;
        code = code << 6 | (s[i] & 0x3f);
    }
    return code < smallest[n] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff) ? 0 : n;
}

void text_utf8(char *to, size_t room, const char *from)
{
    size_t at = 0;
    while (*from) {
        const size_t n = sequence((const unsigned char *)from);
        const char *piece = n ? from : "\xef\xbf\xbd";
        const size_t len = n ? n : 3;
        if (at + len >= room)
            break;
        memcpy(to + at, piece, len);
        at += len;
        from += n ? n : 1;
    }
    to[at] = '\0';
}

void text_without_controls(char *utf8, char except)
{
    char *to = utf8;
    for (const char *from = utf8; *from;) {
        const unsigned char *s = (const unsigned char *)from;
        const bool c1 = s[0] == 0xc2 && s[1] < 0xa0, control = c1 || s[0] < 0x20 || s[0] == 0x7f;
        if (control && *from != except)
            *to++ = '?';
        else
            *to++ = *from;
        from += c1 ? 2 : 1;
    }
    *to = '\0';
}

/* The next character, '?' for what must not or cannot be shown; its width is 1 or 2. */
static wchar_t next(const char **from, size_t *width)
{
    wchar_t c;
    mbstate_t state = {0};
    const size_t left = strlen(*from), n = mbrtowc(&c, *from, left, &state);
    const bool whole = n && n <= left;
    const int w = whole && iswprint((wint_t)c) ? wcwidth(c) : 0; /* 0: combining, or of no width: U+202E turns a line */
    *from += whole ? n : 1;
    *width = w > 0 ? (size_t)w : 1;
    return w > 0 ? c : L'?';
}

size_t text_width(const char *from)
{
    size_t sum = 0, width;
    while (*from) {
        next(&from, &width);
        sum += width;
    }
    return sum;
}

size_t text_fit(char *to, size_t room, const char *from, size_t columns)
{
    const bool cut = columns && text_width(from) > columns;
    size_t at = 0, sum = 0;
    while (*from) {
        size_t width;
        char piece[16];
        mbstate_t state = {0};
        const wchar_t c = next(&from, &width);
        if (cut && sum + width > columns - 1)
            break;
        const size_t n = wcrtomb(piece, c, &state);
        if (n == (size_t)-1 || at + n + 2 > room)
            break;
        memcpy(to + at, piece, n);
        at += n;
        sum += width;
    }
    if (cut) {
        to[at++] = '+';
        sum++;
    }
    to[at] = '\0';
    return sum;
}

void text_bytes(char *to, size_t room, uint64_t bytes)
{
    static const char units[] = "KMGTPE";
    if (bytes < 1000) {
        snprintf(to, room, "%u", (unsigned)bytes);
        return;
    }
    double value = (double)bytes;
    int unit = -1;
    while (value >= 999.5) {
        value /= 1000;
        unit++;
    }
    snprintf(to, room, value < 9.95 ? "%.1f%c" : "%.0f%c", value, units[unit]);
}

void text_age(char *to, size_t room, int64_t ms)
{
    const long long s = ms / 1000, minutes = s / 60, hours = minutes / 60, days = hours / 24;
    if (s < 60)
        snprintf(to, room, "%llds", s);
    else if (minutes < 60)
        snprintf(to, room, "%lldm%02lld", minutes, s % 60);
    else if (hours < 24)
        snprintf(to, room, "%lldh%02lld", hours, minutes % 60);
    else
        snprintf(to, room, "%lldd%02lld", days, hours % 24);
}
