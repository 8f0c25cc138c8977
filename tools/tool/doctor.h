/* p2ptls doctor: looks at everything that has to be right, and says what is not, and what to do. */
#ifndef P2PTLS_TOOL_DOCTOR_H
#define P2PTLS_TOOL_DOCTOR_H

#include "policy_view.h"

#include <gnutls/x509.h>
#include <sys/types.h>

enum finding { FINDING_OK = 0, FINDING_NOTE /* works, but somebody should know */, FINDING_FAULT };

/* One line. The same text is said once. */
void found(enum finding kind, const char *subject, const char *format, ...) __attribute__((format(printf, 3, 4)));
unsigned faults_found(void);

void doctor_machine(void); /* kernel, GnuTLS, limits, clock */
void doctor_clock(void);
void doctor_clock_file(const char *what, const char *path);   /* is it from the future? */
void doctor_clock_certificate(gnutls_x509_crt_t certificate); /* one that the policy names */
void doctor_clock_verdict(void);                              /* after all of them */
void doctor_library(void);                                    /* the library's files */
void doctor_policy(struct policy_request *request);           /* its rules, and the keys that they name */
void doctor_identities(const struct policy *policy);
void doctor_program(const char *name); /* would the library get into it, and see its calls? */
/* Calls each for the programs that a file names by their paths, and so may start: as far as that can be told. */
void children_of(const char *file, void (*each)(void *ctx, const char *path), void *ctx);
void doctor_process(pid_t pid); /* is it in this one, and in all that it has started? */

#endif
