/* The own OCSP staple: an answer about our certificate, fetched by somebody else (a cron job), which is shown beside it
 * (RFC 8446 section 4.4.2.1). */
#include "identity_internal.h"

#include <string.h>

#include <fcntl.h>
#include <gnutls/ocsp.h>
#include <time.h>

static enum result check_answer(const struct identity *id, gnutls_ocsp_resp_t answer, const char *path, char *why)
{
    gnutls_x509_crt_t leaf;

    if (gnutls_ocsp_resp_get_status(answer) != GNUTLS_OCSP_RESP_SUCCESSFUL)
        return identity_refuse(why, "%s holds an OCSP responder's error, not an answer: ask for it again", path);
    if (gnutls_x509_crt_init(&leaf) < 0)
        return identity_nomem(why);
    int e = gnutls_x509_crt_import(leaf, &id->chain[0].cert, GNUTLS_X509_FMT_DER);
    if (e >= 0)
        e = gnutls_ocsp_resp_check_crt(answer, 0, leaf);
    gnutls_x509_crt_deinit(leaf);
    if (e < 0)
        return identity_refuse(why, "%s is no OCSP answer about the first certificate of cert=: ask for it again",
                               path);
    return RESULT_OK;
}

/* Peers refuse an answer that is too old, so it is left out then (present_own); the date is for the warning. */
static time_t end_of(gnutls_ocsp_resp_t answer)
{
    time_t next = (time_t)-1;

    (void)gnutls_ocsp_resp_get_single(answer, 0, NULL, NULL, NULL, NULL, NULL, NULL, &next, NULL, NULL);
    return next == (time_t)-1 ? 0 : next;
}

static int copy_staple(struct identity *id, const gnutls_datum_t *der)
{
    id->staple.response.data = gnutls_malloc(der->size);
    if (!id->staple.response.data)
        return GNUTLS_E_MEMORY_ERROR;
    memcpy(id->staple.response.data, der->data, der->size);
    id->staple.response.size = der->size;
    return 0;
}

static enum result take_staple(struct identity *id, const gnutls_datum_t *der, const char *path, char *why)
{
    gnutls_ocsp_resp_t answer;

    if (gnutls_ocsp_resp_init(&answer) < 0)
        return identity_nomem(why);
    const int e = gnutls_ocsp_resp_import(answer, der);
    enum result r = e < 0 ? identity_refuse(why, "%s is no OCSP answer in DER: %s", path, gnutls_strerror(e))
                          : check_answer(id, answer, path, why);
    if (r == RESULT_OK) {
        id->staple.exptime = end_of(answer);
        r = copy_staple(id, der) < 0 ? identity_nomem(why) : RESULT_OK;
    }
    gnutls_ocsp_resp_deinit(answer);
    return r;
}

enum result identity_staple_load(struct identity *id, const char *path, char *why)
{
    struct secret_bytes file;

    if (id->kind != IDENTITY_X509)
        return identity_refuse(why, "ocsp-staple= needs cert=: a raw public key has no issuer to ask");
    enum result r = identity_file_read(AT_FDCWD, path, path, FILE_PUBLIC, &file, why);
    const gnutls_datum_t der = {file.bytes, (unsigned)file.len};
    if (r == RESULT_OK)
        r = take_staple(id, &der, path, why);
    secret_wipe(&file);
    return r;
}
