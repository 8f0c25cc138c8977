#include "log_format.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct line {
    char *at, *end;
    bool full; /* something did not fit; nothing follows it */
};

static void put(struct line *l, const char *text, size_t len)
{
    if (l->full || len > (size_t)(l->end - l->at)) {
        l->full = true;
        return;
    }
    memcpy(l->at, text, len);
    l->at += len;
}

static void put_text(struct line *l, const char *text)
{
    put(l, text, strlen(text));
}

/* In quotation marks; both forms escape the mark and the backslash with a backslash. What is not printable becomes '?'
 * at the end, so nothing else needs an escape. */
static void put_quoted(struct line *l, const char *text)
{
    put(l, "\"", 1);
    for (const char *s = text; *s; s++) {
        if (*s == '"' || *s == '\\')
            put(l, (const char[2]){'\\', *s}, 2);
        else
            put(l, s, 1);
    }
    put(l, "\"", 1);
}

/* A word, or quoted if it is none. */
static void put_value(struct line *l, const char *text)
{
    if (*text && !text[strcspn(text, " \t\n\r\"=\\")])
        put_text(l, text);
    else
        put_quoted(l, text);
}

/* A field that does not fit whole is not there: what was put of it is taken back. */
static void put_field(struct line *l, enum log_form form, const char *key, const char *value)
{
    char *const before = l->at;
    if (!value || l->full)
        return;
    put(l, form == LOG_FORM_JSON ? ",\"" : " ", form == LOG_FORM_JSON ? 2 : 1);
    put_text(l, key);
    put(l, form == LOG_FORM_JSON ? "\":" : "=", form == LOG_FORM_JSON ? 2 : 1);
    if (form == LOG_FORM_JSON)
        put_quoted(l, value);
    else
        put_value(l, value);
    if (l->full)
        l->at = before;
    l->full = false;
}

/* RFC 3339, in UTC. Not gmtime_r, which takes a lock that a forked child may find held. */
enum { TIME_TEXT = 192 };
static void format_time(int64_t ms, char text[TIME_TEXT])
{
    const long long s = ms / 1000, day = s / 86400, rest = s % 86400;
    /* Days since 0000-03-01, in eras of 400 years. */
    const long long z = day + 719468, era = z / 146097, doe = z - era * 146097;
    const long long yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    const long long doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    const long long month = mp < 10 ? mp + 3 : mp - 9, year = yoe + era * 400 + (month <= 2);
    snprintf(text, TIME_TEXT, "%04lld-%02lld-%02lldT%02lld:%02lld:%02lld.%03lldZ", year % 10000, month,
             doy - (153 * mp + 2) / 5 + 1, rest / 3600, rest / 60 % 60, rest % 60, (long long)(ms % 1000));
}

const char *log_level_name(enum log_level level)
{
    static const char *const names[] = {"silent", "error", "warn", "info", "debug"};
    return (unsigned)level < sizeof names / sizeof names[0] ? names[level] : "?";
}

/* A character that a key's end can be part of; at all others, blanks of Unicode too (U+00A0), somebody may begin anew.
 */
static bool is_of_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

/* Does the sentence look, to whoever takes lines apart at blanks, as if it had one of our fields in it? Names that a
 * peer has chosen stand in sentences, and must not be taken for what the library says ("CN=x identity=CN=root"). Only
 * role= is not looked for: the library's own advice has it ("set role=server"), and nothing is decided by it. */
static bool imitates_field(const char *text)
{
    static const char *const keys[] = {"category", "direction", "peer", "dialled", "rule",    "ms",
                                       "cipher",   "identity",  "alpn", "sni",     "resumed", "reason"};
    for (const char *equals = text; (equals = strchr(equals, '=')); equals++) {
        if (!equals[1] || equals[1] == ' ')
            continue;
        for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
            const size_t len = strlen(keys[i]), before = (size_t)(equals - text);
            if (before >= len && memcmp(equals - len, keys[i], len) == 0 &&
                (before == len || !is_of_word(equals[-(ptrdiff_t)len - 1])))
                return true;
        }
    }
    return false;
}

/* The sentence as it is, or as one quoted word: whoever takes the line apart finds fields behind it alone. */
static void put_sentence(struct line *l, const char *text)
{
    if (imitates_field(text))
        put_quoted(l, text);
    else
        put_text(l, text);
}

static void put_head(struct line *l, const struct log_entry *e, enum log_form form, const struct log_origin *o)
{
    char text[TIME_TEXT + 64], when[TIME_TEXT];
    if (form == LOG_FORM_TEXT) {
        snprintf(text, sizeof text, "p2ptls[%ld]: %s: ", o->pid, log_level_name(e->level));
        put_text(l, text);
        put_sentence(l, e->text);
        return;
    }
    format_time(o->time_ms, when);
    snprintf(text, sizeof text, form == LOG_FORM_JSON ? "{\"time\":\"%s\",\"pid\":%ld" : "time=%s pid=%ld", when,
             o->pid);
    put_text(l, text);
    put_field(l, form, "program", o->program);
    put_field(l, form, "level", log_level_name(e->level));
}

size_t log_format(const struct log_entry *e, enum log_form form, const struct log_origin *o,
                  char line[LOG_FORMATTED_MAX])
{
    struct line l = {line, line + LOG_FORMATTED_MAX - 3, false}; /* the end: a brace, a newline, a NUL */
    put_head(&l, e, form, o);
    put_field(&l, form, "category", log_category_name(e->category));
    if (form != LOG_FORM_TEXT)
        put_field(&l, form, "msg", e->text);
    for (size_t i = 0; i < e->field_count; i++)
        put_field(&l, form, e->fields[i].key, e->fields[i].value);
    log_make_printable(line, (size_t)(l.at - line));
    if (form == LOG_FORM_JSON)
        *l.at++ = '}';
    *l.at++ = '\n';
    *l.at = '\0';
    return (size_t)(l.at - line);
}

void log_journal_key(const char *key, char *to, size_t room)
{
    size_t at = (size_t)snprintf(to, room, "P2PTLS_");
    for (; *key && at + 1 < room; key++)
        to[at++] = (char)(*key >= 'a' && *key <= 'z' ? *key - 'a' + 'A' : *key);
    to[at] = '\0';
}
