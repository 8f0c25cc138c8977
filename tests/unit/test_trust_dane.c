/* dane=on: which TLSA records a peer fits (RFC 6698, RFC 7671); in both TLS roles. */
#include "trust_help.h"

static struct certificate ca, between, leaf, deep, self, old;

static int make_all(void **state)
{
    if (folder_make(state) != 0)
        return -1;
    ca = make_certificate((struct certificate_spec){.name = "test CA", .is_ca = true});
    between = make_certificate((struct certificate_spec){.name = "between", .is_ca = true, .issuer = &ca});
    leaf = make_certificate(
        (struct certificate_spec){.name = "leaf", .issuer = &ca, .sans = {{SAN_DNS, "db.example.org", 0}}});
    deep = make_certificate(
        (struct certificate_spec){.name = "deep", .issuer = &between, .sans = {{SAN_DNS, "db.example.org", 0}}});
    self = make_certificate((struct certificate_spec){.name = "self"});
    old = make_certificate((struct certificate_spec){.name = "old", .from_days = -10, .until_days = -5});
    return 0;
}

static int free_all(void **state)
{
    struct certificate *all[] = {&ca, &between, &leaf, &deep, &self, &old};

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free_certificate(all[i]);
    return folder_remove(state);
}

static const struct show show_self = {.chain = {&self}, .count = 1}, show_leaf = {.chain = {&leaf}, .count = 1},
                         show_rooted = {.chain = {&leaf, &ca}, .count = 2},
                         show_deep = {.chain = {&deep, &between}, .count = 2};

static size_t selected(const struct certificate *c, int selector, uint8_t out[2048])
{
    size_t len;

    if (selector == 0) {
        gnutls_datum_t der;
        assert_true(gnutls_x509_crt_export2(c->cert, GNUTLS_X509_FMT_DER, &der) >= 0);
        assert_true(der.size <= 2048);
        memcpy(out, der.data, len = der.size);
        gnutls_free(der.data);
        return len;
    }
    struct secret_bytes key = {0};
    assert_int_equal(identity_x509_spki(c->cert, &key), 0);
    memcpy(out, key.bytes, len = key.len);
    secret_wipe(&key);
    return len;
}

static void add(struct tlsa_set *set, int usage, int selector, int matching, const struct certificate *c)
{
    uint8_t rdata[2048 + 3] = {(uint8_t)usage, (uint8_t)selector, (uint8_t)matching}, bytes[2048];
    size_t len = selected(c, selector, bytes);

    if (matching == 0) {
        memcpy(rdata + 3, bytes, len);
    } else {
        const gnutls_digest_algorithm_t digest = matching == 1 ? GNUTLS_DIG_SHA256 : GNUTLS_DIG_SHA512;
        assert_true(gnutls_hash_fast(digest, bytes, len, rdata + 3) >= 0);
        len = gnutls_hash_get_len(digest);
    }
    assert_true(tlsa_add(set, rdata, len + 3));
}

static struct identity_expectation dial(const char *name, const struct tlsa_set *set)
{
    return (struct identity_expectation){.dialled_name = name, .port = 5432, .connected_side = true, .tlsa = set};
}

static struct policy_trust dane_only(void)
{
    return trust_of((struct policy_trust){.dane = true}, NULL);
}

static void dane_ee_takes_the_leaf_alone_without_name_date_or_ca(void **state)
{
    const struct policy_trust trust = dane_only();
    const struct show expired = {.chain = {&old}, .count = 1};

    (void)state;
    for (int selector = 0; selector < 2; selector++)
        for (int matching = 0; matching < 3; matching++) {
            struct tlsa_set set = {0};
            add(&set, 3, selector, matching, &self);
            accepts(&trust, &show_self, dial("db.example.org", &set));
            refuses(&trust, &show_leaf, dial("db.example.org", &set), "fits none of the 1 TLSA records of its name");
            add(&set, 3, selector, matching, &old);
            accepts(&trust, &expired, dial("db.example.org", &set));
        }
}

static void dane_ee_fits_a_raw_key_by_its_key(void **state)
{
    const struct policy_trust trust = dane_only();
    struct show raw = show_self;
    struct tlsa_set by_key = {0}, by_certificate = {0};

    (void)state;
    raw.raw = true;
    add(&by_key, 3, 1, 1, &self);
    add(&by_certificate, 3, 0, 1, &self);
    accepts(&trust, &raw, dial("db.example.org", &by_key));
    refuses(&trust, &raw, dial("db.example.org", &by_certificate), "fits none of the 1 TLSA records");
}

static void dane_ta_takes_a_ca_that_is_shown_and_checks_chain_and_name(void **state)
{
    const struct policy_trust trust = dane_only();
    struct certificate fake = make_certificate((struct certificate_spec){.name = "between", .is_ca = true}),
                       forged = make_certificate((struct certificate_spec){
                           .name = "forged", .issuer = &fake, .sans = {{SAN_DNS, "db.example.org", 0}}});
    const struct show show_forged = {.chain = {&forged, &between}, .count = 2};

    (void)state;
    for (int selector = 0; selector < 2; selector++)
        for (int matching = 0; matching < 3; matching++) {
            struct tlsa_set set = {0};
            add(&set, 2, selector, matching, &between);
            accepts(&trust, &show_deep, dial("db.example.org", &set));
            refuses(&trust, &show_deep, dial("evil.example.org", &set), "does not carry the name evil.example.org");
            refuses(&trust, &show_leaf, dial("db.example.org", &set), "fits none");
            refuses(&trust, &show_forged, dial("db.example.org", &set), "fits none");
            set = (struct tlsa_set){0};
            add(&set, 2, selector, matching, &deep); /* a leaf is no anchor */
            refuses(&trust, &show_deep, dial("db.example.org", &set), "fits none");
        }
    struct tlsa_set set = {0};
    add(&set, 2, 0, 1, &ca);
    accepts(&trust, &show_rooted, dial("db.example.org", &set));
    refuses(&trust, &show_leaf, dial("db.example.org", &set), "fits none"); /* the digest of what is not shown */
    add(&set, 2, 0, 0, &ca);
    accepts(&trust, &show_leaf, dial("db.example.org", &set)); /* the record is the CA itself */
    free_certificate(&fake);
    free_certificate(&forged);
}

static void pkix_usages_need_ca_as_well(void **state)
{
    const char *cas = write_certificates("ca.pem", &ca, NULL);
    const struct policy_trust both = trust_of((struct policy_trust){.dane = true, .ca = cas}, "dane"),
                              without = dane_only();
    struct tlsa_set ee = {0}, ta = {0}, middle = {0}, wrong = {0};

    (void)state;
    add(&ee, 1, 1, 1, &leaf);
    add(&ta, 0, 0, 2, &ca);
    add(&middle, 0, 1, 1, &between);
    add(&wrong, 1, 1, 1, &self);
    accepts(&both, &show_leaf, dial("db.example.org", &ee));
    accepts(&both, &show_leaf, dial("db.example.org", &ta));
    accepts(&both, &show_deep, dial("db.example.org", &middle));
    refuses(&both, &show_leaf, dial("evil.example.org", &ee), "does not carry the name");
    refuses(&both, &show_leaf, dial("evil.example.org", &ta), "does not carry the name");
    refuses(&both, &show_self, dial("db.example.org", &wrong), "fits none");
    refuses(&without, &show_leaf, dial("db.example.org", &ee), "has no TLSA record that could be used");
}

static void of_two_digests_the_stronger_one_counts(void **state)
{
    const struct policy_trust trust = dane_only();
    struct tlsa_set set = {0};

    (void)state;
    add(&set, 3, 1, 1, &self);
    accepts(&trust, &show_self, dial("db.example.org", &set));
    add(&set, 3, 1, 2, &leaf);
    refuses(&trust, &show_self, dial("db.example.org", &set), "fits none of the 1 TLSA");
    add(&set, 3, 1, 2, &self);
    accepts(&trust, &show_self, dial("db.example.org", &set));
}

static void without_a_usable_record_nobody_is_trusted(void **state)
{
    const struct policy_trust trust = dane_only();
    struct tlsa_set set = {0};
    static const uint8_t unusable[][40] = {
        {4, 1, 1},
        {3, 2, 1},
        {3, 1, 3},
        {255, 0, 1},
    };

    (void)state;
    refuses(&trust, &show_self, dial("db.example.org", NULL), "an address was dialled");
    refuses(&trust, &show_self, dial("db.example.org", &set), "has no TLSA record that could be used");
    for (size_t i = 0; i < 4; i++)
        assert_false(tlsa_add(&set, unusable[i], 35));
    assert_false(tlsa_add(&set, (const uint8_t *)"\3\1\1", 3));
    assert_false(tlsa_add(&set, (const uint8_t *)"\3\1\0", 3));
    assert_false(tlsa_add(&set, (const uint8_t *)"\3\1", 2));
    uint8_t digest[3 + 65] = {3, 1, 1};
    assert_false(tlsa_add(&set, digest, 3 + 31));
    assert_false(tlsa_add(&set, digest, 3 + 33));
    digest[2] = 2;
    assert_false(tlsa_add(&set, digest, 3 + 63));
    assert_int_equal(set.count, 0);
    refuses(&trust, &show_self, dial("db.example.org", &set), "publish one for the key sha256:");
}

static void who_accepts_has_dialled_no_name(void **state)
{
    const struct policy_trust trust = dane_only();
    struct tlsa_set set = {0};
    struct identity_expectation expect = dial("db.example.org", &set);

    (void)state;
    add(&set, 3, 1, 1, &self);
    expect.connected_side = false;
    refuses(&trust, &show_self, expect, "only names that were dialled can");
}

static void a_set_is_bounded(void **state)
{
    static uint8_t big[3 + TLSA_BYTES_MAX + 1] = {3, 0, 0};
    struct tlsa_set set = {0};
    uint8_t digest[3 + 32] = {3, 1, 1};

    (void)state;
    assert_false(tlsa_add(&set, big, sizeof big));
    assert_true(tlsa_add(&set, big, sizeof big - 1));
    assert_false(tlsa_add(&set, digest, sizeof digest));
    set = (struct tlsa_set){0};
    for (int i = 0; i < TLSA_RECORDS_MAX; i++)
        assert_true(tlsa_add(&set, digest, sizeof digest));
    assert_false(tlsa_add(&set, digest, sizeof digest));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dane_ee_takes_the_leaf_alone_without_name_date_or_ca),
        cmocka_unit_test(dane_ee_fits_a_raw_key_by_its_key),
        cmocka_unit_test(dane_ta_takes_a_ca_that_is_shown_and_checks_chain_and_name),
        cmocka_unit_test(pkix_usages_need_ca_as_well),
        cmocka_unit_test(of_two_digests_the_stronger_one_counts),
        cmocka_unit_test(without_a_usable_record_nobody_is_trusted),
        cmocka_unit_test(who_accepts_has_dialled_no_name),
        cmocka_unit_test(a_set_is_bounded),
    };

    return cmocka_run_group_tests_name("trust_dane", tests, make_all, free_all);
}
