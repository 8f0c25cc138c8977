/* TLSA records for dane=on: looked up by a process of their own, so that the program gets neither a socket nor a thread
 * nor a child that it can notice. */
#ifndef P2PTLS_DANE_H
#define P2PTLS_DANE_H

#include "dns.h"

#include <stdatomic.h>

extern const struct tlsa_resolver dane_resolver;

/* Before privileges or files change: no process with the old ones stays. Look-ups under way begin anew when somebody
 * asks for them. */
void dane_interrupt(void);
void dane_forked(void); /* in the child: its parent's look-ups are none of its own */

/* ---- between dane.c and dane_process.c ---- */

enum dane_state { DANE_IDLE = 0, DANE_ASKING, DANE_DONE };

/* In memory that both processes share. The asking one writes answer_len and error, and state last. */
struct dane_question {
    _Atomic uint32_t state;
    long error;      /* -errno of the last failure; 0: none */
    long answer_len; /* 0: there is none */
    int64_t until_ms;
    struct dns_servers servers;
    size_t query_len;
    uint8_t query[DNS_QUERY_MAX];
    uint8_t answer[DNS_ANSWER_MAX];
};

/* The asking process, from its first instruction to its last: a function for clone(2). */
int dane_process(void *question);

#endif
