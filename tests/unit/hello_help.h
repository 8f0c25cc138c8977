/* ClientHellos for tests: a real one of GnuTLS, hand-made ones, and records around them. */
#ifndef TESTS_HELLO_HELP_H
#define TESTS_HELLO_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bytes.h"
#include "hello.h"

#include <gnutls/gnutls.h>
#include <stdlib.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

struct text {
    uint8_t bytes[70000];
    size_t len;
};

static inline void put(struct text *t, const void *bytes, size_t n)
{
    assert_true(t->len + n <= sizeof t->bytes);
    if (n)
        memcpy(t->bytes + t->len, bytes, n);
    t->len += n;
}

static inline void put_u8(struct text *t, unsigned v)
{
    uint8_t b = (uint8_t)v;
    put(t, &b, 1);
}

static inline void put_u16(struct text *t, unsigned v)
{
    put_u8(t, v >> 8);
    put_u8(t, v & 0xff);
}

static inline void put_record(struct text *t, unsigned type, unsigned version, const uint8_t *body, size_t len)
{
    put_u8(t, type);
    put_u16(t, version);
    put_u16(t, (unsigned)len);
    put(t, body, len);
}

static inline void put_extension(struct text *t, unsigned type, size_t len, unsigned fill)
{
    put_u16(t, type);
    put_u16(t, (unsigned)len);
    for (size_t i = 0; i < len; i++)
        put_u8(t, fill);
}

/* A ClientHello message of its parts; extensions NULL leaves the whole block out. */
static inline void build_hello(struct text *t, const struct text *extensions)
{
    static const uint8_t fixed[] = {0x03, 0x03, [34] = 0 /* session id */, 0, 2, 0x13, 0x01, 1, 0};
    size_t body = sizeof fixed + (extensions ? 2 + extensions->len : 0);
    t->len = 0;
    put_u8(t, 1);
    put_u8(t, (unsigned)(body >> 16));
    put_u16(t, (unsigned)(body & 0xffff));
    put(t, fixed, sizeof fixed);
    if (extensions) {
        put_u16(t, (unsigned)extensions->len);
        put(t, extensions->bytes, extensions->len);
    }
}

static inline ssize_t keep_output(gnutls_transport_ptr_t ctx, const void *bytes, size_t n)
{
    put(ctx, bytes, n);
    return (ssize_t)n;
}

static inline ssize_t no_input(gnutls_transport_ptr_t ctx, void *bytes, size_t n)
{
    (void)ctx, (void)bytes, (void)n;
    return 0;
}

static inline int role_send(gnutls_session_t session, gnutls_buffer_t out)
{
    static const uint8_t value[ROLE_VALUE_BYTES] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    (void)session;
    return gnutls_buffer_append_data(out, value, sizeof value) < 0 ? GNUTLS_E_MEMORY_ERROR : (int)sizeof value;
}

static inline int role_receive(gnutls_session_t session, const unsigned char *data, size_t len)
{
    (void)session, (void)data, (void)len;
    return 0;
}

/* The records that GnuTLS sends first as client: with p2p_role 01..10, or as a conventional client. */
static inline void real_hello(struct text *wire, bool with_role)
{
    gnutls_session_t session;
    gnutls_certificate_credentials_t credentials;
    wire->len = 0;
    assert_int_equal(gnutls_init(&session, GNUTLS_CLIENT), 0);
    assert_int_equal(gnutls_certificate_allocate_credentials(&credentials), 0);
    assert_int_equal(gnutls_set_default_priority(session), 0);
    assert_int_equal(gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials), 0);
    if (with_role)
        assert_int_equal(gnutls_session_ext_register(session, "p2p_role", P2P_ROLE_EXTENSION, GNUTLS_EXT_TLS,
                                                     role_receive, role_send, NULL, NULL, NULL,
                                                     GNUTLS_EXT_FLAG_CLIENT_HELLO | GNUTLS_EXT_FLAG_EE),
                         0);
    gnutls_transport_set_ptr(session, wire);
    gnutls_transport_set_push_function(session, keep_output);
    gnutls_transport_set_pull_function(session, no_input);
    assert_true(gnutls_handshake(session) < 0);
    gnutls_deinit(session);
    gnutls_certificate_free_credentials(credentials);
    size_t first =
        HELLO_RECORD_HEADER + be16(wire->bytes + 3); /* behind it may be the alert about the missing answer */
    assert_true(first <= wire->len);
    wire->len = first;
}

/* Feeds record by record, each in an allocation of its own so that sanitizers see a read past its end. */
static inline enum result feed(struct hello *h, const struct text *wire)
{
    size_t at = 0;
    enum result r = RESULT_OK;
    while (r == RESULT_OK && h->kind == HELLO_INCOMPLETE && at < wire->len) {
        size_t body;
        r = hello_check_header(h, wire->bytes + at, &body);
        if (r != RESULT_OK)
            break;
        size_t n = HELLO_RECORD_HEADER + body;
        assert_true(at + n <= wire->len);
        uint8_t *copy = malloc(n);
        assert_non_null(copy);
        memcpy(copy, wire->bytes + at, n);
        r = hello_add_record(h, copy, n);
        free(copy);
        at += n;
    }
    return r;
}

static inline void expect_bad(const struct text *wire, unsigned alert, const char *why_has)
{
    struct hello h = {0};
    assert_int_equal(feed(&h, wire), RESULT_PROTOCOL);
    assert_int_equal(h.kind, HELLO_BAD);
    assert_non_null(strstr(h.why, why_has));
    assert_int_equal(h.alert, alert);
    hello_free(&h);
    assert_null(h.wire);
    assert_null(h.message);
}

static inline void expect_client(const struct text *wire, bool has_role)
{
    struct hello h = {0};
    assert_int_equal(feed(&h, wire), RESULT_OK);
    assert_int_equal(h.kind, HELLO_CLIENT);
    assert_int_equal(h.has_role, has_role);
    assert_int_equal(h.wire_len, wire->len);
    assert_memory_equal(h.wire, wire->bytes, wire->len);
    assert_int_equal(h.message_len, 4 + be24(h.message + 1));
    hello_free(&h);
}

/* Cuts one message into records of at most n bytes. */
static inline void fragment(struct text *wire, const uint8_t *message, size_t len, size_t n, unsigned version)
{
    wire->len = 0;
    for (size_t at = 0; at < len; at += n)
        put_record(wire, 22, version, message + at, len - at < n ? len - at : n);
}

static inline void wrap(struct text *wire, const struct text *extensions, unsigned version)
{
    struct text message;
    build_hello(&message, extensions);
    fragment(wire, message.bytes, message.len, HELLO_RECORD_MAX, version);
}

#endif
