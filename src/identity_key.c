/* The own private key: PEM, perhaps encrypted with a passphrase from a file, or in a PKCS#11 token, whose PIN comes
 * from a file. Nobody is ever asked for either: there is nobody. */
#include "identity_internal.h"

#include "bytes.h"

#include <fcntl.h>
#include <gnutls/pkcs11.h>
#include <stdio.h>
#include <string.h>

enum { SHOWN_MAX = 200 };

/* Without the line's end, which an editor puts there. */
static enum result read_line(const char *path, struct secret_bytes *out, char *why)
{
    const enum result r = identity_file_read(AT_FDCWD, path, path, FILE_SECRET, out, why);

    if (r != RESULT_OK)
        return r;
    const size_t len = strcspn((const char *)out->bytes, "\r\n");
    wipe(out->bytes + len, out->len - len);
    if (len > 0)
        return RESULT_OK;
    secret_wipe(out);
    return identity_refuse(why, "the first line of %s is empty", path);
}

static int import_pem(struct identity *id, const gnutls_datum_t *text, const char *passphrase)
{
    int e = gnutls_privkey_init(&id->key);

    if (e >= 0)
        e = gnutls_privkey_import_x509_raw(id->key, text, GNUTLS_X509_FMT_PEM, passphrase, 0);
    if (e < 0 && id->key) {
        gnutls_privkey_deinit(id->key);
        id->key = NULL;
    }
    return e;
}

static enum result import_encrypted(struct identity *id, const gnutls_datum_t *text, const char *name, const char *file,
                                    char *why)
{
    struct secret_bytes passphrase = {0};

    if (!file)
        return identity_refuse(why,
                               "the key in %s is encrypted and nobody can type its passphrase here: put that into a "
                               "file and add passphrase-file=",
                               name);
    const enum result r = read_line(file, &passphrase, why);
    if (r != RESULT_OK)
        return r;
    const int e = import_pem(id, text, (const char *)passphrase.bytes);
    secret_wipe(&passphrase);
    if (e < 0 && e != GNUTLS_E_MEMORY_ERROR)
        return identity_refuse(why, "the passphrase in %s does not open the key in %s (%s)", file, name,
                               gnutls_strerror(e));
    return e < 0 ? identity_nomem(why) : RESULT_OK;
}

enum result identity_key_pem(struct identity *id, const struct secret_bytes *pem, const char *name,
                             const struct policy_identity *own, char *why)
{
    const gnutls_datum_t text = {pem->bytes, (unsigned)pem->len};
    const int e = import_pem(id, &text, NULL);

    if (e == GNUTLS_E_DECRYPTION_FAILED)
        return import_encrypted(id, &text, name, own ? own->passphrase_file : NULL, why);
    if (e < 0)
        return identity_refuse_gnutls(why, e, "%s holds no readable PEM private key", name);
    return RESULT_OK;
}

bool identity_is_token(const char *path)
{
    return path && strncmp(path, "pkcs11:", 7) == 0;
}

static void (*hold_streams)(bool hold);

void identity_token_streams(void (*hold)(bool hold))
{
    hold_streams = hold;
}

bool identity_token_enter(bool token)
{
    if (!token || !hold_streams)
        return false;
    hold_streams(true);
    return true;
}

void identity_token_leave(bool entered)
{
    if (entered)
        hold_streams(false);
}

void identity_token_shown(const char *uri, char *shown, size_t room)
{
    snprintf(shown, room, "%.*s", (int)strcspn(uri, "?"), uri);
}

/* A token counts wrong PINs and locks itself: the one that is there is tried once, and never as the last try. */
static int give_pin(void *ctx, int attempt, const char *token_url, const char *token_label, unsigned flags, char *pin,
                    size_t room)
{
    const struct identity *id = ctx;

    (void)token_url;
    (void)token_label;
    if (!id->pin.bytes || attempt > 0 || flags & (GNUTLS_PIN_WRONG | GNUTLS_PIN_FINAL_TRY))
        return GNUTLS_E_PKCS11_PIN_ERROR;
    const size_t len = strlen((const char *)id->pin.bytes);
    if (len >= room)
        return GNUTLS_E_SHORT_MEMORY_BUFFER;
    memcpy(pin, id->pin.bytes, len + 1);
    return 0;
}

/* What cannot be had now may come: a token that is plugged in. A PIN that was refused is not tried again before a file
 * changes. */
enum result identity_token_refuse(const struct identity *id, int e, const char *uri, const struct policy_identity *own,
                                  char *why)
{
    char shown[SHOWN_MAX];

    identity_token_shown(uri, shown, sizeof shown);
    switch (e) {
    case GNUTLS_E_PKCS11_PIN_ERROR:
    case GNUTLS_E_PKCS11_PIN_LOCKED:
    case GNUTLS_E_PKCS11_PIN_EXPIRED:
        if (!id->pin.bytes)
            return identity_refuse(why, "the token of %s wants a PIN: put it into a file and add pin-file=", shown);
        return identity_refuse(why, "the token of %s does not take the PIN in %s, or has one try left: %s", shown,
                               own->pin_file, gnutls_strerror(e));
    case GNUTLS_E_PKCS11_REQUESTED_OBJECT_NOT_AVAILBLE:
    case GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE:
        (void)identity_refuse(
            why, "no token has %s: compare with: p11tool --list-all --login, and look whether its module is installed",
            shown);
        return RESULT_IO;
    case GNUTLS_E_PARSING_ERROR:
        return identity_refuse(why, "%s is no PKCS#11 URI (RFC 7512)", shown);
    default: {
        const enum result r = identity_refuse_gnutls(why, e, "cannot use %s", shown);
        return r == RESULT_CONFIG ? RESULT_IO : r;
    }
    }
}

enum result identity_token_open(struct identity *id, const struct policy_identity *own, char *why)
{
    if (id->pin.bytes || !own->pin_file)
        return RESULT_OK;
    return read_line(own->pin_file, &id->pin, why);
}

gnutls_pin_callback_t identity_token_pin(void)
{
    return give_pin;
}

enum result identity_key_token(struct identity *id, const struct policy_identity *own, char *why)
{
    const enum result r = identity_token_open(id, own, why);

    if (r != RESULT_OK)
        return r;
    int e = gnutls_privkey_init(&id->key);
    if (e < 0)
        return identity_nomem(why);
    gnutls_privkey_set_pin_function(id->key, give_pin, id);
    e = gnutls_privkey_import_url(id->key, own->key_file, 0);
    return e < 0 ? identity_token_refuse(id, e, own->key_file, own, why) : RESULT_OK;
}

int identity_key_public(const struct identity *id, gnutls_pubkey_t *out)
{
    int e = gnutls_pubkey_init(out);

    if (e >= 0 && (e = gnutls_pubkey_import_privkey(*out, id->key, 0, 0)) < 0)
        gnutls_pubkey_deinit(*out);
    return e;
}

int identity_key_spki(const struct identity *id, struct secret_bytes *out)
{
    gnutls_pubkey_t pub;
    int e = identity_key_public(id, &pub);

    if (e < 0)
        return e;
    e = identity_spki_of(pub, out);
    gnutls_pubkey_deinit(pub);
    return e;
}
