/* Where log lines go: what logsink.c and its parts share. */
#ifndef P2PTLS_LOGSINK_H
#define P2PTLS_LOGSINK_H

#include "log_format.h"

enum log_target { TARGET_STDERR = 0, TARGET_SYSLOG, TARGET_JOURNAL, TARGET_FILE };

struct log_setting {
    enum log_level levels[LOG_CATEGORIES];
    enum log_form form;
    const char *target; /* behind the colon; NULL: none is given */
    const char *wrong;  /* the word that means nothing; NULL: none */
};

/* log_setting.c: P2PTLS_LOG=LEVEL[,WORD]...[:TARGET], where a word is a form or CATEGORY=LEVEL. What is wrong in it is
 * passed over. setting: may be NULL. */
void log_setting_parse(const char *setting, struct log_setting *out);

/* log_journal.c: hands an entry to journald, by its own protocol (systemd: "Native Journal Protocol"). False: it is not
 * there, or does not take it. */
bool log_journal_send(const struct log_entry *entry, const char *program);
/* Is descriptor 2 a stream to journald (systemd.exec(5), $JOURNAL_STREAM)? */
bool log_journal_is_stderr(void);

#endif
