/* SNI and ALPN, in either role: what this side says, and what it makes of the peer's hello, whether that is answered or
 * discarded (docs/PROTOCOL.md, "Names"). */
#include "handshake_internal.h"

#include "bytes.h"

#include <arpa/inet.h>
#include <stdio.h>

/* Of GnuTLS 3.7; it leaves out silently what is more than that. */
enum { PROTOCOLS_MAX = 8, PROTOCOL_NAME_MAX = 31 };

/* The next name of a list with commas in between; false at its end. */
static bool next_protocol(const char **list, gnutls_datum_t *name)
{
    if (!*list || !**list)
        return false;
    const size_t len = strcspn(*list, ",");
    *name = (gnutls_datum_t){(unsigned char *)*list, (unsigned)len};
    *list += len + ((*list)[len] == ',');
    return true;
}

enum result handshake_names_check(struct handshake *hs)
{
    const char *list = hs->alpn;
    gnutls_datum_t name;
    unsigned count = 0;

    while (next_protocol(&list, &name)) {
        if (name.size == 0 || name.size > PROTOCOL_NAME_MAX || ++count > PROTOCOLS_MAX) {
            snprintf(hs->why, sizeof hs->why,
                     "alpn= takes up to %d names of 1 to %d bytes, separated by commas: shorten the list",
                     PROTOCOLS_MAX, PROTOCOL_NAME_MAX);
            return RESULT_CONFIG;
        }
    }
    return RESULT_OK;
}

/* RFC 6066 section 3: literal addresses are not permitted in "HostName". */
static bool is_dns_name(const char *name)
{
    uint8_t address[16];
    return inet_pton(AF_INET, name, address) != 1 && inet_pton(AF_INET6, name, address) != 1 && !strchr(name, '%');
}

/* peer=NAME or peer=dns:NAME; NULL where it is a list, a pattern, or of another kind. */
static const char *sole_name(const char *patterns)
{
    static const char kind[] = "dns:";
    const char *name = patterns && strncmp(patterns, kind, strlen(kind)) == 0 ? patterns + strlen(kind) : patterns;

    return name && *name && !strpbrk(name, ",*:@/") && is_dns_name(name) ? name : NULL;
}

/* Where an address was dialled, the name that the peer must prove is what a server with several names has to know. */
static int set_server_name(const struct handshake *hs, gnutls_session_t session)
{
    const char *name = hs->dialled_name;

    if (hs->no_sni || !name)
        return 0;
    if (!is_dns_name(name) && !(name = sole_name(hs->peer_patterns)))
        return 0;
    return gnutls_server_name_set(session, GNUTLS_NAME_DNS, name, strlen(name));
}

/* The server chooses, and the order of the side that dialled counts: so the roles, which are a matter of chance, change
 * nothing. */
static int set_protocols(const struct handshake *hs, gnutls_session_t session, bool server)
{
    gnutls_datum_t names[PROTOCOLS_MAX];
    const char *list = hs->alpn;
    unsigned count = 0, flags = server && hs->connected_side ? GNUTLS_ALPN_SERVER_PRECEDENCE : 0;

    while (count < PROTOCOLS_MAX && next_protocol(&list, &names[count]))
        count++;
    return count ? gnutls_alpn_set_protocols(session, names, count, flags) : 0;
}

int handshake_names_set(const struct handshake *hs, gnutls_session_t session, bool server)
{
    int e = server ? 0 : set_server_name(hs, session);
    return e < 0 ? e : set_protocols(hs, session, server);
}

static bool offers_one_of_ours(const struct handshake *hs)
{
    const char *list = hs->alpn;
    gnutls_datum_t name;

    while (next_protocol(&list, &name))
        if (hello_offers_protocol(&hs->first, name.data, name.size))
            return true;
    return false;
}

/* Both sides put their whole list into their hello, so that a discarded one is as good for this as one that is
 * answered. If a hello was changed on its way, the echo or the transcript tells before anything is shown. */
enum result handshake_names_judge(struct handshake *hs)
{
    (void)hello_server_name(&hs->first, hs->secrets.server_name);
    if (!hs->alpn || offers_one_of_ours(hs))
        return RESULT_AGAIN;
    return handshake_fail(hs, RESULT_PROTOCOL, ALERT_NO_APPLICATION_PROTOCOL,
                          hs->first.alpn.at ? "the peer speaks none of the application protocols of alpn= here: "
                                              "compare alpn= on both sides"
                                            : "the peer asks for no application protocol, and alpn= here demands one: "
                                              "set alpn= on both sides");
}

const char *handshake_names_agreed(struct handshake *hs, uint8_t *alert)
{
    const char *list = hs->alpn;
    gnutls_datum_t agreed, name;

    if (!hs->alpn)
        return NULL;
    *alert = ALERT_NO_APPLICATION_PROTOCOL;
    if (gnutls_alpn_get_selected_protocol(hs->session, &agreed) < 0)
        return "the peer agreed on no application protocol, and alpn= here demands one: set alpn= on both sides";
    *alert = ALERT_ILLEGAL_PARAMETER; /* RFC 7301 section 3.1: one of those that the client named */
    while (next_protocol(&list, &name)) {
        if (name.size != agreed.size || memcmp(name.data, agreed.data, name.size) != 0)
            continue;
        snprintf(hs->secrets.alpn, sizeof hs->secrets.alpn, "%.*s", (int)name.size, (const char *)name.data);
        return NULL;
    }
    return "the peer chose an application protocol that alpn= here does not name";
}
