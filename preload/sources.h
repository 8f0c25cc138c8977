/* Where a policy comes from (docs/POLICY.md, "Sources"): /etc/p2ptls, the environment, the user's own files. */
#ifndef P2PTLS_SOURCES_H
#define P2PTLS_SOURCES_H

#include "program.h"

#include "policy.h"

#include <limits.h>

struct sources_view {
    const char *(*get)(void *ctx, const char *name); /* a variable of the environment, or NULL */
    void *ctx;
    bool (*find_home)(char out[PATH_MAX]); /* what the user database says, where HOME does not; NULL: not asked */
    bool every_program;                    /* in: rules count whatever for= says: for who shows a policy */
    struct program *program;               /* zeroed: this one; program->asked: whose rules are looked for, instead */
    bool secure;                           /* AT_SECURE (getauxval(3)): only /etc/p2ptls counts */
    char *user_folder;                     /* PATH_MAX bytes, out: that of the user's files, if there is one; else "" */
};

/* *out: NULL where no source has a rule. RESULT_CONFIG, RESULT_NOMEM: *error says which source and what; its line is 0
 * where the source could not be read at all. */
MUST_USE enum result sources_load(struct sources_view *view, struct policy **out, struct policy_error *error);

#endif
