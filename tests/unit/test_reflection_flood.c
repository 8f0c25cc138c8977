/* Strangers that keep many connections half open under a pre-shared key: what is left of the registry of open hellos.
 */
#include "handshake_help.h"

#include "reflection.h"

static struct reflection *registry;
static struct identity *psk;

static const struct reflection_ends there = {1, {{1}, {0, 1}}, {{2}, {0, 2}}}, back = {1, {{2}, {0, 2}}, {{1}, {0, 1}}};
static const struct forced_value low = {{1, 2, 3}}, high = {{200, 2, 3}};

static struct reflection *open_registry(void)
{
    struct reflection *r;
    char why[REFLECTION_WHY_MAX] = "";
    if (reflection_open(in_folder("state"), NULL, NULL, &r, why) != RESULT_OK)
        fail_msg("not opened: %s", why);
    return r;
}

static struct handshake_config node(bool connected_side, const struct forced_value *value,
                                    const struct reflection_ends *ends)
{
    return (struct handshake_config){.effective = ROLE_PEER,
                                     .speaks_first = true,
                                     .connected_side = connected_side,
                                     .identity = psk,
                                     .random = {fill_forced, (void *)value},
                                     .reflection = registry,
                                     .ends = *ends,
                                     .lifetime_ms = 60000};
}

/* Of the accepting side; returns how many there was room for. */
static int flood(struct reflection *r, uint8_t process, struct reflection_note *notes, int most)
{
    int kept = 0;
    for (; kept < most; kept++) {
        uint8_t random[REFLECTION_RANDOM] = {(uint8_t)(kept * 7), (uint8_t)(kept >> 4), process, (uint8_t)kept,
                                             (uint8_t)(kept >> 8)};
        enum result result = reflection_keep(r, REFLECTION_ACCEPTED, random, &there, 60000, &notes[kept]);
        if (result != RESULT_OK) {
            assert_int_equal(result, RESULT_AGAIN);
            break;
        }
    }
    return kept;
}

static void a_process_that_strangers_flood_leaves_room_for_others_and_for_outgoing_connections(void **state)
{
    enum { MOST = 10000, SHARE = 2048 };
    struct reflection_note *notes = calloc(2 * MOST, sizeof *notes), *others = notes + MOST;
    struct reflection *other_process = open_registry();
    const uint8_t own[REFLECTION_RANDOM] = {9}, first[REFLECTION_RANDOM] = {0, 0, 1};
    struct reflection_note note;

    (void)state;
    assert_non_null(notes);
    assert_false(reflection_is_crowded(registry, REFLECTION_ACCEPTED));
    assert_int_equal(flood(registry, 1, notes, MOST), SHARE);
    assert_true(reflection_is_crowded(registry, REFLECTION_ACCEPTED));
    assert_false(reflection_is_crowded(registry, REFLECTION_CONNECTED));
    assert_int_equal(reflection_keep(registry, REFLECTION_CONNECTED, own, &there, 60000, &note), RESULT_OK);
    assert_int_equal(reflection_look(other_process, own, &there), RESULT_PROTOCOL);
    reflection_forget(registry, own, &note);
    assert_int_equal(flood(other_process, 2, others, 100), 100);
    reflection_close(other_process);

    assert_int_equal(reflection_look(registry, first, &there), RESULT_PROTOCOL);
    reflection_forget(registry, first, &notes[0]);
    assert_int_equal(reflection_look(registry, first, &there), RESULT_OK);
    assert_int_equal(flood(registry, 3, others, MOST), 1);
    reflection_forget(registry, first, &notes[0]); /* again: nothing */
    assert_true(reflection_is_crowded(registry, REFLECTION_ACCEPTED));
    reflection_relock(registry); /* as in a child: its parent's are not its own */
    assert_false(reflection_is_crowded(registry, REFLECTION_ACCEPTED));
    assert_int_equal(truncate(in_folder("state/hellos"), 0), 0);
    free(notes);
}

static void a_flooded_acceptor_still_serves_who_speaks(void **state)
{
    struct reflection_note *notes = calloc(10000, sizeof *notes);
    struct handshake_config a = node(true, &high, &there), b = node(false, &low, &back);
    struct handshake *hs;
    char why[HANDSHAKE_WHY_MAX];

    (void)state;
    assert_non_null(notes);
    (void)flood(registry, 4, notes, 10000);
    struct pair_of_sides *pair = pair_new(a, b);
    pair_run(pair);
    assert_both_done(pair);
    sides_free(pair);
    b.effective = ROLE_CLIENT; /* it has to speak */
    assert_int_equal(handshake_new(&b, &hs, why), RESULT_IO);
    assert_non_null(strstr(why, "too many handshakes of accepted connections"));
    reflection_relock(registry);
    assert_int_equal(truncate(in_folder("state/hellos"), 0), 0);
    free(notes);
}

static int setup(void **state)
{
    if (folder_make(state) != 0)
        return -1;
    psk = load_psk("psk", PSK_ALICE);
    registry = open_registry();
    return 0;
}

static int teardown(void **state)
{
    identity_unref(psk);
    reflection_close(registry);
    return folder_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_process_that_strangers_flood_leaves_room_for_others_and_for_outgoing_connections),
        cmocka_unit_test(a_flooded_acceptor_still_serves_who_speaks),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
