/* Which resolvers /etc/resolv.conf names, and which of them are believed. */
#include "dns.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

enum { TIMEOUT_S = 5, TIMEOUT_MAX_S = 30, ATTEMPTS = 2, ATTEMPTS_MAX = 5 }; /* libc's */

static bool is_loopback(const struct dns_server *s)
{
    static const uint8_t one[16] = {[15] = 1};
    return s->family == AF_INET ? s->address[0] == 127 : memcmp(s->address, one, sizeof one) == 0;
}

/* A scope that is the name of an interface would have to be looked up by a socket: only its number is taken. */
static bool take_server(char *word, struct dns_server *s)
{
    char *scope = strchr(word, '%'), *end = word;

    memset(s, 0, sizeof *s);
    if (scope) {
        *scope++ = '\0';
        s->scope = (uint32_t)strtoul(scope, &end, 10);
        if (!*scope || *end)
            return false;
    }
    s->family = AF_INET;
    if (!scope && inet_pton(AF_INET, word, s->address) == 1)
        return true;
    s->family = AF_INET6;
    return inet_pton(AF_INET6, word, s->address) == 1;
}

static unsigned number(const char *text, unsigned least, unsigned most)
{
    const unsigned long n = strtoul(text, NULL, 10);
    return n < least ? least : n > most ? most : (unsigned)n;
}

struct reading {
    struct dns_servers all;
    bool trusted;
};

static void take_option(struct reading *r, const char *word)
{
    if (!strcmp(word, "trust-ad"))
        r->trusted = true;
    else if (!strncmp(word, "timeout:", 8))
        r->all.timeout_s = number(word + 8, 1, TIMEOUT_MAX_S);
    else if (!strncmp(word, "attempts:", 9))
        r->all.attempts = number(word + 9, 1, ATTEMPTS_MAX);
}

static void take_line(struct reading *r, char *line)
{
    char *rest, *keyword = strtok_r(line, " \t\r", &rest), *word = keyword ? strtok_r(NULL, " \t\r", &rest) : NULL;

    if (!word || line[0] == '#' || line[0] == ';')
        return;
    if (!strcmp(keyword, "nameserver") && r->all.count < DNS_SERVERS_MAX)
        r->all.count += take_server(word, &r->all.servers[r->all.count]);
    for (; word && !strcmp(keyword, "options"); word = strtok_r(NULL, " \t\r", &rest))
        take_option(r, word);
}

void dns_servers_read(const char *text, size_t len, struct dns_servers *out)
{
    enum { LINE_BYTES = 1024 };
    struct reading r = {.all = {.timeout_s = TIMEOUT_S, .attempts = ATTEMPTS}};
    bool named = false;

    for (const char *at = text, *end = text + len; at < end;) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const size_t n = (size_t)((newline ? newline : end) - at);
        char line[LINE_BYTES];
        if (n < LINE_BYTES && !memchr(at, '\0', n)) {
            memcpy(line, at, n);
            line[n] = '\0';
            named |= !strncmp(line, "nameserver", 10);
            take_line(&r, line);
        }
        at += n + 1;
    }
    if (!named) {
        r.all.count = 1;
        r.all.servers[0] = (struct dns_server){.family = AF_INET, .address = {127, 0, 0, 1}};
    }
    *out = r.all;
    out->count = 0;
    for (unsigned i = 0; i < r.all.count; i++)
        if (r.trusted || is_loopback(&r.all.servers[i]))
            out->servers[out->count++] = r.all.servers[i];
}
