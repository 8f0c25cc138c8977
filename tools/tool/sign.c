/* p2ptls sign: a certificate of a private authority, for a new key or for a request. */
#include "issue.h"
#include "tool.h"

#include <stdlib.h>
#include <string.h>

enum { DAYS = 365 };

struct authority {
    gnutls_x509_crt_t certificate;
    gnutls_privkey_t key;
};

static void close_authority(struct authority *ca)
{
    if (ca->certificate)
        gnutls_x509_crt_deinit(ca->certificate);
    if (ca->key)
        gnutls_privkey_deinit(ca->key);
}

static bool same_key(const struct authority *ca)
{
    unsigned char a[PIN_BYTES], b[PIN_BYTES];
    gnutls_pubkey_t of_key = NULL, of_certificate = NULL;

    bool same = gnutls_pubkey_init(&of_certificate) >= 0 &&
                gnutls_pubkey_import_x509(of_certificate, ca->certificate, 0) >= 0 && key_public(ca->key, &of_key) &&
                key_digest(of_key, a) && key_digest(of_certificate, b) && memcmp(a, b, sizeof a) == 0;
    if (of_key)
        gnutls_pubkey_deinit(of_key);
    if (of_certificate)
        gnutls_pubkey_deinit(of_certificate);
    return same;
}

static bool check_authority(const struct authority *ca, const char *path, const char *key_path)
{
    unsigned critical = 0, usage = 0;
    char date[32];
    const time_t now = time(NULL), from = gnutls_x509_crt_get_activation_time(ca->certificate),
                 until = gnutls_x509_crt_get_expiration_time(ca->certificate);

    if (gnutls_x509_crt_get_ca_status(ca->certificate, &critical) <= 0)
        (void)failed("%s is no certificate of an authority: it may sign nothing", path);
    else if (gnutls_x509_crt_get_key_usage(ca->certificate, &usage, &critical) >= 0 &&
             !(usage & GNUTLS_KEY_KEY_CERT_SIGN))
        (void)failed("%s may sign no certificates: its key usage is without keyCertSign", path);
    else if (!same_key(ca))
        (void)failed("%s is not the key of %s", key_path, path);
    else if (print_date(from, date), now < from)
        (void)failed("%s is good from %s only; is this machine's clock right?", path, date);
    else if (print_date(until, date), now >= until)
        (void)failed("%s has expired: %s", path, date);
    else
        return true;
    return false;
}

static bool open_authority(const struct issue *issue, const char *stem, struct authority *ca)
{
    char path[STEM_MAX], key_path[STEM_MAX];

    if (!stem_file(stem, ".pem", path) || !stem_file(stem, ".key", key_path)) {
        (void)failed("the path %.100s... is too long", stem);
        return false;
    }
    if (issue->ca_key)
        snprintf(key_path, sizeof key_path, "%s", issue->ca_key);
    return certificate_load(path, &ca->certificate) && key_load(key_path, issue->ca_passphrase_file, &ca->key) &&
           check_authority(ca, path, key_path);
}

/* Nothing that an authority signs is good for longer than it is itself. */
static void cut_validity(const struct authority *ca, struct validity *validity)
{
    const time_t from = gnutls_x509_crt_get_activation_time(ca->certificate),
                 until = gnutls_x509_crt_get_expiration_time(ca->certificate);
    char date[32];

    if (validity->from < from)
        validity->from = from;
    if (validity->until <= until)
        return;
    validity->until = until;
    print_date(until, date);
    note("the certificate ends with the authority's: %s", date);
}

/* Behind the certificate come those that lead to an anchor: an authority that is none itself. */
static bool export_chain(gnutls_x509_crt_t certificate, gnutls_x509_crt_t ca, gnutls_datum_t *pem)
{
    gnutls_datum_t own = {0}, issuer = {0};

    if (gnutls_x509_crt_check_issuer(ca, ca))
        return certificate_export(certificate, pem);
    bool done = certificate_export(certificate, &own) && certificate_export(ca, &issuer);
    if (done && (pem->data = gnutls_malloc(own.size + issuer.size))) {
        memcpy(pem->data, own.data, own.size);
        memcpy(pem->data + own.size, issuer.data, issuer.size);
        pem->size = own.size + issuer.size;
    } else if (done) {
        done = false;
        (void)failed("out of memory");
    }
    pem_free(&own);
    pem_free(&issuer);
    return done;
}

static bool certify(const struct issue *issue, struct authority *ca, struct validity *validity, gnutls_privkey_t key,
                    gnutls_pubkey_t public)
{
    gnutls_x509_crt_t certificate = NULL;
    gnutls_datum_t pem = {0};
    char path[STEM_MAX];

    cut_validity(ca, validity);
    const struct certificate_plan plan = {.names = &issue->names, .validity = *validity};
    if (!certificate_make(&plan, public, ca->certificate, ca->key, &certificate))
        return false;
    const bool done = export_chain(certificate, ca->certificate, &pem) && issue_write(issue, ".pem", &pem, key) &&
                      stem_file(issue->stem, ".pem", path) && certificate_tell(path, certificate);
    pem_free(&pem);
    gnutls_x509_crt_deinit(certificate);
    return done;
}

static bool sign(struct issue *issue, struct authority *ca, struct validity *validity)
{
    gnutls_privkey_t key = NULL;
    gnutls_pubkey_t public = NULL;

    if (issue->request ? !request_load(issue->request, &public, &issue->names) : !issue_key(issue, &key, &public))
        return false;
    bool done = issue->names.count > 0;
    if (!done)
        (void)failed("%s asks for no name: give the names to this command", issue->request);
    done = done && certify(issue, ca, validity, issue->key_file ? NULL : key, public);
    if (key)
        gnutls_privkey_deinit(key);
    gnutls_pubkey_deinit(public);
    return done;
}

static enum status run(int argc, char **argv)
{
    static const struct option names[] = {{"request", required_argument, NULL, 'r'},
                                          {"type", required_argument, NULL, 't'},
                                          {"key", required_argument, NULL, 'k'},
                                          {"passphrase-file", required_argument, NULL, 'p'},
                                          {"days", required_argument, NULL, 'd'},
                                          {"hours", required_argument, NULL, 'H'},
                                          {"until", required_argument, NULL, 'u'},
                                          {"ca-key", required_argument, NULL, 'K'},
                                          {"ca-passphrase-file", required_argument, NULL, 'P'},
                                          {"force", no_argument, NULL, 'f'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    static struct issue issue;
    struct authority ca = {0};
    struct validity validity;
    enum status status = STATUS_OK;

    if (!issue_options(&issue, argc, argv, ":r:t:k:p:d:u:fh", names, &status))
        return status;
    if (!check_arguments(argc, argv, issue.request ? 2 : 3, NAMES_MAX + 2) || !stem_is_name(argv[optind]) ||
        !stem_is_name(argv[optind + 1]) || !validity_parse(&issue.validity, DAYS, &validity))
        return last_status();
    if (issue.request && (issue.key_file || issue.passphrase_file))
        return usage_error("a request has its key already: --key and --passphrase-file do not go with --request");
    issue.stem = argv[optind + 1];
    for (int i = optind + 2; i < argc; i++)
        if (!names_add(&issue.names, argv[i]))
            return last_status();
    const bool done =
        issue_is_free(&issue, ".pem") && open_authority(&issue, argv[optind], &ca) && sign(&issue, &ca, &validity);
    close_authority(&ca);
    return done ? STATUS_OK : last_status();
}

const struct command command_sign = {
    "sign", run,
    "Usage: p2ptls sign [--ca-key FILE] [--ca-passphrase-file FILE] [--type ed25519|p256|p384] [--key FILE]\n"
    "                   [--passphrase-file FILE] [--days N | --hours N | --until DATE] [--force] CA STEM NAME...\n"
    "       p2ptls sign --request FILE [--ca-key FILE] [--ca-passphrase-file FILE]\n"
    "                   [--days N | --hours N | --until DATE] [--force] CA STEM [NAME]...\n"
    "Makes STEM.key and STEM.pem (--request, --key: STEM.pem), signed by CA.pem and CA.key.\n"};
