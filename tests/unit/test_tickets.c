/* What a process keeps of tickets: bounds, lifetimes, keys, and what a fork does to them. */
#include "resume_help.h"

#include <gnutls/crypto.h>
#include <sys/wait.h>

static struct certificate ca, alice, bob;
static struct identity *alice_id, *bob_id;

static struct ticket *make_ticket(size_t len)
{
    static uint8_t bytes[TICKET_BYTES_MAX];
    const gnutls_datum_t session = {bytes, (unsigned)len};

    return ticket_new(&session, NULL, 0, false);
}

static struct ticket_place numbered(int n)
{
    struct ticket_place place = {{0}};

    memcpy(place.digest, &n, sizeof n);
    return place;
}

static void keep(int place, uint8_t mark, uint32_t lifetime_s, time_t expires)
{
    const struct ticket_place p = numbered(place);
    struct ticket *t = make_ticket(100);

    assert_non_null(t);
    t->session.data[0] = mark;
    tickets_keep(&p, alice_id, t, lifetime_s, expires);
}

/* -1: none */
static int take(int place)
{
    const struct ticket_place p = numbered(place);
    struct ticket *t = tickets_take(&p);
    const int mark = t ? t->session.data[0] : -1;

    ticket_free(t);
    return mark;
}

static void the_newest_of_a_place_comes_first_and_each_but_once(void **state)
{
    (void)state;
    for (uint8_t i = 0; i < 3; i++)
        keep(1, i, 100, 0);
    keep(2, 9, 100, 0);
    assert_int_equal(take(1), 2);
    assert_int_equal(take(1), 1);
    assert_int_equal(take(1), 0);
    assert_int_equal(take(1), -1);
    assert_int_equal(take(2), 9);
}

static void a_place_has_eight_and_a_process_some_hundred(void **state)
{
    const struct ticket_place one = numbered(1);

    (void)state;
    for (uint8_t i = 0; i < TICKETS_EACH; i++) {
        assert_true(tickets_wanted(&one));
        keep(1, i, 100, 0);
    }
    assert_false(tickets_wanted(&one));
    keep(1, 100, 100, 0); /* it comes all the same: the oldest gives way */
    assert_int_equal(tickets_count(), TICKETS_EACH);
    assert_int_equal(take(1), 100);
    for (int i = TICKETS_EACH - 1; i > 0; i--)
        assert_int_equal(take(1), i);
    assert_int_equal(take(1), -1);
    for (int i = 0; i < 2 * TICKETS_ALL; i++)
        keep(i, 0, 100, 0);
    assert_int_equal(tickets_count(), TICKETS_ALL);
    assert_int_equal(take(TICKETS_ALL - 1), -1);
    assert_int_equal(take(TICKETS_ALL), 0);
    tickets_forget(identity_serial(alice_id));
    assert_int_equal(tickets_count(), 0);
}

static void their_bytes_are_bounded(void **state)
{
    enum { LARGE = TICKET_BYTES_MAX - 200, FIT = TICKETS_BYTES / TICKET_BYTES_MAX };

    (void)state;
    assert_null(make_ticket(TICKET_BYTES_MAX));
    for (int i = 0; i < 2 * FIT; i++) {
        const struct ticket_place p = numbered(i);
        struct ticket *t = make_ticket(LARGE);
        assert_non_null(t);
        tickets_keep(&p, alice_id, t, 100, 0);
    }
    assert_in_range(tickets_count(), FIT, FIT + 2);
    tickets_forget(identity_serial(alice_id));
}

static void a_ticket_ends_with_its_lifetime_and_ours_and_with_the_certificate(void **state)
{
    (void)state;
    keep(1, 1, 10, 0);
    tickets_clock_forward(9000);
    keep(2, 2, 10, 0);
    tickets_clock_forward(1001);
    assert_int_equal(take(1), -1);
    assert_int_equal(take(2), 2);
    keep(1, 1, UINT32_MAX, 0);
    tickets_clock_forward((int64_t)TICKET_LIFETIME_S * 1000 + 1);
    assert_int_equal(take(1), -1);
    keep(1, 1, 0, 0);
    assert_int_equal(take(1), -1);
    keep(1, 1, 100, time(NULL) - 1);
    assert_int_equal(take(1), -1);
    keep(1, 1, 100, time(NULL) + 1000);
    assert_int_equal(take(1), 1);
    assert_int_equal(tickets_count(), 0);
}

static void three_rejections_in_a_row_end_the_offers_of_a_place_for_a_while(void **state)
{
    const struct ticket_place one = numbered(1), two = numbered(2);

    (void)state;
    tickets_told(&one, false);
    tickets_told(&one, false);
    tickets_told(&one, true);
    tickets_told(&one, false);
    tickets_told(&one, false);
    assert_true(tickets_wanted(&one));
    tickets_told(&one, false);
    assert_false(tickets_wanted(&one));
    assert_true(tickets_wanted(&two));
    tickets_clock_forward(TICKET_GIVE_UP_MS + 1);
    assert_true(tickets_wanted(&one));
    tickets_told(&one, true);
    for (int i = 0; i < 1000; i++) { /* many places are no burden */
        const struct ticket_place p = numbered(i);
        for (int k = 0; k < TICKET_GIVE_UP; k++)
            tickets_told(&p, false);
    }
    const struct ticket_place last = numbered(999);
    assert_false(tickets_wanted(&last));
    assert_true(tickets_wanted(&one));
    tickets_clock_forward(TICKET_GIVE_UP_MS + 1);
}

/* ---- keys ---------------------------------------------------------------------------------------------------------
 */

static void key_of(const struct identity *id, const char *binding, uint8_t key[TICKET_KEY_BYTES])
{
    assert_int_equal(tickets_key(id, (const uint8_t *)binding, strlen(binding), key), RESULT_OK);
}

static void a_key_is_of_one_identity_and_one_binding_and_for_two_hours(void **state)
{
    uint8_t key[5][TICKET_KEY_BYTES];

    (void)state;
    key_of(alice_id, "one", key[0]);
    key_of(alice_id, "one", key[1]);
    assert_memory_equal(key[0], key[1], TICKET_KEY_BYTES);
    key_of(alice_id, "two", key[1]);
    key_of(bob_id, "one", key[2]);
    tickets_clock_forward((int64_t)TICKET_LIFETIME_S * 1000 + 1);
    key_of(alice_id, "one", key[3]);
    tickets_forked(false);
    key_of(alice_id, "one", key[4]);
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < i; k++)
            assert_memory_not_equal(key[i], key[k], TICKET_KEY_BYTES);
}

/* As the library does it around fork: neither process goes on with what the other one has. */
static void after_a_fork_parent_and_child_have_keys_of_their_own_and_the_child_no_tickets(void **state)
{
    uint8_t before[TICKET_KEY_BYTES], parent[TICKET_KEY_BYTES], child[TICKET_KEY_BYTES + 1];
    int fds[2], status;

    (void)state;
    keep(1, 1, 100, 0);
    key_of(alice_id, "one", before);
    assert_int_equal(pipe(fds), 0);
    const pid_t pid = fork();
    if (pid == 0) {
        tickets_forked(true);
        const bool ok = tickets_key(alice_id, (const uint8_t *)"one", 3, child) == RESULT_OK;
        child[TICKET_KEY_BYTES] = (uint8_t)tickets_count();
        _exit(ok && write(fds[1], child, sizeof child) == sizeof child ? 0 : 1);
    }
    tickets_forked(false);
    key_of(alice_id, "one", parent);
    assert_int_equal(read(fds[0], child, sizeof child), sizeof child);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(child[TICKET_KEY_BYTES], 0);
    assert_int_equal(take(1), 1);
    assert_memory_not_equal(before, parent, TICKET_KEY_BYTES);
    assert_memory_not_equal(before, child, TICKET_KEY_BYTES);
    assert_memory_not_equal(parent, child, TICKET_KEY_BYTES);
    close(fds[0]);
    close(fds[1]);
}

static int setup(void **state)
{
    if (folder_make(state) != 0)
        return -1;
    ca = make_certificate((struct certificate_spec){.name = "CA", .is_ca = true});
    alice = issue("Alice", "alice.example", &ca);
    bob = issue("Bob", "bob.example", &ca);
    alice_id = load_files(&alice, &ca);
    bob_id = load_files(&bob, &ca);
    return 0;
}

static int teardown(void **state)
{
    identity_unref(alice_id);
    identity_unref(bob_id);
    free_certificate(&ca);
    free_certificate(&alice);
    free_certificate(&bob);
    return folder_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_of_a_place_comes_first_and_each_but_once),
        cmocka_unit_test(a_place_has_eight_and_a_process_some_hundred),
        cmocka_unit_test(their_bytes_are_bounded),
        cmocka_unit_test(a_ticket_ends_with_its_lifetime_and_ours_and_with_the_certificate),
        cmocka_unit_test(three_rejections_in_a_row_end_the_offers_of_a_place_for_a_while),
        cmocka_unit_test(a_key_is_of_one_identity_and_one_binding_and_for_two_hours),
        cmocka_unit_test(after_a_fork_parent_and_child_have_keys_of_their_own_and_the_child_no_tickets),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
