/* What has to be done to descriptors before an exec, and undone if it fails. */
#ifndef P2PTLS_EXEC_PLAN_H
#define P2PTLS_EXEC_PLAN_H

#include <stdbool.h>

struct exec_plan {
    bool active, undisturbed;
    int cancel_state;   /* before: exec is no cancellation point, and looks at files here (undisturbed) */
    char **environment; /* a replaced environment, or NULL */
};

/* Connections that survive go into boxes that survive too. Where the library will not be in the program (file, along
 * PATH if search), a fresh unconnected socket takes the place of each, and a log line says so. The environment to use
 * is plan->environment, if set. what: the name of the call, for logs. */
void exec_plan_begin(struct exec_plan *plan, const char *what, const char *file, bool search, char *const argv[],
                     char *const envp[]);

/* The program is still there: everything as before. errno stays as it is. */
void exec_plan_undo(struct exec_plan *plan);

/* Could a new program get a descriptor that it must not have just so? Then it needs a plan. Those with close-on-exec
 * do not count. */
bool exec_plan_needed(void);

/* For a program that libc starts itself: protected numbers get close-on-exec, until exec_plan_give_back, always to be
 * called then; no exec is planned meanwhile. False: no memory. */
bool exec_plan_withhold(int **numbers);
void exec_plan_give_back(int *numbers);

/* In the child of a fork: whatever another thread was about to exec. */
void exec_plan_forked(void);

#endif
