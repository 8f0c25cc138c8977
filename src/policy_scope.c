/* Options that narrow a rule: for whom it holds (for=), from where connections may come (from=), and whether it only
 * looks on (mode=). */
#include "policy_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t count_items(struct word w)
{
    size_t n = 0;
    struct word item;
    while (policy_next_item(&w, &item))
        n++;
    return n;
}

bool policy_parse_from(struct lexer *lx, struct word w, struct options *o)
{
    size_t count = count_items(w), i = 0;
    struct from_list *list = calloc(1, sizeof *list + count * sizeof list->targets[0]);
    struct word item;
    if (!list)
        return policy_no_memory(lx);
    list->next = lx->policy->from_lists;
    lx->policy->from_lists = list;
    while (policy_next_item(&w, &item))
        if (!policy_parse_range(lx, item, &list->targets[i++]))
            return false;
    o->values.from = list->targets;
    o->values.from_count = count;
    return true;
}

bool policy_parse_for(struct lexer *lx, struct word w, struct options *o)
{
    struct word rest = w, item;
    while (policy_next_item(&rest, &item))
        if (!item.len || item.at[item.len - 1] == '/' || (item.at[0] != '/' && memchr(item.at, '/', item.len)))
            return policy_expected(lx, "the name of a program's file, or its absolute path", item, NULL,
                                   "as in for=redis-server or for=/usr/bin/redis-server");
    o->programs = policy_keep(lx, w.at, w.len);
    return o->programs;
}

bool policy_parse_mode(struct lexer *lx, struct word w, struct options *o)
{
    static const struct named_value modes[] = {{"enforce", false}, {"observe", true}, {0}};
    int value = 0;
    bool ok = policy_named(lx, w, modes, "observe or enforce", &value);
    o->values.observe = value;
    return ok;
}

bool policy_is_for(const struct options *o, const struct policy_host *host)
{
    if (!o->programs)
        return true;
    char name[POLICY_WORD_MAX + 1];
    struct word rest = {o->programs, strlen(o->programs), {0}, 0}, item;
    while (host && policy_next_item(&rest, &item)) {
        snprintf(name, sizeof name, "%.*s", (int)item.len, item.at);
        if (host->is_program(host->ctx, name))
            return true;
    }
    return false;
}
