/* The policy language (README, docs/POLICY.md): which sockets are protected, and how. Parsed once before main,
 * immutable afterwards. No GnuTLS, no I/O; part of libp2ptls.so, since the match comes before the core is loaded. */
#ifndef P2PTLS_POLICY_H
#define P2PTLS_POLICY_H

#include "result.h"
#include "role.h"
#include "trust.h"

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

/* Must the remote side prove who it is? In either TLS role the same. */
enum policy_auth {
    AUTH_REQUIRE = 0,   /* it shows an identity that is accepted, or is refused */
    AUTH_REQUEST,       /* who shows none goes on as "(unauthenticated)"; who shows one must be accepted */
    AUTH_INSECURE_NONE, /* not asked, not checked */
};

/* May the own certificate or raw key be shown? */
enum policy_show {
    SHOW_ALWAYS = 0,
    SHOW_PROVEN, /* only to a peer that was accepted by trust= before */
    SHOW_NEVER,
};

enum policy_usage { USAGE_ANY = 0, USAGE_ROLE /* extended key usage must fit the peer's TLS role */ };

enum policy_eof { EOF_STRICT = 0, EOF_INSECURE_FIN /* a FIN without close_notify is an end of file */ };

/* Who this side is: given in the rule, or copied from the identity statement that id= names. Nothing but name given:
 * the per-user identity. Paths are absolute; cert and key may be "pkcs11:" URIs; key without cert is a raw public key.
 */
struct policy_identity {
    const char *name; /* of the identity statement; NULL: given in the rule, for logs */
    const char *cert_file, *key_file;
    const char *passphrase_file; /* of an encrypted key_file */
    const char *pin_file;        /* of the PKCS#11 token */
    const char *ocsp_staple;     /* DER answer about our own certificate */
    const char *psk_file;        /* lines NAME:HEX */
    const char *psk_name;        /* which of its keys this side offers; NULL: the first */
};

/* Whom this side accepts. Lists are one string, separated by commas, without blanks. */
struct policy_trust {
    const char *ca;                     /* ca=: absolute paths of files and folders, or "system" */
    const char *pins;                   /* pin=: each "sha256:" and 64 lower-case hexadecimal digits */
    const char *known_peers;            /* known-peers=: absolute path, or "on" for the per-user file; NULL: off */
    const char *crl;                    /* crl=: absolute paths of files and folders */
    bool dane;                          /* dane=on */
    bool ocsp_stapled;                  /* ocsp=stapled: the peer's certificate needs a good stapled answer */
    struct trust_expression expression; /* trust=, or trust_default() of what is given; zero-config: own. Empty where
                                           there is nothing to trust (a PSK, auth=request or insecure-none without) */
};

/* One statement, with what set said applied. Strings are owned by the policy; NULL where not given. */
struct policy_rule {
    enum policy_action action;
    unsigned directions;             /* set of enum policy_direction */
    unsigned line, column;           /* where the statement begins, for logs; 1-based */
    const char *source;              /* "P2PTLS_POLICY" or the file's name */
    bool final;                      /* stands in front of P2PTLS_POLICY */
    bool trusted;                    /* from /etc/p2ptls */
    const char *programs;            /* for=, as written; NULL: it holds in all */
    bool for_others;                 /* for= names other programs; never seen after policy_finish */
    bool observe;                    /* mode=observe: logged when it matches, and the socket is left alone */
    enum role_set role, remote_role; /* default ROLE_PEER both */
    enum role_set effective;         /* role_effective(role, remote_role), cut to client by show=; never ROLE_NONE */
    enum role_prefer prefer;
    enum policy_hello hello;
    enum policy_auth auth;
    enum policy_show show;
    enum policy_usage usage;
    enum policy_eof eof;
    struct policy_identity own;
    struct policy_trust trust;
    const char *trust_words;   /* trust=, as written; NULL: what the conditions give */
    const char *peer_patterns; /* peer=PATTERN[,PATTERN]: NAME, *.NAME, an address without brackets, or with its kind in
                                  front: dns: ip: uri: email: cn: psk: (checked, kept as written) */
    bool connect_waits;        /* connect=wait */
    bool sni;                  /* default true */
    bool revalidate_always;    /* revalidate=always: files are looked at before each handshake, no resumption */
    bool resume;               /* resume=on, the default: session tickets are issued and offered (tickets.h) */
    bool accept_plain;         /* insecure-accept-plain=on */
    uint32_t plain_wait_ms;    /* plain-wait=TIME; default 1000 */
    uint32_t handshake_timeout_ms; /* handshake-timeout=SECONDS[.fraction] or with unit ms, s; default 10000 */
    uint32_t early_limit_bytes;    /* early-data-buffer=BYTES[K|M]: writes kept during the handshake; 262144 */
    uint64_t rekey_after_records;  /* rekey-after=N: our KeyUpdate after N records; 0: the AEAD's limit */
    const char *client_ciphers, *server_ciphers; /* as GnuTLS's names joined with ":", "+AES-128-GCM:+AES-256-GCM" */
    const char *client_groups, *server_groups;   /* likewise, "+GROUP-X25519:+GROUP-SECP256R1"; NULL: the usual ones */
    const char *alpn;                            /* NAME[,NAME], up to 8 of 1 to 31 bytes each; NULL: none */
    struct policy_target *targets;               /* opaque: names or address ranges, and port ranges */
    size_t target_count;
    struct policy_target *from; /* opaque: remote addresses that may be accepted; none: all */
    size_t from_count;
};

struct policy; /* opaque */

struct policy_error {
    unsigned line, column; /* 1-based, in bytes */
    char source[256];      /* which text; a longer name is cut */
    char message[400];     /* "expected ..., found ..." */
};

enum { POLICY_WHY_MAX = 300 };

/* What the parser asks the embedder for; src/ reads no files of its own accord. */
struct policy_host {
    void *ctx;
    /* For for=: is this the program, by the name of its file or an absolute path? */
    bool (*is_program)(void *ctx, const char *item);
    /* The whole of a file, malloced, at most POLICY_TEXT_MAX bytes, after looking at its owner and mode. trusted: as
     * in struct policy_source. RESULT_CONFIG: why not. */
    enum result (*read)(void *ctx, const char *path, bool trusted, char **text, size_t *len, char why[POLICY_WHY_MAX]);
    /* Files that match a pattern with * ? [], in the order of their bytes: *paths is malloced, as is each of them.
     * None is RESULT_OK too. */
    enum result (*match)(void *ctx, const char *pattern, char ***paths, size_t *count, char why[POLICY_WHY_MAX]);
};

struct policy_source {
    const char *name; /* for messages and rules */
    const char *text; /* statements separated by ';' or newlines, comments from '#' to the end of the line */
    size_t len;
    const char *folder; /* include is relative to it; NULL: absolute paths only */
    bool trusted;       /* a file of /etc/p2ptls: may say final, its other rules come behind those of all others */
    const struct policy_host *host; /* NULL: include is refused */
    const struct policy *known;     /* id= may name identities of this one too, which then must outlive it; or NULL */
};

/* Parses a source into *p (made if NULL, else appended to). Everything is checked: unknown words, doubled options,
 * empty role sets, options that do not fit the action or the direction, ports above 65535, reversed ranges, host bits
 * set below the prefix. RESULT_CONFIG with *error, RESULT_NOMEM: *p is as it was before, but for policy_free. */
MUST_USE enum result policy_add(struct policy **p, const struct policy_source *source, struct policy_error *error);

/* After the last source: looks up identities, puts final rules first. Before it nothing matches. */
MUST_USE enum result policy_finish(struct policy *p, struct policy_error *error);
void policy_free(struct policy *p);

/* Both for one text alone: *out is a new policy, or NULL on failure. */
MUST_USE enum result policy_parse(struct policy **out, const char *source, const char *text, size_t len,
                                  struct policy_error *error);

/* No rule at all was given, not even one for other programs: such a policy is none. */
bool policy_is_empty(const struct policy *p);

/* How many rules policy_finish left out, since for= names other programs. */
size_t policy_count_for_others(const struct policy *p);

size_t policy_count(const struct policy *p);
const struct policy_rule *policy_rule_at(const struct policy *p, size_t i);

/* What a socket is matched by: the remote address that is dialled, or the local one of an accepted connection. */
struct policy_query {
    enum policy_direction direction;
    const struct sockaddr *address;
    socklen_t len;    /* is checked */
    const char *name; /* by which the program knows that address, for name targets; NULL: none */
    bool any_name;    /* nobody can tell which name: every name target of that port matches */
};

/* The first rule that matches, or NULL (untouched). v4-mapped IPv6 addresses match as IPv4 ones. Families other than
 * AF_INET and AF_INET6 never match. Async-signal-safe, no allocation. A rule with mode=observe is found like any
 * other: the caller logs it and leaves the socket alone. */
const struct policy_rule *policy_match(const struct policy *p, const struct policy_query *query);

/* Are there rules for names? Where there are none, nobody needs to know what the program looked up. */
bool policy_has_names(const struct policy *p);

/* from=: may a connection from that address be accepted? True where the rule says nothing about it. Async-signal-safe.
 */
bool policy_from_allows(const struct policy_rule *rule, const struct sockaddr *remote, socklen_t len);

/* Could any accept or connect rule match a local address that is only partly known? port 0: any port. A wildcard
 * address (0.0.0.0, ::) stands for every address. Used at bind and listen, to keep unselected sockets untouched. */
bool policy_could_match(const struct policy *p, enum policy_direction direction, const struct sockaddr *address,
                        socklen_t len);

/* Could any rule with this direction select or deny anything at all? */
bool policy_has(const struct policy *p, enum policy_direction direction);

#endif
