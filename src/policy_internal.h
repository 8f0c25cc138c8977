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
    POLICY_HANDSHAKE_TIMEOUT_MS = 10 * 1000,
    POLICY_PLAIN_WAIT_MS = 1000,
    POLICY_EARLY_LIMIT_BYTES = 256 * 1024,
};

/* Addresses in network order; IPv4 ones in the first four bytes. v4-mapped ones never occur: they are FAMILY_V4. */
enum policy_family { FAMILY_ANY = 0, FAMILY_V4, FAMILY_V6 };

struct policy_target {
    enum policy_family family; /* FAMILY_ANY: '*', every address of both families */
    unsigned prefix;           /* leading bits of address that count */
    uint8_t address[16];
    uint16_t port_low, port_high;
};

/* Strings live as long as the policy, so rules can share those that came from a default statement. */
struct policy_string {
    struct policy_string *next;
    char text[];
};

/* Rules are allocated one by one: pointers to them stay good while a second source is appended. */
struct policy {
    struct policy_rule **rules;
    size_t count, room;
    struct policy_string *strings;
};

struct place {
    unsigned line, column;
};

/* The parser's view of the text. After the first failure, result is not RESULT_OK and nothing goes on. */
struct lexer {
    const char *text;
    size_t len, at;
    struct place here;
    enum result result;
    struct policy_error *error;
    struct policy *policy; /* owner of the strings */
};

/* A word or a value: bytes of the text, or of an unquoted copy. Never has a NUL byte in it. */
struct word {
    const char *at;
    size_t len;
    struct place place;
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
const char *policy_keep(struct lexer *lx, const char *text, size_t len); /* NULL: no memory, failure noted */

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
bool policy_address_from(const struct sockaddr *address, socklen_t len, struct policy_target *out);
bool policy_same_bits(const uint8_t *a, const uint8_t *b, unsigned bits);

/* Options as given, before defaults are applied. */
enum option {
    OPTION_ROLE = 0,
    OPTION_REMOTE_ROLE,
    OPTION_HELLO,
    OPTION_PREFER,
    OPTION_CONNECT,
    OPTION_INSECURE,
    OPTION_HANDSHAKE_TIMEOUT,
    OPTION_EARLY_DATA_BUFFER,
    OPTION_REKEY_AFTER,
    OPTION_CERT,
    OPTION_KEY,
    OPTION_CA,
    OPTION_PSK,
    OPTION_PEER,
    OPTION_CIPHERS,
    OPTION_COUNT
};

struct options {
    unsigned given;                   /* bit 1 << enum option: said in this statement, or inherited */
    struct place place[OPTION_COUNT]; /* where */
    struct policy_rule values;        /* only the members that options set */
};

/* policy_options.c: one option, NAME=VALUE or a bare word. */
bool policy_parse_option(struct lexer *lx, struct options *options);

/* policy_rules.c. Options that cannot stand together in one statement, whatever the defaults are. */
bool policy_check_conflicts(struct lexer *lx, const struct options *options);

/* Adds to options what defaults say and options do not, less what options speak against. */
void policy_inherit(struct options *options, const struct options *defaults);

/* Completes rule from options and checks that it can work. said: what the statement itself gave. */
bool policy_apply_options(struct lexer *lx, struct options *options, unsigned said, struct policy_rule *rule);

#endif
