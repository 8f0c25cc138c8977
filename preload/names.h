/* Which names the program has looked up for an address: what a connection is checked against, and what name targets of
 * the policy are compared with. */
#ifndef P2PTLS_NAMES_H
#define P2PTLS_NAMES_H

#include <netdb.h>
#include <stdbool.h>
#include <sys/socket.h>

enum names_verdict {
    NAMES_BARE = 0,  /* no name: the program dialled an address */
    NAMES_KNOWN,     /* one name: the last one that this thread gave for the address, or the only one of any thread; of
                        those looked up for the port that is dialled (or for none), if there are any */
    NAMES_AMBIGUOUS, /* other threads gave several, and this one none */
};

/* The name that stands behind an address that this thread dials; *name lives as long as the process. Async-signal-safe,
 * without a lock (connect(2) may be called in a signal handler). */
enum names_verdict names_dialled(const struct sockaddr *address, socklen_t len, const char **name);

/* Calls fn with each name that any thread has looked up for the address. Likewise safe. */
void names_each(const struct sockaddr *address, socklen_t len, void (*fn)(const char *name, void *arg), void *arg);
/* Is there a look-up that could not be remembered? An address without a name may have one then. */
bool names_lost(void);

/* Notes that this thread looked name up and was given these addresses. errno is kept. */
void names_note(const char *name, const struct addrinfo *found);
void names_note_host(const char *name, const struct hostent *found);

#endif
