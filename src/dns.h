/* The few words of DNS that a look-up of TLSA records takes: the query, the answer, and which resolvers are asked.
 * Bytes alone: sockets and files are the embedder's. No GnuTLS, no allocation; part of libp2ptls.so. */
#ifndef P2PTLS_DNS_H
#define P2PTLS_DNS_H

#include "tlsa.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DNS_HEADER = 12,
    DNS_QUERY_MAX = 300,
    DNS_ANSWER_MAX = 16384, /* of what comes by TCP; records that fill it could not be kept anyway (tlsa.h) */
    DNS_SERVERS_MAX = 3,    /* as libc's MAXNS */
};

/* The query for _PORT._tcp.NAME TLSA: recursion and the AD bit are asked for (RFC 6840 section 5.7). Its length, or 0
 * if that is no name of DNS: too long, or not ASCII. */
size_t dns_tlsa_query(const char *name, uint16_t port, uint16_t id, uint8_t query[DNS_QUERY_MAX]);

/* Is it an answer to that query at all? What is not may come from anybody, and is not looked at any further. */
bool dns_answers(const uint8_t *query, size_t query_len, const uint8_t *answer, size_t len);

enum dns_verdict {
    DNS_MALFORMED = 0,
    DNS_FAILED,   /* the resolver says so: SERVFAIL is what a signature that does not fit looks like */
    DNS_INSECURE, /* without the AD bit: not proven */
    DNS_ABSENT,   /* proven: there are no such records */
    DNS_FOUND,    /* proven, and what can be used of it is in the set; that may be nothing */
};

/* Reads a whole answer. *set is filled for DNS_FOUND only; *rcode for DNS_FAILED. Aliases (CNAME) of the records' own
 * name are followed inside the answer. */
enum dns_verdict dns_tlsa_answer(const uint8_t *query, size_t query_len, const uint8_t *answer, size_t len,
                                 struct tlsa_set *set, unsigned *rcode);

/* What /etc/resolv.conf says (resolv.conf(5)). */
struct dns_servers {
    unsigned count;
    struct dns_server {
        uint16_t family; /* AF_INET or AF_INET6 */
        uint8_t address[16];
        uint32_t scope;
    } servers[DNS_SERVERS_MAX];
    unsigned timeout_s, attempts;
};

/* Keeps those whose AD bit may be believed: on loopback (without any nameserver line, that is where libc looks too), or
 * all where "options trust-ad" says that the way to them is safe. */
void dns_servers_read(const char *text, size_t len, struct dns_servers *out);

#endif
