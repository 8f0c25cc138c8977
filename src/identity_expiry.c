/* Says in time that the own certificate, or the OCSP answer about it, is about to run out. */
#define LOG_CATEGORY LOG_CATEGORY_IDENTITY

#include "identity_internal.h"

#include "log.h"

enum { DAY = 24 * 3600, NOTICE = 14 * DAY };

/* Short-lived certificates are renewed late in their life: a tenth of it is notice enough. */
static time_t notice_of(const struct identity *id)
{
    const time_t tenth = (id->expires - id->valid_from) / 10;

    return tenth < NOTICE ? tenth : NOTICE;
}

static bool warn_certificate(const struct identity *id, const char *rule, time_t now)
{
    char date[32];

    if (id->expires == 0 || id->expires - now > notice_of(id))
        return false;
    identity_print_date(id->expires, date);
    if (now > id->expires)
        log_event(LOG_LEVEL_WARN, "%s: the own certificate expired on %s, others will refuse it: renew it", rule, date);
    else
        log_event(LOG_LEVEL_WARN, "%s: the own certificate expires on %s: renew it", rule, date);
    return true;
}

static bool warn_staple(const struct identity *id, const char *rule, time_t now)
{
    char date[32];

    if (!id->staple.response.data || id->staple.exptime == 0 || now < id->staple.exptime)
        return false;
    identity_print_date(id->staple.exptime, date);
    log_event(LOG_LEVEL_WARN, "%s: the answer in ocsp-staple= was good until %s and is not shown any more: renew it",
              rule, date);
    return true;
}

void identity_warn_expiry(const struct identity *id, const char *rule, time_t now, time_t *warned)
{
    if (*warned && now - *warned < DAY)
        return;
    const bool certificate = warn_certificate(id, rule, now);
    if (warn_staple(id, rule, now) || certificate)
        *warned = now;
}
