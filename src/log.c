/* Log lines: formats on the stack, makes them printable, limits their rate with one atomic word. */
#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { SUFFIX_MAX = 48 };

static const uint64_t NS_PER_TOKEN = UINT64_C(1000000000) / LOG_REFILL_PER_SECOND;

static _Atomic(log_sink) current_sink;
static atomic_int thresholds[LOG_CATEGORIES];

/* The token bucket as the time at which it will be full again (the "virtual scheduling" form of GCRA): one word, so
 * that a compare-and-swap does, and neither a signal handler nor a forked child can find it half changed. */
static _Atomic uint64_t full_at_ns;
static atomic_uint left_out;

void log_set_sink(log_sink sink, enum log_level threshold)
{
    atomic_store(&current_sink, sink);
    for (int i = 0; i < LOG_CATEGORIES; i++)
        atomic_store(&thresholds[i], (int)threshold);
}

void log_set_threshold(enum log_category category, enum log_level threshold)
{
    atomic_store(&thresholds[category], (int)threshold);
}

bool log_wants_of(enum log_category category, enum log_level level)
{
    return level > LOG_LEVEL_SILENT && (int)level <= atomic_load(&thresholds[category]) && atomic_load(&current_sink);
}

static const char *const names[LOG_CATEGORIES] = {
    [LOG_CATEGORY_LIBRARY] = "library",   [LOG_CATEGORY_HANDSHAKE] = "handshake",
    [LOG_CATEGORY_REFUSAL] = "refusal",   [LOG_CATEGORY_CONNECTION] = "connection",
    [LOG_CATEGORY_IDENTITY] = "identity", [LOG_CATEGORY_PLAIN] = "plain",
    [LOG_CATEGORY_PROGRAM] = "program",
};

const char *log_category_name(enum log_category category)
{
    return names[category];
}

enum log_category log_category_find(const char *name, size_t len)
{
    int i = 0;
    while (i < LOG_CATEGORIES && (strlen(names[i]) != len || memcmp(names[i], name, len) != 0))
        i++;
    return (enum log_category)i;
}

static uint64_t now_ns(void)
{
    struct timespec ts = {0};
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

static bool take_token(void)
{
    uint64_t now = now_ns(), old = atomic_load(&full_at_ns), start;
    do {
        start = old > now ? old : now;
        if (start - now > (LOG_BURST - 1) * NS_PER_TOKEN)
            return false;
    } while (!atomic_compare_exchange_weak(&full_at_ns, &old, start + NS_PER_TOKEN));
    return true;
}

/* Characters that are not seen (Unicode's Default_Ignorable_Code_Point, U+FFF9 to U+FFFB), those that turn the
 * direction of text or end its line (U+2028, U+2029): with them a line reads as another one. And noncharacters, which
 * systemd and others take for broken UTF-8. */
static bool misleads(uint32_t code)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {{0xad, 0xad},       {0x34f, 0x34f},     {0x61c, 0x61c},    {0x115f, 0x1160}, {0x17b4, 0x17b5},
                  {0x180b, 0x180f},   {0x200b, 0x200f},   {0x2028, 0x202e},  {0x2060, 0x206f}, {0x3164, 0x3164},
                  {0xfdd0, 0xfdef},   {0xfe00, 0xfe0f},   {0xfeff, 0xfeff},  {0xffa0, 0xffa0}, {0xfff0, 0xfffb},
                  {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff}};
    size_t i = 0;
    while (i < sizeof ranges / sizeof ranges[0] && code > ranges[i].last)
        i++;
    return (code & 0xfffe) == 0xfffe || (i < sizeof ranges / sizeof ranges[0] && code >= ranges[i].first);
}

size_t log_printable_sequence(const char *text, size_t left)
{
    const unsigned char *s = (const unsigned char *)text;
    static const uint32_t smallest[] = {0, 0, 0xa0, 0x800, 0x10000};
    if (s[0] < 0x80)
        return s[0] >= 0x20 && s[0] != 0x7f;
    size_t n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || n > left)
        return 0;
    uint32_t code = s[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (s[i] & 0x3f);
    }
    bool surrogate = code >= 0xd800 && code <= 0xdfff;
    return code < smallest[n] || code > 0x10ffff || surrogate || misleads(code) ? 0 : n;
}

void log_make_printable(char *line, size_t len)
{
    for (size_t at = 0; at < len;) {
        size_t n = log_printable_sequence(line + at, len - at);
        if (!n)
            line[at] = '?';
        at += n ? n : 1;
    }
}

/* Writes into line[0..room], room + 1 bytes with the terminator; says by "..." that something is missing. */
static size_t format_line(char *line, size_t room, const char *format, va_list args)
{
    int n = vsnprintf(line, room + 1, format, args);
    if (n < 0)
        n = snprintf(line, room + 1, "a message could not be formatted");
    if ((size_t)n <= room)
        return (size_t)n;
    memcpy(line + room - 3, "...", 3);
    return room;
}

void log_write(enum log_level level, enum log_category category, const struct log_field *fields, size_t field_count,
               const char *format, ...)
{
    if (!log_wants_of(category, level))
        return;
    int saved_errno = errno;
    if (!take_token()) {
        atomic_fetch_add(&left_out, 1);
        errno = saved_errno;
        return;
    }
    char line[LOG_LINE_MAX + 1], suffix[SUFFIX_MAX] = "";
    unsigned missing = atomic_exchange(&left_out, 0);
    int suffix_len = 0;
    if (missing)
        suffix_len = snprintf(suffix, sizeof suffix, " (lines left out before this one: %u)", missing);
    va_list args;
    va_start(args, format);
    errno = saved_errno; /* for %m */
    size_t len = format_line(line, LOG_LINE_MAX - (size_t)suffix_len, format, args);
    va_end(args);
    memcpy(line + len, suffix, (size_t)suffix_len + 1);
    log_make_printable(line, len);
    log_sink sink = atomic_load(&current_sink);
    if (sink)
        sink(&(struct log_entry){level, category, line, fields, field_count});
    errno = saved_errno;
}
