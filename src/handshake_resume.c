/* Session resumption in a handshake (docs/PROTOCOL.md, "Resumption"): a side that connected offers a ticket and keeps
 * the next one, a side that accepted issues it. GnuTLS makes, seals and opens the tickets; here is when, for whom, and
 * that a resumed connection proves what a full one proves. */
#include "handshake_internal.h"

#include "bytes.h"

#include <stdlib.h>

/* RFC 8446 section 4.2; PskKeyExchangeMode psk_dhe_ke. */
enum { PSK_KEY_EXCHANGE_MODES = 45, PSK_DHE_KE = 1 };

/* A ticket holds the client's certificates, and travels in a hello: larger ones are not worth it. */
enum { CLIENT_CHAIN_MAX = 4096 };

void handshake_resume_start(struct handshake *hs, const struct handshake_config *config)
{
    hs->service = config->service;
    hs->resumes = config->resume && identity_resumes(hs->identity);
    /* With prefer=server a ticket would be spent for nothing; a side that waits does not know yet whether it becomes
     * client at all. */
    if (!hs->resumes || !hs->connected_side || hs->waits || !(hs->effective & ROLE_CLIENT) ||
        config->prefer == PREFER_SERVER ||
        !ticket_place_make(hs->identity, config->service, config->peer ? config->peer : "", config->dialled_name,
                           &hs->place))
        return;
    hs->offer = tickets_take(&hs->place);
    hs->wants_ticket = hs->offer || tickets_wanted(&hs->place);
}

/* What must be the same for a ticket to be opened: the service, and what the client asks it for. */
static bool server_key(const struct handshake *hs, uint8_t key[TICKET_KEY_BYTES])
{
    const struct cursor *asked[] = {&hs->first.server_name, &hs->first.alpn};
    struct handshake_bytes binding = {0};
    bool done = handshake_bytes_add(&binding, &hs->service, sizeof hs->service);

    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
        uint8_t len[2];
        put_be16(len, (uint16_t)asked[i]->left);
        done = done && handshake_bytes_add(&binding, len, sizeof len) &&
               (!asked[i]->left || handshake_bytes_add(&binding, asked[i]->at, asked[i]->left));
    }
    done = done && tickets_key(hs->identity, binding.bytes, binding.len, key) == RESULT_OK;
    free(binding.bytes);
    return done;
}

/* Without a key the session neither opens nor makes a ticket. */
static void enable_server(struct handshake *hs, gnutls_session_t session)
{
    uint8_t key[TICKET_KEY_BYTES];
    const gnutls_datum_t datum = {key, sizeof key};

    if (!hs->resumes || hs->connected_side)
        return;
    hs->generation = tickets_generation(); /* before the key: a fork in between makes it an old one */
    gnutls_db_set_cache_expiration(session, TICKET_LIFETIME_S);
    hs->issues = server_key(hs, key) && gnutls_session_ticket_enable_server(session, &datum) >= 0;
    wipe(key, sizeof key);
}

void handshake_resume_set(struct handshake *hs, gnutls_session_t session, bool server)
{
    if (server) {
        enable_server(hs, session);
        return;
    }
    if (hs->offer && gnutls_session_set_data(session, hs->offer->session.data, hs->offer->session.size) < 0) {
        ticket_free(hs->offer);
        hs->offer = NULL;
    }
    hs->offered = hs->offer;
}

bool handshake_resumed(const struct handshake *hs)
{
    /* GnuTLS's word alone will not do: it stays from a ClientHello that was answered by a HelloRetryRequest, also where
     * the second one has no ticket. GnuTLS 3.7.9 then asks for a certificate (and shows none of its own). */
    return gnutls_session_is_resumed(hs->session) && !hs->certificate_passed &&
           gnutls_group_get(hs->session) != GNUTLS_GROUP_INVALID;
}

bool handshake_peer_shows(const struct handshake *hs)
{
    /* A ticket that GnuTLS opened and did not take (its client says that it is too old) leaves its certificates behind,
     * and whoever sends it need not know their keys. */
    return (hs->peer_signed || handshake_resumed(hs)) && identity_peer_shows(hs->identity, hs->session);
}

void handshake_resume_remember(const struct handshake *hs, struct identity_expectation *expect)
{
    expect->resumed = handshake_resumed(hs);
    if (hs->phase != PHASE_CLIENT || !hs->offer || !expect->resumed)
        return;
    expect->remembered = hs->offer->shown; /* GnuTLS itself tells them after Finished only */
    expect->remembered_count = hs->offer->count;
    expect->remembered_raw = hs->offer->raw;
}

const char *handshake_resume_flaw(const struct handshake *hs)
{
    if (gnutls_session_is_resumed(hs->session) && !handshake_resumed(hs))
        return "the session was resumed without its key";
    if (!handshake_resumed(hs))
        return NULL;
    if (!hs->resumes || (hs->phase == PHASE_CLIENT ? !hs->offered : !hs->issues))
        return "the session was resumed, and should not have been";
    return NULL;
}

/* Does the client take tickets, and the mode with a key exchange of its own for each connection? */
static bool client_takes(const struct handshake *hs)
{
    struct cursor body, modes;

    return hello_extension(&hs->first, PSK_KEY_EXCHANGE_MODES, &body) && cursor_vec8(&body, &modes) &&
           memchr(modes.at, PSK_DHE_KE, modes.left);
}

static bool chain_is_small(const struct handshake *hs)
{
    unsigned count = 0;
    const gnutls_datum_t *shown = gnutls_certificate_get_peers(hs->session, &count);
    size_t sum = 0;

    for (unsigned i = 0; shown && i < count; i++)
        sum += shown[i].size;
    return sum <= CLIENT_CHAIN_MAX;
}

static bool shows_raw_key(const struct handshake *hs)
{
    return gnutls_certificate_type_get2(hs->session, GNUTLS_CTYPE_PEERS) == GNUTLS_CRT_RAWPK ||
           gnutls_certificate_type_get2(hs->session, GNUTLS_CTYPE_OURS) == GNUTLS_CRT_RAWPK;
}

/* The session seals its message under the keys that the record layer goes on with: it is opened again, and nothing of
 * what was sealed leaves this function. */
static void open_ticket(struct handshake *hs, uint8_t *record, size_t len)
{
    struct record_keys keys;
    struct record_cipher *cipher = NULL;
    enum record_type type = RECORD_INVALID;
    size_t plain_len = 0;
    uint8_t alert, *plain = record + RECORD_HEADER;

    const bool opened =
        record_keys_init(&keys, hs->secrets.suite, hs->secrets.write, hs->secrets.secret_len) == RESULT_OK &&
        record_cipher_fit(&cipher, &keys) == RESULT_OK && len > RECORD_OVERHEAD &&
        record_open(cipher, &keys, record, len, plain, &plain_len, &type, &alert) == RESULT_OK;
    if (opened && type == RECORD_HANDSHAKE && plain_len <= TICKET_BYTES_MAX)
        hs->ticket = ticket_message_new(plain, plain_len);
    record_cipher_free(cipher);
    wipe(&keys, sizeof keys);
}

static void issue(struct handshake *hs)
{
    const size_t before = hs->out.len;

    /* In several records it could not be opened again, nor go out in one. */
    if (hs->secrets.record_max)
        return;
    if (!hs->issues || hs->generation != tickets_generation() || !client_takes(hs) || !chain_is_small(hs) ||
        shows_raw_key(hs))
        return;
    if (gnutls_session_ticket_send(hs->session, 1, 0) >= 0 && hs->out.len > before)
        open_ticket(hs, hs->out.bytes + before, hs->out.len - before);
    wipe(hs->out.bytes + before, hs->out.len - before);
    hs->out.len = before;
}

void handshake_resume_finish(struct handshake *hs)
{
    hs->secrets.resumed = handshake_resumed(hs);
    if (hs->phase == PHASE_SERVER) {
        issue(hs);
        return;
    }
    if (hs->offered)
        tickets_told(&hs->place, hs->secrets.resumed);
    hs->offered = false; /* told */
    hs->awaited = hs->wants_ticket ? TICKET_FOR_NOBODY : 0;
    if (hs->wants_ticket && tickets_wanted(&hs->place)) {
        const uint64_t number = tickets_await(hs->session, &hs->place, hs->identity, hs->peer_expires);
        hs->session = NULL;
        hs->awaited = number ? number : TICKET_FOR_NOBODY;
    }
}

void handshake_resume_dropped(struct handshake *hs)
{
    hs->offered = false;
    ticket_free(hs->offer);
    hs->offer = NULL;
}

void handshake_resume_free(struct handshake *hs)
{
    /* A server that fails at a ticket is not asked again and again. */
    if (hs->offered && hs->phase == PHASE_FAILED && hs->encrypted)
        tickets_told(&hs->place, false);
    ticket_free(hs->offer);
    tickets_await_no_more(hs->awaited);
    ticket_message_free(hs->ticket);
    hs->offer = NULL;
    hs->ticket = NULL;
    hs->awaited = 0;
}

struct ticket_message *handshake_take_ticket(struct handshake *hs)
{
    struct ticket_message *ticket = hs->ticket;

    hs->ticket = NULL;
    return ticket;
}

uint64_t handshake_take_awaited(struct handshake *hs)
{
    const uint64_t awaited = hs->awaited;

    hs->awaited = 0;
    return awaited;
}
