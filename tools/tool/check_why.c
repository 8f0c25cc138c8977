#include "check_why.h"

#include "pattern.h"
#include "policy_internal.h"

#include <stdio.h>

static enum miss judge(const struct policy_target *t, const struct policy_target *address,
                       const struct policy_query *query)
{
    if (address->port_low < t->port_low || address->port_low > t->port_high)
        return MISS_PORT;
    switch (t->family) {
    case FAMILY_ANY:
        return MISS_NONE;
    case FAMILY_NAME:
        return query->name && pattern_dns_any_depth(t->name, query->name) ? MISS_NONE : MISS_NAME;
    case FAMILY_V4:
    case FAMILY_V6:
        return t->family == address->family && policy_same_bits(t->address, address->address, t->prefix) ? MISS_NONE
                                                                                                         : MISS_ADDRESS;
    }
    return MISS_ADDRESS;
}

enum miss check_why(const struct policy_rule *rule, const struct policy_query *query, char why[WHY_MAX])
{
    static const char *const words[] = {[MISS_NONE] = "direction, address or name, and port are its own",
                                        [MISS_DIRECTION] = "it is for the other direction",
                                        [MISS_PORT] = "the port is another",
                                        [MISS_ADDRESS] = "the address is none of its own",
                                        [MISS_NAME] = "the name is none of its own"};
    enum miss nearest = MISS_DIRECTION;
    struct policy_target address;

    if ((rule->directions & (unsigned)query->direction) && policy_address_from(query->address, query->len, &address)) {
        nearest = MISS_PORT;
        for (size_t i = 0; i < rule->target_count && nearest != MISS_NONE; i++) {
            const enum miss miss = judge(&rule->targets[i], &address, query);
            if (miss == MISS_NONE || miss > nearest)
                nearest = miss;
        }
    }
    const bool nameless = nearest == MISS_NAME && !query->name;
    snprintf(why, WHY_MAX, "%s", nameless ? "it is for a name, and an address is dialled" : words[nearest]);
    return nearest;
}
