/* libFuzzer target: the policy parser on any bytes, and for each policy that parses the match on any address, and its
 * patterns of names on a certificate and a PSK. The first 30 bytes are a sockaddr and its length, the rest is the text.
 */
#include "policy.h"
#include "trust_internal.h"

#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ADDRESS_BYTES = 29, HEAD_BYTES = ADDRESS_BYTES + 1 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static gnutls_x509_crt_t peer; /* of everybody's names: never signed, as names alone are looked at */

static void require(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "does not hold: %s\n", what);
    abort();
}

static void check_identity(const struct policy_rule *r)
{
    const struct policy_identity *own = &r->own;
    require(!own->cert_file || own->key_file, "a certificate has its key");
    require(!own->psk_file || (!own->cert_file && !own->key_file), "a side has one kind of identity");
    require(!own->psk_name || own->psk_file, "a PSK's name needs PSKs");
    require(!own->pin_file || own->key_file, "a PIN opens a key");
}

static void check_trust(const struct policy_rule *r)
{
    bool empty = !r->trust.expression.count;
    bool nobody_needed = r->own.psk_file || r->auth != AUTH_REQUIRE;
    require(!empty || nobody_needed, "somebody can be trusted, or the rule says that nobody must be");
    require(!trust_evaluate(&r->trust.expression, 0), "of whom nothing is known, he is not trusted");
    require(!r->own.psk_file || (!r->trust.ca && !r->trust.pins && r->auth == AUTH_REQUIRE), "a PSK stands alone");
    require(!r->trust.crl || r->trust.ca, "revocation needs a CA");
    require(!r->accept_plain || r->directions == POLICY_ACCEPT, "plaintext is accepted by listeners alone");
    require(r->show == SHOW_ALWAYS || r->own.psk_file || r->effective == ROLE_CLIENT, "who hides is client");
}

/* Whatever names a pattern takes, it never takes all of them. */
static void check_patterns(const struct policy_rule *r)
{
    static gnutls_x509_crt_t nameless;
    if (!r->peer_patterns)
        return;
    require(nameless || gnutls_x509_crt_init(&nameless) >= 0, "there is memory");
    (void)identity_patterns_match(peer, r->peer_patterns);
    require(!identity_patterns_match(nameless, r->peer_patterns), "no pattern fits a certificate without names");
    require(!identity_patterns_match(NULL, r->peer_patterns), "no pattern fits a raw key");
    require(!identity_patterns_match_psk("", r->peer_patterns), "no pattern fits an empty name");
    (void)identity_patterns_match_psk("2026", r->peer_patterns);
}

static void check_rule(const struct policy_rule *r)
{
    require(r && r->source && r->source[0], "a rule knows its source");
    require(r->directions && r->target_count && r->line && r->column, "a rule is complete");
    require(!r->for_others, "rules for other programs are left out");
    require(!r->final || (r->trusted && r->action != POLICY_PLAIN && !r->observe), "final is strong");
    if (r->action != POLICY_PROTECT)
        return;
    require(r->effective != ROLE_NONE, "roles can meet");
    require(r->handshake_timeout_ms && r->early_limit_bytes && r->plain_wait_ms, "limits are not zero");
    check_identity(r);
    check_trust(r);
    check_patterns(r);
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
        const struct policy_query query = {directions[i], address, len, i ? NULL : "a.b.example", head[0] & 1};
        const struct policy_rule *r = policy_match(p, &query);
        bool could = policy_could_match(p, directions[i], address, len);
        if (r)
            require(r->directions & (unsigned)directions[i], "a match is of the direction that was asked for");
        if (r)
            (void)policy_from_allows(r, address, len);
        /* Dialling a wildcard address is matched as loopback, which is not what "could" is about. */
        if (r && r->action != POLICY_PLAIN && directions[i] == POLICY_ACCEPT)
            require(could && policy_has(p, directions[i]), "what matches could match");
    }
    free(address);
}

/* A file system of two files: /a has the text itself in it, /b a rule. */
struct files {
    const char *text;
    size_t len;
};

static enum result read_file(void *ctx, const char *path, bool trusted, char **text, size_t *len,
                             char why[POLICY_WHY_MAX])
{
    static const char rule[] = "set role=client; any *:7 deny; identity b key=/k; include *.conf";
    const struct files *files = ctx;
    bool own = !strcmp(path, "/a");
    (void)trusted;
    if (!own && strcmp(path, "/b") != 0) {
        snprintf(why, POLICY_WHY_MAX, "%s is not there", path);
        return RESULT_CONFIG;
    }
    *len = own ? files->len : sizeof rule - 1;
    *text = malloc(*len + !*len);
    require(*text, "there is memory");
    memcpy(*text, own ? files->text : rule, *len);
    return RESULT_OK;
}

static enum result match_files(void *ctx, const char *pattern, char ***paths, size_t *count, char why[POLICY_WHY_MAX])
{
    (void)ctx;
    (void)pattern;
    (void)why;
    *paths = calloc(1, sizeof **paths);
    require(*paths, "there is memory");
    (*paths)[0] = strdup("/b");
    *count = 1;
    return RESULT_OK;
}

static void check_policy(struct policy *p, const uint8_t *head)
{
    for (size_t i = 0; i < policy_count(p); i++)
        check_rule(policy_rule_at(p, i));
    check_match(p, head);
}

static bool is_program(void *ctx, const char *item)
{
    (void)ctx;
    return strcmp(item, "prog") == 0 || strcmp(item, "/usr/bin/prog") == 0;
}

/* The first text as one of /etc/p2ptls, then the same as one of the user. */
static bool add_twice(struct policy **p, const char *text, size_t len, struct policy_error *error)
{
    struct files files = {text, len};
    const struct policy_host host = {&files, is_program, read_file, match_files};
    struct policy_source source = {.name = "/etc/p2ptls/fuzz.conf",
                                   .text = text,
                                   .len = len,
                                   .folder = "/etc/p2ptls",
                                   .trusted = true,
                                   .host = &host};
    if (policy_add(p, &source, error) != RESULT_OK)
        return false;
    source.trusted = false;
    source.name = "fuzz";
    source.folder = NULL;
    struct policy_error again;
    size_t before = policy_count(*p);
    if (policy_add(p, &source, &again) != RESULT_OK) {
        check_error(&again);
        require(policy_count(*p) == before, "a refused source changes nothing");
    }
    return policy_finish(*p, error) == RESULT_OK;
}

/* A text that a program gives to the library (STARTTLS.md) may name the identities of the policy. */
static void check_later_text(const struct policy *known, const char *text, size_t len)
{
    struct policy *p = NULL;
    struct policy_error error;
    const struct policy_source source = {.name = "fuzz, later", .text = text, .len = len, .known = known};

    if (policy_add(&p, &source, &error) == RESULT_OK && policy_finish(p, &error) == RESULT_OK)
        for (size_t i = 0; i < policy_count(p); i++)
            check_rule(policy_rule_at(p, i));
    else
        check_error(&error);
    policy_free(p);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const struct {
        gnutls_x509_subject_alt_name_t type;
        const char *name;
        unsigned len;
    } names[] = {{GNUTLS_SAN_DNSNAME, "db.example", 10},     {GNUTLS_SAN_DNSNAME, "*.example.org", 13},
                 {GNUTLS_SAN_DNSNAME, "a\0.example", 10},    {GNUTLS_SAN_IPADDRESS, "\x0a\0\0\1", 4},
                 {GNUTLS_SAN_URI, "spiffe://td/a/b", 15},    {GNUTLS_SAN_RFC822NAME, "a@db.example", 12},
                 {GNUTLS_SAN_DNSNAME, "xn--nxa.example", 15}};
    (void)argc;
    (void)argv;
    require(gnutls_x509_crt_init(&peer) >= 0, "there is memory");
    require(gnutls_x509_crt_set_dn_by_oid(peer, GNUTLS_OID_X520_COMMON_NAME, 0, "node", 4) >= 0, "there is a name");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        require(gnutls_x509_crt_set_subject_alt_name(peer, names[i].type, names[i].name, names[i].len,
                                                     GNUTLS_FSAN_APPEND) >= 0,
                "names can be added");
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t no_head[HEAD_BYTES];
    const uint8_t *head = size >= HEAD_BYTES ? data : no_head;
    const char *text = (const char *)(size >= HEAD_BYTES ? data + HEAD_BYTES : data);
    size_t len = size >= HEAD_BYTES ? size - HEAD_BYTES : size;
    struct policy *p = NULL;
    struct policy_error error;

    if (policy_parse(&p, "fuzz", text, len, &error) == RESULT_OK)
        check_policy(p, head);
    else
        check_error(&error);
    policy_free(p);
    p = NULL;
    if (add_twice(&p, text, len, &error)) {
        check_policy(p, head);
        check_later_text(p, text, len);
    } else {
        check_error(&error);
    }
    policy_free(p);
    return 0;
}
