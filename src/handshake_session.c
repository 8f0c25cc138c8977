/* Makes GnuTLS sessions of either role and lets them read and write memory. */
#include "handshake_internal.h"

#include "bytes.h"

#include <gnutls/crypto.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* The server's order of ciphers counts, so that conventional clients get AES-128-GCM too. */
static const char PRIORITIES_PROTOCOL[] = "NONE:+VERS-TLS1.3:+AEAD:+COMP-NULL:%SERVER_PRECEDENCE";
static const char PRIORITIES_GROUPS[] = "+GROUP-X25519:+GROUP-SECP256R1:+GROUP-X448:+GROUP-SECP384R1";
/* Without it GnuTLS offers tickets for psk_ke as well, which has no forward secrecy. */
static const char PRIORITIES_TICKETS[] = ":+ECDHE-PSK";
static const char PRIORITIES_CIPHERS[] = "+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305";

enum { PRIORITIES_MAX = 2000, PRIORITIES_CACHED = 16 };

/* Parsing a priority string costs as much as a key exchange. Entries are added and never removed, without a lock: a
 * lock could be held by another thread at the moment of a fork. */
struct cached_priorities {
    gnutls_priority_t parsed;
    char text[];
};

static struct cached_priorities *_Atomic cache[PRIORITIES_CACHED];

static gnutls_priority_t find_cached(const char *text)
{
    for (size_t i = 0; i < PRIORITIES_CACHED; i++) {
        struct cached_priorities *entry = atomic_load_explicit(&cache[i], memory_order_acquire);
        if (!entry)
            return NULL;
        if (strcmp(entry->text, text) == 0)
            return entry->parsed;
    }
    return NULL;
}

/* False when there is no place left: then the caller still owns parsed. */
static bool keep_cached(const char *text, gnutls_priority_t parsed)
{
    size_t size = strlen(text) + 1;
    struct cached_priorities *entry = malloc(sizeof *entry + size);
    if (!entry)
        return false;
    entry->parsed = parsed;
    memcpy(entry->text, text, size);
    for (size_t i = 0; i < PRIORITIES_CACHED; i++) {
        struct cached_priorities *empty = NULL;
        if (atomic_compare_exchange_strong(&cache[i], &empty, entry))
            return true;
    }
    free(entry);
    return false;
}

/* GnuTLS's error, or 0: the parsed priorities of one role, and whether the caller has to free them. */
static int find_priorities(const struct handshake *hs, bool server, gnutls_priority_t *parsed, bool *owned)
{
    const char *ciphers = server ? hs->server_ciphers : hs->client_ciphers;
    const char *groups = server ? hs->server_groups : hs->client_groups;
    char text[PRIORITIES_MAX];
    /* The ciphers come last, so that a policy may take away from what stands before them. */
    int n = snprintf(text, sizeof text, "%s:%s%s%s:%s", PRIORITIES_PROTOCOL, groups ? groups : PRIORITIES_GROUPS,
                     identity_priorities(hs->identity, server), !server && hs->wants_ticket ? PRIORITIES_TICKETS : "",
                     ciphers ? ciphers : PRIORITIES_CIPHERS);

    *owned = false;
    if (n < 0 || (size_t)n >= sizeof text)
        return GNUTLS_E_SHORT_MEMORY_BUFFER;
    *parsed = find_cached(text);
    if (*parsed)
        return 0;
    int e = gnutls_priority_init(parsed, text, NULL);
    *owned = e >= 0 && !keep_cached(text, *parsed);
    return e;
}

/* With no session the list is only looked at. */
static int set_priorities(const struct handshake *hs, gnutls_session_t session, bool server)
{
    gnutls_priority_t parsed;
    bool owned;
    int e = find_priorities(hs, server, &parsed, &owned);

    if (e >= 0 && session)
        e = gnutls_priority_set(session, parsed);
    if (owned)
        gnutls_priority_deinit(parsed); /* the session holds a reference of its own */
    return e;
}

static enum result refuse_setup(struct handshake *hs, const char *what, int error)
{
    snprintf(hs->why, sizeof hs->why, "cannot set up TLS: %s: %s", what, gnutls_strerror(error));
    return error == GNUTLS_E_MEMORY_ERROR ? RESULT_NOMEM : RESULT_CONFIG;
}

static enum result choose_priorities(struct handshake *hs, gnutls_session_t session, bool server)
{
    int e = set_priorities(hs, session, server);
    if (e < 0)
        return refuse_setup(
            hs, server ? "ciphers or groups of the server role" : "ciphers or groups of the client role", e);
    return RESULT_OK;
}

enum result handshake_session_check(struct handshake *hs)
{
    enum result result = choose_priorities(hs, NULL, false);
    return result == RESULT_OK ? choose_priorities(hs, NULL, true) : result;
}

static enum result configure(struct handshake *hs, gnutls_session_t session, bool server)
{
    enum result result = choose_priorities(hs, session, server);
    int e = 0;

    if (result != RESULT_OK)
        return result;
    result = identity_apply(hs->identity, session, server);
    if (result != RESULT_OK) {
        snprintf(hs->why, sizeof hs->why, "cannot set up TLS: the credentials do not fit a session");
        return result;
    }
    if ((e = handshake_names_set(hs, session, server)) < 0)
        return refuse_setup(hs, "the name of the peer is no DNS name, or alpn= cannot be sent", e);
    handshake_resume_set(hs, session, server);
    if (!handshake_callbacks_set(hs, session))
        return refuse_setup(hs, "p2p_role", GNUTLS_E_MEMORY_ERROR);
    return RESULT_OK;
}

/* NO_TICKETS is added unless a client wants some; a server's key for tickets takes it away again. NO_EXTENSIONS leaves
 * out OCSP status requests. KEY_SHARE_TOP: one key share, X25519, as a second one costs a key generation in every
 * handshake, and a HelloRetryRequest serves those who lack it. */
enum {
    SESSION_FLAGS = GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | GNUTLS_NO_AUTO_SEND_TICKET | GNUTLS_NO_AUTO_REKEY |
                    GNUTLS_NO_EXTENSIONS | GNUTLS_KEY_SHARE_TOP
};

enum result handshake_session_make(struct handshake *hs, bool server)
{
    gnutls_session_t session;
    int e = gnutls_init(&session, SESSION_FLAGS | identity_session_flags(hs->identity) |
                                      (!server && hs->wants_ticket ? 0 : GNUTLS_NO_TICKETS) |
                                      (server ? GNUTLS_SERVER : GNUTLS_CLIENT));

    if (e < 0)
        return refuse_setup(hs, "session", e);
    gnutls_handshake_set_timeout(session, 0); /* time is the embedder's business */
    enum result result = configure(hs, session, server);
    if (result != RESULT_OK) {
        gnutls_deinit(session);
        return result;
    }
    hs->session = session;
    return RESULT_OK;
}

void handshake_session_drop(struct handshake *hs)
{
    if (hs->session)
        gnutls_deinit(hs->session);
    hs->session = NULL;
}

/* The ClientHello without its record headers, hashed for the comparison with the server's echo. */
static bool hash_own_hello(struct handshake *hs)
{
    struct hello own = {0};
    struct cursor records = {hs->out.bytes + hs->out_sent, hs->out.len - hs->out_sent};
    const uint8_t *record;

    while (own.kind == HELLO_INCOMPLETE && records.left >= RECORD_HEADER) {
        size_t len = RECORD_HEADER + be16(records.at + 3);
        if (!cursor_take(&records, len, &record) || hello_add_record(&own, record, len) != RESULT_OK)
            break;
    }
    bool whole =
        own.kind == HELLO_CLIENT && records.left == 0 && own.has_role &&
        gnutls_hash_fast(GNUTLS_DIG_SHA256, own.message, own.message_len, hs->own_echo + ROLE_VALUE_BYTES) >= 0;
    memcpy(hs->own_echo, hs->own.bytes, ROLE_VALUE_BYTES);
    if (whole)
        memcpy(hs->own_random, hello_random(&own), sizeof hs->own_random);
    hello_free(&own);
    return whole;
}

enum result handshake_session_hello(struct handshake *hs)
{
    enum result result = handshake_session_make(hs, false);
    if (result != RESULT_OK)
        return result;
    int e = gnutls_handshake(hs->session);
    if (e != GNUTLS_E_AGAIN && e != GNUTLS_E_INTERRUPTED)
        return refuse_setup(hs, "ClientHello", e);
    if (!hash_own_hello(hs))
        return refuse_setup(hs, "ClientHello", GNUTLS_E_INTERNAL_ERROR);
    if ((result = handshake_reflection_keep(hs)) != RESULT_OK)
        return result;
    hs->hello_built = true;
    return RESULT_OK;
}

static enum record_suite suite_of(gnutls_session_t session)
{
    switch ((int)gnutls_cipher_get(session)) {
    case GNUTLS_CIPHER_AES_128_GCM:
        return SUITE_AES_128_GCM_SHA256;
    case GNUTLS_CIPHER_AES_256_GCM:
        return SUITE_AES_256_GCM_SHA384;
    case GNUTLS_CIPHER_CHACHA20_POLY1305:
        return SUITE_CHACHA20_POLY1305_SHA256;
    default:
        return SUITE_INVALID;
    }
}

/* Nobody is asked, or a client that was asked showed nothing; a server always shows something. */
static bool may_stay_unknown(const struct handshake *hs)
{
    switch (identity_auth(hs->identity)) {
    case AUTH_REQUIRE:
        return false;
    case AUTH_REQUEST:
        return hs->phase == PHASE_SERVER && !identity_uses_psk(hs->identity) && !handshake_peer_shows(hs);
    case AUTH_INSECURE_NONE:
        return !identity_uses_psk(hs->identity);
    }
    return false;
}

/* Fail closed: each of these follows from what was set up, and none is taken for granted. */
static const char *find_flaw(const struct handshake *hs)
{
    if (gnutls_protocol_get_version(hs->session) != GNUTLS_TLS1_3)
        return "the session is not TLS 1.3";
    if (hs->secrets.suite == SUITE_INVALID || hs->secrets.secret_len == 0)
        return "the session has no keys of a known cipher suite";
    if (hs->phase == PHASE_CLIENT && hs->discarded && !hs->echo_seen)
        return "the discarded hello was not confirmed";
    if (!hs->verified && !may_stay_unknown(hs))
        return "the identity of the peer was not verified";
    if (hs->verified && !identity_uses_psk(hs->identity) && !hs->peer_signed && !handshake_resumed(hs))
        return "the peer has not signed";
    if (hs->input_left)
        return "there is input behind the end";
    return handshake_resume_flaw(hs);
}

/* The peer has proven that it holds its key: what is learned at a first contact is kept now, and not before. */
static enum result confirm(struct handshake *hs)
{
    struct identity_expectation expect;
    struct identity_peer peer = {.alert = ALERT_INTERNAL_ERROR};
    char why[IDENTITY_WHY_MAX];

    handshake_expectation(hs, &expect);
    const enum result result = identity_confirm(hs->identity, hs->session, &expect, &peer, why);
    return result == RESULT_OK ? result : handshake_fail(hs, result, peer.alert, why);
}

static enum result finish(struct handshake *hs)
{
    hs->secrets.is_client = hs->phase == PHASE_CLIENT;
    hs->secrets.suite = suite_of(hs->session);
    hs->secrets.resumed = gnutls_session_is_resumed(hs->session) != 0;
    const char *flaw = find_flaw(hs);
    uint8_t alert = ALERT_INTERNAL_ERROR;
    if (!flaw)
        flaw = handshake_names_agreed(hs, &alert);
    /* RFC 8446 section 5.1: keys change behind Finished. GnuTLS leaves unread what is there. */
    if (!flaw && gnutls_record_check_pending(hs->session)) {
        alert = ALERT_UNEXPECTED_MESSAGE;
        flaw = "the record that ends the handshake holds more than Finished";
    }
    if (flaw)
        return handshake_fail(hs, RESULT_PROTOCOL, alert, flaw);
    const enum result result = hs->verified ? confirm(hs) : RESULT_OK;
    if (result != RESULT_OK)
        return result;
    hs->secrets.proven = hs->verified;
    if (!hs->verified)
        snprintf(hs->secrets.subject, sizeof hs->secrets.subject, "(unauthenticated)");
    handshake_resume_finish(hs);
    handshake_session_drop(hs);
    hs->phase = PHASE_DONE;
    hs->state = RESULT_OK;
    return RESULT_OK;
}

static enum result refuse_session(struct handshake *hs, int error)
{
    char why[HANDSHAKE_WHY_MAX];
    uint8_t alert;

    if (hs->verdict.result != RESULT_INVALID)
        return handshake_fail(hs, hs->verdict.result, hs->verdict.alert, hs->verdict.why);
    if (error == GNUTLS_E_FATAL_ALERT_RECEIVED || error == GNUTLS_E_WARNING_ALERT_RECEIVED) {
        enum result result =
            handshake_reason_alert((uint8_t)gnutls_alert_get(hs->session), hs->identity, hs->encrypted, why);
        return handshake_fail_silently(hs, result, why);
    }
    if (error == GNUTLS_E_SESSION_EOF || error == GNUTLS_E_PREMATURE_TERMINATION) {
        enum result result = handshake_reason_alert(ALERT_CLOSE_NOTIFY, hs->identity, hs->encrypted, why);
        return handshake_fail_silently(hs, result, why);
    }
    enum result result = handshake_reason_error(hs, error, &alert, why);
    return handshake_fail(hs, result, alert, why);
}

/* GnuTLS derives keys in arrays of its functions, and leaves them on the stack. It has been further down than this. */
static __attribute__((noinline)) void wipe_stack_below(void)
{
    uint8_t below[8192];
    wipe(below, sizeof below);
}

enum result handshake_session_drive(struct handshake *hs, const uint8_t *records, size_t len)
{
    size_t before;
    int e;

    hs->input = records;
    hs->input_left = len;
    do {
        before = hs->input_left;
        e = gnutls_handshake(hs->session);
    } while ((e == GNUTLS_E_AGAIN || e == GNUTLS_E_INTERRUPTED) && hs->input_left && hs->input_left < before);
    wipe_stack_below();

    if (e == GNUTLS_E_SUCCESS)
        return finish(hs);
    if ((e != GNUTLS_E_AGAIN && e != GNUTLS_E_INTERRUPTED) || hs->input_left)
        return refuse_session(hs, e);
    return RESULT_AGAIN;
}
