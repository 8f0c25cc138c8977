/* The per-user identity: made once, whole or not at all, and the same for all who start at once. */
#include "identity_help.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* What the file system does to us: these stand before libc's own in this program. */
static int write_errno, fsync_errno, link_errno;
static const char *winner; /* another process's file, which gets the name first */
static size_t write_room;  /* so many bytes before write_errno strikes */
static size_t write_piece; /* not 0: at most so many bytes at a time, and an interruption before each */

ssize_t write(int fd, const void *bytes, size_t len)
{
    static bool interrupted;

    if (write_piece && (interrupted = !interrupted)) {
        errno = EINTR;
        return -1;
    }
    if (write_piece && len > write_piece)
        len = write_piece;
    if (write_errno && write_room == 0) {
        errno = write_errno;
        return -1;
    }
    if (write_errno && len > write_room)
        len = write_room;
    if (write_errno)
        write_room -= len;
    return syscall(SYS_write, fd, bytes, len);
}

int fsync(int fd)
{
    if (fsync_errno) {
        errno = fsync_errno;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    if (link_errno) {
        errno = link_errno;
        return -1;
    }
    if (winner)
        syscall(SYS_linkat, AT_FDCWD, winner, to_dir, to, 0);
    return (int)syscall(SYS_linkat, from_dir, from, to_dir, to, flags);
}

static struct identity_files config_in(const char *dir)
{
    return (struct identity_files){.state_dir = in_folder(dir)};
}

static unsigned count_entries(const char *dir)
{
    DIR *d = opendir(dir);
    unsigned n = 0;

    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(d);
    return n;
}

static mode_t mode_of(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

static bool same_key(const struct identity *a, const struct identity *b)
{
    return a->own_spki.len == b->own_spki.len && memcmp(a->own_spki.bytes, b->own_spki.bytes, a->own_spki.len) == 0;
}

static void makes_it_once_with_all_folders_for_the_owner_alone(void **state)
{
    (void)state;
    struct identity *first = load_ok(config_in("a/b/c")), *second = load_ok(config_in("a/b/c"));
    assert_true(same_key(first, second));
    identity_unref(first);
    identity_unref(second);
    assert_int_equal(mode_of(in_folder("a")), 0700);
    assert_int_equal(mode_of(in_folder("a/b")), 0700);
    assert_int_equal(mode_of(in_folder("a/b/c")), 0700);
    assert_int_equal(mode_of(in_folder("a/b/c/identity.pem")), 0600);
    assert_int_equal(count_entries(in_folder("a/b/c")), 1);

    struct identity *other = load_ok(config_in("other/")), *again = load_ok(config_in("other"));
    assert_true(same_key(again, other));
    identity_unref(other);
    identity_unref(again);
}

static void two_folders_hold_two_identities(void **state)
{
    (void)state;
    struct identity *a = load_ok(config_in("two-a")), *b = load_ok(config_in("two-b"));
    assert_false(same_key(a, b));
    identity_unref(a);
    identity_unref(b);
}

static void has_mode_0600_under_any_umask(void **state)
{
    static const mode_t masks[] = {0, 022, 0177, 0277};

    (void)state;
    for (size_t i = 0; i < sizeof masks / sizeof masks[0]; i++) {
        char dir[40];
        snprintf(dir, sizeof dir, "umask-%03o", (unsigned)masks[i]);
        assert_int_equal(mkdir(in_folder(dir), 0700), 0);
        const mode_t old = umask(masks[i]);
        identity_unref(load_ok(config_in(dir)));
        umask(old);
        snprintf(dir, sizeof dir, "umask-%03o/identity.pem", (unsigned)masks[i]);
        assert_int_equal(mode_of(in_folder(dir)), 0600);
    }
}

static void certificate_says_nothing_about_its_owner_and_never_ends(void **state)
{
    gnutls_x509_crt_t cert;
    gnutls_datum_t dn;
    uint8_t serial[20];
    size_t len = sizeof serial;

    (void)state;
    struct identity *id = load_ok(config_in("cert"));
    assert_int_equal(id->chain_len, 1);
    assert_true(gnutls_x509_crt_init(&cert) >= 0);
    assert_true(gnutls_x509_crt_import(cert, &id->chain[0].cert, GNUTLS_X509_FMT_DER) >= 0);
    assert_true(gnutls_x509_crt_get_dn3(cert, &dn, 0) >= 0);
    assert_string_equal(dn.data, "CN=p2ptls per-user identity");
    gnutls_free(dn.data);
    assert_int_equal(gnutls_x509_crt_get_pk_algorithm(cert, NULL), GNUTLS_PK_EDDSA_ED25519);
    assert_int_equal(gnutls_x509_crt_get_activation_time(cert), 0);
    assert_int_equal(gnutls_x509_crt_get_expiration_time(cert), 253402300799);
    assert_true(gnutls_x509_crt_get_serial(cert, serial, &len) >= 0);
    assert_int_equal(len, 16);
    assert_int_equal(serial[0] & 0xc0, 0x40);
    gnutls_x509_crt_deinit(cert);
    identity_unref(id);
}

static void child_loads(const char *dir, int start, int report)
{
    struct pollfd go = {.fd = start, .events = POLLIN};
    struct identity *id;
    char why[IDENTITY_WHY_MAX];

    poll(&go, 1, -1); /* ends for all children at once, when the parent closes the other end */
    if (load_as(&(struct identity_files){.state_dir = dir}, &id, why) != RESULT_OK)
        _exit(1);
    const bool told = write(report, id->own_spki.bytes, id->own_spki.len) == (ssize_t)id->own_spki.len;
    identity_unref(id);
    _exit(told ? 0 : 2);
}

enum { CHILDREN = 50, SPKI_BYTES = 44 /* of an Ed25519 key, RFC 8410 section 4 */ };

static void fifty_processes_that_start_at_once_agree(void **state)
{
    int start[2], report[2], status;
    pid_t children[CHILDREN];
    uint8_t first[SPKI_BYTES], next[SPKI_BYTES];
    const char *dir = in_folder("race/x");

    (void)state;
    assert_int_equal(pipe2(start, O_CLOEXEC), 0);
    assert_int_equal(pipe2(report, O_CLOEXEC), 0);
    for (int i = 0; i < CHILDREN; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            close(start[1]);
            child_loads(dir, start[0], report[1]);
        }
        assert_true(children[i] > 0);
    }
    close(start[1]);
    for (int i = 0; i < CHILDREN; i++) {
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    assert_int_equal(read(report[0], first, SPKI_BYTES), SPKI_BYTES);
    for (int i = 1; i < CHILDREN; i++) {
        assert_int_equal(read(report[0], next, SPKI_BYTES), SPKI_BYTES);
        assert_memory_equal(first, next, SPKI_BYTES);
    }
    assert_int_equal(count_entries(dir), 1);
    close(start[0]);
    close(report[0]);
    close(report[1]);
}

static void reads_the_winners_file_when_it_loses_the_race(void **state)
{
    (void)state;
    struct identity *won = load_ok(config_in("won"));
    assert_int_equal(mkdir(in_folder("lost"), 0700), 0);
    winner = in_folder("won/identity.pem");
    struct identity *lost = load_ok(config_in("lost"));
    winner = NULL;
    assert_true(same_key(won, lost));
    assert_int_equal(count_entries(in_folder("lost")), 1);
    identity_unref(won);
    identity_unref(lost);
}

static void refuses_a_folder_that_others_can_write_to(void **state)
{
    static const struct {
        mode_t mode;
        bool ok;
    } table[] = {{0700, true}, {0755, true}, {0770, false}, {0720, false}, {0702, false}, {01777, false}};

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char dir[40];
        snprintf(dir, sizeof dir, "mode-%04o", (unsigned)table[i].mode);
        assert_int_equal(mkdir(in_folder(dir), 0700), 0);
        assert_int_equal(chmod(in_folder(dir), table[i].mode), 0);
        if (table[i].ok) {
            identity_unref(load_ok(config_in(dir)));
        } else {
            load_refused(config_in(dir), "others can write to");
            assert_int_equal(count_entries(in_folder(dir)), 0);
        }
    }
}

static void refuses_a_file_that_others_can_read(void **state)
{
    (void)state;
    identity_unref(load_ok(config_in("open")));
    assert_int_equal(chmod(in_folder("open/identity.pem"), 0640), 0);
    load_refused(config_in("open"), "chmod 600");
    assert_int_equal(chmod(in_folder("open/identity.pem"), 0600), 0);
    identity_unref(load_ok(config_in("open")));
}

static void leaves_a_damaged_file_alone_and_names_it(void **state)
{
    (void)state;
    identity_unref(load_ok(config_in("damaged")));
    assert_int_equal(truncate(in_folder("damaged/identity.pem"), 100), 0);
    load_refused(config_in("damaged"), "damaged/identity.pem");
    struct stat st;
    assert_int_equal(stat(in_folder("damaged/identity.pem"), &st), 0);
    assert_int_equal(st.st_size, 100);
    assert_int_equal(truncate(in_folder("damaged/identity.pem"), 0), 0);
    load_refused(config_in("damaged"), "is empty");
}

static void says_when_no_folder_can_be_made(void **state)
{
    (void)state;
    write_text("file", "x", 0600);
    load_refused(config_in("file"), "Not a directory");
    load_refused(config_in("file/below"), "Not a directory");
    load_refused((struct identity_files){.state_dir = "/proc/self/p2ptls"},
                 "cannot make the directory /proc/self/p2ptls");
    load_refused((struct identity_files){.state_dir = ""}, "empty");
}

static const struct {
    int *error;
    int value;
    size_t room;
} failures[] = {
    {&write_errno, ENOSPC, 0}, {&write_errno, ENOSPC, 1}, {&write_errno, EDQUOT, 300}, {&write_errno, EROFS, 0},
    {&fsync_errno, EIO, 0},    {&link_errno, EPERM, 0},   {&link_errno, ENOSPC, 0},
};

static void leaves_nothing_behind_when_the_disk_fails(void **state)
{
    (void)state;
    assert_int_equal(mkdir(in_folder("full"), 0700), 0);
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        *failures[i].error = failures[i].value;
        write_room = failures[i].room;
        struct identity *id;
        char why[IDENTITY_WHY_MAX];
        const enum result r = load_as(&(struct identity_files){.state_dir = in_folder("full")}, &id, why);
        *failures[i].error = 0;
        assert_int_equal(r, RESULT_CONFIG);
        assert_non_null(strstr(why, "cannot write the per-user identity"));
        assert_non_null(strstr(why, strerror(failures[i].value)));
        assert_int_equal(count_entries(in_folder("full")), 0);
    }
    identity_unref(load_ok(config_in("full")));
}

static void goes_on_after_writes_in_pieces_and_interruptions(void **state)
{
    (void)state;
    write_piece = 7;
    struct identity *made = load_ok(config_in("pieces"));
    write_piece = 0;
    struct identity *read_back = load_ok(config_in("pieces"));
    assert_true(same_key(made, read_back));
    identity_unref(made);
    identity_unref(read_back);
}

/* The kernel would kill the program with SIGXFSZ. */
static void survives_a_file_size_limit(void **state)
{
    int status;

    (void)state;
    const pid_t child = fork();
    if (child == 0) {
        struct identity *id;
        char why[IDENTITY_WHY_MAX];
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){100, 100});
        const enum result r = load_as(&(struct identity_files){.state_dir = in_folder("limit")}, &id, why);
        _exit(r == RESULT_CONFIG && strstr(why, strerror(EFBIG)) ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(count_entries(in_folder("limit")), 0);
}

static void insecure_alone_needs_no_file(void **state)
{
    (void)state;
    struct identity *a = load_ok((struct identity_files){.auth = AUTH_INSECURE_NONE}),
                    *b = load_ok((struct identity_files){.auth = AUTH_INSECURE_NONE});
    assert_int_equal(a->chain_len, 1);
    assert_false(same_key(a, b));
    identity_unref(a);
    identity_unref(b);

    struct identity *user = load_ok(config_in("insecure"));
    struct identity_files config = config_in("insecure");
    config.auth = AUTH_INSECURE_NONE;
    a = load_ok(config);
    assert_true(same_key(user, a));
    identity_unref(user);
    identity_unref(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(makes_it_once_with_all_folders_for_the_owner_alone),
        cmocka_unit_test(two_folders_hold_two_identities),
        cmocka_unit_test(has_mode_0600_under_any_umask),
        cmocka_unit_test(certificate_says_nothing_about_its_owner_and_never_ends),
        cmocka_unit_test(fifty_processes_that_start_at_once_agree),
        cmocka_unit_test(reads_the_winners_file_when_it_loses_the_race),
        cmocka_unit_test(refuses_a_folder_that_others_can_write_to),
        cmocka_unit_test(refuses_a_file_that_others_can_read),
        cmocka_unit_test(leaves_a_damaged_file_alone_and_names_it),
        cmocka_unit_test(says_when_no_folder_can_be_made),
        cmocka_unit_test(leaves_nothing_behind_when_the_disk_fails),
        cmocka_unit_test(goes_on_after_writes_in_pieces_and_interruptions),
        cmocka_unit_test(survives_a_file_size_limit),
        cmocka_unit_test(insecure_alone_needs_no_file),
    };

    return cmocka_run_group_tests_name("identity_auto", tests, folder_make, folder_remove);
}
