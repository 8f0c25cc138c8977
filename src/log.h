/* One line for each event worth telling an administrator: who, why, what to do. Formats and limits the rate;
 * where a line goes is the embedder's business (log_set_sink), since src/ touches neither environment nor files.
 * Thread-safe and fork-safe: no lock is held over the sink, no allocation is made, errno is preserved. */
#ifndef P2PTLS_LOG_H
#define P2PTLS_LOG_H

#include <stdbool.h>

enum log_level {
    LOG_LEVEL_SILENT = 0,
    LOG_LEVEL_ERROR, /* a connection, or the program, was refused */
    LOG_LEVEL_WARN,  /* works, but somebody should look */
    LOG_LEVEL_INFO,  /* each handshake */
    LOG_LEVEL_DEBUG,
};

/* Gets one complete line without a newline, at most LOG_LINE_MAX bytes; control bytes are already replaced. */
typedef void (*log_sink)(enum log_level level, const char *line);

enum { LOG_LINE_MAX = 1000, LOG_BURST = 20, LOG_REFILL_PER_SECOND = 5 };

void log_set_sink(log_sink sink, enum log_level threshold);
bool log_wants(enum log_level level);

/* At most LOG_BURST lines at once and LOG_REFILL_PER_SECOND on average; the first line after a gap says how many
 * were left out. */
void log_event(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
