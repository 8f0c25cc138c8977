/* The table: each operation, with each of its variants, flags and lengths, in each situation. */
#include "differential.h"

/* What is done at first, and before each step. */
static const struct situation {
    const char *name, *first, *each;
    unsigned via;
    bool at_other_end; /* the operations are made at end 0, not at end 1 */
    bool patient;      /* a handshake for each step: for a complete run */
} situations[] = {
    {"nothing there", "", "", 0, false, false},
    {"some bytes there", "", "send:0:0:0:100", 0, false, false},
    {"several records there", "", "send:0:0:0:40000 send:0:0:0:10", 0, false, false},
    {"partly read", "", "send:0:0:0:1000 recv:1:0:0:400", 0, false, false},
    {"peeked at", "", "send:0:0:0:1000 recv:1:0:0:5:0x2", 0, false, false},
    {"counted", "", "send:0:0:0:1000 fionread:1", 0, false, false},
    {"polled", "", "send:0:0:0:20000 poll:1:0:0:0:0x1", 0, false, false},
    {"non-blocking", "nonblock:1:0:1", "", 0, false, false},
    {"non-blocking, bytes there", "nonblock:1:0:1", "send:0:0:0:100", 0, false, false},
    {"appending", "stream_modes:1", "send:0:0:0:100", 0, false, false},
    {"while the handshake goes on", "", "fresh", 0, false, true},
    {"while the handshake goes on, at the connecting end", "", "fresh", 0, true, true},
    {"not accepted yet", "", "fresh:0:0:1", 0, true, true},
    {"another number", "dup:1", "send:0:0:0:100", 1, false, false},
    {"the other end has shut down", "shutdown:0:0:1", "", 0, false, false},
    {"the other end has shut down behind bytes", "send:0:0:0:100 shutdown:0:0:1", "", 0, false, false},
    {"the end was read", "shutdown:0:0:1 recv:1:0:0:100", "", 0, false, false},
    {"shut down for writing", "shutdown:1:0:1", "send:0:0:0:100", 0, false, false},
    {"shut down for reading", "shutdown:1", "", 0, false, false},
    {"shut down for reading, bytes there", "shutdown:1", "send:0:0:0:100", 0, false, false},
    {"shut down for reading behind bytes", "send:0:0:0:100 shutdown:1", "", 0, false, false},
    {"shut down for both", "shutdown:1:0:2", "", 0, false, false},
    {"both ends shut down", "shutdown:1:0:1 shutdown:0:0:1", "", 0, false, false},
    {"the other end is closed", "close:0", "", 0, false, false},
    {"the other end is closed behind bytes", "send:0:0:0:100 close:0", "", 0, false, false},
    {"the other end was closed with bytes unread", "send:1:0:0:100 close:0", "", 0, false, false},
    {"reset by the other end", "abort:0", "", 0, false, false},
    {"reset behind bytes", "send:0:0:0:100 abort:0", "", 0, false, false},
    {"dissolved", "dissolve:1", "", 0, false, false},
    {"dissolved by the other end", "dissolve:0", "", 0, false, false},
    {"dissolved, then refused by another", "dissolve:1 nonblock:1:0:1 connect:1 send:1:0:0:1 nonblock:1", "", 0, false,
     false},
    {"closed", "close:1", "", 0, false, false},
    {NULL, NULL, NULL, 0, false, false},
};

static struct script each, now;
static bool (*tell)(const char *text, struct script *s);

static void add(const struct script *more)
{
    memcpy(&now.steps[now.count], more->steps, sizeof(more->steps[0]) * more->count);
    now.count += more->count;
}

static void add_text(const char *text)
{
    static struct script some;
    CHECK(script_parse(&some, text), "script: %s", text);
    add(&some);
}

static bool flush(const struct situation *s)
{
    bool same = true;
    if (now.count) {
        const char *text = run_script(&now, NULL, NULL);
        if (text) {
            printf("%s:\n", s->name);
            same = tell(text, &now);
        }
    }
    now.count = 0;
    return same;
}

static bool add_step(const struct situation *s, const struct operation *o, struct step step)
{
    if (now.count && (now.count + 20 > STEPS || (o->traits & CAN_END)) && !flush(s))
        return false;
    if (!now.count)
        add_text(s->first);
    add(&each);
    now.steps[now.count++] = step;
    add_text("drain:1 drain:0");
    return true;
}

/* All flags with some lengths, all lengths with no flags, each variant with some flags. */
static bool each_step(const struct situation *s, const struct operation *o, struct step step)
{
    for (unsigned f = 0; o->flags[f] != LAST; f++)
        for (unsigned v = 0; v < o->variants; v++)
            for (unsigned l = 0; o->lengths[l] != LAST; l++) {
                bool plain_step = f == 0 && v == 0;
                if (!plain_step && l != 1 && l != 5 && o->lengths[1] != LAST)
                    continue;
                if (f && v && l == 1)
                    continue;
                step.flags = o->flags[f];
                step.variant = v;
                step.len = o->lengths[l];
                if (!add_step(s, o, step))
                    return false;
            }
    return flush(s);
}

bool directed_run(const char *only, bool complete, bool (*report)(const char *text, struct script *s))
{
    tell = report;
    for (const struct situation *s = situations; s->name; s++) {
        const struct operation *o;
        if (s->patient && !complete)
            continue;
        CHECK(script_parse(&each, s->each), "situation %s", s->name);
        for (unsigned i = 0; (o = operation_at(i)); i++) {
            struct step step = {.op = i, .end = !s->at_other_end, .via = s->via};
            if (only && strcmp(only, o->name) != 0)
                continue;
            if (!each_step(s, o, step))
                return false;
        }
    }
    return true;
}
