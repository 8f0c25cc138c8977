/* The order of real-time signals (signal(7): "delivered in the order they were sent"). One that arrives inside the
 * library is sent again, and is then behind those of its number that were sent to this thread meanwhile. So it is
 * written down too: whoever is delivered next hands over the oldest that was written down, and takes its place. */
#ifndef P2PTLS_SIGNALS_LATE_H
#define P2PTLS_SIGNALS_LATE_H

#include <signal.h>

/* The signal is about to be sent again. All signals are blocked. */
void late_keep(int signo, const siginfo_t *info);

/* That one was sent again in vain, perhaps often, and will not come by itself. All signals are blocked. */
void late_drop(int signo, const siginfo_t *info);

/* The signal is delivered; *info becomes the one whose turn it is. */
void late_turn(int signo, siginfo_t *info);

/* What was written down for that number is void: the kernel drops what is pending when a signal is ignored. */
void late_changed(int signo);

/* In the child of a fork nothing is pending. */
void late_forked(void);

#endif
