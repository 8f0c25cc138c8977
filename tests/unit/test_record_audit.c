/* The nonce audit of debug builds, compiled in here under other names so that every build tests it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#undef P2PTLS_NONCE_AUDIT
#define P2PTLS_NONCE_AUDIT
#define record_nonce_spent audited_nonce_spent
#define record_nonce_audit_sink audited_sink
#include "../../src/record_audit.c"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KEPT_MAX = 64 };

struct kept {
    uint8_t entries[KEPT_MAX][RECORD_AUDIT_ENTRY];
    size_t count;
};

static void keep(void *ctx, const uint8_t *entry)
{
    struct kept *k = ctx;
    assert_true(k->count < KEPT_MAX);
    memcpy(k->entries[k->count++], entry, RECORD_AUDIT_ENTRY);
}

static struct record_keys keys(uint8_t first)
{
    struct record_keys k;
    uint8_t secret[32] = {first};
    assert_int_equal(record_keys_init(&k, SUITE_AES_128_GCM_SHA256, secret, sizeof secret), RESULT_OK);
    return k;
}

/* Spends in a child; true if it lived. */
static bool survives(const struct record_keys *k, uint64_t seq)
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        record_nonce_spent(k, seq);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status))
        assert_int_equal(WTERMSIG(status), SIGABRT);
    else
        assert_int_equal(status, 0);
    return !WIFSIGNALED(status);
}

static void a_nonce_may_be_spent_once_under_each_key(void **state)
{
    struct record_keys a = keys(1), b = keys(2);
    (void)state;
    for (uint64_t seq = 0; seq < 1000; seq++) {
        record_nonce_spent(&a, seq);
        record_nonce_spent(&b, seq);
    }
    assert_int_equal(record_keys_update(&a), RESULT_OK);
    record_nonce_spent(&a, 0);
}

static void a_double_aborts_and_a_child_knows_its_parents_past(void **state)
{
    struct record_keys a = keys(3), b = keys(4);
    (void)state;
    record_nonce_spent(&a, 7);
    assert_false(survives(&a, 7));
    assert_true(survives(&a, 8));
    assert_true(survives(&b, 7));
    record_nonce_spent(&b, 7);
    assert_false(survives(&b, 7));
}

static void the_sink_gets_key_and_number(void **state)
{
    static struct kept kept;
    struct record_keys a = keys(5), b = keys(6);
    (void)state;
    record_nonce_audit_sink(keep, &kept);
    record_nonce_spent(&a, 0x0102030405060708);
    record_nonce_spent(&a, 0x0102030405060709);
    record_nonce_spent(&b, 0x0102030405060708);
    record_nonce_audit_sink(NULL, NULL);
    record_nonce_spent(&b, 1);
    assert_int_equal(kept.count, 3);
    static const uint8_t number[] = {1, 2, 3, 4, 5, 6, 7, 8};
    assert_memory_equal(kept.entries[0] + 8, number, 8);
    assert_memory_equal(kept.entries[0], kept.entries[1], 8);
    assert_int_equal(kept.entries[1][15], 9);
    assert_memory_not_equal(kept.entries[0], kept.entries[2], 8);
    assert_memory_equal(kept.entries[0] + 8, kept.entries[2] + 8, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_nonce_may_be_spent_once_under_each_key),
        cmocka_unit_test(a_double_aborts_and_a_child_knows_its_parents_past),
        cmocka_unit_test(the_sink_gets_key_and_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
