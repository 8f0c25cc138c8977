/* What the log tells of a handshake: that a connection was opened, or why not, and under which rule. */
#include "conn_internal.h"

#include <stdarg.h>

enum { SHARED_FIELDS = 5, TEXT = 256 };

struct about {
    char rule[TEXT], ms[24];
    struct log_field fields[SHARED_FIELDS + 6];
    size_t count;
};

static void add(struct about *a, const char *key, const char *value)
{
    if (value && *value)
        a->fields[a->count++] = (struct log_field){key, value};
}

static void describe(struct about *a, const struct conn *c)
{
    a->count = 0;
    add(a, "direction", c->connected_side ? "out" : "in");
    add(a, "peer", c->peer);
    add(a, "dialled", c->dialled_name);
    snprintf(a->rule, sizeof a->rule, "%.240s:%u", c->rule->source, c->rule->line);
    add(a, "rule", a->rule);
    if (!c->deadline_ms)
        return;
    const int64_t begun = atomic_load(&c->deadline_ms) - (int64_t)c->rule->handshake_timeout_ms;
    snprintf(a->ms, sizeof a->ms, "%lld", (long long)(conn_transport->now_ms() - begun));
    add(a, "ms", a->ms);
}

void conn_log_open(const struct conn *c, const struct handshake_secrets *s)
{
    struct about a;
    const char *subject = s->subject[0] ? s->subject : "(a long subject)";
    if (!log_wants_of(LOG_CATEGORY_HANDSHAKE, LOG_LEVEL_INFO))
        return;
    describe(&a, c);
    add(&a, "role", s->is_client ? "client" : "server");
    add(&a, "cipher", record_suite_name(s->suite));
    add(&a, "identity", subject);
    add(&a, "alpn", s->alpn);
    add(&a, "sni", s->server_name);
    add(&a, "resumed", s->resumed ? "yes" : "no");
    log_write(LOG_LEVEL_INFO, LOG_CATEGORY_HANDSHAKE, a.fields, a.count, "%s %s as %s, %s, peer \"%.400s\"%s%s%s%s%s",
              c->connected_side ? "connected to" : "accepted from", c->peer, s->is_client ? "client" : "server",
              record_suite_name(s->suite), subject, s->alpn[0] ? ", protocol " : "", s->alpn,
              s->server_name[0] ? ", dialled " : "", s->server_name, s->resumed ? ", resumed" : "");
}

void conn_log_refusal(const struct conn *c, enum result reason, const char *format, ...)
{
    struct about a;
    char text[LOG_LINE_MAX];
    va_list args;
    if (!log_wants_of(LOG_CATEGORY_REFUSAL, LOG_LEVEL_ERROR))
        return;
    describe(&a, c);
    add(&a, "reason", result_name(reason));
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    log_write(LOG_LEVEL_ERROR, LOG_CATEGORY_REFUSAL, a.fields, a.count, "%s %s %s",
              c->connected_side ? "connection to" : "connection from", c->peer, text);
}
