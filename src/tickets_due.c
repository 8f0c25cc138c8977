/* Tickets that were made and wait for application data to ride in front of (conn_ticket.c). A connection that never
 * sends any would keep its ticket for ever, so there are few: the oldest gives way. */
#include "tickets.h"

#include "bytes.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

/* They lie side by side in one place: each in memory of its own would keep a page of it from being given back. */
struct due {
    uint64_t number; /* 0: a free entry */
    size_t at, len;  /* in bytes */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of all below */
static struct due due[TICKETS_DUE];
static uint8_t bytes[TICKETS_DUE_BYTES];
static size_t next;
static uint64_t last_number;

struct ticket_message *ticket_message_new(const uint8_t *from, size_t len)
{
    struct ticket_message *m = malloc(sizeof *m + len);

    if (!m)
        return NULL;
    m->len = len;
    memcpy(m->bytes, from, len);
    return m;
}

void ticket_message_free(struct ticket_message *m)
{
    if (!m)
        return;
    wipe(m->bytes, m->len);
    free(m);
}

/* The lock is held. */
static void drop(struct due *d)
{
    wipe(bytes + d->at, d->len);
    *d = (struct due){0};
}

static bool is_empty(void)
{
    for (const struct due *d = due; d < due + TICKETS_DUE; d++)
        if (d->number)
            return false;
    return true;
}

/* The lock is held. Whoever lies there gives way: it is the oldest, as the place goes round. */
static size_t make_place(size_t len)
{
    if (len > sizeof bytes - next || is_empty()) /* so no more pages are used than at the busiest time */
        next = 0;
    for (struct due *d = due; d < due + TICKETS_DUE; d++)
        if (d->number && d->at < next + len && next < d->at + d->len)
            drop(d);
    const size_t at = next;
    next += len;
    return at;
}

uint64_t tickets_due_add(const struct ticket_message *m)
{
    if (!m || !m->len || m->len > sizeof bytes)
        return 0;
    pthread_mutex_lock(&lock);
    const uint64_t number = ++last_number;
    struct due *d = &due[number % TICKETS_DUE];
    if (d->number)
        drop(d);
    *d = (struct due){number, make_place(m->len), m->len};
    memcpy(bytes + d->at, m->bytes, m->len);
    pthread_mutex_unlock(&lock);
    return number;
}

struct ticket_message *tickets_due_take(uint64_t number)
{
    struct ticket_message *m = NULL;

    pthread_mutex_lock(&lock);
    struct due *d = &due[number % TICKETS_DUE];
    if (number && d->number == number) {
        m = ticket_message_new(bytes + d->at, d->len);
        drop(d);
    }
    pthread_mutex_unlock(&lock);
    return m;
}

/* In both processes: the key that they were sealed with is no longer used. */
void tickets_due_forked(bool in_child)
{
    if (in_child)
        pthread_mutex_init(&lock, NULL);
    for (struct due *d = due; d < due + TICKETS_DUE; d++)
        if (d->number)
            drop(d);
}
