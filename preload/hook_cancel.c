/* Asynchronous cancellation (pthread_setcanceltype(3)) unwinds a thread at any instruction, so also with a lock or a
 * pin of the library in its hands, which would be lost with all connections behind them. While a call is inside, it is
 * deferred (thread_enter, thread_leave): the thread is cancelled when the call is out, or in the kernel's own wait. */
#include "state.h"

HOOK int pthread_setcanceltype(int type, int *old)
{
    const bool before = thread.async_cancel;
    thread.async_cancel = before || type == PTHREAD_CANCEL_ASYNCHRONOUS; /* first: a handler may come in between */
    int error = real()->pthread_setcanceltype(type, old);
    thread.async_cancel = error ? before : type == PTHREAD_CANCEL_ASYNCHRONOUS;
    return error;
}
