/* Does a certificate carry a name? RFC 6125 on subject alternative names only: gnutls_x509_crt_check_hostname2 falls
 * back to the common name when it finds no DNS name, or stops early at an entry that does not fit its buffer. */
#include "identity_internal.h"

#include <arpa/inet.h>
#include <gnutls/x509-ext.h>
#include <string.h>
#include <strings.h>

enum { DNS_NAME_MAX = 253 };

struct wanted_name {
    uint8_t ip[16];
    size_t ip_len;              /* 0: a DNS name */
    char dns[DNS_NAME_MAX + 1]; /* A-labels, without the root's dot */
    size_t dns_len;
};

static bool want_ip(struct wanted_name *want, const char *name)
{
    if (inet_pton(AF_INET, name, want->ip) == 1)
        want->ip_len = 4;
    else if (inet_pton(AF_INET6, name, want->ip) == 1)
        want->ip_len = 16;
    return want->ip_len != 0;
}

static bool want_dns(struct wanted_name *want, const char *name)
{
    gnutls_datum_t mapped = {0};

    if (gnutls_idna_map(name, (unsigned)strlen(name), &mapped, 0) < 0)
        return false;
    size_t len = mapped.size;
    if (len > 0 && mapped.data[len - 1] == '.')
        len--;
    const bool fits = len > 0 && len <= DNS_NAME_MAX && !memchr(mapped.data, '*', len);
    if (fits) {
        memcpy(want->dns, mapped.data, len);
        want->dns[len] = '\0';
        want->dns_len = len;
    }
    gnutls_free(mapped.data);
    return fits;
}

/* The wildcard stands for exactly one label, is the whole leftmost one (section 6.4.3), and at least two labels
 * follow it: no certificate speaks for all of a top-level domain. */
static bool wildcard_matches(const struct wanted_name *want, const char *pattern, size_t len)
{
    const char *rest = memchr(want->dns, '.', want->dns_len);

    if (!rest || rest == want->dns)
        return false;
    const size_t rest_len = want->dns_len - (size_t)(rest - want->dns);
    return rest_len == len - 1 && memchr(rest + 1, '.', rest_len - 1) && strncasecmp(rest, pattern + 1, rest_len) == 0;
}

static bool dns_matches(const struct wanted_name *want, const gnutls_datum_t *san)
{
    const char *pattern = (const char *)san->data;

    if (san->size == 0 || memchr(pattern, '\0', san->size))
        return false;
    if (san->size > 2 && memcmp(pattern, "*.", 2) == 0)
        return wildcard_matches(want, pattern, san->size);
    return san->size == want->dns_len && strncasecmp(pattern, want->dns, want->dns_len) == 0;
}

static bool san_matches(const struct wanted_name *want, unsigned type, const gnutls_datum_t *san)
{
    if (want->ip_len)
        return type == GNUTLS_SAN_IPADDRESS && san->size == want->ip_len &&
               memcmp(san->data, want->ip, want->ip_len) == 0;
    return type == GNUTLS_SAN_DNSNAME && dns_matches(want, san);
}

static bool any_san_matches(gnutls_subject_alt_names_t sans, const struct wanted_name *want)
{
    for (unsigned i = 0;; i++) {
        unsigned type;
        gnutls_datum_t san;
        if (gnutls_subject_alt_names_get(sans, i, &type, &san, NULL) < 0)
            return false;
        if (san_matches(want, type, &san))
            return true;
    }
}

bool identity_name_matches(gnutls_x509_crt_t cert, const char *name)
{
    struct wanted_name want = {0};
    gnutls_subject_alt_names_t sans;
    gnutls_datum_t extension = {0};

    if (!want_ip(&want, name) && !want_dns(&want, name))
        return false;
    if (gnutls_x509_crt_get_extension_by_oid2(cert, GNUTLS_X509EXT_OID_SAN, 0, &extension, NULL) < 0)
        return false;
    bool matches = false;
    if (gnutls_subject_alt_names_init(&sans) >= 0) {
        matches = gnutls_x509_ext_import_subject_alt_names(&extension, sans, 0) >= 0 && any_san_matches(sans, &want);
        gnutls_subject_alt_names_deinit(sans);
    }
    gnutls_free(extension.data);
    return matches;
}
