/* Asynchronous cancellation (pthread_setcanceltype(3)) unwinds a thread at any instruction, so also with a lock or a
 * pin of the library in its hands, which would be lost with all connections behind them. While a call is inside, it is
 * deferred (thread_enter, thread_leave): the thread is cancelled when the call is out, or in the kernel's own wait. */
#include "state.h"

HOOK int pthread_setcanceltype(int type, int *old)
{
    int error = real()->pthread_setcanceltype(type, old);
    if (!error)
        thread.async_cancel = type == PTHREAD_CANCEL_ASYNCHRONOUS;
    return error;
}
