/* The turn of a writer that waits for room: the byte that its blocking call sends is the stream's next one. */
#include "conn_writing.h"

enum result conn_turn_take(struct conn *c, uint8_t *byte)
{
    static const uint8_t header[3] = {RECORD_APPLICATION_DATA, 3, 3};
    uint32_t nobody = 0;
    if (conn_state(c) != RESULT_OK || atomic_load(&c->slot->early_kept))
        return RESULT_AGAIN;
    if (!atomic_compare_exchange_strong(&c->slot->turn, &nobody, holder_self(c->family)))
        return RESULT_AGAIN;
    struct writing w = {.c = c};
    enum result result = tx_lock(&w);
    if (result == RESULT_OK) {
        if (w.tx.error || w.tx.closed || (!w.tx.rest_len && w.tx.lead >= sizeof header))
            result = RESULT_AGAIN;
        else
            *byte = w.tx.rest_len ? c->room->tx[w.tx.rest_off] : header[w.tx.lead];
        tx_unlock(&w);
    }
    if (result != RESULT_OK) {
        atomic_store(&c->slot->turn, 0);
        slot_wake(c->slot, &c->slot->turn);
        return RESULT_AGAIN;
    }
    return RESULT_OK;
}

void conn_turn_end(struct conn *c, int sent)
{
    struct writing w = {.c = c};
    if (sent && tx_lock(&w) == RESULT_OK) {
        if (sent < 0) {
            log_event(LOG_LEVEL_ERROR,
                      "%s: a thread left a blocked write, and nobody knows what it sent: connection lost", c->peer);
            w.tx.error = ECONNABORTED;
        } else if (w.tx.rest_len) {
            w.tx.rest_off++;
            w.tx.rest_len--;
        } else {
            w.tx.lead++;
        }
        tx_end(&w);
    }
    atomic_store(&c->slot->turn, 0);
    slot_wake(c->slot, &c->slot->turn);
}
