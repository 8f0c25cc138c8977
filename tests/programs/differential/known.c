/* The differences from plain TCP that cannot be avoided. Each is explained under its name in docs/COMPATIBILITY.md. */
#include "differential.h"

static bool step_is(const struct step *s, const char *name)
{
    return strcmp(operation_at(s->op)->name, name) == 0;
}

static const struct step *present(const struct scene *s)
{
    return &s->steps[s->count - 1];
}

/* Readiness is the kernel's, and its low-water mark stays 1: it would count ciphertext. */
static bool low_water_mark(const struct scene *s, const char *field, long long plain, long long protected)
{
    if (step_is(present(s), "setsockopt") && strcmp(field, "read back") == 0 && (int)present(s)->len < 0)
        return protected == INT_MAX; /* the kernel caps it by its buffers */
    bool readiness = strcmp(field, "revents") == 0 || strcmp(field, "result") == 0;
    return step_is(present(s), "rcvlowat") && readiness && present(s)->len > 1 && plain == 0 && protected == 1;
}

/* A stream that was cut off never ends like one that ended: plain TCP tells of a reset once, and then of an end. */
static bool reset_stays(const struct scene *s, const char *field, long long plain, long long protected)
{
    const struct value *a = s->sides[PLAIN].out.values, *b = s->sides[PROTECTED].out.values;
    unsigned at = 0;
    (void)field, (void)plain, (void)protected;
    while (at + 2 < VALUES && memcmp(&a[at], &b[at], sizeof(a[at])) == 0)
        at++;
    bool ended = a[at].number == 0 || (step_is(present(s), "recvmmsg") && a[at].number > 0);
    return strcmp(b[at].name, "result") == 0 && ended && b[at].number == -1 && b[at + 1].number == ECONNRESET;
}

/* Reading ahead, the library may have met the reset that the program hears of in its next write. */
static bool reset_told(const struct scene *s, const char *field, long long plain, long long protected)
{
    const struct value *a = s->sides[PLAIN].out.values, *b = s->sides[PROTECTED].out.values;
    unsigned at = 0;
    (void)field, (void)plain, (void)protected;
    while (at + 2 < VALUES && memcmp(&a[at], &b[at], sizeof(a[at])) == 0)
        at++;
    return strcmp(a[at].name, "errno") == 0 && strcmp(b[at].name, "errno") == 0 && a[at].number == ECONNRESET &&
           b[at].number == EPIPE;
}

/* A protected end that is closed with bytes unread ends the stream in order, and resets when more comes; plain TCP
 * resets at once, and what was under way is lost. */
static bool close_unread(const struct scene *s, const char *field, long long plain, long long protected)
{
    (void)field, (void)plain, (void)protected;
    const struct outcome *out = &s->sides[PROTECTED].out;
    for (unsigned i = 0; i < out->count; i++) /* bytes that come are right all the same */
        if (strncmp(out->values[i].name, "differs", 7) == 0 && out->values[i].number != -1)
            return false;
    return s->sides[PLAIN].closed_unread;
}

static struct known {
    const char *name;
    bool (*is)(const struct scene *s, const char *field, long long plain, long long protected);
    bool parts; /* the whole step differs then */
    unsigned seen;
} all[] = {
    {"low-water-mark", low_water_mark, false, 0},
    {"reset-stays", reset_stays, true, 0},
    {"reset-told", reset_told, true, 0},
    {"close-unread", close_unread, true, 0},
    {NULL, NULL, false, 0},
};

bool known_parting(const struct scene *s)
{
    for (struct known *k = all; k->name; k++)
        if (k->parts && k->is(s, "", 0, 0)) {
            k->seen++;
            return true;
        }
    return false;
}

bool known_difference(const struct scene *s, const char *field, long long plain, long long protected)
{
    for (struct known *k = all; k->name; k++)
        if (!k->parts && k->is(s, field, plain, protected)) {
            k->seen++;
            return true;
        }
    return false;
}

void known_list(FILE *out)
{
    for (const struct known *k = all; k->name; k++)
        fprintf(out, "%s\n", k->name);
}

unsigned known_unseen(FILE *out)
{
    unsigned unseen = 0;
    for (const struct known *k = all; k->name; k++) {
        if (k->seen)
            continue;
        fprintf(out, "listed, and not seen: %s\n", k->name);
        unseen++;
    }
    return unseen;
}
