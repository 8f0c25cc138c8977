/* Slots that are given up: nothing of the connection is left in them, and few keep their memory. */
#include "chunk_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGES = sizeof(struct slot_room) / SLOT_PAGE, MANY = 3 * CHUNK_SLOTS };

/* Of its room, and the one that it shares with other slots. */
static unsigned pages_in_memory(struct chunk *chunk, struct slot *slot)
{
    unsigned char resident[PAGES];
    unsigned n = 0;

    assert_int_equal(mincore(view_of(chunk, number_of(chunk, slot)), SLOT_PAGE, resident), 0);
    n += resident[0] & 1;
    assert_int_equal(mincore(chunk_room(chunk, slot), sizeof(struct slot_room), resident), 0);
    for (size_t i = 0; i < PAGES; i++)
        n += resident[i] & 1;
    return n;
}

static bool all_zero(const void *at, size_t len)
{
    const uint8_t *bytes = at;

    for (size_t i = 0; i < len; i++)
        if (bytes[i])
            return false;
    return true;
}

static bool is_zero(struct chunk *chunk, const struct slot *slot)
{
    return all_zero(slot, sizeof *slot) && all_zero(chunk_room(chunk, slot), sizeof(struct slot_room));
}

/* As a connection does that has read a record of len bytes in pieces. */
static void use(struct chunk *chunk, struct slot *slot, size_t len)
{
    memset(slot, 0x55, offsetof(struct slot, near_used));
    memset(&slot->rx, 0x55, sizeof slot->rx);
    memset(&slot->tx, 0x55, sizeof slot->tx);
    if (len)
        memset(slot_rx_room(slot, chunk_room(chunk, slot), len), 0x55, len);
}

static void test_a_slot_that_was_given_up_is_zero(void **state)
{
    static const size_t lengths[] = {0, 1, SLOT_PAGE, SLOT_PAGE + 1, SLOT_RX_ROOM};
    struct chunk *chunk;

    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        struct slot *slot = chunk_take(&chunk);
        assert_non_null(slot);
        use(chunk, slot, lengths[i]);
        chunk_drop(chunk, slot);
        assert_ptr_equal(chunk_take(&chunk), slot);
        assert_true(is_zero(chunk, slot));
        chunk_drop(chunk, slot);
    }
}

static void test_the_rest_of_a_record_that_was_sent_does_not_stay(void **state)
{
    struct chunk *chunk;
    struct slot *slot = chunk_take(&chunk);

    (void)state;
    use(chunk, slot, 0);
    memset(slot_tx_room(slot, chunk_room(chunk, slot)), 0x55, SLOT_TX_ROOM);
    chunk_drop(chunk, slot);
    assert_int_equal(pages_in_memory(chunk, slot), 0);
    assert_true(is_zero(chunk, slot));
    chunk_take(&chunk);
    memset(slot_tx_room(slot, chunk_room(chunk, slot)), 0, 1);
    chunk_drop(chunk, slot);
}

static void test_few_slots_keep_their_memory(void **state)
{
    struct chunk *chunks[MANY];
    struct slot *slots[MANY];
    unsigned pages = 0;

    (void)state;
    for (size_t i = 0; i < MANY; i++) {
        slots[i] = chunk_take(&chunks[i]);
        use(chunks[i], slots[i], SLOT_PAGE);
        assert_int_equal(pages_in_memory(chunks[i], slots[i]), 2);
    }
    for (size_t i = 0; i < MANY; i++)
        chunk_drop(chunks[i], slots[i]);
    for (size_t i = 0; i < MANY; i++)
        pages += pages_in_memory(chunks[i], slots[i]);
    assert_int_equal(pages, 32);
    for (size_t i = 0; i < MANY; i++) {
        slots[i] = chunk_take(&chunks[i]);
        assert_true(is_zero(chunks[i], slots[i]));
    }
    for (size_t i = 0; i < MANY; i++)
        chunk_drop(chunks[i], slots[i]);
}

/* After a fork the chunk is left to those who have a slot in it; the memory that it keeps does not count any more. */
static void test_a_chunk_that_was_forked_keeps_nothing(void **state)
{
    struct chunk *before, *after;
    struct slot *held = chunk_take(&before);

    (void)state;
    chunk_forked();
    struct slot *slot = chunk_take(&after);
    assert_ptr_not_equal(after, before);
    use(after, slot, 1);
    chunk_drop(after, slot);
    assert_int_equal(pages_in_memory(after, slot), 2);
    chunk_drop(before, held);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_slot_that_was_given_up_is_zero),
        cmocka_unit_test(test_the_rest_of_a_record_that_was_sent_does_not_stay),
        cmocka_unit_test(test_few_slots_keep_their_memory),
        cmocka_unit_test(test_a_chunk_that_was_forked_keeps_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
