/* Asks the registry of open hellos, under a pre-shared key: both ends of a reflected connection hold it, so that
 * nothing in TLS tells this node from its peer. */
#include "handshake_internal.h"

#include <stdio.h>

enum result handshake_reflection_keep(struct handshake *hs)
{
    const enum reflection_side side = hs->connected_side ? REFLECTION_CONNECTED : REFLECTION_ACCEPTED;

    if (!hs->reflection)
        return RESULT_OK;
    enum result result = reflection_keep(hs->reflection, side, hs->own_random, &hs->ends, hs->lifetime_ms, &hs->note);
    if (result == RESULT_AGAIN) {
        snprintf(hs->why, sizeof hs->why,
                 "too many handshakes of %s connections are open under pre-shared keys, of this process or of all of "
                 "this user: %s",
                 hs->connected_side ? "outgoing" : "accepted",
                 hs->connected_side ? "are so many meant to be?"
                                    : "do strangers keep them open? from=, a shorter handshake-timeout= or hello=wait "
                                      "help");
        return RESULT_IO;
    }
    if (result != RESULT_OK)
        snprintf(hs->why, sizeof hs->why,
                 "the file of open handshakes (hellos) cannot be written, and without it a reflected connection would "
                 "not be noticed: is the disk full, or the process in a sandbox?");
    return result;
}

/* Who waits needs no place in the file, and becomes server: so a peer that strangers keep busy still serves those who
 * speak. */
bool handshake_reflection_holds_back(const struct handshake *hs, enum role_prefer prefer)
{
    return hs->reflection && !hs->connected_side && hs->effective == ROLE_PEER && prefer == PREFER_NONE &&
           reflection_is_crowded(hs->reflection, REFLECTION_ACCEPTED);
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
