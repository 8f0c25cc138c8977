/* The cursor over a policy's text: words, quoted values, places, and errors that say what was expected.
 * Bytes are compared by value: the program's locale plays no part. */
#include "policy_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FOUND_MAX = 48, CANDIDATE_MAX = 24 };

void policy_lex_begin(struct lexer *lx)
{
    lx->here = (struct place){1, 1};
    lx->result = RESULT_OK;
    if (lx->len >= 3 && !memcmp(lx->text, "\xef\xbb\xbf", 3))
        lx->at = 3; /* a byte order mark, as some editors write it */
}

char policy_peek(const struct lexer *lx)
{
    return lx->at < lx->len ? lx->text[lx->at] : '\0';
}

void policy_next(struct lexer *lx)
{
    if (lx->at >= lx->len)
        return;
    if (lx->text[lx->at++] == '\n')
        lx->here = (struct place){lx->here.line + 1, 1};
    else
        lx->here.column++;
}

/* CR counts as a blank only where it ends a line (CRLF); elsewhere it is a byte like any other, and an error. */
static bool at_blank(const struct lexer *lx)
{
    char c = policy_peek(lx);
    bool line_ends = lx->at + 1 >= lx->len || lx->text[lx->at + 1] == '\n';
    return c == ' ' || c == '\t' || (c == '\r' && line_ends);
}

void policy_skip_blanks(struct lexer *lx)
{
    while (at_blank(lx))
        policy_next(lx);
    if (policy_peek(lx) != '#')
        return;
    while (lx->at < lx->len && lx->text[lx->at] != '\n')
        policy_next(lx);
}

bool policy_at_statement_end(const struct lexer *lx)
{
    char c = policy_peek(lx);
    return lx->at >= lx->len || c == ';' || c == '\n';
}

bool policy_at_word_end(const struct lexer *lx)
{
    return policy_at_statement_end(lx) || at_blank(lx) || policy_peek(lx) == '#';
}

struct word policy_take_until(struct lexer *lx, char stop)
{
    struct word w = {lx->text + lx->at, 0, lx->here};
    size_t start = lx->at;
    while (!policy_at_word_end(lx) && (!stop || policy_peek(lx) != stop))
        policy_next(lx);
    w.len = lx->at - start;
    return w;
}

struct word policy_take_word(struct lexer *lx)
{
    return policy_take_until(lx, '\0');
}

static bool plain_byte(unsigned char c)
{
    return c >= 0x20 && c != 0x7f;
}

static bool check_value(struct lexer *lx, struct word w)
{
    for (size_t i = 0; i < w.len; i++)
        if (!plain_byte((unsigned char)w.at[i]))
            return policy_fail(lx, w.place, "expected a value of printable characters, found the byte 0x%02x in it",
                               (unsigned char)w.at[i]);
    if (w.len > POLICY_WORD_MAX)
        return policy_fail(lx, w.place, "expected a value of at most %d bytes, found %zu", POLICY_WORD_MAX, w.len);
    return true;
}

static bool take_quoted(struct lexer *lx, struct word *out)
{
    struct place start = lx->here;
    char *copy = malloc(POLICY_WORD_MAX + 1);
    size_t n = 0;
    bool ok = false;
    if (!copy)
        return policy_no_memory(lx);
    policy_next(lx);
    for (;;) {
        char c = policy_peek(lx);
        if (lx->at >= lx->len || c == '\n') {
            policy_fail(lx, start, "expected a closing quote '\"' on the same line, found %s",
                        c == '\n' ? "the end of the line" : "the end of the text");
            break;
        }
        policy_next(lx);
        if (c == '"') {
            ok = true;
            break;
        }
        if (c == '\\') {
            c = policy_peek(lx);
            if (c != '"' && c != '\\') {
                policy_fail(lx, lx->here, "expected \\\" or \\\\ in a quoted value; write a backslash twice");
                break;
            }
            policy_next(lx);
        }
        if (n == POLICY_WORD_MAX) {
            policy_fail(lx, start, "expected a value of at most %d bytes, found more", POLICY_WORD_MAX);
            break;
        }
        copy[n++] = c;
    }
    const char *kept = ok ? policy_keep(lx, copy, n) : NULL;
    free(copy);
    *out = (struct word){kept, n, start};
    return kept != NULL;
}

bool policy_take_value(struct lexer *lx, struct word *out)
{
    if (policy_peek(lx) != '"') {
        *out = policy_take_word(lx);
        if (!out->len)
            return policy_expected(lx, "a value after '='", *out, NULL, NULL);
        return check_value(lx, *out);
    }
    if (!take_quoted(lx, out) || !check_value(lx, *out))
        return false;
    if (!policy_at_word_end(lx))
        return policy_expected(lx, "a blank after the closing quote", policy_take_word(lx), NULL, NULL);
    return out->len || policy_fail(lx, out->place, "expected a value, found empty quotes");
}

bool policy_word_is(struct word w, const char *text)
{
    return strlen(text) == w.len && !memcmp(w.at, text, w.len);
}

bool policy_fail(struct lexer *lx, struct place place, const char *format, ...)
{
    if (lx->result != RESULT_OK)
        return false;
    lx->result = RESULT_CONFIG;
    lx->error->line = place.line;
    lx->error->column = place.column;
    va_list args;
    va_start(args, format);
    vsnprintf(lx->error->message, sizeof lx->error->message, format, args);
    va_end(args);
    return false;
}

bool policy_no_memory(struct lexer *lx)
{
    policy_fail(lx, lx->here, "out of memory");
    lx->result = RESULT_NOMEM;
    return false;
}

const char *policy_keep(struct lexer *lx, const char *text, size_t len)
{
    struct policy_string *s = malloc(sizeof *s + len + 1);
    if (!s) {
        policy_no_memory(lx);
        return NULL;
    }
    memcpy(s->text, text, len);
    s->text[len] = '\0';
    s->next = lx->policy->strings;
    lx->policy->strings = s;
    return s->text;
}

bool policy_digits(const char *s, size_t len, uint64_t *value, size_t *used)
{
    uint64_t v = 0;
    size_t i = 0;
    for (; i < len && s[i] >= '0' && s[i] <= '9'; i++)
        if (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, (uint64_t)(s[i] - '0'), &v))
            return false;
    *value = v;
    *used = i;
    return i > 0;
}

/* What stands at the place of an error, fit for a terminal. */
static void describe_found(const struct lexer *lx, struct word w, char out[FOUND_MAX])
{
    if (!w.len) {
        bool text_ends = w.at >= lx->text + lx->len;
        if (text_ends)
            snprintf(out, FOUND_MAX, "the end of the text");
        else if (*w.at == '\n' || *w.at == '\r')
            snprintf(out, FOUND_MAX, "the end of the line");
        else if (!*w.at)
            snprintf(out, FOUND_MAX, "nothing");
        else
            snprintf(out, FOUND_MAX, *w.at == ' ' || *w.at == '\t' ? "a blank" : "'%c'", *w.at);
        return;
    }
    unsigned char first = (unsigned char)w.at[0];
    if (first < 0x20 || first >= 0x7f) {
        snprintf(out, FOUND_MAX, "the byte 0x%02x", first);
        return;
    }
    size_t n = 0, shown = w.len < 32 ? w.len : 32;
    out[n++] = '"';
    for (size_t i = 0; i < shown; i++)
        out[n++] = plain_byte((unsigned char)w.at[i]) && (unsigned char)w.at[i] < 0x80 ? w.at[i] : '?';
    snprintf(out + n, FOUND_MAX - n, "%s\"", shown < w.len ? "..." : "");
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Edit distance without regard to case (optimal string alignment: a swap of neighbours counts once). */
static unsigned distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    unsigned rows[3][CANDIDATE_MAX + 1], *before = rows[0], *last = rows[1], *row = rows[2];
    if (a_len > CANDIDATE_MAX || b_len > CANDIDATE_MAX)
        return CANDIDATE_MAX;
    for (size_t j = 0; j <= b_len; j++)
        last[j] = (unsigned)j;
    for (size_t i = 1; i <= a_len; i++) {
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_len; j++) {
            unsigned best = last[j - 1] + (lower(a[i - 1]) != b[j - 1]);
            best = last[j] + 1 < best ? last[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            bool swapped = i > 1 && j > 1 && lower(a[i - 1]) == b[j - 2] && lower(a[i - 2]) == b[j - 1];
            if (swapped && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            row[j] = best;
        }
        unsigned *spare = before;
        before = last;
        last = row;
        row = spare;
    }
    return last[b_len];
}

static const char *closest(struct word w, const char *const *candidates)
{
    const char *found = NULL;
    unsigned least = 3;
    for (; candidates && *candidates; candidates++) {
        unsigned d = distance(w.at, w.len, *candidates, strlen(*candidates));
        if (d < least && d * 2 < w.len) {
            least = d;
            found = *candidates;
        }
    }
    return found;
}

bool policy_expected(struct lexer *lx, const char *expected, struct word found, const char *const *candidates,
                     const char *hint)
{
    char what[FOUND_MAX];
    describe_found(lx, found, what);
    const char *near = closest(found, candidates);
    if (near)
        return policy_fail(lx, found.place, "expected %s, found %s; did you mean %s?", expected, what, near);
    return policy_fail(lx, found.place, "expected %s, found %s%s%s", expected, what, hint ? "; " : "", hint ? hint : "");
}
