/* A node that is made to talk to itself under a pre-shared key: the registry of open hellos, and the handshakes that
 * ask it. */
#include "handshake_help.h"

#include "reflection.h"

#include <gnutls/crypto.h>
#include <sys/wait.h>

static struct reflection *registry;
static struct identity *psk;
static const enum reflection_side ours = REFLECTION_CONNECTED;

static const struct reflection_ends there = {1, {{1}, {0, 1}}, {{2}, {0, 2}}}, back = {1, {{2}, {0, 2}}, {{1}, {0, 1}}},
                                    elsewhere = {1, {{3}, {0, 3}}, {{4}, {0, 4}}}, unknown = {0};

static const uint8_t *random_of(uint8_t n)
{
    static uint8_t randoms[256][REFLECTION_RANDOM];
    memset(randoms[n], n, REFLECTION_RANDOM);
    return randoms[n];
}

static struct reflection *open_registry(const char *state_dir)
{
    struct reflection *r;
    char why[REFLECTION_WHY_MAX] = "";
    if (reflection_open(state_dir, NULL, NULL, &r, why) != RESULT_OK)
        fail_msg("not opened: %s", why);
    return r;
}

static struct reflection_note keep(struct reflection *r, uint8_t n, const struct reflection_ends *ends)
{
    struct reflection_note note = {0};
    assert_int_equal(reflection_keep(r, ours, random_of(n), ends, 60000, &note), RESULT_OK);
    assert_false(reflection_expired(&note));
    return note;
}

static void an_open_hello_is_found_until_it_is_forgotten(void **state)
{
    struct reflection *same_file = open_registry(in_folder("state"));

    (void)state;
    assert_int_equal(reflection_look(registry, random_of(1), &elsewhere), RESULT_OK);
    struct reflection_note note = keep(registry, 1, &there);
    assert_int_equal(reflection_look(registry, random_of(1), &elsewhere), RESULT_PROTOCOL);
    assert_int_equal(reflection_look(same_file, random_of(1), &elsewhere), RESULT_PROTOCOL);
    assert_int_equal(reflection_look(registry, random_of(2), &elsewhere), RESULT_OK);
    reflection_forget(registry, random_of(1), &note);
    assert_int_equal(reflection_look(registry, random_of(1), &elsewhere), RESULT_OK);
    reflection_forget(registry, random_of(1), &note); /* again: nothing */
    reflection_close(same_file);
}

static void only_ends_that_mirror_each_other_belong_together(void **state)
{
    struct reflection_ends other_port = back;
    other_port.local.port[1]++;
    const struct {
        const struct reflection_ends *of_hello, *of_server;
        enum result result;
    } table[] = {
        {&there, &back, RESULT_OK},
        {&back, &there, RESULT_OK},
        {&there, &there, RESULT_PROTOCOL},
        {&there, &elsewhere, RESULT_PROTOCOL},
        {&unknown, &back, RESULT_PROTOCOL},
        {&there, &unknown, RESULT_PROTOCOL},
        {&there, &other_port, RESULT_PROTOCOL},
        {&unknown, &unknown, RESULT_PROTOCOL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct reflection_note note = keep(registry, 3, table[i].of_hello);
        assert_int_equal(reflection_look(registry, random_of(3), table[i].of_server), table[i].result);
        reflection_forget(registry, random_of(3), &note);
    }
}

static void an_entry_ends_with_its_time(void **state)
{
    struct reflection_note note = {0};

    (void)state;
    assert_int_equal(reflection_keep(registry, ours, random_of(4), &there, 0, &note), RESULT_OK);
    assert_true(reflection_expired(&note));
    assert_int_equal(reflection_look(registry, random_of(4), &elsewhere), RESULT_OK);
    reflection_forget(registry, random_of(4), &note);
}

/* All of these begin at one place of the table. */
static const uint8_t *crowded(uint8_t n)
{
    static uint8_t random[REFLECTION_RANDOM];
    memset(random, 0xff, sizeof random);
    random[2] = n;
    return random;
}

static void a_full_window_keeps_no_more_and_old_entries_make_room(void **state)
{
    struct reflection_note notes[65] = {0};
    int kept = 0;

    (void)state;
    while (kept < 65 &&
           reflection_keep(registry, ours, crowded((uint8_t)kept), &there, 60000, &notes[kept]) == RESULT_OK)
        kept++;
    assert_int_equal(kept, 64);
    for (int i = 0; i < kept; i++)
        assert_int_equal(reflection_look(registry, crowded((uint8_t)i), &elsewhere), RESULT_PROTOCOL);
    reflection_forget(registry, crowded(7), &notes[7]);
    assert_int_equal(reflection_keep(registry, ours, crowded(64), &there, 60000, &notes[7]), RESULT_OK);
    assert_int_equal(reflection_look(registry, crowded(64), &elsewhere), RESULT_PROTOCOL);
    for (int i = 0; i < kept; i++)
        reflection_forget(registry, crowded((uint8_t)(i == 7 ? 64 : i)), &notes[i]);
}

/* A child holds a copy of its parent's handshakes, and drops it. */
static void a_child_does_not_forget_what_its_parent_has_open(void **state)
{
    struct reflection_note note = keep(registry, 5, &there);

    (void)state;
    pid_t child = fork();
    if (child == 0) {
        reflection_relock(registry);
        reflection_forget(registry, random_of(5), &note);
        struct reflection_note own = {0};
        bool found = reflection_look(registry, random_of(5), &elsewhere) == RESULT_PROTOCOL;
        bool kept = reflection_keep(registry, ours, random_of(6), &there, 60000, &own) == RESULT_OK;
        _exit(found && kept ? 0 : 1); /* dies with an entry open */
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(reflection_look(registry, random_of(5), &elsewhere), RESULT_PROTOCOL);
    assert_int_equal(reflection_look(registry, random_of(6), &elsewhere), RESULT_PROTOCOL);
    reflection_forget(registry, random_of(5), &note);
}

/* Processes that add and remove as fast as they can lose none of each other's entries. */
static void many_processes_share_it(void **state)
{
    enum { PROCESSES = 4, ROUNDS = 300 };

    (void)state;
    for (int p = 0; p < PROCESSES; p++) {
        if (fork() != 0)
            continue;
        reflection_relock(registry);
        int bad = 0;
        for (int i = 0; i < ROUNDS; i++) {
            uint8_t random[REFLECTION_RANDOM] = {0xaa, 0xaa, (uint8_t)p, (uint8_t)i, (uint8_t)(i >> 8)};
            struct reflection_note note = {0};
            bad |= reflection_keep(registry, ours, random, &there, 60000, &note) != RESULT_OK;
            bad |= reflection_look(registry, random, &elsewhere) != RESULT_PROTOCOL;
            reflection_forget(registry, random, &note);
            bad |= reflection_look(registry, random, &elsewhere) != RESULT_OK;
        }
        _exit(bad);
    }
    for (int p = 0; p < PROCESSES; p++) {
        int status;
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
}

static void whatever_is_in_the_file_does_no_harm(void **state)
{
    struct reflection *r = open_registry(in_folder("garbage"));
    const char *path = in_folder("garbage/hellos");
    uint8_t noise[4096];

    (void)state;
    for (int i = 0; i < 200; i++) {
        assert_true(gnutls_rnd(GNUTLS_RND_NONCE, noise, sizeof noise) >= 0);
        if (i % 2)
            memset(noise, i, sizeof noise);
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(pwrite(fd, noise, sizeof noise, (off_t)i * 3001), (ssize_t)sizeof noise);
        if (i % 50 == 49)
            assert_int_equal(ftruncate(fd, i), 0);
        close(fd);
        struct reflection_note note = {0};
        assert_int_equal(reflection_keep(r, ours, random_of((uint8_t)i), &there, 1000, &note), RESULT_OK);
        assert_int_equal(reflection_look(r, random_of((uint8_t)i), &elsewhere), RESULT_PROTOCOL);
        reflection_forget(r, random_of((uint8_t)i), &note);
    }
    reflection_close(r);
}

/* A process that keeps the lock stops nobody: a hostile child may have inherited the file. */
static void a_lock_that_is_kept_stops_nobody(void **state)
{
    int ready[2], done[2];
    char byte;

    (void)state;
    assert_int_equal(pipe(ready) | pipe(done), 0);
    pid_t child = fork();
    if (child == 0) {
        struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        int fd = open(in_folder("state/hellos"), O_RDWR | O_CLOEXEC);
        byte = fcntl(fd, F_SETLK, &l) == 0;
        _exit(write(ready[1], &byte, 1) != 1 || read(done[0], &byte, 1) != 1);
    }
    assert_true(read(ready[0], &byte, 1) == 1 && byte == 1);
    struct reflection_note note = {0};
    for (uint8_t i = 8; i < 40; i++) { /* the first one waits for a while, the others do not */
        assert_int_equal(reflection_keep(registry, ours, random_of(i), &there, 60000, &note), RESULT_OK);
        assert_int_equal(reflection_look(registry, random_of(i), &elsewhere), RESULT_PROTOCOL);
        reflection_forget(registry, random_of(i), &note);
        assert_int_equal(reflection_look(registry, random_of(i), &elsewhere), RESULT_OK);
    }
    assert_int_equal(write(done[1], &byte, 1), 1);
    assert_int_equal(waitpid(child, NULL, 0), child);
    note = keep(registry, 8, &there);
    reflection_forget(registry, random_of(8), &note);
    for (int i = 0; i < 2; i++) {
        close(ready[i]);
        close(done[i]);
    }
}

static void open_refused(const char *state_dir, const char *fallback, const char *part)
{
    struct reflection *r;
    char why[REFLECTION_WHY_MAX] = "";

    assert_int_equal(reflection_open(state_dir, fallback, NULL, &r, why), RESULT_CONFIG);
    assert_null(r);
    if (!strstr(why, part) || !strstr(why, "certificates"))
        fail_msg("expected a sentence with: %s\nfound: %s", part, why);
}

static void a_file_that_is_not_ours_alone_is_not_used(void **state)
{
    char target[256];

    (void)state;
    open_refused(NULL, NULL, "HOME");
    assert_int_equal(mkdir(in_folder("odd"), 0700), 0);
    write_text("odd/hellos", "", 0644);
    open_refused(in_folder("odd"), NULL, "chmod 600");
    write_text("target", "", 0600);
    snprintf(target, sizeof target, "%s", in_folder("target"));
    assert_int_equal(unlink(in_folder("odd/hellos")), 0);
    assert_int_equal(symlink(target, in_folder("odd/hellos")), 0);
    open_refused(in_folder("odd"), NULL, "symbolic links");
    assert_int_equal(unlink(in_folder("odd/hellos")), 0);
    assert_int_equal(mkfifo(in_folder("odd/hellos"), 0600), 0);
    open_refused(in_folder("odd"), NULL, "no regular file");
    open_refused(in_folder("odd"), in_folder("odd/hellos"), "no regular file");
    if (geteuid() == 0) {
        const char *theirs = write_text("theirs", "", 0600);
        assert_int_equal(chown(theirs, 65534, 65534), 0);
        open_refused(NULL, theirs, "another user");
    }
}

static void without_a_state_folder_the_fallback_is_used(void **state)
{
    struct reflection *r;
    char why[REFLECTION_WHY_MAX];

    (void)state;
    assert_int_equal(reflection_open(NULL, in_folder("fallback"), NULL, &r, why), RESULT_OK);
    struct reflection_note note = keep(r, 9, &there);
    assert_int_equal(access(in_folder("fallback"), F_OK), 0);
    reflection_forget(r, random_of(9), &note);
    reflection_close(r);
}

static void in_a_sandbox_every_question_is_an_error(void **state)
{
    struct reflection_note note = keep(registry, 10, &there), none = {0};

    (void)state;
    reflection_sandbox(true);
    assert_int_equal(reflection_keep(registry, ours, random_of(11), &there, 1000, &none), RESULT_IO);
    assert_int_equal(reflection_look(registry, random_of(11), &there), RESULT_IO);
    reflection_sandbox(false);
    reflection_forget(registry, random_of(10), &note);
}

/* ---- handshakes ---- */

static struct handshake_config node(enum role_set role, const struct forced_value *value,
                                    const struct reflection_ends *ends)
{
    return (struct handshake_config){.effective = role,
                                     .speaks_first = role != ROLE_SERVER,
                                     .identity = psk,
                                     .random = {fill_forced, (void *)value},
                                     .reflection = registry,
                                     .ends = *ends,
                                     .lifetime_ms = 60000};
}

static const struct forced_value low = {{1, 2, 3}}, high = {{200, 2, 3}};

static const struct {
    enum role_set a, b;
} role_pairs[] = {{ROLE_PEER, ROLE_PEER},   {ROLE_CLIENT, ROLE_SERVER}, {ROLE_SERVER, ROLE_CLIENT},
                  {ROLE_PEER, ROLE_SERVER}, {ROLE_SERVER, ROLE_PEER},   {ROLE_CLIENT, ROLE_PEER},
                  {ROLE_PEER, ROLE_CLIENT}};

static void run_both(size_t i, bool turned, const struct reflection_ends *ends_a, const struct reflection_ends *ends_b,
                     bool through)
{
    struct handshake_config a = node(role_pairs[i].a, turned ? &high : &low, ends_a),
                            b = node(role_pairs[i].b, turned ? &low : &high, ends_b);
    struct pair_of_sides *pair = pair_new(a, b);

    pair_run(pair);
    if (through) {
        assert_both_done(pair);
    } else {
        const struct handshake *refuser = strstr(handshake_why(pair->a.hs), "detour") ? pair->a.hs : pair->b.hs;
        assert_refused(refuser, RESULT_PROTOCOL, "detour");
        assert_int_not_equal(handshake_state(pair->a.hs), RESULT_OK);
        assert_int_not_equal(handshake_state(pair->b.hs), RESULT_OK);
    }
    sides_free(pair);
}

static void two_connections_of_one_node_that_are_wired_together_are_refused_in_all_roles(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof role_pairs / sizeof role_pairs[0]; i++)
        for (int turned = 0; turned < 2; turned++) {
            run_both(i, turned, &there, &elsewhere, false);
            run_both(i, turned, &unknown, &unknown, false);
        }
}

static void a_program_that_connects_to_itself_works_in_all_roles(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof role_pairs / sizeof role_pairs[0]; i++)
        for (int turned = 0; turned < 2; turned++)
            run_both(i, turned, &there, &back, true);
}

static void two_nodes_of_a_group_work_through_a_relay(void **state)
{
    struct reflection *other = open_registry(in_folder("other-node"));

    (void)state;
    for (size_t i = 0; i < sizeof role_pairs / sizeof role_pairs[0]; i++) {
        struct handshake_config a = node(role_pairs[i].a, &low, &there), b = node(role_pairs[i].b, &high, &elsewhere);
        b.reflection = other;
        struct pair_of_sides *pair = pair_new(a, b);
        pair_run(pair);
        assert_both_done(pair);
        sides_free(pair);
    }
    reflection_close(other);
}

static void nothing_is_left_in_the_registry_after_a_handshake(void **state)
{
    struct handshake *hs = make_handshake(node(ROLE_CLIENT, &low, &there));
    uint8_t random[REFLECTION_RANDOM];
    size_t len;

    (void)state;
    memcpy(random, handshake_output(hs, &len) + RECORD_HEADER + 4 + 2, sizeof random);
    assert_int_equal(reflection_look(registry, random, &elsewhere), RESULT_PROTOCOL);
    handshake_free(hs);
    assert_int_equal(reflection_look(registry, random, &elsewhere), RESULT_OK);
}

static void an_answer_that_comes_after_the_time_for_it_is_refused(void **state)
{
    struct handshake_config a = node(ROLE_CLIENT, &low, &there), b = node(ROLE_SERVER, &high, &elsewhere);

    (void)state;
    a.lifetime_ms = 0;
    struct pair_of_sides *pair = pair_new(a, b);
    pair_run(pair);
    assert_refused(pair->a.hs, RESULT_TIMEOUT, "reflection");
    assert_int_not_equal(handshake_state(pair->b.hs), RESULT_OK);
    sides_free(pair);
}

static void without_the_registry_no_hello_leaves_and_none_is_answered(void **state)
{
    struct handshake_config a = node(ROLE_CLIENT, &low, &there), b = node(ROLE_SERVER, &high, &back);
    struct handshake *hs;
    char why[HANDSHAKE_WHY_MAX];

    (void)state;
    struct pair_of_sides *pair = pair_new(a, b);
    reflection_sandbox(true);
    assert_int_equal(handshake_new(&a, &hs, why), RESULT_IO);
    assert_non_null(strstr(why, "hellos"));
    pair_run(pair);
    reflection_sandbox(false);
    assert_refused(pair->b.hs, RESULT_IO, "hellos");
    assert_int_not_equal(handshake_state(pair->a.hs), RESULT_OK);
    sides_free(pair);
}

static int setup(void **state)
{
    if (folder_make(state) != 0)
        return -1;
    psk = load_psk("psk", PSK_ALICE);
    registry = open_registry(in_folder("state"));
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
        cmocka_unit_test(an_open_hello_is_found_until_it_is_forgotten),
        cmocka_unit_test(only_ends_that_mirror_each_other_belong_together),
        cmocka_unit_test(an_entry_ends_with_its_time),
        cmocka_unit_test(a_full_window_keeps_no_more_and_old_entries_make_room),
        cmocka_unit_test(a_child_does_not_forget_what_its_parent_has_open),
        cmocka_unit_test(many_processes_share_it),
        cmocka_unit_test(whatever_is_in_the_file_does_no_harm),
        cmocka_unit_test(a_lock_that_is_kept_stops_nobody),
        cmocka_unit_test(a_file_that_is_not_ours_alone_is_not_used),
        cmocka_unit_test(without_a_state_folder_the_fallback_is_used),
        cmocka_unit_test(in_a_sandbox_every_question_is_an_error),
        cmocka_unit_test(two_connections_of_one_node_that_are_wired_together_are_refused_in_all_roles),
        cmocka_unit_test(a_program_that_connects_to_itself_works_in_all_roles),
        cmocka_unit_test(two_nodes_of_a_group_work_through_a_relay),
        cmocka_unit_test(nothing_is_left_in_the_registry_after_a_handshake),
        cmocka_unit_test(an_answer_that_comes_after_the_time_for_it_is_refused),
        cmocka_unit_test(without_the_registry_no_hello_leaves_and_none_is_answered),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
