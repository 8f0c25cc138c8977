/* The list as a table of text. */
#include "layout.h"
#include "output.h"

#include <string.h>

static bool is_bad(const struct live *l)
{
    return l->state == STATUS_FAILED || (l->suite && !l->proven);
}

static size_t count_programs(const struct live_list *list)
{
    size_t programs = 0;
    for (size_t i = 0; i < list->count; i++) {
        size_t k = 0;
        while (k < i && list->items[k].pid != list->items[i].pid)
            k++;
        programs += k == i;
    }
    return programs;
}

void output_summary(const struct live_list *list, char text[256])
{
    size_t connections = 0, at;
    for (size_t i = 0; i < list->count; i++)
        connections += list->items[i].first;
    const size_t processes = count_programs(list);
    at = (size_t)snprintf(text, 256, "%zu connection%s of %zu process%s", connections, connections == 1 ? "" : "s",
                          processes, processes == 1 ? "" : "es");
    if (list->missed)
        at += (size_t)snprintf(text + at, 256 - at, ", %lu without a record", list->missed);
    if (list->unknown)
        snprintf(text + at, 256 - at, ", %u process%s of another version", list->unknown,
                 list->unknown == 1 ? "" : "es");
}

bool output_table(FILE *to, const struct live_list *list, size_t width, bool coloured)
{
    struct layout layout;
    char line[LAYOUT_LINE], summary[256];
    layout_make(&layout, list, width);
    layout_line(&layout, NULL, line);
    if (list->count)
        fprintf(to, coloured ? "\033[1m%s\033[0m\n" : "%s\n", line);
    for (size_t i = 0; i < list->count; i++) {
        layout_line(&layout, &list->items[i], line);
        fprintf(to, coloured && is_bad(&list->items[i]) ? "\033[31m%s\033[0m\n" : "%s\n", line);
    }
    output_summary(list, summary);
    fprintf(to, "%s\n", summary);
    return fflush(to) == 0 && !ferror(to);
}
