/* What a handshake leaves on the stack of its thread: nothing that opens the connection's records once it is over. */
#include "handshake_help.h"

#include "record.h"

#include <pthread.h>
#include <sys/mman.h>

enum { STACK_BYTES = 256 * 1024 };

struct ended {
    struct pair_of_sides *pair;
    struct handshake_secrets secrets;
    struct record_keys reading, writing;
};

/* On a stack of its own. The last step is the one that ends the handshake. */
static void *step(void *arg)
{
    struct ended *e = arg;
    side_send(e->pair, &e->pair->a, &e->pair->b);
    side_read(e->pair, &e->pair->a);
    return NULL;
}

static void meet(struct ended *e, uint8_t *stack)
{
    pthread_attr_t attr;
    pthread_t thread;

    pthread_attr_init(&attr);
    assert_int_equal(pthread_attr_setstack(&attr, stack, STACK_BYTES), 0);
    for (int i = 0; i < 200 && handshake_state(e->pair->a.hs) != RESULT_OK; i++) {
        assert_int_equal(pthread_create(&thread, &attr, step, e), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        side_read(e->pair, &e->pair->b);
        side_send(e->pair, &e->pair->b, &e->pair->a);
    }
    pthread_attr_destroy(&attr);
    assert_int_equal(handshake_state(e->pair->a.hs), RESULT_OK);
    handshake_take_secrets(e->pair->a.hs, &e->secrets);
    assert_int_equal(record_keys_init(&e->reading, e->secrets.suite, e->secrets.read, e->secrets.secret_len),
                     RESULT_OK);
    assert_int_equal(record_keys_init(&e->writing, e->secrets.suite, e->secrets.write, e->secrets.secret_len),
                     RESULT_OK);
}

static void assert_gone(const uint8_t *stack, const void *secret, const char *what)
{
    const uint8_t *found = memmem(stack, STACK_BYTES, secret, 16);
    if (found)
        fail_msg("%s, %td bytes below the stack's end", what, stack + STACK_BYTES - found);
}

static void no_key_stays_on_the_stack(enum role_set a, enum role_set b, struct identity *id)
{
    struct ended *e = calloc(1, sizeof *e);
    uint8_t *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_true(e && stack != MAP_FAILED);
    e->pair = pair_new((struct handshake_config){.effective = a, .speaks_first = true, .identity = id},
                       (struct handshake_config){.effective = b, .speaks_first = true, .identity = id});
    meet(e, stack);
    assert_gone(stack, e->reading.key, "the key for reading");
    assert_gone(stack, e->writing.key, "the key for writing");
    assert_gone(stack, e->secrets.read, "the secret for reading");
    assert_gone(stack, e->secrets.write, "the secret for writing");
    assert_gone(stack, e->secrets.exporter, "the exporter's secret");
    sides_free(e->pair);
    wipe(e, sizeof *e);
    free(e);
    munmap(stack, STACK_BYTES);
}

static void of_a_client(void **state)
{
    struct identity *id = load_user("one");
    (void)state;
    no_key_stays_on_the_stack(ROLE_CLIENT, ROLE_SERVER, id);
    identity_unref(id);
}

static void of_a_server(void **state)
{
    struct identity *id = load_user("one");
    (void)state;
    no_key_stays_on_the_stack(ROLE_SERVER, ROLE_CLIENT, id);
    identity_unref(id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_a_client),
        cmocka_unit_test(of_a_server),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
