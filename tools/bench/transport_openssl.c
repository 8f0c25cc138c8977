/* OpenSSL with fixed roles: the side that dialled is TLS client. */
#include "bench.h"
#include "transport.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <unistd.h>

struct link {
    SSL *ssl;
    int fd;
};

static SSL_CTX *context;

__attribute__((noreturn)) static void fail(const char *what)
{
    char text[256];
    ERR_error_string_n(ERR_get_error(), text, sizeof(text));
    die("%s: %s", what, text);
}

static void succeed(int rc, const char *what)
{
    if (rc != 1)
        fail(what);
}

void transport_start(const struct identity_files *files)
{
    context = SSL_CTX_new(TLS_method());
    if (!context)
        fail("context");
    succeed(SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION), "version");
    succeed(SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256"), "cipher");
    succeed(SSL_CTX_set1_groups_list(context, "X25519"), "group");
    succeed(SSL_CTX_set_num_tickets(context, 0), "tickets");
    succeed(SSL_CTX_use_certificate_chain_file(context, files->certificate), files->certificate);
    succeed(SSL_CTX_use_PrivateKey_file(context, files->key, SSL_FILETYPE_PEM), files->key);
    succeed(SSL_CTX_load_verify_file(context, files->authority), files->authority);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

struct link *link_open(int fd, bool dialled)
{
    struct link *link = allocate(sizeof(*link));
    link->fd = fd;
    link->ssl = SSL_new(context);
    if (!link->ssl)
        fail("session");
    succeed(SSL_set_fd(link->ssl, fd), "descriptor");
    if (dialled)
        succeed(X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(link->ssl), "127.0.0.1"), "address");
    succeed(dialled ? SSL_connect(link->ssl) : SSL_accept(link->ssl), "handshake");
    return link;
}

static bool has_to_wait(struct link *link, int n)
{
    int error = SSL_get_error(link->ssl, n);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

ssize_t link_read(struct link *link, void *buffer, size_t len)
{
    int n = SSL_read(link->ssl, buffer, (int)len);
    if (n > 0)
        return n;
    if (has_to_wait(link, n))
        return -1;
    ERR_clear_error();
    return 0;
}

ssize_t link_write(struct link *link, const void *data, size_t len)
{
    int n = SSL_write(link->ssl, data, (int)len);
    if (n <= 0 && !has_to_wait(link, n))
        fail("SSL_write");
    return n > 0 ? n : -1;
}

int link_fd(const struct link *link)
{
    return link->fd;
}

void link_close(struct link *link)
{
    (void)SSL_shutdown(link->ssl); /* the other side may have gone first */
    SSL_free(link->ssl);
    SYS(close(link->fd));
    free(link);
}
