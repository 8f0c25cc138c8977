/* p2ptls gencert: a key with a certificate that it has signed itself, to be pinned, or with a request for an authority
 * to sign. */
#include "issue.h"
#include "tool.h"

enum { DAYS = 365 };

static bool request(const struct issue *issue, gnutls_privkey_t key, gnutls_pubkey_t public)
{
    gnutls_datum_t pem = {0};
    char path[STEM_MAX], pin[PIN_TEXT];

    const bool done = request_make(&issue->names, public, key, &pem) &&
                      issue_write(issue, ".csr", &pem, issue->key_file ? NULL : key) &&
                      stem_file(issue->stem, ".csr", path) && key_pin(public, pin);
    pem_free(&pem);
    if (done)
        printf("%s: certificate request (%s)\n  pin=%s\n", path, key_words(public), pin);
    return done;
}

static enum status run(int argc, char **argv)
{
    static const struct option names[] = {
        {"request", no_argument, NULL, 'r'},     {"type", required_argument, NULL, 't'},
        {"key", required_argument, NULL, 'k'},   {"passphrase-file", required_argument, NULL, 'p'},
        {"days", required_argument, NULL, 'd'},  {"hours", required_argument, NULL, 'H'},
        {"until", required_argument, NULL, 'u'}, {"force", no_argument, NULL, 'f'},
        {"help", no_argument, NULL, 'h'},        {0}};
    static struct issue issue;
    struct certificate_plan plan = {.names = &issue.names};
    gnutls_privkey_t key;
    gnutls_pubkey_t public;
    enum status status = STATUS_OK;

    if (!issue_options(&issue, argc, argv, ":rt:k:p:d:u:fh", names, &status))
        return status;
    if (!check_arguments(argc, argv, 2, NAMES_MAX + 1) || !stem_is_name(argv[optind]) ||
        !validity_parse(&issue.validity, DAYS, &plan.validity))
        return last_status();
    if (issue.only_request && (issue.validity.days || issue.validity.hours || issue.validity.until))
        return usage_error("how long a certificate is good is for the authority to say: p2ptls sign");
    issue.stem = argv[optind];
    for (int i = optind + 1; i < argc; i++)
        if (!names_add(&issue.names, argv[i]))
            return last_status();
    if (!issue_is_free(&issue, issue.only_request ? ".csr" : ".pem") || !issue_key(&issue, &key, &public))
        return last_status();
    const bool done = issue.only_request ? request(&issue, key, public) : issue_self_signed(&issue, &plan, key, public);
    gnutls_pubkey_deinit(public);
    gnutls_privkey_deinit(key);
    return done ? STATUS_OK : last_status();
}

const struct command command_gencert = {
    "gencert", run,
    "Usage: p2ptls gencert [--request] [--type ed25519|p256|p384] [--key FILE] [--passphrase-file FILE]\n"
    "                      [--days N | --hours N | --until DATE] [--force] STEM NAME...\n"
    "Makes STEM.key and STEM.pem (--request: STEM.csr).\n"};
