/* The forms of a log line: a sentence with its fields behind it, fields alone (logfmt), or an object of JSON (RFC
 * 8259).
 */
#ifndef P2PTLS_LOG_FORMAT_H
#define P2PTLS_LOG_FORMAT_H

#include "log.h"

#include <stdint.h>

enum log_form { LOG_FORM_TEXT = 0, LOG_FORM_LOGFMT, LOG_FORM_JSON };

struct log_origin {
    long pid;
    const char *program; /* its name */
    int64_t time_ms;     /* of CLOCK_REALTIME; in logfmt and JSON */
};

enum { LOG_FORMATTED_MAX = 2 * LOG_LINE_MAX + 2000 };

/* "error"; "?" for none. */
const char *log_level_name(enum log_level level);

/* One line with a newline at its end, printable otherwise. Returns its length. Fields that have no room are left out,
 * and what of the text has none: the line stays whole in its form. */
size_t log_format(const struct log_entry *entry, enum log_form form, const struct log_origin *origin,
                  char line[LOG_FORMATTED_MAX]);

/* The name of a field in the journal: "P2PTLS_PEER" of "peer". */
void log_journal_key(const char *key, char *to, size_t room);

#endif
