/* Which processes hold a connection, and which of them still live. Processes that share connections form a family,
 * which has one empty memfd: each process has an id in it and keeps a record lock (fcntl(2), F_SETLK) on the byte of
 * that number. The kernel drops the lock with the process, SIGKILL included, and it is right in a chroot and across pid
 * namespaces, where pids are not. A process makes a family of its own for the connections that it makes, and belongs to
 * those of the connections that others have handed to it. */
#ifndef P2PTLS_HOLDERS_H
#define P2PTLS_HOLDERS_H

#include "slot.h"

#include <stdbool.h>

enum { FAMILY_NAME = 16 };

struct family;

/* Moves a descriptor of ours out of the program's way; returns the new number, or -1 (the old one is closed). */
typedef int (*hide_descriptor)(int fd);
/* Once, before any thread makes connections. */
void holders_init(hide_descriptor hide);

/* A sandbox forbids fcntl(F_GETLK): from now on every other holder is taken for alive. */
void holders_sandbox(bool no_file_locks);

/* The family of the connections that this process makes. */
struct family *family_own(void);
/* Makes the file of this process's own family, before a first connection is shared. */
void family_found(void);
const uint8_t *family_name(const struct family *f);
/* The file, -1 if there is none. Never close a copy of it: closing any descriptor of the file drops the locks. */
int family_file(const struct family *f);
/* A family that this process belongs to already; NULL if it does not. */
struct family *family_find(const uint8_t name[FAMILY_NAME]);
/* Joins a family by its file, which it keeps. NULL: no memory or no lock, and the file is closed. */
struct family *family_join(const uint8_t name[FAMILY_NAME], int file);

/* This process's id in a family; never 0. */
uint32_t holder_self(const struct family *f);

/* Before fork(2), for each live slot: adds this process and announces a child; grace_ms: how long it is waited for. */
void holders_announce(const struct family *f, struct slot *slot, int64_t until_ms);
/* In the child: takes an id and a lock of its own in each family; then, for each slot that it inherited: */
void holders_child(void);
void holders_join(const struct family *f, struct slot *slot);
/* When an announced child does not come. */
void holders_withdraw(struct slot *slot);
/* A socket in flight (SCM_RIGHTS) is held by nobody, for as long as it takes; holders_arrive when it is received. */
void holders_depart(const struct family *f, struct slot *slot);
void holders_arrive(const struct family *f, struct slot *slot);
void holders_add(const struct family *f, struct slot *slot); /* a copy of one that stays in flight */
void holders_return(struct slot *slot);                      /* it was not sent */

/* This process is about to become another program by exec, which takes an id of its own; holders_stay if it fails. */
void holders_move(const struct family *f, struct slot *slot, int64_t until_ms);
void holders_stay(const struct family *f, struct slot *slot);

/* Has no other process ever held it? */
bool holders_sole(const struct slot *slot);

/* Takes this process out. True if nobody else can hold the socket any more: this was the last close. */
bool holders_leave(const struct family *f, struct slot *slot, int64_t now_ms);

/* Does the process with this id live? True when in doubt. */
bool holder_alive(const struct family *f, uint32_t id);

#endif
