/* The own OCSP staple: shown beside the certificate in either TLS role, and refused or left out where it is not good.
 */
#include "identity_help.h"

#include <gnutls/ocsp.h>

static struct certificate ca, own, other;

static void run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void run(const char *format, ...)
{
    char command[2000];
    va_list ap;

    va_start(ap, format);
    vsnprintf(command, sizeof command, format, ap);
    va_end(ap);
    if (system(command) != 0)
        fail_msg("failed: %s", command);
}

static int setup(void **state)
{
    ca = make_certificate((struct certificate_spec){.name = "test CA", .pk = GNUTLS_PK_ECDSA, .is_ca = true});
    own = make_certificate((struct certificate_spec){.name = "own", .issuer = &ca});
    other = make_certificate((struct certificate_spec){.name = "other", .issuer = &ca});
    return folder_make(state);
}

static int teardown(void **state)
{
    free_certificate(&ca);
    free_certificate(&own);
    free_certificate(&other);
    return folder_remove(state);
}

/* The responder knows no certificate and answers "unknown" (an empty index), which is an answer like another here. */
static const char *write_answer(const char *name, const struct certificate *about, const char *validity)
{
    write_certificates("about.crt", about, NULL);
    write_certificates("ca.crt", &ca, NULL);
    write_key("ca.key", &ca, 0600);
    write_text("index", "", 0600);
    run("cd %s && openssl ocsp -issuer ca.crt -cert about.crt -no_nonce -reqout req >/dev/null 2>&1", folder);
    run("cd %s && openssl ocsp -index index -CA ca.crt -rsigner ca.crt -rkey ca.key -reqin req %s -respout %s >out "
        "2>&1",
        folder, validity, name);
    assert_int_equal(chmod(in_folder(name), 0644), 0);
    return in_folder(name);
}

static struct identity_files files_with(const char *staple)
{
    return (struct identity_files){.cert_file = write_certificates("own.crt", &own, NULL),
                                   .key_file = write_key("own.key", &own, 0600),
                                   .ca_file = write_certificates("trust.crt", &ca, NULL),
                                   .ocsp_staple = staple};
}

/* Did it come with the certificate, whichever end was the TLS client? */
static void assert_stapled(const struct identity *id, const char *staple)
{
    struct identity *peer = load_files(&other, &ca);

    for (int swap = 0; swap < 2; swap++) {
        gnutls_session_t client = session_of(swap ? id : peer, false), server = session_of(swap ? peer : id, true);
        assert_int_equal(gnutls_ocsp_status_request_enable_client(client, NULL, 0, NULL), 0);
        struct pair p = shake(client, server);
        gnutls_datum_t got = {0};
        assert_int_equal(p.client.error, 0);
        assert_int_equal(p.server.error, 0);
        const int e = gnutls_ocsp_status_request_get(swap ? server : client, &got);
        if (staple) {
            char expected[8192];
            FILE *f = fopen(staple, "r");
            const size_t len = fread(expected, 1, sizeof expected, f);
            fclose(f);
            assert_int_equal(e, 0);
            assert_int_equal(got.size, len);
            assert_memory_equal(got.data, expected, len);
        } else {
            assert_int_equal(e, GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE);
        }
        pair_free(&p);
    }
    identity_unref(peer);
}

static void the_staple_is_shown_in_either_role(void **state)
{
    const char *staple = write_answer("staple", &own, "-ndays 5");
    struct identity *id = load_ok(files_with(staple)), *without = load_ok(files_with(NULL));

    (void)state;
    assert_stapled(id, staple);
    assert_stapled(without, NULL);
    identity_unref(id);
    identity_unref(without);
}

/* openssl dates answers from now on, so this one is made to be of yesterday inside. */
static void an_answer_that_is_too_old_is_left_out(void **state)
{
    struct identity *id = load_ok(files_with(write_answer("staple", &own, "-ndays 5")));

    (void)state;
    assert_true(id->staple.exptime > time(NULL));
    id->staple.exptime = time(NULL) - 1;
    assert_stapled(id, NULL);
    identity_unref(id);
}

static void what_is_no_answer_about_the_own_certificate_is_refused(void **state)
{
    (void)state;
    load_refused(files_with(write_answer("staple", &other, "-ndays 5")), "about the first certificate");
    load_refused(files_with(write_text("staple", "nonsense", 0644)), "no OCSP answer in DER");
    load_refused(files_with(write_file("staple", "\x30\x03\x0a\x01\x06", 5, 0644)), "responder's error");
    load_refused(files_with(in_folder("absent")), "No such file");
    struct identity_files raw = files_with(write_answer("staple", &own, "-ndays 5"));
    raw.cert_file = NULL;
    load_refused(raw, "needs cert=");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_staple_is_shown_in_either_role),
        cmocka_unit_test(an_answer_that_is_too_old_is_left_out),
        cmocka_unit_test(what_is_no_answer_about_the_own_certificate_is_refused),
    };

    return cmocka_run_group_tests_name("identity_staple", tests, setup, teardown);
}
