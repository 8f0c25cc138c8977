/* The table of live connections: as the library writes it (src/status.h), and as p2ptls status reads it, also from
 * processes that mean harm. */
#include "../../tools/status/columns.h"
#include "../../tools/status/layout.h"
#include "../../tools/status/text.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static _Atomic int *number; /* where the table's descriptor is kept */

static int hide(int fd)
{
    return fd;
}

static void own(_Atomic int *where)
{
    number = where;
}

static int setup(void **state)
{
    (void)state;
    status_forked(); /* nothing of an earlier test */
    status_sandbox(false);
    status_init(&(struct status_host){.wanted = true, .hide = hide, .own = own});
    return 0;
}

static struct live_list read_all(void)
{
    struct live_list list = {0};
    const struct live about = {.pid = 7, .program = "program"};
    assert_true(live_read(atomic_load(number), &about, 5000, &list));
    return list;
}

static struct status_record *open_one(const char *peer, const char *identity)
{
    struct status_record *r = status_take();
    assert_non_null(r);
    snprintf(r->peer, sizeof r->peer, "%s", peer);
    snprintf(r->identity, sizeof r->identity, "%s", identity);
    r->suite = 0x1301;
    r->since_ms = 1500;
    atomic_store(&r->state, STATUS_OPEN);
    status_end(r);
    return r;
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    struct status_record *r = open_one("192.0.2.1:5432", "CN=db");
    r->connected_side = r->proven = r->resumed = 1;
    r->bytes_in = 12;
    r->bytes_out = UINT64_MAX;
    struct live_list list = read_all();
    assert_int_equal(list.count, 1);
    const struct live *l = &list.items[0];
    assert_int_equal(l->pid, 7);
    assert_string_equal(l->program, "program");
    assert_string_equal(l->peer, "192.0.2.1:5432");
    assert_string_equal(l->identity, "CN=db");
    assert_true(l->connected && l->proven && l->resumed && !l->client);
    assert_int_equal(l->age_ms, 3500);
    assert_int_equal(l->received, 12);
    assert_true(l->sent == UINT64_MAX);
    live_free(&list);
    status_give(r);
}

static void records_are_given_back_and_used_again(void **state)
{
    enum { MANY = 1000 };
    static struct status_record *records[MANY];
    char peer[32];
    (void)state;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < MANY; i++) {
            snprintf(peer, sizeof peer, "192.0.2.1:%d", i);
            records[i] = open_one(peer, "x");
        }
        struct live_list list = read_all();
        assert_int_equal(list.count, MANY);
        for (size_t i = 0; i < MANY; i++)
            for (size_t k = 0; k < i && i % 97 == 0; k++)
                assert_string_not_equal(list.items[i].peer, list.items[k].peer);
        live_free(&list);
        for (int i = 0; i < MANY; i += 2)
            status_give(records[i]);
        list = read_all();
        assert_int_equal(list.count, MANY / 2);
        live_free(&list);
        for (int i = 1; i < MANY; i += 2)
            status_give(records[i]);
    }
    struct live_list list = read_all();
    assert_int_equal(list.count, 0);
    live_free(&list);
    struct stat st;
    assert_int_equal(fstat(*number, &st), 0);
    assert_in_range(st.st_blocks * 512, 0, 3 * 65536); /* the memory of the others is given back */
}

static void a_record_that_is_being_written_is_left_out(void **state)
{
    (void)state;
    struct status_record *r = open_one("192.0.2.1:1", "x"), *other = open_one("192.0.2.2:1", "y");
    status_begin(r);
    struct live_list list = read_all();
    assert_int_equal(list.count, 1);
    assert_string_equal(list.items[0].peer, "192.0.2.2:1");
    live_free(&list);
    status_end(r);
    list = read_all();
    assert_int_equal(list.count, 2);
    live_free(&list);
    status_give(r);
    status_give(other);
}

static void a_forked_child_has_a_table_of_its_own(void **state)
{
    int ready[2];
    char byte;
    (void)state;
    struct status_record *r = open_one("192.0.2.1:1", "parent");
    assert_int_equal(pipe(ready), 0);
    const int parents = atomic_load(number);
    const pid_t child = fork();
    if (child == 0) {
        status_forked();
        const bool closed = fcntl(parents, F_GETFD) < 0;
        open_one("192.0.2.2:2", "child");
        struct live_list list = read_all();
        const bool right = closed && list.count == 1 && !strcmp(list.items[0].identity, "child");
        live_free(&list);
        _exit(right && write(ready[1], "x", 1) == 1 ? 0 : 1);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    struct live_list list = read_all();
    assert_int_equal(list.count, 1);
    assert_string_equal(list.items[0].identity, "parent");
    live_free(&list);
    close(ready[0]);
    status_give(r);
}

static void nobody_can_shrink_or_grow_the_file(void **state)
{
    (void)state;
    struct status_record *r = open_one("192.0.2.1:1", "x");
    assert_int_equal(ftruncate(*number, 0), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(*number, (off_t)1 << 40), -1);
    assert_int_equal(fcntl(*number, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    struct stat st;
    assert_int_equal(fstat(*number, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0400);
    status_give(r);
}

/* Another process does the like in its own way: the limit cannot be taken back by an ordinary user. */
static void without_a_file_there_are_no_records(void **state)
{
    (void)state;
    status_init(&(struct status_host){.wanted = false, .hide = hide, .own = own});
    assert_null(status_take());
    setup(NULL);
    const pid_t child = fork();
    if (child == 0) {
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){1 << 20, 1 << 20});
        _exit(status_take() ? 1 : 0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    status_sandbox(true);
    assert_null(status_take());
}

static void a_sandbox_has_what_was_prepared(void **state)
{
    (void)state;
    struct status_record *records[200] = {0};
    size_t count = 0;
    status_prepare();
    status_sandbox(true);
    while (count < 200 && (records[count] = status_take()))
        count++;
    assert_in_range(count, 64, 199);
    struct status_header h;
    assert_int_equal(pread(*number, &h, sizeof h, 0), sizeof h);
    assert_int_equal(h.missing, 1);
    while (count)
        status_give(records[--count]);
}

/* ---- what others wrote --------------------------------------------------------------------------------------------*/

static int foreign_table(size_t records, const void *bytes)
{
    const int fd = memfd_create(STATUS_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    const size_t size = records * sizeof(struct status_record);
    struct status_header h = {.magic = "p2pstat",
                              .layout = STATUS_LAYOUT,
                              .record_size = sizeof(struct status_record),
                              .used = (uint32_t)records};
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, &h, sizeof h, 0), sizeof h);
    assert_int_equal(pwrite(fd, bytes, size, STATUS_HEADER), size);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    return fd;
}

static void a_hostile_table_gives_bounded_texts(void **state)
{
    enum { RECORDS = 512 };
    static struct status_record records[RECORDS];
    char text[COLUMN_TEXT], line[LAYOUT_LINE];
    struct live_list list = {0};
    const struct live about = {.pid = 1};
    (void)state;
    srandom(7);
    for (size_t i = 0; i < sizeof records; i++)
        ((uint8_t *)records)[i] = (uint8_t)(random() | 1);
    for (size_t i = 0; i < RECORDS; i++) {
        records[i].generation = 2;
        records[i].state = (uint8_t)(i % 8);
    }
    const int fd = foreign_table(RECORDS, records);
    assert_true(live_read(fd, &about, 5000, &list));
    assert_int_equal(list.count, RECORDS / 2); /* four of eight states there are */
    struct layout layout;
    layout_make(&layout, &list, 80);
    for (size_t i = 0; i < list.count; i++) {
        assert_true(strlen(list.items[i].identity) < STATUS_IDENTITY);
        for (int c = 0; c < COLUMNS_COUNT; c++)
            column_match_text((enum column)c, &list.items[i], text);
        layout_line(&layout, &list.items[i], line);
        assert_in_range(text_width(line), 1, 80);
    }
    live_free(&list);
    close(fd);
}

static void what_is_no_table_is_refused(void **state)
{
    static const struct status_record none;
    const struct live about = {.pid = 1};
    struct live_list list = {0};
    struct status_header h;
    (void)state;
    for (int fault = 0; fault < 5; fault++) {
        const int fd = foreign_table(1, &none);
        assert_int_equal(pread(fd, &h, sizeof h, 0), sizeof h);
        if (fault == 1)
            h.magic[0] = 'q';
        else if (fault == 2)
            h.layout++;
        else if (fault == 3)
            h.record_size = 8;
        else if (fault == 4)
            h.used = UINT32_MAX;
        assert_int_equal(pwrite(fd, &h, sizeof h, 0), sizeof h);
        assert_int_equal(live_read(fd, &about, 0, &list), fault == 0);
        close(fd);
    }
    /* It says that it has more than there is in it. */
    const int fd = foreign_table(1, &none);
    h = (struct status_header){.magic = "p2pstat", .layout = STATUS_LAYOUT, .record_size = 512, .used = STATUS_RECORDS};
    assert_int_equal(pwrite(fd, &h, sizeof h, 0), sizeof h);
    assert_true(live_read(fd, &about, 0, &list));
    close(fd);
    const int pipes = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_false(live_read(pipes, &about, 0, &list));
    close(pipes);
    assert_int_equal(list.count, 0);
    live_free(&list);
}

static void processes_that_share_a_connection_count_once(void **state)
{
    struct live_list list = {0};
    (void)state;
    *live_add(&list) = (struct live){.pid = 9, .uid = 1, .cookie = 5, .state = STATUS_OPEN, .suite = 0x1302, .sent = 7};
    *live_add(&list) = (struct live){.pid = 8, .uid = 1, .cookie = 5, .state = STATUS_HANDSHAKE, .received = 3};
    *live_add(&list) = (struct live){.pid = 7, .uid = 2, .cookie = 5, .state = STATUS_HANDSHAKE};
    *live_add(&list) = (struct live){.pid = 6, .uid = 1, .cookie = 0, .state = STATUS_OPEN};
    *live_add(&list) = (struct live){.pid = 5, .uid = 1, .cookie = 0, .state = STATUS_OPEN};
    live_merge(&list);
    unsigned first = 0;
    for (size_t i = 0; i < list.count; i++) {
        const struct live *l = &list.items[i];
        first += l->first;
        if (l->pid == 8 || l->pid == 9)
            assert_true(l->holders == 2 && l->suite == 0x1302 && l->sent == 7 && l->received == 3);
        else
            assert_true(l->holders == 1 && l->first);
    }
    assert_int_equal(first, 4);
    live_free(&list);
}

int main(void)
{
    setlocale(LC_CTYPE, "C.UTF-8");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(what_is_written_is_read, setup),
        cmocka_unit_test_setup(records_are_given_back_and_used_again, setup),
        cmocka_unit_test_setup(a_record_that_is_being_written_is_left_out, setup),
        cmocka_unit_test_setup(a_forked_child_has_a_table_of_its_own, setup),
        cmocka_unit_test_setup(nobody_can_shrink_or_grow_the_file, setup),
        cmocka_unit_test_setup(without_a_file_there_are_no_records, setup),
        cmocka_unit_test_setup(a_sandbox_has_what_was_prepared, setup),
        cmocka_unit_test(a_hostile_table_gives_bounded_texts),
        cmocka_unit_test(what_is_no_table_is_refused),
        cmocka_unit_test(processes_that_share_a_connection_count_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
