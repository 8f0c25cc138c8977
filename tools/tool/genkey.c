/* p2ptls genkey: a private key alone, for raw public keys (RFC 7250) and for certificates that others make. */
#include "files.h"
#include "keys.h"
#include "options.h"
#include "tool.h"

static enum status make(const char *path, const struct key_type *type, const char *passphrase_file, bool force)
{
    gnutls_privkey_t key;
    gnutls_pubkey_t public = NULL;
    gnutls_datum_t pem = {0};
    char pin[PIN_TEXT];

    if (!file_may_be_made(path, force) || !key_generate(type, &key))
        return last_status();
    const bool done = key_public(key, &public) && key_pin(public, pin) && key_export(key, passphrase_file, &pem) &&
                      file_write(path, pem.data, pem.size, MODE_SECRET, force);
    pem_free(&pem);
    if (public)
        gnutls_pubkey_deinit(public);
    gnutls_privkey_deinit(key);
    if (done)
        printf("%s: %s private key%s\n  pin=%s\n", path, type->words, passphrase_file ? ", encrypted" : "", pin);
    return done ? STATUS_OK : last_status();
}

static enum status run(int argc, char **argv)
{
    static const struct option names[] = {{"type", required_argument, NULL, 't'},
                                          {"passphrase-file", required_argument, NULL, 'p'},
                                          {"force", no_argument, NULL, 'f'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    const struct key_type *type = key_type_default;
    const char *passphrase_file = NULL;
    bool force = false;
    enum status status = STATUS_OK;

    for (int letter; (letter = next_option(argc, argv, ":t:p:fh", names, &status)) != OPTION_END;)
        switch (letter) {
        case 't':
            type = key_type_find(optarg);
            if (!type)
                return last_status();
            break;
        case 'p':
            passphrase_file = optarg;
            break;
        case 'f':
            force = true;
            break;
        default:
            return status;
        }
    if (!check_arguments(argc, argv, 1, 1))
        return last_status();
    return make(argv[optind], type, passphrase_file, force);
}

const struct command command_genkey = {
    "genkey", run, "Usage: p2ptls genkey [--type ed25519|p256|p384] [--passphrase-file FILE] [--force] FILE\n"};
