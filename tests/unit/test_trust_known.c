/* known-peers=: trust on first use, in SSH's manner; in both TLS roles. */
#include "trust_help.h"

#include "trust_known.h"

#include <sys/resource.h>
#include <sys/wait.h>

static struct certificate one, two;

static int make_all(void **state)
{
    one = make_certificate((struct certificate_spec){.name = "one"});
    two = make_certificate((struct certificate_spec){.name = "two"});
    return folder_make(state);
}

static int free_all(void **state)
{
    free_certificate(&one);
    free_certificate(&two);
    return folder_remove(state);
}

static const struct show show_one = {.chain = {&one}, .count = 1}, show_two = {.chain = {&two}, .count = 1};

static struct policy_trust trust_at(const char *path)
{
    return trust_of((struct policy_trust){.known_peers = path}, NULL);
}

static struct identity_expectation dial(const char *name, uint16_t port)
{
    return (struct identity_expectation){.dialled_name = name, .port = port, .connected_side = true};
}

static const char *content(const char *path)
{
    static char text[4096];
    FILE *f = fopen(path, "re");

    assert_non_null(f);
    const size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = '\0';
    fclose(f);
    return text;
}

static unsigned lines_of(const char *path)
{
    unsigned n = 0;

    for (const char *c = content(path); *c; c++)
        n += *c == '\n';
    return n;
}

static void the_first_contact_is_recorded_and_the_key_stays(void **state)
{
    const char *path = in_folder("new/known_peers");
    const struct policy_trust trust = trust_at(path);
    char wanted[200];
    struct stat st;

    (void)state;
    accepts(&trust, &show_one, dial("Db.Example.org.", 5432)); /* both roles: the second finds the record */
    assert_int_equal(lines_of(path), 1);
    snprintf(wanted, sizeof wanted, "db.example.org:5432 %s 20", pin_of(&one));
    assert_memory_equal(content(path), wanted, strlen(wanted));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(stat(in_folder("new"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    accepts(&trust, &show_one, dial("db.example.org", 5433));
    assert_int_equal(lines_of(path), 2);
    accepts(&trust, &show_two, dial("fe80::1", 1));
    assert_non_null(strstr(content(path), "\n[fe80::1]:1 sha256:"));
}

static void a_changed_key_is_refused_with_both_and_the_command(void **state)
{
    const char *path = in_folder("changed");
    const struct policy_trust trust = trust_at(path);
    char command[700];

    (void)state;
    accepts(&trust, &show_one, dial("db.example.org", 5432));
    refuses(&trust, &show_two, dial("db.example.org", 5432), pin_of(&one));
    snprintf(command, sizeof command, "if not: p2ptls trust add -f %s db.example.org:5432 %s", path, pin_of(&two));
    refuses(&trust, &show_two, dial("db.example.org", 5432), command);
    assert_int_equal(lines_of(path), 1);
    accepts(&trust, &show_two, dial("db.example.org", 5433)); /* another port is another peer */
    accepts(&trust, &show_one, dial("fe80::2", 7));
    snprintf(command, sizeof command, "p2ptls trust add -f %s [fe80::2]:7 %s", path, pin_of(&two));
    refuses(&trust, &show_two, dial("fe80::2", 7), command);
}

static void a_name_needs_not_be_in_the_certificate_and_raw_keys_are_recorded_alike(void **state)
{
    const struct policy_trust trust = trust_at(in_folder("raw"));
    struct show raw = show_one;

    (void)state;
    raw.raw = true;
    accepts(&trust, &raw, dial("db.example.org", 5432));
    accepts(&trust, &show_one, dial("db.example.org", 5432)); /* the same key in a certificate */
    raw.chain[0] = &two;
    refuses(&trust, &raw, dial("db.example.org", 5432), "the raw public key of the remote side has the key sha256:");
}

static void who_accepts_takes_recorded_keys_only(void **state)
{
    const char *path = in_folder("accepting");
    const struct policy_trust trust = trust_at(path);
    const struct identity_expectation accepting = {0};

    (void)state;
    char command[700], line[200];

    snprintf(command, sizeof command, "is not recorded; if it may connect here: p2ptls trust add -f %s accept %s", path,
             pin_of(&one));
    refuses(&trust, &show_one, accepting, command);
    assert_int_equal(access(path, F_OK), -1);
    snprintf(line, sizeof line, "# mine\naccept %s alice\n", pin_of(&one));
    write_text("accepting", line, 0600);
    accepts(&trust, &show_one, accepting);
    refuses(&trust, &show_two, accepting, "is not recorded; if it may connect here");
    snprintf(line, sizeof line, "accept %s alice\naccept %s bob\n", pin_of(&one), pin_of(&two));
    write_text("accepting", line, 0600);
    accepts(&trust, &show_one, accepting);
    accepts(&trust, &show_two, accepting);
}

/* SSH keeps known_hosts and authorized_keys apart. */
static void whom_this_side_has_dialled_may_not_connect_to_it_by_that(void **state)
{
    const struct policy_trust trust = trust_at(in_folder("apart"));
    const struct identity_expectation accepting = {0};
    char line[200];

    (void)state;
    accepts(&trust, &show_one, dial("any.example.org", 1));
    refuses(&trust, &show_one, accepting, "is recorded for connecting to any.example.org:1 alone; if it may connect");
    refuses(&trust, &show_one, (struct identity_expectation){.connected_side = true}, "nobody knows what was dialled");
    snprintf(line, sizeof line, "accept %s\n", pin_of(&two));
    write_text("apart", line, 0600);
    accepts(&trust, &show_two, accepting);
    accepts(&trust, &show_one, dial("any.example.org", 1)); /* whom it accepts is no known server */
    refuses(&trust, &show_two, dial("any.example.org", 1), "but the one recorded is");
}

static void a_line_added_by_hand_counts_at_once(void **state)
{
    const char *path = write_text("hand", "# comment\n\n", 0600);
    const struct policy_trust trust = trust_at(path);
    struct trust_store *store = store_ok(&trust);
    struct identity_expectation expect = dial("db.example.org", 5432);
    char text[400], why[IDENTITY_WHY_MAX];
    uint8_t alert;

    (void)state;
    struct meeting m = meet(&show_one, true);
    assert_int_equal(ask_judge(store, m.judge, &expect, NULL, &alert, why), RESULT_OK);
    part(&m);
    m = meet(&show_two, true);
    assert_int_equal(ask_judge(store, m.judge, &expect, NULL, &alert, why), RESULT_IDENTITY);
    snprintf(text, sizeof text, "db.example.org:5432 %s an older one\r\ndb.example.org:5432 %s", pin_of(&one),
             pin_of(&two));
    write_text("hand", text, 0600);
    assert_int_equal(ask_judge(store, m.judge, &expect, NULL, &alert, why), RESULT_OK);
    expect.port = 2; /* recorded behind a line without an end */
    assert_int_equal(ask_judge(store, m.judge, &expect, NULL, &alert, why), RESULT_OK);
    assert_non_null(strstr(content(path), "\ndb.example.org:2 sha256:"));
    part(&m);
    trust_store_free(store);
}

/* Each other spelling once let anybody be met for the first time. */
static void every_spelling_of_a_host_binds(void **state)
{
    static const struct {
        const char *written, *dialled;
    } cases[] = {
        {"DB.Example.ORG", "db.example.org"},
        {"db.example.org.", "db.example.org"},
        {"[0:0:0:0:0:0:0:1]", "::1"},
        {"[2001:DB8::0:1]", "2001:db8::1"},
        {"[::1]", "0:0::1"},
        {"[::FFFF:127.0.0.1]", "127.0.0.1"},
        {"127.0.0.1", "::ffff:127.0.0.1"},
        {"[fe80::1%lo]", "fe80::1"},
        {"[fe80::1]", "fe80::1%lo"},
        {"b\xc3\xbc"
         "cher.example",
         "xn--bcher-kva.example"},
    };
    const struct policy_trust trust = trust_at(in_folder("spelling"));
    char line[200];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(line, sizeof line, "%s:7460 %s\n", cases[i].written, pin_of(&one));
        write_text("spelling", line, 0600);
        accepts(&trust, &show_one, dial(cases[i].dialled, 7460));
        refuses(&trust, &show_two, dial(cases[i].dialled, 7460), "but the one recorded is");
        assert_string_equal(content(in_folder("spelling")), line);
    }
}

static void what_no_host_and_port_can_be_is_an_error(void **state)
{
    static const char *const bad[] = {
        "a:0",     "a:65536",   "a:99999999999", "a:07",   "a:",          ":1",    "a",        "Accept",
        "::1:1",   "[::1]1",    "[::1:1",        "[a]:1",  "[1.2.3.4]:1", "[]:1",  "]:1",      "[:1",
        "[g::]:1", "[::1%lo:1", "a:1:1",         "a\tb:1", "a:+1",        "a:1\t", "[::1] :1",
    };
    const struct policy_trust trust = trust_at(in_folder("bad"));
    char line[200];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(line, sizeof line, "%s %s\n", bad[i], pin_of(&one));
        write_text("bad", line, 0600);
        store_refused(&trust, "bad:1: expected HOST:PORT or accept");
    }
}

static void a_broken_file_is_no_reason_to_trust_somebody_new(void **state)
{
    const char *path = in_folder("broken");
    const struct policy_trust trust = trust_at(path);
    struct trust_store *store = store_ok(&trust);
    struct identity_expectation expect = dial("db.example.org", 5432);
    char why[IDENTITY_WHY_MAX];
    uint8_t alert;

    (void)state;
    struct meeting m = meet(&show_one, true), other = meet(&show_two, true);
    assert_int_equal(ask_judge(store, m.judge, &expect, NULL, &alert, why), RESULT_OK);
    write_text("broken", "db.example.org:5432\n", 0600);
    assert_int_equal(ask_judge(store, m.judge, &expect, NULL, &alert, why), RESULT_OK); /* the last good state */
    assert_int_equal(ask_judge(store, other.judge, &expect, NULL, &alert, why), RESULT_IDENTITY);
    expect.port = 1;
    assert_int_equal(ask_judge(store, m.judge, &expect, NULL, &alert, why), RESULT_IDENTITY);
    assert_non_null(strstr(why, "broken:1: expected HOST:PORT or accept, and sha256:FINGERPRINT"));
    store_refused(&trust, "broken:1: expected HOST:PORT");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(ask_judge(store, m.judge, &expect, NULL, &alert, why), RESULT_IDENTITY);
    assert_non_null(strstr(why, "has vanished: make it again, empty, if that was meant"));
    write_text("broken", "", 0600);
    assert_int_equal(ask_judge(store, m.judge, &expect, NULL, &alert, why), RESULT_OK);
    write_text("broken", "x:1 sha256:00\n", 0602);
    expect.port = 3;
    assert_int_equal(ask_judge(store, m.judge, &expect, NULL, &alert, why), RESULT_IDENTITY);
    assert_non_null(strstr(why, "can be changed by everyone"));
    part(&m);
    part(&other);
    trust_store_free(store);
}

static void names_that_could_forge_a_line_are_not_recorded(void **state)
{
    static const char *const bad[] = {"a b", "a\nvictim:1 sha256:x", "#a", "", "a\tb"};
    const char *path = in_folder("forged");
    const struct policy_trust trust = trust_at(path);

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refuses(&trust, &show_one, dial(bad[i], 1), "the name that was dialled is no host name");
    assert_int_equal(access(path, F_OK), -1);
}

static void what_cannot_be_recorded_is_refused(void **state)
{
    const char *path = in_folder("file/known_peers");
    const struct policy_trust trust = trust_at(path);

    (void)state;
    write_text("file", "not a folder", 0600);
    store_refused(&trust, "cannot examine");
    assert_int_equal(unlink(in_folder("file")), 0);
    struct trust_store *store = store_ok(&trust);
    write_text("file", "not a folder", 0600);
    struct meeting m = meet(&show_one, true);
    const struct identity_expectation expect = dial("db.example.org", 1);
    char why[IDENTITY_WHY_MAX];
    uint8_t alert;
    assert_int_equal(ask_judge(store, m.judge, &expect, NULL, &alert, why), RESULT_IDENTITY);
    assert_non_null(strstr(why, "is met for the first time and cannot be recorded"));
    part(&m);
    trust_store_free(store);
}

/* Which of the two keys this process met, or 0 when it was refused. */
static int first_contact(const char *path, int mine)
{
    struct known_peers *known;
    uint8_t hash[KEY_HASH_BYTES], recorded[KEY_HASH_BYTES];
    char why[IDENTITY_WHY_MAX];
    char reason[REASON_MAX];

    memset(hash, mine, sizeof hash);
    if (known_peers_open(path, true, &known, why) != RESULT_OK)
        return 99;
    const enum known_answer answer = known_peers_record(known, "race.example.org", 1, hash, recorded, reason);
    known_peers_close(known);
    return answer == KNOWN_SAME ? mine : answer == KNOWN_OTHER ? 0 : 98;
}

/* RLIMIT_FSIZE: a byte beyond it would be SIGXFSZ, which ends the program. */
static void a_limit_on_the_size_of_files_refuses_and_ends_nobody(void **state)
{
    const char *path = in_folder("limited");
    const struct policy_trust trust = trust_at(path);
    const struct rlimit small = {100, RLIM_INFINITY};
    struct rlimit before;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    accepts(&trust, &show_one, dial("db.example", 1));
    const unsigned lines = lines_of(path);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    refuses(&trust, &show_two, dial("other.example", 1), "cannot write");
    accepts(&trust, &show_one, dial("db.example", 1));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(lines_of(path), lines);
    accepts(&trust, &show_two, dial("other.example", 1));
}

static void of_several_processes_one_records_and_the_others_compare(void **state)
{
    const char *path = in_folder("race");

    (void)state;
    for (int round = 0; round < 20; round++) {
        pid_t children[8];
        int winners[3] = {0};
        unlink(path);
        for (int i = 0; i < 8; i++) {
            children[i] = fork();
            assert_true(children[i] >= 0);
            if (children[i] == 0)
                _exit(first_contact(path, 1 + i % 2));
        }
        for (int i = 0; i < 8; i++) {
            int status;
            assert_int_equal(waitpid(children[i], &status, 0), children[i]);
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) <= 2);
            winners[WEXITSTATUS(status)]++;
        }
        assert_int_equal(lines_of(path), 1);
        assert_int_equal(winners[0], 4); /* all of the other key */
        assert_true((winners[1] == 4) != (winners[2] == 4));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_contact_is_recorded_and_the_key_stays),
        cmocka_unit_test(a_changed_key_is_refused_with_both_and_the_command),
        cmocka_unit_test(a_name_needs_not_be_in_the_certificate_and_raw_keys_are_recorded_alike),
        cmocka_unit_test(who_accepts_takes_recorded_keys_only),
        cmocka_unit_test(whom_this_side_has_dialled_may_not_connect_to_it_by_that),
        cmocka_unit_test(a_line_added_by_hand_counts_at_once),
        cmocka_unit_test(every_spelling_of_a_host_binds),
        cmocka_unit_test(what_no_host_and_port_can_be_is_an_error),
        cmocka_unit_test(a_broken_file_is_no_reason_to_trust_somebody_new),
        cmocka_unit_test(names_that_could_forge_a_line_are_not_recorded),
        cmocka_unit_test(what_cannot_be_recorded_is_refused),
        cmocka_unit_test(a_limit_on_the_size_of_files_refuses_and_ends_nobody),
        cmocka_unit_test(of_several_processes_one_records_and_the_others_compare),
    };

    return cmocka_run_group_tests_name("trust_known", tests, make_all, free_all);
}
