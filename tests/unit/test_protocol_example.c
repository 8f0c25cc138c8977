/* The recorded handshake in docs/PROTOCOL.md, and one made anew by the code of today, agree in every byte with the
 * rules of that document. With --new, prints the blocks of a fresh one, to be put into the document. */
#include "handshake_help.h"

#include "handshake_internal.h"

#include <gnutls/crypto.h>

#ifndef PROTOCOL_DOCUMENT
#define PROTOCOL_DOCUMENT "docs/PROTOCOL.md" /* from the root of the tree, where `make unit` runs */
#endif

enum { BLOCK_MAX = 512, LINE_BYTES = 32, HASH = ECHO_HASH_BYTES, MESSAGE_HEADER = 4, BINDERS = 2 + 1 + HASH };

struct block {
    bool present;
    size_t len;
    uint8_t bytes[BLOCK_MAX];
};

/* In the order of the document. */
enum block_index {
    PSK,
    VALUE_A,
    VALUE_B,
    HELLO_A,
    HELLO_B,
    HELLO_B_HASH,
    SERVER_HELLO,
    SERVER_CCS,
    SERVER_SECRET,
    EE_RECORD,
    EE_MESSAGE,
    SERVER_FINISHED,
    CLIENT_CCS,
    CLIENT_SECRET,
    CLIENT_FINISHED,
    BLOCKS
};

struct example {
    struct block blocks[BLOCKS];
};

static const char *const names[BLOCKS] = {
    [PSK] = "psk",
    [VALUE_A] = "value-a",
    [VALUE_B] = "value-b",
    [HELLO_A] = "client-hello-a",
    [HELLO_B] = "client-hello-b",
    [HELLO_B_HASH] = "client-hello-b-sha256",
    [SERVER_HELLO] = "server-hello",
    [SERVER_CCS] = "server-change-cipher-spec",
    [SERVER_SECRET] = "server-handshake-traffic-secret",
    [EE_RECORD] = "encrypted-extensions-record",
    [EE_MESSAGE] = "encrypted-extensions",
    [SERVER_FINISHED] = "server-finished-record",
    [CLIENT_CCS] = "client-change-cipher-spec",
    [CLIENT_SECRET] = "client-handshake-traffic-secret",
    [CLIENT_FINISHED] = "client-finished-record",
};

static const char *document = PROTOCOL_DOCUMENT;
static struct example recorded, fresh;

static void set_block(struct example *e, enum block_index i, const void *bytes, size_t len)
{
    struct block *b = &e->blocks[i];

    assert_true(len <= sizeof b->bytes);
    if (b->present)
        fail_msg("%s is there twice", names[i]);
    b->present = true;
    memcpy(b->bytes, bytes, len);
    b->len = len;
}

/* ---- the document: blocks between "```hex NAME" and "```" ----------------------------------------------------------
 */

static struct block *find_block(struct example *e, const char *name)
{
    for (int i = 0; i < BLOCKS; i++)
        if (strcmp(names[i], name) == 0)
            return &e->blocks[i];
    fail_msg("%s: unknown block %s", document, name);
    return NULL;
}

static void add_hex(struct block *b, const char *line)
{
    unsigned byte;
    int used;

    for (; *line; line += used) {
        while (*line == ' ')
            line++;
        if (!*line)
            return;
        if (sscanf(line, "%2x%n", &byte, &used) != 1 || used != 2 || b->len == sizeof b->bytes)
            fail_msg("%s: no hexadecimal bytes, or too many: %s", document, line);
        b->bytes[b->len++] = (uint8_t)byte;
    }
}

static void read_document(struct example *e)
{
    static const char opening[] = "```hex ";
    char line[400];
    struct block *open_block = NULL;
    FILE *f = fopen(document, "r");

    if (!f)
        fail_msg("cannot open %s", document);
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, opening, sizeof opening - 1) == 0) {
            open_block = find_block(e, line + sizeof opening - 1);
            if (open_block->present)
                fail_msg("%s: %s is there twice", document, line);
            open_block->present = true;
        } else if (strncmp(line, "```", 3) == 0) {
            open_block = NULL;
        } else if (open_block) {
            add_hex(open_block, line);
        }
    }
    fclose(f);
}

/* ---- a fresh one ---------------------------------------------------------------------------------------------------
 */

static const char psk_line[] = "example:000102030405060708090a0b0c0d0e0f\n";
static const uint8_t psk_bytes[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
static const struct forced_value value_a = {{0x3c, 0x5f, 0x9a, 0x01, 0x77, 0xe2, 0x40, 0x8b, 0xd6, 0x13, 0x2e, 0x85,
                                             0xc9, 0x60, 0xfb, 0x17}},
                                 value_b = {{0xa7, 0x20, 0x4d, 0xbb, 0x08, 0x91, 0xe6, 0x5c, 0x3a, 0xf4, 0x72, 0x0d,
                                             0xbe, 0x19, 0x66, 0xd3}};

static int keep_handshake_secret(gnutls_session_t session, const char *label, const gnutls_datum_t *secret)
{
    (void)session;
    if (strcmp(label, "SERVER_HANDSHAKE_TRAFFIC_SECRET") == 0)
        set_block(&fresh, SERVER_SECRET, secret->data, secret->size);
    if (strcmp(label, "CLIENT_HANDSHAKE_TRAFFIC_SECRET") == 0)
        set_block(&fresh, CLIENT_SECRET, secret->data, secret->size);
    return 0;
}

/* Records by sender and order. */
static void record_relay(struct pair_of_sides *pair, struct side *from, struct side *to, const uint8_t *record,
                         size_t len)
{
    static const enum block_index of_a[] = {HELLO_A, CLIENT_CCS, CLIENT_FINISHED},
                                  of_b[] = {HELLO_B, SERVER_HELLO, SERVER_CCS, EE_RECORD, SERVER_FINISHED};
    bool is_a = from == &pair->a;

    assert_true(from->records <= (is_a ? sizeof of_a / sizeof of_a[0] : sizeof of_b / sizeof of_b[0]));
    set_block(&fresh, is_a ? of_a[from->records - 1] : of_b[from->records - 1], record, len);
    relay_plainly(pair, from, to, record, len);
}

static void open_one(const struct block *secret, const struct block *record, uint64_t seq, uint8_t *plain, size_t *len);

static void make_fresh(void)
{
    struct identity *psk = load_psk("psk", psk_line);
    struct handshake_config a = {.effective = ROLE_PEER, .speaks_first = true, .identity = psk}, b = a;
    uint8_t hash[HASH], plain[BLOCK_MAX];
    size_t len;

    a.random = (struct random_source){fill_forced, (void *)&value_a};
    b.random = (struct random_source){fill_forced, (void *)&value_b};
    struct pair_of_sides *pair = pair_new(a, b);
    pair->relay = record_relay;
    gnutls_session_set_keylog_function(pair->a.hs->session, keep_handshake_secret);
    pair_run(pair);
    assert_true(both_done(pair));
    sides_free(pair);
    identity_unref(psk);

    set_block(&fresh, PSK, psk_bytes, sizeof psk_bytes);
    set_block(&fresh, VALUE_A, value_a.bytes, sizeof value_a.bytes);
    set_block(&fresh, VALUE_B, value_b.bytes, sizeof value_b.bytes);
    const struct block *hello = &fresh.blocks[HELLO_B];
    assert_true(gnutls_hash_fast(GNUTLS_DIG_SHA256, hello->bytes + RECORD_HEADER, hello->len - RECORD_HEADER, hash) >=
                0);
    set_block(&fresh, HELLO_B_HASH, hash, sizeof hash);
    open_one(&fresh.blocks[SERVER_SECRET], &fresh.blocks[EE_RECORD], 0, plain, &len);
    set_block(&fresh, EE_MESSAGE, plain, len);
}

static void print_fresh(void)
{
    for (int i = 0; i < BLOCKS; i++) {
        const struct block *b = &fresh.blocks[i];
        printf("```hex %s", names[i]);
        for (size_t at = 0; at < b->len; at++)
            printf("%s%02x", at % LINE_BYTES == 0 ? "\n" : " ", b->bytes[at]);
        printf("\n```\n\n");
    }
}

/* ---- checks, each on both ------------------------------------------------------------------------------------------
 */

static void assert_bytes(const uint8_t *found, const uint8_t *expected, size_t len, const char *what)
{
    if (memcmp(found, expected, len) != 0)
        fail_msg("%s does not fit", what);
}

static void every_block_is_there(void **state)
{
    static const size_t lengths[BLOCKS] = {[PSK] = 16,
                                           [VALUE_A] = ROLE_VALUE_BYTES,
                                           [VALUE_B] = ROLE_VALUE_BYTES,
                                           [HELLO_B_HASH] = HASH,
                                           [SERVER_SECRET] = HASH,
                                           [CLIENT_SECRET] = HASH};
    const struct example *e = *state;

    for (int i = 0; i < BLOCKS; i++)
        if (!e->blocks[i].present || !e->blocks[i].len || (lengths[i] && e->blocks[i].len != lengths[i]))
            fail_msg("%s is missing, or of another length: %zu bytes", names[i], e->blocks[i].len);
}

/* A plaintext record of one whole message. Versions are in no transcript, so they are looked at here. */
static void assert_record(const struct block *b, uint16_t version)
{
    assert_true(b->len > RECORD_HEADER);
    assert_int_equal(b->bytes[0], RECORD_HANDSHAKE);
    assert_int_equal(be16(b->bytes + 1), version);
    assert_int_equal(be16(b->bytes + 3), b->len - RECORD_HEADER);
}

static void assert_hello(const struct block *record, const struct block *value)
{
    struct hello h = {0};

    assert_record(record, 0x0301);
    assert_int_equal(hello_add_record(&h, record->bytes, record->len), RESULT_OK);
    assert_int_equal(h.kind, HELLO_CLIENT);
    assert_true(h.has_role);
    assert_bytes(h.role.bytes, value->bytes, ROLE_VALUE_BYTES, "the value in a hello");
    hello_free(&h);
}

static void both_hellos_parse_and_carry_their_values(void **state)
{
    const struct example *e = *state;

    assert_hello(&e->blocks[HELLO_A], &e->blocks[VALUE_A]);
    assert_hello(&e->blocks[HELLO_B], &e->blocks[VALUE_B]);
}

static void the_lower_value_stays_client(void **state)
{
    const struct example *e = *state;
    struct role_value a, b;

    memcpy(a.bytes, e->blocks[VALUE_A].bytes, sizeof a.bytes);
    memcpy(b.bytes, e->blocks[VALUE_B].bytes, sizeof b.bytes);
    assert_true(role_value_compare(&a, &b) < 0);
    assert_int_equal(role_judge(ROLE_PEER, &a, true, false, &b), OUTCOME_CLIENT);
    assert_int_equal(role_judge(ROLE_PEER, &b, true, false, &a), OUTCOME_SERVER);
}

static void derive(const uint8_t *secret, const char *label, const uint8_t *context, size_t context_len,
                   uint8_t out[HASH])
{
    assert_int_equal(
        record_expand_label(SUITE_AES_128_GCM_SHA256, secret, HASH, label, context, context_len, out, HASH), RESULT_OK);
}

/* RFC 8446 section 4.2.11.2: over the hello up to the list of binders, which is its end. */
static void assert_binder(const struct block *hello, const struct block *key)
{
    uint8_t zeros[HASH] = {0}, nothing[HASH], early[HASH], binder_key[HASH], finished[HASH], transcript[HASH],
            binder[HASH];
    gnutls_datum_t ikm = {(uint8_t *)key->bytes, (unsigned)key->len}, salt = {zeros, sizeof zeros};
    size_t upto = hello->len - BINDERS;

    assert_true(gnutls_hash_fast(GNUTLS_DIG_SHA256, "", 0, nothing) >= 0);
    assert_true(gnutls_hkdf_extract(GNUTLS_MAC_SHA256, &ikm, &salt, early) >= 0);
    derive(early, "ext binder", nothing, sizeof nothing, binder_key);
    derive(binder_key, "finished", NULL, 0, finished);
    assert_true(gnutls_hash_fast(GNUTLS_DIG_SHA256, hello->bytes + RECORD_HEADER, upto - RECORD_HEADER, transcript) >=
                0);
    assert_true(gnutls_hmac_fast(GNUTLS_MAC_SHA256, finished, HASH, transcript, HASH, binder) >= 0);
    assert_bytes(hello->bytes + upto + 3, binder, HASH, "a binder");
}

static void the_binders_show_the_pre_shared_key(void **state)
{
    const struct example *e = *state;

    assert_binder(&e->blocks[HELLO_A], &e->blocks[PSK]);
    assert_binder(&e->blocks[HELLO_B], &e->blocks[PSK]);
}

static void the_hash_is_that_of_the_dropped_hello(void **state)
{
    const struct example *e = *state;
    const struct block *hello = &e->blocks[HELLO_B];
    uint8_t hash[HASH];

    assert_true(gnutls_hash_fast(GNUTLS_DIG_SHA256, hello->bytes + RECORD_HEADER, hello->len - RECORD_HEADER, hash) >=
                0);
    assert_bytes(e->blocks[HELLO_B_HASH].bytes, hash, HASH, "the hash of the dropped hello");
}

static void change_cipher_specs_are_those_of_rfc8446(void **state)
{
    static const uint8_t ccs[] = {RECORD_CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 1};
    const struct example *e = *state;

    for (int i = 0; i < 2; i++) {
        const struct block *b = &e->blocks[i ? CLIENT_CCS : SERVER_CCS];
        assert_int_equal(b->len, sizeof ccs);
        assert_bytes(b->bytes, ccs, sizeof ccs, "a change_cipher_spec");
    }
}

static void open_one(const struct block *secret, const struct block *record, uint64_t seq, uint8_t *plain, size_t *len)
{
    struct record_keys keys;
    struct record_cipher *cipher = NULL;
    enum record_type type;
    uint8_t alert;

    assert_int_equal(record_keys_init(&keys, SUITE_AES_128_GCM_SHA256, secret->bytes, secret->len), RESULT_OK);
    keys.seq = seq;
    assert_int_equal(record_cipher_fit(&cipher, &keys), RESULT_OK);
    if (record_open(cipher, &keys, record->bytes, record->len, plain, len, &type, &alert) != RESULT_OK)
        fail_msg("a record does not open under the documented secret (alert %u)", alert);
    assert_int_equal(type, RECORD_HANDSHAKE);
    record_cipher_free(cipher);
}

static void encrypted_extensions_decrypt_and_hold_the_echo(void **state)
{
    const struct example *e = *state;
    uint8_t plain[BLOCK_MAX],
        expected[4 + ECHO_BYTES] = {P2P_ROLE_EXTENSION >> 8, P2P_ROLE_EXTENSION & 0xff, 0, ECHO_BYTES};
    size_t len;

    open_one(&e->blocks[SERVER_SECRET], &e->blocks[EE_RECORD], 0, plain, &len);
    assert_int_equal(len, e->blocks[EE_MESSAGE].len);
    assert_bytes(e->blocks[EE_MESSAGE].bytes, plain, len, "EncryptedExtensions");
    memcpy(expected + 4, e->blocks[VALUE_B].bytes, ROLE_VALUE_BYTES);
    memcpy(expected + 4 + ROLE_VALUE_BYTES, e->blocks[HELLO_B_HASH].bytes, HASH);
    assert_int_equal(plain[0], GNUTLS_HANDSHAKE_ENCRYPTED_EXTENSIONS);
    assert_int_equal(be24(plain + 1), len - MESSAGE_HEADER);
    assert_non_null(memmem(plain, len, expected, sizeof expected));
}

/* Finished proves the transcript: of the messages that count, so without the dropped hello. */
static void assert_finished(const struct block *secret, const struct block *record, uint64_t seq,
                            const struct wire *transcript, struct wire *next)
{
    uint8_t plain[BLOCK_MAX], key[HASH], hash[HASH], mac[HASH];
    size_t len;

    open_one(secret, record, seq, plain, &len);
    assert_int_equal(len, MESSAGE_HEADER + HASH);
    assert_int_equal(plain[0], GNUTLS_HANDSHAKE_FINISHED);
    derive(secret->bytes, "finished", NULL, 0, key);
    assert_true(gnutls_hash_fast(GNUTLS_DIG_SHA256, transcript->bytes, transcript->len, hash) >= 0);
    assert_true(gnutls_hmac_fast(GNUTLS_MAC_SHA256, key, HASH, hash, HASH, mac) >= 0);
    assert_bytes(plain + MESSAGE_HEADER, mac, HASH, "a Finished");
    wire_add(next, plain, len);
}

static void the_transcript_is_that_of_a_handshake_without_the_dropped_hello(void **state)
{
    static const enum block_index clear[] = {HELLO_A, SERVER_HELLO};
    const struct example *e = *state;
    struct wire *transcript = calloc(1, sizeof *transcript), *end = calloc(1, sizeof *end);

    assert_non_null(transcript);
    assert_non_null(end);
    assert_record(&e->blocks[SERVER_HELLO], 0x0303);
    for (size_t i = 0; i < 2; i++)
        wire_add(transcript, e->blocks[clear[i]].bytes + RECORD_HEADER, e->blocks[clear[i]].len - RECORD_HEADER);
    wire_add(transcript, e->blocks[EE_MESSAGE].bytes, e->blocks[EE_MESSAGE].len);
    assert_finished(&e->blocks[SERVER_SECRET], &e->blocks[SERVER_FINISHED], 1, transcript, transcript);
    assert_finished(&e->blocks[CLIENT_SECRET], &e->blocks[CLIENT_FINISHED], 0, transcript, end);
    free(transcript);
    free(end);
}

static int set_up(void **state)
{
    if (folder_make(state) != 0)
        return -1;
    make_fresh();
    read_document(&recorded);
    return 0;
}

#define ON_BOTH(test) cmocka_unit_test_prestate(test, &recorded), cmocka_unit_test_prestate(test, &fresh)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(every_block_is_there),
        ON_BOTH(both_hellos_parse_and_carry_their_values),
        ON_BOTH(the_lower_value_stays_client),
        ON_BOTH(the_binders_show_the_pre_shared_key),
        ON_BOTH(the_hash_is_that_of_the_dropped_hello),
        ON_BOTH(change_cipher_specs_are_those_of_rfc8446),
        ON_BOTH(encrypted_extensions_decrypt_and_hold_the_echo),
        ON_BOTH(the_transcript_is_that_of_a_handshake_without_the_dropped_hello),
    };

    if (argc > 1 && strcmp(argv[1], "--new") == 0) {
        void *state = NULL;
        if (folder_make(&state) != 0)
            return 1;
        make_fresh();
        print_fresh();
        return folder_remove(&state);
    }
    if (argc > 1)
        document = argv[1];
    return cmocka_run_group_tests(tests, set_up, folder_remove);
}
