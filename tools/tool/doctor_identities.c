/* Keys, certificates and authorities of the rules: loaded by the library's own code, which says what is wrong. */
#include "doctor.h"
#include "keys.h"

#include "identity_internal.h"
#include "log.h"
#include "trust_internal.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the library would log while it loads. */
static void take_log(const struct log_entry *entry)
{
    if (entry->level <= LOG_LEVEL_WARN)
        found(FINDING_NOTE, "identity", "%s", entry->text);
}

/* ---- the per-user identity ------------------------------------------------------------------------------------ */

static void examine_place(const char *folder)
{
    char path[PATH_MAX];
    struct stat s;

    snprintf(path, sizeof path, "%s", folder);
    for (char *slash; stat(path, &s) != 0 && (slash = strrchr(path, '/')) && slash != path;)
        *slash = '\0';
    if (access(path, W_OK | X_OK) != 0)
        found(FINDING_FAULT, "identity", "the per-user identity cannot be made in %s: user id %u may not write to %s",
              folder, (unsigned)geteuid(), path);
    else
        found(FINDING_OK, "identity", "%s/identity.pem will be made at first need", folder);
}

/* NULL: it is not to be touched, since looking must not make it. */
static const char *state_folder(const struct policy_rule *rule)
{
    static char folder[PATH_MAX];
    char file[PATH_MAX + 16];
    const bool needs_own = (!rule->own.key_file && !rule->own.psk_file) || rule->trust.expression.terms & TRUST_OWN;

    if (!find_state_folder(folder, sizeof folder)) {
        if (needs_own)
            found(FINDING_FAULT, "identity", "there is no place for the per-user identity: set HOME");
        return NULL;
    }
    snprintf(file, sizeof file, "%s/identity.pem", folder);
    if (!needs_own || access(file, F_OK) == 0)
        return folder;
    examine_place(folder);
    return NULL;
}

/* ---- certificates ---------------------------------------------------------------------------------------------- */

static void examine_authority(gnutls_x509_crt_t certificate, const char *path)
{
    const time_t now = time(NULL), from = gnutls_x509_crt_get_activation_time(certificate),
                 until = gnutls_x509_crt_get_expiration_time(certificate);
    char date[32];

    if (now >= until) {
        print_date(until, date);
        found(FINDING_FAULT, "authority",
              "%s expired on %s: nobody whom it issued is accepted; make a new one (p2ptls genca), and sign anew", path,
              date);
    } else if (now < from) {
        print_date(from, date);
        found(FINDING_FAULT, "authority", "%s is good from %s only: set the clock, if it is behind", path, date);
    }
}

/* ctx: not NULL if they are authorities. */
static enum result examine_certificates(void *ctx, const struct secret_bytes *bytes, const char *path, char *why)
{
    const gnutls_datum_t text = {bytes->bytes, (unsigned)bytes->len};
    gnutls_x509_crt_t *all = NULL;
    unsigned count = 0;

    (void)why;
    if (gnutls_x509_crt_list_import2(&all, &count, &text, GNUTLS_X509_FMT_PEM, 0) < 0)
        return RESULT_OK; /* identity_load has said so */
    for (unsigned i = 0; i < count; i++) {
        if (ctx)
            examine_authority(all[i], path);
        doctor_clock_certificate(all[i]);
        gnutls_x509_crt_deinit(all[i]);
    }
    gnutls_free(all);
    return RESULT_OK;
}

static void examine_list(const char *ca, bool authorities)
{
    static const char *const suffixes[] = {".pem", ".crt", ".cer", NULL};
    char *list = strdup(ca ? ca : ""), *rest = list, *item, why[IDENTITY_WHY_MAX];
    void *ctx = authorities ? &authorities : NULL;

    while (list && (item = strsep(&rest, ",")))
        if (item[0] == '/' && trust_files_read(item, suffixes, examine_certificates, ctx, why) == RESULT_OK)
            doctor_clock_file(authorities ? "the authority" : "the certificate", item);
    free(list);
}

/* ---- rules ---------------------------------------------------------------------------------------------------- */

static void examine_own(const struct policy_rule *rule, const char *where)
{
    const struct identity_config config = {.own = &rule->own,
                                           .trust = &rule->trust,
                                           .auth = rule->auth,
                                           .show = rule->show,
                                           .usage = rule->usage,
                                           .state_dir = state_folder(rule)};
    const bool own = rule->own.key_file || rule->own.psk_file;
    struct identity *id = NULL;
    char why[IDENTITY_WHY_MAX] = "";
    time_t warned = 0;

    if (!config.state_dir && (!own || rule->trust.expression.terms & TRUST_OWN))
        return;
    if (identity_load(&config, &id, why) != RESULT_OK) {
        found(FINDING_FAULT, "identity", "%s", why);
        return;
    }
    identity_warn_expiry(id, where, time(NULL), &warned);
    identity_unref(id);
    found(FINDING_OK, "identity", "%s",
          rule->own.cert_file  ? rule->own.cert_file
          : rule->own.psk_file ? rule->own.psk_file
          : rule->own.key_file ? rule->own.key_file
                               : "the per-user identity");
    doctor_clock_file("the file", rule->own.psk_file);
}

void doctor_identities(const struct policy *policy)
{
    char where[400];

    log_set_sink(take_log, LOG_LEVEL_WARN);
    for (size_t i = 0; i < policy_count(policy); i++) {
        const struct policy_rule *rule = policy_rule_at(policy, i);
        if (rule->action != POLICY_PROTECT)
            continue;
        snprintf(where, sizeof where, "%s:%u", rule->source, rule->line);
        examine_own(rule, where);
        examine_list(rule->own.cert_file, false);
        examine_list(rule->trust.ca, true);
    }
    doctor_clock_verdict();
}
