/* Connections that go on in another program: by exec (hook_exec.c) or by SCM_RIGHTS (passing.c). */
#ifndef P2PTLS_HANDOVER_H
#define P2PTLS_HANDOVER_H

#include "box.h"
#include "state.h"

/* Is there anything that another program must not get just so: a connection, a matched listener, a refused socket? */
bool handover_matters(void);

/* Before a fork, while everybody is out of the library: children may want to hand over what they inherit. */
void handover_prepare_fork(void);

/* d's box, made if there is none yet (that waits until every thread is out of the library: the caller must hold d, and
 * be out). -errno: it cannot be handed over, and a log line said why: EOPNOTSUPP never again, EMFILE, ENFILE and
 * ETOOMANYREFS not now. */
int handover_box(struct desc *d);

/* At start: takes over what this program's predecessor, by exec, has left. */
void handover_adopt(void);

/* fd was received: if it is a box with a socket in it, the socket takes its place, and goes on. peeked: MSG_PEEK, the
 * message is still there. Returns false if it is no box. */
bool handover_receive(int fd, bool close_on_exec, bool peeked);

#endif
