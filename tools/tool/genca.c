/* p2ptls genca: a private certification authority, its key and its certificate. */
#include "issue.h"
#include "tool.h"

enum { DAYS = 3650 };

static enum status run(int argc, char **argv)
{
    static const struct option names[] = {
        {"name", required_argument, NULL, 'n'},  {"type", required_argument, NULL, 't'},
        {"key", required_argument, NULL, 'k'},   {"passphrase-file", required_argument, NULL, 'p'},
        {"days", required_argument, NULL, 'd'},  {"hours", required_argument, NULL, 'H'},
        {"until", required_argument, NULL, 'u'}, {"force", no_argument, NULL, 'f'},
        {"help", no_argument, NULL, 'h'},        {0}};
    struct issue issue = {.common_name = "p2ptls private CA"};
    struct certificate_plan plan = {.authority = true};
    gnutls_privkey_t key;
    gnutls_pubkey_t public;
    enum status status = STATUS_OK;

    if (!issue_options(&issue, argc, argv, ":n:t:k:p:d:u:fh", names, &status))
        return status;
    if (!check_arguments(argc, argv, 1, 1) || !stem_is_name(argv[optind]) ||
        !validity_parse(&issue.validity, DAYS, &plan.validity))
        return last_status();
    issue.stem = argv[optind];
    plan.common_name = issue.common_name;
    if (!issue_is_free(&issue, ".pem") || !issue_key(&issue, &key, &public))
        return last_status();
    const bool done = issue_self_signed(&issue, &plan, key, public);
    gnutls_pubkey_deinit(public);
    gnutls_privkey_deinit(key);
    return done ? STATUS_OK : last_status();
}

const struct command command_genca = {
    "genca", run,
    "Usage: p2ptls genca [--name TEXT] [--type ed25519|p256|p384] [--key FILE] [--passphrase-file FILE]\n"
    "                    [--days N | --hours N | --until DATE] [--force] STEM\n"
    "Makes STEM.key and STEM.pem.\n"};
