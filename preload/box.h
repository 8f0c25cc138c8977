/* Boxes: what a connection needs beside its socket, on its way to another program. A box is one end of a UNIX socket
 * pair, with one message in its queue that holds descriptors (unix(7), SCM_RIGHTS). Unlike a memfd it cannot be opened
 * again by /proc (ENXIO), and a program without the library that is given one finds a text in it, and no socket. */
#ifndef P2PTLS_BOX_H
#define P2PTLS_BOX_H

#include "conn.h"
#include "holders.h"

#include <stdbool.h>
#include <stdint.h>

enum box_kind {
    BOX_NONE = 0,
    BOX_FAMILY,     /* [holders' file] */
    BOX_CONNECTION, /* [slot's memfd, box of the family] */
    BOX_PASSED,     /* [socket, box of the connection]: stands in for the socket in an SCM_RIGHTS message */
    BOX_LISTENER,   /* [socket]: the same, of a listener that a rule matches */
};

enum { BOX_TEXT = 160, BOX_ITEMS = 2 };

struct box_label {
    char text[BOX_TEXT]; /* for whoever reads it without the library; also the mark of a box */
    uint32_t layout;     /* SLOT_LAYOUT and the size of this struct: programs that share connections must agree */
    uint32_t size;
    uint32_t kind; /* enum box_kind */
    uint32_t connected_side;
    uint64_t cookie; /* SO_COOKIE of the socket */
    uint8_t family[FAMILY_NAME];
    int32_t rcvlowat; /* what the library keeps for the program (table.h) */
    uint32_t nodelay_forced;
    char peer[CONN_PEER_TEXT];
};

/* Packs count descriptors, which stay the caller's. label: kind and what belongs to it. Returns a close-on-exec
 * descriptor of the box, or -errno: EMFILE, ENFILE, ETOOMANYREFS (too many in flight, unix(7)). */
int box_pack(struct box_label *label, const int *items, int count);

/* Is fd a box? Costs one system call for what is no UNIX socket. Nothing is taken out. A box of another version has
 * kind BOX_NONE. */
bool box_look(int fd, struct box_label *label);

/* Copies of the descriptors in it (close-on-exec), which the caller closes. False: it does not hold count of them. */
bool box_open(int fd, int *items, int count);

#endif
