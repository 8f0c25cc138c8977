/* The policy language (README, docs/POLICY.md): which sockets are protected, and how. Parsed once before main,
 * immutable afterwards. No GnuTLS, no I/O; part of libp2ptls.so, since the match comes before the core is loaded. */
#ifndef P2PTLS_POLICY_H
#define P2PTLS_POLICY_H

#include "result.h"
#include "role.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum policy_direction { POLICY_CONNECT = 1, POLICY_ACCEPT = 2 }; /* "any" is both */

enum policy_action {
    POLICY_DENY = 0, /* EACCES */
    POLICY_PLAIN,    /* said to be left alone */
    POLICY_PROTECT,
};

enum policy_hello { HELLO_DEFAULT = 0, HELLO_NOW, HELLO_WAIT };

/* One statement, with the defaults applied. Strings are owned by the policy; NULL where not given. */
struct policy_rule {
    enum policy_action action;
    unsigned directions;             /* set of enum policy_direction */
    unsigned line, column;           /* where the statement begins, for logs; 1-based */
    const char *source;              /* "P2PTLS_POLICY" or the file's name */
    enum role_set role, remote_role; /* default ROLE_PEER both */
    enum role_set effective;         /* role_effective(role, remote_role), never ROLE_NONE */
    enum role_prefer prefer;
    enum policy_hello hello;
    bool connect_waits;            /* connect=wait */
    bool insecure;                 /* the remote identity is not checked */
    uint32_t handshake_timeout_ms; /* handshake-timeout=SECONDS[.fraction] or with unit ms, s; default 10000 */
    uint32_t early_limit_bytes;    /* early-data-buffer=BYTES[K|M]: writes kept during the handshake; 262144 */
    uint64_t rekey_after_records;  /* rekey-after=N: our KeyUpdate after N records; 0: the AEAD's limit */
    const char *cert_file, *key_file, *ca_file, *psk_file; /* cert= key= ca= psk=  */
    const char *peer_name;         /* peer=NAME: DNS name or IP literal that the remote certificate must carry */
    const char *ciphers;           /* ciphers=aes-128-gcm,aes-256-gcm,chacha20-poly1305 in order of preference;
                                      here as GnuTLS's names joined with ":+", e.g. "+AES-128-GCM:+AES-256-GCM" */
    struct policy_target *targets; /* opaque: address ranges and port ranges */
    size_t target_count;
};

struct policy; /* opaque */

struct policy_error {
    unsigned line, column; /* 1-based, in bytes */
    char message[300];     /* "policy:LINE:COLUMN: expected ..., found ..." without the prefix */
};

/* Parses statements separated by ';' or newlines, comments from '#' to the end of the line, into *out (made if NULL,
 * appended to otherwise, so that P2PTLS_POLICY comes before P2PTLS_CONFIG). Everything is checked: unknown words,
 * doubled options, empty role sets, options that do not fit the action or the direction, ports above 65535, reversed
 * ranges, host bits set below the prefix. RESULT_CONFIG with *error; RESULT_NOMEM. */
MUST_USE enum result policy_parse(struct policy **out, const char *source, const char *text, size_t len,
                                  struct policy_error *error);
void policy_free(struct policy *p);

size_t policy_count(const struct policy *p);
const struct policy_rule *policy_rule_at(const struct policy *p, size_t i);

/* The first rule that matches, or NULL (untouched). v4-mapped IPv6 addresses match as IPv4 ones. Families other than
 * AF_INET and AF_INET6 never match; len is checked. Async-signal-safe, no allocation. */
const struct policy_rule *policy_match(const struct policy *p, enum policy_direction direction,
                                       const struct sockaddr *address, socklen_t len);

/* Could any accept or connect rule match a local address that is only partly known? port 0: any port. A wildcard
 * address (0.0.0.0, ::) stands for every address. Used at bind and listen, to keep unselected sockets untouched. */
bool policy_could_match(const struct policy *p, enum policy_direction direction, const struct sockaddr *address,
                        socklen_t len);

/* Could any rule with this direction select or deny anything at all? */
bool policy_has(const struct policy *p, enum policy_direction direction);

#endif
