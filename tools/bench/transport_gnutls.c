/* GnuTLS with fixed roles: the side that dialled is TLS client. */
#include "bench.h"
#include "transport.h"

#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <unistd.h>

struct link {
    gnutls_session_t session;
    int fd;
};

static gnutls_certificate_credentials_t credentials;
static gnutls_priority_t priorities;

static void succeed(int rc, const char *what)
{
    if (rc < 0)
        die("%s: %s", what, gnutls_strerror(rc));
}

void transport_start(const struct identity_files *files)
{
    succeed(gnutls_certificate_allocate_credentials(&credentials), "credentials");
    succeed(gnutls_certificate_set_x509_key_file(credentials, files->certificate, files->key, GNUTLS_X509_FMT_PEM),
            files->certificate);
    succeed(gnutls_certificate_set_x509_trust_file(credentials, files->authority, GNUTLS_X509_FMT_PEM),
            files->authority);
    succeed(gnutls_priority_init(
                &priorities, "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:-GROUP-ALL:+GROUP-X25519", NULL),
            "priorities");
}

struct link *link_open(int fd, bool dialled)
{
    struct link *link = allocate(sizeof(*link));
    link->fd = fd;
    succeed(gnutls_init(&link->session, (dialled ? GNUTLS_CLIENT : GNUTLS_SERVER) | GNUTLS_NO_TICKETS), "session");
    succeed(gnutls_priority_set(link->session, priorities), "priorities of a session");
    succeed(gnutls_credentials_set(link->session, GNUTLS_CRD_CERTIFICATE, credentials), "credentials of a session");
    if (!dialled)
        gnutls_certificate_server_set_request(link->session, GNUTLS_CERT_REQUIRE);
    gnutls_session_set_verify_cert(link->session, dialled ? "127.0.0.1" : NULL, 0);
    gnutls_transport_set_int(link->session, fd);
    int rc;
    do
        rc = gnutls_handshake(link->session);
    while (rc < 0 && !gnutls_error_is_fatal(rc));
    succeed(rc, "handshake");
    return link;
}

ssize_t link_read(struct link *link, void *buffer, size_t len)
{
    ssize_t n;
    do
        n = gnutls_record_recv(link->session, buffer, len);
    while (n == GNUTLS_E_INTERRUPTED);
    if (n == GNUTLS_E_AGAIN)
        return -1;
    return n < 0 ? 0 : n;
}

ssize_t link_write(struct link *link, const void *data, size_t len)
{
    ssize_t n;
    do
        n = gnutls_record_send(link->session, data, len);
    while (n == GNUTLS_E_INTERRUPTED);
    if (n == GNUTLS_E_AGAIN)
        return -1;
    succeed((int)n, "gnutls_record_send");
    return n;
}

int link_fd(const struct link *link)
{
    return link->fd;
}

void link_close(struct link *link)
{
    (void)gnutls_bye(link->session, GNUTLS_SHUT_WR); /* the other side may have gone first */
    gnutls_deinit(link->session);
    SYS(close(link->fd));
    free(link);
}
