/* What a program may know of its protected connection: who the peer is, and values that only the two sides know. */
#include "conn_internal.h"

_Static_assert((int)CONN_SUBJECT == (int)SLOT_SUBJECT && (int)CONN_NAME == (int)SLOT_NAME, "the texts have room");

bool conn_about(struct conn *c, struct conn_about *about)
{
    if (atomic_load(&c->slot->state) != SLOT_OPEN)
        return false;
    /* The slot may be shared with a process that is not trusted: what is copied out has ends. */
    struct slot_texts texts;
    slot_texts_get(c->slot, c->room, &texts);
    about->is_client = c->slot->is_client != 0;
    memcpy(about->subject, texts.subject, sizeof about->subject);
    about->resumed = c->slot->resumed != 0;
    about->proven = c->slot->proven != 0;
    memcpy(about->alpn, texts.alpn, sizeof about->alpn);
    memcpy(about->server_name, texts.server_name, sizeof about->server_name);
    about->suite = record_suite_name(c->slot->tx.keys.suite);
    return true;
}

enum result conn_export_value(struct conn *c, const char *label, const uint8_t *context, size_t context_len,
                              uint8_t *out, size_t out_len)
{
    uint8_t secret[RECORD_SECRET_MAX];
    if (atomic_load(&c->slot->state) != SLOT_OPEN)
        return RESULT_AGAIN;
    memcpy(secret, c->slot->exporter, sizeof secret);
    enum result result = record_exporter(c->slot->tx.keys.suite, secret, c->slot->exporter_len, label, context,
                                         context_len, out, out_len);
    wipe(secret, sizeof secret);
    return result;
}
