/* Reading and writing of protected connections with a program's flags, waiting as libc does. */
#ifndef P2PTLS_STREAM_H
#define P2PTLS_STREAM_H

#include "state.h"

#include <errno.h>

/* As recv(2) and send(2) on iovecs: bytes, or -1 with errno. */
ssize_t stream_receive(struct desc *d, int fd, const struct iovec *iov, int count, int flags);
ssize_t stream_send(struct desc *d, int fd, const struct iovec *iov, int count, int flags);
/* Waits until a receive would not. 0: something is there, or the end. A handler ends it, SA_RESTART or not: EINTR. */
int stream_await(struct desc *d, int fd, int flags);

/* Ends a call on a number that must fail. */
static inline ssize_t stream_special(int error)
{
    errno = error;
    return -1;
}

/* Starts an unstarted handshake, as any readiness call does. What there is to say of d: */
enum {
    TOUCH_PROTECTED = 1, /* always */
    TOUCH_LEFTOVER = 2,  /* bytes wait for the program, and the kernel's socket does not show it */
    TOUCH_BUSY = 4,      /* something is under way that only the program's own calls move on: come again soon */
};
unsigned stream_touch(struct desc *d, int fd);
unsigned stream_touch_pinned(struct desc *d, int fd); /* inside desc_enter */

/* How long a wait may last: at once if something is left over, a moment where work is under way, else as given. */
const struct timespec *stream_wait_slice(const struct timespec *left, unsigned touched, struct timespec *slice);

/* Is there something for the program to read, or an end or error to see? For blocking descriptors, whose readers trust
 * poll(2). */
bool stream_readable(struct desc *d, int fd);
/* Before readiness that meant nothing is asked for again. What made a socket readable may be another thread's, or
 * process's, to take, which is about to: do not spin on it. The first look has usually taken it. */
void stream_pause(unsigned round);
/* Or is the handshake still going on, with all kept that may be kept? */
bool stream_writable(struct desc *d, int fd);

/* Handlers that have run in this thread. One that comes after a call has begun and before it waits ends the wait, as
 * it does in the kernel. */
struct stream_signals {
    unsigned handlers, interruptions;
};
static inline struct stream_signals stream_signals_now(void)
{
    return (struct stream_signals){thread.handlers, thread.interruptions};
}

/* Waits for the end of the handshake, until then at most (INT64_MAX: as long as it takes). 0, or an errno; ETIMEDOUT
 * when the time is over. Blocks; the caller has a hold on d, in a wait (waits.h) if a thread may be cancelled in it. */
int stream_wait_handshake(struct desc *d, int fd, int64_t deadline_ms, const struct stream_signals *before,
                          bool is_cancellation_point);

/* The policy's connect=wait: waits for the end of the handshake, whose verdict is the call's own: 0, or -1 and errno.
 * As in connect(2), a signal or SO_SNDTIMEO ends the call and not what it has begun; the next connect waits for that.
 */
int stream_verdict(struct desc *d, int fd, const struct stream_signals *before);

bool stream_is_blocking(struct desc *d, int fd);
/* Around each call that may change O_NONBLOCK; d is pinned. */
void stream_modes_change(struct desc *d);
void stream_modes_changed(struct desc *d);
/* From now on it may be changed unseen. */
void stream_modes_lost(void);
/* O_APPEND, which fdopen(fd, "a") sets: splice(2) and sendfile(2) then say EINVAL, also on a socket. */
bool stream_appends(int fd);
/* Notes O_NONBLOCK and the timeouts of a descriptor, for when they cannot be asked any more. */
void stream_note_modes(struct desc *d, int fd);

/* For calls that wait for a connection as recv and send do. d is held, not pinned. */

/* When a call that begins to wait now has to give up, by SO_RCVTIMEO or SO_SNDTIMEO; INT64_MAX: never. A handler with
 * SA_RESTART interrupts waits with any other deadline; STREAM_NO_RESTART never comes. */
#define STREAM_NO_RESTART (INT64_MAX / 2)
int64_t stream_deadline_of(const struct desc *d, int fd, int option);
/* The same of one that has begun then (io_now_ms). */
int64_t stream_deadline_since(const struct desc *d, int fd, int option, int64_t began_ms);
/* The first wait of a call that reads would be the kernel's own (stream_wait_readable), which obeys SO_RCVTIMEO. */
bool stream_waits_in_kernel(const struct desc *d, const struct stream_signals *before);
/* Nothing to read now. 0: look again. STREAM_ENDED: of a socket that is not connected the kernel says an end, for good.
 * Otherwise the errno for the program. */
enum { STREAM_ENDED = -1 };
int stream_wait_readable(struct desc *d, int fd, int flags, int64_t deadline_ms, const struct stream_signals *before);
/* A flag of ours, for calls that are made of several: something was moved by an earlier one. Linux's own meaning of it
 * is of no use to 64-bit programs. */
enum { STREAM_IN_PART = (int)0x80000000 /* MSG_CMSG_COMPAT */ };
/* The deadline of a call that has moved something already: it is not begun anew after a signal, SA_RESTART or not. */
static inline int64_t stream_deadline_in_part(int64_t deadline_ms, bool done)
{
    return done && deadline_ms == INT64_MAX ? STREAM_NO_RESTART : deadline_ms;
}
/* No room now. 0: try again (*roomy: without asking first). Otherwise the errno. */
int stream_wait_writable(struct desc *d, int fd, int flags, int64_t deadline_ms, const struct stream_signals *before,
                         bool *roomy);
/* The end of a write that could not go on: what was done, or -1, errno and SIGPIPE. saved: errno as it was, which a
 * call that succeeds in part must not change. */
ssize_t stream_write_failed(int fd, size_t done, int error, int flags, int saved);
/* The socket has not finished its own connect. */
bool stream_is_connecting(struct desc *d, int fd);
/* Takes its own hold: where no helper sends the rest of a record, a blocking write waits until it is out. */
void stream_wait_rest_out(struct desc *d, int fd, int flags);
/* Pinned. Before TCP is up: what the kernel says of a write then. 0: it is up, or coming. */
int stream_not_connected(struct desc *d, int fd);

#endif
