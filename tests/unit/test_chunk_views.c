/* Slots lie four to a page, each with an address of its own: none reaches its neighbours, wherever it moves. */
#include "../../src/chunk_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

/* How a mapping at another's place fails; 0: it does not. */
static int refusal;
static bool refused_late; /* when the old mapping is gone */

void *mremap(void *from, size_t old_size, size_t size, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    void *to = flags & MREMAP_FIXED ? va_arg(args, void *) : NULL;
    va_end(args);
    if (to && refused_late)
        munmap(to, size);
    if (to && refusal) {
        errno = refusal;
        return MAP_FAILED;
    }
    return (void *)syscall(SYS_mremap, from, old_size, size, flags, to);
}

static struct chunk *chunk;
static struct slot *slots[CHUNK_SLOTS];

static void assert_zeroes(const void *at, size_t len)
{
    for (size_t i = 0; i < len; i++)
        assert_int_equal(((const uint8_t *)at)[i], 0);
}

/* Every other slot uses all of its room: what is given up then goes, and others keep some pages. */
static uint8_t last_of_tx(unsigned n)
{
    return n % 2 ? (uint8_t)(n + 1) : 0;
}

static void take(unsigned n)
{
    struct chunk *c;
    slots[n] = chunk_take(&c);
    assert_non_null(slots[n]);
    assert_true(!n || c == chunk);
    chunk = c;
    assert_zeroes(slots[n], SLOT_BYTES);
    assert_int_equal(chunk_room(chunk, slots[n])->rx[0], 0);
    assert_int_equal(chunk_room(chunk, slots[n])->tx[SLOT_TX_ROOM - 1], 0);
    assert_zeroes(chunk_companion(chunk, slots[n]), CHUNK_COMPANION);

    slots[n]->layout = SLOT_LAYOUT;
    slots[n]->rekey_after = 1000 + n;
    memset(slots[n]->texts, (int)n + 1, SLOT_TEXTS);
    slot_rx_room(slots[n], chunk_room(chunk, slots[n]), 1)[0] = (uint8_t)(n + 1);
    if (last_of_tx(n))
        slot_tx_room(slots[n], chunk_room(chunk, slots[n]))[SLOT_TX_ROOM - 1] = last_of_tx(n);
    memset(chunk_companion(chunk, slots[n]), (int)n + 1, CHUNK_COMPANION);
}

/* All slots of a new chunk, and something in each and its room. What is shared takes none. */
static int take_all(void **state)
{
    (void)state;
    chunk_forked();
    for (unsigned n = 0; n < CHUNK_SLOTS; n++)
        take(n);
    return 0;
}

static int take_all_in_sandbox(void **state)
{
    chunk_sandbox(true);
    take_all(state);
    chunk_sandbox(false);
    assert_int_equal(chunk->apart, ~FIRST_QUARTERS);
    return 0;
}

static int drop_all(void **state)
{
    (void)state;
    for (unsigned n = 0; n < CHUNK_SLOTS; n++)
        if (slots[n])
            chunk_drop(chunk, slots[n]);
    return 0;
}

static void assert_slot(const struct slot *s, const struct slot_room *room, unsigned n)
{
    assert_int_equal(s->layout, SLOT_LAYOUT);
    assert_int_equal(s->rekey_after, 1000 + n);
    assert_int_equal((uint8_t)s->texts[0], n + 1);
    assert_int_equal((uint8_t)s->texts[SLOT_TEXTS - 1], n + 1);
    assert_int_equal(room->rx[0], n + 1);
}

static void assert_all_but(unsigned except)
{
    for (unsigned n = 0; n < CHUNK_SLOTS; n++) {
        if (n == except)
            continue;
        assert_slot(slots[n], chunk_room(chunk, slots[n]), n);
        assert_int_equal(chunk_room(chunk, slots[n])->tx[SLOT_TX_ROOM - 1], last_of_tx(n));
        assert_int_equal(*(uint8_t *)chunk_companion(chunk, slots[n]), n + 1);
    }
}

/* Where slot n lies in the memory of the first one of its page; nothing of it is there if its view is apart. */
static const void *seen_by_neighbour(unsigned n)
{
    return (const uint8_t *)view_of(chunk, n - n % QUARTERS) + n % QUARTERS * SLOT_BYTES;
}

static void test_slots_are_apart(void **state)
{
    (void)state;
    assert_all_but(CHUNK_SLOTS);
    for (unsigned n = 0; n < CHUNK_SLOTS; n++) {
        assert_ptr_equal(slots[n], slot_of(chunk, n));
        assert_int_equal(number_of(chunk, slots[n]), n);
    }
}

static void test_four_share_a_page(void **state)
{
    (void)state;
    for (unsigned n = 0; n < CHUNK_SLOTS; n++)
        if (!(chunk->apart >> n & 1))
            assert_memory_equal(seen_by_neighbour(n), slots[n], SLOT_BYTES);
    assert_true(chunk->apart == 0 || chunk->apart == ~FIRST_QUARTERS); /* not a part of them */
}

static void test_dropped_leaves_nothing(void **state)
{
    (void)state;
    for (unsigned n = 0; n < CHUNK_SLOTS; n++) {
        struct slot *was = slots[n];
        chunk_drop(chunk, was);
        assert_zeroes(was, SLOT_BYTES);
        assert_int_equal(chunk_room(chunk, was)->rx[0], 0);
        assert_all_but(n);
        take(n); /* and sees it zeroed */
        assert_ptr_equal(slots[n], was);
    }
}

/* Whoever gets the memfd sees one slot, and its room. */
static void assert_alone(int fd, unsigned n)
{
    uint8_t *m = mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    assert_true(m != MAP_FAILED);
    const size_t at = n % QUARTERS * SLOT_BYTES;
    assert_slot((struct slot *)(m + at), (struct slot_room *)(m + PAGE), n);
    assert_zeroes(m, at);
    assert_zeroes(m + at + SLOT_BYTES, PAGE - at - SLOT_BYTES);
    munmap(m, FILE_BYTES);
}

/* Makes what is in the room count as in use. */
static void fill_room(unsigned n)
{
    const uint8_t secret[32] = {1};
    assert_int_equal(record_keys_init(&slots[n]->rx.keys, SUITE_AES_128_GCM_SHA256, secret, sizeof secret), RESULT_OK);
    slots[n]->rx.half_len = 1;
}

static void test_exported_alone(void **state)
{
    (void)state;
    for (unsigned n = 0; n < CHUNK_SLOTS; n++) {
        fill_room(n);
        int fd = chunk_export(chunk, slots[n]);
        assert_true(fd >= 0);
        assert_true(chunk_exported(chunk, slots[n]));
        assert_alone(fd, n);
        assert_slot(slots[n], chunk_room(chunk, slots[n]), n);
        assert_all_but(n);
        if (n % QUARTERS)
            assert_zeroes(seen_by_neighbour(n), SLOT_BYTES);
        assert_int_equal(chunk_export(chunk, slots[n]), -1); /* somebody has the first one */
        close(fd);
        chunk_room(chunk, slots[n])->tx[SLOT_TX_ROOM - 1] = last_of_tx(n); /* was not in use, and has not moved */
    }
}

static void test_exported_again(void **state)
{
    (void)state;
    fill_room(6);
    for (int i = 0; i < 3; i++) {
        int fd = chunk_export(chunk, slots[6]);
        assert_true(fd >= 0);
        chunk_export_failed(chunk, slots[6]);
        assert_alone(fd, 6);
        assert_all_but(6);
        close(fd);
    }
}

static void test_imported_from_each_quarter(void **state)
{
    (void)state;
    for (unsigned n = 8; n < 8 + QUARTERS; n++) {
        struct chunk *theirs;
        fill_room(n);
        int fd = chunk_export(chunk, slots[n]);
        struct slot *s = chunk_import(fd, &theirs);
        assert_non_null(s);
        assert_slot(s, chunk_room(theirs, s), n);
        assert_zeroes(chunk_companion(theirs, s), CHUNK_COMPANION);
        s->rekey_after = 7; /* one state, whoever looks at it */
        assert_int_equal(slots[n]->rekey_after, 7);
        slots[n]->rekey_after = 1000 + n;
        chunk_drop(theirs, s);
        assert_slot(slots[n], chunk_room(chunk, slots[n]), n);
        close(fd);
    }
}

static void test_what_is_no_slot_is_not_imported(void **state)
{
    (void)state;
    struct chunk *c;
    int fd = chunk_export(chunk, slots[1]);
    assert_true(fd >= 0);
    slots[1]->layout = SLOT_LAYOUT - 1;
    assert_null(chunk_import(fd, &c));
    close(fd);
    fd = memfd_create("p2ptls", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(fd, FILE_BYTES), 0);
    assert_int_equal(pwrite(fd, &(uint32_t){SLOT_LAYOUT}, 4, 0), 4);
    assert_null(chunk_import(fd, &c)); /* it could shrink */
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    struct slot *s = chunk_import(fd, &c);
    assert_non_null(s);
    chunk_drop(c, s);
    close(fd);
    fd = memfd_create("p2ptls", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(fd, FILE_BYTES - PAGE), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    assert_null(chunk_import(fd, &c));
    close(fd);
}

/* What was exported and is given up belongs to whoever has the memfd; the place is used anew. */
static void test_place_of_an_exported_one(void **state)
{
    (void)state;
    fill_room(5);
    int fd = chunk_export(chunk, slots[5]);
    struct slot *was = slots[5];
    struct chunk *c;
    chunk_drop(chunk, slots[5]);
    slots[5] = chunk_take(&c);
    assert_ptr_equal(slots[5], was);
    assert_zeroes(slots[5], SLOT_BYTES);
    assert_int_equal(chunk_room(chunk, slots[5])->rx[0], 0);
    slots[5]->rekey_after = 3;
    assert_alone(fd, 5);
    assert_all_but(5);
    close(fd);
}

/* Slots are taken as connections come: some after others of the same page have gone to other programs. */
static void test_taken_after_an_export(unsigned exported, bool dropped)
{
    chunk_forked();
    memset(slots, 0, sizeof slots);
    for (unsigned n = 0; n <= exported; n++)
        take(n);
    fill_room(exported);
    int fd = chunk_export(chunk, slots[exported]);
    assert_true(fd >= 0);
    chunk_room(chunk, slots[exported])->tx[SLOT_TX_ROOM - 1] = last_of_tx(exported); /* was not in use */
    if (dropped)
        chunk_drop(chunk, slots[exported]);
    for (unsigned n = exported + 1; n < CHUNK_SLOTS; n++)
        take(n);
    assert_alone(fd, exported);
    if (dropped)
        take(exported);
    assert_all_but(CHUNK_SLOTS);
    close(fd);
    drop_all(NULL);
}

static void test_taken_after_exports(void **state)
{
    (void)state;
    for (unsigned n = 0; n < CHUNK_SLOTS; n++) {
        test_taken_after_an_export(n, false);
        test_taken_after_an_export(n, true);
    }
}

/* Slots are taken, and written to, whatever mremap says; where the old mapping is there still, no place is lost. */
static void test_views_refused(int error, bool late)
{
    struct slot *taken[2 * CHUNK_SLOTS];
    struct chunk *where[2 * CHUNK_SLOTS];
    chunk_forked();
    refusal = error;
    refused_late = late;
    for (unsigned n = 0; n < 2 * CHUNK_SLOTS; n++) {
        taken[n] = chunk_take(&where[n]);
        assert_non_null(taken[n]);
        assert_zeroes(taken[n], SLOT_BYTES);
        memset(taken[n], (int)n + 1, SLOT_BYTES);
        assert_true(late || where[n] == where[n - n % CHUNK_SLOTS]);
    }
    for (unsigned n = 0; n < 2 * CHUNK_SLOTS; n++) {
        assert_int_equal(*(uint8_t *)taken[n], n + 1);
        chunk_drop(where[n], taken[n]);
    }
    refusal = 0;
    refused_late = false;
}

static void test_taken_where_views_are_refused(void **state)
{
    (void)state;
    test_views_refused(EPERM, false); /* a filter */
    test_views_refused(ENOSYS, false);
    test_views_refused(EINVAL, false);
    test_views_refused(ENOMEM, true);
    test_views_refused(EAGAIN, true); /* RLIMIT_MEMLOCK, and the process has locked all it has */
}

/* What another process maps as well is neither erased nor exported. */
static void test_shared(void **state)
{
    (void)state;
    struct chunk *c;
    chunk_forked();
    assert_int_equal(chunk_export(chunk, slots[2]), -1);
    chunk_drop(chunk, slots[2]);
    assert_int_equal(slots[2]->rekey_after, 1002);
    slots[2] = NULL;
    struct slot *other = chunk_take(&c);
    assert_true(c != chunk);
    chunk_drop(c, other);
}

/* The last one that held a connection wipes it for all, and no neighbour. */
static void test_wiped_where_shared(void **state)
{
    (void)state;
    chunk_forked();
    for (unsigned n = 1; n < 4; n += 2) {
        chunk_wipe(chunk, slots[n]);
        assert_zeroes(slots[n], SLOT_BYTES);
        assert_int_equal(chunk_room(chunk, slots[n])->rx[0], 0);
        assert_int_equal(chunk_room(chunk, slots[n])->tx[SLOT_TX_ROOM - 1], 0);
        chunk_drop(chunk, slots[n]);
        slots[n] = NULL;
    }
    for (unsigned n = 0; n < CHUNK_SLOTS; n++)
        if (slots[n])
            assert_slot(slots[n], chunk_room(chunk, slots[n]), n);
}

int main(void)
{
#define IN_EACH(test)                                                                                                  \
    {"test_" #test, test_##test, take_all, drop_all, NULL},                                                            \
    {                                                                                                                  \
        "test_" #test " in a sandbox", test_##test, take_all_in_sandbox, drop_all, NULL                                \
    }
    const struct CMUnitTest tests[] = {
        IN_EACH(slots_are_apart),
        IN_EACH(four_share_a_page),
        IN_EACH(dropped_leaves_nothing),
        IN_EACH(exported_alone),
        IN_EACH(exported_again),
        IN_EACH(imported_from_each_quarter),
        IN_EACH(what_is_no_slot_is_not_imported),
        IN_EACH(place_of_an_exported_one),
        IN_EACH(shared),
        IN_EACH(wiped_where_shared),
        cmocka_unit_test(test_taken_after_exports),
        cmocka_unit_test(test_taken_where_views_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
