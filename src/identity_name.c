/* Does a certificate carry a name, or one that fits a pattern of peer=? RFC 6125 on subject alternative names only:
 * gnutls_x509_crt_check_hostname2 falls back to the common name when it finds no DNS name, or stops early at an entry
 * that does not fit its buffer. URIs and e-mail addresses it does not know. */
#include "trust_internal.h"

#include <arpa/inet.h>
#include <gnutls/x509-ext.h>
#include <string.h>
#include <strings.h>

enum { DNS_NAME_MAX = 253, PATTERN_MAX = 1024, COMMON_NAME_MAX = 256 };

enum name_kind {
    NAME_DNS = 0,
    NAME_BELOW /* *.NAME */,
    NAME_IP,
    NAME_URI,
    NAME_URI_BELOW /* PREFIX/ and * */,
    NAME_EMAIL
};

struct wanted_name {
    enum name_kind kind;
    uint8_t ip[16];
    size_t ip_len;
    char dns[DNS_NAME_MAX + 1]; /* A-labels, without the root's dot; of an e-mail address the part behind the @ */
    size_t dns_len;
    const char *text; /* of a URI, or of an e-mail address up to the @; not terminated */
    size_t text_len;
};

static bool want_ip(struct wanted_name *want, const char *name)
{
    if (inet_pton(AF_INET, name, want->ip) == 1)
        want->ip_len = 4;
    else if (inet_pton(AF_INET6, name, want->ip) == 1)
        want->ip_len = 16;
    if (want->ip_len)
        want->kind = NAME_IP;
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

/* One label, the whole of it and no wildcard, in front of what the pattern names; or the same wildcard. */
static bool below_matches(const struct wanted_name *want, const gnutls_datum_t *san)
{
    const char *name = (const char *)san->data;
    const char *rest = san->size ? memchr(name, '.', san->size) : NULL;

    if (!rest || rest == name || memchr(name, '\0', san->size))
        return false;
    const size_t label = (size_t)(rest - name), rest_len = san->size - label - 1;
    if (memchr(name, '*', label) && label != 1)
        return false;
    return rest_len == want->dns_len && strncasecmp(rest + 1, want->dns, rest_len) == 0;
}

static bool has_dot_segment(const char *text, size_t len)
{
    return memmem(text, len, "/../", 4) || memmem(text, len, "/./", 3) ||
           (len >= 3 && !memcmp(text + len - 3, "/..", 3)) || (len >= 2 && !memcmp(text + len - 2, "/.", 2));
}

/* What is read as another path than its bytes say, by those who resolve or decode it: dot segments, percent-encoding, a
 * query, a fragment, empty segments. SPIFFE IDs have none of these. */
static bool is_plain_path(const char *rest, size_t len)
{
    return *rest != '/' && !memmem(rest, len, "//", 2) && !memchr(rest, '%', len) && !memchr(rest, '?', len) &&
           !memchr(rest, '#', len) && !memchr(rest, '\\', len) && !memchr(rest, '\0', len);
}

/* Byte by byte: RFC 3986 section 6.2.1, and SPIFFE IDs are lower case already. */
static bool uri_matches(const struct wanted_name *want, const gnutls_datum_t *san)
{
    const char *uri = (const char *)san->data;

    if (san->size < want->text_len || memcmp(uri, want->text, want->text_len) != 0)
        return false;
    if (want->kind == NAME_URI)
        return san->size == want->text_len;
    return san->size > want->text_len && is_plain_path(uri + want->text_len, san->size - want->text_len) &&
           !has_dot_segment(uri, san->size);
}

/* RFC 5280 section 7.5: the local part exactly, the host without regard to case. */
static bool email_matches(const struct wanted_name *want, const gnutls_datum_t *san)
{
    const char *mail = (const char *)san->data;

    return san->size == want->text_len + want->dns_len && memcmp(mail, want->text, want->text_len) == 0 &&
           strncasecmp(mail + want->text_len, want->dns, want->dns_len) == 0;
}

static bool san_matches(const struct wanted_name *want, unsigned type, const gnutls_datum_t *san)
{
    switch (want->kind) {
    case NAME_DNS:
        return type == GNUTLS_SAN_DNSNAME && dns_matches(want, san);
    case NAME_BELOW:
        return type == GNUTLS_SAN_DNSNAME && below_matches(want, san);
    case NAME_IP:
        return type == GNUTLS_SAN_IPADDRESS && san->size == want->ip_len &&
               memcmp(san->data, want->ip, want->ip_len) == 0;
    case NAME_URI:
    case NAME_URI_BELOW:
        return type == GNUTLS_SAN_URI && uri_matches(want, san);
    case NAME_EMAIL:
        return type == GNUTLS_SAN_RFC822NAME && email_matches(want, san);
    }
    return false;
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

static bool certificate_matches(gnutls_x509_crt_t cert, const struct wanted_name *want)
{
    gnutls_subject_alt_names_t sans;
    gnutls_datum_t extension = {0};

    if (gnutls_x509_crt_get_extension_by_oid2(cert, GNUTLS_X509EXT_OID_SAN, 0, &extension, NULL) < 0)
        return false;
    bool matches = false;
    if (gnutls_subject_alt_names_init(&sans) >= 0) {
        matches = gnutls_x509_ext_import_subject_alt_names(&extension, sans, 0) >= 0 && any_san_matches(sans, want);
        gnutls_subject_alt_names_deinit(sans);
    }
    gnutls_free(extension.data);
    return matches;
}

bool identity_name_matches(gnutls_x509_crt_t cert, const char *name)
{
    struct wanted_name want = {0};

    return (want_ip(&want, name) || want_dns(&want, name)) && certificate_matches(cert, &want);
}

/* Of several common names none is the name. */
static bool common_name_matches(gnutls_x509_crt_t cert, const char *name)
{
    char found[COMMON_NAME_MAX];
    size_t len = sizeof found, none = 0;

    if (gnutls_x509_crt_get_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 0, 0, found, &len) < 0 ||
        gnutls_x509_crt_get_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 1, 0, NULL, &none) !=
            GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
        return false;
    return len == strlen(name) && memcmp(found, name, len) == 0;
}

static void want_uri(struct wanted_name *want, const char *uri)
{
    const size_t len = strlen(uri);
    const bool below = len >= 2 && strcmp(uri + len - 2, "/*") == 0;

    want->kind = below ? NAME_URI_BELOW : NAME_URI;
    want->text = uri;
    want->text_len = below ? len - 1 : len;
}

static bool want_email(struct wanted_name *want, const char *address)
{
    const char *at = strrchr(address, '@');

    if (!at || at == address || !want_dns(want, at + 1))
        return false;
    want->kind = NAME_EMAIL;
    want->text = address;
    want->text_len = (size_t)(at + 1 - address);
    return true;
}

static bool want_host(struct wanted_name *want, const char *name)
{
    if (strncmp(name, "*.", 2) != 0)
        return want_dns(want, name);
    want->kind = NAME_BELOW;
    return want_dns(want, name + 2);
}

/* What follows prefix in text, or NULL. */
static const char *after(const char *text, const char *prefix)
{
    const size_t len = strlen(prefix);

    return strncmp(text, prefix, len) == 0 ? text + len : NULL;
}

static bool pattern_matches(gnutls_x509_crt_t cert, const struct trust_path *path, const char *pattern)
{
    struct wanted_name want = {0};
    const char *rest;
    bool known;

    if ((rest = after(pattern, "cn:")))
        return common_name_matches(cert, rest) && (!path || trust_constraints_allow_name(path, rest));
    if (after(pattern, "psk:"))
        return false; /* of a pre-shared key, which a certificate is not */
    if ((rest = after(pattern, "uri:"))) {
        want_uri(&want, rest);
        known = want.text_len > 0;
    } else if ((rest = after(pattern, "email:"))) {
        known = want_email(&want, rest);
    } else if ((rest = after(pattern, "ip:"))) {
        known = want_ip(&want, rest);
    } else if ((rest = after(pattern, "dns:"))) {
        known = want_host(&want, rest);
    } else {
        known = want_ip(&want, pattern) || want_host(&want, pattern);
    }
    return known && certificate_matches(cert, &want);
}

/* Copies the next item of a list to where it ends with a zero; false at the end. An item that is too long counts as
 * one that nothing fits. */
static bool next_pattern(const char **list, char out[PATTERN_MAX])
{
    const size_t len = strcspn(*list, ",");

    if (!**list)
        return false;
    out[0] = '\0';
    if (len < PATTERN_MAX) {
        memcpy(out, *list, len);
        out[len] = '\0';
    }
    *list += len + ((*list)[len] == ',');
    return true;
}

static bool list_matches(gnutls_x509_crt_t cert, const struct trust_path *path, const char *patterns)
{
    char pattern[PATTERN_MAX];

    while (cert && next_pattern(&patterns, pattern))
        if (pattern[0] && pattern_matches(cert, path, pattern))
            return true;
    return false;
}

bool identity_patterns_match(gnutls_x509_crt_t cert, const char *patterns)
{
    return list_matches(cert, NULL, patterns);
}

bool identity_patterns_match_path(const struct trust_path *path, const char *patterns)
{
    return list_matches(path->count ? path->certs[0] : NULL, path, patterns);
}

bool identity_patterns_match_psk(const char *name, const char *patterns)
{
    char pattern[PATTERN_MAX];
    const char *wanted;

    while (next_pattern(&patterns, pattern))
        if ((wanted = after(pattern, "psk:")) && strcmp(wanted, name) == 0)
            return true;
    return false;
}
