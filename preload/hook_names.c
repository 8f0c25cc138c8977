/* Look-ups of names: libc's results pass unchanged, and are remembered (names.h). */
#include "names.h"
#include "state.h"

#include <errno.h>

HOOK int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
    int r = real()->getaddrinfo(node, service, hints, found);
    if (policy && r == 0)
        names_note(node, *found);
    return r;
}

/* A request of getaddrinfo_a is served by a thread of libc, which calls no hook: its result is seen when the program
 * asks for it. */
HOOK int gai_error(struct gaicb *request)
{
    int r = real()->gai_error(request);
    if (policy && r == 0)
        names_note(request->ar_name, request->ar_result);
    return r;
}

HOOK struct hostent *gethostbyname(const char *name)
{
    struct hostent *found = real()->gethostbyname(name);
    if (policy && found)
        names_note_host(name, found);
    return found;
}

/* The file of hosts, one after the other (gethostent(3)): each name that it gives for an address. */
static void note_entry(const struct hostent *found)
{
    names_note_host(found->h_name, found);
    for (char **alias = found->h_aliases; alias && *alias; alias++)
        names_note_host(*alias, found);
}

HOOK struct hostent *gethostent(void)
{
    struct hostent *found = real()->gethostent();
    if (policy && found)
        note_entry(found);
    return found;
}

HOOK int gethostent_r(struct hostent *room, char *buffer, size_t size, struct hostent **found, int *error)
{
    int r = real()->gethostent_r(room, buffer, size, found, error);
    if (policy && r == 0 && *found)
        note_entry(*found);
    return r;
}

HOOK struct hostent *gethostbyname2(const char *name, int family)
{
    struct hostent *found = real()->gethostbyname2(name, family);
    if (policy && found)
        names_note_host(name, found);
    return found;
}

HOOK int gethostbyname_r(const char *name, struct hostent *room, char *buffer, size_t size, struct hostent **found,
                         int *error)
{
    int r = real()->gethostbyname_r(name, room, buffer, size, found, error);
    if (policy && r == 0 && *found)
        names_note_host(name, *found);
    return r;
}

HOOK int gethostbyname2_r(const char *name, int family, struct hostent *room, char *buffer, size_t size,
                          struct hostent **found, int *error)
{
    int r = real()->gethostbyname2_r(name, family, room, buffer, size, found, error);
    if (policy && r == 0 && *found)
        names_note_host(name, *found);
    return r;
}
