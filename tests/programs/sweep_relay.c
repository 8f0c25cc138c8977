/* A relay for many connections at once, each harmed at another place: connection number i at position FIRST + i * STEP.
 *
 *   sweep_relay --to PORT --count N --harm HARM [--dir c|s] [--record R] [--first F] [--step S]
 *
 * DIR is the direction that is harmed: c for bytes from the side that connected to the relay (the default), or s. HARM:
 *   stop, fin, rst   so many bytes pass, and nothing after them; with fin the end of the stream follows, with rst RST
 *   flip             one bit of record R, counted from its header; if the record is too short, nothing
 * Prints `port N`, and at the end `bytes C S`, what the last connection passed on. Each connection is open until both
 * directions have ended, or until the harmed side hangs up. */
#include "common.h"

enum harm { STOP, FIN, RST, FLIP, HARMS };
static const char *const harm_names[HARMS] = {"stop", "fin", "rst", "flip"};

static struct {
    uint16_t to;
    unsigned count;
    enum harm harm;
    char direction;
    long record;
    uint64_t first, step;
} option = {.direction = 'c', .step = 1};

/* Follows the records of a byte stream. */
struct records {
    uint8_t header[5];
    size_t have, left; /* of the header, of the body */
    long number;       /* of the record that the next byte belongs to */
    uint64_t offset;   /* of the next byte in its record */
};

struct direction {
    int from, to;
    bool harmed, ended, cut;
    uint64_t passed;
    struct records records;
};

struct link {
    struct direction direction[2];
    uint64_t position;
};

static void follow(struct records *r, uint8_t byte)
{
    r->offset++;
    if (r->have < sizeof(r->header)) {
        r->header[r->have++] = byte;
        r->left = (size_t)r->header[3] << 8 | r->header[4];
    } else {
        r->left--;
    }
    if (r->have == sizeof(r->header) && r->left == 0)
        *r = (struct records){.number = r->number + 1};
}

static void flip(struct direction *d, uint64_t position, uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        uint8_t original = data[i];
        if (d->records.number == option.record && d->records.offset == position / 8)
            data[i] ^= (uint8_t)(1u << position % 8);
        follow(&d->records, original);
    }
}

static void reset(int fd)
{
    struct linger hard = {.l_onoff = 1};
    SYS(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)));
}

/* How many of len bytes pass; the cut comes when the position is reached. */
static size_t allowance(struct direction *d, uint64_t position, size_t len)
{
    if (!d->harmed || option.harm == FLIP || d->passed + len < position)
        return len;
    d->cut = true;
    return (size_t)(position - d->passed);
}

static void send_on(struct direction *d, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(d->to, data, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) /* the receiver has gone */
            return;
        d->passed += (uint64_t)n;
        data += n;
        len -= (size_t)n;
    }
}

/* False when the whole connection is to end. */
static bool cut(const struct direction *d)
{
    if (option.harm == FIN)
        shutdown(d->to, SHUT_WR);
    if (option.harm == RST)
        reset(d->to);
    return option.harm != RST;
}

static bool pass(struct link *l, struct direction *d)
{
    uint8_t data[16 * KIB];
    ssize_t n = recv(d->from, data, sizeof(data), 0);
    progress();
    if (n < 0 && errno == EINTR)
        return true;
    if (n <= 0) {
        d->ended = true;
        if (!d->cut)
            shutdown(d->to, SHUT_WR);
        return true;
    }
    if (d->cut)
        return true;
    if (d->harmed && option.harm == FLIP)
        flip(d, l->position, data, (size_t)n);
    send_on(d, data, allowance(d, l->position, (size_t)n));
    return !d->cut || cut(d);
}

static void *relay(void *link)
{
    struct link *l = link;
    struct direction *d = l->direction;
    struct direction *harmed = d[0].harmed ? &d[0] : &d[1], *other = harmed == &d[0] ? &d[1] : &d[0];
    bool open = allowance(harmed, l->position, 0) == 0 && (!harmed->cut || cut(harmed));
    while (open && !(d[0].ended && d[1].ended) && !(harmed->cut && other->ended)) {
        struct pollfd p[2] = {{.fd = d[0].ended ? -1 : d[0].from, .events = POLLIN},
                              {.fd = d[1].ended ? -1 : d[1].from, .events = POLLIN}};
        while (poll(p, 2, -1) < 0)
            CHECK(errno == EINTR, "poll: %s", strerror(errno));
        for (int i = 0; open && i < 2; i++)
            open = !p[i].revents || pass(l, &d[i]);
    }
    SYS(close(d[0].from));
    SYS(close(d[0].to));
    return l;
}

static struct link *link_up(int listener, unsigned number)
{
    struct link *l = calloc(1, sizeof(*l));
    CHECK(l, "no memory");
    int c = tcp_accept(listener), s = tcp_connect(option.to);
    set_option(c, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(s, IPPROTO_TCP, TCP_NODELAY, 1);
    l->direction[0] = (struct direction){.from = c, .to = s, .harmed = option.direction == 'c'};
    l->direction[1] = (struct direction){.from = s, .to = c, .harmed = option.direction == 's'};
    l->position = option.first + number * option.step;
    return l;
}

static void set(const char *name, const char *value)
{
    if (strcmp(name, "--to") == 0)
        option.to = (uint16_t)atoi(value);
    else if (strcmp(name, "--count") == 0)
        option.count = (unsigned)atoi(value);
    else if (strcmp(name, "--dir") == 0 && (strcmp(value, "c") == 0 || strcmp(value, "s") == 0))
        option.direction = value[0];
    else if (strcmp(name, "--record") == 0)
        option.record = atol(value);
    else if (strcmp(name, "--first") == 0)
        option.first = strtoull(value, NULL, 10);
    else if (strcmp(name, "--step") == 0)
        option.step = strtoull(value, NULL, 10);
    else if (strcmp(name, "--harm") == 0)
        for (option.harm = 0; option.harm < HARMS && strcmp(value, harm_names[option.harm]) != 0; option.harm++)
            ;
    else
        die("unknown option: %s %s", name, value);
}

int main(int argc, char **argv)
{
    uint16_t port;
    option.harm = HARMS;
    for (int i = 1; i < argc; i += 2) {
        CHECK(i + 1 < argc, "%s needs a value", argv[i]);
        set(argv[i], argv[i + 1]);
    }
    CHECK(option.to && option.count && option.harm < HARMS, "--to, --count and --harm are needed");
    int listener = tcp_listen(SOMAXCONN, &port);
    watchdog_start();
    pthread_t *threads = calloc(option.count, sizeof(*threads));
    CHECK(threads, "no memory");
    for (unsigned i = 0; i < option.count; i++)
        threads[i] = thread_start(relay, link_up(listener, i));
    for (unsigned i = 0; i < option.count; i++) {
        void *result;
        pthread_join(threads[i], &result);
        struct link *l = result;
        if (i + 1 == option.count)
            printf("bytes %llu %llu\n", (unsigned long long)l->direction[0].passed,
                   (unsigned long long)l->direction[1].passed);
        free(l);
    }
    free(threads);
    return 0;
}
