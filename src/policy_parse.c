/* Statements of the policy language (docs/POLICY.md): a recursive-descent parser over policy_lex's cursor. */
#include "policy_parse.h"

#include <stdlib.h>
#include <string.h>

static const char *const openings[] = {"connect", "accept", "any", "set", "identity", "include", NULL};

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

static bool check_target(struct lexer *lx, const struct policy_rule *rule, struct place place)
{
    if (rule->targets[rule->target_count].family != FAMILY_NAME || (rule->directions & POLICY_CONNECT))
        return true;
    return policy_fail(
        lx, place, "expected an address after accept, found a name; a name is known only where the program connects");
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
        struct place place = lx->here;
        if (!policy_parse_target(lx, &rule->targets[rule->target_count]) || !check_target(lx, rule, place))
            return false;
        rule->target_count++;
        policy_skip_blanks(lx);
        if (policy_peek(lx) != ',')
            return true;
        policy_next(lx);
    }
}

/* A name concerns the connecting side only: with nothing else, "any" is "connect". */
static unsigned usable_directions(const struct policy_rule *rule)
{
    for (size_t i = 0; i < rule->target_count; i++)
        if (rule->targets[i].family != FAMILY_NAME)
            return rule->directions;
    return rule->directions & POLICY_CONNECT;
}

/* True if the statement goes on with that word; else the cursor stays. */
static bool take_if(struct lexer *lx, const char *text, struct place *place)
{
    struct lexer before = *lx;
    policy_skip_blanks(lx);
    struct word w = policy_take_word(lx);
    if (policy_word_is(w, text)) {
        *place = w.place;
        return true;
    }
    *lx = before;
    return false;
}

static enum scope take_action(struct lexer *lx, enum policy_action *action)
{
    struct place place;
    *action = POLICY_PROTECT;
    if (take_if(lx, "plain", &place)) {
        *action = POLICY_PLAIN;
        return SCOPE_PLAIN;
    }
    if (take_if(lx, "deny", &place)) {
        *action = POLICY_DENY;
        return SCOPE_DENY;
    }
    (void)take_if(lx, "tls", &place);
    return SCOPE_RULE;
}

static bool take_final(struct parser *p, struct policy_rule *rule)
{
    struct place place;
    if (!take_if(&p->lx, "final", &place))
        return true;
    if (rule->action == POLICY_PLAIN)
        return policy_fail(&p->lx, place,
                           "expected final after tls or deny, found it after plain; only protection can "
                           "be made sure of");
    if (!p->from->trusted)
        return policy_fail(&p->lx, place, "expected final in the files of /etc/p2ptls only, found it elsewhere");
    rule->final = true;
    return true;
}

static bool parse_options(struct lexer *lx, struct options *options, enum scope scope)
{
    for (policy_skip_blanks(lx); !policy_at_statement_end(lx); policy_skip_blanks(lx))
        if (!policy_parse_option(lx, options, scope))
            return false;
    return policy_check_conflicts(lx, options);
}

static bool await_identity(struct lexer *lx, const struct options *options, struct policy_rule *rule)
{
    struct pending *pending = malloc(sizeof *pending);
    if (!pending)
        return policy_no_memory(lx);
    *pending = (struct pending){lx->policy->pending, rule, *options};
    lx->policy->pending = pending;
    return true;
}

static bool parse_rest(struct parser *p, struct policy_rule *rule)
{
    struct options options = {0};
    enum scope scope = take_action(&p->lx, &rule->action);
    if (!take_final(p, rule) || !parse_options(&p->lx, &options, scope))
        return false;
    rule->directions = usable_directions(rule);
    policy_inherit(&options, &p->set, scope);
    bool concerns_us = policy_is_for(&options, p->from->host);
    rule->for_others = !concerns_us;
    rule->programs = options.programs;
    if (!(options.given & BIT(OPTION_ID)))
        return policy_apply_options(&p->lx, &options, rule);
    const struct named_identity *identity = policy_find_identity(p->lx.policy, options.values.own.name);
    if (!identity)
        return await_identity(&p->lx, &options, rule);
    return policy_use_identity(&p->lx, &options, identity) && policy_apply_options(&p->lx, &options, rule);
}

static bool parse_rule(struct parser *p, unsigned directions, struct place start)
{
    struct policy *policy = p->lx.policy;
    void *array = policy->rules;
    if (!grow(&p->lx, &array, policy->count, &policy->room, sizeof *policy->rules))
        return false;
    policy->rules = array;
    struct policy_rule *rule = malloc(sizeof *rule);
    if (!rule)
        return policy_no_memory(&p->lx);
    *rule = (struct policy_rule){
        .directions = directions,
        .line = start.line,
        .column = start.column,
        .source = p->lx.source,
        .trusted = p->from->trusted,
        .role = ROLE_PEER,
        .remote_role = ROLE_PEER,
        .effective = ROLE_PEER,
        .sni = true,
        .resume = true,
        .plain_wait_ms = POLICY_PLAIN_WAIT_MS,
        .handshake_timeout_ms = POLICY_HANDSHAKE_TIMEOUT_MS,
        .early_limit_bytes = POLICY_EARLY_LIMIT_BYTES,
    };
    policy->rules[policy->count++] = rule;
    return parse_targets(&p->lx, rule) && parse_rest(p, rule);
}

static bool parse_set(struct parser *p)
{
    struct options options = {0};
    if (!parse_options(&p->lx, &options, SCOPE_SET))
        return false;
    if (!options.given)
        return policy_expected(&p->lx, "an option after set", policy_take_word(&p->lx), NULL, NULL);
    policy_inherit(&options, &p->set, SCOPE_SET);
    p->set = options;
    return true;
}

static bool keep_identity(struct lexer *lx, const struct options *options, struct place place)
{
    const struct named_identity *known = policy_find_identity(lx->policy, options->values.own.name);
    if (known)
        return policy_fail(lx, place, "expected another name, found %s again: it is defined in %s:%u",
                           options->values.own.name, known->source, known->place.line);
    struct named_identity *identity = malloc(sizeof *identity);
    if (!identity)
        return policy_no_memory(lx);
    *identity = (struct named_identity){lx->policy->identities, place, lx->source, *options};
    lx->policy->identities = identity;
    return true;
}

static bool parse_identity(struct parser *p, struct place start)
{
    struct lexer *lx = &p->lx;
    struct options options = {0};
    const struct policy_rule here = {.line = start.line, .column = start.column};
    policy_skip_blanks(lx);
    struct word name = policy_take_word(lx);
    if (!policy_take_identity_name(lx, name, &options.values.own.name) || !parse_options(lx, &options, SCOPE_IDENTITY))
        return false;
    if (!options.given)
        return policy_expected(lx, "cert=, key= or psk= after the name of an identity", policy_take_word(lx), NULL,
                               NULL);
    return policy_check_own(lx, &options, &here) && keep_identity(lx, &options, name.place);
}

static const char *opening_hint(struct word w)
{
    if (policy_word_is(w, "default"))
        return "it is now called set";
    if (memchr(w.at, '=', w.len))
        return "a value with ';' in it stands in quotes, an option behind its rule";
    return NULL;
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
    if (policy_word_is(w, "set"))
        return parse_set(p);
    if (policy_word_is(w, "identity"))
        return parse_identity(p, w.place);
    if (policy_word_is(w, "include"))
        return policy_include(p);
    return policy_expected(&p->lx, "connect, accept, any, set, identity or include", w, openings, opening_hint(w));
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

void policy_parse_text(struct parser *p)
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
