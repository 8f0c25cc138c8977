/* What the parser of statements and the reader of sources share. */
#ifndef P2PTLS_POLICY_PARSE_H
#define P2PTLS_POLICY_PARSE_H

#include "policy_internal.h"

struct parser {
    struct lexer lx;
    const struct policy_source *from;
    struct options set; /* of the set statements so far; they end with the source */
    unsigned depth;     /* of include */
};

/* policy_parse.c: the whole text; p->lx.result says how it went. */
void policy_parse_text(struct parser *p);

/* policy_source.c: the statement after the word include. */
bool policy_include(struct parser *p);

#endif
