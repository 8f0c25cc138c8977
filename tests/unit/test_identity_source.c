/* identity_source: files that change are read again for new handshakes, and what cannot be read leaves what was there.
 */
#include "identity_help.h"

#include "log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/wait.h>

static struct certificate ca;
static struct whole_config whole;
static char lines[4000];
static unsigned line_count;

static void keep_line(const struct log_entry *entry)
{
    line_count++;
    snprintf(lines + strlen(lines), sizeof lines - strlen(lines), "%s\n", entry->text);
}

static int setup(void **state)
{
    ca = make_certificate((struct certificate_spec){.name = "test CA", .is_ca = true});
    return folder_make(state);
}

static int teardown(void **state)
{
    free_certificate(&ca);
    return folder_remove(state);
}

static int fresh_log(void **state)
{
    (void)state;
    lines[0] = '\0';
    line_count = 0;
    log_set_sink(keep_line, LOG_LEVEL_INFO);
    return 0;
}

static int no_log(void **state)
{
    (void)state;
    log_set_sink(NULL, LOG_LEVEL_SILENT);
    return 0;
}

static struct certificate make_own(const char *name)
{
    return make_certificate((struct certificate_spec){.name = name, .issuer = &ca});
}

static void write_own(const struct certificate *c)
{
    write_certificates("own.crt", c, NULL);
    write_key("own.key", c, 0600);
}

static struct identity_source *source_of(bool always)
{
    const struct identity_files files = {.cert_file = in_folder("own.crt"),
                                         .key_file = in_folder("own.key"),
                                         .ca_file = write_certificates("ca.crt", &ca, NULL),
                                         .revalidate_always = always};

    fill_config(&whole, &files);
    struct identity_source *s = identity_source_new(&whole.config, "policy:7");
    assert_non_null(s);
    return s;
}

static bool is_of(const struct identity *id, const struct certificate *c)
{
    struct secret_bytes spki = {0};

    assert_int_equal(identity_x509_spki(c->cert, &spki), 0);
    const bool same = spki.len == id->own_spki.len && memcmp(spki.bytes, id->own_spki.bytes, spki.len) == 0;
    secret_wipe(&spki);
    return same;
}

static struct identity *get_ok(struct identity_source *s)
{
    struct identity *id;
    char why[IDENTITY_WHY_MAX];

    errno = 77;
    if (identity_source_get(s, &id, why) != RESULT_OK)
        fail_msg("no identity: %s", why);
    assert_int_equal(errno, 77);
    return id;
}

static void assert_gives(struct identity_source *s, const struct certificate *c)
{
    struct identity *id = get_ok(s);

    assert_true(is_of(id, c));
    identity_unref(id);
}

static void a_changed_certificate_is_shown_in_new_handshakes_and_the_old_one_lives_as_long_as_it_is_used(void **state)
{
    struct certificate old = make_own("old"), new = make_own("new");

    (void)state;
    write_own(&old);
    struct identity_source *s = source_of(true);
    struct identity *held = get_ok(s);
    write_own(&new);
    assert_gives(s, &new);
    assert_true(is_of(held, &old));
    struct identity *now = get_ok(s);
    struct pair p = shake_identities(held, now);
    verify_ok(held, &p.client, NULL, "new");
    verify_ok(now, &p.server, NULL, "old");
    pair_free(&p);
    identity_unref(now);
    identity_unref(held);
    assert_non_null(strstr(lines, "policy:7"));
    identity_source_free(s);
    free_certificate(&old);
    free_certificate(&new);
}

static void what_does_not_fit_together_leaves_the_last_good_one_and_is_logged_once(void **state)
{
    struct certificate old = make_own("old"), new = make_own("new");

    (void)state;
    write_own(&old);
    struct identity_source *s = source_of(true);
    assert_gives(s, &old);
    assert_int_equal(line_count, 0);
    write_certificates("own.crt", &new, NULL); /* its key comes later */
    for (int i = 0; i < 5; i++)
        assert_gives(s, &old);
    assert_int_equal(line_count, 1);
    assert_non_null(strstr(lines, "does not belong"));
    write_key("own.key", &new, 0600);
    assert_gives(s, &new);
    identity_source_free(s);
    free_certificate(&old);
    free_certificate(&new);
}

static void half_a_file_no_file_and_a_file_that_others_can_read_leave_the_last_good_one(void **state)
{
    struct certificate own = make_own("own");
    char half[200] = "";

    (void)state;
    write_own(&own);
    struct identity_source *s = source_of(true);
    assert_gives(s, &own);
    const int fd = open(in_folder("own.key"), O_RDONLY);
    assert_true(read(fd, half, 60) == 60);
    close(fd);
    write_text("own.key", half, 0600);
    assert_gives(s, &own);
    assert_non_null(strstr(lines, "no readable PEM private key"));
    write_text("own.key", "", 0600);
    assert_gives(s, &own);
    assert_non_null(strstr(lines, "is empty"));
    write_key("own.key", &own, 0644);
    assert_gives(s, &own);
    assert_non_null(strstr(lines, "lets others use it"));
    assert_int_equal(unlink(in_folder("own.key")), 0);
    for (int i = 0; i < 5; i++)
        assert_gives(s, &own);
    assert_non_null(strstr(lines, "No such file"));
    assert_int_equal(line_count, 4);
    identity_source_free(s);
    free_certificate(&own);
}

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void files_are_looked_at_once_a_second(void **state)
{
    struct certificate old = make_own("old"), new = make_own("new");

    (void)state;
    write_own(&old);
    struct identity_source *s = source_of(false);
    const int64_t begin = now_ms();
    assert_gives(s, &old);
    write_own(&new);
    bool found = false;
    while (!found) {
        struct identity *id = get_ok(s);
        found = is_of(id, &new);
        identity_unref(id);
        assert_true(now_ms() - begin < 60000);
        poll(NULL, 0, 10);
    }
    assert_true(now_ms() - begin >= 1000);
    identity_source_free(s);
    free_certificate(&old);
    free_certificate(&new);
}

static void a_change_that_keeps_size_and_date_is_seen(void **state)
{
    struct certificate own = make_own("own");
    struct stat before;
    char text[] = "alice:00112233445566778899aabbccddeeff\n";
    const struct identity_files files = {.psk_file = write_text("keys", text, 0600), .revalidate_always = true};

    (void)state;
    fill_config(&whole, &files);
    struct identity_source *s = identity_source_new(&whole.config, "policy:7");
    struct identity *id = get_ok(s);
    assert_string_equal(id->psks[0].name, "alice");
    identity_unref(id);
    assert_int_equal(stat(files.psk_file, &before), 0);
    memcpy(text, "carol", 5);
    const int fd = open(files.psk_file, O_WRONLY);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(futimens(fd, (struct timespec[]){before.st_atim, before.st_mtim}), 0);
    close(fd);
    id = get_ok(s);
    assert_string_equal(id->psks[0].name, "carol");
    identity_unref(id);
    identity_source_free(s);
    free_certificate(&own);
}

static void what_was_never_good_is_refused_until_it_is(void **state)
{
    struct certificate own = make_own("own");
    struct identity *id;
    char why[IDENTITY_WHY_MAX];

    (void)state;
    write_own(&own);
    write_text("own.key", "nonsense", 0600);
    struct identity_source *s = source_of(false);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(identity_source_get(s, &id, why), RESULT_CONFIG);
        assert_null(id);
        assert_non_null(strstr(why, "no readable PEM private key"));
    }
    write_own(&own);
    assert_gives(s, &own);
    identity_source_free(s);
    free_certificate(&own);
}

static void a_frozen_source_keeps_what_it_has(void **state)
{
    struct certificate old = make_own("old"), new = make_own("new");

    (void)state;
    write_own(&old);
    struct identity_source *s = source_of(true);
    assert_gives(s, &old);
    write_own(&new);
    identity_source_freeze(true);
    assert_gives(s, &old);
    identity_source_freeze(false);
    assert_gives(s, &new);
    identity_source_free(s);
    free_certificate(&old);
    free_certificate(&new);
}

/* In a chroot other files bear the same names. */
static void in_another_root_files_are_not_read_again(void **state)
{
    struct certificate own = make_own("own"), foreign = make_own("foreign");
    char there[200], command[2000];

    (void)state;
    assert_int_equal(geteuid(), 0);
    write_own(&own);
    struct identity_source *s = source_of(true);
    assert_gives(s, &own);
    write_certificates("foreign.crt", &foreign, NULL);
    write_key("foreign.key", &foreign, 0600);
    snprintf(there, sizeof there, "%s/root%s", folder, folder);
    snprintf(command, sizeof command,
             "mkdir -p %s && cd %s && cp -p foreign.crt %s/own.crt && cp -p foreign.key %s/own.key"
             " && cp -p ca.crt %s/",
             there, folder, there, there, there);
    assert_int_equal(system(command), 0);
    const pid_t child = fork();
    if (child == 0) {
        bool good = chroot(in_folder("root")) == 0 && chdir("/") == 0;
        identity_source_forked(s);
        for (int i = 0; i < 3; i++) {
            struct identity *id;
            char why[IDENTITY_WHY_MAX];
            good &= identity_source_get(s, &id, why) == RESULT_OK && is_of(id, &own);
            identity_unref(id);
        }
        good &= line_count == 1 && strstr(lines, "root directory");
        _exit(good ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    identity_source_free(s);
    free_certificate(&own);
    free_certificate(&foreign);
}

static atomic_bool rotating;
static struct identity_source *shared;

static void *keep_getting(void *arg)
{
    unsigned long *count = arg;

    while (atomic_load(&rotating)) {
        struct identity *id;
        char why[IDENTITY_WHY_MAX];
        if (identity_source_get(shared, &id, why) != RESULT_OK)
            abort();
        identity_unref(id);
        ++*count;
    }
    return NULL;
}

static void threads_never_go_without_while_files_rotate(void **state)
{
    struct certificate two[2] = {make_own("first"), make_own("second")};
    pthread_t threads[3];
    unsigned long counts[3] = {0};

    (void)state;
    write_own(&two[0]);
    shared = source_of(true);
    assert_gives(shared, &two[0]);
    atomic_store(&rotating, true);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, keep_getting, &counts[i]), 0);
    for (int i = 1; i <= 20; i++) {
        write_own(&two[i % 2]);
        assert_gives(shared, &two[i % 2]);
    }
    atomic_store(&rotating, false);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_gives(shared, &two[0]);
    identity_source_free(shared);
    free_certificate(&two[0]);
    free_certificate(&two[1]);
}

static void an_expiry_is_announced_in_time_and_once_a_day(void **state)
{
    static const struct {
        long from_days, until_days;
        bool warns;
        const char *part;
    } table[] = {
        {-300, 15, false, ""},        {-300, 13, true, "expires on"}, {-5, 2, false, ""},
        {-30, 3, true, "expires on"}, {-10, 365, false, ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct certificate own = make_certificate((struct certificate_spec){
            .name = "own", .issuer = &ca, .from_days = table[i].from_days, .until_days = table[i].until_days});
        struct identity *id = load_files(&own, &ca);
        const time_t now = time(NULL);
        time_t warned = 0;
        fresh_log(NULL);
        identity_warn_expiry(id, "policy:7", now, &warned);
        assert_int_equal(line_count, table[i].warns);
        assert_non_null(strstr(lines, table[i].part));
        identity_warn_expiry(id, "policy:7", now + 86399, &warned);
        if (table[i].warns) {
            assert_int_equal(line_count, 1);
            identity_warn_expiry(id, "policy:7", now + table[i].until_days * 86400 + 86400, &warned);
            assert_int_equal(line_count, 2);
            assert_non_null(strstr(lines, "expired on"));
        }
        identity_unref(id);
        free_certificate(&own);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fresh_log, no_log)
    /* The one that logs most comes last: lines are limited to bursts. */
    const struct CMUnitTest tests[] = {
        TEST(an_expiry_is_announced_in_time_and_once_a_day),
        TEST(a_changed_certificate_is_shown_in_new_handshakes_and_the_old_one_lives_as_long_as_it_is_used),
        TEST(what_does_not_fit_together_leaves_the_last_good_one_and_is_logged_once),
        TEST(half_a_file_no_file_and_a_file_that_others_can_read_leave_the_last_good_one),
        TEST(files_are_looked_at_once_a_second),
        TEST(a_change_that_keeps_size_and_date_is_seen),
        TEST(what_was_never_good_is_refused_until_it_is),
        TEST(a_frozen_source_keeps_what_it_has),
        TEST(in_another_root_files_are_not_read_again),
        TEST(threads_never_go_without_while_files_rotate),
    };

    return cmocka_run_group_tests_name("identity_source", tests, setup, teardown);
}
