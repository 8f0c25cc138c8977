/* Socket options: each with right, short, long and no lengths, good and bad pointers. */
#include "differential.h"

enum {
    STABLE = 0,
    DRIFTS, /* the kernel tunes it, or it tells of time or place: lengths and errnos alone are compared */
};

static const struct {
    int level, name;
    const char *text;
    int drifts;
} options[] = {
#define SOCKET(name, drifts)                                                                                           \
    {                                                                                                                  \
        SOL_SOCKET, name, #name, drifts                                                                                \
    }
#define TCP(name, drifts)                                                                                              \
    {                                                                                                                  \
        IPPROTO_TCP, name, #name, drifts                                                                               \
    }
#define IP(name, drifts)                                                                                               \
    {                                                                                                                  \
        IPPROTO_IP, name, #name, drifts                                                                                \
    }
    SOCKET(SO_ERROR, STABLE),
    SOCKET(SO_TYPE, STABLE),
    SOCKET(SO_DOMAIN, STABLE),
    SOCKET(SO_PROTOCOL, STABLE),
    SOCKET(SO_ACCEPTCONN, STABLE),
    SOCKET(SO_KEEPALIVE, STABLE),
    SOCKET(SO_REUSEADDR, STABLE),
    SOCKET(SO_REUSEPORT, STABLE),
    SOCKET(SO_BROADCAST, STABLE),
    SOCKET(SO_DONTROUTE, STABLE),
    SOCKET(SO_OOBINLINE, STABLE),
    SOCKET(SO_PRIORITY, STABLE),
    SOCKET(SO_MARK, STABLE),
    SOCKET(SO_TIMESTAMP, STABLE),
    SOCKET(SO_RCVLOWAT, STABLE),
    SOCKET(SO_SNDLOWAT, STABLE),
    SOCKET(SO_RCVTIMEO, STABLE),
    SOCKET(SO_SNDTIMEO, STABLE),
    SOCKET(SO_RCVBUF, DRIFTS),
    SOCKET(SO_SNDBUF, DRIFTS),
    SOCKET(SO_LINGER, STABLE),
    SOCKET(SO_PEERCRED, DRIFTS),
    SOCKET(SO_PEERNAME, DRIFTS),
    SOCKET(SO_BUSY_POLL, STABLE),
    SOCKET(SO_INCOMING_CPU, DRIFTS),
    SOCKET(SO_COOKIE, DRIFTS),
    SOCKET(SO_MAX_PACING_RATE, STABLE),
    SOCKET(SO_BINDTODEVICE, STABLE),
    SOCKET(SO_ATTACH_FILTER, STABLE),
    SOCKET(SO_NO_CHECK, STABLE),
    SOCKET(SO_LOCK_FILTER, STABLE),
    SOCKET(SO_PASSCRED, STABLE),
    TCP(TCP_NODELAY, STABLE),
    TCP(TCP_MAXSEG, DRIFTS),
    TCP(TCP_KEEPIDLE, STABLE),
    TCP(TCP_KEEPINTVL, STABLE),
    TCP(TCP_KEEPCNT, STABLE),
    TCP(TCP_SYNCNT, STABLE),
    TCP(TCP_LINGER2, STABLE),
    TCP(TCP_DEFER_ACCEPT, STABLE),
    TCP(TCP_WINDOW_CLAMP, DRIFTS),
    TCP(TCP_INFO, DRIFTS),
    TCP(TCP_QUICKACK, DRIFTS),
    TCP(TCP_CONGESTION, STABLE),
    TCP(TCP_USER_TIMEOUT, STABLE),
    TCP(TCP_FASTOPEN, STABLE),
    TCP(TCP_TIMESTAMP, DRIFTS),
    TCP(TCP_NOTSENT_LOWAT, STABLE),
    TCP(TCP_CORK, STABLE),
    TCP(TCP_ULP, STABLE),
    TCP(TCP_SAVE_SYN, STABLE),
    TCP(TCP_THIN_LINEAR_TIMEOUTS, STABLE),
    IP(IP_TOS, STABLE),
    IP(IP_TTL, STABLE),
    IP(IP_RECVTTL, STABLE),
    IP(IP_MTU_DISCOVER, STABLE),
    IP(IP_RECVERR, STABLE),
    IP(IP_OPTIONS, STABLE),
    IP(IP_MINTTL, STABLE),
    IP(IP_PKTINFO, STABLE),
    IP(IP_FREEBIND, STABLE),
    {IPPROTO_TCP, 200, "no such option", STABLE},
    {SOL_SOCKET, 2000, "no such option of sockets", STABLE},
    {1234, 1, "no such level", STABLE},
    {IPPROTO_UDP, 1, "level of UDP", STABLE},
    TCP(TCP_FASTOPEN_CONNECT, STABLE),
    TCP(TCP_FASTOPEN_NO_COOKIE, STABLE),
};

enum { OPTIONS = sizeof(options) / sizeof(options[0]), ROOM = 300 };

bool option_is(const struct step *s, const char *name)
{
    return strcmp(options[s->flags % OPTIONS].text, name) == 0;
}

static void run_getsockopt(struct call *c)
{
    static const socklen_t lengths[] = {4, 1, 0, 3, 8, 16, 200, (socklen_t)-1};
    unsigned row = c->step->flags % OPTIONS;
    uint8_t value[ROOM];
    socklen_t len = lengths[c->step->variant];
    memset(value, FILL, sizeof(value));
    int r = RUN(c, getsockopt(c->fd, options[row].level, options[row].name, value, &len));
    note(c, "length", options[row].drifts && options[row].name == TCP_INFO ? 0 : len);
    if (r == 0 && len <= ROOM - TAIL) {
        if (!options[row].drifts)
            for (socklen_t i = 0; i < len && i < 20; i++)
                note(c, "byte of the value", value[i]);
        note(c, "touched behind the value", fill_differs(value + len, TAIL));
    }
}

static void run_getsockopt_bad(struct call *c)
{
    unsigned row = c->step->flags % OPTIONS;
    int value;
    socklen_t len = sizeof(value);
    RUN(c, getsockopt(c->fd, options[row].level, options[row].name, bad_pointer(), &len));
    RUN(c, getsockopt(c->fd, options[row].level, options[row].name, NULL, &len));
    RUN(c, getsockopt(c->fd, options[row].level, options[row].name, &value, NULL));
    RUN(c, getsockopt(c->fd, options[row].level, options[row].name, &value, bad_pointer()));
    RUN(c, setsockopt(c->fd, options[row].level, options[row].name, bad_pointer(), sizeof(value)));
    RUN(c, setsockopt(c->fd, options[row].level, options[row].name, NULL, sizeof(value)));
    RUN(c, setsockopt(c->fd, options[row].level, options[row].name, NULL, 0));
}

/* Those that would change how the pair behaves from here on, other than by the value itself. */
static bool keeps_its_hands_off(unsigned row)
{
    static const char *const never[] = {"SO_RCVTIMEO",        "SO_SNDTIMEO",       "SO_LINGER",      "SO_RCVBUF",
                                        "SO_SNDBUF",          "TCP_CORK",          "TCP_NODELAY",    "TCP_USER_TIMEOUT",
                                        "SO_MAX_PACING_RATE", "TCP_WINDOW_CLAMP",  "TCP_CONGESTION", "SO_LOCK_FILTER",
                                        "SO_ATTACH_FILTER",   "TCP_NOTSENT_LOWAT", "IP_MINTTL",      "SO_MARK",
                                        "SO_DONTROUTE"};
    for (unsigned i = 0; i < sizeof(never) / sizeof(never[0]); i++)
        if (strcmp(never[i], options[row].text) == 0)
            return true;
    return false;
}

static void run_setsockopt(struct call *c)
{
    static const socklen_t lengths[] = {4, 1, 0, 3, 8, 16, 200};
    unsigned row = c->step->flags % OPTIONS;
    uint8_t value[ROOM];
    int number = (int)c->step->len;
    memset(value, 0, sizeof(value));
    memcpy(value, &number, sizeof(number));
    socklen_t enough = options[row].level == IPPROTO_IP ? 1 : sizeof(number); /* ip(7) takes a byte too */
    if (keeps_its_hands_off(row) && lengths[c->step->variant] >= enough)
        return;
    RUN(c, setsockopt(c->fd, options[row].level, options[row].name, value, lengths[c->step->variant]));
    socklen_t len = sizeof(number);
    RUN(c, getsockopt(c->fd, options[row].level, options[row].name, &number, &len));
    if (!options[row].drifts)
        note(c, "read back", number);
    if (options[row].level == SOL_SOCKET && options[row].name == SO_RCVLOWAT) { /* rcvlowat says what it does */
        number = 1;
        RUN(c, setsockopt(c->fd, SOL_SOCKET, SO_RCVLOWAT, &number, sizeof(number)));
    }
}

/* What the others leave out: set, looked at, and put back. */
static void run_restored(struct call *c)
{
    struct linger l = {1, 5}, got_linger = {0, 0};
    struct timeval t = {3, 500000}, got_time = {0, 0}, none = {0, 0}, bad = {0, 2000000};
    socklen_t len = sizeof(l);
    int on = 1, got = 0;
    RUN(c, setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
    RUN(c, getsockopt(c->fd, SOL_SOCKET, SO_LINGER, &got_linger, &len));
    note(c, "linger", got_linger.l_onoff * 100 + got_linger.l_linger);
    l.l_onoff = 0;
    RUN(c, setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
    for (int k = 0; k < 2; k++) {
        int name = k ? SO_RCVTIMEO : SO_SNDTIMEO;
        len = sizeof(t);
        RUN(c, setsockopt(c->fd, SOL_SOCKET, name, &t, sizeof(t)));
        RUN(c, getsockopt(c->fd, SOL_SOCKET, name, &got_time, &len));
        note(c, "time", got_time.tv_sec * 1000000 + got_time.tv_usec);
        RUN(c, setsockopt(c->fd, SOL_SOCKET, name, &bad, sizeof(bad)));
        RUN(c, setsockopt(c->fd, SOL_SOCKET, name, &none, sizeof(none)));
    }
    for (int k = 0; k < 2; k++) {
        len = sizeof(got);
        RUN(c, setsockopt(c->fd, SOL_SOCKET, k ? SO_RCVBUF : SO_SNDBUF, &on, sizeof(on)));
        RUN(c, getsockopt(c->fd, SOL_SOCKET, k ? SO_RCVBUF : SO_SNDBUF, &got, &len));
        note(c, "smallest buffer", got);
        on = 500000;
        RUN(c, setsockopt(c->fd, SOL_SOCKET, k ? SO_RCVBUF : SO_SNDBUF, &on, sizeof(on)));
        RUN(c, getsockopt(c->fd, SOL_SOCKET, k ? SO_RCVBUF : SO_SNDBUF, &got, &len));
        note(c, "larger buffer", got);
        on = 1;
    }
    len = sizeof(got);
    on = 0;
    RUN(c, setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)));
    RUN(c, getsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &got, &len));
    note(c, "TCP_NODELAY", got);
    on = 1;
    RUN(c, setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)));
}

/* SO_LINGER in all sizes; off in the end. */
static void run_linger_values(struct call *c)
{
    static const struct linger values[] = {{1, 5}, {1, -1}, {-1, 0x7fffffff}, {0, 0}};
    static const socklen_t lengths[] = {0, 1, 4, 7, 8, 16};
    struct linger value[2] = {{0, 0}, {0, 0}};
    for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        for (unsigned k = 0; k < sizeof(lengths) / sizeof(lengths[0]); k++) {
            value[0] = values[i];
            if (i > 0 && lengths[k] < sizeof(value[0]))
                continue;
            RUN(c, setsockopt(c->fd, SOL_SOCKET, SO_LINGER, value, lengths[k]));
        }
    for (unsigned k = 0; k < sizeof(lengths) / sizeof(lengths[0]); k++) {
        socklen_t len = lengths[k];
        memset(value, FILL, sizeof(value));
        RUN(c, getsockopt(c->fd, SOL_SOCKET, SO_LINGER, value, &len));
        note(c, "length", len);
        note(c, "touched from", fill_differs((uint8_t *)value, sizeof(value)));
    }
}

static bool kernel_has_ulp(const char *name)
{
    char text[200] = "";
    FILE *f = fopen("/proc/sys/net/ipv4/tcp_available_ulp", "re");
    bool has = f && fgets(text, sizeof(text), f) && strstr(text, name);
    if (f)
        fclose(f);
    return has;
}

/* A program's own TCP_ULP. Where the kernel has TLS, it would change the plain connection and not the protected one. */
static void run_ulp(struct call *c)
{
    char text[20] = "tls";
    socklen_t len = sizeof(text);
    RUN(c, setsockopt(c->fd, IPPROTO_TCP, TCP_ULP, "nothing such", 12));
    if (!kernel_has_ulp(text)) {
        RUN(c, setsockopt(c->fd, IPPROTO_TCP, TCP_ULP, text, 3));
        RUN(c, setsockopt(c->fd, IPPROTO_TCP, TCP_ULP, text, 4));
    }
    RUN(c, setsockopt(c->fd, IPPROTO_TCP, TCP_ULP, text, 0));
    RUN(c, setsockopt(c->fd, IPPROTO_TCP, TCP_ULP, bad_pointer(), 4));
    RUN(c, getsockopt(c->fd, IPPROTO_TCP, TCP_ULP, text, &len));
    note(c, "length", len);
}

/* SO_RCVTIMEO: a read of nothing ends with EAGAIN after that time. */
static void run_rcvtimeo(struct call *c)
{
    struct timeval t = {0, 2000}, none = {0, 0};
    char byte;
    RUN(c, setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)));
    RUN(c, recv(c->fd, &byte, 1, MSG_PEEK));
    RUN(c, setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof(none)));
}

/* SO_RCVLOWAT changes from how many bytes on a socket is readable. */
static void run_rcvlowat(struct call *c)
{
    int low = (int)c->step->len, one = 1;
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    char peeked[8];
    RUN(c, setsockopt(c->fd, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof(low)));
    RUN(c, recv(c->fd, peeked, sizeof(peeked), MSG_PEEK | MSG_DONTWAIT));
    RUN(c, poll(&p, 1, 0));
    note(c, "revents", p.revents);
    RUN(c, setsockopt(c->fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof(one)));
}

static const unsigned no_flags[] = {0, LAST};
static const unsigned no_lengths[] = {0, LAST};
static const unsigned low_marks[] = {0, 1, 50, 3000, LAST};
static const unsigned numbers[] = {0, 1, 7, (unsigned)-1, LAST};
static const unsigned rows[] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16,
                                17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33,
                                34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50,
                                51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63, 64, 65, 66, LAST};
_Static_assert(sizeof(rows) / sizeof(rows[0]) == OPTIONS + 1, "a step for each option");

const struct operation option_operations[] = {
    {"getsockopt", run_getsockopt, 8, CHILD, rows, no_lengths, 6},
    {"getsockopt_bad", run_getsockopt_bad, 1, CHILD, rows, no_lengths, 2},
    {"setsockopt", run_setsockopt, 7, CHILD, rows, numbers, 3},
    {"linger_values", run_linger_values, 1, CHILD, no_flags, no_lengths, 1},
    {"ulp", run_ulp, 1, CHILD, no_flags, no_lengths, 1},
    {"options_restored", run_restored, 1, CHILD, no_flags, no_lengths, 1},
    {"rcvtimeo", run_rcvtimeo, 1, CHILD | SLOW, no_flags, no_lengths, 1},
    {"rcvlowat", run_rcvlowat, 1, CHILD, no_flags, low_marks, 2},
    {NULL},
};
