/* Draws the values of the tie-breaker and judges the first hello that comes (docs/PROTOCOL.md, "Who is what"). */
#include "role.h"

#include <string.h>

/* Redraws after which a source is taken for broken: a sound one gives a reserved value once in 2^119 draws. */
enum { DRAW_TRIES = 8 };

enum role_set role_effective(enum role_set local, enum role_set remote)
{
    unsigned mirror = (remote & ROLE_CLIENT ? ROLE_SERVER : 0U) | (remote & ROLE_SERVER ? ROLE_CLIENT : 0U);
    return (enum role_set)((unsigned)local & mirror);
}

static bool all_bytes_are(const struct role_value *v, uint8_t byte)
{
    for (size_t i = 0; i < ROLE_VALUE_BYTES; i++)
        if (v->bytes[i] != byte)
            return false;
    return true;
}

bool role_value_is_min(const struct role_value *v)
{
    return all_bytes_are(v, 0x00);
}

bool role_value_is_max(const struct role_value *v)
{
    return all_bytes_are(v, 0xff);
}

int role_value_compare(const struct role_value *a, const struct role_value *b)
{
    return memcmp(a->bytes, b->bytes, ROLE_VALUE_BYTES);
}

static void force_highest_byte(struct role_value *v, enum role_prefer prefer)
{
    if (prefer == PREFER_CLIENT)
        v->bytes[0] = 0x00;
    if (prefer == PREFER_SERVER)
        v->bytes[0] = 0xff;
}

static enum result draw_between(enum role_prefer prefer, struct random_source source, struct role_value *out)
{
    for (int i = 0; i < DRAW_TRIES; i++) {
        if (!source.fill(source.ctx, out->bytes, ROLE_VALUE_BYTES))
            return RESULT_IO;
        force_highest_byte(out, prefer);
        if (!role_value_is_min(out) && !role_value_is_max(out))
            return RESULT_OK;
    }
    return RESULT_IO;
}

enum result role_draw(enum role_set effective, enum role_prefer prefer, struct random_source source,
                      struct role_value *out)
{
    switch (effective) {
    case ROLE_NONE:
        return RESULT_CONFIG;
    case ROLE_CLIENT:
        memset(out->bytes, 0x00, ROLE_VALUE_BYTES);
        return RESULT_OK;
    case ROLE_SERVER:
        memset(out->bytes, 0xff, ROLE_VALUE_BYTES);
        return RESULT_OK;
    case ROLE_PEER:
        return draw_between(prefer, source, out);
    }
    return RESULT_CONFIG;
}

/* Which of the two roles the values give to this side; REFUSE for equal ones. */
static enum role_outcome by_value(const struct role_value *own, const struct role_value *theirs)
{
    int order = role_value_compare(own, theirs);
    if (order == 0)
        return OUTCOME_REFUSE;
    return order < 0 ? OUTCOME_CLIENT : OUTCOME_SERVER;
}

enum role_outcome role_judge(enum role_set effective, const struct role_value *own, bool own_sent, bool waits,
                             const struct role_value *theirs)
{
    bool waiting = waits && !own_sent; /* whoever has spoken is bound by the value it showed */
    bool may_be_client = (effective & ROLE_CLIENT) && !role_value_is_max(own);
    bool may_be_server = (effective & ROLE_SERVER) && !role_value_is_min(own);
    enum role_outcome outcome;

    if (!theirs) /* a conventional client: it drew no value to compare with, so only who waits may answer it */
        outcome = waiting ? OUTCOME_SERVER : OUTCOME_REFUSE;
    else if (waiting && effective == ROLE_PEER) /* its own value stays unseen, so it must not count */
        outcome = role_value_is_max(theirs) ? OUTCOME_CLIENT : OUTCOME_SERVER;
    else
        outcome = by_value(own, theirs);

    if (outcome == OUTCOME_SERVER)
        return may_be_server ? OUTCOME_SERVER : OUTCOME_REFUSE;
    if (outcome == OUTCOME_CLIENT && may_be_client)
        return own_sent ? OUTCOME_CLIENT : OUTCOME_SEND_HELLO;
    return OUTCOME_REFUSE;
}
