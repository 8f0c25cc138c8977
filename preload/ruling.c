/* Which rule of the policy concerns a socket. */
#include "names.h"
#include "state.h"

static const struct policy_rule *match(enum policy_direction direction, const struct sockaddr *address, socklen_t len)
{
    const char *names[NAMES_MAX];
    struct policy_query query = {.direction = direction, .address = address, .len = len, .names = names};
    if (direction == POLICY_CONNECT)
        query.name_count = names_of(address, len, names);
    return policy_match(policy, &query);
}

const struct policy_rule *rule_for(enum policy_direction direction, const struct sockaddr *address, socklen_t len)
{
    const struct policy_rule *rule = match(direction, address, len);
    return rule && rule->observe ? NULL : rule;
}

static const char *would_be(enum policy_action action)
{
    switch (action) {
    case POLICY_DENY:
        return "denied";
    case POLICY_PLAIN:
        return "left in clear, as it is,";
    case POLICY_PROTECT:
        break;
    }
    return "protected";
}

const struct policy_rule *rule_deciding(enum policy_direction direction, const struct sockaddr *address, socklen_t len,
                                        const struct sockaddr *peer)
{
    const struct policy_rule *rule = match(direction, address, len);
    char text[CONN_PEER_TEXT];
    if (!rule || !rule->observe)
        return rule;
    text_of_address(peer, text);
    log_event(LOG_LEVEL_WARN, "observed: %s %s would be %s by %s:%u; nothing was changed",
              direction == POLICY_CONNECT ? "the connection to" : "the connection from", text, would_be(rule->action),
              rule->source, rule->line);
    return NULL;
}
