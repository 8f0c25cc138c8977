/* What a peer showed of itself: its certificates or raw public key, within bounds, and how people are told about it. */
#include "trust_internal.h"

#include <gnutls/crypto.h>
#include <gnutls/ocsp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void trust_print_clean(char *out, size_t room, const void *text, size_t len)
{
    const uint8_t *in = text;
    size_t n = 0;

    for (; n < len && n + 1 < room; n++)
        out[n] = in[n] >= 0x20 && in[n] < 0x7f ? (char)in[n] : '?';
    if (room)
        out[n] = '\0';
}

bool trust_print_escaped(char *out, size_t room, const void *text, size_t len, bool escaped)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *in = text;
    size_t n = 0;
    bool after_backslash = false;

    for (size_t i = 0; i < len; i++) {
        const bool plain = in[i] >= 0x20 && in[i] < 0x7f && (escaped || in[i] != '\\');
        if (n + 4 > room) {
            out[0] = '\0';
            return false;
        }
        if (!plain && !after_backslash)
            out[n++] = '\\';
        if (!plain)
            out[n++] = digits[in[i] >> 4];
        out[n++] = plain ? (char)in[i] : digits[in[i] & 15];
        after_backslash = escaped && !after_backslash && in[i] == '\\';
    }
    out[n] = '\0';
    return true;
}

void trust_print_fingerprint(const uint8_t hash[KEY_HASH_BYTES], char out[FINGERPRINT_TEXT])
{
    const gnutls_datum_t bytes = {(uint8_t *)hash, KEY_HASH_BYTES};
    gnutls_datum_t text = {0};

    if (gnutls_base64_encode2(&bytes, &text) < 0)
        text = (gnutls_datum_t){0};
    snprintf(out, FINGERPRINT_TEXT, "sha256:%.*s", (int)text.size, text.data ? (const char *)text.data : "");
    gnutls_free(text.data);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static bool parse_hex(const char *text, uint8_t *out)
{
    for (size_t i = 0; i < KEY_HASH_BYTES; i++) {
        const int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static int base64_digit(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;

    return at ? (int)(at - digits) : -1;
}

/* 43 digits hold 258 bits: the last two must be zero, so that one key has one spelling. */
static bool parse_base64(const char *text, uint8_t *out)
{
    unsigned held = 0, bits = 0;
    size_t n = 0;

    for (size_t i = 0; i < 43; i++) {
        const int digit = base64_digit(text[i]);
        if (digit < 0)
            return false;
        held = held << 6 | (unsigned)digit;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out[n++] = (uint8_t)(held >> bits);
        }
    }
    return (held & 3) == 0;
}

bool trust_parse_fingerprint(const char *text, size_t len, uint8_t hash[KEY_HASH_BYTES])
{
    if (len < 7 || memcmp(text, "sha256:", 7) != 0)
        return false;
    text += 7;
    len -= 7;
    if (len == 64)
        return parse_hex(text, hash);
    if (len == 44 && text[43] == '=')
        len = 43;
    return len == 43 && parse_base64(text, hash);
}

static enum result refuse(char *why, const char *reason)
{
    snprintf(why, IDENTITY_WHY_MAX, "%s", reason);
    return RESULT_IDENTITY;
}

static void print_hex(const uint8_t *bytes, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < len; i++) {
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    *out = '\0';
}

/* A name that the issuer gave besides the subject, as "KIND:NAME": the first that can be told without blanks, among the
 * first few, since GnuTLS goes through the whole extension for each. No subject looks like that. */
static bool print_name(gnutls_x509_crt_t cert, char *out, size_t room)
{
    enum { LOOK_AT = 4 };
    static const struct {
        gnutls_x509_subject_alt_name_t type;
        const char *kind;
    } kinds[] = {{GNUTLS_SAN_DNSNAME, "dns:"}, {GNUTLS_SAN_URI, "uri:"}, {GNUTLS_SAN_RFC822NAME, "email:"}};
    char name[IDENTITY_SUBJECT_MAX];

    for (unsigned i = 0; i < LOOK_AT; i++) {
        size_t len = sizeof name;
        const int type = gnutls_x509_crt_get_subject_alt_name(cert, i, name, &len, NULL);
        for (size_t k = 0; type >= 0 && k < sizeof kinds / sizeof kinds[0]; k++) {
            const size_t at = strlen(kinds[k].kind);
            if (type != (int)kinds[k].type || !len || memchr(name, ' ', len))
                continue;
            memcpy(out, kinds[k].kind, at);
            return trust_print_escaped(out + at, room - at, name, len, false);
        }
    }
    return false;
}

/* Certificates of SPIFFE and of cert-manager have no common name, and what p2ptls sign makes for names that are too
 * long for it is CN=p2ptls: a name tells them apart, in front of the subject. A blank ends it, so that no two read
 * alike. */
static void lead_by_name(struct shown_peer *shown)
{
    char name[IDENTITY_SUBJECT_MAX], whole[IDENTITY_SUBJECT_MAX];

    if ((strstr(shown->subject, "CN=") && strcmp(shown->subject, "CN=p2ptls") != 0) ||
        !print_name(shown->chain[0], name, sizeof name))
        return;
    const int n = shown->subject[0] ? snprintf(whole, sizeof whole, "%s (%s)", name, shown->subject)
                                    : snprintf(whole, sizeof whole, "%s", name);
    if (n > 0 && (size_t)n < sizeof whole)
        memcpy(shown->subject, whole, (size_t)n + 1);
}

/* The certificate's fingerprint is made of the bytes that were shown: GnuTLS's own function encodes it anew first,
 * which costs as much as parsing it did. */
static void describe(struct shown_peer *shown, const gnutls_datum_t *der)
{
    uint8_t digest[KEY_HASH_BYTES];
    gnutls_datum_t dn = {0};

    trust_print_fingerprint(shown->key_hash, shown->fingerprint);
    print_hex(shown->key_hash, KEY_HASH_BYTES, shown->certificate_hash);
    if (shown->raw) {
        snprintf(shown->subject, sizeof shown->subject, "raw key %s", shown->fingerprint);
        return;
    }
    shown->expires = gnutls_x509_crt_get_expiration_time(shown->chain[0]);
    if (gnutls_hash_fast(GNUTLS_DIG_SHA256, der->data, der->size, digest) >= 0)
        print_hex(digest, sizeof digest, shown->certificate_hash);
    if (gnutls_x509_crt_get_dn3(shown->chain[0], &dn, 0) < 0)
        dn.size = 0;
    shown->subject[0] = '\0';
    if (!dn.size || trust_print_escaped(shown->subject, sizeof shown->subject, dn.data, dn.size, true))
        lead_by_name(shown);
    if (!dn.size && !shown->subject[0])
        snprintf(shown->subject, sizeof shown->subject, "(no subject)");
    gnutls_free(dn.data);
}

/* What checking one signature with that key costs is bounded. */
static enum result check_cost(gnutls_pubkey_t pub, char *why)
{
    gnutls_datum_t modulus = {0}, exponent = {0};
    unsigned bits = 0;
    const int pk = gnutls_pubkey_get_pk_algorithm(pub, &bits);

    if (pk != GNUTLS_PK_RSA && pk != GNUTLS_PK_RSA_PSS)
        return RESULT_OK;
    if (bits > SHOWN_KEY_BITS_MAX)
        return refuse(why, "the remote side shows an RSA key of more than 8192 bits: it needs a shorter one");
    if (gnutls_pubkey_export_rsa_raw2(pub, &modulus, &exponent, GNUTLS_EXPORT_FLAG_NO_LZ) < 0)
        return identity_nomem(why);
    const bool cheap = exponent.size <= SHOWN_EXPONENT_BITS_MAX / 8;
    gnutls_free(modulus.data);
    gnutls_free(exponent.data);
    return cheap
               ? RESULT_OK
               : refuse(
                     why,
                     "the remote side shows an RSA key with an exponent of more than 64 bits: it needs one with 65537");
}

static enum result check_certificate_cost(gnutls_x509_crt_t cert, char *why)
{
    gnutls_pubkey_t pub;
    enum result r = RESULT_OK;

    if (gnutls_pubkey_init(&pub) < 0)
        return identity_nomem(why);
    if (gnutls_pubkey_import_x509(pub, cert, 0) >= 0) /* of an unknown kind, it cannot be used at all */
        r = check_cost(pub, why);
    gnutls_pubkey_deinit(pub);
    return r;
}

static enum result parse_certificate(struct shown_peer *shown, const gnutls_datum_t *der, char *why)
{
    if (gnutls_x509_crt_init(&shown->chain[shown->count]) < 0)
        return identity_nomem(why);
    const int e = gnutls_x509_crt_import(shown->chain[shown->count++], der, GNUTLS_X509_FMT_DER);
    if (e >= 0)
        return RESULT_OK;
    snprintf(why, IDENTITY_WHY_MAX, "a certificate of the remote side cannot be parsed: %s", gnutls_strerror(e));
    return RESULT_IDENTITY;
}

enum result shown_peer_parse(struct shown_peer *shown, char *why)
{
    enum result r = RESULT_OK;

    for (unsigned i = shown->count; !shown->raw && i < shown->given_count && r == RESULT_OK; i++)
        r = parse_certificate(shown, &shown->given[i], why);
    return r;
}

static enum result take_chain(struct shown_peer *shown, bool screened, char *why)
{
    enum result r = shown_peer_parse(shown, why);

    for (unsigned i = 0; !screened && i < shown->count && r == RESULT_OK; i++)
        r = check_certificate_cost(shown->chain[i], why);
    if (r == RESULT_OK && identity_x509_spki(shown->chain[0], &shown->key) < 0)
        r = refuse(why, "the certificate of the remote side has a key of an unknown kind: take Ed25519, ECDSA or RSA");
    return r;
}

static enum result take_key(struct shown_peer *shown, const gnutls_datum_t *der, char *why)
{
    shown->raw = true;
    shown->key.bytes = malloc(der->size);
    if (!shown->key.bytes)
        return identity_nomem(why);
    memcpy(shown->key.bytes, der->data, der->size);
    shown->key.len = der->size;
    return RESULT_OK;
}

static enum result check_sizes(const gnutls_datum_t *certs, unsigned count, char *why)
{
    if (count > SHOWN_MAX) {
        snprintf(
            why, IDENTITY_WHY_MAX,
            "the remote side shows %u certificates, more than the %d that are looked at: it should send its own and "
            "the intermediate ones only",
            count, SHOWN_MAX);
        return RESULT_IDENTITY;
    }
    for (unsigned i = 0; i < count; i++)
        if (certs[i].size == 0 || certs[i].size > SHOWN_BYTES_MAX)
            return refuse(why, "a certificate of the remote side is larger than 64 KiB: it needs a smaller one");
    return RESULT_OK;
}

static enum result screen_key(const gnutls_datum_t *der, char *why)
{
    gnutls_pubkey_t pub;
    enum result r = RESULT_OK;

    if (gnutls_pubkey_init(&pub) < 0)
        return identity_nomem(why);
    if (gnutls_pubkey_import(pub, der, GNUTLS_X509_FMT_DER) >= 0)
        r = check_cost(pub, why);
    gnutls_pubkey_deinit(pub);
    return r;
}

static enum result screen_certificate(const gnutls_datum_t *der, char *why)
{
    gnutls_x509_crt_t cert;
    enum result r = RESULT_OK;

    if (gnutls_x509_crt_init(&cert) < 0)
        return identity_nomem(why);
    if (gnutls_x509_crt_import(cert, der, GNUTLS_X509_FMT_DER) >= 0)
        r = check_certificate_cost(cert, why);
    gnutls_x509_crt_deinit(cert);
    return r;
}

/* Certificates up to this size need no look before GnuTLS checks a signature with their key: an RSA key that fits costs
 * milliseconds at most, whatever its exponent is, and parsing one costs a tenth of what a handshake does. The judge
 * looks at all. */
enum { SCREEN_FROM = 640 };

enum result identity_screen(gnutls_session_t session, struct identity_peer *peer, char why[IDENTITY_WHY_MAX])
{
    unsigned count = 0;
    const gnutls_datum_t *certs = gnutls_certificate_get_peers(session, &count);

    peer->alert = GNUTLS_A_BAD_CERTIFICATE;
    if (!certs || count == 0)
        return RESULT_OK;
    const enum result r = check_sizes(certs, count, why);
    if (r != RESULT_OK)
        return r;
    if (certs[0].size <= SCREEN_FROM)
        return RESULT_OK;
    return gnutls_certificate_type_get2(session, GNUTLS_CTYPE_PEERS) == GNUTLS_CRT_RAWPK
               ? screen_key(&certs[0], why)
               : screen_certificate(&certs[0], why);
}

static bool hash_shown(const gnutls_datum_t *certs, unsigned count, uint8_t out[KEY_HASH_BYTES])
{
    gnutls_hash_hd_t hash;
    bool done = true;

    if (gnutls_hash_init(&hash, GNUTLS_DIG_SHA256) < 0)
        return false;
    for (unsigned i = 0; i < count && done; i++)
        done = gnutls_hash(hash, &certs[i].size, sizeof certs[i].size) >= 0 &&
               gnutls_hash(hash, certs[i].data, certs[i].size) >= 0;
    gnutls_hash_deinit(hash, out);
    return done;
}

/* What they say, found out. */
static enum result read_shown(struct shown_peer *shown, bool screened, char *why)
{
    const enum result r = shown->raw ? take_key(shown, &shown->given[0], why) : take_chain(shown, screened, why);

    if (r != RESULT_OK)
        return r;
    if (gnutls_hash_fast(GNUTLS_DIG_SHA256, shown->key.bytes, shown->key.len, shown->key_hash) < 0)
        return identity_nomem(why);
    describe(shown, &shown->given[0]);
    return RESULT_OK;
}

static void give(struct shown_peer *shown, gnutls_session_t session, const struct identity_expectation *expect)
{
    *shown = (struct shown_peer){.given = expect->remembered,
                                 .given_count = expect->remembered_count,
                                 .raw = expect->remembered ? expect->remembered_raw : false};
    if (shown->given)
        return;
    shown->given = gnutls_certificate_get_peers(session, &shown->given_count);
    shown->raw = gnutls_certificate_type_get2(session, GNUTLS_CTYPE_PEERS) == GNUTLS_CRT_RAWPK;
    if (!shown->raw && gnutls_ocsp_status_request_get2(session, 0, &shown->staple) < 0)
        shown->staple = (gnutls_datum_t){0};
}

enum result shown_peer_take(const struct trust_store *store, gnutls_session_t session,
                            const struct identity_expectation *expect, struct shown_peer *shown, char *why)
{
    give(shown, session, expect);
    if (!shown->given || shown->given_count == 0)
        return RESULT_OK;
    const enum result r = check_sizes(shown->given, shown->given_count, why);
    if (r != RESULT_OK)
        return r;
    if (!hash_shown(shown->given, shown->given_count, shown->chain_hash))
        return identity_nomem(why);
    return store && seen_peers_recall(store->seen, shown, expect) ? RESULT_OK : read_shown(shown, expect->resumed, why);
}

void shown_peer_free(struct shown_peer *shown)
{
    for (unsigned i = 0; i < shown->count; i++)
        gnutls_x509_crt_deinit(shown->chain[i]);
    secret_wipe(&shown->key);
    *shown = (struct shown_peer){0};
}
