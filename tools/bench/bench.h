/* Shared by the programs of the benchmark: failing with a message, clocks, loopback sockets. Only what libc documents
 * is used: the programs know of no library around them, and p2ptls comes under them as under any other program. */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>

enum { KIB = 1024, MIB = 1024 * 1024 };

/* Writes the message and ends the process with status 1. error: an errno, 0 for none. */
__attribute__((noreturn, format(printf, 2, 3))) void die_at(int error, const char *format, ...);
#define die(...) die_at(0, __VA_ARGS__)

/* A call that has to succeed; its value. */
#define SYS(call) checked((call), #call)
long checked(long result, const char *call);

uint64_t now_ns(void);      /* CLOCK_MONOTONIC */
uint64_t cpu_ns(void);      /* CPU time of this process, all its threads */
void *allocate(size_t len); /* zeroed; never NULL */

int listen_on_loopback(uint16_t *port); /* a port that the kernel picks */
int dial(uint16_t port);                /* 127.0.0.1, with TCP_NODELAY */
int accept_one(int listener);           /* with TCP_NODELAY */

/* A number from a command line; dies if it is none, or above most. */
uint64_t number(const char *text, uint64_t most);

/* Tells the harness that what is measured begins or has ended, and waits until it has looked at the clocks: a line on
 * standard output, and one from standard input. In a program that was started without --gated it only writes. */
void say_and_wait(int gated, const char *format, ...) __attribute__((format(printf, 2, 3)));

int compare_u64(const void *a, const void *b); /* for qsort */

#endif
