/* Names for certificates, as people write them: those that peer= compares (docs/POLICY.md). */
#include "keys.h"
#include "tool.h"

#include "policy_internal.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

static bool keep(struct alternative_name *name, gnutls_x509_subject_alt_name_t kind, const char *words,
                 const void *bytes, size_t len)
{
    if (len == 0 || len > sizeof name->bytes)
        return false;
    name->kind = kind;
    name->len = (unsigned)len;
    memcpy(name->bytes, bytes, len);
    if (kind != GNUTLS_SAN_IPADDRESS)
        snprintf(name->shown, sizeof name->shown, "%s%.*s", words, (int)len, (const char *)bytes);
    return true;
}

static bool take_address(struct alternative_name *name, const char *text)
{
    unsigned char bytes[16];
    char bare[INET6_ADDRSTRLEN + 2];
    const size_t len = strlen(text);
    const bool bracketed = len > 2 && text[0] == '[' && text[len - 1] == ']';
    int family = AF_INET;

    if (len >= sizeof bare)
        return false;
    snprintf(bare, sizeof bare, "%.*s", (int)(len - (bracketed ? 2 : 0)), text + bracketed);
    if (bracketed || inet_pton(AF_INET, bare, bytes) != 1)
        family = AF_INET6;
    if (family == AF_INET6 && inet_pton(AF_INET6, bare, bytes) != 1)
        return false;
    inet_ntop(family, bytes, name->shown, sizeof name->shown);
    return keep(name, GNUTLS_SAN_IPADDRESS, "", bytes, family == AF_INET ? 4 : 16);
}

/* In ASCII (IDNA 2008), without the root's dot; a wildcard is the whole first label (RFC 6125 section 6.4.3). */
static bool take_dns(struct alternative_name *name, const char *text)
{
    gnutls_datum_t ascii = {0};
    const size_t star = strncmp(text, "*.", 2) == 0 ? 2 : 0;
    char full[NAME_BYTES + 3];

    if (gnutls_idna_map(text + star, (unsigned)strlen(text + star), &ascii, 0) < 0)
        return false;
    size_t len = strlen((const char *)ascii.data);
    if (len > 1 && ascii.data[len - 1] == '.')
        len--;
    const bool good = policy_is_host_name((const char *)ascii.data, len);
    snprintf(full, sizeof full, "%.*s%.*s", (int)star, text, (int)(good ? len : 0), (const char *)ascii.data);
    gnutls_free(ascii.data);
    return good && keep(name, GNUTLS_SAN_DNSNAME, "", full, strlen(full));
}

static bool is_visible(const char *text)
{
    for (; *text; text++)
        if (*text <= ' ' || *text > '~')
            return false;
    return true;
}

static bool take(struct alternative_name *name, const char *text)
{
    if (strncmp(text, "ip:", 3) == 0)
        return take_address(name, text + 3);
    if (strncmp(text, "dns:", 4) == 0)
        return take_dns(name, text + 4);
    if (strncmp(text, "uri:", 4) == 0)
        return is_visible(text + 4) && strchr(text + 4, ':') &&
               keep(name, GNUTLS_SAN_URI, "uri:", text + 4, strlen(text + 4));
    if (strncmp(text, "email:", 6) == 0)
        return is_visible(text + 6) && strchr(text + 6, '@') &&
               keep(name, GNUTLS_SAN_RFC822NAME, "email:", text + 6, strlen(text + 6));
    return take_address(name, text) || take_dns(name, text);
}

bool names_add(struct names *names, const char *text)
{
    if (names->count == NAMES_MAX)
        (void)usage_error("more than %d names", NAMES_MAX);
    else if (!take(&names->all[names->count], text))
        (void)usage_error("'%s' is no name for a certificate: expected a DNS name, an IP address, uri:URI or "
                          "email:USER@NAME",
                          text);
    else
        return ++names->count;
    return false;
}
