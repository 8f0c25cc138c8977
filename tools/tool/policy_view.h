/* The policy as the library would have it, read by the library's own code, and put into words. */
#ifndef P2PTLS_TOOL_POLICY_VIEW_H
#define P2PTLS_TOOL_POLICY_VIEW_H

#include "sources.h"
#include "tool.h"

/* -r, -f and --program of several sub-commands. */
struct policy_request {
    char *rules;         /* those of -r, in front of P2PTLS_POLICY; NULL: none. Owned */
    const char *config;  /* -f, in the place of P2PTLS_CONFIG; NULL: none */
    const char *program; /* as it would be started; NULL: whatever for= says */
};

struct policy_view {
    struct policy *policy; /* NULL: no source has a rule */
    struct sources_view sources;
    char program[PATH_MAX]; /* the file, if one was asked about */
    struct program judged;
    char user_folder[PATH_MAX];
};

/* False: usage_error() or failed(). */
bool policy_request_rule(struct policy_request *request, const char *rule);
bool policy_request_config(struct policy_request *request, const char *file);
void policy_request_free(struct policy_request *request);

/* STATUS_OK, or what was said by failed(); STATUS_POLICY: the policy has an error. *view is large: static. */
enum status policy_view_load(struct policy_view *view, struct policy_request *request);
void policy_view_free(struct policy_view *view);

/* The file that a shell would start; false: there is none. */
bool find_program(const char *name, char out[PATH_MAX]);

/* One rule as a statement, with all that it has from set, identity and its own words; without what is the default. */
void policy_print_rule(FILE *out, const struct policy_rule *rule);
void policy_print_targets(FILE *out, const struct policy_rule *rule);
/* Who this side is and whom it takes, as sentences that begin with indent. */
void policy_explain_rule(const struct policy_rule *rule, const char *indent);

/* The first rule in front of rule number i that leaves it nothing to match; NULL: none does alone. */
const struct policy_rule *policy_shadow_of(const struct policy *policy, size_t i);

#endif
