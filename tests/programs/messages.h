/* Messages that two processes write on one connection, each by one call, and that its peer checks: each must be whole,
 * and the next of its writer. Credits through a pipe keep them few enough for the buffers: plain TCP tears what does
 * not fit. */
#ifndef PROGRAMS_MESSAGES_H
#define PROGRAMS_MESSAGES_H

#include "common.h"

enum { MESSAGE_MAX = 2000, MESSAGE_MAGIC = 0x70327074, WRITERS = 2, CREDITS = 16 };

struct message {
    uint32_t magic, writer, number, len; /* of the whole */
    uint8_t body[MESSAGE_MAX - 16];
};

static inline void message_make(struct message *m, uint32_t writer, uint32_t number)
{
    m->magic = MESSAGE_MAGIC;
    m->writer = writer;
    m->number = number;
    m->len = 16 + (uint32_t)(mix64(writer * 1000003ull + number) % sizeof(m->body));
    stream_fill(writer, number * 8ull, m->body, m->len - 16);
}

struct credits {
    int give, take;
};

static inline void credits_open(struct credits *c)
{
    int ends[2];
    SYS(pipe(ends)); /* inherited by what a writer executes */
    *c = (struct credits){ends[1], ends[0]};
    SYS(write(c->give, "................", CREDITS));
}

/* Waits until the peer has read enough of this writer. */
static inline void credits_take(const struct credits *c)
{
    char one;
    ssize_t n;
    while ((n = read(c->take, &one, 1)) < 0 && errno == EINTR)
        ;
    CHECK(n == 1, "no credit: %s", n ? strerror(errno) : "the peer is gone");
}

/* What the peer has gathered so far. */
struct inbox {
    uint8_t bytes[64 * KIB];
    size_t len;
    uint32_t next[WRITERS];
};

static inline void message_check(struct inbox *in, const uint8_t *at, size_t *len)
{
    static struct message want;
    uint32_t head[4];
    memcpy(head, at, sizeof(head));
    CHECK(head[0] == MESSAGE_MAGIC && head[1] < WRITERS, "no message begins where one should (%08x)", head[0]);
    CHECK(head[2] == in->next[head[1]], "message %u of writer %u instead of %u", head[2], head[1], in->next[head[1]]);
    message_make(&want, head[1], head[2]);
    CHECK(head[3] == want.len, "message %u of writer %u has the length %u", head[2], head[1], head[3]);
    *len = want.len;
}

/* Checks the whole messages in it and gives credits for them (only for the room of a pipe: a writer may be dead). */
static inline void inbox_digest(struct inbox *in, const struct credits credits[WRITERS])
{
    size_t at = 0, len;
    static struct message want;
    while (in->len - at >= 16) {
        message_check(in, in->bytes + at, &len);
        if (in->len - at < len)
            break;
        uint32_t writer;
        memcpy(&writer, in->bytes + at + 4, sizeof(writer));
        message_make(&want, writer, in->next[writer]);
        CHECK(memcmp(in->bytes + at, &want, len) == 0, "message %u of writer %u is torn", in->next[writer], writer);
        in->next[writer]++;
        SYS(write(credits[writer].give, ".", 1));
        at += len;
        progress();
    }
    memmove(in->bytes, in->bytes + at, in->len - at);
    in->len -= at;
}

#endif
