/* The policy at run time: which rule is the first to match an address. Reads only: no lock, no allocation, no call
 * that could touch errno, so it may run in signal handlers and between fork and exec. */
#include "pattern.h"
#include "policy_internal.h"

#include <string.h>

bool policy_is_empty(const struct policy *p)
{
    return !p || (!p->count && !p->for_others);
}

size_t policy_count_for_others(const struct policy *p)
{
    return p ? p->for_others : 0;
}

size_t policy_count(const struct policy *p)
{
    return p ? p->count : 0;
}

const struct policy_rule *policy_rule_at(const struct policy *p, size_t i)
{
    return i < policy_count(p) ? p->rules[i] : NULL;
}

static bool is_zero(const struct policy_target *address)
{
    static const uint8_t zeros[16];
    return !memcmp(address->address, zeros, sizeof zeros);
}

/* To connect to the wildcard address is to connect to the own host; without this a program could get around a rule
 * for loopback by dialling 0.0.0.0 (ip(7) says nothing of it; ip_route_output_key_hash_rcu, tcp_v6_connect do it). */
static void wildcard_to_loopback(struct policy_target *address)
{
    if (!is_zero(address))
        return;
    if (address->family == FAMILY_V4)
        address->address[0] = 127;
    address->address[address->family == FAMILY_V4 ? 3 : 15] = 1;
}

static bool has_name(const struct policy_query *query, const char *pattern)
{
    return query->any_name || (query->name && pattern_dns_any_depth(pattern, query->name));
}

static bool target_matches(const struct policy_target *t, const struct policy_target *address,
                           const struct policy_query *query)
{
    if (address->port_low < t->port_low || address->port_low > t->port_high)
        return false;
    switch (t->family) {
    case FAMILY_ANY:
        return true;
    case FAMILY_NAME:
        return query->direction == POLICY_CONNECT && has_name(query, t->name);
    case FAMILY_V4:
    case FAMILY_V6:
        return t->family == address->family && policy_same_bits(t->address, address->address, t->prefix);
    }
    return false;
}

static bool rule_matches(const struct policy_rule *r, const struct policy_target *address,
                         const struct policy_query *query)
{
    for (size_t i = 0; i < r->target_count; i++)
        if (target_matches(&r->targets[i], address, query))
            return true;
    return false;
}

const struct policy_rule *policy_match(const struct policy *p, const struct policy_query *query)
{
    struct policy_target a;
    if (!p || !p->finished || !policy_address_from(query->address, query->len, &a))
        return NULL;
    if (query->direction == POLICY_CONNECT)
        wildcard_to_loopback(&a);
    for (size_t i = 0; i < p->count; i++)
        if ((p->rules[i]->directions & (unsigned)query->direction) && rule_matches(p->rules[i], &a, query))
            return p->rules[i];
    return NULL;
}

bool policy_has_names(const struct policy *p)
{
    for (size_t i = 0; i < policy_count(p); i++)
        for (size_t k = 0; k < p->rules[i]->target_count; k++)
            if (p->rules[i]->targets[k].family == FAMILY_NAME)
                return true;
    return false;
}

bool policy_from_allows(const struct policy_rule *rule, const struct sockaddr *remote, socklen_t len)
{
    static const struct policy_query nameless = {.direction = POLICY_ACCEPT};
    struct policy_target a;
    if (!rule->from_count)
        return true;
    if (!policy_address_from(remote, len, &a))
        return false;
    for (size_t i = 0; i < rule->from_count; i++)
        if (target_matches(&rule->from[i], &a, &nameless))
            return true;
    return false;
}

/* A local address of which only a part is known stands for a set: of ports if the port is 0, of addresses if it is a
 * wildcard. "::" stands for IPv4 too: a dual-stack socket gets v4-mapped peers. */
enum cover { COVER_NONE = 0, COVER_SOME, COVER_ALL };

static bool all_ports(const struct policy_target *t)
{
    return t->port_low <= 1 && t->port_high == 65535; /* no connection has port 0 */
}

static enum cover cover_ports(const struct policy_target *t, const struct policy_target *set)
{
    if (!set->port_low)
        return all_ports(t) ? COVER_ALL : COVER_SOME;
    return set->port_low >= t->port_low && set->port_low <= t->port_high ? COVER_ALL : COVER_NONE;
}

static enum cover cover_addresses(const struct policy_target *t, const struct policy_target *set)
{
    if (t->family == FAMILY_ANY)
        return COVER_ALL;
    if (t->family == FAMILY_NAME) /* any address may have that name; the accepting side has none (rule_directions) */
        return COVER_SOME;
    if (is_zero(set)) {
        if (set->family == FAMILY_V6)
            return COVER_SOME;
        return t->family != FAMILY_V4 ? COVER_NONE : t->prefix ? COVER_SOME : COVER_ALL;
    }
    return t->family == set->family && policy_same_bits(t->address, set->address, t->prefix) ? COVER_ALL : COVER_NONE;
}

static enum cover cover_rule(const struct policy_rule *r, const struct policy_target *set)
{
    enum cover best = COVER_NONE;
    for (size_t i = 0; i < r->target_count; i++) {
        enum cover ports = cover_ports(&r->targets[i], set), addresses = cover_addresses(&r->targets[i], set);
        enum cover both = ports < addresses ? ports : addresses;
        best = both > best ? both : best;
    }
    return best;
}

bool policy_could_match(const struct policy *p, enum policy_direction direction, const struct sockaddr *address,
                        socklen_t len)
{
    struct policy_target set;
    if (!p || !p->finished || !policy_address_from(address, len, &set))
        return false;
    for (size_t i = 0; i < p->count; i++) {
        const struct policy_rule *r = p->rules[i];
        enum cover covered = r->directions & (unsigned)direction ? cover_rule(r, &set) : COVER_NONE;
        if (covered != COVER_NONE && r->action != POLICY_PLAIN)
            return true;
        if (covered == COVER_ALL) /* the rest is shadowed by a rule that says plain */
            return false;
    }
    return false;
}

static bool covers_everything(const struct policy_rule *r)
{
    for (size_t i = 0; i < r->target_count; i++)
        if (r->targets[i].family == FAMILY_ANY && all_ports(&r->targets[i]))
            return true;
    return false;
}

bool policy_has(const struct policy *p, enum policy_direction direction)
{
    for (size_t i = 0; i < policy_count(p); i++) {
        const struct policy_rule *r = p->rules[i];
        if (!(r->directions & (unsigned)direction))
            continue;
        if (r->action != POLICY_PLAIN)
            return true;
        if (covers_everything(r))
            return false;
    }
    return false;
}
