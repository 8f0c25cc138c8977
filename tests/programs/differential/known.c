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

static bool is_gone(const struct scene *s, unsigned end)
{
    const struct end *e = &s->sides[PLAIN].ends[end];
    return !end_is_open(e) || e->dissolved || (e->shut_rd && e->shut_wr);
}

/* Readiness is the kernel's, and its low-water mark stays 1: it would count ciphertext. */
static bool low_water_mark(const struct scene *s, const char *field, long long plain, long long protected)
{
    if (step_is(present(s), "setsockopt") && strcmp(field, "read back") == 0)
        return plain < protected &&
               protected ==
                   ((int)present(s)->len < 0 ? INT_MAX : (int)present(s)->len); /* the kernel caps it by its buffers */
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
    bool messages = step_is(present(s), "recvmmsg") && a[at].number > 0;
    bool ended = a[at].number == 0 || messages;
    if (messages && at == 0 && b[0].number > 0 && b[0].number < a[0].number && is_gone(s, 1 - present(s)->end))
        return strcmp(a[0].name, "result") == 0; /* empty ones, that say the end, are missing */
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

/* Has the end of the present step been looked at or read from, which may have met a reset behind what was there? */
static bool looked_ahead(const struct scene *s)
{
    static const char *const looks[] = {"fionread",    "drain",    "rcvlowat", "rcvtimeo", "splice_in",
                                        "sendfile_in", "aio_read", "wait",     "wait_end"};
    for (unsigned i = 0; i < s->count; i++) {
        const char *name = operation_at(s->steps[i].op)->name;
        for (unsigned k = 0; k < sizeof(looks) / sizeof(looks[0]); k++)
            if (strcmp(name, looks[k]) == 0)
                return true;
        if (strncmp(name, "re", 2) == 0 || strncmp(name, "pread", 5) == 0) /* read, recv... */
            return true;
    }
    return false;
}

/* The same as reset_told, where the next call asks for readiness or for the error itself. */
static bool reset_taken(const struct scene *s, const char *field, long long plain, long long protected)
{
    if (!looked_ahead(s))
        return false;
    if (strncmp(field, "revents", 7) == 0 || strcmp(field, "events") == 0)
        return plain == (protected | POLLERR) && (protected & POLLHUP);
    bool asks = step_is(present(s), "getsockopt") && option_is(present(s), "SO_ERROR");
    return (asks || strcmp(field, "error left behind") == 0) && plain == ECONNRESET && protected == 0;
}

/* The next read of a socket that is shut down for reading tells of a reset on plain TCP. */
static bool shut_reading(const struct scene *s, const char *field, long long plain, long long protected)
{
    const struct end *e = &s->sides[PLAIN].ends[present(s)->end];
    const struct value *a = s->sides[PLAIN].out.values, *b = s->sides[PROTECTED].out.values;
    unsigned at = 0;
    (void)field, (void)plain, (void)protected;
    while (at + 2 < VALUES && memcmp(&a[at], &b[at], sizeof(a[at])) == 0)
        at++;
    return e->shut_rd && strcmp(a[at].name, "result") == 0 && a[at].number == -1 && a[at + 1].number == ECONNRESET &&
           strcmp(b[at].name, "result") == 0 && b[at].number == 0;
}

/* What is moved from a pipe is sealed and sent in pieces: a peer that is gone may answer before the last of them. */
static bool pieces(const struct scene *s, const char *field, long long plain, long long protected)
{
    enum { PIECE = 16384 };
    const struct value *a = s->sides[PLAIN].out.values, *b = s->sides[PROTECTED].out.values;
    (void)field, (void)plain, (void)protected;
    return is_gone(s, 1 - present(s)->end) && step_is(present(s), "splice_out") && b[0].number > 0 &&
           b[0].number % PIECE == 0 && a[0].number > b[0].number;
}

/* A stream ends with a record, which a peer that is closed or shut down for both directions answers with a reset. */
static bool end_met_shutdown(const struct scene *s, const char *field, long long plain, long long protected)
{
    const struct end *e = s->sides[PLAIN].ends;
    bool shut[ENDS];
    for (int i = 0; i < ENDS; i++)
        shut[i] = !end_is_open(&e[i]) || (e[i].shut_rd && e[i].shut_wr);
    if (!(shut[0] && e[1].shut_wr) && !(shut[1] && e[0].shut_wr))
        return false;
    if (strncmp(field, "revents", 7) == 0 || strcmp(field, "events") == 0)
        return protected == (plain | POLLERR) && (plain & POLLHUP);
    bool asks = step_is(present(s), "getsockopt") && option_is(present(s), "SO_ERROR");
    return asks && plain == 0 && (protected == ECONNRESET || protected == EPIPE);
}

/* shutdown of a connection that is no more wakes an edge-triggered set on plain TCP, which then tells the same again.
 */
static bool edge_again(const struct scene *s, const char *field, long long plain, long long protected)
{
    bool shut = false;
    (void)field, (void)plain, (void)protected;
    for (unsigned i = 0; i < s->count; i++)
        shut |= step_is(&s->steps[i], "shutdown");
    return shut && strncmp(operation_at(present(s)->op)->name, "epoll_", 6) == 0 && present(s)->variant == 1 &&
           (is_gone(s, 0) || is_gone(s, 1)) &&
           s->sides[PLAIN].out.values[0].number > s->sides[PROTECTED].out.values[0].number;
}

/* SO_TIMESTAMP: the kernel's control messages are about segments, and do not come with the bytes of a record. */
static bool timestamps(const struct scene *s, const char *field, long long plain, long long protected)
{
    bool asked = false;
    (void)plain;
    for (unsigned i = 0; i < s->count; i++)
        asked |= step_is(&s->steps[i], "setsockopt") && option_is(&s->steps[i], "SO_TIMESTAMP");
    if (!asked || strncmp(operation_at(present(s)->op)->name, "recvm", 5) != 0)
        return false;
    return strcmp(field, "msg_controllen") == 0 || strcmp(field, "control touched") == 0 ||
           (strcmp(field, "msg_flags") == 0 && plain == (protected | MSG_CTRUNC));
}

/* A protected end that is closed with bytes unread ends the stream in order, and resets when more comes; plain TCP
 * resets at once, and what was under way is lost. */
static bool close_unread(const struct scene *s, const char *field, long long plain, long long protected)
{
    (void)field, (void)plain, (void)protected;
    const struct outcome *out = &s->sides[PROTECTED].out;
    bool receives = strncmp(operation_at(present(s)->op)->name, "recv", 4) == 0;
    if (receives && (present(s)->flags & MSG_TRUNC)) /* on TCP: bytes are counted and thrown away */
        return s->sides[PLAIN].closed_unread;
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
    {"reset-taken", reset_taken, false, 0},
    {"shut-reading", shut_reading, true, 0},
    {"pieces", pieces, true, 0},
    {"end-met-shutdown", end_met_shutdown, false, 0},
    {"edge-again", edge_again, true, 0},
    {"timestamps", timestamps, false, 0},
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
