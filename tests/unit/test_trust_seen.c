/* Certificates that were accepted before are not parsed again, and judged all the same. Nothing here needs a handshake:
 * what is shown is what a session of before remembers. */
#include "trust_help.h"

#include "tickets.h"

static struct certificate ca, other_ca, leaf, old, other;

static int make_all(void **state)
{
    if (folder_make(state) != 0)
        return -1;
    ca = make_certificate((struct certificate_spec){.name = "test CA", .is_ca = true});
    other_ca = make_certificate((struct certificate_spec){.name = "other CA", .is_ca = true});
    leaf = make_certificate((struct certificate_spec){
        .name = "leaf", .issuer = &ca, .sans = {{SAN_DNS, "db.example.org", 0}, {SAN_DNS, "*.sub.example.org", 0}}});
    old = make_certificate((struct certificate_spec){.name = "old", .issuer = &ca, .from_days = -2, .until_days = -1});
    other = make_certificate((struct certificate_spec){.name = "other", .issuer = &other_ca});
    return 0;
}

static int free_all(void **state)
{
    struct certificate *all[] = {&ca, &other_ca, &leaf, &old, &other};

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free_certificate(all[i]);
    return folder_remove(state);
}

static struct trust_store *store_of_ca(void)
{
    const struct policy_trust trust =
        trust_of((struct policy_trust){.ca = write_certificates("ca.pem", &ca, NULL)}, NULL);

    return store_ok(&trust);
}

/* One look at a peer that shows count certificates; der is theirs, freed by look_end. */
struct look {
    gnutls_datum_t der[2];
    struct identity_expectation expect;
    struct shown_peer shown;
    char why[IDENTITY_WHY_MAX];
};

static void look_begin(struct look *l, const struct trust_store *store, const struct certificate *c,
                       const struct certificate *more, struct identity_expectation expect)
{
    *l = (struct look){.expect = expect};
    assert_true(gnutls_x509_crt_export2(c->cert, GNUTLS_X509_FMT_DER, &l->der[0]) >= 0);
    if (more)
        assert_true(gnutls_x509_crt_export2(more->cert, GNUTLS_X509_FMT_DER, &l->der[1]) >= 0);
    l->expect.remembered = l->der;
    l->expect.remembered_count = more ? 2 : 1;
    l->expect.resumed = true;
    assert_int_equal(shown_peer_take(store, NULL, &l->expect, &l->shown, l->why), RESULT_OK);
}

static void look_end(struct look *l)
{
    shown_peer_free(&l->shown);
    gnutls_free(l->der[0].data);
    gnutls_free(l->der[1].data);
}

/* Judges it; *parsed: certificates that were parsed for that. */
static enum result judge(const struct trust_store *store, const struct certificate *c,
                         struct identity_expectation expect, unsigned *parsed, char why[IDENTITY_WHY_MAX])
{
    struct look l;
    struct trust_verdict verdict = {0};

    look_begin(&l, store, c, NULL, expect);
    const struct trust_question q = {store, &l.shown, &l.expect, NULL};
    const enum result r = trust_judge(&q, &verdict, l.why);
    *parsed = l.shown.count;
    memcpy(why, l.why, IDENTITY_WHY_MAX);
    look_end(&l);
    return r;
}

static void accepts_parsing(const struct trust_store *store, const struct certificate *c,
                            struct identity_expectation expect, unsigned expected)
{
    char why[IDENTITY_WHY_MAX];
    unsigned parsed;

    if (judge(store, c, expect, &parsed, why) != RESULT_OK)
        fail_msg("refused: %s", why);
    assert_int_equal(parsed, expected);
}

static void refuses_because(const struct trust_store *store, const struct certificate *c,
                            struct identity_expectation expect, const char *part_of_why)
{
    char why[IDENTITY_WHY_MAX];
    unsigned parsed;

    assert_int_equal(judge(store, c, expect, &parsed, why), RESULT_IDENTITY);
    if (!strstr(why, part_of_why))
        fail_msg("expected a sentence with: %s\nfound: %s", part_of_why, why);
}

static struct identity_expectation dialled(const char *name)
{
    return (struct identity_expectation){.dialled_name = name, .port = 5432, .connected_side = true};
}

static struct identity_expectation patterns(const char *peer)
{
    return (struct identity_expectation){.peer_patterns = peer, .connected_side = true};
}

static const struct identity_expectation accepted;

static void what_is_found_again_is_what_was_read(void **state)
{
    struct trust_store *store = store_of_ca();
    struct look first, again;

    (void)state;
    look_begin(&first, store, &leaf, NULL, accepted);
    assert_int_equal(first.shown.count, 1);
    seen_peers_keep(store->seen, &first.shown, &accepted, true);
    look_begin(&again, store, &leaf, NULL, accepted);
    assert_int_equal(again.shown.count, 0);
    assert_int_equal(again.shown.key.len, first.shown.key.len);
    assert_memory_equal(again.shown.key.bytes, first.shown.key.bytes, first.shown.key.len);
    assert_memory_equal(again.shown.key_hash, first.shown.key_hash, KEY_HASH_BYTES);
    assert_string_equal(again.shown.certificate_hash, first.shown.certificate_hash);
    assert_string_equal(again.shown.fingerprint, first.shown.fingerprint);
    assert_string_equal(again.shown.subject, "CN=leaf");
    assert_true(again.shown.expires == first.shown.expires && first.shown.expires > time(NULL));
    assert_int_equal(shown_peer_parse(&again.shown, again.why), RESULT_OK);
    assert_int_equal(again.shown.count, 1);
    look_end(&first);
    look_end(&again);
    trust_store_free(store);
}

static void a_peer_is_parsed_once(void **state)
{
    struct trust_store *store = store_of_ca(), *second = store_of_ca();

    (void)state;
    accepts_parsing(store, &leaf, accepted, 1);
    accepts_parsing(store, &leaf, accepted, 0);
    accepts_parsing(second, &leaf, accepted, 1); /* another rule knows nothing of it */
    trust_store_free(store);
    trust_store_free(second);
}

static void another_certificate_beside_it_makes_another_peer(void **state)
{
    struct trust_store *store = store_of_ca();
    struct look l;

    (void)state;
    accepts_parsing(store, &leaf, accepted, 1);
    look_begin(&l, store, &leaf, &other, accepted);
    assert_int_equal(l.shown.count, 2);
    look_end(&l);
    trust_store_free(store);
}

static void who_is_refused_is_not_kept(void **state)
{
    struct trust_store *store = store_of_ca();
    struct look l;

    (void)state;
    refuses_because(store, &other, accepted, "was not issued by a trusted CA");
    refuses_because(store, &leaf, dialled("evil.example.org"), "does not carry the name evil.example.org");
    look_begin(&l, store, &other, NULL, accepted);
    assert_int_equal(l.shown.count, 1);
    look_end(&l);
    look_begin(&l, store, &leaf, NULL, accepted);
    assert_int_equal(l.shown.count, 1);
    look_end(&l);
    trust_store_free(store);
}

static void a_name_that_was_not_looked_for_is_looked_for(void **state)
{
    struct trust_store *store = store_of_ca();

    (void)state;
    accepts_parsing(store, &leaf, dialled("db.example.org"), 1);
    accepts_parsing(store, &leaf, dialled("db.example.org"), 0);
    refuses_because(store, &leaf, dialled("db.example.or"), "does not carry the name db.example.or:");
    refuses_because(store, &leaf, dialled("evil.example.org"), "does not carry the name evil.example.org");
    accepts_parsing(store, &leaf, dialled("db.example.org"), 0);
    accepts_parsing(store, &leaf, dialled("one.sub.example.org"), 1);
    accepts_parsing(store, &leaf, dialled("one.sub.example.org"), 0);
    accepts_parsing(store, &leaf, accepted, 0);
    accepts_parsing(store, &leaf, dialled("one.sub.example.org"), 0);
    trust_store_free(store);
}

/* As peer= it stands for any one label, as a name that was dialled for nothing. */
static void a_pattern_is_no_name(void **state)
{
    struct trust_store *store = store_of_ca();

    (void)state;
    accepts_parsing(store, &leaf, patterns("*.example.org"), 1);
    accepts_parsing(store, &leaf, patterns("*.example.org"), 0);
    refuses_because(store, &leaf, dialled("*.example.org"), "does not carry the name *.example.org");
    refuses_because(store, &leaf, patterns("*.example.net"), "does not carry the name *.example.net");
    struct identity_expectation both = patterns("uri:spiffe://td/x");
    both.dialled_name = "db.example.org";
    accepts_parsing(store, &leaf, dialled("db.example.org"), 1);
    refuses_because(store, &leaf, both, "does not carry the name uri:spiffe://td/x");
    trust_store_free(store);
}

static void system_cas_may_change_what_fits_a_pattern(void **state)
{
    struct trust_store *store = store_of_ca();

    (void)state;
    store->has_system_cas = true;
    accepts_parsing(store, &leaf, patterns("db.example.org"), 1);
    accepts_parsing(store, &leaf, patterns("db.example.org"), 1);
    accepts_parsing(store, &leaf, dialled("db.example.org"), 1);
    accepts_parsing(store, &leaf, dialled("db.example.org"), 0);
    trust_store_free(store);
}

/* It is not the trust that is kept: another hour, another verdict. */
static void who_has_expired_since_is_refused(void **state)
{
    struct trust_store *store = store_of_ca();
    struct look l;

    (void)state;
    look_begin(&l, store, &old, NULL, accepted);
    seen_peers_keep(store->seen, &l.shown, &accepted, true);
    look_end(&l);
    look_begin(&l, store, &old, NULL, accepted);
    assert_int_equal(l.shown.count, 0);
    look_end(&l);
    refuses_because(store, &old, accepted, "expired: renew it on the remote side");
    trust_store_free(store);
}

static void a_path_that_was_not_verified_lately_is_verified(void **state)
{
    struct trust_store *store = store_of_ca();

    (void)state;
    accepts_parsing(store, &leaf, accepted, 1);
    tickets_clock_forward(61000);
    accepts_parsing(store, &leaf, accepted, 1);
    accepts_parsing(store, &leaf, accepted, 0);
    trust_store_free(store);
}

static void a_list_of_what_was_revoked_is_asked_each_time(void **state)
{
    struct trust_store *store = store_of_ca();

    (void)state;
    accepts_parsing(store, &leaf, accepted, 1);
    store->expression = trust_of((struct policy_trust){.ca = "x", .crl = "x"}, NULL).expression;
    refuses_because(store, &leaf, accepted, "may be revoked: set crl= or ocsp=stapled");
    trust_store_free(store);
}

/* A key that is trusted as such needs no certificate to be read at all, once it is known whose it is. */
static void pins_are_compared_each_time(void **state)
{
    const struct policy_trust trust = trust_of((struct policy_trust){.pins = pin_of(&leaf)}, NULL);
    struct trust_store *store = store_ok(&trust);

    (void)state;
    accepts_parsing(store, &leaf, dialled("any.example.org"), 1);
    accepts_parsing(store, &leaf, dialled("any.example.org"), 0);
    refuses_because(store, &leaf, patterns("evil.example.org"), "does not carry the name");
    store->pins[0][0] ^= 1;
    refuses_because(store, &leaf, accepted, "which is not pinned");
    trust_store_free(store);
}

static void a_raw_key_is_no_certificate(void **state)
{
    const struct policy_trust trust = trust_of((struct policy_trust){.pins = pin_of(&leaf)}, NULL);
    struct trust_store *store = store_ok(&trust);
    struct identity_expectation raw = {.remembered_count = 1, .remembered_raw = true, .resumed = true};
    struct secret_bytes key = {0};
    struct shown_peer shown;
    struct trust_verdict verdict = {0};
    char why[IDENTITY_WHY_MAX];

    (void)state;
    assert_int_equal(identity_x509_spki(leaf.cert, &key), 0);
    const gnutls_datum_t der = {key.bytes, (unsigned)key.len};
    raw.remembered = &der;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(shown_peer_take(store, NULL, &raw, &shown, why), RESULT_OK);
        const struct trust_question q = {store, &shown, &raw, NULL};
        assert_int_equal(trust_judge(&q, &verdict, why), RESULT_OK);
        assert_true(shown.raw && shown.count == 0 && shown.expires == 0);
        shown_peer_free(&shown);
    }
    raw.peer_patterns = "db.example.org";
    assert_int_equal(shown_peer_take(store, NULL, &raw, &shown, why), RESULT_OK);
    const struct trust_question q = {store, &shown, &raw, NULL};
    assert_int_equal(trust_judge(&q, &verdict, why), RESULT_IDENTITY);
    assert_non_null(strstr(why, "carries no name"));
    shown_peer_free(&shown);
    secret_wipe(&key);
    trust_store_free(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_found_again_is_what_was_read),
        cmocka_unit_test(a_peer_is_parsed_once),
        cmocka_unit_test(another_certificate_beside_it_makes_another_peer),
        cmocka_unit_test(who_is_refused_is_not_kept),
        cmocka_unit_test(a_name_that_was_not_looked_for_is_looked_for),
        cmocka_unit_test(a_pattern_is_no_name),
        cmocka_unit_test(system_cas_may_change_what_fits_a_pattern),
        cmocka_unit_test(who_has_expired_since_is_refused),
        cmocka_unit_test(a_path_that_was_not_verified_lately_is_verified),
        cmocka_unit_test(a_list_of_what_was_revoked_is_asked_each_time),
        cmocka_unit_test(pins_are_compared_each_time),
        cmocka_unit_test(a_raw_key_is_no_certificate),
    };
    return cmocka_run_group_tests(tests, make_all, free_all);
}
