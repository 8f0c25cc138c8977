/* The differences from plain TCP that cannot be avoided. Each is explained under its name in docs/COMPATIBILITY.md, and
 * excuses the values that it explains, and no other of the same step. */
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

static bool name_is(const char *name, const char *const list[])
{
    for (; *list; list++)
        if (strcmp(name, *list) == 0)
            return true;
    return false;
}

/* Where the two outcomes part, and what is there. Behind the last value: an empty name. */
struct parting {
    unsigned at;
    const struct value *plain, *protected;
};

static const struct value *value_at(const struct outcome *out, unsigned at)
{
    static const struct value none;
    return at < out->count ? &out->values[at] : &none;
}

static struct parting parting_of(const struct scene *s)
{
    const struct outcome *a = &s->sides[PLAIN].out, *b = &s->sides[PROTECTED].out;
    struct parting p = {0};
    while (p.at < a->count && p.at < b->count && memcmp(&a->values[p.at], &b->values[p.at], sizeof(a->values[0])) == 0)
        p.at++;
    p.plain = value_at(a, p.at);
    p.protected = value_at(b, p.at);
    return p;
}

/* Is what follows in both lists the same, but for values of these names? */
static bool rest_is_same(const struct scene *s, unsigned a_at, unsigned b_at, const char *const but[])
{
    const struct outcome *a = &s->sides[PLAIN].out, *b = &s->sides[PROTECTED].out;
    for (;; a_at++, b_at++) {
        while (a_at < a->count && name_is(a->values[a_at].name, but))
            a_at++;
        while (b_at < b->count && name_is(b->values[b_at].name, but))
            b_at++;
        if (a_at >= a->count || b_at >= b->count)
            return a_at >= a->count && b_at >= b->count;
        if (memcmp(&a->values[a_at], &b->values[b_at], sizeof(a->values[0])) != 0)
            return false;
    }
}

static const char *const but_none[] = {NULL};
static const char *const signal_sent[] = {"SIGPIPE", "SIGPIPE of the child", NULL};

/* A write that says EPIPE, with its signal, in place of ECONNRESET. */
static bool pipe_for_reset(const struct scene *s)
{
    struct parting p = parting_of(s);
    const struct outcome *b = &s->sides[PROTECTED].out;
    for (unsigned i = 0; i < b->count; i++)
        if (name_is(b->values[i].name, signal_sent) && b->values[i].number != 1)
            return false;
    static const char *const errors[] = {"errno", "aio_error", NULL};
    return name_is(p.plain->name, errors) && strcmp(p.plain->name, p.protected->name) == 0 &&
           p.plain->number == ECONNRESET && p.protected->number == EPIPE &&
           rest_is_same(s, p.at + 1, p.at + 1, signal_sent);
}

/* Readiness is the kernel's, and its low-water mark stays 1: it would count ciphertext. */
static bool low_water_mark(const struct scene *s, const char *field, long long plain, long long protected)
{
    if (step_is(present(s), "setsockopt") && option_is(present(s), "SO_RCVLOWAT") && strcmp(field, "read back") == 0)
        return plain < protected &&
               protected ==
                   ((int)present(s)->len < 0 ? INT_MAX : (int)present(s)->len); /* the kernel caps it by its buffers */
    if (!step_is(present(s), "rcvlowat") || present(s)->len <= 1 || plain != 0)
        return false;
    return (strcmp(field, "revents") == 0 && protected == POLLIN) || (strcmp(field, "result") == 0 && protected == 1);
}

/* A stream that was cut off never ends like one that ended: plain TCP tells of a reset once, and then of an end. */
static bool reset_stays(const struct scene *s, const char *field, long long plain, long long protected)
{
    static const char *const of_success[] = {"msg_namelen",    "msg_controllen", "msg_flags",         "msg_len",
                                             "address length", "aio_error",      "error left behind", NULL};
    static const char *const of_stream[] = {"feof", "ferror", NULL};
    struct parting p = parting_of(s);
    (void)field, (void)plain, (void)protected;
    if (!is_gone(s, 1 - present(s)->end) || strcmp(p.plain->name, p.protected->name) != 0)
        return false;
    const struct outcome *b = &s->sides[PROTECTED].out;
    if (step_is(present(s), "aio_read") && strcmp(p.plain->name, "aio_error") == 0)
        return p.plain->number == 0 && p.protected->number == ECONNRESET;
    if (step_is(present(s), "stream_read") && strcmp(p.plain->name, "errno of getc") == 0)
        return p.plain->number == NO_ERRNO && p.protected->number == ECONNRESET &&
               rest_is_same(s, p.at + 1, p.at + 1, of_stream);
    if (strcmp(p.plain->name, "result") != 0)
        return false;
    bool messages = step_is(present(s), "recvmmsg") ||
                    (step_is(present(s), "syscall") && strcmp(value_at(&s->sides[PLAIN].out, 1)->name, "msg_len") == 0);
    if (messages && p.at == 0 && p.plain->number > p.protected->number) {
        /* empty messages, which say the end, are missing, and then all of them: an error */
        bool fails = p.protected->number == -1 && value_at(b, 1)->number == ECONNRESET;
        return (fails || p.protected->number > 0) && rest_is_same(s, 1, fails ? 2 : 1, of_success);
    }
    return p.plain->number == 0 && p.protected->number == -1 && strcmp(value_at(b, p.at + 1)->name, "errno") == 0 &&
           value_at(b, p.at + 1)->number == ECONNRESET && rest_is_same(s, p.at + 1, p.at + 2, of_success);
}

/* A vector of more parts than fit a window is sent in pieces, the last of which may meet the answer to the first. */
static bool is_long_vector(const struct step *s)
{
    enum { MANY_PARTS = 5 };
    static const char *const vectors[] = {"writev", "pwritev2", "pwritev64v2", "sendmsg", NULL};
    return s->variant == MANY_PARTS && name_is(operation_at(s->op)->name, vectors);
}

/* Has this end been looked at or read from, which may have met a reset behind what was there? */
static bool looked_ahead(const struct scene *s, unsigned end)
{
    static const char *const looks[] = {"fionread",    "drain",           "rcvlowat",    "rcvtimeo",    "splice_in",
                                        "sendfile_in", "aio_read",        "wait",        "wait_end",    "read",
                                        "recv",        "recvfrom",        "readv",       "preadv2",     "preadv64v2",
                                        "recvmsg",     "recvmmsg",        "stream_read", "two_streams", "lio_several",
                                        "syscall",     "syscall_control", "spawn",       "pass",        "splice_out",
                                        NULL};
    for (unsigned i = 0; i < s->count; i++)
        if (s->steps[i].end == end &&
            (name_is(operation_at(s->steps[i].op)->name, looks) || is_long_vector(&s->steps[i])))
            return true;
    return s->sides[PLAIN].began_fresh; /* a handshake reads, too */
}

/* The end that a value of readiness is about: "revents of end 1", and the step's own end for the others. */
static unsigned end_of(const struct scene *s, const char *field)
{
    static const char start[] = "revents of end ";
    return strncmp(field, start, sizeof(start) - 1) == 0 ? (unsigned)(field[sizeof(start) - 1] - '0') : present(s)->end;
}

static bool tells_readiness(const char *field)
{
    return strncmp(field, "revents", 7) == 0 || strcmp(field, "events") == 0;
}

/* Reading ahead, the library may have met the reset of which readiness would tell. */
static bool reset_taken(const struct scene *s, const char *field, long long plain, long long protected)
{
    unsigned end = end_of(s, field);
    bool any = strcmp(field, "events") == 0 || strcmp(field, "revents afterwards") == 0; /* they name no end */
    bool taken = (is_gone(s, 0) || is_gone(s, 1)) && looked_ahead(s, end);
    if (any)
        taken |= is_gone(s, end) && looked_ahead(s, 1 - end);
    if (!taken)
        return false;
    return tells_readiness(field) && plain == (protected | POLLERR) && plain != protected && (protected & POLLHUP);
}

/* A stream shows no errno of a write: nothing but the signal. */
static bool signal_alone(const struct scene *s)
{
    static const char *const streams[] = {"stream_write", "two_streams", "freopen", NULL};
    struct parting p = parting_of(s);
    return name_is(operation_at(present(s)->op)->name, streams) && !p.plain->name[0] &&
           name_is(p.protected->name, signal_sent) && p.protected->number == 1 &&
           rest_is_same(s, p.at, p.at + 1, but_none);
}

/* What was met so is forgotten when the program dissolves its own end: the socket is the kernel's alone then. */
static bool reset_forgotten(const struct scene *s, const char *field, long long plain, long long protected)
{
    struct parting p = parting_of(s);
    unsigned end = present(s)->end;
    (void)field, (void)plain, (void)protected;
    if (!s->sides[PLAIN].ends[end].dissolved || !is_gone(s, 1 - end) || !looked_ahead(s, end))
        return false;
    bool not_connected = strcmp(p.plain->name, "errno") == 0 && strcmp(p.protected->name, "errno") == 0 &&
                         p.plain->number == ECONNRESET && p.protected->number == ENOTCONN &&
                         rest_is_same(s, p.at + 1, p.at + 1, but_none);
    return not_connected || pipe_for_reset(s) || signal_alone(s);
}

/* What is moved from a pipe is sealed and sent in pieces, and so is a vector of more parts than fit a window: a peer
 * that is gone may answer before the last of them. */
static bool pieces(const struct scene *s, const char *field, long long plain, long long protected)
{
    enum { PIECE = 16384 };
    static const char *const left[] = {"left in the pipe", NULL};
    struct parting p = parting_of(s);
    (void)field, (void)plain, (void)protected;
    long long lost = p.plain->number - p.protected->number;
    if (!is_gone(s, 1 - present(s)->end) || p.at != 0 || p.protected->number <= 0 || lost <= 0)
        return false;
    if (is_long_vector(present(s)))
        return rest_is_same(s, 1, 1, but_none);
    /* A piece that was taken from the pipe may be lost. */
    long long remains = value_at(&s->sides[PROTECTED].out, 1)->number;
    return step_is(present(s), "splice_out") && p.protected->number % PIECE == 0 && remains >= 0 && remains <= lost &&
           lost - remains <= PIECE && rest_is_same(s, 1, 1, left);
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
    return tells_readiness(field) && protected == (plain | POLLERR) && plain != protected && (plain & POLLHUP);
}

/* The library cannot tell such a reset from one that the program made: writes then say EPIPE for both. */
static bool both_shut(const struct scene *s, const char *field, long long plain, long long protected)
{
    const struct end *e = &s->sides[PLAIN].ends[present(s)->end];
    (void)field, (void)plain, (void)protected;
    return e->shut_rd && e->shut_wr && (pipe_for_reset(s) || signal_alone(s));
}

/* Does this end ask for time stamps? */
static bool stamps_wanted(const struct scene *s)
{
    static const unsigned lengths[] = {4, 1, 0, 3, 8, 16, 200};
    bool wanted = false;
    for (unsigned i = 0; i < s->count; i++) {
        const struct step *t = &s->steps[i];
        if (t->end == present(s)->end && step_is(t, "setsockopt") && option_is(t, "SO_TIMESTAMP") &&
            lengths[t->variant] >= sizeof(int))
            wanted = t->len != 0;
    }
    return wanted;
}

/* SO_TIMESTAMP: the kernel's control messages are about segments, and do not come with the bytes of a record. */
static bool timestamps(const struct scene *s, const char *field, long long plain, long long protected)
{
    if (!stamps_wanted(s) || !(step_is(present(s), "recvmsg") || step_is(present(s), "recvmmsg")))
        return false;
    if (strcmp(field, "msg_controllen") == 0)
        return plain > 0 && protected == 0;
    if (strcmp(field, "control touched") == 0)
        return plain == 0 && protected == -1;
    return strcmp(field, "msg_flags") == 0 && plain == (protected | MSG_CTRUNC) && plain != protected;
}

/* Sending with MSG_OOB is refused, where plain TCP has sent bytes. */
static bool urgent_data(const struct scene *s, const char *field, long long plain, long long protected)
{
    struct parting p = parting_of(s);
    (void)field, (void)plain, (void)protected;
    return step_is(present(s), "urgent") && p.at == 0 && p.plain->number > 0 && p.protected->number == -1 &&
           value_at(&s->sides[PROTECTED].out, 1)->number == EOPNOTSUPP && rest_is_same(s, 1, 2, but_none);
}

/* Where bytes were lost at one of the two, those that come are right all the same. */
static bool bytes_are_right(const struct scene *s)
{
    const struct outcome *out = &s->sides[PROTECTED].out;
    bool receives = strncmp(operation_at(present(s)->op)->name, "recv", 4) == 0;
    if (receives && (present(s)->flags & MSG_TRUNC)) /* on TCP: bytes are counted and thrown away */
        return true;
    for (unsigned i = 0; i < out->count; i++)
        if (strncmp(out->values[i].name, "differs", 7) == 0 && out->values[i].number != -1)
            return false;
    return true;
}

/* A read that waits on a number which another thread closes does not go on. */
static bool closed_under(const struct scene *s, const char *field, long long plain, long long protected)
{
    struct parting p = parting_of(s);
    (void)field, (void)plain, (void)protected;
    return step_is(present(s), "close_under") && p.plain->number >= 0 && p.protected->number == -1 &&
           value_at(&s->sides[PROTECTED].out, p.at + 1)->number == EBADF &&
           rest_is_same(s, p.at + 1, p.at + 2, but_none);
}

/* A protected end that is closed with bytes unread ends the stream in order, and resets when more comes; plain TCP
 * resets at once, and what was under way is lost. */
static bool close_unread(const struct scene *s, const char *field, long long plain, long long protected)
{
    (void)field, (void)plain, (void)protected;
    return (s->sides[PLAIN].closed_unread || s->sides[PLAIN].was_unread) && bytes_are_right(s);
}

/* What is written before the handshake is over waits for it, and an abort throws away what waits. */
static bool early_aborted(const struct scene *s, const char *field, long long plain, long long protected)
{
    (void)field, (void)plain, (void)protected;
    return s->sides[PLAIN].early_lost && bytes_are_right(s);
}

static struct known {
    const char *name;
    bool (*is)(const struct scene *s, const char *field, long long plain, long long protected);
    bool parts; /* more than one value differs then, or the number of them */
    bool off;   /* for once taken from the list */
} all[] = {
    {"low-water-mark", low_water_mark, false, false},
    {"reset-stays", reset_stays, true, false},
    {"close-unread", close_unread, true, false},
    {"reset-taken", reset_taken, false, false},
    {"reset-forgotten", reset_forgotten, true, false},
    {"pieces", pieces, true, false},
    {"end-met-shutdown", end_met_shutdown, false, false},
    {"both-shut", both_shut, true, false},
    {"timestamps", timestamps, false, false},
    {"urgent-data", urgent_data, true, false},
    {"closed-under", closed_under, true, false},
    {"early-aborted", early_aborted, true, false},
    {NULL, NULL, false, false},
};

bool known_parting(const struct scene *s)
{
    for (struct known *k = all; k->name; k++)
        if (k->parts && !k->off && k->is(s, "", 0, 0))
            return true;
    return false;
}

bool known_difference(const struct scene *s, const char *field, long long plain, long long protected)
{
    for (struct known *k = all; k->name; k++)
        if (!k->parts && !k->off && k->is(s, field, plain, protected))
            return true;
    return false;
}

void known_forget(const char *name)
{
    struct known *k = all;
    while (k->name && strcmp(k->name, name) != 0)
        k++;
    CHECK(k->name, "%s is not in the list", name);
    k->off = true;
}

void known_list(FILE *out)
{
    for (const struct known *k = all; k->name; k++)
        fprintf(out, "%s\n", k->name);
}
