/* What the unit tests of the policy share: parsing that must work or must not, addresses, and the number of a match. */
#ifndef TEST_POLICY_HELP_H
#define TEST_POLICY_HELP_H

#include "policy.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static inline struct policy *parse_bytes(const char *text, size_t len)
{
    struct policy *p = NULL;
    struct policy_error error;
    char *copy = malloc(len + !len); /* of exactly that size, so that a read behind it is seen */
    assert_non_null(copy);
    memcpy(copy, text, len);
    enum result r = policy_parse(&p, "P2PTLS_POLICY", copy, len, &error);
    free(copy);
    if (r != RESULT_OK)
        fail_msg("\"%s\" was refused: %u:%u: %s", text, error.line, error.column, error.message);
    assert_non_null(p);
    return p;
}

static inline struct policy *parse(const char *text)
{
    return parse_bytes(text, strlen(text));
}

static inline struct policy_error refused_bytes(const char *text, size_t len)
{
    struct policy *p = NULL;
    struct policy_error error = {0};
    char *copy = malloc(len + !len);
    assert_non_null(copy);
    memcpy(copy, text, len);
    enum result r = policy_parse(&p, "P2PTLS_POLICY", copy, len, &error);
    free(copy);
    if (r == RESULT_OK)
        fail_msg("\"%s\" was accepted", text);
    assert_int_equal(r, RESULT_CONFIG);
    assert_null(p);
    return error;
}

static inline void assert_refused(const char *text, unsigned line, unsigned column, const char *part)
{
    struct policy_error error = refused_bytes(text, strlen(text));
    if (error.line != line || error.column != column || !strstr(error.message, part))
        fail_msg("\"%s\": %u:%u: %s; expected %u:%u and \"%s\"", text, error.line, error.column, error.message, line,
                 column, part);
    for (const char *c = error.message; *c; c++)
        assert_in_range((unsigned char)*c, 0x20, 0x7e);
}

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    };
    socklen_t len;
};

static inline struct address address_of(const char *text, uint16_t port)
{
    struct address a = {0};
    if (strchr(text, ':')) {
        a.in6.sin6_family = AF_INET6;
        a.in6.sin6_port = htons(port);
        a.len = sizeof a.in6;
        assert_int_equal(inet_pton(AF_INET6, text, &a.in6.sin6_addr), 1);
    } else {
        a.in.sin_family = AF_INET;
        a.in.sin_port = htons(port);
        a.len = sizeof a.in;
        assert_int_equal(inet_pton(AF_INET, text, &a.in.sin_addr), 1);
    }
    return a;
}

static inline const struct policy_rule *match_address(const struct policy *p, enum policy_direction direction,
                                                      const struct sockaddr *address, socklen_t len)
{
    return policy_match(p, &(struct policy_query){.direction = direction, .address = address, .len = len});
}

/* The number of the rule that matches, from 1; 0: none. */
static inline size_t match(const struct policy *p, enum policy_direction direction, const char *text, uint16_t port)
{
    struct address a = address_of(text, port);
    const struct policy_rule *r = match_address(p, direction, &a.any, a.len);
    for (size_t i = 0; i < policy_count(p); i++)
        if (policy_rule_at(p, i) == r)
            return i + 1;
    assert_null(r);
    return 0;
}

static inline bool could_match(const struct policy *p, enum policy_direction direction, const char *text, uint16_t port)
{
    struct address a = address_of(text, port);
    return policy_could_match(p, direction, &a.any, a.len);
}

#endif
