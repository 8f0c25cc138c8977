/* Certificate revocation lists: read once into sorted serial numbers, judged at each handshake. GnuTLS treats a CA
 * without a list as if nothing of it were revoked, and searches a list in quadratic time; both are done here. */
#include "trust_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SERIAL_MAX = 32, LISTS_MAX = 1024 }; /* RFC 5280 section 4.1.2.2: at most 20 bytes */

struct serial {
    uint8_t len, bytes[SERIAL_MAX];
};

struct revocation_list {
    gnutls_x509_crl_t crl;
    gnutls_datum_t issuer; /* DER */
    struct serial *serials;
    size_t count;
    bool partial; /* a critical extension says that it does not speak of all that its issuer issued */
    char shown[120];
};

static int compare_serials(const void *a, const void *b)
{
    const struct serial *x = a, *y = b;

    return x->len != y->len ? (x->len < y->len ? -1 : 1) : memcmp(x->bytes, y->bytes, x->len);
}

static struct serial serial_of(const uint8_t *bytes, size_t len)
{
    struct serial s = {.len = (uint8_t)len};

    memcpy(s.bytes, bytes, len);
    return s;
}

static enum result read_serials(struct revocation_list *list, char *why)
{
    const int announced = gnutls_x509_crl_get_crt_count(list->crl);
    gnutls_x509_crl_iter_t at = NULL;
    uint8_t bytes[SERIAL_MAX];
    size_t len = sizeof bytes;
    time_t when;
    int e = 0;

    if (announced < 0)
        return identity_refuse(why, "%s cannot be read: %s", list->shown, gnutls_strerror(announced));
    list->serials = calloc((size_t)announced + 1, sizeof *list->serials);
    if (!list->serials)
        return identity_nomem(why);
    while (list->count < (size_t)announced &&
           (e = gnutls_x509_crl_iter_crt_serial(list->crl, &at, bytes, &len, &when)) >= 0) {
        list->serials[list->count++] = serial_of(bytes, len);
        len = sizeof bytes;
    }
    gnutls_x509_crl_iter_deinit(at);
    if (list->count < (size_t)announced)
        return identity_refuse(why, "%s cannot be read: %s", list->shown, gnutls_strerror(e));
    qsort(list->serials, list->count, sizeof *list->serials, compare_serials);
    return RESULT_OK;
}

/* RFC 5280 section 5.2: what is critical and not understood (a delta, one distribution point of several) narrows what
 * the list says. */
static bool is_partial(gnutls_x509_crl_t crl)
{
    char oid[128];

    for (unsigned i = 0;; i++) {
        size_t len = sizeof oid;
        unsigned critical = 0;
        const int e = gnutls_x509_crl_get_extension_info(crl, i, oid, &len, &critical);
        if (e == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
            return false;
        if (e < 0 || critical)
            return true;
    }
}

static void list_free(struct revocation_list *list)
{
    if (list->crl)
        gnutls_x509_crl_deinit(list->crl);
    gnutls_free(list->issuer.data);
    free(list->serials);
}

static enum result keep_list(struct revocation_lists *lists, gnutls_x509_crl_t crl, const char *shown, char *why)
{
    struct revocation_list list = {.crl = crl, .partial = is_partial(crl)};
    struct revocation_list *more = realloc(lists->items, (lists->count + 1) * sizeof *more);

    snprintf(list.shown, sizeof list.shown, "%s", shown);
    if (more)
        lists->items = more;
    enum result r = more ? RESULT_OK : identity_nomem(why);
    if (r == RESULT_OK && gnutls_x509_crl_get_raw_issuer_dn(crl, &list.issuer) < 0)
        r = identity_refuse(why, "%s names no issuer", list.shown);
    if (r == RESULT_OK)
        r = read_serials(&list, why);
    if (r == RESULT_OK)
        lists->items[lists->count++] = list;
    else
        list_free(&list);
    return r;
}

static enum result load_file(void *ctx, const struct secret_bytes *bytes, const char *shown, char *why)
{
    const gnutls_datum_t text = {bytes->bytes, (unsigned)bytes->len};
    const bool pem = bytes->len > 5 && memmem(bytes->bytes, bytes->len, "-----", 5) != NULL;
    struct revocation_lists *lists = ctx;
    gnutls_x509_crl_t *crls = NULL;
    unsigned count = 0;
    enum result r = RESULT_OK;

    const int e =
        gnutls_x509_crl_list_import2(&crls, &count, &text, pem ? GNUTLS_X509_FMT_PEM : GNUTLS_X509_FMT_DER, 0);
    if (e < 0 || count == 0)
        return identity_refuse(why, "%.200s holds no readable certificate revocation list", shown);
    if (count > LISTS_MAX - lists->count)
        r = identity_refuse(why, "%.200s: more than %d revocation lists in all", shown, LISTS_MAX);
    for (unsigned i = 0; i < count; i++) {
        if (r == RESULT_OK)
            r = keep_list(lists, crls[i], shown, why);
        else
            gnutls_x509_crl_deinit(crls[i]);
    }
    gnutls_free(crls);
    return r;
}

enum result revocation_load(struct revocation_lists *lists, const char *paths, char *why)
{
    static const char *const suffixes[] = {".crl", ".pem", ".der", NULL};

    return trust_files_read(paths, suffixes, load_file, lists, why);
}

void revocation_free(struct revocation_lists *lists)
{
    for (size_t i = 0; i < lists->count; i++)
        list_free(&lists->items[i]);
    free(lists->items);
    *lists = (struct revocation_lists){0};
}

static bool is_listed(const struct revocation_list *list, gnutls_x509_crt_t cert)
{
    uint8_t bytes[SERIAL_MAX];
    size_t len = sizeof bytes;

    if (gnutls_x509_crt_get_serial(cert, bytes, &len) < 0)
        return true; /* longer than any that is allowed */
    const struct serial wanted = serial_of(bytes, len);
    return bsearch(&wanted, list->serials, list->count, sizeof wanted, compare_serials) != NULL;
}

static const char UNSIGNED[] = "is not signed by it",
                  NO_SIGNER[] =
                      "is signed by a certificate that may sign none: issue the CA's anew with cRLSign in its "
                      "key usage";

/* Why a list does not count, or NULL. One issuer after the other is tried, as a CA that changes its key has two
 * certificates of one name. */
static const char *flaw_of(const struct revocation_list *list, gnutls_x509_crt_t issuer)
{
    unsigned status = 0;

    if (gnutls_x509_crl_verify(list->crl, &issuer, 1, 0, &status) < 0)
        return UNSIGNED;
    if (status & (GNUTLS_CERT_SIGNATURE_FAILURE | GNUTLS_CERT_SIGNER_NOT_FOUND | GNUTLS_CERT_SIGNER_NOT_CA |
                  GNUTLS_CERT_INSECURE_ALGORITHM))
        return UNSIGNED;
    if (status & GNUTLS_CERT_SIGNER_CONSTRAINTS_FAILURE)
        return NO_SIGNER;
    if (status & GNUTLS_CERT_REVOCATION_DATA_SUPERSEDED)
        return "has expired: fetch the new one";
    if (status & GNUTLS_CERT_REVOCATION_DATA_ISSUED_IN_FUTURE)
        return "is of a later date than now: check this machine's clock";
    if (gnutls_x509_crl_get_next_update(list->crl) == (time_t)-1)
        return "does not say until when it counts";
    if (status)
        return UNSIGNED;
    return list->partial ? "is a delta or a part of a list, which is not enough: take the complete one" : NULL;
}

static const char *flaw_by_anchors(const struct revocation_list *list, gnutls_x509_trust_list_t anchors,
                                   const char *flaw)
{
    gnutls_x509_trust_list_iter_t at = NULL;
    gnutls_x509_crt_t ca;

    while (flaw == UNSIGNED && anchors && gnutls_x509_trust_list_iter_get_ca(anchors, &at, &ca) >= 0) {
        gnutls_datum_t name = {0};
        if (gnutls_x509_crt_get_raw_dn(ca, &name) >= 0 && name.size == list->issuer.size &&
            memcmp(name.data, list->issuer.data, name.size) == 0)
            flaw = flaw_of(list, ca);
        gnutls_free(name.data);
        gnutls_x509_crt_deinit(ca);
    }
    gnutls_x509_trust_list_iter_deinit(at);
    return flaw;
}

/* A list that has expired still says what is revoked; it only cannot say that something is not. */
static bool clears_one(const struct revocation_lists *lists, gnutls_x509_crt_t cert, gnutls_x509_crt_t issuer,
                       gnutls_x509_trust_list_t anchors, const gnutls_datum_t *name, char *reason)
{
    bool cleared = false;

    for (size_t i = 0; i < lists->count; i++) {
        const struct revocation_list *list = &lists->items[i];
        if (list->issuer.size != name->size || memcmp(list->issuer.data, name->data, name->size) != 0)
            continue;
        const char *flaw = flaw_by_anchors(list, anchors, flaw_of(list, issuer));
        if (flaw != UNSIGNED && is_listed(list, cert)) {
            snprintf(reason, REASON_MAX, "was revoked (%s): the remote side needs a new one", list->shown);
            return false;
        }
        if (flaw && !cleared)
            snprintf(reason, REASON_MAX, "may be revoked: the list of its CA in %s %s", list->shown, flaw);
        cleared = cleared || !flaw;
    }
    return cleared;
}

static bool clears(const struct revocation_lists *lists, gnutls_x509_crt_t cert, gnutls_x509_crt_t issuer,
                   gnutls_x509_trust_list_t anchors, char *reason)
{
    gnutls_datum_t name = {0}, text = {0};
    char shown[PRINTABLE_MAX];

    if (gnutls_x509_crt_get_raw_issuer_dn(cert, &name) < 0)
        return false;
    if (gnutls_x509_crt_get_issuer_dn3(cert, &text, 0) < 0)
        text = (gnutls_datum_t){0};
    trust_print_clean(shown, sizeof shown, text.data, text.size);
    snprintf(reason, REASON_MAX, "may be revoked: crl= holds no list of %.100s, which issued it or its CA: add it",
             shown);
    const bool cleared = clears_one(lists, cert, issuer, anchors, &name, reason);
    gnutls_free(name.data);
    gnutls_free(text.data);
    return cleared;
}

bool revocation_clears(const struct revocation_lists *lists, const struct trust_path *path,
                       gnutls_x509_trust_list_t anchors, char reason[REASON_MAX])
{
    if (!path->count || !path->anchor) {
        snprintf(reason, REASON_MAX, "may be revoked: its issuer is not known here: add it to ca=");
        return false;
    }
    for (unsigned i = 0; i < path->count; i++)
        if (!clears(lists, path->certs[i], i + 1 < path->count ? path->certs[i + 1] : path->anchor, anchors, reason))
            return false;
    return true;
}
