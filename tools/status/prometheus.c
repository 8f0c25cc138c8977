/* The list in the text format of Prometheus ("Exposition formats", version 0.0.4). Connections are counted by program,
 * user and the like, not told one by one: a label for each peer would make a new series for each connection. All are
 * gauges, since a connection that has ended takes its bytes with it. */
#include "output.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

/* One connection, and then all with the same labels. The labels are compared as they are written: names of programs
 * that differ in bytes which are replaced must not become two series of one name, for which a reader refuses all. */
struct series {
    char *labels;
    uint64_t count, received, sent;
    int64_t oldest_ms;
};

static int compare(const void *a, const void *b)
{
    const struct series *x = a, *y = b;
    return strcmp(x->labels, y->labels);
}

/* A label's value is UTF-8 with \\, \" and \n escaped. Other control characters are legal there, and replaced: standard
 * output may be a terminal. */
static void put_label(FILE *to, const char *name, const char *value)
{
    char utf8[3 * COLUMN_TEXT + 1];
    text_utf8(utf8, sizeof utf8, value);
    text_without_controls(utf8, '\n');
    fprintf(to, "%s=\"", name);
    for (const char *s = utf8; *s; s++) {
        if (*s == '\n')
            fputs("\\n", to);
        else if (*s == '"' || *s == '\\')
            fprintf(to, "\\%c", *s);
        else
            fputc(*s, to);
    }
    fputc('"', to);
}

/* NULL: no memory. */
static char *make_labels(const struct live *l)
{
    static const enum column labels[] = {COLUMN_PROGRAM, COLUMN_USER,   COLUMN_DIRECTION,
                                         COLUMN_STATE,   COLUMN_CIPHER, COLUMN_RESUMED};
    char text[COLUMN_TEXT], *all = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&all, &size);
    if (!to)
        return NULL;
    fputc('{', to);
    for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++) {
        column_text(labels[i], l, text);
        put_label(to, column_name(labels[i]), text);
        fputc(',', to);
    }
    put_label(to, "proven", !l->suite ? "" : l->proven ? "yes" : "no");
    fputc('}', to);
    const bool whole = !ferror(to);
    if (fclose(to) == 0 && whole)
        return all;
    free(all);
    return NULL;
}

enum value { CONNECTIONS = 0, RECEIVED, SENT, OLDEST };

static void put_metric(FILE *to, enum value value, const struct series *series, size_t count)
{
    static const char *const about[][2] = {
        [CONNECTIONS] = {"p2ptls_connections", "Protected connections that are live now."},
        [RECEIVED] = {"p2ptls_connections_received_bytes", "Application data that live connections have received."},
        [SENT] = {"p2ptls_connections_sent_bytes", "Application data that live connections have sent."},
        [OLDEST] = {"p2ptls_connections_oldest_seconds", "Age of the oldest live connection."},
    };
    const char *name = about[value][0];
    fprintf(to, "# HELP %s %s\n# TYPE %s gauge\n", name, about[value][1], name);
    for (size_t i = 0; i < count; i++) {
        const struct series *s = &series[i];
        fputs(name, to);
        fputs(s->labels, to);
        if (value == OLDEST)
            fprintf(to, " %lld.%03d\n", (long long)(s->oldest_ms / 1000), (int)(s->oldest_ms % 1000));
        else
            fprintf(to, " %llu\n",
                    (unsigned long long)(value == CONNECTIONS ? s->count
                                         : value == SENT      ? s->sent
                                                              : s->received));
    }
}

static void put_single(FILE *to, const char *name, const char *help, unsigned long value)
{
    fprintf(to, "# HELP %s %s\n# TYPE %s gauge\n%s %lu\n", name, help, name, name, value);
}

/* Sorted by labels; those with the same ones become one. */
static size_t sum_up(struct series *series, size_t used)
{
    size_t count = 0;
    if (used)
        qsort(series, used, sizeof *series, compare);
    for (size_t i = 0; i < used; i++) {
        struct series *s = count ? &series[count - 1] : NULL;
        if (!s || compare(s, &series[i]) != 0) {
            series[count++] = series[i];
            continue;
        }
        s->count += series[i].count;
        s->received += series[i].received;
        s->sent += series[i].sent;
        s->oldest_ms = series[i].oldest_ms > s->oldest_ms ? series[i].oldest_ms : s->oldest_ms;
        free(series[i].labels);
    }
    return count;
}

bool output_prometheus(FILE *to, const struct live_list *list)
{
    struct series *series = calloc(list->count + 1, sizeof *series);
    size_t used = 0;
    bool memory = series;
    for (size_t i = 0; memory && i < list->count; i++) {
        const struct live *l = &list->items[i];
        if (!l->first)
            continue;
        series[used] = (struct series){make_labels(l), 1, l->received, l->sent, l->age_ms};
        memory = series[used].labels;
        used += memory;
    }
    const size_t count = sum_up(series, used);
    for (int value = CONNECTIONS; memory && value <= OLDEST; value++)
        put_metric(to, (enum value)value, series, count);
    put_single(to, "p2ptls_processes", "Processes that have had protected connections.", list->processes);
    put_single(to, "p2ptls_unreadable_processes", "Processes whose connections are told in another version's way.",
               list->unknown);
    for (size_t i = 0; i < count; i++)
        free(series[i].labels);
    free(series);
    return memory && fflush(to) == 0 && !ferror(to);
}
