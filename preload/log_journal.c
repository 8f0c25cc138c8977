/* Lines with their fields to journald. Each makes a socket of its own for a moment: a program's descriptors stay as few
 * as they are, and a daemon that was started anew is found again. */
#include "logsink.h"

#include "state.h"
#include "sys.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

enum { JOURNAL_MAX = LOG_FORMATTED_MAX + 600 };

struct datagram {
    char bytes[JOURNAL_MAX];
    size_t len;
};

/* KEY=VALUE and a newline: no value has one, since it is made printable. */
static void put(struct datagram *d, const char *key, const char *value)
{
    const size_t room = sizeof d->bytes - d->len;
    const int n = snprintf(d->bytes + d->len, room, "%s=%s\n", key, value);
    if (n <= 0 || (size_t)n >= room)
        return;
    log_make_printable(d->bytes + d->len, (size_t)n - 1);
    d->len += (size_t)n;
}

static const char *priority_of(enum log_level level)
{
    switch (level) { /* syslog(3) */
    case LOG_LEVEL_ERROR:
        return "3";
    case LOG_LEVEL_WARN:
        return "4";
    case LOG_LEVEL_INFO:
        return "6";
    default:
        return "7";
    }
}

bool log_journal_send(const struct log_entry *e, const char *program)
{
    static const struct sockaddr_un journal = {.sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/socket"};
    struct datagram d = {.len = 0};
    char key[64];
    put(&d, "MESSAGE", e->text);
    put(&d, "PRIORITY", priority_of(e->level));
    put(&d, "SYSLOG_IDENTIFIER", "p2ptls");
    put(&d, "P2PTLS_PROGRAM", program);
    put(&d, "P2PTLS_CATEGORY", log_category_name(e->category));
    for (size_t i = 0; i < e->field_count; i++) {
        log_journal_key(e->fields[i].key, key, sizeof key);
        if (e->fields[i].value)
            put(&d, key, e->fields[i].value);
    }
    const long fd = sys3(SYS_socket, (long)AF_UNIX, (long)(SOCK_DGRAM | SOCK_CLOEXEC), 0L);
    if (fd < 0)
        return false;
    const long sent = sys6(SYS_sendto, fd, SYS_ARG(d.bytes), (long)d.len, MSG_DONTWAIT | MSG_NOSIGNAL,
                           SYS_ARG(&journal), sizeof journal);
    sys1(SYS_close, fd);
    return sent == (long)d.len;
}

bool log_journal_is_stderr(void)
{
    struct stat s;
    char own[64];
    const char *told = secure_getenv("JOURNAL_STREAM");
    if (!told || fstat(2, &s) != 0)
        return false;
    snprintf(own, sizeof own, "%llu:%llu", (unsigned long long)s.st_dev, (unsigned long long)s.st_ino);
    return strcmp(own, told) == 0;
}
