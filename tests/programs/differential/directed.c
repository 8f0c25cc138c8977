/* The table: each operation, with each of its variants, flags and lengths, in each situation. */
#include "differential.h"

/* What is done at first, and before each step. The operations are made at end 1. */
static const struct situation {
    const char *name, *first, *each;
    unsigned via;
} situations[] = {
    {"nothing there", "", "", 0},
    {"some bytes there", "", "send:0:0:0:100", 0},
    {"several records there", "", "send:0:0:0:40000 send:0:0:0:10", 0},
    {"partly read", "", "send:0:0:0:1000 recv:1:0:0:400", 0},
    {"peeked at", "", "send:0:0:0:1000 recv:1:0:0:5:0x2", 0},
    {"counted", "", "send:0:0:0:1000 fionread:1", 0},
    {"polled", "", "send:0:0:0:20000 poll:1:0:0:0:0x1", 0},
    {"non-blocking", "nonblock:1:0:1", "", 0},
    {"non-blocking, bytes there", "nonblock:1:0:1", "send:0:0:0:100", 0},
    {"another number", "dup:1", "send:0:0:0:100", 1},
    {"the other end has shut down", "shutdown:0:0:1", "", 0},
    {"the other end has shut down behind bytes", "send:0:0:0:100 shutdown:0:0:1", "", 0},
    {"the end was read", "shutdown:0:0:1 recv:1:0:0:100", "", 0},
    {"shut down for writing", "shutdown:1:0:1", "send:0:0:0:100", 0},
    {"shut down for reading", "shutdown:1", "", 0},
    {"shut down for reading, bytes there", "shutdown:1", "send:0:0:0:100", 0},
    {"shut down for reading behind bytes", "send:0:0:0:100 shutdown:1", "", 0},
    {"shut down for both", "shutdown:1:0:2", "", 0},
    {"both ends shut down", "shutdown:1:0:1 shutdown:0:0:1", "", 0},
    {"the other end is closed", "close:0", "", 0},
    {"the other end is closed behind bytes", "send:0:0:0:100 close:0", "", 0},
    {"the other end was closed with bytes unread", "send:1:0:0:100 close:0", "", 0},
    {"reset by the other end", "abort:0", "", 0},
    {"reset behind bytes", "send:0:0:0:100 abort:0", "", 0},
    {"dissolved", "dissolve:1", "", 0},
    {"dissolved by the other end", "dissolve:0", "", 0},
    {"dissolved, then refused by another", "dissolve:1 nonblock:1:0:1 connect:1 send:1:0:0:1 nonblock:1", "", 0},
    {"closed", "close:1", "", 0},
    {NULL, NULL, NULL, 0},
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

bool directed_run(const char *only, bool (*report)(const char *text, struct script *s))
{
    tell = report;
    for (const struct situation *s = situations; s->name; s++) {
        const struct operation *o;
        CHECK(script_parse(&each, s->each), "situation %s", s->name);
        for (unsigned i = 0; (o = operation_at(i)); i++) {
            struct step step = {.op = i, .end = 1, .via = s->via};
            if (only && strcmp(only, o->name) != 0)
                continue;
            if (!each_step(s, o, step))
                return false;
        }
    }
    return true;
}
