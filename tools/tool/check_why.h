/* Why a rule matches a connection, or does not. */
#ifndef P2PTLS_TOOL_CHECK_WHY_H
#define P2PTLS_TOOL_CHECK_WHY_H

#include "policy.h"

enum { WHY_MAX = 160 };

enum miss { MISS_NONE = 0 /* it matches */, MISS_DIRECTION, MISS_PORT, MISS_ADDRESS, MISS_NAME };
/* What keeps it from matching; of several endpoints, of the one that comes nearest. why: a sentence without its end. */
enum miss check_why(const struct policy_rule *rule, const struct policy_query *query, char why[WHY_MAX]);

#endif
