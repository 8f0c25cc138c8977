#define LOG_CATEGORY LOG_CATEGORY_REFUSAL

#include "known.h"

#include "stream.h"

#include "memory.h"
#include "p2ptls.h"
#include "sys.h"
#include "waits.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

enum { STARTTLS_TEXT_MAX = 4096, LABEL_MAX = 249, CONTEXT_MAX = 65535, EXPORT_MAX = 4096 };

static int fail(int error)
{
    errno = error;
    return -1;
}

/* ---- STARTTLS ---------------------------------------------------------------------------------------------------- */

/* What a program has asked for, as a policy of one rule, kept for the life of the process: connections point to it, and
 * a program says the same of all its connections, or little else. */
struct request {
    struct request *next;
    struct policy *policy;
    size_t len;
    char text[];
};

static struct request *_Atomic requests;

static const struct request *find_request(const char *text, size_t len)
{
    const struct request *r = atomic_load_explicit(&requests, memory_order_acquire);
    while (r && (r->len != len || memcmp(r->text, text, len) != 0))
        r = r->next;
    return r;
}

static bool word_at(const char *text, size_t len, const char *word)
{
    size_t n = strlen(word);
    return len >= n && memcmp(text, word, n) == 0 && (len == n || text[n] == ' ' || text[n] == '\t');
}

/* The end of a quoted value that begins at text[at], or len. As src/policy_lex.c reads it. */
static size_t quote_end(const char *text, size_t len, size_t at)
{
    for (at++; at < len && text[at] != '"'; at++)
        if (text[at] == '\\')
            at++;
    return at < len ? at : len;
}

/* One statement, and all of it: a separator counts but in quotes, which begin behind the first '=' of a word. */
static bool is_one_list(const char *text, size_t len)
{
    size_t equals = 0; /* in this word */

    if (memchr(text, '\n', len) || memchr(text, 0, len))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == ';' || text[i] == '#')
            return false;
        if (text[i] == '"' && equals == 1 && text[i - 1] == '=')
            i = quote_end(text, len, i);
        else if (text[i] == '=')
            equals++;
        else if (text[i] == ' ' || text[i] == '\t')
            equals = 0;
    }
    return true;
}

/* What would be accepted and not honoured: which connection this is, and that it is protected, the call has said. */
static const char *find_idle(const struct policy_rule *rule)
{
    return !rule                ? "for=, which names another program,"
           : rule->from_count   ? "from="
           : rule->observe      ? "mode=observe"
           : rule->accept_plain ? "insecure-accept-plain="
                                : NULL;
}

/* "connect" or "accept", then options: the rule that says the same of every address. */
static struct policy *parse_request(const char *text, size_t len)
{
    static const char source[] = "P2PTLS_STARTTLS";
    char rule[STARTTLS_TEXT_MAX + 32];
    bool accepts = word_at(text, len, "accept"), says = accepts || word_at(text, len, "connect");
    size_t skip = accepts ? strlen("accept") : says ? strlen("connect") : 0;
    struct policy *parsed = NULL;
    struct policy_error error;
    if (!is_one_list(text, len)) {
        log_event(LOG_LEVEL_ERROR, "%s: expected one list of options, found ';', '#', a newline or a zero byte",
                  source);
        return NULL;
    }
    int n =
        snprintf(rule, sizeof rule, "%s *:* tls %.*s", accepts ? "accept" : "connect", (int)(len - skip), text + skip);
    /* id= may name what the process's own policy knows. */
    const struct policy_source request = {.name = source, .text = rule, .len = (size_t)n, .known = policy};
    if (policy_add(&parsed, &request, &error) == RESULT_OK && policy_finish(parsed, &error) == RESULT_OK) {
        const char *idle = find_idle(policy_rule_at(parsed, 0));
        if (!idle)
            return parsed;
        policy_free(parsed);
        log_event(LOG_LEVEL_ERROR, "%s: in \"%s\": %s has no meaning here: leave it out", source, rule, idle);
        return NULL;
    }
    policy_free(parsed);
    log_event(LOG_LEVEL_ERROR, "%s: in \"%s\", column %u: %s", source, rule, error.column, error.message);
    return NULL;
}

static const struct policy_rule *request_rule(const char *text, size_t len)
{
    const struct request *known = find_request(text, len);
    if (known)
        return policy_rule_at(known->policy, 0);
    struct policy *parsed = parse_request(text, len);
    if (!parsed) {
        errno = EINVAL;
        return NULL;
    }
    struct request *r = malloc(sizeof *r + len);
    if (!r) {
        policy_free(parsed);
        errno = ENOMEM;
        return NULL;
    }
    r->policy = parsed;
    r->len = len;
    memcpy(r->text, text, len);
    r->next = atomic_load(&requests);
    while (!atomic_compare_exchange_weak(&requests, &r->next, r))
        ;
    return policy_rule_at(parsed, 0);
}

static int start_tls(int fd, const char *text, size_t len)
{
    struct stream_signals before = stream_signals_now();
    struct sockaddr_storage peer;
    socklen_t peer_len = sizeof peer;
    if (table_word(fd) == WORD_UNKNOWN)
        classify_unknown(fd);
    struct desc *d = table_find(fd);
    if (d)
        return fail(desc_special(d) ? desc_special(d) : EALREADY);
    if (thread.in_vfork_child)
        return fail(EIO);
    if (!is_tcp_stream(fd))
        return fail(ENOPROTOOPT);
    long asked = sys3(SYS_getpeername, (long)fd, &peer, &peer_len);
    if (asked != 0)
        return fail((int)-asked);
    const struct policy_rule *rule = request_rule(text, len);
    if (!rule)
        return -1;
    bool connects = rule->directions & POLICY_CONNECT;
    streams_adopt(fd);
    d = select_midstream(fd, rule, connects, (struct sockaddr *)&peer);
    if (!d)
        return errno == ERESTART ? fail(EALREADY) : -1;
    if (connects)
        stream_touch(d, fd);
    if (desc_enter(d, fd)) {
        helper_add(d);
        desc_leave(d);
    }
    desc_release(d);
    return rule->connect_waits ? stream_verdict(d, fd, &before) : 0;
}

/* ---- what an open connection is ---------------------------------------------------------------------------------- */

static int not_protected(int fd)
{
    return fail(sys3(SYS_fcntl, (long)fd, F_GETFD, 0L) < 0 ? EBADF : is_tcp_stream(fd) ? ENOTCONN : ENOPROTOOPT);
}

static int give(const void *from, size_t n, void *value, socklen_t *len)
{
    if (*len < n)
        return fail(ERANGE);
    memcpy(value, from, n);
    *len = (socklen_t)n;
    return 0;
}

/* Text, with a NUL behind it for callers in C if there is room, which is not counted. */
static int give_text(const char *text, void *value, socklen_t *len)
{
    size_t n = strlen(text);
    bool room = *len > n;
    int r = give(text, n, value, len);
    if (r == 0 && room)
        ((char *)value)[n] = 0;
    return r;
}

static int state_of(const struct conn *conn)
{
    switch (core->conn_state(conn)) {
    case RESULT_OK:
        return 2;
    case RESULT_AGAIN:
        return 1;
    default:
        return 3;
    }
}

/* One thread may set a label while another reads a value. Nobody waits while it holds this. */
static pthread_mutex_t label_lock = PTHREAD_MUTEX_INITIALIZER;

static int export_value(struct desc *d, void *value, socklen_t *len)
{
    uint8_t out[EXPORT_MAX];
    if (!*len || *len > sizeof out)
        return fail(EINVAL);
    pthread_mutex_lock(&label_lock);
    const struct desc_label *label = d->label;
    enum result r = label ? core->conn_export_value(d->conn, label->text, label->context, label->context_len, out, *len)
                          : RESULT_PROTOCOL;
    pthread_mutex_unlock(&label_lock);
    if (r == RESULT_AGAIN)
        return fail(ENOTCONN);
    if (r != RESULT_OK)
        return fail(r == RESULT_NOMEM ? ENOMEM : EINVAL);
    memcpy(value, out, *len);
    explicit_bzero(out, sizeof out);
    return 0;
}

/* TEXT, or TEXT NUL CONTEXT. */
static int keep_label(struct desc *d, const char *value, size_t len)
{
    size_t text_len = strnlen(value, len), context_len = len > text_len ? len - text_len - 1 : 0;
    if (!text_len || text_len > LABEL_MAX || context_len > CONTEXT_MAX)
        return fail(EINVAL);
    struct desc_label *label = malloc(sizeof *label + text_len + 1 + context_len);
    if (!label)
        return fail(ENOMEM);
    memcpy(label->text, value, text_len);
    label->text[text_len] = 0;
    label->context = (uint8_t *)label->text + text_len + 1;
    label->context_len = context_len;
    if (context_len)
        memcpy(label->text + text_len + 1, value + text_len + 1, context_len);
    pthread_mutex_lock(&label_lock);
    struct desc_label *before = d->label;
    d->label = label;
    pthread_mutex_unlock(&label_lock);
    free(before);
    return 0;
}

static int get_value(struct desc *d, int name, void *value, socklen_t *len)
{
    struct conn_about about;
    if (name == P2PTLS_STATE) {
        int state = state_of(d->conn);
        return give(&state, sizeof state, value, len);
    }
    if (name == P2PTLS_EXPORTER)
        return export_value(d, value, len);
    if (name != P2PTLS_PEER && name != P2PTLS_ROLE && name != P2PTLS_CIPHER && name != P2PTLS_RESUMED)
        return fail(ENOPROTOOPT);
    if (!core->conn_about(d->conn, &about))
        return fail(ENOTCONN);
    if (name == P2PTLS_RESUMED) {
        int resumed = about.resumed;
        return give(&resumed, sizeof resumed, value, len);
    }
    if (name == P2PTLS_PEER && !about.subject[0])
        return fail(ERANGE); /* longer than a slot keeps */
    return give_text(name == P2PTLS_PEER     ? about.subject
                     : name == P2PTLS_CIPHER ? about.suite
                     : about.is_client       ? "client"
                                             : "server",
                     value, len);
}

/* ---- the calls --------------------------------------------------------------------------------------------------- */

int known_set(int fd, int name, const void *value, socklen_t len)
{
    if (len && !memory_readable(value, len))
        return fail(EFAULT);
    if (name == P2PTLS_STARTTLS && len && ((const char *)value)[len - 1] == 0)
        len--; /* sizeof a literal */
    if (name == P2PTLS_STARTTLS)
        return len > STARTTLS_TEXT_MAX ? fail(EINVAL) : start_tls(fd, len ? value : "", len);
    if (name != P2PTLS_EXPORTER_LABEL)
        return fail(ENOPROTOOPT);
    struct desc *d = table_find(fd);
    if (!d)
        return not_protected(fd);
    if (desc_special(d) || !desc_enter(d, fd))
        return fail(desc_special(d) ? desc_special(d) : EBADF);
    int r = keep_label(d, value, len);
    desc_leave(d);
    return r;
}

int known_get(int fd, int name, void *value, socklen_t *len)
{
    const int unprotected = 0;
    if (!memory_readable(len, sizeof *len) || (*len && !memory_writable(value, *len)))
        return fail(EFAULT);
    if (table_word(fd) == WORD_UNKNOWN)
        classify_unknown(fd);
    struct desc *d = table_find(fd);
    if (!d && name == P2PTLS_STATE && is_tcp_stream(fd))
        return give(&unprotected, sizeof unprotected, value, len);
    if (!d)
        return not_protected(fd);
    if (desc_special(d) || !desc_enter(d, fd))
        return fail(desc_special(d) ? desc_special(d) : EBADF);
    int r = get_value(d, name, value, len);
    desc_leave(d);
    return r;
}
