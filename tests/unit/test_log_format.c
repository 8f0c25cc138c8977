/* Forms of log lines, and what P2PTLS_LOG means. */
#include "../../preload/logsink.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct log_origin origin = {.pid = 12, .program = "redis-server", .time_ms = 1709210096789};

static char *format(enum log_form form, const char *text, const struct log_field *fields, size_t count)
{
    static char line[LOG_FORMATTED_MAX];
    const struct log_entry e = {LOG_LEVEL_ERROR, LOG_CATEGORY_REFUSAL, text, fields, count};
    const size_t len = log_format(&e, form, &origin, line);
    assert_int_equal(len, strlen(line));
    assert_int_equal(strcspn(line, "\n"), len - 1);
    return line;
}

static void each_form_tells_the_same(void **state)
{
    static const struct log_field fields[] = {
        {"peer", "192.0.2.1:5"}, {"identity", "CN=a \"b\" \\"}, {"none", NULL}, {"alpn", ""}};
    (void)state;
    assert_string_equal(format(LOG_FORM_TEXT, "no \"good\"", fields, 4),
                        "p2ptls[12]: error: no \"good\" category=refusal peer=192.0.2.1:5 "
                        "identity=\"CN=a \\\"b\\\" \\\\\" alpn=\"\"\n");
    assert_string_equal(format(LOG_FORM_LOGFMT, "no \"good\"", fields, 4),
                        "time=2024-02-29T12:34:56.789Z pid=12 program=redis-server level=error category=refusal "
                        "msg=\"no \\\"good\\\"\" peer=192.0.2.1:5 identity=\"CN=a \\\"b\\\" \\\\\" alpn=\"\"\n");
    assert_string_equal(
        format(LOG_FORM_JSON, "no \"good\"", fields, 4),
        "{\"time\":\"2024-02-29T12:34:56.789Z\",\"pid\":12,\"program\":\"redis-server\",\"level\":\"error\","
        "\"category\":\"refusal\",\"msg\":\"no \\\"good\\\"\",\"peer\":\"192.0.2.1:5\",\"identity\":\"CN=a \\\"b\\\" "
        "\\\\\",\"alpn\":\"\"}\n");
}

/* The names of a certificate, SNI and ALPN are the peer's choice. */
static void no_name_in_a_sentence_passes_for_a_field(void **state)
{
    static const struct log_field fields[] = {{"identity", "CN=a identity=CN=root"}};
    static const char *const harmless[] = {
        "eof=insecure-fin is set",       "a=b",         "identity =", "compare role= and peer=",
        "set role=server (role=server)", "sub-reason=x"};
    (void)state;
    assert_string_equal(format(LOG_FORM_TEXT, "peer \"CN=a\" identity=CN=root\\\"", fields, 1),
                        "p2ptls[12]: error: \"peer \\\"CN=a\\\" identity=CN=root\\\\\\\"\" category=refusal "
                        "identity=\"CN=a identity=CN=root\"\n");
    assert_non_null(strstr(format(LOG_FORM_TEXT, "reason=none", NULL, 0), " \"reason=none\" category=refusal\n"));
    assert_non_null(strstr(format(LOG_FORM_LOGFMT, "\" reason=none", NULL, 0), " msg=\"\\\" reason=none\"\n"));
    static const char *const blanks[] = {" ", "\t", "\xc2\xa0", "\xe2\x80\x83", "\xe3\x80\x80", ";"};
    for (size_t i = 0; i < sizeof blanks / sizeof blanks[0]; i++) {
        char text[64];
        snprintf(text, sizeof text, "peer CN=a%sidentity=CN=root", blanks[i]);
        assert_non_null(strstr(format(LOG_FORM_TEXT, text, NULL, 0), ": \"peer CN=a"));
    }
    for (size_t i = 0; i < sizeof harmless / sizeof harmless[0]; i++)
        assert_null(strchr(format(LOG_FORM_TEXT, harmless[i], NULL, 0), '"'));
}

static void control_characters_in_fields_are_replaced(void **state)
{
    static const struct log_field fields[] = {{"peer", "a\nb\033[m\xff"}};
    (void)state;
    assert_non_null(strstr(format(LOG_FORM_JSON, "x", fields, 1), "\"peer\":\"a?b?[m?\"}\n"));
    assert_non_null(strstr(format(LOG_FORM_LOGFMT, "x", fields, 1), " peer=\"a?b?[m?\"\n"));
}

static void what_does_not_fit_is_left_out_whole(void **state)
{
    char large[LOG_FORMATTED_MAX + 1];
    const struct log_field fields[] = {{"large", large}, {"small", "1"}};
    (void)state;
    memset(large, '"', sizeof large - 1); /* twice as long with its escapes */
    large[sizeof large - 1] = '\0';
    for (int form = LOG_FORM_TEXT; form <= LOG_FORM_JSON; form++) {
        const char *line = format((enum log_form)form, "x", fields, 2);
        assert_null(strstr(line, "large"));
        assert_non_null(strstr(line, "small"));
    }
    large[LOG_LINE_MAX] = '\0'; /* the longest text */
    const char *line = format(LOG_FORM_JSON, large, fields + 1, 1);
    assert_non_null(strstr(line, "\\\"\",\"small\":\"1\"}\n"));
}

static void times_are_those_of_the_calendar(void **state)
{
    static const struct {
        int64_t ms;
        const char *text;
    } times[] = {{0, "1970-01-01T00:00:00.000Z"},
                 {951782399999, "2000-02-28T23:59:59.999Z"},
                 {951868800000, "2000-03-01T00:00:00.000Z"},
                 {4107542400000, "2100-03-01T00:00:00.000Z"},
                 {1798761599000, "2026-12-31T23:59:59.000Z"}};
    char line[LOG_FORMATTED_MAX];
    const struct log_entry e = {LOG_LEVEL_INFO, LOG_CATEGORY_LIBRARY, "x", NULL, 0};
    (void)state;
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        log_format(&e, LOG_FORM_LOGFMT, &(struct log_origin){.time_ms = times[i].ms}, line);
        assert_memory_equal(line + 5, times[i].text, strlen(times[i].text));
    }
}

static void names_in_the_journal_are_upper_case(void **state)
{
    char key[16];
    (void)state;
    log_journal_key("peer", key, sizeof key);
    assert_string_equal(key, "P2PTLS_PEER");
    log_journal_key("a-very-long-name", key, sizeof key);
    assert_int_equal(strlen(key), sizeof key - 1);
}

static void settings_are_parsed(void **state)
{
    struct log_setting s;
    (void)state;
    log_setting_parse(NULL, &s);
    assert_int_equal(s.levels[LOG_CATEGORY_LIBRARY], LOG_LEVEL_WARN);
    assert_null(s.target);
    log_setting_parse("info,json,handshake=silent,identity=debug:/file:with,colon", &s);
    assert_int_equal(s.form, LOG_FORM_JSON);
    assert_int_equal(s.levels[LOG_CATEGORY_HANDSHAKE], LOG_LEVEL_SILENT);
    assert_int_equal(s.levels[LOG_CATEGORY_IDENTITY], LOG_LEVEL_DEBUG);
    assert_int_equal(s.levels[LOG_CATEGORY_REFUSAL], LOG_LEVEL_INFO);
    assert_string_equal(s.target, "/file:with,colon");
    assert_null(s.wrong);
    log_setting_parse("logfmt:syslog", &s);
    assert_int_equal(s.form, LOG_FORM_LOGFMT);
    assert_int_equal(s.levels[LOG_CATEGORY_LIBRARY], LOG_LEVEL_WARN);
    assert_string_equal(s.target, "syslog");
    static const char *const wrong[] = {"inf",       "info,", "info,handshake", "info,handshake=", "info,shake=info",
                                        "json,info", ",info"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        log_setting_parse(wrong[i], &s);
        assert_non_null(s.wrong);
    }
}

static void each_category_is_found_by_its_name(void **state)
{
    (void)state;
    for (int i = 0; i < LOG_CATEGORIES; i++) {
        const char *name = log_category_name((enum log_category)i);
        assert_int_equal(log_category_find(name, strlen(name)), i);
    }
    assert_int_equal(log_category_find("libraryx", 8), LOG_CATEGORIES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_form_tells_the_same),
        cmocka_unit_test(no_name_in_a_sentence_passes_for_a_field),
        cmocka_unit_test(control_characters_in_fields_are_replaced),
        cmocka_unit_test(what_does_not_fit_is_left_out_whole),
        cmocka_unit_test(times_are_those_of_the_calendar),
        cmocka_unit_test(names_in_the_journal_are_upper_case),
        cmocka_unit_test(settings_are_parsed),
        cmocka_unit_test(each_category_is_found_by_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
