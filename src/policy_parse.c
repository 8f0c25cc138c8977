/* Statements of the policy language (docs/POLICY.md): a recursive-descent parser over policy_lex's cursor. */
#include "policy_internal.h"

#include <stdlib.h>
#include <string.h>

struct parser {
    struct lexer lx;
    struct policy *policy;
    struct options defaults; /* of the default statements so far; they end with the source */
    const char *source;
};

static const char *const openings[] = {"connect", "accept", "any", "default", NULL};

static bool grow(struct lexer *lx, void **array, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return true;
    size_t more = *room ? *room * 2 : 4;
    void *bigger = reallocarray(*array, more, size);
    if (!bigger)
        return policy_no_memory(lx);
    *array = bigger;
    *room = more;
    return true;
}

static bool parse_targets(struct lexer *lx, struct policy_rule *rule)
{
    size_t room = 0;
    for (;;) {
        void *array = rule->targets;
        if (!grow(lx, &array, rule->target_count, &room, sizeof *rule->targets))
            return false;
        rule->targets = array;
        policy_skip_blanks(lx);
        if (!policy_parse_target(lx, &rule->targets[rule->target_count]))
            return false;
        rule->target_count++;
        policy_skip_blanks(lx);
        if (policy_peek(lx) != ',')
            return true;
        policy_next(lx);
    }
}

/* True and the action if the statement goes on with plain or deny; the cursor stays otherwise. */
static bool take_action(struct lexer *lx, enum policy_action *action)
{
    struct lexer before = *lx;
    struct word w = policy_take_word(lx);
    if (policy_word_is(w, "plain"))
        *action = POLICY_PLAIN;
    else if (policy_word_is(w, "deny"))
        *action = POLICY_DENY;
    else {
        *lx = before;
        return false;
    }
    return true;
}

static bool parse_options(struct lexer *lx, struct options *options)
{
    for (policy_skip_blanks(lx); !policy_at_statement_end(lx); policy_skip_blanks(lx))
        if (!policy_parse_option(lx, options))
            return false;
    return policy_check_conflicts(lx, options);
}

static bool parse_rest(struct parser *p, struct policy_rule *rule)
{
    struct options options = {0};
    if (take_action(&p->lx, &rule->action)) {
        policy_skip_blanks(&p->lx);
        return policy_at_statement_end(&p->lx) ||
               policy_expected(&p->lx, "the end of the statement after plain or deny", policy_take_word(&p->lx), NULL,
                               "they take no options");
    }
    rule->action = POLICY_PROTECT;
    if (!parse_options(&p->lx, &options))
        return false;
    unsigned said = options.given;
    policy_inherit(&options, &p->defaults);
    return policy_apply_options(&p->lx, &options, said, rule);
}

static bool parse_rule(struct parser *p, unsigned directions, struct place start)
{
    void *array = p->policy->rules;
    if (!grow(&p->lx, &array, p->policy->count, &p->policy->room, sizeof *p->policy->rules))
        return false;
    p->policy->rules = array;
    struct policy_rule *rule = malloc(sizeof *rule);
    if (!rule)
        return policy_no_memory(&p->lx);
    *rule = (struct policy_rule){
        .directions = directions,
        .line = start.line,
        .column = start.column,
        .source = p->source,
        .role = ROLE_PEER,
        .remote_role = ROLE_PEER,
        .effective = ROLE_PEER,
        .sni = true,
        .plain_wait_ms = POLICY_PLAIN_WAIT_MS,
        .handshake_timeout_ms = POLICY_HANDSHAKE_TIMEOUT_MS,
        .early_limit_bytes = POLICY_EARLY_LIMIT_BYTES,
    };
    p->policy->rules[p->policy->count++] = rule;
    return parse_targets(&p->lx, rule) && parse_rest(p, rule);
}

static bool parse_default(struct parser *p)
{
    struct options options = {0};
    if (!parse_options(&p->lx, &options))
        return false;
    if (!options.given)
        return policy_expected(&p->lx, "an option after default", policy_take_word(&p->lx), NULL, NULL);
    policy_inherit(&options, &p->defaults);
    p->defaults = options;
    return true;
}

static bool parse_statement(struct parser *p)
{
    policy_skip_blanks(&p->lx);
    if (policy_at_statement_end(&p->lx))
        return true;
    struct word w = policy_take_word(&p->lx);
    if (policy_word_is(w, "connect"))
        return parse_rule(p, POLICY_CONNECT, w.place);
    if (policy_word_is(w, "accept"))
        return parse_rule(p, POLICY_ACCEPT, w.place);
    if (policy_word_is(w, "any"))
        return parse_rule(p, POLICY_CONNECT | POLICY_ACCEPT, w.place);
    if (policy_word_is(w, "default"))
        return parse_default(p);
    return policy_expected(&p->lx, "connect, accept, any or default", w, openings, NULL);
}

static bool check_text(struct lexer *lx)
{
    if (lx->len > POLICY_TEXT_MAX)
        return policy_fail(lx, lx->here, "expected at most %d bytes, found %zu", POLICY_TEXT_MAX, lx->len);
    if (!lx->len || !memchr(lx->text, '\0', lx->len))
        return true;
    struct lexer to_nul = *lx;
    while (policy_peek(&to_nul))
        policy_next(&to_nul);
    return policy_fail(lx, to_nul.here, "expected text, found the byte 0x00");
}

static void parse_text(struct parser *p)
{
    struct lexer *lx = &p->lx;
    policy_lex_begin(lx);
    if (!check_text(lx))
        return;
    while (lx->at < lx->len) {
        if (!parse_statement(p))
            return;
        policy_next(lx);
    }
}

/* Moves rules and strings of from, which is freed, behind those of to. */
static bool append(struct policy *to, struct policy *from)
{
    struct policy_string **tail = &to->strings;
    struct policy_rule **rules = reallocarray(to->rules, to->count + from->count + 1, sizeof *rules);
    if (!rules)
        return false;
    for (size_t i = 0; i < from->count; i++)
        rules[to->count + i] = from->rules[i];
    to->rules = rules;
    to->count += from->count;
    to->room = to->count + 1;
    while (*tail)
        tail = &(*tail)->next;
    *tail = from->strings;
    from->strings = NULL;
    from->count = 0;
    policy_free(from);
    return true;
}

enum result policy_parse(struct policy **out, const char *source, const char *text, size_t len,
                         struct policy_error *error)
{
    struct parser p = {.lx = {.text = text, .len = len, .error = error, .result = RESULT_OK}};
    p.policy = p.lx.policy = calloc(1, sizeof *p.policy);
    *error = (struct policy_error){.line = 1, .column = 1};
    if (!p.policy) {
        policy_no_memory(&p.lx);
        return RESULT_NOMEM;
    }
    p.source = policy_keep(&p.lx, source, strlen(source));
    if (p.source)
        parse_text(&p);
    if (p.lx.result == RESULT_OK && *out && !append(*out, p.policy))
        policy_no_memory(&p.lx);
    if (p.lx.result != RESULT_OK)
        policy_free(p.policy);
    else if (!*out)
        *out = p.policy;
    return p.lx.result;
}
