/* The border between libp2ptls.so (hooks, always loaded) and libp2ptls-core.so (TLS, loaded at the first selected
 * socket). One symbol crosses it, p2ptls_core_open; everything else is in the table that it returns. */
#ifndef P2PTLS_CORE_H
#define P2PTLS_CORE_H

#include "conn.h"
#include "holders.h"
#include "log.h"
#include "status.h"
#include "tlsa.h"

#define CORE_ABI 7

/* Functions of src/ that the hooks may call. */
#define CORE_CALLS(X)                                                                                                  \
    X(core_identity)                                                                                                   \
    X(identity_unref)                                                                                                  \
    X(core_forked)                                                                                                     \
    X(core_prepare_fork)                                                                                               \
    X(core_quiet)                                                                                                      \
    X(core_sandbox)                                                                                                    \
    X(status_prepare)                                                                                                  \
    X(conn_new)                                                                                                        \
    X(conn_free)                                                                                                       \
    X(conn_export)                                                                                                     \
    X(conn_export_failed)                                                                                              \
    X(conn_import_needs_family)                                                                                        \
    X(conn_import)                                                                                                     \
    X(conn_equip)                                                                                                      \
    X(conn_alone)                                                                                                      \
    X(conn_arrived)                                                                                                    \
    X(conn_prepare_exec)                                                                                               \
    X(conn_exec_failed)                                                                                                \
    X(conn_depart)                                                                                                     \
    X(conn_return)                                                                                                     \
    X(conn_peer)                                                                                                       \
    X(conn_start)                                                                                                      \
    X(conn_drive)                                                                                                      \
    X(conn_state)                                                                                                      \
    X(conn_unstarted)                                                                                                  \
    X(conn_is_connector)                                                                                               \
    X(conn_owns_handshake)                                                                                             \
    X(conn_sole)                                                                                                       \
    X(conn_connected)                                                                                                  \
    X(conn_read_begin)                                                                                                 \
    X(conn_read_end)                                                                                                   \
    X(conn_wait_state)                                                                                                 \
    X(conn_error)                                                                                                      \
    X(conn_take_error)                                                                                                 \
    X(conn_error_told)                                                                                                 \
    X(conn_asking_begin)                                                                                               \
    X(conn_asking_end)                                                                                                 \
    X(conn_note_untold)                                                                                                \
    X(conn_take_untold)                                                                                                \
    X(conn_end_refused)                                                                                                \
    X(conn_read)                                                                                                       \
    X(conn_ready)                                                                                                      \
    X(conn_writing_blocked)                                                                                            \
    X(conn_unsettled)                                                                                                  \
    X(conn_count)                                                                                                      \
    X(conn_write)                                                                                                      \
    X(conn_read_to)                                                                                                    \
    X(conn_write_from)                                                                                                 \
    X(conn_turn_take)                                                                                                  \
    X(conn_turn_end)                                                                                                   \
    X(conn_shutdown)                                                                                                   \
    X(conn_leave)                                                                                                      \
    X(conn_disconnect)                                                                                                 \
    X(conn_unsent)                                                                                                     \
    X(conn_heard)                                                                                                      \
    X(conn_abandon)                                                                                                    \
    X(conn_left_alone)                                                                                                 \
    X(conn_tick)                                                                                                       \
    X(conn_needs_tick)                                                                                                 \
    X(conn_calm)                                                                                                       \
    X(conn_prepare_fork)                                                                                               \
    X(conn_fork_parent)                                                                                                \
    X(conn_fork_child)                                                                                                 \
    X(conn_reading_shut)                                                                                               \
    X(conn_reads_kernel)                                                                                               \
    X(conn_warm)                                                                                                       \
    X(conn_leftover)                                                                                                   \
    X(conn_about)                                                                                                      \
    X(conn_export_value)

/* A reference to the identity of a rule, loaded at its first use and again when its files have changed
 * (identity_source_get). The rule lives as long as the process. state_dir: see identity.h. */
MUST_USE enum result core_identity(const struct policy_rule *rule, const char *state_dir, struct identity **out,
                                   char why[IDENTITY_WHY_MAX]);

/* Around fork(2), once for the process (conn_*_fork: for each connection). core_forked: in_child or in the parent. */
void core_prepare_fork(void);
void core_forked(bool in_child);

/* Many handshakes are over, and nothing has happened since: lets go of what can be done without. */
void core_quiet(void);

/* What a seccomp filter leaves to this process. */
struct core_sandbox {
    const struct conn_io *io;
    bool no_file_locks; /* fcntl(F_GETLK) is out: who else holds a connection cannot be asked, so somebody does */
    bool no_robust;     /* gettid and get_robust_list are out, but for the thread that calls this */
    bool no_files;      /* files cannot be opened or looked at */
    bool no_registry;   /* pread64, pwrite64 and what else reflection.h needs are out */
    bool inside;        /* there is a filter */
};
void core_sandbox(const struct core_sandbox *sandbox);

struct core_api {
#define X(name) __typeof__(name) *name;
    CORE_CALLS(X)
#undef X
};

struct core_host {
    unsigned abi;        /* CORE_ABI of the caller */
    const char *version; /* P2PTLS_VERSION of the caller */
    const struct conn_io *io;
    log_sink log;
    const enum log_level *log_thresholds; /* of each category */
    hide_descriptor hide;
    void (*forget)(int fd);                               /* a hidden descriptor that was closed */
    void (*own)(_Atomic int *number);                     /* of a hidden descriptor: it is told there when it moves */
    bool status;                                          /* keep a table of the live connections (status.h) */
    const struct tlsa_resolver *resolver;                 /* for dane=on */
    void (*nonce_audit)(void *ctx, const uint8_t *entry); /* builds with P2PTLS_NONCE_AUDIT: record.h; else NULL */
};

/* NULL if the caller was built for another CORE_ABI, or is of another version: an upgrade replaces the core under
 * programs that run with the library of before. The host struct may go; what it points to stays. */
typedef const struct core_api *(*core_open)(const struct core_host *host);
const struct core_api *p2ptls_core_open(const struct core_host *host);

#endif
