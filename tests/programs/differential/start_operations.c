/* A connection that is used while its handshake is going on, or before the other end has accepted it. */
#include "differential.h"

enum { ACCEPTED_AT_ONCE = 0, ACCEPTED_LATER, START_VARIANTS = 2 * OPENINGS };

/* The present connection gives way to a new one, over which nothing has gone yet. */
static void run_fresh(struct call *c)
{
    side_close(c->side);
    side_open_fresh(c->side, c->step->variant / 2);
    if (c->step->variant % 2 == ACCEPTED_AT_ONCE)
        side_answer(c->side);
    note(c, "fresh", 1);
}

/* The other end is accepted at last. */
static void run_answer(struct call *c)
{
    note(c, "unanswered", c->side->unanswered);
    side_answer(c->side);
}

static const unsigned no_flags[] = {0, LAST};
static const unsigned no_lengths[] = {0, LAST};

const struct operation start_operations[] = {
    {"fresh", run_fresh, START_VARIANTS, NEEDS_PEER | CAN_END, no_flags, no_lengths, 2},
    {"answer", run_answer, 1, NEEDS_PEER, no_flags, no_lengths, 2},
    {NULL},
};
