/* Texts of a slot come out as they were put in, wherever they lie, and end even if a hostile process has written them.
 */
#include "../../src/slot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct slot slot;
static struct slot_room room;

static void fill(char *text, size_t len, char with)
{
    memset(text, with, len);
    text[len] = 0;
}

static void check(size_t subject, size_t alpn, size_t server_name, bool far)
{
    struct slot_texts in, out;
    memset(&out, 'x', sizeof out);
    memset(&slot, 0, sizeof slot);
    memset(&room.texts, 0, sizeof room.texts);
    fill(in.subject, subject, 's');
    fill(in.alpn, alpn, 'a');
    fill(in.server_name, server_name, 'n');
    slot_texts_put(&slot, &room, in.subject, in.alpn, in.server_name);
    assert_int_equal(slot.texts_far, far);
    slot_texts_get(&slot, &room, &out);
    assert_string_equal(out.subject, in.subject);
    assert_string_equal(out.alpn, in.alpn);
    assert_string_equal(out.server_name, in.server_name);
    for (size_t i = 0; i < sizeof room.texts && !far; i++)
        assert_int_equal(((const char *)&room.texts)[i], 0); /* a page that an idle connection does not need */
}

static void test_what_is_put_in_comes_out(void **state)
{
    (void)state;
    enum { ENDS = 3, FITS = SLOT_TEXTS - ENDS };
    check(0, 0, 0, false);
    check(30, 2, 20, false);
    check(FITS, 0, 0, false);
    check(0, FITS, 0, false);
    check(0, 0, FITS, false);
    check(FITS - 40, 20, 20, false);
    check(FITS + 1, 0, 0, true);
    check(0, FITS + 1, 0, true);
    check(0, 0, FITS + 1, true);
    check(FITS - 40, 20, 21, true);
    check(SLOT_SUBJECT - 1, SLOT_NAME - 1, SLOT_NAME - 1, true);
}

static void test_texts_without_an_end(void **state)
{
    (void)state;
    struct slot_texts in, out;
    memset(&in, 'e', sizeof in);
    slot_texts_put(&slot, &room, in.subject, in.alpn, in.server_name);
    slot_texts_get(&slot, &room, &out);
    assert_int_equal(strlen(out.subject), SLOT_SUBJECT - 1);
    assert_int_equal(strlen(out.alpn), SLOT_NAME - 1);
    assert_int_equal(strlen(out.server_name), SLOT_NAME - 1);

    memset(&room.texts, 'e', sizeof room.texts); /* a co-holder */
    slot_texts_get(&slot, &room, &out);
    assert_int_equal(strlen(out.subject), SLOT_SUBJECT - 1);
    assert_int_equal(strlen(out.alpn), SLOT_NAME - 1);
    assert_int_equal(strlen(out.server_name), SLOT_NAME - 1);

    slot.texts_far = 0;
    memset(slot.texts, 'e', sizeof slot.texts);
    slot_texts_get(&slot, &room, &out);
    assert_int_equal(strlen(out.subject), SLOT_TEXTS);
    assert_string_equal(out.alpn, "");
    assert_string_equal(out.server_name, "");

    slot.texts[SLOT_TEXTS - 2] = 0;
    slot_texts_get(&slot, &room, &out);
    assert_int_equal(strlen(out.subject), SLOT_TEXTS - 2);
    assert_string_equal(out.alpn, "e");
    assert_string_equal(out.server_name, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_put_in_comes_out),
        cmocka_unit_test(test_texts_without_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
