/* The lines of the file of known peers, and the one spelling under which each host is looked up: what a program dials,
 * what first contact records and what people write must meet. p2ptls trust spells alike. */
#include "trust_known.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

/* Names come from the program: what could be taken for a blank, an end of line or a comment is not recorded. (IDNA
 * would leave line ends out.) */
static bool is_plain_name(const char *host, bool international)
{
    static const char others[] = ".-_:%";

    for (const char *c = host; *c; c++)
        if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || strchr(others, *c) ||
              (international && (uint8_t)*c >= 0x80)))
            return false;
    return *host != '\0';
}

/* Of the ways to write an IPv6 address that of RFC 5952; of a mapped one IPv4's, as connections show it. Zones name
 * interfaces of this machine, and what is dialled is told without them. */
static bool spell_ipv6(const char *host, uint16_t port, char out[KNOWN_WHERE_MAX])
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr ip;
    const size_t len = strcspn(host, "%");

    if (len >= sizeof text)
        return false;
    memcpy(text, host, len);
    text[len] = '\0';
    if (inet_pton(AF_INET6, text, &ip) != 1)
        return false;
    const bool mapped = IN6_IS_ADDR_V4MAPPED(&ip);
    const void *bytes = mapped ? ip.s6_addr + 12 : ip.s6_addr;
    if (!inet_ntop(mapped ? AF_INET : AF_INET6, bytes, text, sizeof text))
        return false;
    snprintf(out, KNOWN_WHERE_MAX, mapped ? "%s:%u" : "[%s]:%u", text, port);
    return true;
}

static bool spell_name(const char *name, uint16_t port, char out[KNOWN_WHERE_MAX])
{
    size_t len = strlen(name);

    while (len > 1 && name[len - 1] == '.')
        len--;
    const int n = len < KNOWN_WHERE_MAX ? snprintf(out, KNOWN_WHERE_MAX, "%.*s:%u", (int)len, name, port) : -1;
    if (!is_plain_name(name, false) || n <= 0 || n >= KNOWN_WHERE_MAX)
        return false;
    for (char *c = out; *c; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
    return true;
}

bool known_peers_where(const char *host, uint16_t port, char out[KNOWN_WHERE_MAX])
{
    gnutls_datum_t mapped = {0};

    if (strchr(host, ':'))
        return spell_ipv6(host, port, out);
    if (is_plain_name(host, false))
        return spell_name(host, port, out);
    if (!is_plain_name(host, true) || gnutls_idna_map(host, (unsigned)strlen(host), &mapped, 0) < 0)
        return false;
    const bool good = spell_name((const char *)mapped.data, port, out);
    gnutls_free(mapped.data);
    return good;
}

/* 1 to 65535, without zeros in front; else 0. */
static uint16_t parse_port(const char *text)
{
    unsigned port = 0;

    if (*text == '0' || strlen(text) > 5)
        return 0;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return 0;
        port = 10 * port + (unsigned)(*text - '0');
    }
    return port <= UINT16_MAX ? (uint16_t)port : 0;
}

/* HOST:PORT or [HOST]:PORT as it was written, which is changed. */
static bool spell_where(char *written, char out[KNOWN_WHERE_MAX])
{
    const bool bracketed = written[0] == '[';
    char *colon = strrchr(written, ':'), *host = written + bracketed;

    if (!colon)
        return false;
    const uint16_t port = parse_port(colon + 1);
    *colon = '\0';
    if (bracketed) {
        if (colon == written || colon[-1] != ']')
            return false;
        colon[-1] = '\0';
    }
    return port && bracketed == (strchr(host, ':') != NULL) && known_peers_where(host, port, out);
}

bool known_peers_parse_line(const char *line, size_t len, struct known_entry *entry)
{
    char written[KNOWN_WHERE_MAX];
    const char *blank = memchr(line, ' ', len);
    const size_t where_len = blank ? (size_t)(blank - line) : len;

    if (!blank || where_len == 0 || where_len >= sizeof written)
        return false;
    memcpy(written, line, where_len);
    written[where_len] = '\0';
    if (strcmp(written, KNOWN_ACCEPT) == 0)
        snprintf(entry->where, sizeof entry->where, "%s", written);
    else if (!spell_where(written, entry->where))
        return false;
    const char *key = blank;
    while (key < line + len && *key == ' ')
        key++;
    const size_t rest = len - (size_t)(key - line);
    const char *end = memchr(key, ' ', rest);
    return trust_parse_fingerprint(key, end ? (size_t)(end - key) : rest, entry->hash);
}
