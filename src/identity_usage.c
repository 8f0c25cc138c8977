/* Extended key usage: a policy option (usage=role), since a certificate is good in either TLS role otherwise. */
#include "identity_internal.h"

#include <string.h>

enum { OID_MAX = 128 };

bool identity_usage_fits(gnutls_x509_crt_t cert, bool is_server)
{
    const char *wanted = is_server ? GNUTLS_KP_TLS_WWW_SERVER : GNUTLS_KP_TLS_WWW_CLIENT;

    for (unsigned i = 0;; i++) {
        char oid[OID_MAX];
        size_t len = sizeof oid;
        const int e = gnutls_x509_crt_get_key_purpose_oid(cert, i, oid, &len, NULL);
        if (e == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
            return i == 0; /* no extension: any purpose */
        if (e == GNUTLS_E_SHORT_MEMORY_BUFFER)
            continue; /* longer than any that is known */
        if (e < 0)
            return false;
        if (strcmp(oid, wanted) == 0 || strcmp(oid, GNUTLS_KP_ANY) == 0)
            return true;
    }
}
