/* A stapled OCSP answer (RFC 6960, RFC 8446 section 4.4.2.1): does it say, in force and signed, that the peer's
 * certificate is good? */
#include "trust_internal.h"

#include <gnutls/ocsp.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { CLOCK_SKEW_S = 300, UNDATED_VALID_S = 86400 };

static bool refuse(char *reason, const char *text)
{
    snprintf(reason, REASON_MAX, "%s", text);
    return false;
}

/* RFC 6960 section 4.2.2.1: without nextUpdate newer information is to be had at any time; a day is what is taken. */
static bool is_in_force(time_t from, time_t until, time_t now, char *reason)
{
    if (from == (time_t)-1 || from > now + CLOCK_SKEW_S)
        return refuse(reason, "has a stapled OCSP answer of a later date than now: check the clocks of both machines");
    if (until == (time_t)-1)
        until = from + UNDATED_VALID_S;
    if (until < now - CLOCK_SKEW_S)
        return refuse(reason, "has a stapled OCSP answer that has expired: the remote side must fetch a new one");
    return true;
}

static bool says_good(gnutls_ocsp_resp_const_t answer, unsigned i, time_t now, char *reason)
{
    unsigned status = GNUTLS_OCSP_CERT_UNKNOWN;
    time_t from = (time_t)-1, until = (time_t)-1, revoked = (time_t)-1;

    if (gnutls_ocsp_resp_get_single(answer, i, NULL, NULL, NULL, NULL, &status, &from, &until, &revoked, NULL) < 0)
        return refuse(reason, "has a stapled OCSP answer that cannot be read");
    if (status == GNUTLS_OCSP_CERT_REVOKED)
        return refuse(reason, "was revoked, as its stapled OCSP answer says: the remote side needs a new one");
    if (status != GNUTLS_OCSP_CERT_GOOD)
        return refuse(reason, "is unknown to the responder that made its stapled OCSP answer");
    return is_in_force(from, until, now, reason);
}

static bool find_single(gnutls_ocsp_resp_const_t answer, gnutls_x509_crt_t cert, time_t now, char *reason)
{
    enum { SINGLES_MAX = 16 };

    for (unsigned i = 0; i < SINGLES_MAX; i++)
        if (gnutls_ocsp_resp_check_crt(answer, i, cert) >= 0)
            return says_good(answer, i, now, reason);
    return refuse(reason, "has a stapled OCSP answer about another certificate");
}

static bool judge(gnutls_ocsp_resp_const_t answer, gnutls_x509_crt_t cert, gnutls_x509_crt_t issuer, time_t now,
                  char *reason)
{
    unsigned flaws = 0;

    if (gnutls_ocsp_resp_get_status(answer) != GNUTLS_OCSP_RESP_SUCCESSFUL)
        return refuse(reason, "has a stapled OCSP answer that is a responder's error");
    if (gnutls_ocsp_resp_verify_direct(answer, issuer, &flaws, 0) < 0 || flaws)
        return refuse(reason, "has a stapled OCSP answer that its CA has not signed");
    return find_single(answer, cert, now, reason);
}

bool ocsp_clears(const struct shown_peer *shown, const struct trust_path *path, time_t now, char reason[REASON_MAX])
{
    gnutls_x509_crt_t issuer = path->count > 1 ? path->certs[1] : path->anchor;
    gnutls_ocsp_resp_t answer;

    if (!shown->staple.size)
        return refuse(reason,
                      "came without a stapled OCSP answer, which ocsp=stapled asks for: set ocsp-staple= there");
    if (!path->count || !issuer)
        return refuse(reason, "has an issuer that is not known here, so its stapled OCSP answer cannot be checked");
    if (gnutls_ocsp_resp_init(&answer) < 0)
        return refuse(reason, "cannot be checked: out of memory");
    bool good = gnutls_ocsp_resp_import(answer, &shown->staple) >= 0;
    if (good)
        good = judge(answer, path->certs[0], issuer, now, reason);
    else
        refuse(reason, "has a stapled OCSP answer that cannot be read");
    gnutls_ocsp_resp_deinit(answer);
    return good;
}
