/* p2ptls id: the per-user identity, or any other: what to tell others of it so that they can trust it. */
#include "files.h"
#include "fingerprint.h"
#include "keys.h"
#include "options.h"

#include "identity_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct subject {
    char path[PATH_MAX];
    struct secret_bytes pem;
    gnutls_pubkey_t key;
    gnutls_x509_crt_t certificate; /* NULL: the file has a key alone */
};

static void subject_free(struct subject *s)
{
    secret_wipe(&s->pem);
    if (s->key)
        gnutls_pubkey_deinit(s->key);
    if (s->certificate)
        gnutls_x509_crt_deinit(s->certificate);
}

static bool has_block(const struct secret_bytes *pem, const char *name)
{
    char begin[64];

    snprintf(begin, sizeof begin, "-----BEGIN %s-----", name);
    return strstr((const char *)pem->bytes, begin) != NULL;
}

/* A certificate, a public key, or a private one. */
static bool take_key(struct subject *s)
{
    const gnutls_datum_t text = {s->pem.bytes, (unsigned)s->pem.len};
    struct identity id = {0};
    char why[IDENTITY_WHY_MAX];
    int e = gnutls_pubkey_init(&s->key);

    if (e >= 0 && has_block(&s->pem, "CERTIFICATE")) {
        e = gnutls_x509_crt_init(&s->certificate);
        if (e >= 0)
            e = gnutls_x509_crt_import(s->certificate, &text, GNUTLS_X509_FMT_PEM);
        if (e >= 0)
            e = gnutls_pubkey_import_x509(s->key, s->certificate, 0);
    } else if (e >= 0 && has_block(&s->pem, "PUBLIC KEY")) {
        e = gnutls_pubkey_import(s->key, &text, GNUTLS_X509_FMT_PEM);
    } else if (e >= 0) {
        if (identity_key_pem(&id, &s->pem, s->path, NULL, why) != RESULT_OK) {
            (void)failed("%s", why);
            return false;
        }
        e = gnutls_pubkey_import_privkey(s->key, id.key, 0, 0);
        gnutls_privkey_deinit(id.key);
    }
    if (e < 0)
        (void)failed("%s holds no readable certificate or key: %s", s->path, gnutls_strerror(e));
    return e >= 0;
}

/* What is secret is for its owner alone; a certificate by itself is for all. */
static bool read_file(struct subject *s)
{
    char why[IDENTITY_WHY_MAX] = "";
    enum result r = identity_file_read(AT_FDCWD, s->path, s->path, FILE_PUBLIC, &s->pem, why);

    if (r == RESULT_OK && strstr((const char *)s->pem.bytes, "PRIVATE KEY-----")) {
        secret_wipe(&s->pem);
        r = identity_file_read(AT_FDCWD, s->path, s->path, FILE_SECRET, &s->pem, why);
    }
    if (r != RESULT_OK)
        (void)failed("%s", why);
    return r == RESULT_OK;
}

static bool open_own(struct subject *s, bool create)
{
    char folder[PATH_MAX - 20], why[IDENTITY_WHY_MAX] = "";
    struct secret_bytes made;

    if (!find_state_folder(folder, sizeof folder))
        return false;
    snprintf(s->path, sizeof s->path, "%s/identity.pem", folder);
    if (create) {
        if (identity_auto_read(folder, &made, why) != RESULT_OK) {
            (void)failed("%s", why);
            return false;
        }
        secret_wipe(&made);
    }
    const int fd = open(s->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT) {
        (void)failed("there is no %s yet: the first protected connection makes it, or p2ptls id create", s->path);
        return false;
    }
    if (fd >= 0)
        close(fd);
    return read_file(s);
}

static bool open_subject(struct subject *s, const char *file, bool create)
{
    *s = (struct subject){0};
    if (file)
        snprintf(s->path, sizeof s->path, "%s", file);
    return (file ? read_file(s) : open_own(s, create)) && take_key(s);
}

/* ---- the actions ---------------------------------------------------------------------------------------------- */

static bool say_fingerprint(const struct subject *s, bool words, bool qr)
{
    unsigned char digest[PIN_BYTES];
    char pin[PIN_TEXT], text[FINGERPRINT_WORDS_TEXT];

    if (!key_digest(s->key, digest) || !key_pin(s->key, pin))
        return false;
    if (qr)
        return fingerprint_print_qr(stdout, pin);
    fingerprint_words(digest, text);
    puts(words ? text : pin);
    return true;
}

static bool show(const struct subject *s)
{
    unsigned char digest[PIN_BYTES];
    char pin[PIN_TEXT], text[FINGERPRINT_WORDS_TEXT];

    if (!key_digest(s->key, digest) || !key_pin(s->key, pin))
        return false;
    fingerprint_words(digest, text);
    if (s->certificate) {
        if (!certificate_tell(s->path, s->certificate))
            return false;
    } else {
        printf("%s: %s key\n  pin=%s\n", s->path, key_words(s->key), pin);
    }
    printf("  words: %s\n", text);
    return true;
}

/* The certificate, or the public key where there is none; --private: the whole file, to a file of mode 0600. */
static bool export(const struct subject *s, const char *file, bool private, bool force)
{
    gnutls_datum_t pem = {0};

    if (private)
        return file_write(file, s->pem.bytes, s->pem.len, MODE_SECRET, force);
    bool done = s->certificate ? certificate_export(s->certificate, &pem)
                               : !gnutls_failed(gnutls_pubkey_export2(s->key, GNUTLS_X509_FMT_PEM, &pem),
                                                "cannot write the key as PEM");
    if (done && file)
        done = file_write(file, pem.data, pem.size, MODE_PUBLIC, force);
    else if (done)
        fwrite(pem.data, 1, pem.size, stdout);
    pem_free(&pem);
    return done;
}

struct wish {
    const char *action, *file, *target;
    bool words, qr, private, force;
};

static enum status act(const struct wish *w)
{
    struct subject s;
    bool done = open_subject(&s, w->file, strcmp(w->action, "create") == 0);

    if (done && strcmp(w->action, "fingerprint") == 0)
        done = say_fingerprint(&s, w->words, w->qr);
    else if (done && strcmp(w->action, "export") == 0)
        done = export(&s, w->target, w->private, w->force);
    else if (done)
        done = show(&s);
    subject_free(&s);
    return done ? STATUS_OK : last_status();
}

/* Which options go with which action. */
static bool fits_together(const struct wish *w, int arguments)
{
    const bool exports = strcmp(w->action, "export") == 0, prints = strcmp(w->action, "fingerprint") == 0;

    if (!exports && !prints && strcmp(w->action, "show") != 0 && strcmp(w->action, "create") != 0)
        (void)usage_error("expected show, create, export or fingerprint, found '%s'", w->action);
    else if ((w->words || w->qr) && !prints)
        (void)usage_error("--words and --qr go with fingerprint");
    else if (w->words && w->qr)
        (void)usage_error("--words and --qr: give one");
    else if ((w->private || w->force) && !exports)
        (void)usage_error("--private and --force go with export");
    else if (w->private && !w->target)
        (void)usage_error("--private takes a file to write to");
    else if (w->file && strcmp(w->action, "create") == 0)
        (void)usage_error("create makes the per-user identity; for others there are genkey and gencert");
    else if (arguments > (exports ? 2 : 1))
        (void)usage_error("there are too many arguments");
    else
        return true;
    return false;
}

static enum status run(int argc, char **argv)
{
    static const struct option names[] = {{"file", required_argument, NULL, 'i'},
                                          {"words", no_argument, NULL, 'w'},
                                          {"qr", no_argument, NULL, 'q'},
                                          {"private", no_argument, NULL, 'P'},
                                          {"force", no_argument, NULL, 'f'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    struct wish w = {.action = "show"};
    enum status status = STATUS_OK;

    for (int letter; (letter = next_option(argc, argv, ":i:wqfh", names, &status)) != OPTION_END;)
        switch (letter) {
        case 'i':
            w.file = optarg;
            break;
        case 'w':
            w.words = true;
            break;
        case 'q':
            w.qr = true;
            break;
        case 'P':
            w.private = true;
            break;
        case 'f':
            w.force = true;
            break;
        default:
            return status;
        }
    if (argc > optind)
        w.action = argv[optind];
    if (argc > optind + 1)
        w.target = argv[optind + 1];
    return fits_together(&w, argc - optind) ? act(&w) : last_status();
}

const struct command command_id = {"id", run,
                                   "Usage: p2ptls id [--file FILE] [show]\n"
                                   "       p2ptls id create\n"
                                   "       p2ptls id [--file FILE] fingerprint [--words | --qr]\n"
                                   "       p2ptls id [--file FILE] export [--private] [--force] [FILE]\n"};
