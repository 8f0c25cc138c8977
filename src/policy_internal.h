/* What the files of the policy parser share: the text cursor with its errors, targets, and the options of a rule. */
#ifndef P2PTLS_POLICY_INTERNAL_H
#define P2PTLS_POLICY_INTERNAL_H

#include "policy.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    POLICY_TEXT_MAX = 1024 * 1024,
    POLICY_WORD_MAX = 4096,
    POLICY_INCLUDE_DEPTH = 8,
    POLICY_FILES_MAX = 1000,
    POLICY_HANDSHAKE_TIMEOUT_MS = 10 * 1000,
    POLICY_PLAIN_WAIT_MS = 1000,
    POLICY_EARLY_LIMIT_BYTES = 256 * 1024,
};

/* Addresses in network order; IPv4 ones in the first four bytes. v4-mapped ones never occur: they are FAMILY_V4. */
enum policy_family { FAMILY_ANY = 0, FAMILY_V4, FAMILY_V6, FAMILY_NAME };

struct policy_target {
    enum policy_family family; /* FAMILY_ANY: '*', every address of both families */
    unsigned prefix;           /* leading bits of address that count */
    uint8_t address[16];
    const char *name; /* FAMILY_NAME: a pattern for pattern_dns_any_depth() */
    uint16_t port_low, port_high;
};

/* Strings live as long as the policy, so rules can share those that came from a set statement. */
struct policy_string {
    struct policy_string *next;
    char text[];
};

struct place {
    unsigned line, column;
};

/* Options as given, before what was set is added. */
enum option {
    OPTION_ROLE = 0,
    OPTION_REMOTE_ROLE,
    OPTION_HELLO,
    OPTION_PREFER,
    OPTION_CONNECT,
    OPTION_AUTH,
    OPTION_SHOW,
    OPTION_USAGE,
    OPTION_ID,
    OPTION_CERT,
    OPTION_KEY,
    OPTION_PASSPHRASE_FILE,
    OPTION_PIN_FILE,
    OPTION_OCSP_STAPLE,
    OPTION_PSK,
    OPTION_PSK_NAME,
    OPTION_CA,
    OPTION_PIN,
    OPTION_KNOWN_PEERS,
    OPTION_DANE,
    OPTION_CRL,
    OPTION_OCSP,
    OPTION_TRUST,
    OPTION_PEER,
    OPTION_SNI,
    OPTION_ALPN,
    OPTION_CLIENT_CIPHERS,
    OPTION_SERVER_CIPHERS,
    OPTION_CLIENT_GROUPS,
    OPTION_SERVER_GROUPS,
    OPTION_HANDSHAKE_TIMEOUT,
    OPTION_EARLY_DATA_BUFFER,
    OPTION_REKEY_AFTER,
    OPTION_EOF,
    OPTION_REVALIDATE,
    OPTION_RESUME,
    OPTION_FROM,
    OPTION_FOR,
    OPTION_MODE,
    OPTION_ACCEPT_PLAIN,
    OPTION_PLAIN_WAIT,
    OPTION_COUNT
};

#define BIT(option) (UINT64_C(1) << (option))

/* Where an option may stand; sets of these. */
enum scope { SCOPE_RULE = 1, SCOPE_DENY = 2, SCOPE_PLAIN = 4, SCOPE_IDENTITY = 8, SCOPE_SET = 16 };

struct options {
    uint64_t given;                   /* set of BIT(enum option): said in this statement, or inherited */
    uint64_t said;                    /* those of the statement itself */
    struct place place[OPTION_COUNT]; /* where */
    struct policy_rule values;        /* only the members that options set; from is borrowed from from_list */
    const char *trust_text;           /* of trust= */
    struct place trust_place;         /* of its first byte */
    const char *programs;             /* of for= */
};

/* A rule that waits for the identity it names, or with it. */
struct pending {
    struct pending *next;
    struct policy_rule *rule;
    struct options options;
};

struct named_identity {
    struct named_identity *next;
    struct place place;
    const char *source;
    struct options options;
};

/* from= lists, shared by the rules that inherit them. */
struct from_list {
    struct from_list *next;
    struct policy_target targets[];
};

/* Rules are allocated one by one: pointers to them stay good while a second source is appended. */
struct policy {
    struct policy_rule **rules;
    size_t count, room;
    struct policy_string *strings;
    struct from_list *from_lists;
    struct pending *pending;
    struct named_identity *identities;
    const struct policy *known; /* whose identities may be named too */
    size_t files;               /* how many were read */
    size_t for_others;          /* rules that policy_finish left out */
    bool finished;
};

/* The parser's view of the text. After the first failure, result is not RESULT_OK and nothing goes on. */
struct lexer {
    const char *text;
    size_t len, at;
    struct place here;
    enum result result;
    struct policy_error *error;
    struct policy *policy; /* owner of the strings */
    const char *source;
};

/* A word or a value: bytes of the text, or of an unquoted copy. Never has a NUL byte in it. */
struct word {
    const char *at;
    size_t len;
    struct place place;
    unsigned quote; /* 1 if it stood in quotes: its first byte is one column behind place */
};

/* policy_lex.c: the cursor. At the end of the text policy_peek gives '\0'. */
void policy_lex_begin(struct lexer *lx);
char policy_peek(const struct lexer *lx);
void policy_next(struct lexer *lx);
void policy_skip_blanks(struct lexer *lx);                  /* blanks and a comment, not the newline */
bool policy_at_statement_end(const struct lexer *lx);       /* ';', a newline, or the end of the text */
bool policy_at_word_end(const struct lexer *lx);            /* also a blank or a comment */
struct word policy_take_word(struct lexer *lx);             /* up to the word's end */
struct word policy_take_until(struct lexer *lx, char stop); /* up to that byte or the word's end */
bool policy_take_value(struct lexer *lx, struct word *out); /* bare or in quotes, never empty */
bool policy_word_is(struct word w, const char *text);
struct word policy_skip(struct word w, size_t n); /* without the first n bytes, at its new place */
const char *policy_keep(struct lexer *lx, const char *text, size_t len); /* NULL: no memory, failure noted */
const char *policy_keep_lower(struct lexer *lx, const char *text, size_t len);

/* Takes the next item of a list that is separated by commas off the front; false after the last. *rest begins as the
 * whole value; a list has at least one item, which may be empty. */
bool policy_next_item(struct word *rest, struct word *item);

/* Decimal digits alone, without overflow; *used is how many bytes they took (0: none). */
bool policy_digits(const char *s, size_t len, uint64_t *value, size_t *used);

/* policy_error.c: all return false, so that callers can return what these return. The first error counts. */
bool policy_fail(struct lexer *lx, struct place place, const char *format, ...) __attribute__((format(printf, 3, 4)));
bool policy_no_memory(struct lexer *lx);

/* "expected EXPECTED, found FOUND", and if one of the candidates (a list that ends with NULL) is spelt much like it,
 * "; did you mean CANDIDATE?". hint, if not NULL, comes instead when there is none. */
bool policy_expected(struct lexer *lx, const char *expected, struct word found, const char *const *candidates,
                     const char *hint);

/* policy_target.c */
bool policy_parse_target(struct lexer *lx, struct policy_target *out);
bool policy_parse_range(struct lexer *lx, struct word w, struct policy_target *out); /* ADDRESS[/PREFIX] alone */
bool policy_address_from(const struct sockaddr *address, socklen_t len, struct policy_target *out);
bool policy_same_bits(const uint8_t *a, const uint8_t *b, unsigned bits);
bool policy_is_host_name(const char *name, size_t len);
bool policy_is_address(struct word w); /* an IP literal without brackets */

/* Names and their values, for words out of a short list; ends with a NULL name. */
struct named_value {
    const char *name;
    int value;
};

/* policy_values.c: values of several kinds. expected is for the message. */
bool policy_named(struct lexer *lx, struct word w, const struct named_value *named, const char *expected, int *out);
bool policy_on_off(struct lexer *lx, struct word w, bool *out);
bool policy_path(struct lexer *lx, struct word w, const char **out);          /* absolute */
bool policy_path_or_token(struct lexer *lx, struct word w, const char **out); /* or a pkcs11: URI */
bool policy_time(struct lexer *lx, struct word w, uint32_t *ms);
bool policy_size(struct lexer *lx, struct word w, uint32_t *bytes);
bool policy_count_value(struct lexer *lx, struct word w, uint64_t *out);

typedef bool option_parser(struct lexer *lx, struct word value, struct options *out);

/* policy_identity.c: who this side is. */
option_parser policy_parse_id, policy_parse_cert, policy_parse_key, policy_parse_passphrase, policy_parse_pin_file,
    policy_parse_staple, policy_parse_psk, policy_parse_psk_name, policy_parse_show;
bool policy_take_identity_name(struct lexer *lx, struct word w, const char **out);
const struct named_identity *policy_find_identity(const struct policy *p, const char *name);
bool policy_check_own(struct lexer *lx, const struct options *o, const struct policy_rule *rule);

/* policy_trust.c: whom this side accepts. */
option_parser policy_parse_ca, policy_parse_pin, policy_parse_known_peers, policy_parse_dane, policy_parse_crl,
    policy_parse_ocsp, policy_parse_trust, policy_parse_peer, policy_parse_auth, policy_parse_usage;

/* policy_scope.c: for whom, from where. */
option_parser policy_parse_from, policy_parse_for, policy_parse_mode;
bool policy_is_for(const struct options *o, const struct policy_host *host); /* NULL: no program is known */

/* Has the list of peer= a pattern for PSKs, or for anything else? */
bool policy_has_psk_pattern(const char *patterns);
bool policy_has_other_pattern(const char *patterns);

/* policy_connection.c: roles, the hello, limits. */
option_parser policy_parse_role, policy_parse_remote_role, policy_parse_hello, policy_parse_prefer,
    policy_parse_connect, policy_parse_sni, policy_parse_alpn, policy_parse_client_ciphers, policy_parse_server_ciphers,
    policy_parse_ciphers, policy_parse_client_groups, policy_parse_server_groups, policy_parse_groups,
    policy_parse_timeout, policy_parse_early, policy_parse_rekey, policy_parse_eof, policy_parse_revalidate,
    policy_parse_resume, policy_parse_accept_plain, policy_parse_plain_wait;

/* policy_options.c: one option, NAME=VALUE. */
bool policy_parse_option(struct lexer *lx, struct options *options, enum scope scope);

/* policy_inherit.c. Options that cannot stand together in one statement, whatever was set. */
bool policy_check_conflicts(struct lexer *lx, const struct options *options);

/* Adds to options what set said and options do not, less what options speak against. */
void policy_inherit(struct options *options, const struct options *set, enum scope scope);

/* Puts an identity's options in the place of id=, less what speaks against them. */
bool policy_use_identity(struct lexer *lx, struct options *options, const struct named_identity *identity);

/* Overwrites in rule what the options give. */
void policy_copy_given(struct policy_rule *rule, const struct options *o);

/* policy_rules.c: completes rule from options and checks that it can work. An inherited option is reported where the
 * rule stands. */
bool policy_apply_options(struct lexer *lx, const struct options *options, struct policy_rule *rule);
struct place policy_place_of(const struct options *o, enum option option, const struct policy_rule *rule);

/* policy_check_trust.c: fills in rule->trust.expression. */
bool policy_check_trust(struct lexer *lx, const struct options *o, struct policy_rule *rule);

#endif
