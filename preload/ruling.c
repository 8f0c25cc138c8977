/* Which rule of the policy concerns a socket. */
#define LOG_CATEGORY LOG_CATEGORY_REFUSAL

#include "names.h"
#include "state.h"

#include "sys.h"

#include <netinet/in.h>
#include <stddef.h>
#include <string.h>

/* What a look-up that was lost may have been of: no rule can be found, and none may be passed. */
static const struct policy_rule unknown_name = {.action = POLICY_DENY, .source = "(names)"};

/* The stricter of two rules is the one of greater rank. */
static int rank(const struct policy_rule *r)
{
    if (!r || r->observe || r->action == POLICY_PLAIN)
        return 0;
    return r->action == POLICY_DENY ? 3 : r->auth == AUTH_REQUIRE ? 2 : 1;
}

static bool protects(const struct policy_rule *r)
{
    return rank(r) == 1 || rank(r) == 2;
}

struct choice {
    struct policy_query query;
    const struct policy_rule *best;
    unsigned protecting; /* how many rules that protect were met, one after the other */
};

static void consider(const char *name, void *arg)
{
    struct choice *c = arg;
    c->query.name = name;
    const struct policy_rule *r = policy_match(policy, &c->query);
    c->protecting += r != c->best && protects(r);
    if (rank(r) > rank(c->best))
        c->best = r;
}

/* By the name that the connection will be checked against. But it is the program's look-ups, so whoever answers them,
 * that give an address its names: one name more makes no connection less strict than it is by another one. */
static struct choice choose(const struct sockaddr *address, socklen_t len)
{
    struct choice c = {.query = {.direction = POLICY_CONNECT, .address = address, .len = len}};
    const char *name = NULL;
    bool by_name = policy_has_names(policy), known = by_name && names_dialled(address, len, &name) == NAMES_KNOWN;
    c.query.name = known ? name : NULL;
    c.best = policy_match(policy, &c.query);
    c.protecting = protects(c.best);
    if (!by_name)
        return c;
    names_each(address, len, consider, &c);
    c.query = (struct policy_query){.direction = POLICY_CONNECT, .address = address, .len = len, .any_name = true};
    if (!known && names_lost() && rank(policy_match(policy, &c.query)) > rank(c.best))
        c.best = &unknown_name;
    return c;
}

bool rule_is_ambiguous(const struct sockaddr *address, socklen_t len)
{
    return choose(address, len).protecting > 1;
}

static const struct policy_rule *match(enum policy_direction direction, const struct sockaddr *address, socklen_t len)
{
    const struct policy_query query = {.direction = direction, .address = address, .len = len};
    return direction == POLICY_CONNECT ? choose(address, len).best : policy_match(policy, &query);
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

void rule_fields(const struct policy_rule *rule, enum policy_direction direction, const char *peer,
                 char room[RULE_TEXT], struct log_field fields[RULE_FIELDS])
{
    snprintf(room, RULE_TEXT, "%.240s:%u", rule->source, rule->line);
    fields[0] = (struct log_field){"direction", direction == POLICY_CONNECT ? "out" : "in"};
    fields[1] = (struct log_field){"peer", peer};
    fields[2] = (struct log_field){"rule", room};
}

const struct policy_rule *rule_deciding(enum policy_direction direction, const struct sockaddr *address, socklen_t len,
                                        const struct sockaddr *peer)
{
    const struct policy_rule *rule = match(direction, address, len);
    char text[CONN_PEER_TEXT], room[RULE_TEXT];
    struct log_field fields[RULE_FIELDS];
    if (!rule || !rule->observe)
        return rule;
    text_of_address(peer, text);
    rule_fields(rule, direction, text, room, fields);
    log_write(LOG_LEVEL_WARN, LOG_CATEGORY_PLAIN, fields, RULE_FIELDS,
              "observed: %s %s would be %s by %s:%u; nothing was changed",
              direction == POLICY_CONNECT ? "the connection to" : "the connection from", text, would_be(rule->action),
              rule->source, rule->line);
    return NULL;
}

static void tell_denied(const char *what, const char *peer, const struct policy_rule *rule)
{
    char room[RULE_TEXT];
    struct log_field fields[RULE_FIELDS];
    rule_fields(rule, strstr(what, " to") ? POLICY_CONNECT : POLICY_ACCEPT, peer, room, fields);
    log_write(LOG_LEVEL_ERROR, LOG_CATEGORY_REFUSAL, fields, RULE_FIELDS,
              "%s %s denied by %s:%u: change that rule, or put one before it that allows it", what, peer, rule->source,
              rule->line);
}

void rule_tell_denied(const char *what, const struct sockaddr *address, const struct policy_rule *rule)
{
    char text[CONN_PEER_TEXT];
    text_of_address(address, text);
    if (rule == &unknown_name)
        log_event(LOG_LEVEL_ERROR,
                  "%s %s refused: this program has looked up more names than can be remembered, so the name of that "
                  "address is not known, and a rule for a name could concern it: write rules for addresses",
                  what, text);
    else
        tell_denied(what, text, rule);
}

/* ---- where a dialled address leads ------------------------------------------------------------------------------- */

static bool is_v4_wildcard(const struct sockaddr *to, socklen_t len)
{
    const struct sockaddr_in6 *v6 = (const void *)to;
    const struct in_addr *last = (const void *)&v6->sin6_addr.s6_addr[12];
    if (len >= sizeof(struct sockaddr_in) && to->sa_family == AF_INET)
        return ((const struct sockaddr_in *)to)->sin_addr.s_addr == INADDR_ANY;
    return len >= offsetof(struct sockaddr_in6, sin6_scope_id) && to->sa_family == AF_INET6 &&
           IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr) && last->s_addr == INADDR_ANY;
}

static bool is_v6_wildcard(const struct sockaddr *to, socklen_t len)
{
    return len >= offsetof(struct sockaddr_in6, sin6_scope_id) && to->sa_family == AF_INET6 &&
           IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)to)->sin6_addr);
}

static in_addr_t v4_of(const struct sockaddr_storage *a)
{
    in_addr_t out = INADDR_ANY;
    if (a->ss_family == AF_INET)
        out = ((const struct sockaddr_in *)a)->sin_addr.s_addr;
    else if (a->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&((const struct sockaddr_in6 *)a)->sin6_addr))
        memcpy(&out, &((const struct sockaddr_in6 *)a)->sin6_addr.s6_addr[12], sizeof out);
    return out;
}

static bool is_v4_socket(const struct sockaddr_storage *local)
{
    return local->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&((const struct sockaddr_in6 *)local)->sin6_addr);
}

static in_port_t port_of(const struct sockaddr *to)
{
    return to->sa_family == AF_INET ? ((const struct sockaddr_in *)to)->sin_port
                                    : ((const struct sockaddr_in6 *)to)->sin6_port;
}

/* ip_route_output_key_hash_rcu of the kernel: to the socket's own address, else that of its device, else 127.0.0.1. */
static bool lead_v4(int fd, const struct sockaddr_storage *local, struct sockaddr_in *out)
{
    char device[16] = "";
    socklen_t len = sizeof device;
    out->sin_addr.s_addr = v4_of(local);
    if (out->sin_addr.s_addr != INADDR_ANY)
        return true;
    out->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return sys5(SYS_getsockopt, (long)fd, SOL_SOCKET, SO_BINDTODEVICE, device, &len) == 0 && !device[0];
}

bool rule_destination(int fd, const struct sockaddr **to, socklen_t *len, struct sockaddr_storage *room)
{
    bool v4 = is_v4_wildcard(*to, *len), v6 = is_v6_wildcard(*to, *len);
    struct sockaddr_storage local = {0};
    socklen_t local_len = sizeof local;
    if (!v4 && !v6)
        return true;
    struct sockaddr_in out = {.sin_family = AF_INET, .sin_port = port_of(*to)};
    bool told = sys3(SYS_getsockname, (long)fd, &local, &local_len) == 0;
    if (v4)
        told = told && lead_v4(fd, &local, &out);
    else if (is_v4_socket(&local)) /* tcp_v6_connect: to ::ffff:127.0.0.1 */
        out.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else
        return told; /* to ::1, as the policy has it */
    memcpy(room, &out, sizeof out);
    *to = (const struct sockaddr *)room;
    *len = sizeof out;
    return told;
}
