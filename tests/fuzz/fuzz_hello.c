/* libFuzzer target: bytes of a peer, cut into records as the handshake reads them, into the reader of the first hello.
 */
#include "bytes.h"
#include "hello.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* In an allocation of its own, so that a read past the end is seen. */
static enum result add_copy(struct hello *h, const uint8_t *record, size_t len)
{
    uint8_t *copy = malloc(len);
    require(copy);
    memcpy(copy, record, len);
    enum result r = hello_add_record(h, copy, len);
    free(copy);
    return r;
}

static void read_records(struct hello *h, const uint8_t *data, size_t size)
{
    size_t at = 0, body;
    while (h->kind == HELLO_INCOMPLETE && size - at >= HELLO_RECORD_HEADER) {
        if (hello_check_header(h, data + at, &body) != RESULT_OK || body > size - at - HELLO_RECORD_HEADER)
            return;
        size_t n = HELLO_RECORD_HEADER + body;
        enum result r = add_copy(h, data + at, n);
        require((r == RESULT_OK) == (h->kind != HELLO_BAD));
        at += n;
        require(h->kind == HELLO_BAD || (h->wire_len == at && !memcmp(h->wire, data, at)));
    }
}

static void check_verdict(const struct hello *h)
{
    require(h->kind != HELLO_BAD || (h->why && h->alert && !h->has_role));
    require(h->records <= HELLO_MAX_RECORDS);
    if (h->kind != HELLO_CLIENT)
        return;
    require(h->message_len <= HELLO_MAX_BYTES && h->message_len == 4 + be24(h->message + 1));
    require(h->wire_len == h->message_len + h->records * HELLO_RECORD_HEADER);
    require(!h->has_role || !h->odd_version);
}

/* The same message, cut otherwise, must mean the same. */
static void check_other_cut(const struct hello *h)
{
    struct hello other = {0};
    size_t piece = 1 + h->message_len / HELLO_MAX_RECORDS;
    for (size_t at = 0; at < h->message_len; at += piece) {
        uint8_t record[HELLO_RECORD_HEADER + 1 + HELLO_MAX_BYTES / HELLO_MAX_RECORDS] = {22, 3, 1};
        size_t n = h->message_len - at < piece ? h->message_len - at : piece;
        put_be16(record + 3, (uint16_t)n);
        memcpy(record + HELLO_RECORD_HEADER, h->message + at, n);
        require(other.kind == HELLO_INCOMPLETE);
        require(hello_add_record(&other, record, HELLO_RECORD_HEADER + n) == RESULT_OK);
    }
    require(other.kind == HELLO_CLIENT && other.has_role == h->has_role);
    require(!h->has_role || role_value_compare(&other.role, &h->role) == 0);
    hello_free(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hello h = {0};

    read_records(&h, data, size);
    check_verdict(&h);
    if (h.kind == HELLO_CLIENT)
        check_other_cut(&h);
    hello_free(&h);

    enum result r = hello_parse_client(&h, data, size);
    require(r == RESULT_OK || (r == RESULT_PROTOCOL && h.kind == HELLO_BAD));
    hello_free(&h);
    return 0;
}
