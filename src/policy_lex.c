/* The cursor over a policy's text: blanks, words, quoted values, numbers, and where each of them stands.
 * Bytes are compared by value: the program's locale plays no part. */
#include "policy_internal.h"

#include <stdlib.h>
#include <string.h>

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
    struct word w = {lx->text + lx->at, 0, lx->here, 0};
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

/* One character of a quoted value; false at its end, and after a failure. */
static bool take_quoted_char(struct lexer *lx, struct place start, char *out)
{
    char c = policy_peek(lx);
    if (lx->at >= lx->len || c == '\n')
        return policy_fail(lx, start, "expected a closing quote '\"' on the same line, found the end of the %s",
                           c == '\n' ? "line" : "text");
    policy_next(lx);
    if (c == '"')
        return false;
    if (c == '\\') {
        c = policy_peek(lx);
        if (c != '"' && c != '\\')
            return policy_fail(lx, lx->here,
                               "expected \\\" or \\\\ after a backslash in quotes; write a backslash twice");
        policy_next(lx);
    }
    *out = c;
    return true;
}

static bool take_quoted(struct lexer *lx, struct word *out)
{
    size_t n = 0, room = lx->len - lx->at; /* unquoting never adds bytes */
    char *copy = malloc(room < POLICY_WORD_MAX ? room : POLICY_WORD_MAX);
    char c = 0;
    if (!copy)
        return policy_no_memory(lx);
    *out = (struct word){NULL, 0, lx->here, 1};
    policy_next(lx);
    while (take_quoted_char(lx, out->place, &c)) {
        if (n == POLICY_WORD_MAX) {
            policy_fail(lx, out->place, "expected a value of at most %d bytes, found more", POLICY_WORD_MAX);
            break;
        }
        copy[n++] = c;
    }
    if (lx->result == RESULT_OK)
        *out = (struct word){policy_keep(lx, copy, n), n, out->place, 1};
    free(copy);
    return out->at;
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

struct word policy_skip(struct word w, size_t n)
{
    return (struct word){w.at + n, w.len - n, {w.place.line, w.place.column + w.quote + (unsigned)n}, 0};
}

bool policy_next_item(struct word *rest, struct word *item)
{
    if (!rest->at)
        return false;
    const char *comma = memchr(rest->at, ',', rest->len);
    *item = policy_skip(*rest, 0);
    if (!comma) {
        rest->at = NULL;
        return true;
    }
    item->len = (size_t)(comma - rest->at);
    *rest = policy_skip(*rest, item->len + 1);
    return true;
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

const char *policy_keep_lower(struct lexer *lx, const char *text, size_t len)
{
    char *kept = (char *)policy_keep(lx, text, len);
    for (char *c = kept; c && *c; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
    return kept;
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
