/* Certificates: what is in them, and how long they are good. RFC 5280 section 4. */
#include "keys.h"

#include "identity_internal.h"
#include "tool.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <stdlib.h>
#include <string.h>

enum {
    HOUR = 3600,
    DAY = 24 * HOUR,
    CLOCK_SKEW = HOUR, /* other machines' clocks may be behind */
    DAYS_MAX = 36500,
    COMMON_NAME_MAX = 64, /* ub-common-name */
    SERIAL_BYTES = 16,
};

static bool parse_until(const char *text, time_t *out)
{
    struct tm tm = {0};
    const char *end = strptime(text, "%Y-%m-%d", &tm);

    if (end && *end == 'T')
        end = strptime(end, "T%H:%M:%SZ", &tm);
    if (end && !*end) {
        *out = timegm(&tm);
        return true;
    }
    (void)usage_error("--until takes a date, 2027-01-31 or 2027-01-31T18:00:00Z (UTC), found '%s'", text);
    return false;
}

bool validity_parse(const struct validity_options *o, unsigned days_default, struct validity *out)
{
    const time_t now = time(NULL);
    unsigned long number = days_default;

    out->from = now - CLOCK_SKEW;
    if ((o->days != NULL) + (o->hours != NULL) + (o->until != NULL) > 1) {
        (void)usage_error("--days, --hours and --until say the same: give one");
        return false;
    }
    if (o->until) {
        if (!parse_until(o->until, &out->until))
            return false;
        if (out->until > now)
            return true;
        (void)usage_error("--until %s is over", o->until);
        return false;
    }
    if (o->days && !parse_number("--days", o->days, 1, DAYS_MAX, &number))
        return false;
    if (o->hours && !parse_number("--hours", o->hours, 1, DAYS_MAX * 24UL, &number))
        return false;
    out->until = now + (time_t)number * (o->hours ? HOUR : DAY);
    return true;
}

/* Random, positive and of full length (section 4.1.2.2). */
static int set_serial(gnutls_x509_crt_t c)
{
    unsigned char serial[SERIAL_BYTES];
    const int e = gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof serial);

    if (e < 0)
        return e;
    serial[0] = (serial[0] & 0x7f) | 0x40;
    return gnutls_x509_crt_set_serial(c, serial, sizeof serial);
}

static int set_subject(gnutls_x509_crt_t c, const struct certificate_plan *plan)
{
    const char *name = plan->common_name;

    if (!name && plan->names && plan->names->count && strlen(plan->names->all[0].shown) <= COMMON_NAME_MAX)
        name = plan->names->all[0].shown;
    if (!name)
        name = "p2ptls";
    return gnutls_x509_crt_set_dn_by_oid(c, GNUTLS_OID_X520_COMMON_NAME, 0, name, (unsigned)strlen(name));
}

static int set_names(gnutls_x509_crt_t c, const struct names *names)
{
    int e = 0;

    for (unsigned i = 0; names && i < names->count && e >= 0; i++) {
        const struct alternative_name *n = &names->all[i];
        e = gnutls_x509_crt_set_subject_alt_name(c, n->kind, n->bytes, n->len, GNUTLS_FSAN_APPEND);
    }
    return e;
}

/* An authority signs end certificates only. A node is TLS client or server as it comes. */
static int set_purpose(gnutls_x509_crt_t c, bool authority)
{
    if (authority) {
        const int e = gnutls_x509_crt_set_basic_constraints(c, 1, 0);
        return e < 0 ? e : gnutls_x509_crt_set_key_usage(c, GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN);
    }
    int e = gnutls_x509_crt_set_basic_constraints(c, 0, -1);
    if (e >= 0)
        e = gnutls_x509_crt_set_key_usage(c, GNUTLS_KEY_DIGITAL_SIGNATURE);
    if (e >= 0)
        e = gnutls_x509_crt_set_key_purpose_oid(c, GNUTLS_KP_TLS_WWW_SERVER, 0);
    return e < 0 ? e : gnutls_x509_crt_set_key_purpose_oid(c, GNUTLS_KP_TLS_WWW_CLIENT, 0);
}

/* Section 4.2.1.2, method 1, or what the issuer's certificate says. */
static int set_key_ids(gnutls_x509_crt_t c, gnutls_pubkey_t key, gnutls_x509_crt_t issuer)
{
    unsigned char id[64];
    size_t len = sizeof id;
    int e = gnutls_pubkey_get_key_id(key, 0, id, &len);

    if (e >= 0)
        e = gnutls_x509_crt_set_subject_key_id(c, id, len);
    if (e < 0 || !issuer)
        return e;
    len = sizeof id;
    e = gnutls_x509_crt_get_subject_key_id(issuer, id, &len, NULL);
    if (e == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
        return 0;
    return e < 0 ? e : gnutls_x509_crt_set_authority_key_id(c, id, len);
}

static int sign(gnutls_x509_crt_t c, gnutls_x509_crt_t issuer, gnutls_privkey_t signer)
{
    gnutls_digest_algorithm_t hash = GNUTLS_DIG_SHA256;
    gnutls_pubkey_t public = NULL;
    int e = gnutls_pubkey_init(&public);

    if (e >= 0)
        e = gnutls_pubkey_import_privkey(public, signer, 0, 0);
    if (e >= 0)
        e = gnutls_pubkey_get_preferred_hash_algorithm(public, &hash, NULL);
    if (public)
        gnutls_pubkey_deinit(public);
    return e < 0 ? e : gnutls_x509_crt_privkey_sign(c, issuer ? issuer : c, signer, hash, 0);
}

bool certificate_make(const struct certificate_plan *plan, gnutls_pubkey_t key, gnutls_x509_crt_t issuer,
                      gnutls_privkey_t signer, gnutls_x509_crt_t *out)
{
    gnutls_x509_crt_t c = NULL;
    int e = gnutls_x509_crt_init(&c);

    if (e >= 0)
        e = gnutls_x509_crt_set_version(c, 3);
    if (e >= 0)
        e = set_serial(c);
    if (e >= 0)
        e = set_subject(c, plan);
    if (e >= 0)
        e = gnutls_x509_crt_set_activation_time(c, plan->validity.from);
    if (e >= 0)
        e = gnutls_x509_crt_set_expiration_time(c, plan->validity.until);
    if (e >= 0)
        e = set_purpose(c, plan->authority);
    if (e >= 0)
        e = set_names(c, plan->names);
    if (e >= 0)
        e = gnutls_x509_crt_set_pubkey(c, key);
    if (e >= 0)
        e = set_key_ids(c, key, issuer);
    if (e >= 0)
        e = sign(c, issuer, signer);
    *out = c;
    if (e < 0 && c)
        gnutls_x509_crt_deinit(c);
    return !gnutls_failed(e, "cannot make the certificate");
}

bool certificate_load(const char *path, gnutls_x509_crt_t *out)
{
    struct secret_bytes pem;
    char why[IDENTITY_WHY_MAX];

    if (identity_file_read(AT_FDCWD, path, path, FILE_PUBLIC, &pem, why) != RESULT_OK) {
        (void)failed("%s", why);
        return false;
    }
    const gnutls_datum_t text = {pem.bytes, (unsigned)pem.len};
    int e = gnutls_x509_crt_init(out);
    if (e >= 0 && (e = gnutls_x509_crt_import(*out, &text, GNUTLS_X509_FMT_PEM)) < 0)
        gnutls_x509_crt_deinit(*out);
    secret_wipe(&pem);
    if (e < 0)
        (void)failed("%s holds no readable certificate: %s", path, gnutls_strerror(e));
    return e >= 0;
}

bool certificate_export(gnutls_x509_crt_t certificate, gnutls_datum_t *pem)
{
    return !gnutls_failed(gnutls_x509_crt_export2(certificate, GNUTLS_X509_FMT_PEM, pem), "cannot write as PEM");
}

void print_date(time_t t, char out[32])
{
    identity_print_date(t, out);
}

static void tell_name(unsigned type, const unsigned char *bytes, size_t len)
{
    char text[INET6_ADDRSTRLEN] = "";

    if (type == GNUTLS_SAN_IPADDRESS && (len == 4 || len == 16)) {
        inet_ntop(len == 4 ? AF_INET : AF_INET6, bytes, text, sizeof text);
        printf(" %s", text);
        return;
    }
    fputs(type == GNUTLS_SAN_URI ? " uri:" : type == GNUTLS_SAN_RFC822NAME ? " email:" : " ", stdout);
    print_clean(stdout, (const char *)bytes);
}

/* A certificate as others read it: the one that was just made keeps its names to itself. */
static int read_again(gnutls_x509_crt_t made, gnutls_x509_crt_t *out)
{
    gnutls_datum_t der = {0};
    int e = gnutls_x509_crt_export2(made, GNUTLS_X509_FMT_DER, &der);

    *out = NULL;
    if (e >= 0)
        e = gnutls_x509_crt_init(out);
    if (e >= 0)
        e = gnutls_x509_crt_import(*out, &der, GNUTLS_X509_FMT_DER);
    gnutls_free(der.data);
    return e;
}

static void tell_names(gnutls_x509_crt_t c)
{
    unsigned i = 0;

    for (; i < NAMES_MAX; i++) {
        unsigned char bytes[1024] = "";
        size_t len = sizeof bytes - 1;
        const int type = gnutls_x509_crt_get_subject_alt_name(c, i, bytes, &len, NULL);
        if (type < 0)
            break;
        fputs(i ? "" : "  names:", stdout);
        tell_name((unsigned)type, bytes, len);
    }
    fputs(i ? "\n" : "", stdout);
}

bool certificate_tell(const char *path, gnutls_x509_crt_t made)
{
    gnutls_x509_crt_t c = NULL;
    char from[32], until[32], pin[PIN_TEXT];
    gnutls_datum_t subject = {0};
    gnutls_pubkey_t key = NULL;
    unsigned critical = 0;
    int e = read_again(made, &c);

    if (e >= 0)
        e = gnutls_pubkey_init(&key);
    if (e >= 0)
        e = gnutls_pubkey_import_x509(key, c, 0);
    if (e >= 0)
        e = gnutls_x509_crt_get_dn3(c, &subject, 0);
    const bool good = !gnutls_failed(e, "cannot read the certificate") && key_pin(key, pin);
    if (good) {
        print_date(gnutls_x509_crt_get_activation_time(c), from);
        print_date(gnutls_x509_crt_get_expiration_time(c), until);
        printf("%s: %s of ", path,
               gnutls_x509_crt_get_ca_status(c, &critical) > 0 ? "certificate of an authority" : "certificate");
        print_clean(stdout, (const char *)subject.data);
        printf(" (%s)\n", key_words(key));
        tell_names(c);
        printf("  good from %s until %s\n  pin=%s\n", from, until, pin);
    }
    gnutls_free(subject.data);
    if (key)
        gnutls_pubkey_deinit(key);
    if (c)
        gnutls_x509_crt_deinit(c);
    return good;
}
