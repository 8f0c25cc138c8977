/* A rule as a statement of the policy language (docs/POLICY.md). */
#include "policy_view.h"

#include "policy_internal.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <string.h>

static void print_target(FILE *out, const struct policy_target *t, bool with_ports)
{
    char text[INET6_ADDRSTRLEN] = "";
    const unsigned whole = t->family == FAMILY_V4 ? 32 : 128;

    switch (t->family) {
    case FAMILY_ANY:
        fputc('*', out);
        break;
    case FAMILY_NAME:
        fputs(t->name, out);
        break;
    case FAMILY_V4:
    case FAMILY_V6:
        inet_ntop(t->family == FAMILY_V4 ? AF_INET : AF_INET6, t->address, text, sizeof text);
        fprintf(out, t->family == FAMILY_V4 ? "%s" : "[%s]", text);
        if (t->prefix != whole)
            fprintf(out, "/%u", t->prefix);
    }
    if (!with_ports)
        return;
    if (t->port_low <= 1 && t->port_high == UINT16_MAX)
        fputs(":*", out);
    else if (t->port_low == t->port_high)
        fprintf(out, ":%u", t->port_low);
    else
        fprintf(out, ":%u-%u", t->port_low, t->port_high);
}

static void print_list(FILE *out, const struct policy_target *targets, size_t count, bool with_ports)
{
    for (size_t i = 0; i < count; i++) {
        fputs(i ? "," : "", out);
        print_target(out, &targets[i], with_ports);
    }
}

void policy_print_targets(FILE *out, const struct policy_rule *rule)
{
    print_list(out, rule->targets, rule->target_count, true);
}

/* A value that has something in it that ends a bare one stands in quotes. */
static void print_value(FILE *out, const char *name, const char *value)
{
    if (!value)
        return;
    fprintf(out, " %s=", name);
    if (*value != '"' && !strpbrk(value, " \t;#")) {
        print_clean(out, value);
        return;
    }
    fputc('"', out);
    for (; *value; value++) {
        const size_t len = strcspn(value, "\"\\");
        char part[POLICY_WORD_MAX + 1];
        snprintf(part, sizeof part, "%.*s", (int)len, value);
        print_clean(out, part);
        value += len;
        if (!*value)
            break;
        fprintf(out, "\\%c", *value);
    }
    fputc('"', out);
}

static void print_if(FILE *out, bool given, const char *option)
{
    if (given)
        fprintf(out, " %s", option);
}

/* From GnuTLS's names, "+AES-128-GCM:+GROUP-X448". */
static void print_algorithms(FILE *out, const char *name, const char *list)
{
    if (!list)
        return;
    fprintf(out, " %s=", name);
    for (const char *at = list; *at;) {
        at += *at == '+';
        at += strncmp(at, "GROUP-", 6) == 0 ? 6 : 0;
        for (; *at && *at != ':'; at++)
            fputc(*at >= 'A' && *at <= 'Z' ? *at - 'A' + 'a' : *at, out);
        if (*at == ':') {
            fputc(',', out);
            at++;
        }
    }
}

static void print_both(FILE *out, const char *name, const char *client, const char *server)
{
    char each[32];

    if (client && server && strcmp(client, server) == 0) {
        print_algorithms(out, name, client);
        return;
    }
    snprintf(each, sizeof each, "client-%s", name);
    print_algorithms(out, each, client);
    snprintf(each, sizeof each, "server-%s", name);
    print_algorithms(out, each, server);
}

static void print_own(FILE *out, const struct policy_identity *own)
{
    print_value(out, "cert", own->cert_file);
    print_value(out, "key", own->key_file);
    print_value(out, "passphrase-file", own->passphrase_file);
    print_value(out, "pin-file", own->pin_file);
    print_value(out, "ocsp-staple", own->ocsp_staple);
    print_value(out, "psk", own->psk_file);
    print_value(out, "psk-name", own->psk_name);
}

static void print_pins(FILE *out, const char *pins)
{
    if (!pins)
        return;
    fputs(" pin=", out);
    fputs(pins, out);
}

static void print_trust(FILE *out, const struct policy_rule *r)
{
    const struct policy_trust *t = &r->trust;

    print_value(out, "ca", t->ca);
    print_pins(out, t->pins);
    print_value(out, "known-peers", t->known_peers);
    print_if(out, t->dane, "dane=on");
    print_value(out, "crl", t->crl);
    print_if(out, t->ocsp_stapled, "ocsp=stapled");
    print_value(out, "trust", r->trust_words);
    print_value(out, "peer", r->peer_patterns);
}

static void print_time(FILE *out, const char *name, uint32_t ms, uint32_t usual)
{
    if (ms == usual)
        return;
    if (ms % 1000)
        fprintf(out, " %s=%" PRIu32 "ms", name, ms);
    else
        fprintf(out, " %s=%" PRIu32, name, ms / 1000);
}

static const char *role_word(enum role_set role)
{
    return role == ROLE_CLIENT ? "client" : role == ROLE_SERVER ? "server" : NULL;
}

static void print_roles(FILE *out, const struct policy_rule *r)
{
    print_value(out, "role", role_word(r->role));
    print_value(out, "remote-role", role_word(r->remote_role));
    print_if(out, r->prefer == PREFER_CLIENT, "prefer=client");
    print_if(out, r->prefer == PREFER_SERVER, "prefer=server");
    print_if(out, r->hello == HELLO_NOW, "hello=now");
    print_if(out, r->hello == HELLO_WAIT, "hello=wait");
    print_if(out, r->auth == AUTH_REQUEST, "auth=request");
    print_if(out, r->auth == AUTH_INSECURE_NONE, "auth=insecure-none");
    print_if(out, r->show == SHOW_PROVEN, "show=proven");
    print_if(out, r->show == SHOW_NEVER, "show=never");
    print_if(out, r->usage == USAGE_ROLE, "usage=role");
}

static void print_connection(FILE *out, const struct policy_rule *r)
{
    print_if(out, r->connect_waits, "connect=wait");
    print_if(out, !r->sni, "sni=off");
    print_value(out, "alpn", r->alpn);
    print_both(out, "ciphers", r->client_ciphers, r->server_ciphers);
    print_both(out, "groups", r->client_groups, r->server_groups);
    print_time(out, "handshake-timeout", r->handshake_timeout_ms, POLICY_HANDSHAKE_TIMEOUT_MS);
    if (r->early_limit_bytes != POLICY_EARLY_LIMIT_BYTES)
        fprintf(out, " early-data-buffer=%" PRIu32, r->early_limit_bytes);
    if (r->rekey_after_records)
        fprintf(out, " rekey-after=%" PRIu64, r->rekey_after_records);
    print_if(out, r->eof == EOF_INSECURE_FIN, "eof=insecure-fin");
    print_if(out, r->revalidate_always, "revalidate=always");
    print_if(out, !r->resume, "resume=off");
    print_if(out, r->accept_plain, "insecure-accept-plain=on");
    if (r->accept_plain)
        print_time(out, "plain-wait", r->plain_wait_ms, POLICY_PLAIN_WAIT_MS);
}

void policy_print_rule(FILE *out, const struct policy_rule *r)
{
    static const char *const directions[] = {"", "connect", "accept", "any"};
    static const char *const actions[] = {[POLICY_DENY] = "deny", [POLICY_PLAIN] = "plain", [POLICY_PROTECT] = "tls"};

    fprintf(out, "%s ", directions[r->directions & 3]);
    policy_print_targets(out, r);
    fprintf(out, " %s%s", actions[r->action], r->final ? " final" : "");
    print_value(out, "for", r->programs);
    if (r->action != POLICY_PLAIN && r->observe)
        fputs(" mode=observe", out);
    if (r->action != POLICY_PROTECT)
        return;
    if (r->from_count) {
        fputs(" from=", out);
        print_list(out, r->from, r->from_count, false);
    }
    print_roles(out, r);
    print_own(out, &r->own);
    print_trust(out, r);
    print_connection(out, r);
}
