/* The short way of reads and writes, and what another process that holds the connection, and is hostile or dead, can
 * make of it. */
#include "conn_internal.h"
#include "record_help.h"

#include <linux/futex.h>

static struct {
    size_t takes; /* how much of a send the kernel takes */
    uint8_t wire[4096];
    size_t len;
    struct slot *meddled; /* a co-holder writes to it while a send is under way */
} net;

static ssize_t send_some(int fd, const struct iovec *iov, int count, bool more)
{
    (void)fd;
    (void)more;
    size_t n = iov_total(iov, count);
    n = n < net.takes ? n : net.takes;
    assert_true(net.len + n <= sizeof net.wire);
    iov_gather(iov, count, 0, net.wire + net.len, n);
    net.len += n;
    if (net.meddled)
        net.meddled->tx.lead = 3;
    return n ? (ssize_t)n : -EAGAIN;
}

static ssize_t receive_all(int fd, const struct iovec *iov, int count, bool peek)
{
    (void)fd;
    size_t n = iov_total(iov, count);
    n = n < net.len ? n : net.len;
    iov_scatter(iov, count, 0, net.wire, n);
    if (!peek) {
        net.len -= n;
        memmove(net.wire, net.wire + n, net.len);
    }
    return n ? (ssize_t)n : -EAGAIN;
}

static bool is_writable(int fd)
{
    (void)fd;
    return true;
}

static int64_t no_time(void)
{
    return 1;
}

static const struct conn_io io = {
    .receive = receive_all, .send = send_some, .writable = is_writable, .now_ms = no_time};
static const struct policy_rule rule;

/* Open, with the same keys in both directions: it reads what it has written. */
static struct conn *open_conn(void)
{
    const struct conn_params params = {.rule = &rule, .peer = "192.0.2.1:1"};
    struct conn *c = conn_new(&params);
    assert_non_null(c);
    c->slot->rx.keys = c->slot->tx.keys = keys_of(0, 1);
    atomic_store(&c->slot->state, SLOT_OPEN);
    return c;
}

static int set_up(void **state)
{
    memset(&net, 0, sizeof net);
    net.takes = SIZE_MAX;
    conn_set_io(&io);
    *state = open_conn();
    return 0;
}

static int take_down(void **state)
{
    conn_free(*state);
    return 0;
}

static void put_one(struct conn *c, const char *text)
{
    struct iovec iov = {(void *)text, strlen(text)};
    size_t put = 0;
    int error = 0;
    assert_int_equal(conn_write(c, 0, &iov, 1, false, true, &put, &error), RESULT_OK);
    assert_int_equal(put, iov.iov_len);
}

static void expect_one(struct conn *c, const char *text)
{
    char got[64];
    struct iovec iov = {got, sizeof got};
    size_t n = 0;
    int error = 0;
    assert_int_equal(conn_read(c, 0, &iov, 1, false, &n, &error), RESULT_OK);
    assert_int_equal(n, strlen(text));
    assert_memory_equal(got, text, n);
}

static void test_what_is_written_is_read(void **state)
{
    static const char *const texts[] = {"one", "two", "three"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        put_one(*state, texts[i]);
        expect_one(*state, texts[i]);
    }
}

static void test_the_rest_of_a_record_is_kept(void **state)
{
    struct conn *c = *state;
    put_one(c, "first"); /* the kernel has taken it: the next goes the short way */
    net.takes = 7;
    put_one(c, "second");
    assert_true(c->slot->tx.rest_len > 0);
    net.takes = SIZE_MAX;
    put_one(c, "third");
    struct iovec iov = {(char[64]){0}, 64};
    size_t n = 0;
    int error = 0;
    assert_int_equal(conn_read(c, 0, &iov, 1, false, &n, &error), RESULT_OK);
    assert_int_equal(n, strlen("firstsecondthird"));
    assert_memory_equal(iov.iov_base, "firstsecondthird", n);
}

/* It would have the end of the record lie before its beginning, and memory wiped to the end of the address space. */
static void test_a_holder_that_forges_a_lead_does_no_harm(void **state)
{
    struct conn *c = *state;
    put_one(c, "first");
    net.takes = strlen("second") + RECORD_OVERHEAD - 1;
    net.meddled = c->slot;
    put_one(c, "second");
    assert_int_equal(c->slot->tx.rest_len, 1);
    assert_int_equal(c->slot->tx.lead, 0);
}

static void test_a_reader_waits_first_only_where_nothing_is_known(void **state)
{
    struct conn *c = *state;
    put_one(c, "one");
    expect_one(c, "one");
    assert_true(conn_reads_kernel(c));
    atomic_store(&c->slot->rx_lock.word, FUTEX_OWNER_DIED); /* the next read finds the connection lost */
    assert_false(conn_reads_kernel(c));
    atomic_store(&c->slot->rx_lock.word, 1); /* somebody reads: what is left then, nobody knows yet */
    assert_false(conn_reads_kernel(c));
    atomic_store(&c->slot->rx_lock.word, 0);
    atomic_store(&c->slot->untold, ECONNRESET);
    assert_false(conn_reads_kernel(c));
    atomic_store(&c->slot->untold, 0);
    c->slot->rx.end = RX_CLOSE_NOTIFY;
    assert_false(conn_reads_kernel(c));
    c->slot->rx.end = RX_LIVE;
    c->slot->rx.plain_len = 1;
    assert_false(conn_reads_kernel(c));
    c->slot->rx.plain_len = 0;
    assert_true(conn_reads_kernel(c));
}

/* Another thread that reads frees it when the keys change. */
static void test_a_look_without_the_lock_leaves_the_cipher_alone(void **state)
{
    struct conn *c = *state;
    put_one(c, "one");
    expect_one(c, "one");
    struct record_cipher *const cipher = c->rx_cipher;
    c->rx_cipher = (struct record_cipher *)64; /* no memory is there */
    assert_true(conn_reads_kernel(c));
    c->rx_cipher = cipher;
}

/* A policy may say more than a key is good for (rekey-after=), and so may a co-holder. */
static void test_a_key_is_used_no_longer_than_its_cipher_allows(void **state)
{
    static const uint64_t after[] = {0, 1u << 31, UINT64_MAX};
    struct conn *c = *state;
    for (size_t i = 0; i < COUNT(after); i++) {
        struct slot *slot = c->slot;
        const uint32_t epoch = slot->tx.keys.epoch;
        slot->rekey_after = after[i];
        slot->rx.keys.seq = slot->tx.keys.seq = record_limit(slot->tx.keys.suite) - 1;
        put_one(c, "the last one");
        assert_int_equal(slot->tx.keys.epoch, epoch);
        put_one(c, "the next one");
        assert_int_equal(slot->tx.keys.epoch, epoch + 1);
        assert_int_equal(slot->tx.keys.seq, 1);
        expect_one(c, "the last onethe next one");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_is_written_is_read, set_up, take_down),
        cmocka_unit_test_setup_teardown(test_the_rest_of_a_record_is_kept, set_up, take_down),
        cmocka_unit_test_setup_teardown(test_a_holder_that_forges_a_lead_does_no_harm, set_up, take_down),
        cmocka_unit_test_setup_teardown(test_a_reader_waits_first_only_where_nothing_is_known, set_up, take_down),
        cmocka_unit_test_setup_teardown(test_a_look_without_the_lock_leaves_the_cipher_alone, set_up, take_down),
        cmocka_unit_test_setup_teardown(test_a_key_is_used_no_longer_than_its_cipher_allows, set_up, take_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
