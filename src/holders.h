/* Which processes hold a connection, and which of them still live. Each process of a family (related by fork) has an
 * id and keeps a record lock (fcntl(2), F_SETLK) on the byte of that number in one empty memfd: the kernel drops it
 * with the process, SIGKILL included, and it is right in a chroot and across pid namespaces, where pids are not. */
#ifndef P2PTLS_HOLDERS_H
#define P2PTLS_HOLDERS_H

#include "slot.h"

#include <stdbool.h>

/* Moves a descriptor of ours out of the program's way; returns the new number, or -1 (the old one is closed). */
typedef int (*hide_descriptor)(int fd);
/* Once, before any thread needs holder_self. */
void holders_init(hide_descriptor hide);

/* A sandbox forbids fcntl(F_GETLK): from now on every other holder is taken for alive. */
void holders_sandbox(bool no_file_locks);

/* This process's id; never 0. */
uint32_t holder_self(void);

/* Before fork(2), for each live slot: adds this process and announces a child. */
void holders_prepare_fork(void);
void holders_announce(struct slot *slot, int64_t now_ms);
/* In the child: takes an id and a lock of its own; then, for each slot that it inherited: */
void holders_child(void);
void holders_join(struct slot *slot);
/* In the parent, when fork failed. */
void holders_withdraw(struct slot *slot);

/* Takes this process out. True if nobody else can hold the socket any more: this was the last close. */
bool holders_leave(struct slot *slot, int64_t now_ms);

/* Does the process with this id live? True when in doubt. */
bool holder_alive(uint32_t id);

#endif
