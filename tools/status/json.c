/* The list as JSON (RFC 8259), by jansson, which wants well-formed UTF-8. All but ASCII is escaped, and DEL is
 * replaced: a terminal may obey what lies above, too. */
#include "output.h"
#include "text.h"

#include <jansson.h>
#include <string.h>

static json_t *text_of(const char *text)
{
    char utf8[3 * COLUMN_TEXT + 1];
    text_utf8(utf8, sizeof utf8, text);
    for (char *del = utf8; (del = strchr(del, 0x7f));)
        *del = '?';
    return json_string(utf8);
}

/* What is known of an open connection alone is null before. */
static json_t *if_open(const struct live *l, json_t *value)
{
    if (l->suite)
        return value;
    json_decref(value);
    return json_null();
}

static json_t *object_of(const struct live *l)
{
    char cookie[24];
    snprintf(cookie, sizeof cookie, "%llu", (unsigned long long)l->cookie); /* 64 bits are too many for JavaScript */
    return json_pack(
        "{s:o, s:i, s:i, s:s, s:o, s:s, s:f, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:i, s:b}", "program",
        text_of(l->program), "pid", (int)l->pid, "uid", (int)l->uid, "direction", l->connected ? "out" : "in", "peer",
        text_of(l->peer), "state", live_state(l->state), "age_seconds", (double)l->age_ms / 1000, "received_bytes",
        (json_int_t)l->received, "sent_bytes", (json_int_t)l->sent, "identity", if_open(l, text_of(l->identity)),
        "identity_truncated", if_open(l, json_boolean(l->identity_cut)), "proven", if_open(l, json_boolean(l->proven)),
        "role", if_open(l, json_string(l->client ? "client" : "server")), "cipher",
        if_open(l, json_string(live_suite(l->suite, false))), "alpn", if_open(l, text_of(l->alpn)), "resumed",
        if_open(l, json_boolean(l->resumed)), "socket", cookie, "shared_by", (int)l->holders, "counted", l->first);
}

bool output_json(FILE *to, const struct live_list *list)
{
    json_t *connections = json_array();
    for (size_t i = 0; connections && i < list->count; i++)
        if (json_array_append_new(connections, object_of(&list->items[i])) != 0)
            return false;
    json_t *all = json_pack("{s:i, s:i, s:I, s:o}", "version", 1, "unreadable_processes", (int)list->unknown,
                            "connections_without_record", (json_int_t)list->missed, "connections", connections);
    const bool written = all && json_dumpf(all, to, JSON_INDENT(1) | JSON_ENSURE_ASCII) == 0;
    json_decref(all);
    fputc('\n', to);
    return written && fflush(to) == 0 && !ferror(to);
}
