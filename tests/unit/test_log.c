/* Log lines: what is printable, what is left out, and that the program does not notice. The clock is the test's. */
#include "log.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { HOUR_MS = 3600 * 1000, THREADS = 4, LINES_PER_THREAD = 200 };

static _Atomic uint64_t clock_ms = 1000;
static atomic_uint clock_reads, lines;
static char last_line[LOG_LINE_MAX + 200];
static enum log_level last_level;

/* Found before libc's, since src/ is linked into this program. */
int clock_gettime(clockid_t id, struct timespec *ts)
{
    (void)id;
    atomic_fetch_add(&clock_reads, 1);
    uint64_t now = atomic_load(&clock_ms);
    *ts = (struct timespec){.tv_sec = (time_t)(now / 1000), .tv_nsec = (long)(now % 1000) * 1000000};
    return 0;
}

static void keep(const struct log_entry *entry)
{
    atomic_fetch_add(&lines, 1);
    last_level = entry->level;
    snprintf(last_line, sizeof last_line, "%s", entry->text);
    errno = EBADF;
}

static void count(const struct log_entry *entry)
{
    (void)entry;
    atomic_fetch_add(&lines, 1);
}

static int full_bucket(void **state)
{
    (void)state;
    log_set_sink(count, LOG_LEVEL_DEBUG);
    clock_ms += HOUR_MS;
    log_event(LOG_LEVEL_ERROR, "takes the count of lines left out");
    clock_ms += HOUR_MS;
    log_set_sink(keep, LOG_LEVEL_INFO);
    lines = 0;
    last_line[0] = '\0';
    return 0;
}

static void send_lines(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        log_event(LOG_LEVEL_INFO, "line %u", i);
}

static void a_line_reaches_the_sink_with_its_level(void **state)
{
    (void)state;
    log_event(LOG_LEVEL_WARN, "%s:%d refused", "10.0.0.1", 443);
    assert_string_equal(last_line, "10.0.0.1:443 refused");
    assert_int_equal(last_level, LOG_LEVEL_WARN);
}

static void levels_above_the_threshold_are_not_wanted_and_do_not_read_the_clock(void **state)
{
    (void)state;
    clock_reads = 0; /* here, since cmocka may read the clock between the set-up and the test */
    assert_true(log_wants(LOG_LEVEL_INFO));
    assert_false(log_wants(LOG_LEVEL_DEBUG));
    log_event(LOG_LEVEL_DEBUG, "not wanted");
    assert_int_equal(lines, 0);
    assert_int_equal(clock_reads, 0);
    log_event(LOG_LEVEL_INFO, "wanted");
    assert_int_equal(lines, 1);
    assert_int_equal(clock_reads, 1);
}

static void silent_is_never_wanted_and_a_silent_threshold_wants_nothing(void **state)
{
    (void)state;
    assert_false(log_wants(LOG_LEVEL_SILENT));
    log_set_sink(keep, LOG_LEVEL_SILENT);
    assert_false(log_wants(LOG_LEVEL_ERROR));
    log_event(LOG_LEVEL_ERROR, "nobody reads this");
    assert_int_equal(lines, 0);
}

static void without_a_sink_nothing_is_wanted(void **state)
{
    (void)state;
    log_set_sink(NULL, LOG_LEVEL_DEBUG);
    clock_reads = 0;
    assert_false(log_wants(LOG_LEVEL_ERROR));
    log_event(LOG_LEVEL_ERROR, "nowhere to go");
    assert_int_equal(clock_reads, 0);
}

static void bytes_that_could_drive_a_terminal_are_replaced(void **state)
{
    static const struct {
        const char *in, *out;
    } table[] = {
        {"a\nb\rc\td", "a?b?c?d"},
        {"\x1b[31mred\x7f", "?[31mred?"},
        {"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"},
        {"\xc2\x9b 31m", "?? 31m"},         /* U+009B is CSI to a terminal */
        {"\xc2\xa0|", "\xc2\xa0|"},         /* the first character behind the C1 controls */
        {"\xe2\x80\xae|", "???|"},          /* U+202E turns what follows */
        {"\xe2\x80\x8a|", "\xe2\x80\x8a|"}, /* U+200A, a space; behind it those of no width and of direction */
        {"\xe2\x80\x8b\xe2\x80\x8f|", "??????|"},
        {"\xe2\x80\x90\xe2\x80\xa7|", "\xe2\x80\x90\xe2\x80\xa7|"}, /* dashes, quotation marks, dots */
        {"\xe2\x80\xa8\xe2\x80\xae|", "??????|"},
        {"\xe2\x80\xaf|", "\xe2\x80\xaf|"}, /* U+202F, a space */
        {"\xe2\x81\x9f|", "\xe2\x81\x9f|"}, /* U+205F, a space; behind it U+2060 to U+206F */
        {"\xe2\x81\xa0\xe2\x81\xa6\xe2\x81\xaf|", "?????????|"},
        {"\xe2\x82\x80|", "\xe2\x82\x80|"},       /* U+2080 */
        {"\xef\xbb\xbf|", "???|"},                /* U+FEFF */
        {"\xd8\x9c|", "??|"},                     /* U+061C, a mark for Arabic */
        {"\xc0\xaf", "??"},                       /* overlong */
        {"\xe0\x9f\xbf", "???"},                  /* overlong */
        {"\xed\xa0\x80", "???"},                  /* surrogate */
        {"\xed\x9f\xbf", "\xed\x9f\xbf"},         /* the last one before them */
        {"\xf4\x90\x80\x80", "????"},             /* above U+10FFFF */
        {"\xf4\x8f\xbf\xbd", "\xf4\x8f\xbf\xbd"}, /* U+10FFFD; behind it noncharacters */
        {"\xf4\x8f\xbf\xbf", "????"},
        {"\xef\xb7\x90|", "???|"},                  /* U+FDD0, a noncharacter */
        {"ad\xc2\xadmin", "ad??min"},               /* U+00AD, a hyphen that is not seen */
        {"\xc2\xac\xc2\xae|", "\xc2\xac\xc2\xae|"}, /* those beside it */
        {"ad\xef\xb8\x80min", "ad???min"},          /* U+FE00, a variation selector */
        {"ad\xe3\x85\xa4min", "ad???min"},          /* U+3164, a filler */
        {"ad\xf3\xa0\x81\xa9min", "ad????min"},     /* U+E0069, a tag */
        {"\xef\xbf\xbc|", "\xef\xbf\xbc|"},         /* U+FFFC */
        {"\xf5\x80\x80\x80\xff\xfe", "??????"},
        {"\x80", "?"},
        {"cut \xe2\x82", "cut ??"},
        {"\xc3(", "?("},
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        clock_ms += HOUR_MS;
        log_event(LOG_LEVEL_ERROR, "%s", table[i].in);
        assert_string_equal(last_line, table[i].out);
    }
}

static void a_line_of_the_maximum_is_whole_and_a_longer_one_says_that_it_was_cut(void **state)
{
    char text[LOG_LINE_MAX + 2];
    (void)state;
    memset(text, 'x', sizeof text);
    text[LOG_LINE_MAX] = '\0';
    log_event(LOG_LEVEL_ERROR, "%s", text);
    assert_string_equal(last_line, text);
    text[LOG_LINE_MAX] = 'x';
    text[LOG_LINE_MAX + 1] = '\0';
    log_event(LOG_LEVEL_ERROR, "%s", text);
    assert_int_equal(strlen(last_line), LOG_LINE_MAX);
    assert_string_equal(last_line + LOG_LINE_MAX - 4, "x...");
}

static void a_burst_passes_and_the_line_after_it_does_not(void **state)
{
    (void)state;
    send_lines(LOG_BURST);
    assert_int_equal(lines, LOG_BURST);
    send_lines(1);
    assert_int_equal(lines, LOG_BURST);
}

static void one_line_passes_each_time_a_token_is_back(void **state)
{
    (void)state;
    send_lines(LOG_BURST);
    clock_ms += 1000 / LOG_REFILL_PER_SECOND - 1;
    send_lines(1);
    assert_int_equal(lines, LOG_BURST);
    clock_ms += 1;
    send_lines(2);
    assert_int_equal(lines, LOG_BURST + 1);
}

static void the_first_line_after_a_gap_says_how_many_are_missing(void **state)
{
    (void)state;
    send_lines(LOG_BURST + 7);
    assert_null(strstr(last_line, "left out"));
    clock_ms += HOUR_MS;
    log_event(LOG_LEVEL_ERROR, "back");
    assert_string_equal(last_line, "back (lines left out before this one: 7)");
    log_event(LOG_LEVEL_ERROR, "again");
    assert_string_equal(last_line, "again");
}

static void the_count_of_missing_lines_survives_a_line_that_is_too_long(void **state)
{
    char text[2 * LOG_LINE_MAX];
    static const char end[] = "x... (lines left out before this one: 1)";
    (void)state;
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    send_lines(LOG_BURST + 1);
    clock_ms += HOUR_MS;
    log_event(LOG_LEVEL_ERROR, "%s", text);
    assert_int_equal(strlen(last_line), LOG_LINE_MAX);
    assert_string_equal(last_line + LOG_LINE_MAX - strlen(end), end);
}

static void a_long_silence_gives_one_burst_and_no_more(void **state)
{
    (void)state;
    clock_ms += UINT64_C(1000) * HOUR_MS;
    send_lines(5 * LOG_BURST);
    assert_int_equal(lines, LOG_BURST);
}

static void errno_is_as_before_whether_the_line_passes_or_not(void **state)
{
    (void)state;
    for (unsigned i = 0; i < LOG_BURST + 2; i++) {
        errno = EINPROGRESS;
        log_event(LOG_LEVEL_ERROR, "line");
        assert_int_equal(errno, EINPROGRESS);
    }
    assert_int_equal(lines, LOG_BURST);
}

static void percent_m_prints_the_error_of_the_caller(void **state)
{
    (void)state;
    errno = ENOENT;
    log_event(LOG_LEVEL_ERROR, "open: %m");
    assert_string_equal(last_line, "open: No such file or directory");
}

static void *log_many(void *arg)
{
    (void)arg;
    send_lines(LINES_PER_THREAD);
    return NULL;
}

static void threads_share_one_bucket_and_lose_no_count(void **state)
{
    pthread_t threads[THREADS];
    char expected[80];
    (void)state;
    log_set_sink(count, LOG_LEVEL_INFO);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, log_many, NULL), 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(lines, LOG_BURST);
    log_set_sink(keep, LOG_LEVEL_INFO);
    clock_ms += HOUR_MS;
    log_event(LOG_LEVEL_INFO, "after");
    snprintf(expected, sizeof expected, "after (lines left out before this one: %d)",
             THREADS * LINES_PER_THREAD - LOG_BURST);
    assert_string_equal(last_line, expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_line_reaches_the_sink_with_its_level, full_bucket),
        cmocka_unit_test_setup(levels_above_the_threshold_are_not_wanted_and_do_not_read_the_clock, full_bucket),
        cmocka_unit_test_setup(silent_is_never_wanted_and_a_silent_threshold_wants_nothing, full_bucket),
        cmocka_unit_test_setup(without_a_sink_nothing_is_wanted, full_bucket),
        cmocka_unit_test_setup(bytes_that_could_drive_a_terminal_are_replaced, full_bucket),
        cmocka_unit_test_setup(a_line_of_the_maximum_is_whole_and_a_longer_one_says_that_it_was_cut, full_bucket),
        cmocka_unit_test_setup(a_burst_passes_and_the_line_after_it_does_not, full_bucket),
        cmocka_unit_test_setup(one_line_passes_each_time_a_token_is_back, full_bucket),
        cmocka_unit_test_setup(the_first_line_after_a_gap_says_how_many_are_missing, full_bucket),
        cmocka_unit_test_setup(the_count_of_missing_lines_survives_a_line_that_is_too_long, full_bucket),
        cmocka_unit_test_setup(a_long_silence_gives_one_burst_and_no_more, full_bucket),
        cmocka_unit_test_setup(errno_is_as_before_whether_the_line_passes_or_not, full_bucket),
        cmocka_unit_test_setup(percent_m_prints_the_error_of_the_caller, full_bucket),
        cmocka_unit_test_setup(threads_share_one_bucket_and_lose_no_count, full_bucket),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
