#include "columns.h"

#include "text.h"

#include <fnmatch.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name, *heading;
    bool number;
} columns[COLUMNS_COUNT] = {
    [COLUMN_PROGRAM] = {"program", "PROGRAM", false},
    [COLUMN_PID] = {"pid", "PID", true},
    [COLUMN_USER] = {"user", "USER", false},
    [COLUMN_DIRECTION] = {"direction", "DIR", false},
    [COLUMN_PEER] = {"peer", "PEER", false},
    [COLUMN_IDENTITY] = {"identity", "IDENTITY", false},
    [COLUMN_ROLE] = {"role", "ROLE", false},
    [COLUMN_CIPHER] = {"cipher", "CIPHER", false},
    [COLUMN_PROTOCOL] = {"protocol", "ALPN", false},
    [COLUMN_STATE] = {"state", "STATE", false},
    [COLUMN_AGE] = {"age", "AGE", true},
    [COLUMN_RECEIVED] = {"received", "RECV", true},
    [COLUMN_SENT] = {"sent", "SENT", true},
    [COLUMN_RESUMED] = {"resumed", "RES", false},
};

const char *column_name(enum column c)
{
    return columns[c].name;
}

const char *column_heading(enum column c)
{
    return columns[c].heading;
}

bool column_is_number(enum column c)
{
    return columns[c].number;
}

enum column column_find(const char *name, size_t len)
{
    int c = 0;
    while (c < COLUMNS_COUNT && (strlen(columns[c].name) != len || memcmp(columns[c].name, name, len) != 0))
        c++;
    return (enum column)c;
}

const char *live_suite(unsigned suite, bool short_name)
{
    switch (suite) {
    case 0x1301:
        return short_name ? "aes-128-gcm" : "TLS_AES_128_GCM_SHA256";
    case 0x1302:
        return short_name ? "aes-256-gcm" : "TLS_AES_256_GCM_SHA384";
    case 0x1303:
        return short_name ? "chacha20-poly1305" : "TLS_CHACHA20_POLY1305_SHA256";
    default:
        return short_name ? "" : "?";
    }
}

const char *live_state(enum status_state state)
{
    static const char *const names[] = {"?", "handshake", "open", "closing", "failed"};
    return names[state];
}

/* Users are few, and their names are asked once for each change in a list that is sorted by process. */
static const char *user_name(uid_t uid)
{
    static uid_t known = (uid_t)-1;
    static char name[LIVE_PROGRAM];
    if (uid != known) {
        const struct passwd *p = getpwuid(uid);
        known = uid;
        if (p)
            snprintf(name, sizeof name, "%s", p->pw_name);
        else
            snprintf(name, sizeof name, "%u", (unsigned)uid);
    }
    return name;
}

static const char *word_of(enum column c, const struct live *l)
{
    const bool known = l->suite != 0; /* it is or was open */
    switch (c) {
    case COLUMN_PROGRAM:
        return l->program;
    case COLUMN_USER:
        return user_name(l->uid);
    case COLUMN_DIRECTION:
        return l->connected ? "out" : "in";
    case COLUMN_PEER:
        return l->peer;
    case COLUMN_ROLE:
        return !known ? "" : l->client ? "client" : "server";
    case COLUMN_CIPHER:
        return live_suite(l->suite, true);
    case COLUMN_PROTOCOL:
        return l->alpn;
    case COLUMN_STATE:
        return live_state(l->state);
    case COLUMN_RESUMED:
        return !known ? "" : l->resumed ? "yes" : "no";
    default:
        return "";
    }
}

static void identity_text(const struct live *l, char text[COLUMN_TEXT])
{
    if (!l->suite)
        snprintf(text, COLUMN_TEXT, "(%s)", live_state(l->state));
    else if (!l->identity[0])
        snprintf(text, COLUMN_TEXT, "(a long identity)");
    else
        snprintf(text, COLUMN_TEXT, "%s%s", l->identity, l->identity_cut ? "..." : "");
}

void column_text(enum column c, const struct live *l, char text[COLUMN_TEXT])
{
    switch (c) {
    case COLUMN_PID:
        snprintf(text, COLUMN_TEXT, "%d", (int)l->pid);
        break;
    case COLUMN_IDENTITY:
        identity_text(l, text);
        break;
    case COLUMN_AGE:
        text_age(text, COLUMN_TEXT, l->age_ms);
        break;
    case COLUMN_RECEIVED:
        text_bytes(text, COLUMN_TEXT, l->received);
        break;
    case COLUMN_SENT:
        text_bytes(text, COLUMN_TEXT, l->sent);
        break;
    default:
        snprintf(text, COLUMN_TEXT, "%s", word_of(c, l));
    }
}

void column_match_text(enum column c, const struct live *l, char text[COLUMN_TEXT])
{
    switch (c) {
    case COLUMN_IDENTITY:
        snprintf(text, COLUMN_TEXT, "%s", l->identity);
        break;
    case COLUMN_AGE:
        snprintf(text, COLUMN_TEXT, "%lld", (long long)(l->age_ms / 1000));
        break;
    case COLUMN_RECEIVED:
    case COLUMN_SENT:
        snprintf(text, COLUMN_TEXT, "%llu", (unsigned long long)(c == COLUMN_SENT ? l->sent : l->received));
        break;
    default:
        column_text(c, l, text);
    }
}

static int order_of(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

int column_compare(enum column c, const struct live *a, const struct live *b)
{
    switch (c) {
    case COLUMN_PID:
        return order_of((uint64_t)a->pid, (uint64_t)b->pid);
    case COLUMN_AGE:
        return order_of((uint64_t)a->age_ms, (uint64_t)b->age_ms);
    case COLUMN_RECEIVED:
        return order_of(a->received, b->received);
    case COLUMN_SENT:
        return order_of(a->sent, b->sent);
    case COLUMN_USER:
        return order_of(a->uid, b->uid);
    case COLUMN_IDENTITY:
        return strcmp(a->identity, b->identity);
    default:
        return strcmp(word_of(c, a), word_of(c, b));
    }
}

bool filter_parse(const char *text, struct filter *out)
{
    const char *equals = strchr(text, '=');
    if (!equals || equals == text)
        return false;
    out->negated = equals[-1] == '!';
    out->column = column_find(text, (size_t)(equals - text) - out->negated);
    out->pattern = equals + 1;
    return out->column != COLUMNS_COUNT;
}

bool filter_holds(const struct filter *f, const struct live *l)
{
    char text[COLUMN_TEXT];
    column_match_text(f->column, l, text);
    return (fnmatch(f->pattern, text, 0) == 0) != f->negated;
}

void filter_list(const struct filter *filters, size_t count, struct live_list *list)
{
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        size_t k = 0;
        while (k < count && filter_holds(&filters[k], &list->items[i]))
            k++;
        if (k == count)
            list->items[kept++] = list->items[i];
    }
    list->count = kept;
}

bool sort_parse(const char *text, struct sort_order *out)
{
    out->count = 0;
    for (;;) {
        const size_t len = strcspn(text, ",");
        const bool descending = *text == '-';
        if (out->count == SORT_KEYS)
            return false;
        const enum column c = column_find(text + descending, len - descending);
        if (c == COLUMNS_COUNT)
            return false;
        out->keys[out->count++] = (struct sort_key){c, descending};
        if (!text[len])
            return true;
        text += len + 1;
    }
}

static int compare(const void *a, const void *b, void *order)
{
    const struct sort_order *o = order;
    const struct live *x = a, *y = b;
    for (size_t i = 0; i < o->count; i++) {
        const int r = column_compare(o->keys[i].column, x, y);
        if (r)
            return o->keys[i].descending ? -r : r;
    }
    /* One order, always: a view that refreshes must not dance. */
    const int pid = order_of((uint64_t)x->pid, (uint64_t)y->pid);
    return pid ? pid : order_of(x->cookie, y->cookie);
}

void sort_list(const struct sort_order *order, struct live_list *list)
{
    struct sort_order copy = *order;
    if (list->count)
        qsort_r(list->items, list->count, sizeof *list->items, compare, &copy);
}
