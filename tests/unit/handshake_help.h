/* For the handshake's tests: two sides in memory, with a wire between them that a test may tamper with record by
 * record. */
#ifndef HANDSHAKE_HELP_H
#define HANDSHAKE_HELP_H

#include "identity_help.h"

#include "bytes.h"
#include "handshake.h"

enum { WIRE_ROOM = 96 * 1024 };

struct wire {
    uint8_t bytes[WIRE_ROOM];
    size_t len, read;
};

struct pair_of_sides;

struct side {
    struct handshake *hs;
    struct wire out;  /* what left this side, as it came */
    struct wire in;   /* what this side will read */
    size_t forwarded; /* of out */
    size_t records;   /* that left */
    bool end_sent;    /* in will not grow */
};

/* Gets each record that leaves a side, and adds to the other's input whatever it likes. */
typedef void (*relay_fn)(struct pair_of_sides *pair, struct side *from, struct side *to, const uint8_t *record,
                         size_t len);

struct pair_of_sides {
    struct side a, b;
    relay_fn relay;
    void *ctx;
    size_t chunk; /* bytes per feed at most; 0: as many as wanted */
};

HELP void wire_add(struct wire *w, const void *bytes, size_t len)
{
    assert_true(len <= sizeof w->bytes - w->len);
    memcpy(w->bytes + w->len, bytes, len);
    w->len += len;
}

HELP void relay_plainly(struct pair_of_sides *pair, struct side *from, struct side *to, const uint8_t *record,
                        size_t len)
{
    (void)pair;
    (void)from;
    wire_add(&to->in, record, len);
}

/* A source of randomness that gives one forced value, to be repeated. */
struct forced_value {
    uint8_t bytes[ROLE_VALUE_BYTES];
};

HELP bool fill_forced(void *ctx, uint8_t *out, size_t n)
{
    const struct forced_value *v = ctx;
    for (size_t i = 0; i < n; i++)
        out[i] = v->bytes[i % ROLE_VALUE_BYTES];
    return true;
}

HELP bool fill_never(void *ctx, uint8_t *out, size_t n)
{
    (void)ctx;
    (void)out;
    (void)n;
    return false;
}

HELP struct handshake *make_handshake(struct handshake_config config)
{
    struct handshake *hs;
    char why[HANDSHAKE_WHY_MAX];

    if (handshake_new(&config, &hs, why) != RESULT_OK)
        fail_msg("no handshake: %s", why);
    return hs;
}

HELP struct pair_of_sides *pair_new(struct handshake_config a, struct handshake_config b)
{
    struct pair_of_sides *pair = calloc(1, sizeof *pair);

    assert_non_null(pair);
    pair->a.hs = make_handshake(a);
    pair->b.hs = make_handshake(b);
    pair->relay = relay_plainly;
    return pair;
}

HELP void sides_free(struct pair_of_sides *pair)
{
    handshake_free(pair->a.hs);
    handshake_free(pair->b.hs);
    free(pair);
}

HELP bool side_send(struct pair_of_sides *pair, struct side *from, struct side *to)
{
    size_t len, record;
    const uint8_t *bytes = handshake_output(from->hs, &len);
    bool any = len != 0;

    if (any) {
        wire_add(&from->out, bytes, len);
        handshake_sent(from->hs, len);
    }
    while (from->out.len - from->forwarded >= RECORD_HEADER &&
           (record = RECORD_HEADER + be16(from->out.bytes + from->forwarded + 3)) <= from->out.len - from->forwarded) {
        const uint8_t *at = from->out.bytes + from->forwarded;
        from->forwarded += record;
        from->records++;
        pair->relay(pair, from, to, at, record);
        any = true;
    }
    return any;
}

HELP bool side_read(const struct pair_of_sides *pair, struct side *s)
{
    size_t want = handshake_wanted(s->hs), there = s->in.len - s->in.read;

    if (pair->chunk && want > pair->chunk)
        want = pair->chunk;
    if (want > there)
        want = there;
    if (want == 0)
        return false;
    const uint8_t *bytes = s->in.bytes + s->in.read;
    s->in.read += want;
    enum result result = handshake_feed(s->hs, bytes, want);
    assert_int_equal(result, handshake_state(s->hs));
    assert_int_not_equal(result, RESULT_INVALID);
    return true;
}

/* Lets both sides speak and read until neither has anything left to do. */
HELP void pair_run(struct pair_of_sides *pair)
{
    bool any;

    do {
        any = side_send(pair, &pair->a, &pair->b);
        any |= side_send(pair, &pair->b, &pair->a);
        any |= side_read(pair, &pair->a);
        any |= side_read(pair, &pair->b);
    } while (any);
}

HELP bool both_done(const struct pair_of_sides *pair)
{
    return handshake_state(pair->a.hs) == RESULT_OK && handshake_state(pair->b.hs) == RESULT_OK;
}

/* Both are through, one as client and one as server, with the same keys crosswise, and nothing was read beyond the
 * end. True if a is the client. */
HELP bool assert_both_done(struct pair_of_sides *pair)
{
    struct handshake_secrets a, b;

    if (!both_done(pair))
        fail_msg("not done: %s: %s / %s: %s", result_name(handshake_state(pair->a.hs)), handshake_why(pair->a.hs),
                 result_name(handshake_state(pair->b.hs)), handshake_why(pair->b.hs));
    assert_int_equal(handshake_wanted(pair->a.hs), 0);
    assert_int_equal(handshake_wanted(pair->b.hs), 0);
    handshake_take_secrets(pair->a.hs, &a);
    handshake_take_secrets(pair->b.hs, &b);
    assert_true(a.is_client != b.is_client);
    assert_int_equal(a.suite, b.suite);
    assert_true(a.secret_len == 32 || a.secret_len == 48);
    assert_int_equal(a.secret_len, b.secret_len);
    assert_memory_equal(a.read, b.write, a.secret_len);
    assert_memory_equal(a.write, b.read, a.secret_len);
    assert_memory_equal(a.exporter, b.exporter, a.secret_len);
    assert_memory_not_equal(a.read, a.write, a.secret_len);
    assert_memory_not_equal(a.read, a.exporter, a.secret_len);
    assert_true(a.subject[0] && b.subject[0]);
    return a.is_client;
}

HELP void assert_refused(const struct handshake *hs, enum result result, const char *part)
{
    if (handshake_state(hs) != result)
        fail_msg("expected %s, found %s: %s", result_name(result), result_name(handshake_state(hs)), handshake_why(hs));
    assert_int_equal(handshake_wanted(hs), 0);
    if (!strstr(handshake_why(hs), part))
        fail_msg("expected a sentence with: %s\nfound: %s", part, handshake_why(hs));
}

HELP struct identity *load_psk(const char *file, const char *lines)
{
    return load_ok((struct identity_files){.psk_file = write_text(file, lines, 0600)});
}

/* The per-user identity: Ed25519, made in the test's folder. */
HELP struct identity *load_user(const char *name)
{
    return load_ok((struct identity_files){.state_dir = in_folder(name)});
}

#endif
