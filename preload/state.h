/* The process-wide state of the library: policy, core, and what starts and stops with them. */
#ifndef P2PTLS_STATE_H
#define P2PTLS_STATE_H

#include "core.h"
#include "policy.h"
#include "sandbox.h"
#include "table.h"

extern struct policy *policy;       /* NULL: inert */
extern const struct core_api *core; /* NULL until core_load */

/* init.c */
void init_read_environment(void); /* the policy, from all its sources; ends the program if one is broken */
bool init_wants_status(void);     /* P2PTLS_STATUS */
const char *init_state_dir(void); /* of the per-user identity, NULL if there is no home */

/* logsink.c */
void logsink_open(const char *setting); /* P2PTLS_LOG */
extern enum log_level logsink_levels[LOG_CATEGORIES];
void logsink_write(const struct log_entry *entry);
void logsink_before_filter(bool blind); /* blind: it can look at nothing later */
void logsink_no_filter(void);           /* it was not installed */

/* core_load.c */
bool core_load(void);       /* true if the core is there; logs why not */
extern int core_load_error; /* the errno then: EMFILE, ENFILE, ENOMEM may pass; else EKEYREJECTED */
/* Loads core and identities of all rules that could still match in that direction: before files and libraries go
 * out of reach (chroot, lowered privileges). */
void core_load_all(void);
/* ruling.c: the rule for a socket, by the remote address that is dialled (and the names that the program knows for it)
 * or the local one of an accepted connection. NULL: untouched, which mode=observe also means. Async-signal-safe. */
const struct policy_rule *rule_for(enum policy_direction direction, const struct sockaddr *address, socklen_t len);
/* The same for a connection that is made now: with mode=observe the log says what would have become of it. */
const struct policy_rule *rule_deciding(enum policy_direction direction, const struct sockaddr *address, socklen_t len,
                                        const struct sockaddr *peer);

/* Do names of this address, of which nobody can tell which one is meant, have rules of their own? */
bool rule_is_ambiguous(const struct sockaddr *address, socklen_t len);
/* What the log tells beside the sentence. room: for the rule's text. */
enum { RULE_TEXT = 256, RULE_FIELDS = 3 };
void rule_fields(const struct policy_rule *rule, enum policy_direction direction, const char *peer,
                 char room[RULE_TEXT], struct log_field fields[RULE_FIELDS]);
void rule_tell_denied(const char *what, const struct sockaddr *address, const struct policy_rule *rule);
/* Where the kernel will connect to, of a wildcard address too: *to and *len are replaced then, by room. False: nobody
 * can tell. */
bool rule_destination(int fd, const struct sockaddr **to, socklen_t *len, struct sockaddr_storage *room);

/* admission.c: what becomes of a connection that was accepted under a rule that protects. listener: where it came from;
 * -1: unknown. */
enum admission { ADMISSION_PROTECTED = 0, ADMISSION_PLAIN, ADMISSION_REFUSED };
enum admission admission_of(int fd, int listener, const struct policy_rule *rule, const struct sockaddr *peer,
                            socklen_t peer_len);
/* Before listen(2), or soon afterwards: lets a listener wait for first bytes, if a rule needs them. */
void admission_defer(int listener);

/* A reference, to be given back by core_identity_done; NULL is logged. */
struct identity *core_identity_of(const struct policy_rule *rule);
void core_identity_done(struct identity *identity); /* NULL is fine */

/* classify.c */
void classify_unknown(int fd);  /* resolves WORD_UNKNOWN by looking at the socket */
void classify_inherited(void);  /* at start: which numbers are open */
void classify_listener(int fd); /* after listen(2): WORD_LISTENER or WORD_BOUND_PLAIN */
enum socket_kind { SOCKET_KIND_UNKNOWN = 0 /* a filter forbids to ask */, SOCKET_KIND_TCP, SOCKET_KIND_OTHER };
enum socket_kind socket_kind(int fd);
bool is_tcp_stream(int fd); /* or it may be one */
int socket_option(int fd, int level, int name, int fallback);

/* Calls fn for each open number of the process. False: it cannot be asked (no /proc). */
bool each_open_number(void (*fn)(int fd, void *arg), void *arg);

/* select.c */
void text_of_address(const struct sockaddr *a, char text[CONN_PEER_TEXT]); /* for logs */
uint64_t socket_cookie(int fd);
/* Makes fd a protected connection: the desc is in the table when this returns, with a hold for the caller. peer may be
 * NULL (asked from the kernel). NULL: refused, errno set; ERESTART: another thread has made it one meanwhile. */
struct desc *select_connection(int fd, const struct policy_rule *rule, bool connected_side,
                               const struct sockaddr *peer);
/* The same socket by other numbers: made by dup before it was selected, or inherited (a superserver's program has its
 * connection on 0 and 1). d is pinned: whoever closes one of them waits until it is counted. */
void select_twins(int fd, struct desc *d);
/* Behind it, on its way to a connect: those that were being moved then, or had the desc of an attempt before, which
 * other threads have just unselected. Nothing is pinned. */
void select_late_twins(int fd, struct desc *d);
/* All numbers of d are ordinary sockets again, with their options. Nothing is pinned, and the caller has a hold: else d
 * may be another connection by now. */
void unselect(int fd, struct desc *d);
/* The number has just got that word: was it unselected meanwhile? Then another thread may have connected the socket
 * anew, and it has to be looked at. */
void unselect_late(int fd, uintptr_t word);
/* The kernel has told that connecting has failed with error: if it has ended the connection thereby, d is unselected.
 * The errno for the program. Nothing is pinned. */
int connect_failed(struct desc *d, int fd, int error);
void restore_nagle(int fd, struct desc *d); /* after the first write on an open connection; pinned */
void set_fastopen_connect(int fd, int on);
/* Data in the SYN would leave before the peer is proven. True if the program has asked for it. */
bool no_fast_open(int fd);
void restore_cork(int fd, struct desc *d); /* before it; pinned */
/* The same on a connection that has carried bytes in clear, for all its numbers in this process. */
struct desc *select_midstream(int fd, const struct policy_rule *rule, bool connected_side, const struct sockaddr *peer);
struct conn_passport;
/* The same for a connection that another program has handed over, with the rule that this one's policy has for it. The
 * desc has no number yet. */
struct desc *select_imported(int fd, const struct conn_passport *passport, enum conn_arrival arrival);

/* helper.c */
void helper_add(struct desc *d); /* background work may have come up for d */
/* The same, where the calling thread is likely to do it itself: the helper looks after some milliseconds. */
void helper_add_soon(struct desc *d);
void helper_kick(struct desc *d); /* the same, cheap when there is none */
bool helper_running(void);
bool helper_absent(void); /* nobody but the program's own calls moves things on */
void helper_stop(void);   /* at exit */
void helper_pause(void);  /* until helper_resume there is no helper thread in this process */
void helper_resume(void);
void helper_forked(void);
/* finish.c */
/* Ends those connections, and waits for those that are ending already. */
void helper_finish(bool (*which)(struct desc *d));
void helper_finish_undone(void);            /* the exec has failed */
void helper_finish_all(void);               /* bounded: at exit */
void helper_finish_handshakes(void);        /* before a fork whose parent ends */
void helper_finish_orphans(void);           /* closed connections that the helper still works on; for a second */
bool helper_orphan(struct desc *d, int fd); /* takes over an orphan; false: no helper can be made */

bool helper_has_orphans(void);
bool helper_has_many_orphans(void); /* each keeps a descriptor: strangers' are to give way */

/* aio_jobs.c */
void aio_forked(void);

/* hook_uring.c */
int io_uring_refused(void); /* -ENOSYS, logged once */

/* signals.c */
void signals_release(void);
void signals_hold(void);
void signals_forked(void); /* in the child of a fork nothing is pending */

/* streams.c: libc's stdio, which would go behind the hooks */
/* From now on each stream over fd goes by the hooks, whatever fd is or becomes. Takes libc's lock of its list of
 * streams, which other threads hold while they write: not while anything is pinned or moving. */
void streams_adopt(int fd);
void streams_flush(void); /* writes what adopted streams have buffered: at exit */
void streams_fork_prepare(void);
void streams_fork_parent(void);
/* libc's lock of the list of streams, which counts. */
void streams_hold(bool hold);
void streams_fork_child(void);

/* fork.c */
/* A word that this process shares with its relatives by fork, once connections are shared: one of them is in a sandbox
 * that forbids to receive, and may leave bytes over (sandbox.h). */
bool fork_relative_sandboxed(void);
void fork_tell_sandboxed(void);
void fork_init(void);
void exit_init(void);
void fork_prepare(void);
void fork_parent(bool failed);
void fork_child(void);
/* Keeps every other thread out of the library, as during a fork. The caller is out. */
void fork_close_gate(void);
void fork_open_gate(void);
/* The same for good, or until fork_reopen_gate: this thread goes on, to end the program or its image. False: it cannot
 * be, as this thread is inside, or another one does not get out of a fork. */
bool fork_end_gate(void);
void fork_reopen_gate(void);
/* This process shares another's memory, or was forked unseen: the connections in it are not its own to end. */
bool fork_is_foreign(void);
void vfork_forked(void);                          /* fork_in_place.c: in the child of any fork */
long fork_by_syscall(long n, const long args[6]); /* as the raw call: -errno */

#endif
