/* Two honest sides that hold the same key, and a wire that the input commands: it may change, drop, repeat, hold back,
 * split, reflect and inject records, and hand bytes over in pieces of any size. Whatever it does: nobody crashes or
 * leaks, there are never two clients or two servers, and who is through has seen the other's true hello.
 *
 * Input: byte 0 the roles, byte 1 who speaks and which credentials, then values, then one operation for each record
 * that leaves a side; an input that has run out delivers faithfully. */
#include "bytes.h"
#include "handshake.h"
#include "hello.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WIRE_ROOM = 160 * 1024, STEPS_MAX = 4000, RECORDS_MAX = 64 };

struct wire {
    uint8_t bytes[WIRE_ROOM];
    size_t len, read;
};

struct side {
    struct handshake *hs;
    struct role_value value;
    struct wire out, in;
    size_t forwarded, records;
    uint8_t held[RECORD_WIRE_MAX]; /* a record held back for the next */
    size_t held_len;
    bool ended; /* the wire told it of a FIN */
};

enum operation {
    DELIVER,
    DROP,
    REPEAT,
    CHANGE,
    TRUNCATE,
    HOLD,
    SPLIT,
    JOIN,
    REFLECT,
    INJECT,
    STRANGER,
    CCS,
    ALERT,
    END,
    ERASE,
    OPERATIONS,
};

static struct identity *identities[2];
static struct side a, b;
static uint8_t stranger[4096];
static size_t stranger_len;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                                                             \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "violated: %s (line %d)\n", #condition, __LINE__);                                         \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

static struct identity *load(const char *psk_file, const char *state_dir)
{
    const struct policy_identity own = {.psk_file = psk_file};
    const struct policy_trust trust = {0};
    const struct identity_config config = {.own = &own, .trust = &trust, .state_dir = state_dir};
    struct identity *id;
    char why[IDENTITY_WHY_MAX];

    if (identity_load(&config, &id, why) != RESULT_OK) {
        fprintf(stderr, "%s\n", why);
        abort();
    }
    return id;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const char psk[] = "fuzz:00112233445566778899aabbccddeeff\n";
    char folder[] = "/tmp/fuzz-conversation-XXXXXX", path[100];

    (void)argc;
    (void)argv;
    REQUIRE(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/psk", folder);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0 && write(fd, psk, sizeof psk - 1) == (ssize_t)sizeof psk - 1);
    close(fd);
    identities[0] = load(path, NULL);
    unlink(path);
    identities[1] = load(NULL, folder);
    snprintf(path, sizeof path, "rm -rf %s", folder);
    return system(path);
}

static uint8_t take(struct cursor *input)
{
    uint8_t byte = 0;

    (void)!cursor_u8(input, &byte);
    return byte;
}

static bool fill_from_input(void *ctx, uint8_t *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = take(ctx);
    out[n - 1] |= 1; /* neither reserved value: role_draw would ask for ever */
    out[n - 1] &= 0x7f;
    return true;
}

static void add(struct wire *w, const uint8_t *bytes, size_t len)
{
    if (len > sizeof w->bytes - w->len)
        len = sizeof w->bytes - w->len;
    memcpy(w->bytes + w->len, bytes, len);
    w->len += len;
}

static void add_record(struct wire *w, uint8_t type, const uint8_t *body, size_t len)
{
    uint8_t header[RECORD_HEADER] = {type, 3, 3, (uint8_t)(len >> 8), (uint8_t)len};

    add(w, header, sizeof header);
    add(w, body, len);
}

static void split(struct wire *w, const uint8_t *record, size_t len, size_t step)
{
    step = step ? step : 1;
    if (record[0] != RECORD_HANDSHAKE || len <= RECORD_HEADER)
        step = len; /* a protected record cannot be split without its key */
    for (size_t at = RECORD_HEADER; at < len; at += step)
        add_record(w, record[0], record + at, len - at < step ? len - at : step);
}

static void inject(struct cursor *input, struct wire *w)
{
    uint8_t body[256] = {0}, type = take(input);
    size_t len = take(input);

    for (size_t i = 0; i < len && input->left; i++)
        body[i] = take(input);
    add_record(w, type, body, len);
}

static void change(struct cursor *input, uint8_t *record, size_t len)
{
    unsigned times = 1 + take(input) % 4;

    while (times--) {
        size_t at = (size_t)(take(input) << 8 | take(input)) % len;
        record[at] ^= take(input);
    }
}

/* Takes bytes out of the middle of a record and makes its length right again. */
static size_t erase(struct cursor *input, uint8_t *record, size_t len)
{
    size_t at = RECORD_HEADER + (size_t)(take(input) << 8 | take(input)) % (len - RECORD_HEADER), n = take(input);

    if (n > len - at)
        n = len - at;
    memmove(record + at, record + at + n, len - at - n);
    put_be16(record + 3, (uint16_t)(len - n - RECORD_HEADER));
    return len - n;
}

static void release(struct side *from, struct side *to)
{
    add(&to->in, from->held, from->held_len);
    from->held_len = 0;
}

static void operate(struct cursor *input, struct side *from, struct side *to, const uint8_t *sent, size_t len)
{
    uint8_t record[RECORD_WIRE_MAX], op = take(input) % OPERATIONS;

    memcpy(record, sent, len);
    switch ((enum operation)op) {
    case DROP:
        return;
    case REPEAT:
        add(&to->in, record, len);
        break;
    case CHANGE:
        change(input, record, len);
        break;
    case TRUNCATE:
        len = (size_t)(take(input) << 8 | take(input)) % len;
        break;
    case HOLD:
        release(from, to);
        memcpy(from->held, record, len);
        from->held_len = len;
        return;
    case SPLIT:
        split(&to->in, record, len, take(input));
        return;
    case JOIN: /* with what was held back, as one record */
        if (from->held_len && from->held_len + len < sizeof record) {
            add_record(&to->in, record[0], from->held + RECORD_HEADER, from->held_len - RECORD_HEADER);
            from->held_len = 0;
        }
        break;
    case REFLECT:
        add(&from->in, record, len);
        return;
    case INJECT:
        inject(input, &to->in);
        break;
    case STRANGER:
        add(&to->in, stranger, stranger_len);
        if (take(input) & 1)
            return;
        break;
    case CCS:
        add_record(&to->in, RECORD_CHANGE_CIPHER_SPEC, (const uint8_t *)"\1", 1);
        break;
    case ALERT: {
        const uint8_t alert[2] = {2, take(input)};
        add_record(&to->in, RECORD_ALERT, alert, 2);
        break;
    }
    case END:
        to->ended = true;
        break;
    case ERASE:
        len = erase(input, record, len);
        break;
    case DELIVER:
    case OPERATIONS:
        break;
    }
    add(&to->in, record, len);
    release(from, to);
}

static bool send_some(struct cursor *input, struct side *from, struct side *to)
{
    size_t len;
    const uint8_t *bytes = handshake_output(from->hs, &len);
    bool any = len != 0;

    if (len > 1 && input->left && (input->at[0] & 0x80)) /* the kernel takes a part */
        len = 1 + take(input) % len;
    if (any) {
        REQUIRE(len <= sizeof from->out.bytes - from->out.len);
        add(&from->out, bytes, len);
        handshake_sent(from->hs, len);
    }
    while (from->out.len - from->forwarded >= RECORD_HEADER) {
        const uint8_t *at = from->out.bytes + from->forwarded;
        size_t record = RECORD_HEADER + be16(at + 3);
        if (record > from->out.len - from->forwarded)
            break;
        from->forwarded += record;
        if (from->records++ < RECORDS_MAX)
            operate(input, from, to, at, record);
        any = true;
    }
    return any;
}

static bool read_some(struct cursor *input, struct side *s)
{
    size_t want = handshake_wanted(s->hs), there = s->in.len - s->in.read;

    REQUIRE((want != 0) == (handshake_state(s->hs) == RESULT_AGAIN));
    if (want > there)
        want = there;
    if (want == 0) {
        if (s->ended && handshake_state(s->hs) == RESULT_AGAIN)
            REQUIRE(handshake_feed_end(s->hs) != RESULT_AGAIN);
        return false;
    }
    if (input->left && (input->at[0] & 0x40)) { /* TCP hands over a part */
        size_t part = 1 + take(input) % 16;
        want = part < want ? part : want;
    }
    uint8_t *copy = malloc(want); /* so that a read past the end is seen */
    memcpy(copy, s->in.bytes + s->in.read, want);
    s->in.read += want;
    enum result result = handshake_feed(s->hs, copy, want);
    free(copy);
    REQUIRE(result == handshake_state(s->hs));
    REQUIRE(result == RESULT_AGAIN || result == RESULT_OK || result == RESULT_PROTOCOL || result == RESULT_IDENTITY);
    REQUIRE((handshake_why(s->hs)[0] == '\0') == (result == RESULT_AGAIN || result == RESULT_OK));
    return true;
}

/* The first message on a wire. */
static void first_message(struct hello *h, const uint8_t *bytes, size_t len)
{
    struct cursor records = {bytes, len};
    const uint8_t *record;

    while (h->kind == HELLO_INCOMPLETE && records.left >= RECORD_HEADER) {
        size_t n = RECORD_HEADER + (size_t)be16(records.at + 3);
        if (!cursor_take(&records, n, &record) || hello_add_record(h, record, n) != RESULT_OK)
            break;
    }
}

/* What this side read first is what the other sent first, to the byte if it is a ClientHello. */
static void require_true_hello(const struct side *reader, const struct side *sender)
{
    struct hello read = {0}, sent = {0};

    first_message(&read, reader->in.bytes, reader->in.read);
    first_message(&sent, sender->out.bytes, sender->out.len);
    REQUIRE(read.kind == sent.kind);
    REQUIRE(read.kind == HELLO_CLIENT || read.kind == HELLO_SERVER);
    if (read.kind == HELLO_CLIENT) {
        REQUIRE(read.message_len == sent.message_len);
        REQUIRE(memcmp(read.message, sent.message, read.message_len) == 0);
    }
    hello_free(&read);
    hello_free(&sent);
}

static void require_crosswise(const struct handshake_secrets *x, const struct handshake_secrets *y)
{
    REQUIRE(x->suite == y->suite && x->secret_len == y->secret_len);
    REQUIRE(memcmp(x->read, y->write, x->secret_len) == 0);
    REQUIRE(memcmp(x->write, y->read, x->secret_len) == 0);
    REQUIRE(memcmp(x->exporter, y->exporter, x->secret_len) == 0);
}

static void judge(void)
{
    struct handshake_secrets x, y;
    bool a_done = handshake_state(a.hs) == RESULT_OK, b_done = handshake_state(b.hs) == RESULT_OK;

    if (a_done)
        require_true_hello(&a, &b);
    if (b_done)
        require_true_hello(&b, &a);
    if (a_done || b_done) {
        handshake_take_secrets(a.hs, &x);
        handshake_take_secrets(b.hs, &y);
        if (a_done != b_done) /* the server is the last to finish */
            REQUIRE(a_done ? x.is_client : y.is_client);
        else
            REQUIRE(x.is_client != y.is_client);
        if (a_done && b_done)
            require_crosswise(&x, &y);
    }
}

static void make_stranger(struct handshake_config config)
{
    struct handshake *hs;
    char why[HANDSHAKE_WHY_MAX];

    config.effective = ROLE_PEER;
    config.speaks_first = true;
    REQUIRE(handshake_new(&config, &hs, why) == RESULT_OK);
    const uint8_t *bytes = handshake_output(hs, &stranger_len);
    REQUIRE(stranger_len <= sizeof stranger);
    memcpy(stranger, bytes, stranger_len);
    handshake_free(hs);
}

static void reset(struct side *s)
{
    s->out.len = s->out.read = s->in.len = s->in.read = 0;
    s->forwarded = s->records = s->held_len = 0;
    s->ended = false;
}

static void make_side(struct side *s, struct handshake_config config, unsigned roles, bool speaks, bool retry)
{
    char why[HANDSHAKE_WHY_MAX];

    reset(s);
    config.effective = (enum role_set)(1 + roles % 3);
    config.speaks_first = speaks;
    config.server_ciphers = retry ? "+AES-128-GCM:-GROUP-X25519" : NULL;
    REQUIRE(handshake_new(&config, &s->hs, why) == RESULT_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cursor input = {data, size};
    uint8_t roles = take(&input), flags = take(&input);
    struct handshake_config config = {.identity = identities[flags >> 7], .random = {fill_from_input, &input}};

    make_side(&a, config, roles & 15, true, flags & 1);
    make_side(&b, config, roles >> 4, flags & 2, flags & 4);
    if (flags & 8)
        make_stranger(config);
    else
        stranger_len = 0;
    for (int i = 0; i < STEPS_MAX; i++) {
        bool any = send_some(&input, &a, &b);
        any |= send_some(&input, &b, &a);
        any |= read_some(&input, &a);
        any |= read_some(&input, &b);
        if (!any)
            break;
    }
    judge();
    handshake_free(a.hs);
    handshake_free(b.hs);
    return 0;
}
