/* Sources of a policy: texts and the files that they include, put together into one list of rules. */
#include "policy_parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void free_rule(struct policy_rule *rule)
{
    free(rule->targets);
    free(rule);
}

#define FREE_LIST(list)                                                                                                \
    for (void *at = (list), *next; at; at = next) {                                                                    \
        next = *(void **)at;                                                                                           \
        free(at);                                                                                                      \
    }

void policy_free(struct policy *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->count; i++)
        free_rule(p->rules[i]);
    FREE_LIST(p->strings)
    FREE_LIST(p->from_lists)
    FREE_LIST(p->pending)
    FREE_LIST(p->identities)
    free(p->rules);
    free(p);
}

/* ---- include ------------------------------------------------------------------------------------------------- */

static bool take_path(struct parser *p, struct word *value, char *path, size_t size)
{
    struct lexer *lx = &p->lx;
    policy_skip_blanks(lx);
    if (policy_at_statement_end(lx))
        return policy_expected(lx, "the path of a file after include", policy_take_word(lx), NULL, NULL);
    if (!policy_take_value(lx, value))
        return false;
    policy_skip_blanks(lx);
    if (!policy_at_statement_end(lx))
        return policy_expected(lx, "the end of the statement after the path", policy_take_word(lx), NULL,
                               "a path with a blank in it stands in quotes");
    bool absolute = value->at[0] == '/';
    if (!absolute && !p->from->folder)
        return policy_expected(lx, "an absolute path", *value, NULL, "only in a file a path may be relative, to it");
    int n = snprintf(path, size, "%s%s%.*s", absolute ? "" : p->from->folder, absolute ? "" : "/", (int)value->len,
                     value->at);
    return n < (int)size || policy_fail(lx, value->place, "expected a path of at most %zu bytes, found more", size - 1);
}

static bool parse_included(struct parser *p, const char *path, const char *text, size_t len)
{
    char folder[POLICY_WORD_MAX + 1];
    snprintf(folder, sizeof folder, "%s", path);
    *strrchr(folder, '/') = '\0';
    const struct policy_source from = {
        .name = path, .text = text, .len = len, .folder = folder, .trusted = p->from->trusted, .host = p->from->host};
    struct parser *inner = malloc(sizeof *inner);
    if (!inner)
        return policy_no_memory(&p->lx);
    *inner = (struct parser){.lx = {.text = text, .len = len, .error = p->lx.error, .policy = p->lx.policy},
                             .from = &from,
                             .set = p->set,
                             .depth = p->depth + 1};
    inner->lx.source = policy_keep(&p->lx, path, strlen(path));
    if (inner->lx.source) {
        policy_parse_text(inner);
        p->lx.result = inner->lx.result;
    }
    free(inner);
    return p->lx.result == RESULT_OK;
}

static bool include_file(struct parser *p, struct place place, const char *path)
{
    struct lexer *lx = &p->lx;
    const struct policy_host *host = p->from->host;
    char *text = NULL, why[POLICY_WHY_MAX] = "";
    size_t len = 0;
    if (p->depth >= POLICY_INCLUDE_DEPTH)
        return policy_fail(lx, place,
                           "expected at most %d files that include one another, found more: does %s include "
                           "itself?",
                           POLICY_INCLUDE_DEPTH, path);
    if (++lx->policy->files > POLICY_FILES_MAX)
        return policy_fail(lx, place, "expected at most %d files, found more", POLICY_FILES_MAX);
    enum result result = host->read(host->ctx, path, p->from->trusted, &text, &len, why);
    if (result == RESULT_NOMEM)
        return policy_no_memory(lx);
    if (result != RESULT_OK)
        return policy_fail(lx, place, "expected a file that may be read, found that %s", why);
    bool ok = parse_included(p, path, text, len);
    free(text);
    return ok;
}

static bool include_matches(struct parser *p, struct place place, const char *pattern)
{
    const struct policy_host *host = p->from->host;
    char **paths = NULL, why[POLICY_WHY_MAX] = "";
    size_t count = 0;
    enum result result = host->match(host->ctx, pattern, &paths, &count, why);
    if (result == RESULT_NOMEM)
        return policy_no_memory(&p->lx);
    if (result != RESULT_OK)
        return policy_fail(&p->lx, place, "expected a folder that may be read, found that %s", why);
    bool ok = true;
    for (size_t i = 0; i < count; i++) {
        ok = ok && include_file(p, place, paths[i]);
        free(paths[i]);
    }
    free(paths);
    return ok;
}

bool policy_include(struct parser *p)
{
    char path[POLICY_WORD_MAX + 1];
    struct word value;
    if (!take_path(p, &value, path, sizeof path))
        return false;
    if (!p->from->host)
        return policy_fail(&p->lx, value.place, "expected no include in this text, found one");
    return strpbrk(path, "*?[") ? include_matches(p, value.place, path) : include_file(p, value.place, path);
}

/* ---- putting sources together -------------------------------------------------------------------------------- */

/* Puts what is behind *list, and then from, into *list. */
#define APPEND_LIST(type, to, from)                                                                                    \
    do {                                                                                                               \
        type **tail = &(to);                                                                                           \
        while (*tail)                                                                                                  \
            tail = &(*tail)->next;                                                                                     \
        *tail = (from);                                                                                                \
        (from) = NULL;                                                                                                 \
    } while (0)

static bool names_are_new(struct lexer *lx, const struct policy *to, const struct policy *from)
{
    for (const struct named_identity *i = from->identities; i; i = i->next) {
        const struct named_identity *known = policy_find_identity(to, i->options.values.own.name);
        if (!known)
            continue;
        lx->source = i->source;
        return policy_fail(lx, i->place, "expected another name, found %s again: it is defined in %s:%u",
                           i->options.values.own.name, known->source, known->place.line);
    }
    return true;
}

/* Moves everything of from, which is freed, behind what to has. */
static bool append(struct lexer *lx, struct policy *to, struct policy *from)
{
    if (!names_are_new(lx, to, from))
        return false;
    struct policy_rule **rules = reallocarray(to->rules, to->count + from->count + 1, sizeof *rules);
    if (!rules)
        return policy_no_memory(lx);
    for (size_t i = 0; i < from->count; i++)
        rules[to->count + i] = from->rules[i];
    to->rules = rules;
    to->count += from->count;
    to->room = to->count + 1;
    to->files += from->files;
    from->count = 0;
    APPEND_LIST(struct policy_string, to->strings, from->strings);
    APPEND_LIST(struct from_list, to->from_lists, from->from_lists);
    APPEND_LIST(struct pending, to->pending, from->pending);
    APPEND_LIST(struct named_identity, to->identities, from->identities);
    policy_free(from);
    return true;
}

enum result policy_add(struct policy **out, const struct policy_source *source, struct policy_error *error)
{
    struct policy *policy = calloc(1, sizeof *policy);
    struct parser *p = calloc(1, sizeof *p);
    *error = (struct policy_error){.line = 1, .column = 1};
    enum result result = RESULT_NOMEM;
    if (policy && p) {
        p->lx = (struct lexer){.text = source->text, .len = source->len, .error = error, .policy = policy};
        p->from = source;
        policy_lex_begin(&p->lx);
        p->lx.source = policy_keep(&p->lx, source->name, strlen(source->name));
        policy->files = 1;
        policy->known = source->known;
        if (p->lx.source)
            policy_parse_text(p);
        if (p->lx.result == RESULT_OK && *out)
            (void)append(&p->lx, *out, policy);
        else if (p->lx.result == RESULT_OK)
            *out = policy;
        result = p->lx.result;
    }
    if (result == RESULT_OK)
        (*out)->finished = false;
    else
        policy_free(policy);
    free(p);
    return result;
}

/* ---- the end ------------------------------------------------------------------------------------------------- */

static bool unknown_identity(struct lexer *lx, const struct pending *waiting, struct place place)
{
    enum { SHOWN = 32 };
    const char *names[SHOWN + 1] = {0}, *name = waiting->options.values.own.name;
    size_t n = 0;
    for (const struct named_identity *i = lx->policy->identities; i && n < SHOWN; i = i->next)
        names[n++] = i->options.values.own.name;
    return policy_expected(lx, "the name of an identity statement", (struct word){name, strlen(name), place, 0}, names,
                           n ? NULL : "there is none: add identity NAME cert=... key=...");
}

static bool settle_pending(struct lexer *lx, struct pending *waiting)
{
    const struct named_identity *identity = policy_find_identity(lx->policy, waiting->options.values.own.name);
    lx->source = waiting->rule->source;
    if (!identity)
        return unknown_identity(lx, waiting, policy_place_of(&waiting->options, OPTION_ID, waiting->rule));
    return policy_use_identity(lx, &waiting->options, identity) &&
           policy_apply_options(lx, &waiting->options, waiting->rule);
}

/* Final rules of /etc/p2ptls, what users say, and the rest of /etc/p2ptls; each as it was written. */
static unsigned rank(const struct policy_rule *rule)
{
    return rule->final ? 0 : rule->trusted ? 2 : 1;
}

static bool put_in_order(struct policy *p)
{
    size_t n = 0;
    struct policy_rule **sorted = calloc(p->count + 1, sizeof(struct policy_rule *));
    if (!sorted)
        return false;
    for (unsigned r = 0; r <= 2; r++)
        for (size_t i = 0; i < p->count; i++)
            if (!p->rules[i]->for_others && rank(p->rules[i]) == r)
                sorted[n++] = p->rules[i];
    for (size_t i = 0; i < p->count; i++)
        if (p->rules[i]->for_others) {
            free_rule(p->rules[i]);
            p->for_others++;
        }
    free(p->rules);
    p->rules = sorted;
    p->room = p->count + 1;
    p->count = n;
    return true;
}

/* What was found last stands first in the list: the first error of the text is reported. */
static struct pending *reversed(struct pending *list)
{
    struct pending *result = NULL;
    while (list) {
        struct pending *next = list->next;
        list->next = result;
        result = list;
        list = next;
    }
    return result;
}

enum result policy_finish(struct policy *p, struct policy_error *error)
{
    struct lexer lx = {.text = "", .error = error, .policy = p, .result = RESULT_OK};
    *error = (struct policy_error){.line = 1, .column = 1};
    p->pending = reversed(p->pending);
    for (struct pending *waiting = p->pending; waiting; waiting = waiting->next)
        if (!settle_pending(&lx, waiting))
            return lx.result;
    FREE_LIST(p->pending)
    p->pending = NULL;
    if (!put_in_order(p))
        policy_no_memory(&lx);
    p->finished = lx.result == RESULT_OK;
    return lx.result;
}

enum result policy_parse(struct policy **out, const char *source, const char *text, size_t len,
                         struct policy_error *error)
{
    const struct policy_source from = {.name = source, .text = text, .len = len};
    struct policy *p = NULL;
    enum result result = policy_add(&p, &from, error);
    if (result == RESULT_OK)
        result = policy_finish(p, error);
    if (result != RESULT_OK) {
        policy_free(p);
        p = NULL;
    }
    *out = p;
    return result;
}
