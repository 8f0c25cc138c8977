/* What p2ptls status makes of what it has read: texts, filters, orders, tables. */
#include "../../tools/status/columns.h"
#include "../../tools/status/layout.h"
#include "../../tools/status/text.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void nothing_unprintable_reaches_the_terminal(void **state)
{
    static const struct {
        const char *from, *to;
    } texts[] = {
        {"CN=db,O=caf\xc3\xa9", "CN=db,O=caf\xc3\xa9"},
        {"\033[31mred\007", "?[31mred?"},
        {"a\xe2\x80\xae"
         "b",
         "a?b"}, /* U+202E turns what follows */
        {"\xc2\x9b"
         "31m",
         "?31m"}, /* CSI in one character */
        {"\xff\xfe\xc3", "???"},
        {"line\nline\r\ttab", "line?line??tab"},
    };
    char text[64], utf8[64];
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        text_fit(text, sizeof text, texts[i].from, 0);
        assert_string_equal(text, texts[i].to);
    }
    assert_int_equal(text_fit(text, sizeof text, "0123456789", 4), 4);
    assert_string_equal(text, "012+");
    assert_int_equal(text_fit(text, sizeof text, "\xe4\xbd\xa0\xe5\xa5\xbd\xe5\x90\x97", 4), 3); /* two columns each */
    text_utf8(utf8, sizeof utf8, "a\xff\xc3");
    assert_string_equal(utf8, "a\xef\xbf\xbd\xef\xbf\xbd");
    text_utf8(utf8, 4, "abcdef");
    assert_string_equal(utf8, "abc");
}

static void numbers_are_short(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } sizes[] = {{0, "0"},         {999, "999"},     {1000, "1.0K"},    {9949, "9.9K"},     {9950, "10K"},
                 {999499, "999K"}, {999500, "1.0M"}, {23000000, "23M"}, {UINT64_MAX, "18E"}};
    static const struct {
        int64_t ms;
        const char *text;
    } ages[] = {{0, "0s"}, {59999, "59s"}, {60000, "1m00"}, {3600000, "1h00"}, {86400000, "1d00"}};
    char text[32];
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        text_bytes(text, sizeof text, sizes[i].bytes);
        assert_string_equal(text, sizes[i].text);
    }
    for (size_t i = 0; i < sizeof ages / sizeof ages[0]; i++) {
        text_age(text, sizeof text, ages[i].ms);
        assert_string_equal(text, ages[i].text);
    }
}

static void filters_and_orders_are_parsed(void **state)
{
    const struct live l = {
        .pid = 12, .peer = "10.0.0.1:5432", .program = "redis-server", .suite = 0x1301, .client = true};
    static const struct {
        const char *text;
        bool holds;
    } filters[] = {
        {"peer=10.*:5432", true}, {"peer!=10.*", false},  {"program=redis", false}, {"program=redis*", true},
        {"role=client", true},    {"role!=server", true}, {"pid=12", true},         {"identity=", true},
    };
    struct filter f;
    struct sort_order o;
    (void)state;
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        assert_true(filter_parse(filters[i].text, &f));
        assert_int_equal(filter_holds(&f, &l), filters[i].holds);
    }
    assert_false(filter_parse("peer", &f));
    assert_false(filter_parse("=x", &f));
    assert_false(filter_parse("!=x", &f));
    assert_false(filter_parse("pear=x", &f));
    assert_true(sort_parse("-sent,pid", &o));
    assert_true(o.count == 2 && o.keys[0].descending && o.keys[0].column == COLUMN_SENT && !o.keys[1].descending);
    assert_false(sort_parse("", &o));
    assert_false(sort_parse("pid,", &o));
    assert_false(sort_parse("pid,pid,pid,pid,pid", &o));
}

static void a_narrow_table_keeps_program_peer_and_identity(void **state)
{
    static const char *const widths[] = {"80", "60", "44", "200"};
    struct live_list list = {0};
    struct layout layout;
    char line[LAYOUT_LINE];
    (void)state;
    struct live *l = live_add(&list);
    *l = (struct live){.pid = 1234567, .program = "a-program-name", .state = STATUS_OPEN, .suite = 0x1303};
    snprintf(l->peer, sizeof l->peer, "[2001:db8:1:2:3:4:5:6]:65535");
    memset(l->identity, 'i', sizeof l->identity - 1);
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
        const size_t width = strtoul(widths[i], NULL, 10);
        layout_make(&layout, &list, width);
        layout_line(&layout, NULL, line);
        assert_true(strstr(line, "PROGRAM") && strstr(line, "PEER") && strstr(line, "IDENTITY"));
        layout_line(&layout, l, line);
        assert_in_range(text_width(line), 30, width);
    }
    live_free(&list);
}

int main(void)
{
    setlocale(LC_CTYPE, "C.UTF-8");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_unprintable_reaches_the_terminal),
        cmocka_unit_test(numbers_are_short),
        cmocka_unit_test(filters_and_orders_are_parsed),
        cmocka_unit_test(a_narrow_table_keeps_program_peer_and_identity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
