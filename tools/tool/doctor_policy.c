/* The policy: does it parse, is there a rule, can each of them ever decide? */
#include "doctor.h"

#include "policy_internal.h"
#include "source_files.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void place(const struct policy_rule *rule, char *out, size_t room)
{
    snprintf(out, room, "%s:%u:%u", rule->source, rule->line, rule->column);
}

/* ---- rules that can never match ----------------------------------------------------------------------------- */

/* Does an address of this machine lie in it? Addresses may come later, so ranges that no interface has are told of for
 * single addresses alone. */
static bool is_local(const struct policy_target *t, const struct ifaddrs *all)
{
    const bool single = (t->family == FAMILY_V4 && t->prefix == 32) || (t->family == FAMILY_V6 && t->prefix == 128);

    if (!single || t->address[0] == 127)
        return true;
    for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
        struct policy_target own;
        if (!i->ifa_addr || (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6))
            continue;
        if (policy_address_from(i->ifa_addr, sizeof(struct sockaddr_in6), &own) && own.family == t->family &&
            policy_same_bits(own.address, t->address, t->prefix))
            return true;
    }
    return false;
}

static void examine_addresses(const struct policy_rule *rule, const char *where)
{
    struct ifaddrs *all = NULL;
    bool reachable = rule->directions != POLICY_ACCEPT || getifaddrs(&all) != 0;

    for (size_t i = 0; i < rule->target_count && !reachable; i++)
        reachable = is_local(&rule->targets[i], all);
    if (all)
        freeifaddrs(all);
    if (!reachable)
        found(FINDING_FAULT, "policy",
              "%s never matches: accept compares the local address, and this machine has none of them (from= is about "
              "the other side)",
              where);
}

static void examine_programs(const struct policy_rule *rule, const char *where)
{
    char list[POLICY_WORD_MAX + 1], *rest = list, *item;

    snprintf(list, sizeof list, "%s", rule->programs ? rule->programs : "");
    while ((item = strsep(&rest, ",")))
        if (item[0] == '/' && access(item, F_OK) != 0)
            found(FINDING_FAULT, "policy", "%s never matches in %s: there is no such program; mend the path", where,
                  item);
}

static void examine_rule(const struct policy *policy, size_t i)
{
    const struct policy_rule *rule = policy_rule_at(policy, i), *shadow = policy_shadow_of(policy, i);
    char where[400], other[400];

    place(rule, where, sizeof where);
    if (shadow) {
        place(shadow, other, sizeof other);
        found(FINDING_FAULT, "policy",
              "%s never decides: %s in front of it matches all that it could; put it in front, or take it out", where,
              other);
    }
    examine_addresses(rule, where);
    examine_programs(rule, where);
    if (rule->auth == AUTH_INSECURE_NONE && rule->action == POLICY_PROTECT)
        found(FINDING_NOTE, "policy", "%s takes anybody: auth=insecure-none", where);
    if (rule->accept_plain)
        found(FINDING_NOTE, "policy", "%s takes plaintext, too: insecure-accept-plain=on", where);
    if (rule->observe)
        found(FINDING_NOTE, "policy", "%s protects nothing: mode=observe", where);
}

/* ---- the whole ---------------------------------------------------------------------------------------------- */

static void examine_count(const struct policy_view *view, const struct policy_request *request)
{
    const size_t count = policy_count(view->policy), others = policy_count_for_others(view->policy);

    if (!count && others)
        found(FINDING_FAULT, "policy", "no rule holds in %s: %s for other programs; add it to a for=", request->program,
              others > 1 ? "all are" : "the only one is");
    else if (!count)
        found(FINDING_FAULT, "policy",
              "there is no rule: nothing is protected; write one (p2ptls.conf(5)), or give -r or -f");
    else
        found(FINDING_OK, "policy", "%zu rule%s%s%s", count, count > 1 ? "s" : "", request->program ? " in " : "",
              request->program ? request->program : "");
}

/* ---- the administrator's files ------------------------------------------------------------------------------ */

static void examine_mode(const char *path, mode_t needed)
{
    struct stat s;

    if (stat(path, &s) == 0 && (s.st_mode & needed) != needed)
        found(FINDING_FAULT, "policy",
              "%s cannot be read by everybody: programs of other users are stopped; chmod %s %s", path,
              needed & S_IXOTH ? "755" : "644", path);
}

/* The library reads them in every program that it is in. */
static void examine_system_files(void)
{
    static const char folder[] = "/etc/p2ptls";
    char **paths = NULL, why[POLICY_WHY_MAX];
    size_t count = 0;
    bool exists = false;

    examine_mode(folder, S_IROTH | S_IXOTH);
    if (source_files_in(folder, true, &paths, &count, &exists, why) != RESULT_OK)
        return; /* policy_view_load has said so */
    for (size_t i = 0; i < count; i++)
        examine_mode(paths[i], S_IROTH);
    source_files_free(paths, count);
}

void doctor_policy(struct policy_request *request)
{
    static struct policy_view view;
    const char *program = request->program;
    char file[PATH_MAX];

    /* A program that is not there, or is none, is doctor_program's finding. */
    if (program && !find_program(program, file))
        request->program = NULL;
    const enum status status = policy_view_load(&view, request);
    if (status != STATUS_OK)
        found(FINDING_FAULT, "policy", "it cannot be used: see the message above");
    else
        examine_count(&view, request);
    examine_system_files();
    for (size_t i = 0; i < policy_count(view.policy); i++)
        examine_rule(view.policy, i);
    doctor_identities(view.policy);
    policy_view_free(&view);
    request->program = program;
}
