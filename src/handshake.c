/* The handshake's outside: making and freeing, output, and input up to the end of one record at a time. */
#include "handshake_internal.h"

#include "bytes.h"

#include <gnutls/crypto.h>
#include <stdio.h>
#include <stdlib.h>

static bool fill_from_gnutls(void *ctx, uint8_t *out, size_t n)
{
    (void)ctx;
    return gnutls_rnd(GNUTLS_RND_NONCE, out, n) >= 0;
}

static bool copy_text(char **out, const char *text)
{
    *out = text ? strdup(text) : NULL;
    return *out || !text;
}

static bool copy_texts(struct handshake *hs, const struct handshake_config *config)
{
    return copy_text(&hs->dialled_name, config->dialled_name) && copy_text(&hs->peer_patterns, config->peer_patterns) &&
           copy_text(&hs->alpn, config->alpn) && copy_text(&hs->client_ciphers, config->client_ciphers) &&
           copy_text(&hs->server_ciphers, config->server_ciphers) &&
           copy_text(&hs->client_groups, config->client_groups) && copy_text(&hs->server_groups, config->server_groups);
}

static void free_texts(struct handshake *hs)
{
    free(hs->dialled_name);
    free(hs->peer_patterns);
    free(hs->alpn);
    free(hs->client_ciphers);
    free(hs->server_ciphers);
    free(hs->client_groups);
    free(hs->server_groups);
}

/* The policy has cut the roles already; a certificate that may not be shown must not depend on that. */
static enum role_set roles_of(const struct handshake_config *config)
{
    if (!identity_client_only(config->identity))
        return config->effective;
    return (enum role_set)(config->effective & ROLE_CLIENT);
}

static const char *why_no_role(const struct handshake_config *config)
{
    if (config->effective != ROLE_NONE)
        return "show=never and show=proven make this side a TLS client, since a server shows its certificate first: "
               "remove role=server here, or set show=always";
    return "role= and remote= leave no role that this side could take: a remote client needs a local server, and the "
           "other way round";
}

static enum result start(struct handshake *hs, const struct handshake_config *config)
{
    struct random_source random = config->random;

    if (!random.fill)
        random.fill = fill_from_gnutls;
    hs->effective = roles_of(config);
    hs->waits = !config->speaks_first;
    hs->identity = identity_ref(config->identity);
    hs->connected_side = config->connected_side;
    hs->dialled_port = config->dialled_port;
    hs->tlsa = config->tlsa;
    hs->no_sni = config->no_sni;
    hs->reflection = identity_uses_psk(config->identity) ? config->reflection : NULL;
    hs->ends = config->ends;
    hs->lifetime_ms = config->lifetime_ms;
    hs->waits = hs->waits || handshake_reflection_holds_back(hs, config->prefer);
    if (!copy_texts(hs, config)) {
        snprintf(hs->why, sizeof hs->why, "no memory for a handshake");
        return RESULT_NOMEM;
    }
    handshake_resume_start(hs, config);
    /* Nothing is given away by it: the ticket is in the same hello. */
    enum result result = role_draw(hs->effective, hs->offer ? PREFER_CLIENT : config->prefer, random, &hs->own);
    if (result != RESULT_OK) {
        snprintf(hs->why, sizeof hs->why, "%s",
                 result == RESULT_CONFIG ? why_no_role(config) : "the source of randomness failed");
        return result;
    }
    if ((result = handshake_names_check(hs)) != RESULT_OK || (result = handshake_session_check(hs)) != RESULT_OK)
        return result;
    hs->phase = PHASE_FIRST_HELLO;
    hs->state = RESULT_AGAIN;
    hs->want = RECORD_HEADER;
    /* A side that can only be client has nothing to decide: its hello tells the other side why, if they do not meet. */
    return hs->waits || (config->hears_first && hs->effective == ROLE_PEER) ? RESULT_OK : handshake_session_hello(hs);
}

enum result handshake_new(const struct handshake_config *config, struct handshake **out, char why[HANDSHAKE_WHY_MAX])
{
    struct handshake *hs = calloc(1, sizeof *hs);

    *out = NULL;
    if (!hs) {
        snprintf(why, HANDSHAKE_WHY_MAX, "no memory for a handshake");
        return RESULT_NOMEM;
    }
    enum result result = start(hs, config);
    if (result == RESULT_OK) {
        *out = hs;
        return RESULT_OK;
    }
    snprintf(why, HANDSHAKE_WHY_MAX, "%s", hs->why);
    handshake_free(hs);
    return result;
}

void handshake_free(struct handshake *hs)
{
    if (!hs)
        return;
    handshake_reflection_forget(hs);
    handshake_resume_free(hs);
    handshake_session_drop(hs);
    identity_unref(hs->identity);
    hello_free(&hs->first);
    hello_free(&hs->retry);
    free_texts(hs);
    free(hs->out.bytes);
    free(hs->plain.bytes);
    free(hs->record);
    wipe(hs, sizeof *hs);
    free(hs);
}

bool handshake_speak(struct handshake *hs)
{
    if (hs->phase != PHASE_FIRST_HELLO || hs->waits || hs->hello_built || hs->state != RESULT_AGAIN)
        return false;
    enum result result = handshake_session_hello(hs);
    if (result != RESULT_OK)
        handshake_fail(hs, result, ALERT_INTERNAL_ERROR, hs->why);
    return true;
}

enum result handshake_state(const struct handshake *hs)
{
    return hs->state;
}

const char *handshake_why(const struct handshake *hs)
{
    return hs->why;
}

const uint8_t *handshake_output(const struct handshake *hs, size_t *len)
{
    *len = hs->out.len - hs->out_sent;
    return *len ? hs->out.bytes + hs->out_sent : NULL;
}

void handshake_sent(struct handshake *hs, size_t len)
{
    size_t left = hs->out.len - hs->out_sent;

    hs->out_sent += len < left ? len : left;
    if (len && hs->hello_built)
        hs->hello_left = true;
    if (hs->out_sent == hs->out.len)
        hs->out_sent = hs->out.len = 0;
}

size_t handshake_wanted(const struct handshake *hs)
{
    return hs->state == RESULT_AGAIN ? hs->want - hs->have : 0;
}

bool handshake_owns_input(const struct handshake *hs)
{
    return hs->phase == PHASE_FIRST_HELLO && !hs->hello_left;
}

enum result handshake_feed(struct handshake *hs, const uint8_t *bytes, size_t len)
{
    if (hs->state != RESULT_AGAIN)
        return hs->state;
    if (len == 0 || len > hs->want - hs->have)
        return handshake_fail(hs, RESULT_PROTOCOL, ALERT_INTERNAL_ERROR,
                              "more bytes were given to the handshake than it wanted");
    memcpy((hs->record ? hs->record : hs->header) + hs->have, bytes, len);
    hs->have += len;
    if (hs->have < hs->want)
        return RESULT_AGAIN;
    return hs->record ? handshake_record_whole(hs) : handshake_record_header(hs);
}

enum result handshake_feed_end(struct handshake *hs)
{
    if (hs->state != RESULT_AGAIN)
        return hs->state;
    if (hs->phase == PHASE_FIRST_HELLO && hs->have == 0 && !hs->first.records)
        return handshake_fail_silently(hs, RESULT_PROTOCOL,
                                       "the peer closed the connection without a word of TLS: is it protected too?");
    return handshake_fail_silently(hs, RESULT_PROTOCOL,
                                   "the peer closed the connection in the middle of the handshake");
}

void handshake_abort(struct handshake *hs, enum result reason, uint8_t alert, const char *why)
{
    if (hs->state == RESULT_AGAIN)
        handshake_fail(hs, reason, alert, why);
}

void handshake_take_secrets(struct handshake *hs, struct handshake_secrets *out)
{
    *out = hs->secrets;
    out->peer_has_role = hs->peer_has_role;
    wipe(&hs->secrets, sizeof hs->secrets);
}
