/* Rules that can never be the first to match, since one in front of them takes all that they could. */
#include "policy_view.h"

#include "pattern.h"
#include "policy_internal.h"

#include <string.h>

/* Does pattern a fit every name that b stands for? */
static bool covers_name(const char *a, const char *b)
{
    return strcmp(a, b) == 0 || (a[0] == '*' && pattern_dns_any_depth(a, b[0] == '*' ? b + 2 : b));
}

static bool covers(const struct policy_target *a, const struct policy_target *b)
{
    /* No connection has port 0. */
    const unsigned b_low = b->port_low ? b->port_low : 1;

    if (a->port_low > b_low || a->port_high < b->port_high)
        return false;
    if (a->family == FAMILY_ANY)
        return true;
    if (a->family != b->family)
        return false;
    if (a->family == FAMILY_NAME)
        return covers_name(a->name, b->name);
    return a->prefix <= b->prefix && policy_same_bits(a->address, b->address, a->prefix);
}

static bool covers_all(const struct policy_rule *a, const struct policy_rule *b)
{
    for (size_t i = 0; i < b->target_count; i++) {
        bool covered = false;
        for (size_t k = 0; k < a->target_count && !covered; k++)
            covered = covers(&a->targets[k], &b->targets[i]);
        if (!covered)
            return false;
    }
    return true;
}

/* for= of a must hold wherever that of b does. */
static bool same_programs(const struct policy_rule *a, const struct policy_rule *b)
{
    return !a->programs || (b->programs && strcmp(a->programs, b->programs) == 0);
}

const struct policy_rule *policy_shadow_of(const struct policy *policy, size_t i)
{
    const struct policy_rule *b = policy_rule_at(policy, i);

    for (size_t k = 0; k < i; k++) {
        const struct policy_rule *a = policy_rule_at(policy, k);
        if ((a->directions & b->directions) == b->directions && same_programs(a, b) && covers_all(a, b))
            return a;
    }
    return NULL;
}
