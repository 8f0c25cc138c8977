#include "issue.h"

#include "files.h"

bool issue_options(struct issue *issue, int argc, char **argv, const char *letters, const struct option *names,
                   enum status *status)
{
    issue->type = key_type_default;
    for (int letter; (letter = next_option(argc, argv, letters, names, status)) != OPTION_END;)
        switch (letter) {
        case 't':
            issue->type = key_type_find(optarg);
            if (!issue->type) {
                *status = last_status();
                return false;
            }
            break;
        case 'k':
            issue->key_file = optarg;
            break;
        case 'p':
            issue->passphrase_file = optarg;
            break;
        case 'n':
            issue->common_name = optarg;
            break;
        case 'd':
            issue->validity.days = optarg;
            break;
        case 'H':
            issue->validity.hours = optarg;
            break;
        case 'u':
            issue->validity.until = optarg;
            break;
        case 'r':
            issue->request = optarg;
            issue->only_request = true;
            break;
        case 'K':
            issue->ca_key = optarg;
            break;
        case 'P':
            issue->ca_passphrase_file = optarg;
            break;
        case 'f':
            issue->force = true;
            break;
        default:
            return false;
        }
    return true;
}

bool issue_key(const struct issue *issue, gnutls_privkey_t *key, gnutls_pubkey_t *public)
{
    if (!(issue->key_file ? key_load(issue->key_file, issue->passphrase_file, key) : key_generate(issue->type, key)))
        return false;
    if (key_public(*key, public))
        return true;
    gnutls_privkey_deinit(*key);
    return false;
}

static bool name_file(const struct issue *issue, const char *suffix, char out[STEM_MAX])
{
    if (stem_file(issue->stem, suffix, out))
        return true;
    (void)failed("the path %.100s... is too long", issue->stem);
    return false;
}

bool issue_is_free(const struct issue *issue, const char *suffix)
{
    char path[STEM_MAX];

    if (!name_file(issue, suffix, path) || !file_may_be_made(path, issue->force))
        return false;
    return issue->key_file || issue->request ||
           (name_file(issue, ".key", path) && file_may_be_made(path, issue->force));
}

bool issue_write(const struct issue *issue, const char *suffix, const gnutls_datum_t *pem, gnutls_privkey_t key)
{
    char path[STEM_MAX], key_path[STEM_MAX];
    gnutls_datum_t key_pem = {0};
    struct new_file first, second;

    if (!name_file(issue, suffix, path) || !name_file(issue, ".key", key_path))
        return false;
    if (!key)
        return file_write(path, pem->data, pem->size, MODE_PUBLIC, issue->force);
    if (!key_export(key, issue->passphrase_file, &key_pem))
        return false;
    bool done = file_prepare(&first, key_path, key_pem.data, key_pem.size, MODE_SECRET, issue->force);
    if (done && !file_prepare(&second, path, pem->data, pem->size, MODE_PUBLIC, issue->force)) {
        file_discard(&first);
        done = false;
    }
    done = done && file_publish_both(&first, &second);
    pem_free(&key_pem);
    if (done)
        printf("%s: private key%s\n", key_path, issue->passphrase_file ? ", encrypted" : "");
    return done;
}

bool issue_self_signed(const struct issue *issue, const struct certificate_plan *plan, gnutls_privkey_t key,
                       gnutls_pubkey_t public)
{
    gnutls_x509_crt_t certificate = NULL;
    gnutls_datum_t pem = {0};
    char path[STEM_MAX];

    if (!certificate_make(plan, public, NULL, key, &certificate))
        return false;
    const bool done = certificate_export(certificate, &pem) &&
                      issue_write(issue, ".pem", &pem, issue->key_file ? NULL : key) &&
                      stem_file(issue->stem, ".pem", path) && certificate_tell(path, certificate);
    pem_free(&pem);
    gnutls_x509_crt_deinit(certificate);
    return done;
}
