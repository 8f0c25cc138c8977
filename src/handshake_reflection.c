/* Asks the registry of open hellos, under a pre-shared key: both ends of a reflected connection hold it, so that
 * nothing in TLS tells this node from its peer. */
#include "handshake_internal.h"

#include <stdio.h>

enum result handshake_reflection_keep(struct handshake *hs)
{
    if (!hs->reflection)
        return RESULT_OK;
    enum result result = reflection_keep(hs->reflection, hs->own_random, &hs->ends, hs->lifetime_ms, &hs->note);
    if (result != RESULT_OK)
        snprintf(hs->why, sizeof hs->why,
                 "the file of open handshakes (hellos) cannot be written, and without it a reflected connection would "
                 "not be noticed: is the disk full, or the process in a sandbox?");
    return result;
}

void handshake_reflection_forget(struct handshake *hs)
{
    if (hs->reflection)
        reflection_forget(hs->reflection, hs->own_random, &hs->note);
}

enum result handshake_reflection_judge(struct handshake *hs)
{
    if (!hs->reflection)
        return RESULT_AGAIN;
    enum result result = reflection_look(hs->reflection, hello_random(&hs->first), &hs->ends);
    if (result == RESULT_OK)
        return RESULT_AGAIN;
    if (result == RESULT_PROTOCOL)
        return handshake_fail(
            hs, result, ALERT_HANDSHAKE_FAILURE,
            "the peer's hello was sent by a process of this very user, and came here by a detour: "
            "somebody reflects connections. If a proxy between two programs of one user is meant to "
            "be there, use certificates, or give each end a state folder (XDG_STATE_HOME) of its own");
    return handshake_fail(hs, result, ALERT_INTERNAL_ERROR,
                          "the file of open handshakes (hellos) cannot be read, and without it a reflected connection "
                          "would not be noticed: is the process in a sandbox?");
}
