/* Would the library get into a program, and see its calls? The launcher judges, as for `p2ptls run`. */
#ifndef P2PTLS_TOOL_JUDGE_H
#define P2PTLS_TOOL_JUDGE_H

#include <stdbool.h>
#include <stddef.h>

enum { JUDGED_MAX = 1200 };

/* name: a program, along PATH if it has no slash. False: said tells why not, with the name in front. */
bool judge(const char *name, char *said, size_t room);

#endif
