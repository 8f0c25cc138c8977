/* libFuzzer target: the policy parser on any bytes, and the match on any address for each policy that parses.
 * The first 30 bytes are a sockaddr and its length, the rest is the text. */
#include "policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ADDRESS_BYTES = 29, HEAD_BYTES = ADDRESS_BYTES + 1 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "does not hold: %s\n", what);
    abort();
}

static void check_rule(const struct policy_rule *r)
{
    require(r && r->source && !strcmp(r->source, "fuzz"), "a rule knows its source");
    require(r->directions && r->target_count && r->line && r->column, "a rule is complete");
    if (r->action != POLICY_PROTECT)
        return;
    require(r->effective != ROLE_NONE, "roles can meet");
    require(r->handshake_timeout_ms && r->early_limit_bytes, "limits are not zero");
    require(!r->own.cert_file == !r->own.key_file, "cert and key go together");
    require(!r->own.psk_file || (!r->own.cert_file && !r->trust.ca && !r->auth == AUTH_INSECURE_NONE),
            "a PSK stands alone");
    require(!r->own.cert_file || r->trust.ca || r->auth == AUTH_INSECURE_NONE,
            "the remote side is proven, or the rule says insecure");
    require(!r->trust.ca || (r->own.cert_file && !r->auth == AUTH_INSECURE_NONE), "a CA is used");
}

static void check_error(const struct policy_error *e)
{
    require(e->line && e->column && e->message[0], "an error says where and what");
    require(memchr(e->message, '\0', sizeof e->message), "a message ends");
    for (const char *c = e->message; *c; c++)
        require(*c >= 0x20 && *c < 0x7f, "a message is printable");
}

static void check_match(const struct policy *p, const uint8_t *head)
{
    static const enum policy_direction directions[] = {POLICY_CONNECT, POLICY_ACCEPT};
    socklen_t len = head[ADDRESS_BYTES] % (ADDRESS_BYTES + 1);
    struct sockaddr *address = malloc(len + !len); /* of exactly that size, so that a read behind it is seen */
    require(address, "there is memory");
    memcpy(address, head, len);
    for (size_t i = 0; i < 2; i++) {
        const struct policy_rule *r =
            policy_match(p, &(struct policy_query){.direction = directions[i], .address = address, .len = len});
        bool could = policy_could_match(p, directions[i], address, len);
        if (r)
            require(r->directions & (unsigned)directions[i], "a match is of the direction that was asked for");
        /* Dialling a wildcard address is matched as loopback, which is not what "could" is about. */
        if (r && r->action != POLICY_PLAIN && directions[i] == POLICY_ACCEPT)
            require(could && policy_has(p, directions[i]), "what matches could match");
    }
    free(address);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t no_head[HEAD_BYTES];
    const uint8_t *head = size >= HEAD_BYTES ? data : no_head;
    const char *text = (const char *)(size >= HEAD_BYTES ? data + HEAD_BYTES : data);
    size_t len = size >= HEAD_BYTES ? size - HEAD_BYTES : size;
    struct policy *p = NULL;
    struct policy_error error;

    enum result r = policy_parse(&p, "fuzz", text, len, &error);
    if (r != RESULT_OK) {
        require(!p, "a refused text makes no policy");
        check_error(&error);
        return 0;
    }
    for (size_t i = 0; i < policy_count(p); i++)
        check_rule(policy_rule_at(p, i));
    check_match(p, head);
    size_t count = policy_count(p);
    require(policy_parse(&p, "fuzz", text, len, &error) == RESULT_OK && policy_count(p) == 2 * count,
            "what parses once parses behind itself");
    policy_free(p);
    return 0;
}
