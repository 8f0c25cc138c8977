/* Name constraints (RFC 5280 section 4.2.1.10) as far as GnuTLS leaves them out: it processes those on DNS names, IP
 * and e-mail addresses when it verifies a chain, passes over those on URIs, and does not know that a common name is
 * taken for a name by peer=cn:. */
#include "trust_internal.h"

#include <gnutls/x509-ext.h>
#include <string.h>
#include <strings.h>

struct text {
    const char *at;
    size_t len;
};

static bool is_text(const gnutls_datum_t *name)
{
    return name->size > 0 && !memchr(name->data, '\0', name->size);
}

/* Of scheme://user@HOST:port/path. False without a host that is a name: then no constraint can be held against it. */
static bool find_host(const gnutls_datum_t *uri, struct text *host)
{
    const char *text = (const char *)uri->data, *end = text + uri->size;
    const char *at = is_text(uri) ? memmem(text, uri->size, "://", 3) : NULL;

    if (!at)
        return false;
    at += 3;
    const char *stop = at;
    for (; stop < end && !strchr("/?#", *stop); stop++)
        if (*stop == '@')
            at = stop + 1;
    const char *colon = memchr(at, ':', (size_t)(stop - at));
    *host = (struct text){at, (size_t)((colon ? colon : stop) - at)};
    if (!host->len || *at == '[' || memchr(at, '%', host->len))
        return false;
    for (size_t i = 0; i < host->len; i++)
        if (!strchr("0123456789.", host->at[i]))
            return true;
    return false; /* an address */
}

/* ".example.org": all below it; else that host alone. */
static bool constraint_covers(const gnutls_datum_t *constraint, const struct text *host)
{
    const char *text = (const char *)constraint->data;

    if (constraint->size == 0)
        return true;
    if (text[0] == '.')
        return host->len > constraint->size &&
               strncasecmp(host->at + host->len - constraint->size, text, constraint->size) == 0;
    return host->len == constraint->size && strncasecmp(host->at, text, host->len) == 0;
}

static bool constraints_allow_uri(gnutls_x509_name_constraints_t constraints, const gnutls_datum_t *uri)
{
    struct text host = {0};
    const bool has_host = find_host(uri, &host);
    bool limited = false, permitted = false;
    unsigned type;
    gnutls_datum_t name;

    for (unsigned i = 0; gnutls_x509_name_constraints_get_excluded(constraints, i, &type, &name) >= 0; i++)
        if (type == GNUTLS_SAN_URI && (!has_host || constraint_covers(&name, &host)))
            return false;
    for (unsigned i = 0; gnutls_x509_name_constraints_get_permitted(constraints, i, &type, &name) >= 0; i++) {
        if (type != GNUTLS_SAN_URI)
            continue;
        limited = true;
        permitted = permitted || (has_host && constraint_covers(&name, &host));
    }
    return !limited || permitted;
}

static bool constraints_allow_uris_of(gnutls_x509_name_constraints_t constraints, gnutls_x509_crt_t cert)
{
    gnutls_subject_alt_names_t names;
    gnutls_datum_t extension = {0};
    bool allowed = false;

    const int e = gnutls_x509_crt_get_extension_by_oid2(cert, GNUTLS_X509EXT_OID_SAN, 0, &extension, NULL);
    if (e < 0)
        return e == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE;
    if (gnutls_subject_alt_names_init(&names) >= 0) {
        unsigned type;
        gnutls_datum_t name;
        allowed = gnutls_x509_ext_import_subject_alt_names(&extension, names, 0) >= 0;
        for (unsigned i = 0; allowed && gnutls_subject_alt_names_get(names, i, &type, &name, NULL) >= 0; i++)
            allowed = type != GNUTLS_SAN_URI || constraints_allow_uri(constraints, &name);
        gnutls_subject_alt_names_deinit(names);
    }
    gnutls_free(extension.data);
    return allowed;
}

/* Of what is asked for under one CA; number: of the certificates that it stands above. */
typedef bool (*allow_fn)(gnutls_x509_name_constraints_t constraints, const struct trust_path *path, unsigned number,
                         const void *ctx);

static bool ca_allows(gnutls_x509_crt_t ca, const struct trust_path *path, unsigned number, allow_fn allow,
                      const void *ctx)
{
    gnutls_x509_name_constraints_t constraints;
    unsigned critical;

    if (gnutls_x509_name_constraints_init(&constraints) < 0)
        return false;
    const int e = gnutls_x509_crt_get_name_constraints(ca, constraints, 0, &critical);
    const bool allowed =
        e == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE || (e >= 0 && allow(constraints, path, number, ctx));
    gnutls_x509_name_constraints_deinit(constraints);
    return allowed;
}

static bool path_allows(const struct trust_path *path, allow_fn allow, const void *ctx)
{
    for (unsigned i = 1; i < path->count; i++)
        if (!ca_allows(path->certs[i], path, i, allow, ctx))
            return false;
    return !path->anchor || ca_allows(path->anchor, path, path->count, allow, ctx);
}

static bool allow_uris(gnutls_x509_name_constraints_t constraints, const struct trust_path *path, unsigned number,
                       const void *ctx)
{
    (void)ctx;
    for (unsigned i = 0; i < number; i++)
        if (!constraints_allow_uris_of(constraints, path->certs[i]))
            return false;
    return true;
}

bool trust_constraints_allow_uris(const struct trust_path *path)
{
    return path_allows(path, allow_uris, NULL);
}

static bool allow_name(gnutls_x509_name_constraints_t constraints, const struct trust_path *path, unsigned number,
                       const void *name)
{
    (void)path, (void)number;
    return gnutls_x509_name_constraints_check(constraints, GNUTLS_SAN_DNSNAME, name) != 0;
}

bool trust_constraints_allow_name(const struct trust_path *path, const char *name)
{
    const gnutls_datum_t datum = {(uint8_t *)name, (unsigned)strlen(name)};

    return path_allows(path, allow_name, &datum);
}
