/* Loads what a rule trusts: CAs, pins, revocation lists, known peers. */
#include "trust_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct ca_loading {
    struct trust_store *store;
    bool any_valid;
    char date_why[IDENTITY_WHY_MAX]; /* of the last one that is not */
};

static bool is_valid_now(gnutls_x509_crt_t cert, const char *shown, char *why)
{
    const time_t now = time(NULL), from = gnutls_x509_crt_get_activation_time(cert),
                 until = gnutls_x509_crt_get_expiration_time(cert);
    char date[32];

    identity_print_date(now > until ? until : from, date);
    if (now > until)
        identity_refuse(why, "the CA in %.200s expired on %s: renew it", shown, date);
    else if (now < from)
        identity_refuse(why, "the CA in %.200s is not valid before %s: check this machine's clock", shown, date);
    else
        return true;
    return false;
}

static enum result add_file(void *ctx, const struct secret_bytes *bytes, const char *shown, char *why)
{
    const gnutls_datum_t text = {bytes->bytes, (unsigned)bytes->len};
    struct ca_loading *loading = ctx;
    gnutls_x509_crt_t *certs = NULL;
    unsigned count = 0;

    int e = gnutls_x509_crt_list_import2(&certs, &count, &text, GNUTLS_X509_FMT_PEM, 0);
    if (e < 0)
        return identity_refuse_gnutls(why, e, "%.200s holds no readable PEM certificate", shown);
    for (unsigned i = 0; i < count; i++)
        loading->any_valid = is_valid_now(certs[i], shown, loading->date_why) || loading->any_valid;
    /* The list owns the certificates from here on. */
    e = gnutls_x509_trust_list_add_cas(loading->store->anchors, certs, count, GNUTLS_TL_NO_DUPLICATES);
    gnutls_free(certs);
    if (e < 0)
        return identity_refuse_gnutls(why, e, "cannot trust the certificates in %.200s", shown);
    return RESULT_OK;
}

static enum result add_system(struct ca_loading *loading, char *why)
{
    const int n = gnutls_x509_trust_list_add_system_trust(loading->store->anchors, 0, 0);

    if (n <= 0)
        return identity_refuse(why, "ca=system: this system has no trusted CAs: install ca-certificates");
    loading->any_valid = true;
    loading->store->has_system_cas = true;
    return RESULT_OK;
}

static enum result load_cas(struct trust_store *store, const char *list, char *why)
{
    static const char *const suffixes[] = {".pem", ".crt", ".cer", NULL};
    struct ca_loading loading = {.store = store};
    char *copy = strdup(list), *rest = copy;
    enum result r = copy ? RESULT_OK : identity_nomem(why);

    for (const char *item; r == RESULT_OK && (item = strsep(&rest, ","));)
        if (*item)
            r = strcmp(item, "system") == 0 ? add_system(&loading, why)
                                            : trust_files_read(item, suffixes, add_file, &loading, why);
    free(copy);
    /* One CA of several may be past its date while they are being replaced; if all are, nobody can ever connect. */
    if (r == RESULT_OK && !loading.any_valid)
        r = identity_refuse(why, "%s", loading.date_why);
    store->has_cas = true;
    return r;
}

static enum result load_pins(struct trust_store *store, const char *list, char *why)
{
    for (const char *at = list; *at;) {
        const size_t len = strcspn(at, ",");
        uint8_t(*more)[KEY_HASH_BYTES] = realloc(store->pins, (store->pin_count + 1) * sizeof *more);
        if (!more)
            return identity_nomem(why);
        store->pins = more;
        if (!trust_parse_fingerprint(at, len, store->pins[store->pin_count++]))
            return identity_refuse(why, "pin=%.*s: expected sha256: and a SHA-256 in base64 or hexadecimal",
                                   (int)(len < 100 ? len : 100), at);
        at += len + (at[len] == ',');
    }
    return RESULT_OK;
}

static enum result open_known(struct trust_store *store, const struct policy_trust *trust, const char *state_dir,
                              char *why)
{
    char path[512];

    if (strcmp(trust->known_peers, "on") != 0)
        return known_peers_open(trust->known_peers, true, &store->known, why);
    if (!state_dir)
        return identity_refuse(why, "known-peers=on needs HOME or XDG_STATE_HOME, or give a path: known-peers=PATH");
    if (snprintf(path, sizeof path, "%s/known_peers", state_dir) >= (int)sizeof path)
        return identity_refuse(why, "the path of the known peers is too long: %.100s", state_dir);
    return known_peers_open(path, false, &store->known, why);
}

static enum result load(struct trust_store *store, const struct policy_trust *trust, const char *state_dir, char *why)
{
    enum result r = gnutls_x509_trust_list_init(&store->anchors, 0) < 0 ? identity_nomem(why) : RESULT_OK;

    if (r == RESULT_OK && trust->ca)
        r = load_cas(store, trust->ca, why);
    if (r == RESULT_OK && trust->pins)
        r = load_pins(store, trust->pins, why);
    if (r == RESULT_OK && trust->crl)
        r = revocation_load(&store->crls, trust->crl, why);
    if (r == RESULT_OK && trust->ca && !(store->verified = verified_chains_new()))
        r = identity_nomem(why);
    if (r == RESULT_OK && !(store->seen = seen_peers_new()))
        r = identity_nomem(why);
    if (r == RESULT_OK && trust->known_peers)
        r = open_known(store, trust, state_dir, why);
    return r;
}

enum result trust_store_load(const struct policy_trust *trust, const char *state_dir, struct trust_store **out,
                             char *why)
{
    struct trust_store *store = calloc(1, sizeof *store);

    *out = NULL;
    if (!store)
        return identity_nomem(why);
    store->has_crls = trust->crl;
    store->dane = trust->dane;
    store->ocsp_stapled = trust->ocsp_stapled;
    store->expression = trust->expression;
    const enum result r = load(store, trust, state_dir, why);
    if (r == RESULT_OK)
        *out = store;
    else
        trust_store_free(store);
    return r;
}

void trust_store_free(struct trust_store *store)
{
    if (!store)
        return;
    if (store->anchors)
        gnutls_x509_trust_list_deinit(store->anchors, 1);
    free(store->pins);
    verified_chains_free(store->verified);
    seen_peers_free(store->seen);
    revocation_free(&store->crls);
    known_peers_close(store->known);
    free(store);
}

bool trust_store_wants_staple(const struct trust_store *store)
{
    return store->ocsp_stapled;
}
