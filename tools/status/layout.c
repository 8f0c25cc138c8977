#include "layout.h"

#include "text.h"

#include <string.h>

/* In the order of the table. What cannot be shown in full is first cut down to its least width, the most patient first;
 * then columns go, those with the highest number first. */
static const struct {
    enum column column;
    unsigned char least;
    unsigned char goes; /* 0: never */
} shown[] = {
    {COLUMN_PROGRAM, 8, 0},  {COLUMN_PID, 3, 3},       {COLUMN_USER, 4, 5},     {COLUMN_DIRECTION, 3, 8},
    {COLUMN_PEER, 15, 0},    {COLUMN_IDENTITY, 16, 0}, {COLUMN_ROLE, 6, 4},     {COLUMN_CIPHER, 8, 6},
    {COLUMN_PROTOCOL, 4, 9}, {COLUMN_AGE, 4, 1},       {COLUMN_RECEIVED, 4, 2}, {COLUMN_SENT, 4, 2},
    {COLUMN_RESUMED, 3, 7},
};
enum { SHOWN = sizeof shown / sizeof shown[0], FIRST_TO_GO = 9 };

static size_t width_of(enum column c, const struct live_list *list)
{
    char text[COLUMN_TEXT];
    size_t width = strlen(column_heading(c));
    for (size_t i = 0; i < list->count; i++) {
        column_text(c, &list->items[i], text);
        const size_t w = text_width(text);
        width = w > width ? w : width;
    }
    return width;
}

/* A user's own connections need no column with the user's name; nor does what no connection has. */
static bool is_needed(enum column c, const struct live_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        if (c == COLUMN_USER && list->items[i].uid != list->items[0].uid)
            return true;
        if (c == COLUMN_PROTOCOL && list->items[i].alpn[0])
            return true;
    }
    return c != COLUMN_USER && c != COLUMN_PROTOCOL;
}

static size_t total(const size_t widths[SHOWN])
{
    size_t sum = 0;
    for (size_t i = 0; i < SHOWN; i++)
        sum += widths[i] ? widths[i] + 2 : 0;
    return sum ? sum - 2 : 0;
}

/* Takes as much as is too much from one column, down to its least width. */
static void cut(enum column c, size_t widths[SHOWN], size_t width)
{
    const size_t sum = total(widths);
    for (size_t i = 0; i < SHOWN; i++) {
        if (shown[i].column != c || sum <= width || widths[i] <= shown[i].least)
            continue;
        const size_t most = widths[i] - shown[i].least, excess = sum - width;
        widths[i] -= excess < most ? excess : most;
    }
}

static void drop(unsigned goes, size_t widths[SHOWN])
{
    for (size_t i = 0; i < SHOWN; i++)
        if (shown[i].goes == goes)
            widths[i] = 0;
}

void layout_make(struct layout *layout, const struct live_list *list, size_t width)
{
    size_t natural[SHOWN], widths[SHOWN];
    static const enum column patient[] = {COLUMN_IDENTITY, COLUMN_CIPHER, COLUMN_PROTOCOL, COLUMN_PROGRAM, COLUMN_PEER};
    for (size_t i = 0; i < SHOWN; i++)
        natural[i] = is_needed(shown[i].column, list) ? width_of(shown[i].column, list) : 0;
    for (unsigned goes = FIRST_TO_GO;; goes--) {
        memcpy(widths, natural, sizeof widths);
        for (size_t k = 0; width && k < sizeof patient / sizeof patient[0]; k++)
            cut(patient[k], widths, width);
        if (!width || total(widths) <= width || !goes)
            break;
        drop(goes, natural);
    }
    layout->count = 0;
    for (size_t i = 0; i < SHOWN; i++) {
        if (!widths[i])
            continue;
        layout->columns[layout->count] = shown[i].column;
        layout->widths[layout->count++] = widths[i];
    }
}

static size_t pad(char *line, size_t at, size_t n)
{
    while (n-- && at < LAYOUT_LINE - 1)
        line[at++] = ' ';
    return at;
}

void layout_line(const struct layout *layout, const struct live *l, char line[LAYOUT_LINE])
{
    size_t at = 0;
    for (size_t i = 0; i < layout->count; i++) {
        const enum column c = layout->columns[i];
        char text[COLUMN_TEXT], fit[4 * COLUMN_TEXT];
        if (l)
            column_text(c, l, text);
        const size_t w = text_fit(fit, sizeof fit, l ? text : column_heading(c), layout->widths[i]);
        const size_t left = layout->widths[i] > w ? layout->widths[i] - w : 0, len = strlen(fit);
        if (at + len + left + 4 >= LAYOUT_LINE)
            break;
        if (i)
            at = pad(line, at, 2);
        if (column_is_number(c))
            at = pad(line, at, left);
        memcpy(line + at, fit, len);
        at += len;
        if (!column_is_number(c))
            at = pad(line, at, left);
    }
    while (at && line[at - 1] == ' ')
        at--;
    line[at] = '\0';
}
