/* Which rule of the policy concerns a socket. */
#include "state.h"

const struct policy_rule *rule_for(enum policy_direction direction, const struct sockaddr *address, socklen_t len)
{
    const struct policy_query query = {.direction = direction, .address = address, .len = len};
    return policy_match(policy, &query);
}
