/* One line for each event worth telling an administrator: who, why, what to do. Formats and limits the rate;
 * where a line goes is the embedder's business (log_set_sink), since src/ touches neither environment nor files.
 * Thread-safe and fork-safe: no lock is held over the sink, no allocation is made, errno is preserved. */
#ifndef P2PTLS_LOG_H
#define P2PTLS_LOG_H

#include <stdbool.h>
#include <stddef.h>

enum log_level {
    LOG_LEVEL_SILENT = 0,
    LOG_LEVEL_ERROR, /* a connection, or the program, was refused */
    LOG_LEVEL_WARN,  /* works, but somebody should look */
    LOG_LEVEL_INFO,  /* each handshake */
    LOG_LEVEL_DEBUG,
};

/* What a line is about; each has a threshold of its own. A file's lines are of the category that it defines as
 * LOG_CATEGORY before it includes this. */
enum log_category {
    LOG_CATEGORY_LIBRARY = 0, /* the library itself, and calls that it does not let through */
    LOG_CATEGORY_HANDSHAKE,   /* connections that were opened */
    LOG_CATEGORY_REFUSAL,     /* connections that were not */
    LOG_CATEGORY_CONNECTION,  /* what becomes of open ones */
    LOG_CATEGORY_IDENTITY,    /* keys, certificates, known peers, and their files */
    LOG_CATEGORY_PLAIN,       /* connections that the policy leaves in clear, and would not always */
    LOG_CATEGORY_PROGRAM,     /* other programs: exec, descriptors that are passed on; sandboxes */
    LOG_CATEGORIES,
};
const char *log_category_name(enum log_category category);
/* LOG_CATEGORIES: there is none of that name. */
enum log_category log_category_find(const char *name, size_t len);

struct log_field {
    const char *key;   /* lower-case letters */
    const char *value; /* whatever it holds; NULL: the field is left out */
};

struct log_entry {
    enum log_level level;
    enum log_category category;
    const char *text; /* without a newline, at most LOG_LINE_MAX bytes; control bytes are already replaced */
    const struct log_field *fields;
    size_t field_count;
};
typedef void (*log_sink)(const struct log_entry *entry);

enum { LOG_LINE_MAX = 1000, LOG_BURST = 20, LOG_REFILL_PER_SECOND = 5 };

/* threshold: of all categories. */
void log_set_sink(log_sink sink, enum log_level threshold);
void log_set_threshold(enum log_category category, enum log_level threshold);

/* At most LOG_BURST lines at once and LOG_REFILL_PER_SECOND on average; the first line after a gap says how many
 * were left out. */
void log_write(enum log_level level, enum log_category category, const struct log_field *fields, size_t field_count,
               const char *format, ...) __attribute__((format(printf, 5, 6)));

#ifndef LOG_CATEGORY
#define LOG_CATEGORY LOG_CATEGORY_LIBRARY
#endif
#define log_wants(level) log_wants_of(LOG_CATEGORY, level)
bool log_wants_of(enum log_category category, enum log_level level);
#define log_event(level, ...) log_write(level, LOG_CATEGORY, NULL, 0, __VA_ARGS__)

/* Length of the well-formed, printable UTF-8 sequence at text (RFC 3629), 0 if there is none: what a peer or a file
 * name put into a line must not drive the administrator's terminal (C0, DEL and C1 controls), nor turn what follows
 * around (U+202E and its relatives). */
size_t log_printable_sequence(const char *text, size_t left);

/* Replaces what must not reach a terminal, byte by byte, with '?'. */
void log_make_printable(char *line, size_t len);

#endif
