/* p2ptls check: does the policy parse, which rule would a connection hit, and why. */
#include "check_why.h"
#include "options.h"
#include "policy_view.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

struct question {
    enum policy_direction direction;
    char host[NI_MAXHOST];
    char port[8];
    bool named;       /* host is a name, that a program would look up */
    const char *from; /* --from: who connects, for accept */
    bool all;         /* -v: every rule in front is told, too */
};

/* HOST:PORT, [IPV6]:PORT */
static bool parse_endpoint(const char *text, struct question *q)
{
    const char *colon = strrchr(text, ':');
    const bool bracketed = text[0] == '[';
    unsigned char bytes[16];
    unsigned long port;

    if (!colon || colon == text || (bracketed && colon[-1] != ']') ||
        snprintf(q->host, sizeof q->host, "%.*s", (int)(colon - text) - (bracketed ? 2 : 0), text + bracketed) >=
            (int)sizeof q->host) {
        (void)usage_error("expected HOST:PORT or [IPV6]:PORT, found '%s'", text);
        return false;
    }
    if (bracketed ? inet_pton(AF_INET6, q->host, bytes) != 1 : strchr(q->host, ':') != NULL) {
        (void)usage_error("an IPv6 address goes into brackets, as in [::1]:443, found '%s'", text);
        return false;
    }
    q->named = !bracketed && inet_pton(AF_INET, q->host, bytes) != 1;
    if (!parse_number("the port of HOST:PORT", colon + 1, 1, 65535, &port))
        return false;
    snprintf(q->port, sizeof q->port, "%lu", port);
    return true;
}

/* ---- one address ---------------------------------------------------------------------------------------------- */

static void say_rule(const struct policy_rule *rule)
{
    print_clean(stdout, rule->source);
    printf(":%u:%u: ", rule->line, rule->column);
    policy_print_rule(stdout, rule);
    putchar('\n');
}

/* Those in front of the rule that decides; without -v those that come near. */
static void say_passed(const struct policy_view *view, const struct policy_query *query, const struct policy_rule *hit,
                       bool all)
{
    char why[WHY_MAX];

    for (size_t i = 0; i < policy_count(view->policy); i++) {
        const struct policy_rule *rule = policy_rule_at(view->policy, i);
        if (rule == hit)
            return;
        const enum miss miss = check_why(rule, query, why);
        if (!all && miss != MISS_ADDRESS && miss != MISS_NAME)
            continue;
        set_colour(stdout, COLOUR_DIM);
        printf("  passed over, as %s: ", why);
        say_rule(rule);
        set_colour(stdout, COLOUR_NONE);
    }
}

static void say_verdict(enum colour colour, const char *text)
{
    fputs("  ", stdout);
    set_colour(stdout, colour);
    fputs(text, stdout);
    set_colour(stdout, COLOUR_NONE);
    putchar('\n');
}

/* Could the connection be in clear? */
static bool in_clear(const struct policy_rule *hit)
{
    return !hit || hit->action == POLICY_PLAIN || hit->observe || hit->accept_plain;
}

static void say_hit(const struct policy_rule *hit, bool refused_peer)
{
    if (!hit)
        say_verdict(COLOUR_WARN, "in clear: no rule matches, and the socket is left alone");
    else if (hit->observe)
        say_verdict(COLOUR_WARN, "in clear: the rule only observes");
    else if (refused_peer)
        say_verdict(COLOUR_GOOD, "closed: from= of the rule does not allow that peer");
    else if (hit->action == POLICY_PLAIN)
        say_verdict(COLOUR_WARN, "in clear: the rule says plain");
    else if (hit->action == POLICY_DENY)
        say_verdict(COLOUR_GOOD, hit->directions == POLICY_ACCEPT ? "closed: the rule says deny"
                                                                  : "refused (EACCES): the rule says deny");
    else
        say_verdict(COLOUR_GOOD, "protected: peer-to-peer TLS 1.3, or it fails");
}

static bool peer_is_refused(const struct question *q, const struct policy_rule *hit)
{
    struct sockaddr_storage peer = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&peer;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&peer;

    if (!q->from || !hit || hit->action != POLICY_PROTECT)
        return false;
    if (inet_pton(AF_INET, q->from, &v4->sin_addr) == 1)
        peer.ss_family = AF_INET;
    else if (inet_pton(AF_INET6, q->from, &v6->sin6_addr) == 1)
        peer.ss_family = AF_INET6;
    return !policy_from_allows(hit, (struct sockaddr *)&peer, sizeof peer);
}

/* True: never in clear. */
static bool check_address(const struct policy_view *view, const struct question *q, const struct sockaddr *address,
                          socklen_t len)
{
    const struct policy_query query = {
        .direction = q->direction, .address = address, .len = len, .name = q->named ? q->host : NULL};
    const struct policy_rule *hit = policy_match(view->policy, &query);
    const bool refused = peer_is_refused(q, hit);
    char text[NI_MAXHOST] = "?", why[WHY_MAX];

    getnameinfo(address, len, text, sizeof text, NULL, 0, NI_NUMERICHOST);
    printf("%s %s%s%s:%s", q->direction == POLICY_CONNECT ? "connect" : "accept", strchr(text, ':') ? "[" : "", text,
           strchr(text, ':') ? "]" : "", q->port);
    if (q->named)
        printf(" (%s)", q->host);
    putchar('\n');
    say_passed(view, &query, hit, q->all);
    if (hit) {
        (void)check_why(hit, &query, why);
        printf("  decided, as %s, by ", why);
        say_rule(hit);
    }
    say_hit(hit, refused);
    if (hit && !refused)
        policy_explain_rule(hit, "  ");
    return refused || !in_clear(hit);
}

/* ---- all addresses -------------------------------------------------------------------------------------------- */

/* A listener on every address accepts on each that this machine has. */
static enum status check_own_addresses(const struct policy_view *view, const struct question *q, int family)
{
    struct ifaddrs *all = NULL;
    bool safe = true;

    if (getifaddrs(&all) != 0)
        return failed("cannot list this machine's addresses: %s", strerror(errno));
    for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
        const int of = i->ifa_addr ? i->ifa_addr->sa_family : AF_UNSPEC;
        if (of != AF_INET && (of != AF_INET6 || family == AF_INET))
            continue;
        struct sockaddr_in6 copy = {0};
        const socklen_t len = of == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
        memcpy(&copy, i->ifa_addr, len);
        copy.sin6_port = htons((uint16_t)strtoul(q->port, NULL, 10)); /* where sin_port is, too */
        safe = check_address(view, q, (struct sockaddr *)&copy, len) && safe;
    }
    freeifaddrs(all);
    return safe ? STATUS_OK : STATUS_NO;
}

static enum status check_connection(const struct policy_view *view, const struct question *q)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_NUMERICSERV | (q->named ? 0 : AI_NUMERICHOST)};
    struct addrinfo *found = NULL;
    bool safe = true;

    if (q->direction == POLICY_ACCEPT && strcmp(q->host, "0.0.0.0") == 0)
        return check_own_addresses(view, q, AF_INET);
    if (q->direction == POLICY_ACCEPT && strcmp(q->host, "::") == 0)
        return check_own_addresses(view, q, AF_INET6);
    const int e = getaddrinfo(q->host, q->port, &hints, &found);
    if (e != 0)
        return failed("%s cannot be looked up: %s", q->host, gai_strerror(e));
    for (const struct addrinfo *a = found; a; a = a->ai_next)
        safe = check_address(view, q, a->ai_addr, a->ai_addrlen) && safe;
    freeaddrinfo(found);
    return safe ? STATUS_OK : STATUS_NO;
}

/* Without a connection: that there are rules, and rules that can never match. */
static enum status check_policy(const struct policy_view *view)
{
    const size_t count = policy_count(view->policy), others = policy_count_for_others(view->policy);
    bool good = true;

    for (size_t i = 0; i < count; i++) {
        const struct policy_rule *rule = policy_rule_at(view->policy, i), *shadow = policy_shadow_of(view->policy, i);
        if (!shadow)
            continue;
        good = false;
        (void)failed("%s:%u:%u: this rule never decides: %s:%u:%u in front of it matches all that it could",
                     rule->source, rule->line, rule->column, shadow->source, shadow->line, shadow->column);
    }
    if (!count)
        return failed("no rule holds%s: every socket is left alone", others ? " in this program" : "");
    printf("%zu rule%s, no error", count, count > 1 ? "s" : "");
    if (others)
        printf("; %zu for other programs", others);
    putchar('\n');
    return good ? STATUS_OK : STATUS_NO;
}

/* ---- the command line ----------------------------------------------------------------------------------------- */

static bool parse_question(int argc, char **argv, struct question *q)
{
    unsigned char bytes[16];

    if (argc - optind == 1 || argc - optind > 2) {
        (void)usage_error("expected connect or accept, and HOST:PORT");
        return false;
    }
    if (q->from && inet_pton(AF_INET, q->from, bytes) != 1 && inet_pton(AF_INET6, q->from, bytes) != 1) {
        (void)usage_error("--from takes an address without brackets, found '%s'", q->from);
        return false;
    }
    if (argc == optind)
        return true;
    if (strcmp(argv[optind], "connect") == 0) {
        q->direction = POLICY_CONNECT;
    } else if (strcmp(argv[optind], "accept") == 0) {
        q->direction = POLICY_ACCEPT;
    } else {
        (void)usage_error("expected connect or accept, found '%s'", argv[optind]);
        return false;
    }
    if (!parse_endpoint(argv[optind + 1], q))
        return false;
    if (q->direction != POLICY_ACCEPT || !q->named)
        return true;
    (void)usage_error("accept takes an address of this machine, found '%s'", argv[optind + 1]);
    return false;
}

static enum status ask(struct policy_request *request, const struct question *q)
{
    static struct policy_view view;
    enum status status = policy_view_load(&view, request);

    if (status == STATUS_OK)
        status = q->direction ? check_connection(&view, q) : check_policy(&view);
    policy_view_free(&view);
    return status;
}

static enum status run(int argc, char **argv)
{
    static const struct option names[] = {{"policy", required_argument, NULL, 'r'},
                                          {"config", required_argument, NULL, 'f'},
                                          {"program", required_argument, NULL, 'p'},
                                          {"from", required_argument, NULL, 'F'},
                                          {"verbose", no_argument, NULL, 'v'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    struct policy_request request = {0};
    struct question q = {0};
    enum status status = STATUS_OK;
    bool good = true;
    int letter;

    while (good && (letter = next_option(argc, argv, ":r:f:p:vh", names, &status)) >= 0)
        switch (letter) {
        case 'p':
            request.program = optarg;
            break;
        case 'F':
            q.from = optarg;
            break;
        case 'v':
            q.all = true;
            break;
        case 'r':
            good = policy_request_rule(&request, optarg);
            break;
        default:
            good = policy_request_config(&request, optarg);
        }
    if (good && letter == OPTION_END)
        status = parse_question(argc, argv, &q) ? ask(&request, &q) : last_status();
    else if (!good)
        status = last_status();
    policy_request_free(&request);
    return status;
}

const struct command command_check = {
    "check", run,
    "Usage: p2ptls check [-r|--policy RULE]... [-f|--config FILE] [--program PROGRAM] [-v|--verbose]\n"
    "                    [[--from ADDRESS] connect|accept HOST:PORT]\n"};
