/* Connections that go to another program: by exec, which keeps the process and loses its memory, or by SCM_RIGHTS. The
 * slot moves to a memfd of its own, which the receiver maps; the family's file tells it who else holds the socket. */
#include "conn_internal.h"

bool conn_export(struct conn *c, struct conn_passport *passport)
{
    family_found();
    if (family_file(c->family) < 0)
        return false; /* who holds the connection could not be known on the other side */
    int memory = chunk_export(c->chunk, c->slot);
    if (memory < 0)
        return false;
    passport->memory = memory;
    passport->family_file = family_file(c->family);
    memcpy(passport->family, family_name(c->family), sizeof passport->family);
    passport->connected_side = c->connected_side;
    memcpy(passport->peer, c->peer, sizeof passport->peer);
    return true;
}

void conn_export_failed(struct conn *c)
{
    chunk_export_failed(c->chunk, c->slot);
}

bool conn_import_needs_family(const struct conn_passport *passport)
{
    return family_find(passport->family) == NULL;
}

static struct family *family_of(const struct conn_passport *passport)
{
    struct family *f = family_find(passport->family);
    return f || passport->family_file < 0 ? f : family_join(passport->family, passport->family_file);
}

struct conn *conn_import(const struct conn_params *params, const struct conn_passport *passport,
                         enum conn_arrival arrival)
{
    struct chunk *chunk = NULL;
    struct family *family = family_of(passport);
    struct slot *slot = family ? chunk_import(passport->memory, &chunk) : NULL;
    if (!slot)
        return NULL;
    struct conn *c = conn_beside(chunk, slot);
    c->family = family;
    if (!conn_init(c, params)) {
        chunk_drop(chunk, slot);
        return NULL;
    }
    conn_status_begin(c);
    switch (arrival) {
    case CONN_BY_EXEC:
        holders_join(c->family, c->slot);
        break;
    case CONN_BY_MESSAGE:
        holders_arrive(c->family, c->slot);
        break;
    case CONN_BY_PEEK:
        holders_add(c->family, c->slot);
        break;
    }
    return c;
}

bool conn_equip(struct conn *c, struct identity *identity, const char *dialled_name)
{
    identity_unref(c->identity);
    c->identity = identity_ref(identity);
    return conn_keep_name(c, dialled_name);
}

bool conn_alone(struct conn *c)
{
    bool alone = holders_leave(c->family, c->slot, conn_transport->now_ms());
    holders_add(c->family, c->slot);
    return alone;
}

void conn_arrived(struct conn *c)
{
    holders_arrive(c->family, c->slot);
}

/* An exec takes a moment, and its program's start another. */
enum { EXEC_GRACE_MS = 20000 };

void conn_prepare_exec(struct conn *c)
{
    if (!atomic_load(&c->left))
        holders_move(c->family, c->slot, conn_transport->now_ms() + EXEC_GRACE_MS);
}

void conn_exec_failed(struct conn *c)
{
    if (!atomic_load(&c->left))
        holders_stay(c->family, c->slot);
}

void conn_depart(struct conn *c)
{
    holders_depart(c->family, c->slot);
}

void conn_return(struct conn *c)
{
    holders_return(c->slot);
}
