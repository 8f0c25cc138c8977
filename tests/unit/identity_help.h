/* For the identity tests: a temporary folder, certificates of any shape, and a TLS 1.3 handshake between two sessions.
 */
#ifndef IDENTITY_HELP_H
#define IDENTITY_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "identity_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HELP static __attribute__((unused))

static char folder[64];

HELP int folder_make(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/test-identity-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

HELP int folder_remove(void **state)
{
    char command[100];

    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

/* The path of a name in the folder; so many of them are valid at a time. */
HELP const char *in_folder(const char *name)
{
    static char paths[64][256];
    static unsigned next;
    char *path = paths[next++ % 64];

    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

HELP const char *write_file(const char *name, const void *bytes, size_t len, mode_t mode)
{
    const char *path = in_folder(name);
    unlink(path);
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), (ssize_t)len);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
    return path;
}

HELP const char *write_text(const char *name, const char *text, mode_t mode)
{
    return write_file(name, text, strlen(text), mode);
}

enum san_type {
    SAN_NONE = 0,
    SAN_DNS = GNUTLS_SAN_DNSNAME + 100,
    SAN_IP = GNUTLS_SAN_IPADDRESS + 100,
    SAN_URI = GNUTLS_SAN_URI + 100,
    SAN_EMAIL = GNUTLS_SAN_RFC822NAME + 100
};

struct san {
    enum san_type type;
    const char *data;
    size_t len; /* 0: strlen */
};

struct certificate {
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t cert;
};

/* Zero in a field means what is usual: Ed25519, valid since yesterday for a year, self-signed, no extensions. */
struct certificate_spec {
    const char *name; /* common name */
    const char *organization;
    gnutls_pk_algorithm_t pk;
    unsigned bits;
    gnutls_digest_algorithm_t digest;
    bool is_ca;
    const struct certificate *issuer;
    long from_days, until_days; /* relative to now */
    const char *purpose;        /* the only extended key usage */
    unsigned usage;
    struct san sans[4];
    gnutls_x509_name_constraints_t constraints; /* owned */
    const uint8_t *raw_sans;                    /* instead: the whole extension, DER, for what GnuTLS would not write */
    size_t raw_sans_len;
};

HELP void add_sans(gnutls_x509_crt_t cert, const struct certificate_spec *spec)
{
    for (size_t i = 0; i < 4 && spec->sans[i].type != SAN_NONE; i++) {
        const struct san *san = &spec->sans[i];
        const size_t len = san->len ? san->len : strlen(san->data);
        assert_true(gnutls_x509_crt_set_subject_alt_name(cert, (gnutls_x509_subject_alt_name_t)(san->type - 100),
                                                         san->data, (unsigned)len, GNUTLS_FSAN_APPEND) >= 0);
    }
}

HELP struct certificate make_certificate(struct certificate_spec spec)
{
    static uint32_t serial = 1;
    const uint8_t serial_bytes[4] = {1, (uint8_t)(serial >> 16), (uint8_t)(serial >> 8), (uint8_t)serial};
    const time_t now = time(NULL), day = 86400;
    const gnutls_pk_algorithm_t pk = spec.pk ? spec.pk : GNUTLS_PK_EDDSA_ED25519;
    struct certificate c;

    serial++;
    assert_true(gnutls_x509_privkey_init(&c.key) >= 0);
    assert_true(gnutls_x509_privkey_generate(c.key, pk, spec.bits ? spec.bits : 256, 0) >= 0);
    assert_true(gnutls_x509_crt_init(&c.cert) >= 0);
    assert_true(gnutls_x509_crt_set_version(c.cert, 3) >= 0);
    assert_true(gnutls_x509_crt_set_serial(c.cert, serial_bytes, sizeof serial_bytes) >= 0);
    if (spec.name)
        assert_true(gnutls_x509_crt_set_dn_by_oid(c.cert, GNUTLS_OID_X520_COMMON_NAME, 0, spec.name,
                                                  (unsigned)strlen(spec.name)) >= 0);
    if (spec.organization)
        assert_true(gnutls_x509_crt_set_dn_by_oid(c.cert, GNUTLS_OID_X520_ORGANIZATION_NAME, 0, spec.organization,
                                                  (unsigned)strlen(spec.organization)) >= 0);
    gnutls_x509_crt_set_activation_time(c.cert, now + (spec.from_days ? spec.from_days : -1) * day);
    gnutls_x509_crt_set_expiration_time(c.cert, now + (spec.until_days ? spec.until_days : 365) * day);
    if (spec.is_ca)
        assert_true(gnutls_x509_crt_set_basic_constraints(c.cert, 1, -1) >= 0);
    if (spec.usage)
        assert_true(gnutls_x509_crt_set_key_usage(c.cert, spec.usage) >= 0);
    if (spec.purpose)
        assert_true(gnutls_x509_crt_set_key_purpose_oid(c.cert, spec.purpose, 1) >= 0);
    if (spec.constraints) {
        assert_true(gnutls_x509_crt_set_name_constraints(c.cert, spec.constraints, 1) >= 0);
        gnutls_x509_name_constraints_deinit(spec.constraints);
    }
    add_sans(c.cert, &spec);
    if (spec.raw_sans)
        assert_true(gnutls_x509_crt_set_extension_by_oid(c.cert, GNUTLS_X509EXT_OID_SAN, spec.raw_sans,
                                                         spec.raw_sans_len, 0) >= 0);
    assert_true(gnutls_x509_crt_set_key(c.cert, c.key) >= 0);
    const struct certificate *issuer = spec.issuer ? spec.issuer : &c;
    const bool eddsa = gnutls_x509_privkey_get_pk_algorithm(issuer->key) == GNUTLS_PK_EDDSA_ED25519;
    const gnutls_digest_algorithm_t usual = eddsa ? GNUTLS_DIG_SHA512 : GNUTLS_DIG_SHA256;
    assert_true(gnutls_x509_crt_sign2(c.cert, issuer->cert, issuer->key, spec.digest ? spec.digest : usual, 0) >= 0);
    return c;
}

HELP void free_certificate(struct certificate *c)
{
    gnutls_x509_crt_deinit(c->cert);
    gnutls_x509_privkey_deinit(c->key);
}

/* PEM of several certificates, one after the other, ended by NULL. */
HELP const char *write_certificates(const char *name, ...)
{
    char text[16384];
    size_t at = 0;
    va_list ap;

    va_start(ap, name);
    for (const struct certificate *c; (c = va_arg(ap, const struct certificate *));) {
        gnutls_datum_t pem;
        assert_true(gnutls_x509_crt_export2(c->cert, GNUTLS_X509_FMT_PEM, &pem) >= 0);
        assert_true(pem.size < sizeof text - at);
        memcpy(text + at, pem.data, pem.size);
        at += pem.size;
        gnutls_free(pem.data);
    }
    va_end(ap);
    text[at] = 0;
    return write_text(name, text, 0644);
}

HELP const char *write_key(const char *name, const struct certificate *c, mode_t mode)
{
    gnutls_datum_t pem;

    assert_true(gnutls_x509_privkey_export2_pkcs8(c->key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN, &pem) >= 0);
    const char *path = write_file(name, pem.data, pem.size, mode);
    gnutls_free(pem.data);
    return path;
}

#define PSK_ALICE "alice:00112233445566778899aabbccddeeff\n"
#define PSK_BOB "bob:ffeeddccbbaa99887766554433221100\n"

/* identity_config with everything in one place. */
struct identity_files {
    const char *cert_file, *key_file, *ca_file, *psk_file, *passphrase_file, *pin_file, *ocsp_staple, *psk_name;
    const char *state_dir;
    struct policy_trust trust; /* ca_file goes into it */
    enum policy_auth auth;
    enum policy_show show;
    enum policy_usage usage;
    bool revalidate_always;
};

struct whole_config {
    struct policy_identity own;
    struct policy_trust trust;
    struct identity_config config;
};

HELP void fill_config(struct whole_config *w, const struct identity_files *f)
{
    w->own = (struct policy_identity){.cert_file = f->cert_file,
                                      .key_file = f->key_file,
                                      .passphrase_file = f->passphrase_file,
                                      .pin_file = f->pin_file,
                                      .ocsp_staple = f->ocsp_staple,
                                      .psk_file = f->psk_file,
                                      .psk_name = f->psk_name};
    w->trust = f->trust;
    if (f->ca_file)
        w->trust.ca = f->ca_file;
    w->config = (struct identity_config){.own = &w->own,
                                         .trust = &w->trust,
                                         .auth = f->auth,
                                         .show = f->show,
                                         .usage = f->usage,
                                         .state_dir = f->state_dir,
                                         .revalidate_always = f->revalidate_always};
}

HELP enum result load_as(const struct identity_files *files, struct identity **out, char why[IDENTITY_WHY_MAX])
{
    struct whole_config w;

    fill_config(&w, files);
    return identity_load(&w.config, out, why);
}

HELP struct identity *load_ok(struct identity_files files)
{
    struct identity *id;
    char why[IDENTITY_WHY_MAX];

    if (load_as(&files, &id, why) != RESULT_OK)
        fail_msg("not loaded: %s", why);
    return id;
}

/* Every refusal must say what is wrong, in words that the test names. */
HELP void load_refused(struct identity_files files, const char *part)
{
    struct identity *id;
    char why[IDENTITY_WHY_MAX];

    const enum result r = load_as(&files, &id, why);
    if (r == RESULT_OK)
        fail_msg("loaded, although it should say: %s", part);
    assert_int_equal(r, RESULT_CONFIG);
    assert_null(id);
    if (!strstr(why, part))
        fail_msg("expected a sentence with: %s\nfound: %s", part, why);
}

HELP struct identity *load_files(const struct certificate *own, const struct certificate *ca)
{
    return load_ok((struct identity_files){.cert_file = write_certificates("own.crt", own, NULL),
                                           .key_file = write_key("own.key", own, 0600),
                                           .ca_file = write_certificates("ca.crt", ca, NULL)});
}

#define TEST_PRIORITIES                                                                                                \
    "NONE:+VERS-TLS1.3:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:+AEAD:+GROUP-X25519:+GROUP-SECP256R1"

/* One end of a connection; certificates are judged after the handshake, as GnuTLS's callback would. */
struct end {
    gnutls_session_t session;
    int error; /* of gnutls_handshake */
};

struct pair {
    struct end client, server;
    int fds[2];
};

HELP gnutls_session_t make_session(bool server, const char *priorities)
{
    gnutls_session_t s;
    const char *at = NULL;
    char text[2000];

    snprintf(text, sizeof text, "%s%s", TEST_PRIORITIES, priorities);
    assert_true(gnutls_init(&s, (server ? GNUTLS_SERVER : GNUTLS_CLIENT) | GNUTLS_NO_TICKETS | GNUTLS_NONBLOCK) >= 0);
    if (gnutls_priority_set_direct(s, text, &at) < 0)
        fail_msg("bad priorities at: %s", at);
    return s;
}

HELP gnutls_session_t session_of(const struct identity *id, bool server)
{
    gnutls_session_t s = make_session(server, identity_priorities(id, server));

    assert_int_equal(identity_apply(id, s, server), RESULT_OK);
    return s;
}

static bool handshake_step(struct end *e)
{
    if (e->error != GNUTLS_E_AGAIN && e->error != GNUTLS_E_INTERRUPTED)
        return false;
    e->error = gnutls_handshake(e->session);
    return true;
}

/* Runs both ends until neither can go on; takes the sessions over. An end that failed hangs up, so the other one sees
 * it. */
HELP struct pair shake(gnutls_session_t client, gnutls_session_t server)
{
    struct pair p = {{client, GNUTLS_E_AGAIN}, {server, GNUTLS_E_AGAIN}, {-1, -1}};

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, p.fds), 0);
    gnutls_transport_set_int(client, p.fds[0]);
    gnutls_transport_set_int(server, p.fds[1]);
    for (int i = 0; i < 20; i++) {
        if (handshake_step(&p.client) && gnutls_error_is_fatal(p.client.error))
            shutdown(p.fds[0], SHUT_WR);
        if (handshake_step(&p.server) && gnutls_error_is_fatal(p.server.error))
            shutdown(p.fds[1], SHUT_WR);
    }
    return p;
}

HELP void pair_free(struct pair *p)
{
    gnutls_deinit(p->client.session);
    gnutls_deinit(p->server.session);
    close(p->fds[0]);
    close(p->fds[1]);
}

HELP struct pair shake_identities(const struct identity *client, const struct identity *server)
{
    return shake(session_of(client, false), session_of(server, true));
}

/* dialled: the name that the program dialled, or NULL for the side that accepted. */
HELP void verify_ok(const struct identity *id, struct end *e, const char *dialled, const char *subject)
{
    const struct identity_expectation expect = {.dialled_name = dialled, .port = 1, .connected_side = dialled};
    struct identity_peer peer;
    char why[IDENTITY_WHY_MAX];

    assert_int_equal(e->error, 0);
    if (identity_verify(id, e->session, &expect, &peer, why) != RESULT_OK)
        fail_msg("refused: %s", why);
    if (!strstr(peer.subject, subject))
        fail_msg("expected a subject with: %s\nfound: %s", subject, peer.subject);
}

HELP void verify_refused_as(const struct identity *id, struct end *e, const struct identity_expectation *expect,
                            const char *part)
{
    struct identity_peer peer;
    char why[IDENTITY_WHY_MAX];

    assert_int_equal(e->error, 0);
    assert_int_equal(identity_verify(id, e->session, expect, &peer, why), RESULT_IDENTITY);
    assert_string_equal(peer.subject, "");
    if (!strstr(why, part))
        fail_msg("expected a sentence with: %s\nfound: %s", part, why);
}

HELP void verify_refused(const struct identity *id, struct end *e, const char *dialled, const char *part)
{
    const struct identity_expectation expect = {.dialled_name = dialled, .port = 1, .connected_side = dialled};

    verify_refused_as(id, e, &expect, part);
}

#endif
