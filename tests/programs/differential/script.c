/* Steps as text, and steps by chance. A step is written NAME:END:NUMBER:VARIANT:LENGTH:FLAGS:BY, all but the name and
 * trailing zeros optional. */
#include "differential.h"

enum { UNREAD_MAX = 60000 };

static const struct operation *const tables[] = {
    read_operations,   write_operations, file_operations,    ready_operations,   control_operations,
    option_operations, life_operations,  odd_operations,     stream_operations,  start_operations,
    full_operations,   aio_operations,   syscall_operations, process_operations, urgent_operations};
enum { TABLES = sizeof(tables) / sizeof(tables[0]) };

const struct operation *operation_at(unsigned index)
{
    for (unsigned t = 0; t < TABLES; t++)
        for (const struct operation *o = tables[t]; o->name; o++)
            if (index-- == 0)
                return o;
    return NULL;
}

unsigned operation_count(void)
{
    unsigned n = 0;
    while (operation_at(n))
        n++;
    return n;
}

void script_print(FILE *out, const struct script *s)
{
    for (unsigned i = 0; i < s->count; i++) {
        const struct step *t = &s->steps[i];
        fprintf(out, "%s%s:%u:%u:%u:%u:0x%x:%u", i ? " " : "", operation_at(t->op)->name, t->end, t->via, t->variant,
                t->len, t->flags, t->by);
    }
}

bool step_parse(struct step *s, const char *text)
{
    size_t name = strcspn(text, ":");
    unsigned *const fields[] = {&s->end, &s->via, &s->variant, &s->len, &s->flags, &s->by};
    *s = (struct step){0};
    const struct operation *o;
    while ((o = operation_at(s->op)) && (strncmp(o->name, text, name) != 0 || o->name[name]))
        s->op++;
    const char *at = text + name;
    for (unsigned i = 0; i < sizeof(fields) / sizeof(fields[0]) && *at == ':'; i++) {
        char *end;
        *fields[i] = (unsigned)strtoul(at + 1, &end, 0);
        at = end;
    }
    return o && !*at && s->end < ENDS && s->via < NUMBERS && s->variant < o->variants && s->by < MAKERS;
}

bool script_parse(struct script *s, const char *text)
{
    char word[200];
    s->count = 0;
    for (size_t len; *text; text += len) {
        text += strspn(text, " \n");
        len = strcspn(text, " \n");
        if (!len)
            break;
        if (len >= sizeof(word) || s->count == STEPS)
            return false;
        snprintf(word, sizeof(word), "%.*s", (int)len, text);
        if (!step_parse(&s->steps[s->count++], word)) {
            fprintf(stderr, "no such step: %s\n", word);
            return false;
        }
    }
    return true;
}

/* ---- by chance ---- */

static unsigned one_of(const unsigned *list, struct rng *r)
{
    unsigned n = 0;
    while (list[n] != LAST)
        n++;
    return list[rng_range(r, 0, n - 1)];
}

static unsigned operation_random(struct rng *r)
{
    const struct operation *o;
    unsigned total = 0;
    for (unsigned k = 0; (o = operation_at(k)); k++)
        total += o->weight;
    unsigned pick = (unsigned)rng_range(r, 0, total - 1), i = 0;
    while (pick >= operation_at(i)->weight)
        pick -= operation_at(i++)->weight;
    return i;
}

static bool is_of(const struct operation *o, const struct operation *table)
{
    for (; table->name; table++)
        if (o == table)
            return true;
    return false;
}

static uint64_t unread_at(const struct side *s, unsigned end)
{
    return s->ends[1 - end].sent - s->ends[end].received;
}

/* Would take milliseconds, by waiting for nothing or for room. */
static bool tedious(const struct step *s, const struct side *plain)
{
    const struct operation *o = operation_at(s->op);
    bool writes = is_of(o, write_operations) || is_of(o, file_operations) || is_of(o, stream_operations) ||
                  is_of(o, aio_operations) || is_of(o, syscall_operations);
    if (writes)
        return unread_at(plain, 1 - s->end) + s->len > UNREAD_MAX;
    return is_of(o, read_operations) && !unread_at(plain, s->end) && !(s->flags & MSG_DONTWAIT);
}

static void step_once(struct step *s, struct rng *r)
{
    s->op = operation_random(r);
    const struct operation *o = operation_at(s->op);
    s->end = (unsigned)rng_range(r, 0, 1);
    s->via = rng_range(r, 0, 9) < 8 ? 0 : (unsigned)rng_range(r, 1, NUMBERS - 1);
    s->variant = rng_range(r, 0, 2) ? 0 : (unsigned)rng_range(r, 0, o->variants - 1);
    s->len = one_of(o->lengths, r);
    if (s->len > 5 && rng_range(r, 0, 1))
        s->len = (unsigned)rng_range(r, 1, s->len);
    s->flags = is_of(o, read_operations) && rng_range(r, 0, 1) ? 0 : one_of(o->flags, r);
    s->by = (o->traits & CHILD) && rng_range(r, 0, 199) == 0 ? (unsigned)rng_range(r, BY_FORK, MAKERS - 1) : BY_SELF;
}

void step_random(struct step *s, struct rng *r, const struct side *plain)
{
    bool patient = rng_range(r, 0, 99) == 0;
    do
        step_once(s, r);
    while ((tedious(s, plain) || (operation_at(s->op)->traits & SLOW)) &&
           !(patient && !is_of(operation_at(s->op), write_operations)));
}
