/* Parses and evaluates trust expressions: recursive descent to postfix, and a stack of bits. */
#include "trust.h"

#include <string.h>

enum op { OP_AND = 64, OP_OR, OP_NOT_REVOKED }; /* others: a single enum trust_fact */

struct parser {
    const char *text;
    size_t len, at;
    unsigned depth;
    struct trust_expression *out;
    size_t bad_at;
    const char *expected; /* not NULL: failed */
};

static const struct {
    const char *name;
    enum trust_fact fact;
} terms[] = {
    {"ca", TRUST_CA}, {"pinned", TRUST_PINNED}, {"known", TRUST_KNOWN}, {"dane", TRUST_DANE}, {"own", TRUST_OWN}};

static bool fail(struct parser *p, size_t at, const char *expected)
{
    p->bad_at = at;
    p->expected = expected;
    return false;
}

static void skip_blanks(struct parser *p)
{
    while (p->at < p->len && strchr(" \t\r\n", p->text[p->at]) && p->text[p->at])
        p->at++;
}

/* The length of the word at the cursor; a parenthesis is a word of its own. */
static size_t word_length(struct parser *p)
{
    size_t n = 0;

    skip_blanks(p);
    if (p->at < p->len && (p->text[p->at] == '(' || p->text[p->at] == ')'))
        return 1;
    while (p->at + n < p->len && !(p->text[p->at + n] && strchr(" \t\r\n()", p->text[p->at + n])))
        n++;
    return n;
}

static bool take_word(struct parser *p, const char *word)
{
    const size_t n = word_length(p);

    if (n != strlen(word) || memcmp(p->text + p->at, word, n) != 0)
        return false;
    p->at += n;
    return true;
}

static bool emit(struct parser *p, unsigned op, unsigned fact)
{
    if (p->out->count == TRUST_OPS_MAX)
        return fail(p, p->at, "a shorter expression: it has more than 64 conditions and conjunctions");
    p->out->ops[p->out->count++] = (uint8_t)op;
    p->out->terms |= fact;
    return true;
}

static bool parse_or(struct parser *p);

static bool parse_group(struct parser *p)
{
    if (++p->depth > TRUST_DEPTH_MAX)
        return fail(p, p->at, "fewer parentheses inside each other");
    if (!parse_or(p))
        return false;
    p->depth--;
    return take_word(p, ")") || fail(p, p->at, "'and', 'or' or ')'");
}

static bool parse_item(struct parser *p)
{
    if (take_word(p, "("))
        return parse_group(p);
    if (take_word(p, "not"))
        return take_word(p, "revoked") ? emit(p, OP_NOT_REVOKED, TRUST_REVOKED)
                                       : fail(p, p->at, "'revoked' after 'not'");
    for (size_t i = 0; i < sizeof terms / sizeof terms[0]; i++)
        if (take_word(p, terms[i].name))
            return emit(p, terms[i].fact, terms[i].fact);
    return fail(p, p->at, "ca, pinned, known, dane, own, 'not revoked' or '('");
}

static bool parse_and(struct parser *p)
{
    if (!parse_item(p))
        return false;
    while (take_word(p, "and"))
        if (!parse_item(p) || !emit(p, OP_AND, 0))
            return false;
    return true;
}

static bool parse_or(struct parser *p)
{
    if (!parse_and(p))
        return false;
    while (take_word(p, "or"))
        if (!parse_and(p) || !emit(p, OP_OR, 0))
            return false;
    return true;
}

enum result trust_parse(const char *text, size_t len, struct trust_expression *out, size_t *bad_at,
                        const char **expected)
{
    struct parser p = {.text = text, .len = len, .out = out};

    *out = (struct trust_expression){0};
    bool good = parse_or(&p);
    if (good && word_length(&p) != 0)
        good = fail(&p, p.at, "'and', 'or' or the end");
    /* No term asks that a fact be absent but 'not revoked': so what holds without any fact holds for strangers. */
    if (good && trust_evaluate(out, 0))
        good =
            fail(&p, len, "a condition that tells who the peer is (ca, pinned, known, dane, own) in each alternative");
    if (good)
        return RESULT_OK;
    *out = (struct trust_expression){0};
    *bad_at = p.bad_at;
    *expected = p.expected;
    return RESULT_CONFIG;
}

bool trust_evaluate(const struct trust_expression *e, unsigned facts)
{
    bool stack[TRUST_OPS_MAX];
    unsigned n = 0;

    for (unsigned i = 0; i < e->count && i < TRUST_OPS_MAX; i++) {
        const unsigned op = e->ops[i];
        if (op != OP_AND && op != OP_OR) {
            stack[n++] = op == OP_NOT_REVOKED ? !(facts & TRUST_REVOKED) : (facts & op) != 0;
            continue;
        }
        if (n < 2)
            return false;
        n--;
        stack[n - 1] = op == OP_AND ? stack[n - 1] && stack[n] : stack[n - 1] || stack[n];
    }
    return n == 1 && stack[0];
}

void trust_default(unsigned given_terms, struct trust_expression *out)
{
    *out = (struct trust_expression){.terms = given_terms};
    for (unsigned fact = TRUST_CA; fact <= TRUST_OWN; fact <<= 1) {
        if (!(given_terms & fact))
            continue;
        out->ops[out->count++] = (uint8_t)(fact == TRUST_REVOKED ? OP_NOT_REVOKED : fact);
        if (out->count > 1)
            out->ops[out->count++] = OP_AND;
    }
    if (trust_evaluate(out, 0))
        *out = (struct trust_expression){0}; /* "not revoked" alone */
}
