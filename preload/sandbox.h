/* What the program takes away from itself, and so from the library: privileges, files, system calls. */
#ifndef P2PTLS_SANDBOX_H
#define P2PTLS_SANDBOX_H

#include <linux/filter.h>
#include <stdbool.h>

/* What seccomp filters that this program has installed forbid us (killing, or by an error: both alike). All false where
 * there is none, or it leaves us what we need. Filters from outside are not known here: what they answer is an error
 * like any other. */
struct sandbox {
    bool receive;    /* recvfrom, recvmsg: bytes come by read, and nothing is peeked at */
    bool send;       /* sendto, sendmsg: bytes leave by write */
    bool ppoll;      /* poll instead, for us and the hooks */
    bool control;    /* fcntl: O_NONBLOCK as it was before, or as our hooks saw it change */
    bool options;    /* getsockopt, setsockopt, getsockname, getpeername */
    bool queues;     /* ioctl SIOCINQ, SIOCOUTQ */
    bool robust;     /* gettid, get_robust_list */
    bool threads;    /* what a helper thread needs */
    bool trim;       /* what gives memory back to the kernel */
    bool raise;      /* tgkill */
    bool defer;      /* rt_tgsigqueueinfo: signals are blocked while a thread is inside */
    bool self;       /* getpid */
    bool look;       /* fstat */
    bool files;      /* openat, stat, getdents: what was read before main or since stays as it is */
    bool shut;       /* shutdown */
    bool lookup;     /* what the process that looks TLSA records up needs (dane.h) */
    bool stack;      /* what tells how large a thread's stack is (stack.h) */
    bool registry;   /* what the file of open hellos needs (src/reflection.h) */
    bool bare;       /* read, write, every poll, or futex: nothing works */
    bool no_sockets; /* no connection can come any more */
};
extern struct sandbox forbidden;

/* The errno for a call that may concern a selected socket, in a sandbox that forbids to ask the socket; logged. */
int sandbox_refuses(const char *call);

/* Around a call that lowers privileges or changes what files are to be found. needs_files: keys and the core are loaded
 * first. alone: the helper thread must not be there, since the call concerns one thread only, or wants to be the only
 * one. */
void sandbox_begin(bool needs_files, bool alone);
void sandbox_end(bool alone);

/* One of these calls by syscall(2). False: it is none. */
bool sandbox_syscall(long n, const long args[6], long *r);

/* Around the installation of a filter: handshakes are finished (bounded), what is needed later is got ready. NULL:
 * SECCOMP_MODE_STRICT, or a program that cannot be read. */
void sandbox_filter_begin(const struct sock_fprog *filter);
void sandbox_filter_end(bool installed);

#endif
