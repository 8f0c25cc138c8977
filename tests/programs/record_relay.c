/* A TCP relay for the middle that knows TLS records and does to them what a hostile network could.
 *
 *   record_relay --to PORT [--mode MODE]... [--record FILE]
 *
 * Prints `port N`, relays one connection, ends when both directions have ended. DIR is c (bytes from the side that
 * connected to the relay) or s; records and bytes count from 0 in each direction; BYTE counts from the record's header.
 *   pass                          nothing, the default
 *   flip:DIR:RECORD:BYTE:BIT      one bit of one record
 *   rewrite:DIR:RECORD:BYTE:HEX   bytes of one record
 *   insert:DIR:RECORD:HEX         bytes before a record
 *   drop:DIR:RECORD, repeat:DIR:RECORD
 *   reflect:DIR[:RECORD]          back to the sender instead of onward; without a number, all of them
 *   refragment:DIR:N              handshake records in clear become records of N bytes
 *   split:N                       TCP segments of N bytes
 *   coalesce                      nothing leaves before the sender has paused
 *   delay-ms:N                    each chunk waits
 *   stop-after-bytes:DIR:N, fin-after-bytes:DIR:N, rst-after-bytes:DIR:N */
#include "common.h"

enum { HEADER = 5, CHUNK = 64 * KIB, MODES_MAX = 16, PAUSE_MS = 100 };

struct mode {
    char name[24];
    char direction; /* 'c', 's' or 0 for both */
    long record, value[2];
    const char *hex;
};

static struct mode modes[MODES_MAX];
static unsigned mode_count;

struct buffer {
    uint8_t *data;
    size_t len, room;
};

struct direction {
    char name;
    int from, to, dump;
    bool ended, passed_end, cut, raw; /* raw: no TLS records, so bytes pass as they come */
    long record;
    uint64_t forwarded;
    struct buffer in, out, back; /* unparsed, to be sent on, to be sent back */
};

/* ---- buffers ---- */

static void append(struct buffer *b, const void *data, size_t len)
{
    if (b->len + len > b->room) {
        b->room = (b->len + len) * 2;
        b->data = realloc(b->data, b->room);
        CHECK(b->data, "no memory");
    }
    if (len > 0)
        memcpy(b->data + b->len, data, len);
    b->len += len;
}

static void consume(struct buffer *b, size_t len)
{
    memmove(b->data, b->data + len, b->len - len);
    b->len -= len;
}

static void append_hex(struct buffer *b, const char *hex)
{
    unsigned byte;
    for (; hex && sscanf(hex, "%2x", &byte) == 1; hex += 2)
        append(b, &(uint8_t){(uint8_t)byte}, 1);
}

/* ---- modes ---- */

static const struct mode *find_mode(const char *name, char direction, long record)
{
    for (unsigned i = 0; i < mode_count; i++)
        if (strcmp(modes[i].name, name) == 0 && (!modes[i].direction || modes[i].direction == direction) &&
            (record < 0 || modes[i].record < 0 || modes[i].record == record))
            return &modes[i];
    return NULL;
}

static const struct {
    const char *name, *fields; /* d direction, r record, n number, x hex, R record that may be left out */
} syntax[] = {{"pass", ""},
              {"flip", "drnn"},
              {"rewrite", "drnx"},
              {"insert", "drx"},
              {"drop", "dr"},
              {"repeat", "dr"},
              {"reflect", "dR"},
              {"refragment", "dn"},
              {"split", "n"},
              {"coalesce", ""},
              {"delay-ms", "n"},
              {"stop-after-bytes", "dn"},
              {"fin-after-bytes", "dn"},
              {"rst-after-bytes", "dn"}};

static void set_field(struct mode *m, char kind, const char *text, unsigned *numbers)
{
    char *end = NULL;
    if (kind == 'd') {
        CHECK(strcmp(text, "c") == 0 || strcmp(text, "s") == 0, "%s: the direction is c or s, not %s", m->name, text);
        m->direction = text[0];
    } else if (kind == 'x') {
        CHECK(*text && strspn(text, "0123456789abcdefABCDEF") == strlen(text) && strlen(text) % 2 == 0,
              "%s: not hex: %s", m->name, text);
        m->hex = text;
    } else {
        long n = strtol(text, &end, 10);
        CHECK(*text && !*end && n >= 0, "%s: not a number: %s", m->name, text);
        if (kind == 'n')
            m->value[(*numbers)++] = n;
        else
            m->record = n;
    }
}

static void add_mode(char *text)
{
    struct mode *m = &modes[mode_count];
    char *name = strsep(&text, ":");
    unsigned numbers = 0;
    CHECK(mode_count < MODES_MAX, "too many modes");
    for (unsigned i = 0; i < sizeof(syntax) / sizeof(syntax[0]); i++) {
        if (strcmp(name, syntax[i].name) != 0)
            continue;
        *m = (struct mode){.record = -1};
        snprintf(m->name, sizeof(m->name), "%s", name);
        for (const char *f = syntax[i].fields; *f; f++) {
            char *field = strsep(&text, ":");
            if (!field && *f == 'R')
                break;
            CHECK(field, "%s: too few fields", name);
            set_field(m, *f, field, &numbers);
        }
        CHECK(!text, "%s: too many fields", name);
        mode_count++;
        return;
    }
    die("unknown mode: %s", name);
}

/* ---- records ---- */

static void refragment(struct direction *d, const uint8_t *record, size_t len, size_t piece)
{
    for (size_t at = HEADER; at < len; at += piece) {
        size_t n = len - at < piece ? len - at : piece;
        uint8_t header[HEADER] = {record[0], record[1], record[2], (uint8_t)(n >> 8), (uint8_t)n};
        append(&d->out, header, HEADER);
        append(&d->out, record + at, n);
    }
}

static void change(struct direction *d, uint8_t *record, size_t len)
{
    const struct mode *m = find_mode("flip", d->name, d->record);
    if (m && (size_t)m->value[0] < len)
        record[m->value[0]] ^= (uint8_t)(1u << (m->value[1] & 7));
    m = find_mode("rewrite", d->name, d->record);
    if (m) {
        struct buffer bytes = {0};
        append_hex(&bytes, m->hex);
        for (size_t i = 0; i < bytes.len && (size_t)m->value[0] + i < len; i++)
            record[(size_t)m->value[0] + i] = bytes.data[i];
        free(bytes.data);
    }
}

static void forward_record(struct direction *d, uint8_t *record, size_t len)
{
    const struct mode *m = find_mode("insert", d->name, d->record);
    const struct mode *fragments = find_mode("refragment", d->name, -1);
    if (m)
        append_hex(&d->out, m->hex);
    change(d, record, len);
    if (find_mode("reflect", d->name, d->record))
        append(&d->back, record, len);
    else if (fragments && record[0] == 22 && fragments->value[0] > 0)
        refragment(d, record, len, (size_t)fragments->value[0]);
    else if (!find_mode("drop", d->name, d->record))
        append(&d->out, record, len);
    if (find_mode("repeat", d->name, d->record))
        append(&d->out, record, len);
    d->record++;
}

/* Whole records move from in to out; at the end of the stream, and when there are no records, all bytes do. */
static void parse(struct direction *d)
{
    while (d->in.len > 0) {
        const uint8_t *p = d->in.data;
        d->raw |= p[0] < 20 || p[0] > 24 || (d->in.len > 1 && p[1] != 3);
        size_t len = d->in.len >= HEADER ? HEADER + ((size_t)p[3] << 8 | p[4]) : HEADER;
        if (d->raw || (d->ended && d->in.len < len)) {
            append(&d->out, d->in.data, d->in.len);
            d->in.len = 0;
            return;
        }
        if (d->in.len < HEADER || d->in.len < len)
            return;
        forward_record(d, d->in.data, len);
        consume(&d->in, len);
    }
}

/* ---- moving bytes ---- */

static void receive(struct direction *d)
{
    uint8_t chunk[CHUNK];
    ssize_t n = recv(d->from, chunk, sizeof(chunk), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    progress();
    if (n <= 0) {
        d->ended = true;
    } else {
        if (d->dump >= 0)
            write_all(d->dump, chunk, (size_t)n);
        append(&d->in, chunk, (size_t)n);
        const struct mode *delay = find_mode("delay-ms", d->name, -1);
        if (delay)
            poll(NULL, 0, (int)delay->value[0]);
    }
    parse(d);
}

static void reset(int fd)
{
    struct linger hard = {.l_onoff = 1};
    SYS(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)));
    exit(0); /* closes with RST */
}

/* Cuts the direction after so many bytes; how many of n may go still. */
static size_t allowance(struct direction *d, size_t n)
{
    static const char *const cuts[] = {"stop-after-bytes", "fin-after-bytes", "rst-after-bytes"};
    for (unsigned i = 0; i < 3; i++) {
        const struct mode *m = find_mode(cuts[i], d->name, -1);
        if (!m || d->forwarded + n < (uint64_t)m->value[0])
            continue;
        d->cut = d->forwarded == (uint64_t)m->value[0];
        if (d->cut && i == 1)
            shutdown(d->to, SHUT_WR);
        if (d->cut && i == 2)
            reset(d->to);
        return (size_t)((uint64_t)m->value[0] - d->forwarded);
    }
    return n;
}

static void transmit(struct direction *d, struct buffer *b, int to)
{
    const struct mode *split = find_mode("split", 0, -1);
    while (b->len > 0 && !d->cut) {
        size_t n = split && split->value[0] > 0 && (size_t)split->value[0] < b->len ? (size_t)split->value[0] : b->len;
        n = b == &d->out ? allowance(d, n) : n;
        ssize_t sent = n > 0 ? send(to, b->data, n, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
        if (sent < 0 && errno == EAGAIN)
            return;
        if (sent < 0) { /* the receiver has gone: what is left goes nowhere */
            d->cut = true;
            return;
        }
        d->forwarded += b == &d->out ? (size_t)sent : 0;
        consume(b, (size_t)sent);
    }
    if (b == &d->out && !d->cut)
        allowance(d, 0);
    if (d->cut)
        b->len = 0;
}

/* The end is not passed on while the other direction may still have something to reflect to the same side. */
static bool finished(struct direction *d, const struct direction *other)
{
    bool reflecting = find_mode("reflect", other->name, -1) && (!other->ended || other->back.len > 0);
    if (d->ended && d->out.len == 0 && d->back.len == 0 && !d->passed_end && !reflecting) {
        d->passed_end = true;
        if (!d->cut)
            shutdown(d->to, SHUT_WR);
    }
    return d->passed_end;
}

static void relay(int c, int s, const int dump[2])
{
    struct direction d[2] = {{.name = 'c', .from = c, .to = s, .dump = dump[0]},
                             {.name = 's', .from = s, .to = c, .dump = dump[1]}};
    bool holding = find_mode("coalesce", 0, -1) != NULL;
    while (!finished(&d[0], &d[1]) | !finished(&d[1], &d[0])) {
        struct pollfd p[4];
        for (int i = 0; i < 2; i++) {
            bool full = d[i].out.len > MIB || d[i].ended;
            p[i] = (struct pollfd){.fd = full ? -1 : d[i].from, .events = POLLIN};
            p[2 + i] = (struct pollfd){.fd = d[i].out.len && !holding ? d[i].to : -1, .events = POLLOUT};
        }
        int n = poll(p, 4, holding ? PAUSE_MS : -1);
        for (int i = 0; i < 2; i++) {
            if (p[i].revents)
                receive(&d[i]);
            if (n == 0 || !holding || d[i].ended)
                transmit(&d[i], &d[i].out, d[i].to);
            transmit(&d[i], &d[i].back, d[i].from);
        }
    }
}

static int dump_file(const char *name, char direction)
{
    char path[4096];
    if (!name)
        return -1;
    snprintf(path, sizeof(path), "%s.%c", name, direction);
    return (int)SYS(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
}

int main(int argc, char **argv)
{
    uint16_t port;
    long to = 0;
    const char *record = NULL;
    for (int i = 1; i < argc; i += 2) {
        CHECK(i + 1 < argc, "%s needs a value", argv[i]);
        if (strcmp(argv[i], "--to") == 0)
            to = atol(argv[i + 1]);
        else if (strcmp(argv[i], "--mode") == 0)
            add_mode(argv[i + 1]);
        else if (strcmp(argv[i], "--record") == 0)
            record = argv[i + 1];
        else
            die("unknown option: %s", argv[i]);
    }
    CHECK(to > 0 && to < 65536, "--to PORT is missing");
    int dump[2] = {dump_file(record, 'c'), dump_file(record, 's')};
    int listener = tcp_listen(1, &port);
    int c = tcp_accept(listener);
    watchdog_start();
    int s = tcp_connect((uint16_t)to);
    set_option(c, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(s, IPPROTO_TCP, TCP_NODELAY, 1);
    relay(c, s, dump);
    return 0;
}
