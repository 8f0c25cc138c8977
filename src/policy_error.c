/* The parser's errors: where, what was expected, what was found, and what was probably meant. */
#include "policy_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { SHOWN_MAX = 32, FOUND_MAX = SHOWN_MAX + 16, CANDIDATE_MAX = 24 };

static bool printable(char c)
{
    return c >= 0x20 && c < 0x7f;
}

static void make_printable(char *text)
{
    for (; *text; text++)
        if (!printable(*text))
            *text = '?';
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
    snprintf(lx->error->source, sizeof lx->error->source, "%s", lx->source ? lx->source : "");
    make_printable(lx->error->message);
    make_printable(lx->error->source);
    return false;
}

bool policy_no_memory(struct lexer *lx)
{
    policy_fail(lx, lx->here, "out of memory");
    lx->result = RESULT_NOMEM;
    return false;
}

static void describe_end(const struct lexer *lx, const char *at, char out[FOUND_MAX])
{
    if (at >= lx->text + lx->len || !*at)
        snprintf(out, FOUND_MAX, "the end of the text");
    else if (*at == '\n' || *at == '\r')
        snprintf(out, FOUND_MAX, "the end of the line");
    else if (*at == ' ' || *at == '\t')
        snprintf(out, FOUND_MAX, "a blank");
    else if (*at == '#')
        snprintf(out, FOUND_MAX, "a comment");
    else
        snprintf(out, FOUND_MAX, "'%c'", *at);
}

/* What stands at the place of an error, fit for a terminal. */
static void describe_found(const struct lexer *lx, struct word w, char out[FOUND_MAX])
{
    if (!w.len) {
        describe_end(lx, w.at, out);
        return;
    }
    if (!printable(w.at[0])) {
        snprintf(out, FOUND_MAX, "the byte 0x%02x", (unsigned char)w.at[0]);
        return;
    }
    size_t n = 0, shown = w.len < SHOWN_MAX ? w.len : SHOWN_MAX;
    out[n++] = '"';
    for (size_t i = 0; i < shown; i++)
        out[n++] = printable(w.at[i]) ? w.at[i] : '?';
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
    if (!w.len || !printable(w.at[0]))
        return NULL;
    for (; candidates && *candidates; candidates++) {
        if (policy_word_is(w, *candidates)) /* known, and in the wrong place */
            return NULL;
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
    return policy_fail(lx, found.place, "expected %s, found %s%s%s", expected, what, hint ? "; " : "",
                       hint ? hint : "");
}
