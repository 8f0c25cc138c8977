/* TLSA records of the name that was dialled (dane=on): asked for when the handshake begins, known before a byte of it
 * leaves. Whether they fit is judged in trust_dane.c. */
#include "conn_internal.h"

#include <arpa/inet.h>

enum { LOOK_AGAIN_MS = 1, LOOK_AGAIN_MAX_MS = 20 };

static const struct tlsa_resolver *resolver;

void conn_set_resolver(const struct tlsa_resolver *r)
{
    resolver = r;
}

static bool is_address(const char *name)
{
    uint8_t address[16];
    return inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1 || strchr(name, '%');
}

enum result dane_begin(struct conn *c, char *why)
{
    char reason[TLSA_WHY_MAX] = "dane=on: nobody can look TLSA records up here";

    if (!c->rule->trust.dane || !c->connected_side || !c->dialled_name || is_address(c->dialled_name))
        return RESULT_OK;
    if (!(c->tlsa = calloc(1, sizeof *c->tlsa)))
        return RESULT_NOMEM;
    c->looked_ms = conn_transport->now_ms();
    if (resolver)
        c->lookup = resolver->begin(c->dialled_name, conn_port_of(c->peer), c->deadline_ms, reason);
    if (c->lookup)
        return RESULT_OK;
    snprintf(why, HANDSHAKE_WHY_MAX, "%s", reason);
    return RESULT_IDENTITY;
}

enum result dane_ask(struct conn *c, char *why)
{
    char reason[TLSA_WHY_MAX] = "";

    if (!c->lookup)
        return RESULT_OK;
    const enum result result = resolver->ask(c->lookup, c->tlsa, reason);
    if (result == RESULT_AGAIN)
        return result;
    resolver->end(c->lookup);
    c->lookup = NULL;
    snprintf(why, HANDSHAKE_WHY_MAX, "%s", reason);
    return result;
}

void dane_drop(struct conn *c)
{
    if (c->lookup)
        resolver->end(c->lookup);
    c->lookup = NULL;
    free(c->tlsa);
    c->tlsa = NULL;
}

/* Its end raises no event, as nothing of it is known to the program: so it is looked at now and then, in keeping with
 * the time that it has taken already. */
int64_t dane_look_again_ms(const struct conn *c, int64_t now)
{
    int64_t pause = (now - c->looked_ms) / 4;

    if (!c->lookup)
        return INT64_MAX;
    if (pause < LOOK_AGAIN_MS)
        pause = LOOK_AGAIN_MS;
    return now + (pause < LOOK_AGAIN_MAX_MS ? pause : LOOK_AGAIN_MAX_MS);
}
