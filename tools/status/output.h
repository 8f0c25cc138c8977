/* The forms in which p2ptls status shows a list. */
#ifndef P2PTLS_STATUS_OUTPUT_H
#define P2PTLS_STATUS_OUTPUT_H

#include "columns.h"

#include <stdio.h>

/* A table. width: of the terminal, 0: no limit. coloured: what is not proven stands out. False: it cannot be written
 * (all three). */
bool output_table(FILE *to, const struct live_list *list, size_t width, bool coloured);
/* "3 connections of 2 programs", and what is not in them. */
void output_summary(const struct live_list *list, char text[256]);
bool output_json(FILE *to, const struct live_list *list);
/* Prometheus's text format, for a node exporter's folder: numbers of connections and bytes, by program. */
bool output_prometheus(FILE *to, const struct live_list *list);

/* watch.c: a full-screen view until q is pressed or a signal comes; look collects, filters and sorts. The exit status.
 */
struct watch_view {
    bool (*look)(const struct watch_view *view, struct live_list *list);
    const void *arg;
    struct sort_order order;
    int interval_ms;
};
int watch_run(struct watch_view *view);

#endif
