/* identity_load: what is loaded, what is refused, and what the refusal says. */
#include "identity_help.h"

#include <errno.h>
#include <sched.h>
#include <sys/wait.h>

static struct certificate ca, own;

static int make_ca(void **state)
{
    ca = make_certificate((struct certificate_spec){.name = "test CA", .is_ca = true});
    own = make_certificate((struct certificate_spec){.name = "own", .issuer = &ca});
    return folder_make(state);
}

static int free_ca(void **state)
{
    free_certificate(&ca);
    free_certificate(&own);
    return folder_remove(state);
}

/* Key and certificate as given, with ca to trust. */
static struct identity_files config_of(const struct certificate *c)
{
    return (struct identity_files){.cert_file = write_certificates("t.crt", c, NULL),
                                   .key_file = write_key("t.key", c, 0600),
                                   .ca_file = write_certificates("t-ca.crt", &ca, NULL)};
}

static void loads_and_says_what_it_is(void **state)
{
    (void)state;
    struct identity *id = load_ok(config_of(&own));
    assert_false(identity_uses_psk(id));
    assert_int_equal(identity_auth(id), AUTH_REQUIRE);
    assert_null(strstr(identity_priorities(id, false), "PSK"));
    identity_unref(id);

    id = load_ok((struct identity_files){.psk_file = write_text("psk", PSK_ALICE, 0600)});
    assert_true(identity_uses_psk(id));
    assert_non_null(strstr(identity_priorities(id, false), "+ECDHE-PSK"));
    identity_unref(id);

    id = load_ok((struct identity_files){.auth = AUTH_INSECURE_NONE});
    assert_int_equal(identity_auth(id), AUTH_INSECURE_NONE);
    identity_unref(id);
    identity_unref(NULL);
}

static void refuses_configurations_that_contradict_themselves(void **state)
{
    const char *cert = write_certificates("c.crt", &own, NULL), *key = write_key("c.key", &own, 0600),
               *trust = write_certificates("c-ca.crt", &ca, NULL), *psk = write_text("c.psk", PSK_ALICE, 0600);
    const struct {
        struct identity_files config;
        const char *part;
    } table[] = {
        {{0}, "no identity"},
        {{.psk_file = psk, .cert_file = cert, .key_file = key, .ca_file = trust}, "psk="},
        {{.psk_file = psk, .ca_file = trust}, "psk="},
        {{.psk_file = psk, .auth = AUTH_INSECURE_NONE}, "insecure"},
        {{.cert_file = cert, .ca_file = trust}, "key= is missing"},
        {{.ca_file = trust}, "cert= and key="},
        {{.ca_file = trust, .state_dir = folder}, "cert= and key="},
        {{.cert_file = cert, .key_file = key}, "ca= is missing"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        load_refused(table[i].config, table[i].part);
    identity_unref(load_ok((struct identity_files){.cert_file = cert, .key_file = key, .ca_file = trust}));
    identity_unref(load_ok((struct identity_files){.key_file = key, .ca_file = trust})); /* shows a raw public key */
    identity_unref(load_ok((struct identity_files){.cert_file = cert, .key_file = key, .auth = AUTH_INSECURE_NONE}));
}

static const struct {
    mode_t mode;
    bool secret_ok, public_ok;
} modes[] = {
    {0600, true, true},  {0400, true, true},   {0700, true, true},  {0640, false, true},  {0620, false, true},
    {0610, false, true}, {0604, false, true},  {0601, false, true}, {0602, false, false}, {0644, false, true},
    {0664, false, true}, {0666, false, false}, {04600, true, true},
};

static void refuses_secret_files_that_others_can_use(void **state)
{
    struct identity_files config = config_of(&own);

    (void)state;
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        char part[400];
        const struct identity_files psk = {.psk_file = write_text("m.psk", PSK_ALICE, modes[i].mode)};
        snprintf(part, sizeof part, "mode %04o lets others use it: chmod 600 %s", (unsigned)modes[i].mode,
                 psk.psk_file);
        config.key_file = write_key("m.key", &own, modes[i].mode);
        if (modes[i].secret_ok) {
            identity_unref(load_ok(config));
            identity_unref(load_ok(psk));
            continue;
        }
        load_refused(psk, part);
        snprintf(part, sizeof part, "mode %04o lets others use it: chmod 600 %s", (unsigned)modes[i].mode,
                 config.key_file);
        load_refused(config, part);
    }
}

static void refuses_public_files_that_everyone_can_change(void **state)
{
    struct identity_files config = config_of(&own);

    (void)state;
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        assert_int_equal(chmod(config.ca_file, modes[i].mode), 0);
        if (modes[i].public_ok)
            identity_unref(load_ok(config));
        else
            load_refused(config, "can be changed by everyone");
    }
    assert_int_equal(chmod(config.ca_file, 0644), 0);
    assert_int_equal(chmod(config.cert_file, 0646), 0);
    load_refused(config, config.cert_file);
}

/* In a user namespace where only we are mapped, root's files belong to somebody else. */
static bool become_root_of_nothing(void)
{
    char map[40];
    const int len = snprintf(map, sizeof map, "0 %u 1", (unsigned)geteuid());

    if (unshare(CLONE_NEWUSER) != 0)
        return false;
    const int fd = open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC);
    return fd >= 0 && write(fd, map, (size_t)len) == len;
}

static int load_foreign_file(void)
{
    const char *foreign = "/etc/passwd";
    struct identity *id;
    char why[IDENTITY_WHY_MAX];

    if (geteuid() == 0) {
        foreign = write_text("foreign", PSK_ALICE, 0600);
        if (chown(foreign, 12345, (gid_t)-1) != 0)
            return 2;
    } else if (!become_root_of_nothing()) {
        return 3;
    }
    const enum result r = load_as(&(struct identity_files){.psk_file = foreign}, &id, why);
    return r == RESULT_CONFIG && strstr(why, "belongs to user id") ? 0 : 1;
}

static void refuses_files_of_another_user(void **state)
{
    int status;

    (void)state;
    const pid_t child = fork();
    if (child == 0)
        _exit(load_foreign_file());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void follows_links_but_judges_what_they_point_to(void **state)
{
    const char *link_path = in_folder("link.psk");

    (void)state;
    write_text("l.psk", PSK_ALICE, 0600);
    assert_int_equal(symlink("l.psk", link_path), 0);
    identity_unref(load_ok((struct identity_files){.psk_file = link_path}));
    write_text("l.psk", PSK_ALICE, 0640);
    load_refused((struct identity_files){.psk_file = link_path}, "lets others use it");
    unlink(in_folder("l.psk"));
    load_refused((struct identity_files){.psk_file = link_path}, "No such file");
}

static void refuses_what_is_no_regular_file_without_waiting(void **state)
{
    const char *fifo = in_folder("fifo");

    (void)state;
    assert_int_equal(mkfifo(fifo, 0600), 0);
    load_refused((struct identity_files){.psk_file = fifo}, "is not a regular file");
    load_refused((struct identity_files){.psk_file = folder}, "is not a regular file");
    load_refused((struct identity_files){.psk_file = "/dev/zero"}, "is not a regular file");
    load_refused((struct identity_files){.psk_file = write_text("empty", "", 0600)}, "is empty");
}

static void refuses_files_above_a_mebibyte(void **state)
{
    const size_t line = sizeof PSK_ALICE - 1;
    char *text = malloc(IDENTITY_FILE_MAX + 1);

    (void)state;
    assert_non_null(text);
    memset(text, '#', IDENTITY_FILE_MAX + 1);
    memcpy(text, PSK_ALICE, line);
    identity_unref(load_ok((struct identity_files){.psk_file = write_file("large", text, IDENTITY_FILE_MAX, 0600)}));
    load_refused((struct identity_files){.psk_file = write_file("large", text, IDENTITY_FILE_MAX + 1, 0600)},
                 "larger than");
    free(text);
}

static void accepts_the_usual_key_types_and_refuses_weak_ones(void **state)
{
    static const struct {
        gnutls_pk_algorithm_t pk;
        unsigned bits;
        const char *refusal;
    } table[] = {
        {GNUTLS_PK_EDDSA_ED25519, 256, NULL},
        {GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), NULL},
        {GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP384R1), NULL},
        {GNUTLS_PK_RSA, 2048, NULL},
        {GNUTLS_PK_RSA, 1024, "too short (1024 bits)"},
        {GNUTLS_PK_EDDSA_ED448, 456, "key type"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct certificate c = make_certificate(
            (struct certificate_spec){.name = "k", .pk = table[i].pk, .bits = table[i].bits, .issuer = &ca});
        if (table[i].refusal)
            load_refused(config_of(&c), table[i].refusal);
        else
            identity_unref(load_ok(config_of(&c)));
        free_certificate(&c);
    }
}

static void refuses_a_key_of_another_certificate_and_names_both_files(void **state)
{
    struct identity_files config = config_of(&own);

    (void)state;
    config.key_file = write_key("other.key", &ca, 0600);
    load_refused(config, config.key_file);
    load_refused(config, config.cert_file);
    load_refused(config, "does not belong to");
}

static void refuses_own_certificates_outside_their_validity(void **state)
{
    struct certificate expired = make_certificate(
                           (struct certificate_spec){.issuer = &ca, .from_days = -9, .until_days = -2}),
                       early = make_certificate((struct certificate_spec){.issuer = &ca, .from_days = 2});

    (void)state;
    load_refused(config_of(&expired), "expired on");
    load_refused(config_of(&early), "is not valid before");
    free_certificate(&expired);
    free_certificate(&early);
}

static void refuses_an_expired_intermediate(void **state)
{
    struct certificate good = make_certificate((struct certificate_spec){.name = "i", .is_ca = true, .issuer = &ca}),
                       old = make_certificate((struct certificate_spec){
                           .name = "o", .is_ca = true, .issuer = &ca, .from_days = -9, .until_days = -2}),
                       leaf = make_certificate((struct certificate_spec){.name = "l", .issuer = &good}),
                       leaf_of_old = make_certificate((struct certificate_spec){.name = "l", .issuer = &old});
    struct identity_files config = config_of(&leaf);

    (void)state;
    config.cert_file = write_certificates("chain.crt", &leaf, &good, NULL);
    identity_unref(load_ok(config));
    config.cert_file = write_certificates("chain.crt", &good, &leaf, NULL);
    load_refused(config, "out of order");
    config = config_of(&leaf_of_old);
    config.cert_file = write_certificates("chain.crt", &leaf_of_old, &old, NULL);
    load_refused(config, "expired on");
    free_certificate(&good);
    free_certificate(&old);
    free_certificate(&leaf);
    free_certificate(&leaf_of_old);
}

static void refuses_a_ca_file_only_when_no_ca_in_it_is_valid(void **state)
{
    struct certificate old =
        make_certificate((struct certificate_spec){.name = "old CA", .is_ca = true, .from_days = -9, .until_days = -2});
    struct identity_files config = config_of(&own);

    (void)state;
    config.ca_file = write_certificates("cas.crt", &old, &ca, NULL);
    identity_unref(load_ok(config));
    config.ca_file = write_certificates("cas.crt", &ca, &old, NULL);
    identity_unref(load_ok(config));
    config.ca_file = write_certificates("cas.crt", &old, NULL);
    load_refused(config, "expired on");
    free_certificate(&old);
}

static void refuses_key_usage_without_signing(void **state)
{
    struct certificate no = make_certificate(
                           (struct certificate_spec){.issuer = &ca, .usage = GNUTLS_KEY_KEY_ENCIPHERMENT}),
                       yes = make_certificate(
                           (struct certificate_spec){.issuer = &ca, .usage = GNUTLS_KEY_DIGITAL_SIGNATURE});

    (void)state;
    load_refused(config_of(&no), "digitalSignature");
    identity_unref(load_ok(config_of(&yes)));
    free_certificate(&no);
    free_certificate(&yes);
}

static void refuses_what_does_not_parse_and_names_the_file(void **state)
{
    struct identity_files config = config_of(&own);

    (void)state;
    config.key_file = write_text("bad.key", "not PEM\n", 0600);
    load_refused(config, "bad.key holds no readable PEM private key");
    config = config_of(&own);
    config.cert_file = write_text("bad.crt", "not PEM\n", 0644);
    load_refused(config, "bad.crt holds no readable PEM certificate");
    config = config_of(&own);
    config.ca_file = write_text("bad-ca.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 0644);
    load_refused(config, "bad-ca.crt holds no readable PEM certificate");
}

static void refuses_an_encrypted_key(void **state)
{
    struct identity_files config = config_of(&own);
    gnutls_datum_t pem;

    (void)state;
    assert_true(gnutls_x509_privkey_export2_pkcs8(own.key, GNUTLS_X509_FMT_PEM, "secret", GNUTLS_PKCS_PBES2_AES_128,
                                                  &pem) >= 0);
    config.key_file = write_file("encrypted.key", pem.data, pem.size, 0600);
    gnutls_free(pem.data);
    load_refused(config, "is encrypted");
}

#define HEX15 "00112233445566778899aabbccddee"
#define HEX16 HEX15 "ff"
#define HEX64 HEX16 HEX16 HEX16 HEX16
#define NAME16 "abcdefghijklmnop"
#define NAME128 NAME16 NAME16 NAME16 NAME16 NAME16 NAME16 NAME16 NAME16

static void reads_psk_lines(void **state)
{
    static const struct {
        const char *text, *refusal; /* NULL: accepted */
        size_t count;
    } table[] = {
        {"a:" HEX16, NULL, 1},
        {"a:" HEX16 "\n", NULL, 1},
        {"# comment\r\n\n \t\n  a:" HEX16 " \r\n#b:" HEX16 "\nc:00112233445566778899AABBCCDDEEFF00", NULL, 2},
        {"a:" HEX64, NULL, 1},
        {NAME128 ":" HEX16, NULL, 1},
        {"a:" HEX15, "line 1: the key must be", 0},
        {"a:" HEX16 "0", "line 1: the key must be", 0},
        {"a:" HEX64 "00", "line 1: the key must be", 0},
        {"\na:" HEX15 "fg", "line 2: the key must be", 0},
        {"a:" HEX15 " ff", "line 1: the key must be", 0},
        {"a:b:" HEX16, "line 1: the key must be", 0},
        {"a:", "line 1: the key must be", 0},
        {":" HEX16, "line 1: the name must be", 0},
        {NAME128 "x:" HEX16, "line 1: the name must be", 0},
        {"a b:" HEX16, "line 1: the name must be", 0},
        {"\xc3\xa4:" HEX16, "line 1: the name must be", 0},
        {"a\x01:" HEX16, "line 1: the name must be", 0},
        {HEX16, "line 1: expected NAME:HEX", 0},
        {"a:" HEX16 "\nb:" HEX16 "\na:" HEX16 "\n", "line 3: the name a is there twice", 0},
        {"# nothing\n", "holds no pre-shared key", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const struct identity_files config = {.psk_file = write_text("table.psk", table[i].text, 0600)};
        if (table[i].refusal) {
            load_refused(config, table[i].refusal);
            continue;
        }
        struct identity *id = load_ok(config);
        assert_int_equal(id->psk_count, table[i].count);
        identity_unref(id);
    }
}

static void keeps_name_and_key_bytes_exactly(void **state)
{
    static const uint8_t key[17] = {0,    0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88,
                                    0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 0xF1};

    (void)state;
    struct identity *id = load_ok((struct identity_files){.psk_file = write_text("x.psk", "n@1:" HEX16 "F1", 0600)});
    assert_string_equal(id->psks[0].name, "n@1");
    assert_int_equal(id->psks[0].key_len, sizeof key);
    assert_memory_equal(id->psks[0].key, key, sizeof key);
    identity_unref(id);
    load_refused((struct identity_files){.psk_file = write_file("x.psk", "a\0b:" HEX16, 36, 0600)}, "the name must be");
}

static void never_quotes_a_rejected_key(void **state)
{
    struct identity *id;
    char why[IDENTITY_WHY_MAX];
    const struct identity_files config = {.psk_file = write_text("q.psk", "00112233445566778899aabbccddeeff\n", 0600)};

    (void)state;
    assert_int_equal(load_as(&config, &id, why), RESULT_CONFIG);
    assert_null(strstr(why, "00112233"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loads_and_says_what_it_is),
        cmocka_unit_test(refuses_configurations_that_contradict_themselves),
        cmocka_unit_test(refuses_secret_files_that_others_can_use),
        cmocka_unit_test(refuses_public_files_that_everyone_can_change),
        cmocka_unit_test(refuses_files_of_another_user),
        cmocka_unit_test(follows_links_but_judges_what_they_point_to),
        cmocka_unit_test(refuses_what_is_no_regular_file_without_waiting),
        cmocka_unit_test(refuses_files_above_a_mebibyte),
        cmocka_unit_test(accepts_the_usual_key_types_and_refuses_weak_ones),
        cmocka_unit_test(refuses_a_key_of_another_certificate_and_names_both_files),
        cmocka_unit_test(refuses_own_certificates_outside_their_validity),
        cmocka_unit_test(refuses_an_expired_intermediate),
        cmocka_unit_test(refuses_a_ca_file_only_when_no_ca_in_it_is_valid),
        cmocka_unit_test(refuses_key_usage_without_signing),
        cmocka_unit_test(refuses_what_does_not_parse_and_names_the_file),
        cmocka_unit_test(refuses_an_encrypted_key),
        cmocka_unit_test(reads_psk_lines),
        cmocka_unit_test(keeps_name_and_key_bytes_exactly),
        cmocka_unit_test(never_quotes_a_rejected_key),
    };

    return cmocka_run_group_tests_name("identity", tests, make_ca, free_ca);
}
