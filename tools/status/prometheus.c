/* The list in the text format of Prometheus ("Exposition formats", version 0.0.4). Connections are counted by program,
 * user and the like, not told one by one: a label for each peer would make a new series for each connection. All are
 * gauges, since a connection that has ended takes its bytes with it. */
#include "output.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

struct series {
    const struct live *like;
    uint64_t count, received, sent;
    int64_t oldest_ms;
};

static int compare(const struct live *a, const struct live *b)
{
    static const enum column keys[] = {COLUMN_PROGRAM, COLUMN_USER,   COLUMN_DIRECTION,
                                       COLUMN_STATE,   COLUMN_CIPHER, COLUMN_RESUMED};
    int r = 0;
    for (size_t i = 0; !r && i < sizeof keys / sizeof keys[0]; i++)
        r = column_compare(keys[i], a, b);
    return r ? r : a->proven - b->proven;
}

static int compare_pointers(const void *a, const void *b)
{
    return compare(*(const struct live *const *)a, *(const struct live *const *)b);
}

/* A label's value is UTF-8 with \\, \" and \n escaped. */
static void put_label(FILE *to, const char *name, const char *value)
{
    char utf8[3 * COLUMN_TEXT + 1];
    text_utf8(utf8, sizeof utf8, value);
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

static void put_labels(FILE *to, const struct live *l)
{
    char text[COLUMN_TEXT];
    static const enum column labels[] = {COLUMN_PROGRAM, COLUMN_USER,   COLUMN_DIRECTION,
                                         COLUMN_STATE,   COLUMN_CIPHER, COLUMN_RESUMED};
    fputc('{', to);
    for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++) {
        column_text(labels[i], l, text);
        put_label(to, column_name(labels[i]), text);
        fputc(',', to);
    }
    put_label(to, "proven", !l->suite ? "" : l->proven ? "yes" : "no");
    fputc('}', to);
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
        put_labels(to, s->like);
        if (value == OLDEST)
            fprintf(to, " %lld.%03d\n", (long long)(s->oldest_ms / 1000), (int)(s->oldest_ms % 1000));
        else
            fprintf(to, " %llu\n",
                    (unsigned long long)(value == CONNECTIONS ? s->count
                                         : value == SENT      ? s->sent
                                                              : s->received));
    }
}

static void add(struct series *s, const struct live *l)
{
    s->count++;
    s->received += l->received;
    s->sent += l->sent;
    s->oldest_ms = l->age_ms > s->oldest_ms ? l->age_ms : s->oldest_ms;
}

static void put_single(FILE *to, const char *name, const char *help, unsigned long value)
{
    fprintf(to, "# HELP %s %s\n# TYPE %s gauge\n%s %lu\n", name, help, name, name, value);
}

bool output_prometheus(FILE *to, const struct live_list *list)
{
    const struct live **sorted = calloc(list->count + 1, sizeof *sorted);
    struct series *series = calloc(list->count + 1, sizeof *series);
    size_t used = 0, count = 0;
    for (size_t i = 0; sorted && i < list->count; i++)
        if (list->items[i].first)
            sorted[used++] = &list->items[i];
    if (used)
        qsort(sorted, used, sizeof *sorted, compare_pointers);
    for (size_t i = 0; series && i < used; i++) {
        if (!i || compare(sorted[i], sorted[i - 1]) != 0)
            series[count++].like = sorted[i];
        add(&series[count - 1], sorted[i]);
    }
    const bool memory = sorted && series;
    for (int value = CONNECTIONS; memory && value <= OLDEST; value++)
        put_metric(to, (enum value)value, series, count);
    put_single(to, "p2ptls_processes", "Processes that have had protected connections.", list->processes);
    put_single(to, "p2ptls_unreadable_processes", "Processes whose connections are told in another version's way.",
               list->unknown);
    free(sorted);
    free(series);
    return memory && fflush(to) == 0 && !ferror(to);
}
